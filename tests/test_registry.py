"""The registry of data sets and the fetching of its files."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from medrlvr.data import fetch as fetching
from medrlvr.data.fetch import content_hash, fetch
from medrlvr.data.registry import Source, find, load_registry
from medrlvr.errors import UserError

REGISTRY = Path(__file__).parents[1] / "config" / "datasets.tsv"
CONTENT = b'{"question": "Why?"}\n'


def edited(tmp_path: Path, dataset: str, column: str, cell: str) -> Path:
    """Write the registry with one cell of the first row of a data set changed."""
    header, *rows = (line.split("\t") for line in REGISTRY.read_text(encoding="utf-8").splitlines())
    row = next(row for row in rows if row[0] == dataset)
    row[header.index(column)] = cell
    path = tmp_path / "datasets.tsv"
    path.write_text("\n".join("\t".join(row) for row in [header, *rows]) + "\n", encoding="utf-8")
    return path


def source(**changes: object) -> Source:
    """A row whose file is CONTENT, with some columns changed."""
    row = load_registry(REGISTRY)["medqa/dev"]
    return row.model_copy(update={"hash": f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", **changes})


def test_registry_has_the_published_sizes() -> None:
    sources = load_registry(REGISTRY)
    published = {"medqa/train": 10178, "medqa/dev": 1272, "medqa/test": 1273, "mmlu_pro_health/test": 818}
    assert {name: sources[name].rows for name in published} == published
    assert sources["mmlu_pro_health/test"].filter == ("category", "health")
    assert sources["medqa_4_options/train_partial"].raw_file == "medqa_4_options/train_partial.parquet"
    assert sources["miniature_ood/test"].generated


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("hash", "sha256:12", r"line 2 \(medqa/train\): column hash"),
        ("hash", "-", "hash: empty, but the file comes from bigbio/med_qa"),
        ("revision", "-", "revision: empty"),
        ("rows", "many", r"column rows: .* \(cell: 'many'\)"),
        ("role", "exam", "column role"),
        ("answer", "answer_idx", "column answer"),
        ("filter", "category", "a filter reads column=value"),
        ("home", "https://example.org", "column home"),
        ("split", "dev", r"line 3: medqa/dev is given twice"),
    ],
)
def test_a_bad_cell_is_named_with_line_and_column(tmp_path: Path, column: str, cell: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_registry(edited(tmp_path, "medqa", column, cell))


def test_a_bad_header_or_row_length_is_named(tmp_path: Path) -> None:
    path = tmp_path / "datasets.tsv"
    lines = REGISTRY.read_text(encoding="utf-8").splitlines()
    path.write_text(lines[0].replace("licence", "license") + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 1: missing columns \['licence'\], .*\['license'\]"):
        load_registry(path)
    path.write_text(f"{lines[0]}\nmedqa\ttrain\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 2: 2 cells under"):
        load_registry(path)
    with pytest.raises(UserError, match=r"does not exist"):
        load_registry(tmp_path / "nothing.tsv")


def test_an_unknown_data_set_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no data set 'medqa/exam'.*medqa/dev"):
        find(load_registry(REGISTRY), "medqa/exam")


def test_git_blob_id_is_what_git_says(tmp_path: Path) -> None:
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


def test_a_wrong_file_never_gets_the_final_name(tmp_path: Path) -> None:
    row = source()
    (tmp_path / "mirror" / "medqa").mkdir(parents=True)
    (tmp_path / "mirror" / row.mirror_file).write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=r"medqa/dev: .* is not the registered file"):
        fetch(row, tmp_path / "raw" / "dev.jsonl", tmp_path / "mirror")
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_missing_mirror_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        fetch(source(), tmp_path / "dev.jsonl", tmp_path)
    for part in (str(tmp_path / "medqa" / "dev.jsonl"), hashlib.sha256(CONTENT).hexdigest(), "data.mirror"):
        assert part in str(error.value)


def test_fetch_from_the_hub_takes_the_member_out_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = source()
    archive = tmp_path / "snapshots" / "c0ffee" / "data_clean.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr(row.member, CONTENT)
    asked: list[tuple[object, ...]] = []

    def download(home: str, file: str, repo_type: str, revision: str) -> str:
        asked.append((home, file, repo_type, revision))
        return str(archive)

    monkeypatch.setattr(fetching, "hf_hub_download", download)
    assert fetch(row, tmp_path / "dev.jsonl", None) == "c0ffee"
    assert asked == [("bigbio/med_qa", "data_clean.zip", "dataset", row.revision)]
    assert (tmp_path / "dev.jsonl").read_bytes() == CONTENT
    with pytest.raises(UserError, match=r"cannot take nothing.jsonl out of it"):
        fetch(row.model_copy(update={"member": "nothing.jsonl"}), tmp_path / "other.jsonl", None)
    assert not (tmp_path / "other.jsonl").exists()


def test_an_unreachable_hub_is_answered_with_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(fetching, "hf_hub_download", download)
    with pytest.raises(UserError, match=r"no connection\nWithout network, .*medqa/dev.jsonl.*data.mirror"):
        fetch(source(), tmp_path / "dev.jsonl", None)
    with pytest.raises(UserError, match=r"on no hub.*data.mirror"):
        fetch(load_registry(REGISTRY)["medqa_4_options/train_partial"], tmp_path / "train.parquet", None)
