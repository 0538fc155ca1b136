"""Holds, watches of memory and time, and Slurm's answers: what a long run relies on between its steps."""

import ast
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from medrlvr.runtime import hold as holding
from medrlvr.runtime import memory_watch, running, slurm
from medrlvr.runtime import redact as redacting
from medrlvr.runtime.benchmark import read_benchmark
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_json_value, read_parquet, write_json
from medrlvr.runtime.hold import HeldError, hold, holder
from medrlvr.runtime.memory_watch import MemoryWatch, memory_in_use
from medrlvr.runtime.processes import run_process, write_command
from medrlvr.training import walltime
from medrlvr.training.resume.stopping import STOP_FILE
from medrlvr.training.walltime import OutOfTime, WalltimeGuard, requeued_when_out_of_time

ROOT = Path(__file__).parents[1]


def other_process(code: str, *words: str) -> subprocess.Popen[str]:
    """Start Python code in another process, and wait for its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    return process


HOLD = """
import sys
from pathlib import Path
from medrlvr.runtime.hold import hold
held = hold(Path(sys.argv[1]), "training")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_locked_file_names_its_holder_until_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "state" / "run.lock"
    assert holder(file) is None
    other = other_process(HOLD, str(file))
    found = holder(file)
    assert found is not None and (found.process, found.what, found.host) == (other.pid, "training", os.uname().nodename)
    with pytest.raises(HeldError, match=rf"state is in use by training, process {other.pid} on .*, since 2\d\d\d-"):
        hold(file, "mine")
    other.kill()
    other.wait()
    assert holder(file) is None
    with hold(file, "mine"):
        assert str(os.getpid()) in file.read_text()


def test_a_holder_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    other = other_process(HOLD.replace("sys.stdin.read()", "import time; time.sleep(1)"), str(tmp_path / "lock"))
    with hold(tmp_path / "lock", "mine", patience=30):
        assert other.wait(5) == 0


def test_a_holder_that_deletes_the_folder_at_its_end_is_waited_for(tmp_path: Path) -> None:
    end = "import shutil, time; time.sleep(1); shutil.rmtree(Path(sys.argv[1]).parent)"
    other = other_process(HOLD.replace("sys.stdin.read()", end), str(tmp_path / "state" / "lock"))
    with hold(tmp_path / "state" / "lock", "mine", patience=30):
        assert other.wait(5) == 0 and (tmp_path / "state" / "lock").is_file()


@pytest.mark.parametrize(
    ("content", "free"),
    [
        ("", True),
        ("{", True),
        ({"process": os.getpid(), "host": os.uname().nodename}, False),
        ({"process": 2**22 + 5, "host": os.uname().nodename}, True),
        ({"process": 2**22 + 5, "host": "elsewhere"}, False),
        ({"process": 2**22 + 5, "host": "elsewhere", "job": "7"}, True),
        ({"process": 2**22 + 5, "host": "elsewhere", "job": "8"}, False),
    ],
)
def test_without_locks_of_the_file_system_the_recorded_process_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, free: bool
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(holding.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(holding.fcntl, "flock", no_locks)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    file = tmp_path / "lock"
    whole = {"what": "x", "since": "now", "job": None} | content if isinstance(content, dict) else content
    file.write_text(whole if isinstance(whole, str) else json.dumps(whole))
    if free:
        hold(file, "mine").close()
    else:
        with pytest.raises(HeldError):
            hold(file, "mine")


def locks(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, line in files.items():
        (folder / f"{name}.lock").write_text(f"{line}\nother\n")
    return folder


def test_only_locks_of_a_dead_workflow_on_the_same_results_are_deleted(tmp_path: Path) -> None:
    results = tmp_path / "results/mine"
    found = locks(tmp_path / "locks", one=f"{results}/data/x", two=f"{results}_too/data/x")
    other = other_process(HOLD, str(results / ".running/workflow"))
    running.delete_stale_locks(results, found)
    assert len(list(found.iterdir())) == 2
    other.kill()
    other.wait()
    running.delete_stale_locks(results, found)
    assert [file.name for file in found.iterdir()] == ["two.lock"]


def test_a_workflow_is_rejected_while_another_or_a_step_of_a_killed_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_PATIENCE", 0.1)
    results = tmp_path / "results/mine"
    other = other_process(HOLD, str(results / ".running/workflow"))
    with pytest.raises(UserError, match=rf"mine is in use by training, process {other.pid} on .* or press Ctrl-C"):
        running.hold_results(results)
    other.kill()
    other.wait()
    step = other_process(HOLD, str(results / ".running/n1-7"))
    with pytest.raises(UserError, match=r"1 step\(s\) of an earlier run, whose workflow has ended, are still running:"):
        running.hold_results(results)
    step.kill()
    step.wait()
    running.hold_results(results).close()
    assert [file.name for file in (results / ".running").iterdir()] == ["workflow"]


def test_a_workflow_that_has_ended_leaves_no_name(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from medrlvr.runtime import running as r\n"
    code += "held = r.hold_results(Path(sys.argv[1])); print((Path(sys.argv[1]) / '.running/workflow').read_text())"
    other = other_process(code, str(tmp_path))
    assert other.wait(10) == 0 and (tmp_path / ".running/workflow").read_text() == ""


def test_a_step_of_a_slurm_job_is_ended_by_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "55")
    held = running.hold_step(tmp_path / "results/mine/logs/checkpoints/rlvr.log", "train_rlvr rlvr 1")
    assert held is not None
    found = holder(Path(str(held.name)))
    assert found is not None and found.remedy == "scancel 55" and "Slurm job 55" in str(found)
    held.close()
    assert running.hold_step(tmp_path / "elsewhere.log", "x") is None


STEP = """
import sys, time
from medrlvr.runtime import running
running.end_with_workflow(0.1)
print("started", flush=True)
time.sleep(600)
"""
WORKFLOW = """
import subprocess, sys, time
child = subprocess.Popen(["sh", "-c", '"$0" "$@"; true', sys.executable, "-c", sys.argv[1]], stdout=sys.stdout)
time.sleep(600)
"""


@pytest.mark.parametrize("name", ["snakemake", "other"])
def test_a_step_ends_with_a_killed_snakemake(tmp_path: Path, name: str) -> None:
    """Also if a shell is between the two. Any other parent does not count."""
    script = tmp_path / name
    script.write_text(WORKFLOW)
    workflow = subprocess.Popen(
        [sys.executable, str(script), STEP], env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, text=True,
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert workflow.stdout is not None
    workflow.stdout.readline()
    children = psutil.Process(workflow.pid).children(recursive=True)
    workflow.kill()
    workflow.wait()
    _, alive = psutil.wait_procs(children, timeout=5 if name == "snakemake" else 1)
    assert bool(alive) is (name != "snakemake")
    for process in alive:
        process.kill()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:59\n", 59),
        ("12:00", 720),
        ("3:00:01", 10801),
        ("1-00:00:00", 86400),
        ("2-03:04:05", 183845),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_the_time_limit_of_slurm_is_read(text: str, seconds: float | None) -> None:
    assert slurm.parse_time_left(text) == seconds


def guard(tmp_path: Path, saved: list[int], left: float | None, **changes: object) -> WalltimeGuard:
    given = {
        "name": "rlvr", "notify": [].append, "attempt": tmp_path, "done": 0, "last_saved": lambda: saved[-1],
        "longest_update": lambda: 100.0, "time_left": lambda: left,
    }  # fmt: skip
    return WalltimeGuard(**(given | changes))  # type: ignore[arg-type]


def test_near_the_time_limit_a_checkpoint_is_requested_and_waited_for(tmp_path: Path) -> None:
    saved, told = [4], []
    watch = guard(tmp_path, saved, 300.0, notify=told.append)
    watch()
    watch()
    assert (tmp_path / STOP_FILE).exists() and told == [
        "rlvr: 5 min 00 s of the job's time are left; saving after this update"
    ]
    saved.append(5)
    with pytest.raises(OutOfTime, match="The checkpoint after update 5 is complete"):
        watch()


@pytest.mark.parametrize(
    ("left", "changes"),
    [(400.0, {}), (None, {}), (10.0, {"longest_update": lambda: 0.0}), (10.0, {"attempt": None, "done": 4})],
    ids=["enough time", "no limit", "no update yet", "nothing saved in this attempt"],
)
def test_without_a_limit_near_the_run_continues(tmp_path: Path, left: float | None, changes: dict[str, object]) -> None:
    guard(tmp_path, [4], left, **changes)()
    assert not (tmp_path / STOP_FILE).exists()


def test_a_trainer_that_saves_at_fixed_steps_ends_without_a_request(tmp_path: Path) -> None:
    watch = guard(tmp_path, [8], 10.0, attempt=None, done=4)
    watch()
    with pytest.raises(OutOfTime, match="after update 8 is complete"):
        watch()


def scontrol(folder: Path, body: str) -> None:
    (folder / "scontrol").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "scontrol").chmod(0o755)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("echo 'Requested operation is presently disabled' >&2; exit 1", "Requested operation is presently disabled"),
        ("echo $@ > {folder}/asked", "Slurm did not end the job"),
        (None, "No such file or directory: 'scontrol'"),
    ],
)
def test_a_job_that_cannot_be_requeued_states_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str | None, told: str
) -> None:
    if body:
        scontrol(tmp_path, body.format(folder=tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(walltime, "_PATIENCE", 0.0)
    with (
        pytest.raises(OutOfTime, match=rf"The job was not requeued \(.*{told}.*\)\. Start the same command again"),
        requeued_when_out_of_time([].append),
    ):
        raise OutOfTime("The job's time is almost up.")
    if "Slurm did not" in told:
        assert (tmp_path / "asked").read_text() == "requeue 7\n"


def test_only_its_own_error_is_caught() -> None:
    with pytest.raises(UserError, match=r"^x$"), requeued_when_out_of_time([].append):
        raise UserError("x")


GIB = 1024**3


def test_a_memory_warning_is_printed_once_until_memory_is_free_again() -> None:
    told: list[str] = []
    used = iter([50, 91, 95, 80, 92])
    watch = MemoryWatch("rlvr, seed 1", told.append, interval=0.0, measure=lambda: (next(used) * GIB, 100 * GIB))
    for _ in range(5):
        watch()
    assert [line.split(" GiB of host")[0] for line in told] == [
        "rlvr, seed 1: 91.0 of 100.0",
        "rlvr, seed 1: 92.0 of 100.0",
    ]
    assert "(91%). The largest process is " in told[0] and ", process " in told[0]


def test_nothing_is_measured_between_two_checks() -> None:
    def fail() -> tuple[int, int]:
        raise AssertionError

    watch = MemoryWatch("x", [].append, interval=600.0, measure=lambda: (1, 100))
    watch()
    watch.measure = fail
    watch()


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_control_group_counts_without_cached_files(tmp_path: Path, version: int) -> None:
    top = tmp_path if version == 2 else tmp_path / "memory"
    group = top / "slurm" / "job_7" / "step_0"
    group.mkdir(parents=True)
    names = ("memory.current", "memory.max", "inactive_file")
    if version == 1:
        names = ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file")
    for folder, used, limit in ((group, 90, "max"), (group.parent, 95, str(100 * 2**20))):
        (folder / names[0]).write_text(f"{used * 2**20}\n")
        (folder / names[1]).write_text(f"{limit}\n")
        (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {3 * 2**20}\n")
    (tmp_path / "membership").write_text(
        "0::/slurm/job_7/step_0\n" if version == 2 else "4:memory:/slurm/job_7/step_0\n3:cpu,cpuacct:/\n"
    )
    assert memory_in_use(tmp_path, tmp_path / "membership") == (92 * 2**20, 100 * 2**20)


def test_without_control_groups_the_machine_counts(tmp_path: Path) -> None:
    used, limit = memory_in_use(tmp_path, tmp_path / "none")
    assert 0 < used < limit == psutil.virtual_memory().total
    assert memory_watch.largest_process()


GUARDED = """
import sys
from medrlvr.runtime.processes import run_process
run_process([sys.executable, "-c", sys.argv[1]], {}, lambda line: print(line, flush=True))
"""
LEAVES = """
import os, subprocess, sys, time
code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
children = [subprocess.Popen([sys.executable, "-c", code], start_new_session=True) for _ in range(2)]
if os.fork() == 0:
    os.setsid()
    subprocess.Popen([sys.executable, "-c", code])
    os._exit(0)
time.sleep(0.5)
print("started", flush=True)
time.sleep(600)
"""


def test_a_killed_step_leaves_no_process_of_its_command() -> None:
    step = other_process(GUARDED, LEAVES)
    family = psutil.Process(step.pid).children(recursive=True)
    assert len(family) >= 5
    step.kill()
    step.wait()
    assert not psutil.wait_procs(family, timeout=10)[1]


@pytest.mark.parametrize(("end", "code"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", -9), ("os.abort()", -6)])
def test_the_guard_ends_as_its_command(end: str, code: int) -> None:
    file = ROOT / "src/medrlvr/runtime/guard.py"
    command = [sys.executable, "-I", str(file), sys.executable, "-c", f"import os, sys; print('x', flush=True); {end}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.read() == "x\n"
        assert process.wait(10) == code


def test_the_guard_is_not_ended_by_the_signals_of_a_terminal() -> None:
    file = ROOT / "src/medrlvr/runtime/guard.py"
    command = [
        sys.executable,
        "-I",
        str(file),
        sys.executable,
        "-c",
        "print('x', flush=True); import time; time.sleep(600)",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (child,) = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)
        process.terminate()
        time.sleep(0.3)
        assert process.poll() is None and child.is_running()
        child.terminate()
        assert process.wait(10) == -signal.SIGTERM


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    values = {
        "HOME": f"{tmp_path}/jane",
        "HF_TOKEN": "hf_planted",
        "A_KEY": "secret words",
        "TOKENIZERS_PARALLELISM": "no",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "disk" / "jane").mkdir(parents=True)
    (tmp_path / "jane").symlink_to(tmp_path / "disk" / "jane")
    for cached in (redacting._secrets, redacting._homes):
        cached.cache_clear()
    yield
    for cached in (redacting._secrets, redacting._homes):
        cached.cache_clear()


@pytest.mark.usefixtures("secrets")
def test_a_log_has_no_secret_and_no_home_folder(tmp_path: Path) -> None:
    text = f"{tmp_path}/jane/proj: hf_planted in 'secret words', {tmp_path}/janet/x, no"
    assert redacting.redact(text) == f"~/proj: [HF_TOKEN] in '[A_KEY]', {tmp_path}/janet/x, no"
    lines: list[str] = []
    run_process([sys.executable, "-c", f"print({text!r})"], {}, lines.append)
    assert lines == [redacting.redact(text)]


SCRIPT = """
import json, runpy, sys
from types import SimpleNamespace as Bag
base = {"source": "path", "name": sys.argv[2], "licence": "x"}
output = Bag(model=sys.argv[1] + "/model", origin=sys.argv[1] + "/base.json")
step = Bag(
    rule="fetch_base", wildcards=[], log=[sys.argv[1] + "/log"], output=output,
    params=Bag(base=base, cache=sys.argv[1]),
    config={"experiment": "x", "title": "X", "base": base},
)
runpy.run_path("workflow/scripts/fetch_model.py", {"snakemake": step}, "__main__")
"""


def test_a_base_in_the_home_folder_is_shown_without_it(tmp_path: Path) -> None:
    """Pages and model cards show base.json."""
    shutil.copytree(ROOT / "assets/miniature_base", tmp_path / "jane/base")
    config = tmp_path / "jane/base/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 32768}))
    environment = os.environ | {"HOME": f"{tmp_path}/jane", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), f"{tmp_path}/jane/base"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "base.json").read_text()) == {"name": "~/base", "origin": "~/base"}


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("in {home}", "in ~"),
        ("'{home}': {home}/x:{home}", "'~': ~/x:~"),
        ("{disk}/jane/x", "~/x"),
        ("/mnt{home}/x, {home}-2", "/mnt{home}/x, {home}-2"),
        (
            "http://jane:pass@proxy:80/x@y, https://:t0ken@hub",
            "http://[credentials]@proxy:80/x@y, https://[credentials]@hub",
        ),
        ("ray://127.0.0.1:80, a@b", "ray://127.0.0.1:80, a@b"),
    ],
)
def test_every_form_of_the_home_folder_and_a_password_in_a_url(tmp_path: Path, text: str, redacted: str) -> None:
    places = {"home": f"{tmp_path}/jane", "disk": f"{tmp_path}/disk"}
    assert redacting.redact(text.format(**places)) == redacted.format(**places)


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    "word", ["{home}/a b", "x={home}/y:{home}/z", "{home}", "{home}t/x", "it's {home}/$x", "plain"]
)
def test_a_saved_command_does_the_same_in_another_home(tmp_path: Path, word: str) -> None:
    home = f"{tmp_path}/jane"
    script = tmp_path / "command.sh"
    write_command(script, ["printf", "%s", word.format(home=home)], {})
    assert f"{home}/" not in script.read_text()
    for there in (home, "/elsewhere"):
        done = subprocess.run(
            ["sh", script], env={"PATH": os.environ["PATH"], "HOME": there}, capture_output=True, text=True
        )
        assert done.stdout == word.format(home=home).replace(f"{home}/", f"{there}/").replace(
            home, there if word == "{home}" else home
        )


def test_no_command_uses_a_shell() -> None:
    """Names, paths and texts of users reach programs only as elements of argument lists."""
    found = []
    for file in [*Path("src").rglob("*.py"), *Path("workflow").rglob("*.py"), *Path("envs").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                shell = any(keyword.arg == "shell" for keyword in node.keywords)
                if shell or name in ("os.system", "os.popen", "eval", "subprocess.getoutput"):
                    found.append(f"{file}, line {node.lineno}")
    for file in [Path("Snakefile"), *Path("workflow").rglob("*.smk")]:
        if re.search(r"^\s*(shell|run):", file.read_text(encoding="utf-8"), re.MULTILINE):
            found.append(str(file))
    assert found == []


HOSTILE = ["$(touch pwned)", "`touch pwned`", "; touch pwned", "a\ntouch pwned", "'\"; touch pwned #", "| touch pwned"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_with_characters_of_the_shell_runs_nothing(tmp_path: Path, text: str) -> None:
    lines: list[str] = []
    code = "import sys; print(repr(sys.argv[1:]))"
    run_process([sys.executable, "-c", code, text], {"MEDRLVR_REWARD": text}, lines.append)
    assert lines == [repr([text])]
    script = tmp_path / "command.sh"
    write_command(script, [sys.executable, "-c", code, text], {"MEDRLVR_REWARD": text})
    done = subprocess.run(["sh", str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{[text]!r}\n" and [path.name for path in tmp_path.iterdir()] == ["command.sh"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is missing. Run the step that writes it again."), (b"", "cannot be read as a parquet file"),
     (b"PAR1 half", "cannot be read as a parquet file")],
)  # fmt: skip
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "table.parquet"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_parquet(file)
    assert str(error.value).startswith(f"{file} {message}")


HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmean_load\n"


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (HEAD + "2.5\t0:00:02\t512.0\t900\t150.0\n", 2.5),
        (HEAD + "0.1\t0:00:00\t-\t-\t-\n", 0.1),
        (HEAD, None),
        ("", None),
        (HEAD + "2.5\t0:00", None),
        (HEAD + "x\t0:00:02\t512.0\t900\t150.0\n", None),
        ("s\th:m:s\n2.5\t0:00:02\n", None),
        (None, None),
    ],
)
def test_a_benchmark_of_a_killed_job_does_not_count(tmp_path: Path, content: str | None, seconds: float | None) -> None:
    file = tmp_path / "job.tsv"
    if content is not None:
        file.write_text(content)
    found = read_benchmark(file)
    assert (found and found["s"]) == seconds
    if seconds == 0.1:
        assert found is not None and math.isnan(found["max_rss"]) and math.isnan(found["mean_load"])


@pytest.mark.parametrize("content", [b"", b'[{"candidate": ', b"\xff\xfe[", b"[" * 100_000])
def test_a_damaged_json_file_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "selection.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{re.escape(str(file))} is not JSON: .*delete it and start"):
        read_json_value(file)


def test_a_json_list_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [{"candidate": "update20", "chosen": True}])
    assert read_json_value(tmp_path / "a.json") == [{"candidate": "update20", "chosen": True}]
