"""Fetching a registered file: from a mirror folder, and from a server that imitates the Hugging Face Hub and fails."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import huggingface_hub.file_download
import pytest
from hub import COMMIT, Hub, serve

from medrlvr.data.fetch import content_hash, fetch
from medrlvr.data.registry import Source, load_registry
from medrlvr.runtime import downloads
from medrlvr.runtime.errors import UserError

ROOT = Path(__file__).parents[1]
REGISTRY = ROOT / "config" / "datasets.tsv"
CONTENT = b'{"question": "Why?"}\n'
TOKEN = "hf_thisIsVerySecret"


def source(**changes: object) -> Source:
    """A row whose file is CONTENT, with some columns changed."""
    row = load_registry(REGISTRY)["medqa/dev"]
    return row.model_copy(update={"hash": f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", **changes})


def unpacked(**changes: object) -> Source:
    """The same, not in an archive."""
    return source(file="dev.jsonl", member=None, revision=COMMIT, **changes)


def test_git_blob_id_is_that_of_git(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    said = subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=True).stdout.strip()
    assert content_hash(path, "git") == said
    assert content_hash(path, "sha256") == hashlib.sha256(CONTENT).hexdigest()


def test_fetch_from_a_mirror(tmp_path: Path) -> None:
    row = source()
    (tmp_path / "mirror" / "medqa").mkdir(parents=True)
    (tmp_path / "mirror" / row.mirror_file).write_bytes(CONTENT)
    assert fetch(row, tmp_path / "raw" / "dev.jsonl", tmp_path / "mirror") is None
    assert (tmp_path / "raw" / "dev.jsonl").read_bytes() == CONTENT


def test_without_a_registered_hash_a_run_stops_with_the_reason(tmp_path: Path) -> None:
    row = source(hash=None, status="unpinned")
    (tmp_path / "mirror" / "medqa").mkdir(parents=True)
    with pytest.raises(UserError, match=f"must contain {row.mirror_file}\\.\n"):
        fetch(row, tmp_path / "dev.jsonl", tmp_path / "mirror")
    (tmp_path / "mirror" / row.mirror_file).write_bytes(CONTENT)
    with pytest.raises(UserError, match=f"no hash of this file yet.* sha256:{hashlib.sha256(CONTENT).hexdigest()}"):
        fetch(row, tmp_path / "dev.jsonl", tmp_path / "mirror")
    assert not (tmp_path / "dev.jsonl").exists()


def test_a_wrong_file_never_gets_the_final_name(tmp_path: Path) -> None:
    row = source()
    (tmp_path / "mirror" / "medqa").mkdir(parents=True)
    (tmp_path / "mirror" / row.mirror_file).write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=r"medqa/dev: .* is not the registered file"):
        fetch(row, tmp_path / "raw" / "dev.jsonl", tmp_path / "mirror")
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_missing_mirror_file_is_reported_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        fetch(source(), tmp_path / "dev.jsonl", tmp_path)
    for part in (str(tmp_path / "medqa" / "dev.jsonl"), hashlib.sha256(CONTENT).hexdigest(), "data.mirror"):
        assert part in str(error.value)


def test_a_missing_file_that_is_on_no_hub_is_reported_with_the_mirror(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not on the Hugging Face Hub.*data.mirror"):
        fetch(load_registry(REGISTRY)["medqa_4_options/train_partial"], tmp_path / "train.parquet", None)


STALLED, PATIENT = 1.0, 30.0
"""Seconds that the client waits for an answer: where the server stalls, and where it answers, on a busy machine too."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Hub]:
    """The imitation of the Hugging Face Hub, with an empty cache and a token, without waiting between attempts."""
    constants = huggingface_hub.constants
    patience = STALLED if "stall" in request.node.name else PATIENT
    with serve(Hub(CONTENT)) as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.address)
        template = f"{served.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", patience)
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", patience)
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4)
        monkeypatch.setattr(huggingface_hub.file_download, "_ETAG_RETRY_TIMEOUT", patience)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(time, "sleep", lambda seconds: slept.append(seconds))
        slept.clear()
        yield served
        assert served.others == []


slept: list[float] = []


@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        ([], ["HEAD", "GET"]),
        (["GET truncated"], ["HEAD", "GET", "GET"]),
        (["GET reset"], ["HEAD", "GET", "HEAD", "GET"]),
        (["GET short"], ["HEAD", "GET", "HEAD", "GET"]),
        (["GET wrong"], ["HEAD", "GET", "HEAD", "GET"]),
        (["HEAD status 503", "HEAD status 500"], ["HEAD", "HEAD", "HEAD", "GET"]),
        (["GET status 500", "GET status 503"], ["HEAD", "GET"] * 3),
        (["HEAD status 429 Retry-After=7"] * 2, ["HEAD", "HEAD", "HEAD", "GET"]),
        (["GET status 429 Retry-After=7"], ["HEAD", "GET", "GET"]),
        (["HEAD stall"], ["HEAD", "HEAD", "GET"]),
        (["GET stall"], ["HEAD", "GET", "GET"]),
    ],
    ids=lambda value: " then ".join(value) or "nothing wrong",
)
def test_a_temporary_failure_is_tried_again(tmp_path: Path, hub: Hub, faults: list[str], requests: list[str]) -> None:
    hub.faults = list(faults)
    assert fetch(unpacked(), tmp_path / "raw" / "dev.jsonl", None) == COMMIT
    assert (tmp_path / "raw" / "dev.jsonl").read_bytes() == CONTENT
    assert [method for method, _, _ in hub.asked] == requests
    if faults == ["GET truncated"]:
        assert hub.asked[-1][2]["range"] == "bytes=4-"
    if "Retry-After=7" in str(faults):
        assert max(slept) >= 7


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("GET truncated!", "the download failed: the transfer was interrupted repeatedly"),
        ("GET short!", "the download failed: .*Consistency check failed"),
        ("GET wrong!", "is not the registered file"),
        ("HEAD page!", "the download failed: .*not seem to be served by a Hugging Face Hub"),
        ("GET page!", "the download failed: .*Consistency check failed"),
        ("HEAD status 404 X-Error-Code=EntryNotFound!", "the download failed: 404 .*Entry Not Found"),
        ("HEAD status 404 X-Error-Code=RevisionNotFound!", "the download failed: 404 .*Revision Not Found"),
        ("HEAD status 401!", r"the download failed: .*401.*\n.*HF_TOKEN is set, valid"),
        ("HEAD status 403 X-Error-Code=GatedRepo!", r"the download failed: 403 .*\n.*HF_TOKEN is set, valid"),
        ("HEAD status 429 Retry-After=1!", "the download failed: .*429"),
        ("HEAD status 503!", "the download failed: .*503"),
        ("GET status 500!", "the download failed: .*500"),
        ("HEAD stall!", "the download failed: .*timed out"),
        ("GET stall!", "the download failed: .*timed out"),
    ],
)
def test_a_permanent_failure_is_one_clear_error(
    tmp_path: Path, hub: Hub, capfd: pytest.CaptureFixture[str], fault: str, message: str
) -> None:
    hub.faults = [fault]
    with pytest.raises(UserError, match=rf"(?s)medqa/dev: .*{message}") as error:
        fetch(unpacked(), tmp_path / "raw" / "dev.jsonl", None)
    assert not list((tmp_path / "raw").iterdir() if (tmp_path / "raw").exists() else [])
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    if "the download failed" in message:
        assert "put the file at <folder>/medqa/dev.jsonl" in str(error.value)
    printed = capfd.readouterr()
    assert len(hub.asked) < 40
    assert TOKEN not in str(error.value) + printed.out + printed.err
    assert any(headers.get("authorization") == f"Bearer {TOKEN}" for _, _, headers in hub.asked)


def test_a_redirect_is_followed_without_the_token(tmp_path: Path, hub: Hub) -> None:
    with serve(Hub(CONTENT)) as elsewhere:
        hub.elsewhere = elsewhere.address.replace("127.0.0.1", "localhost")
        assert fetch(unpacked(), tmp_path / "dev.jsonl", None) == COMMIT
        assert [method for method, _, _ in elsewhere.asked] == ["GET"]
        assert "authorization" not in elsewhere.asked[0][2]
    assert (tmp_path / "dev.jsonl").read_bytes() == CONTENT


def test_the_member_is_extracted_from_the_archive(tmp_path: Path, hub: Hub) -> None:
    row = source(revision=COMMIT)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr(row.member, CONTENT)
    hub.content = archive.getvalue()
    assert fetch(row, tmp_path / "dev.jsonl", None) == COMMIT
    assert hub.asked[0][1] == f"/datasets/bigbio/med_qa/resolve/{COMMIT}/data_clean.zip"
    assert (tmp_path / "dev.jsonl").read_bytes() == CONTENT
    with pytest.raises(UserError, match=r"cannot extract nothing.jsonl"):
        fetch(row.model_copy(update={"member": "nothing.jsonl"}), tmp_path / "other.jsonl", None)
    assert not (tmp_path / "other.jsonl").exists()


def test_a_damaged_cache_is_replaced(tmp_path: Path, hub: Hub) -> None:
    fetch(unpacked(), tmp_path / "dev.jsonl", None)
    (blob,) = (tmp_path / "cache").rglob("blobs/*")
    blob.write_bytes(b"damaged")
    said: list[str] = []
    assert fetch(unpacked(), tmp_path / "dev.jsonl", None, said.append) == COMMIT
    assert (tmp_path / "dev.jsonl").read_bytes() == CONTENT
    assert "downloading it again" in said[0]


def test_a_damaged_archive_is_replaced(tmp_path: Path, hub: Hub) -> None:
    row = source(revision=COMMIT, hash=f"sha256:{hashlib.sha256(CONTENT * 1000).hexdigest()}")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(row.member, CONTENT * 1000)
    hub.content = archive.getvalue()
    fetch(row, tmp_path / "dev.jsonl", None)
    (blob,) = (tmp_path / "cache").rglob("blobs/*")
    whole = blob.read_bytes()
    for place in range(30, len(whole), 7):
        blob.write_bytes(whole[:place] + bytes(byte ^ 0x55 for byte in whole[place : place + 7]) + whole[place + 7 :])
        (tmp_path / "dev.jsonl").unlink()
        assert fetch(row, tmp_path / "dev.jsonl", None, lambda _: None) == COMMIT
        assert (tmp_path / "dev.jsonl").read_bytes() == CONTENT * 1000


def test_errors_of_the_hubs_other_transport_are_tried_again_and_reported(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large files come by hf_xet, whose failures are plain RuntimeErrors."""
    whole, failures = huggingface_hub.file_download.http_get, [RuntimeError(f"Task error {TOKEN}")]

    def get(*arguments: object, **options: object) -> None:
        if failures:
            raise failures.pop()
        whole(*arguments, **options)

    monkeypatch.setattr(huggingface_hub.file_download, "http_get", get)
    assert fetch(unpacked(), tmp_path / "dev.jsonl", None) == COMMIT
    shutil.rmtree(tmp_path / "cache")
    failures += [RuntimeError(f"Task error {TOKEN}")] * downloads.ATTEMPTS
    with pytest.raises(UserError, match="the download failed: Task error <HF_TOKEN>"):
        fetch(unpacked(), tmp_path / "other.jsonl", None)


def test_progress_comes_in_lines(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.content = CONTENT * 100_000
    monkeypatch.setattr(downloads, "SILENCE", 0.0)
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 100_000)
    said: list[str] = []
    row = unpacked(hash=f"sha256:{hashlib.sha256(hub.content).hexdigest()}")
    fetch(row, tmp_path / "dev.jsonl", None, said.append)
    assert said[-1].startswith(f"medqa/dev: dev.jsonl of bigbio/med_qa at {COMMIT}: 2.1 of 2.1 MB")


FETCH_FILE = """
import json, sys
from medrlvr.runtime import downloads
from medrlvr.data.fetch import fetch
from medrlvr.data.registry import load_registry

downloads.PAUSE = 0.0
registry, changes, destination = sys.argv[1:]
print(fetch(load_registry(registry)["medqa/dev"].model_copy(update=json.loads(changes)), destination, None))
"""
FETCH_MODEL = """
import sys
from medrlvr.config.data import BaseModelSource
from medrlvr.models import fetch

# The server has one content for all files, which is no model.
fetch.check_folder = lambda folder: None
name, destination, cache = sys.argv[1:]
print(fetch.fetch_model(BaseModelSource(source="hub", name=name), destination, cache))
"""


def run(code: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code as a user does: in a process of its own, with a token, and without the variables of these tests."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment |= {"PYTHONPATH": path, "HF_TOKEN": TOKEN, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def file_arguments(destination: Path) -> list[object]:
    row = unpacked()
    changes = json.dumps({"file": row.file, "member": None, "revision": row.revision, "hash": row.hash})
    return [REGISTRY, changes, destination]


def test_the_hubs_variables_take_effect(tmp_path: Path) -> None:
    """The variables set the address and forbid network use; the token is in no output."""
    home = str(tmp_path / "home")
    with serve(Hub(CONTENT)) as served:
        variables = {"HF_HOME": home, "HF_ENDPOINT": served.address}
        offline = run(FETCH_FILE, *file_arguments(tmp_path / "first"), **variables, HF_HUB_OFFLINE="1")
        assert served.asked == []
        assert "UserError" in offline.stderr and "Without network" in offline.stderr
        online = run(FETCH_FILE, *file_arguments(tmp_path / "second"), **variables)
        assert online.stdout.strip() == COMMIT, online.stderr
        (head,) = (headers for method, _, headers in served.asked if method == "HEAD")
        assert head["authorization"] == f"Bearer {TOKEN}"
        asked = len(served.asked)
        again = run(FETCH_FILE, *file_arguments(tmp_path / "third"), **variables, HF_HUB_OFFLINE="1")
        assert again.stdout.strip() == COMMIT, again.stderr
        assert len(served.asked) == asked
        assert served.others == []
    assert (tmp_path / "third").read_bytes() == CONTENT
    for result in (offline, online, again):
        assert TOKEN not in result.stdout + result.stderr


@pytest.fixture(params=["empty cache", "list of tools in the cache"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A user's HF_HOME. huggingface_hub recognises coding tools by a list that it downloads once a day."""
    folder = tmp_path / "home"
    folder.mkdir()
    if request.param != "empty cache":
        tools = {"standardEnvVars": ["NAME_OF_TOOL"], "harnesses": {"some-tool": {"envVars": {"RUN_BY_TOOL": "*"}}}}
        name = Path(huggingface_hub.constants.AGENT_HARNESSES_PATH).name
        (folder / name).write_text(json.dumps(tools))
    return folder


def assert_only_downloads(hub: Hub) -> None:
    assert hub.asked and hub.others == []
    for method, path, headers in hub.asked:
        sent = {part.partition("/")[0] for part in headers["user-agent"].split("; ")}
        assert sent <= {"unknown", "hf_hub", "python", "hf_xet"}, (method, path)


@pytest.mark.parametrize("setting", [{}, {"HF_HUB_DISABLE_TELEMETRY": "0", "HF_XET_TELEMETRY_ENABLED": "1"}])
def test_a_fetched_file_sends_only_downloads(tmp_path: Path, home: Path, setting: dict[str, str]) -> None:
    tool = {"RUN_BY_TOOL": "1", "NAME_OF_TOOL": "some-tool"}
    with serve(Hub(CONTENT)) as served:
        variables = {"HF_HOME": str(home), "HF_ENDPOINT": served.address, **tool, **setting}
        fetched = run(FETCH_FILE, *file_arguments(tmp_path / "dev.jsonl"), **variables)
        assert fetched.stdout.strip() == COMMIT, fetched.stderr
        assert [method for method, _, _ in served.asked] == ["HEAD", "GET"]
        assert_only_downloads(served)
        served.faults = ["HEAD xet!"]
        failed = run(FETCH_FILE, *file_arguments(tmp_path / "other"), **{**variables, "HF_HOME": str(tmp_path / "xet")})
        assert "the download failed: Task error" in failed.stderr
        assert any("/reconstructions/" in path for _, path, _ in served.asked)
        assert_only_downloads(served)


def test_a_fetched_model_sends_only_downloads(tmp_path: Path, home: Path) -> None:
    files = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
    with serve(Hub(b"{}", files=files)) as served:
        variables = {"HF_HOME": str(home), "HF_ENDPOINT": served.address, "RUN_BY_TOOL": "1"}
        fetched = run(FETCH_MODEL, "some/model@v1", tmp_path / "base", tmp_path / "cache", **variables)
        assert fetched.stdout.strip() == f"some/model at commit {COMMIT}", fetched.stderr
        assert {path.name for path in (tmp_path / "base").iterdir()} == set(files)
        assert_only_downloads(served)


def test_an_earlier_import_of_the_library_changes_nothing(tmp_path: Path) -> None:
    with serve(Hub(CONTENT)) as served:
        variables = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": served.address}
        code = f"import hf_xet, huggingface_hub.file_download\n{FETCH_FILE}"
        fetched = run(code, *file_arguments(tmp_path / "dev.jsonl"), **variables)
        assert fetched.stdout.strip() == COMMIT, fetched.stderr
        assert_only_downloads(served)


def test_tests_inherit_no_setting_of_the_hugging_face_hub(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    code = """
import json, conftest
from huggingface_hub import constants as known, get_token

print(json.dumps([get_token(), known.HF_HOME, known.HF_HUB_CACHE, known.ENDPOINT, known.HF_HUB_OFFLINE]))
"""
    elsewhere = {"HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path), "HUGGINGFACE_HUB_CACHE": str(tmp_path)}
    variables = {
        **elsewhere,
        "HUGGING_FACE_HUB_TOKEN": TOKEN,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "0",
    }
    result = run(code, **variables)
    token, home, cache, endpoint, offline = json.loads(result.stdout)
    assert token is None and offline
    assert str(tmp_path) not in (home, cache) and Path(cache).is_relative_to(home)
    assert endpoint == huggingface_hub.constants.ENDPOINT != variables["HF_ENDPOINT"]


def test_a_refused_connection_is_not_tried_again() -> None:
    """huggingface_hub tries for half a minute; a wrong address stays wrong for four times as long."""
    assert not downloads._passes(httpx.ConnectError("[Errno 111] Connection refused"))
    assert downloads._passes(httpx.ConnectError("[Errno -3] Temporary failure in name resolution"))
    assert downloads._passes(httpx.ReadError("connection reset"))


def test_a_mirror_may_be_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    row = unpacked(hash=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}")
    file = tmp_path / "data" / str(row.mirror_file)
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    fetch(row, tmp_path / "dev.jsonl", "~/data")
    assert (tmp_path / "dev.jsonl").read_bytes() == CONTENT
