"""What `medrlvr status` prints, from files that each test writes itself."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from forked import python

from medrlvr.config.experiment import Experiment
from medrlvr.config.load import load_config, read_overlays
from medrlvr.pipeline.slurm_queue import SlurmJob, ask_slurm, parse_queue
from medrlvr.pipeline.status import SILENCE, render
from medrlvr.runtime.progress import Progress, parse, run_display_name
from medrlvr.runtime.step_log import StepRecord, read_step_record

ARMS = {
    "sft": {"trainer": "sft", "learning_rates": [1e-5, 5e-6]},
    "rlvr": {"trainer": "rlvr", "reward": "paper", "seeds": [1, 2]},
    "rlvr_no_kl": {"trainer": "rlvr", "reward": "paper", "kl_coefficient": 0.0},
}
NOW = time.time()
ROOT = Path(__file__).parents[1]
STEP = """
import sys
from types import SimpleNamespace
from medrlvr.runtime.errors import Interrupted, UserError
from medrlvr.runtime.step_log import step_log

with step_log(SimpleNamespace(rule="train_rlvr", wildcards=["rlvr", "1"], log=[sys.argv[1]])) as notify:
    notify("rlvr, seed 1: update 9 of 110")
    print("rlvr: failed after all, says the trainer")
    END
"""
LOG = "results/mine/logs/checkpoints/rlvr/seed1.log"
ALARM = "reward hacking: empty think blocks: 0 % to 100 % since update 5, mean reward +0.10 to +0.90"
# Of `squeue --noheader --format "%A|%T|%r|%Z|%k"`, as Slurm 22.05 writes it.
QUEUE = """\
17|PENDING|Resources|{here}|rule_train_rlvr_wildcards_rlvr_1
18|PENDING|Priority|/home/me/elsewhere|rule_train_rlvr_wildcards_rlvr_2
19|RUNNING|None|{here}|rule_train_sft_wildcards_sft_1_1e-05
20|RUNNING|None|{here}|(null)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, in which the test stands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def experiment() -> Experiment:
    return load_config({"experiment": "mine", "title": "Mine", "arms": ARMS})


def begun(step: str, process: int = 1, host: str | None = None, slurm: str = "") -> str:
    """The first line of a log; process 1 is always there."""
    return f"{step}: started on {host or platform.node()}, process {process}{slurm}"


def write(path: str, *lines: str, age: float = 10.0) -> None:
    """Write a file that was last written `age` seconds ago."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.utime(file, (NOW - age, NOW - age))


def make_tables(*runs: str) -> None:
    for run in runs:
        for table in ("rollouts", "trainer"):
            write(f"results/mine/rollouts/{run}/{table}.parquet")


def rows(experiment: Experiment, queue: list[SlurmJob] | None = None) -> dict[str, str]:
    """Name -> the rest of its row, the lines under it joined."""
    found: dict[str, str] = {}
    name = ""
    for line in render(experiment, queue, NOW).split("\n")[2:]:
        assert len(line) <= 120
        if line.startswith(" "):
            found[name] += " " + line.strip()
        elif line:
            name, _, rest = line.partition("  ")
            found[name] = " ".join(rest.split())
    return found


def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_every_run_waits_before_the_first(experiment: Experiment) -> None:
    found = rows(experiment)
    trained = ["sft, learning rate 1e-05, seed 1", "sft, learning rate 5e-06, seed 1"]
    trained += ["rlvr, seed 1", "rlvr, seed 2", "rlvr_no_kl, seed 1"]
    assert list(found)[:5] == trained and set(found.values()) == {"waiting"}
    assert list(found)[5:] == ["questions", "base model", "checkpoint selection", "evaluation", "report"]


def test_the_state_of_a_run_is_that_of_its_last_line(experiment: Experiment) -> None:
    step, stage = "train_rlvr rlvr 1", "rlvr, seed 1"
    lines = [
        begun(step),
        f"{stage}: at most 1 GB of disk",
        f"{stage}: 110 updates; starting Ray, vLLM and three models",
    ]
    write(LOG, *lines)
    assert rows(experiment)[stage] == "running 110 updates; starting Ray, vLLM and three models"
    clock = iter([0.0, 60.0]).__next__
    progress = Progress(stage, 110, clock=clock)
    first = progress.line(8, "mean reward +0.10")
    old = f"{stage}: reward hacking: position bias"
    lines += ["Episode [1/2]: 50%", first, old, progress.line(9, "mean reward +0.20"), "rlvr, seed 2: update 90 of 110"]
    write(LOG, *lines)
    assert rows(experiment)[stage] == (
        "running update 9 of 110, mean reward +0.20, about 1 h 41 min left reward hacking: position bias"
    )
    write(LOG, *lines, f"{stage}: {ALARM}", f"{stage}: reward hacking: pre-think")
    told = rows(experiment)[stage]
    assert f"left {ALARM} reward hacking: pre-think" in told and "position bias" not in told
    assert rows(experiment)["rlvr, seed 2"] == rows(experiment)["rlvr_no_kl, seed 1"] == "waiting"


def test_arms_of_one_trainer_are_distinguished(experiment: Experiment) -> None:
    for arm, update in (("rlvr", 3), ("rlvr_no_kl", 70)):
        stage = run_display_name(arm, 1)
        log = f"results/mine/logs/checkpoints/{arm}/seed1.log"
        write(log, begun(f"train_rlvr {arm} 1"), Progress(stage, 110).line(update))
    found = rows(experiment)
    assert found["rlvr, seed 1"] == "running update 3 of 110"
    assert found["rlvr_no_kl, seed 1"] == "running update 70 of 110"


def test_each_learning_rate_is_a_run(experiment: Experiment) -> None:
    stage = run_display_name("sft", 1, 1e-5)
    step = "train_sft sft 1 1e-05"
    line = Progress(stage, 730, unit="batch").line(75, "epoch 2 of 10, loss 0.31")
    write("results/mine/logs/checkpoints/sft/seed1/lr1e-05.log", begun(step), line)
    write("results/mine/dynamics/sft/seed1/lr5e-06.parquet")
    found = rows(experiment)
    assert found[stage] == "running batch 75 of 730, epoch 2 of 10, loss 0.31"
    assert found["sft, learning rate 5e-06, seed 1"] == "done"


def test_a_silent_run_with_a_live_process_may_hang(experiment: Experiment) -> None:
    lines = [begun("train_rlvr rlvr 1"), Progress("rlvr, seed 1", 110).line(9)]
    write(LOG, *lines, age=SILENCE - 1)
    assert rows(experiment)["rlvr, seed 1"] == "running update 9 of 110"
    write(LOG, *lines, age=20 * 60)
    why = f"process 1 on {platform.node()} exists, but has printed nothing for 20 min 00 s; it may hang."
    assert rows(experiment)["rlvr, seed 1"] == f"silent update 9 of 110 {why}"


def test_a_silent_run_elsewhere_has_stopped_or_hangs(experiment: Experiment) -> None:
    write(LOG, begun("train_rlvr rlvr 1", host="node7"), Progress("rlvr, seed 1", 110).line(9), age=2 * 3600)
    told = rows(experiment)["rlvr, seed 1"]
    assert told.startswith(
        "silent update 9 of 110 process 1 on node7 has printed nothing for 2 h 00 min: it has stopped or hangs."
    )
    assert told.endswith("If it no longer exists, start the same command again to resume it.")
    write(LOG, begun("train_rlvr rlvr 1", host="node7"), Progress("rlvr, seed 1", 110).line(9))
    assert rows(experiment)["rlvr, seed 1"] == "running update 9 of 110"


def test_a_killed_run_is_detected_at_once(experiment: Experiment) -> None:
    write(LOG, begun("train_rlvr rlvr 1", gone()), Progress("rlvr, seed 1", 110).line(9))
    told = rows(experiment)["rlvr, seed 1"]
    assert told.startswith("stopped update 9 of 110 its process no longer exists; the last log output was 10 s ago.")
    # Another program has its number by now: this test, which began before NOW, but after the log's last word.
    write(LOG, begun("train_rlvr rlvr 1", os.getpid()), age=10**7)
    assert rows(experiment)["rlvr, seed 1"].startswith("stopped its process no longer exists")


def test_tables_do_not_make_a_killed_run_done(experiment: Experiment) -> None:
    """The models are handed over after the tables."""
    make_tables("rlvr/seed1")
    write(LOG, begun("train_rlvr rlvr 1", gone()))
    assert rows(experiment)["rlvr, seed 1"].startswith("stopped")


def test_a_done_run_by_its_log_or_by_its_tables(experiment: Experiment) -> None:
    make_tables("rlvr/seed1", "rlvr/seed2")
    end = ["train_rlvr rlvr 1: done in 2 h 05 min"]
    lines = [begun("train_rlvr rlvr 1", gone()), Progress("rlvr, seed 1", 110).line(110), f"rlvr, seed 1: {ALARM}"]
    write(LOG, *lines, *end, age=10**6)
    assert rows(experiment)["rlvr, seed 1"] == f"done update 110 of 110, in 2 h 05 min {ALARM}"
    assert rows(experiment)["rlvr, seed 2"] == "done"
    Path("results/mine/rollouts/rlvr/seed1/trainer.parquet").unlink()
    assert rows(experiment)["rlvr, seed 1"] == "waiting", "Snakemake will make it again"


def run_step(end: str, **variables: str) -> str:
    """Let a step end so, and return what its console said."""
    Path(LOG).parent.mkdir(parents=True, exist_ok=True)
    there = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    command = [sys.executable, "-c", STEP.replace("END", end), LOG]
    environment = {**there, "PYTHONPATH": str(ROOT / "src"), **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stderr


def frame() -> StepRecord:
    found = read_step_record(Path(LOG).read_text(encoding="utf-8").split("\n"))
    assert found is not None and (found.step, found.host) == ("train_rlvr rlvr 1", platform.node())
    return found


@pytest.mark.parametrize(
    ("end", "word", "reason"),
    [
        ("raise UserError('training ended badly.\\n\\nThe last it said:\\n  x')", "failed", "training ended badly."),
        ("raise Interrupted('training was stopped by SIGINT.')", "stopped", "training was stopped by SIGINT."),
        ("raise KeyboardInterrupt", "stopped", "It was stopped by Ctrl-C. Start the same command again."),
        ("raise KeyError('x')", "failed", "KeyError: 'x'"),
    ],
)  # fmt: skip
def test_a_failed_run_has_reason_and_place(experiment: Experiment, end: str, word: str, reason: str) -> None:
    console = run_step(end)
    assert "train_rlvr rlvr 1: " in console and reason in console and "started on" not in console
    found = frame()
    assert (found.end, found.reason, found.slurm_job) == (word, reason, None)
    told = rows(experiment)["rlvr, seed 1"]
    assert told.startswith(f"{word} update 9 of 110 0 s ago: {reason} log: {LOG}")
    assert "x" not in told.removesuffix(LOG).split(reason)[1], "the rest is in the log"


@pytest.mark.usefixtures("experiment")
def test_a_step_whose_log_is_on_a_full_disk_still_reports_to_the_console() -> None:
    Path(LOG).parent.mkdir(parents=True)
    Path(LOG).symlink_to("/dev/full")
    told = "train_rlvr rlvr 1: failed after 0 s\n[Errno 28] No space left on device\nThe disk or your quota is full."
    assert told in run_step("pass")
    # The log's first line still had room.
    quiet = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
    Path(LOG).unlink()
    assert told in run_step(f"{quiet}\n    print('x', flush=True)") and frame().end is None


def test_a_retry_starts_a_new_log(experiment: Experiment) -> None:
    run_step("raise UserError('training ended with status 1.')")
    assert rows(experiment)["rlvr, seed 1"].startswith("failed")
    run_step("import os; sys.stdout.flush(); os._exit(9)", SLURM_JOB_ID="31")
    assert (frame().end, frame().slurm_job) == (None, "31")
    assert rows(experiment)["rlvr, seed 1"] == "running update 9 of 110"
    assert rows(experiment, [])["rlvr, seed 1"].startswith("lost update 9 of 110 Slurm job 31 no longer exists")
    make_tables("rlvr/seed1")
    run_step("pass")
    assert frame().end == "done" and rows(experiment)["rlvr, seed 1"] == "done update 9 of 110, in 0 s"


def test_the_messages_of_slurm(experiment: Experiment, here: Path) -> None:
    queue = parse_queue(QUEUE.format(here=here))
    assert [job.number for job in queue] == ["17", "18", "19", "20"]
    found = rows(experiment, queue)
    assert found["rlvr, seed 1"] == "waiting pending in Slurm's queue (Resources), job 17"
    assert found["rlvr, seed 2"] == "waiting", "that job runs in another folder"
    assert found["sft, learning rate 1e-05, seed 1"] == "running in Slurm (RUNNING), job 19; it has no log yet"
    assert found["sft, learning rate 5e-06, seed 1"] == "waiting"


def test_a_job_submitted_again_states_why_it_failed_before(experiment: Experiment, here: Path) -> None:
    queue = parse_queue(QUEUE.format(here=here))
    ended = ["train_rlvr rlvr 1: failed after 3 s", "training ended with signal 9.", f"(log: {LOG})"]
    write(LOG, begun("train_rlvr rlvr 1", host="node7", slurm=", Slurm job 16"), *ended)
    pending = "waiting pending in Slurm's queue (Resources), job 17"
    told = f"{pending} the previous attempt failed: training ended with signal 9."
    assert rows(experiment, queue)["rlvr, seed 1"] == told
    write(LOG, begun("train_rlvr rlvr 1", host="node7", slurm=", Slurm job 16"))
    assert rows(experiment, queue)["rlvr, seed 1"] == "waiting pending in Slurm's queue (Resources), job 17"
    write(LOG, begun("train_rlvr rlvr 1", host="node7", slurm=", Slurm job 17"))
    assert rows(experiment, queue)["rlvr, seed 1"] == "waiting pending in Slurm's queue (Resources), job 17", "requeued"
    write(LOG, begun("train_rlvr rlvr 1", host="node7", slurm=", Slurm job 16"))
    assert rows(experiment, [])["rlvr, seed 1"].startswith(
        "lost Slurm job 16 no longer exists; the last log output was 10 s ago."
    )


def test_a_job_of_slurm_is_identified_by_its_number(experiment: Experiment, here: Path) -> None:
    queue = parse_queue(f"16|RUNNING|None|{here}|rule_train_rlvr_wildcards_rlvr_1\n")
    lines = [begun("train_rlvr rlvr 1", host="node7", slurm=", Slurm job 16"), Progress("rlvr, seed 1", 110).line(9)]
    write(LOG, *lines)
    assert rows(experiment, queue)["rlvr, seed 1"] == "running update 9 of 110"
    write(LOG, *lines, age=3600)
    assert (
        "node7, Slurm job 16, exists, but has printed nothing for 1 h 00 min" in rows(experiment, queue)["rlvr, seed 1"]
    )
    assert (
        "Slurm job 16, has printed nothing for 1 h 00 min: it has stopped or hangs" in rows(experiment)["rlvr, seed 1"]
    ), "Slurm did not answer"


def test_a_query_to_slurm_ends_after_five_seconds(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setenv("PATH", str(here))
    assert ask_slurm() is None
    squeue = here / "squeue"
    squeue.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    squeue.chmod(0o755)
    assert ask_slurm() is None
    squeue.write_text(f"#!/bin/sh\necho '17|PENDING|Resources|{here}|rule_x'\necho \"$@\" > asked\n", encoding="utf-8")
    assert ask_slurm() == [SlurmJob("17", "PENDING", "Resources", str(here), "rule_x")]
    asked = Path("asked").read_text(encoding="utf-8")
    assert "--format %A|%T|%r|%Z|%k" in asked
    assert f"--user {os.getuid()} " in asked, "a container may have no name for it"

    def hang(*_: object, timeout: float, **__: object) -> None:
        assert timeout == 5
        raise subprocess.TimeoutExpired("squeue", timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert ask_slurm() is None


def test_other_steps_are_shown_while_they_run_or_if_they_failed(experiment: Experiment) -> None:
    logs = Path("results/mine/logs")
    asking = Progress("rlvr/seed1", 600, unit="answer").line(40)
    write(str(logs / "eval/rlvr/seed1/generate_answers.log"), begun("generate_answers rlvr/seed1"), asking)
    ended = ["find_overlaps: failed after 1 s", "no questions"]
    write(str(logs / "data/find_overlaps.log"), begun("find_overlaps"), *ended)
    write(str(logs / "data/find_duplicates.log"), begun("find_duplicates"), "find_duplicates: done in 1 s")
    write(str(logs / "data/another.log"), "no frame")
    write("results/mine/data/train.parquet")
    for model in ("base", "sft/seed1"):
        write(f"results/mine/eval/{model}/metrics.json")
    found = rows(experiment)
    assert found["generate_answers rlvr/seed1"] == "running answer 40 of 600"
    assert found["find_overlaps"] == f"failed 10 s ago: no questions log: {logs}/data/find_overlaps.log"
    assert "find_duplicates" not in found
    # base, sft, three runs of RLVR, and the best on development of each
    assert (found["questions"], found["evaluation"], found["report"]) == ("done", "2 of 8", "waiting")


@pytest.mark.parametrize("facts", ["", "mean reward +0.20", "epoch 2 of 10, loss 0.31"])
def test_a_line_of_progress_is_read_as_it_is_written(facts: str) -> None:
    progress = Progress("rlvr, seed 1", 7300, clock=iter([0.0, 60.0]).__next__)
    first, second = progress.line(1008, facts), progress.line(1009, facts)
    at = ", ".join(filter(None, ["update 1,008 of 7,300", facts]))
    assert parse(first) == ("rlvr, seed 1", at, "")
    assert parse(second) == ("rlvr, seed 1", at.replace("1,008", "1,009"), ", about 104 h 51 min left")


def test_other_lines_are_not_progress() -> None:
    for line in ("rlvr, seed 1: 110 updates; starting Ray", "", f"rlvr, seed 1: {ALARM}", "Episode [1/2]: 50%"):
        assert parse(line) is None


def status_of(*overlays: str) -> subprocess.CompletedProcess[str]:
    return python(
        "-m", "medrlvr.cli.main", "status", *overlays, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}
    )


def test_a_wrong_configuration_is_rejected_with_the_reason(here: Path) -> None:
    wrong = here / "wrong.yaml"
    wrong.write_text("arms: {rlvr: {episods: 2}}\n", encoding="utf-8")
    for text, said in (
        ("arms: {rlvr: {episods: 2}}", "arms.rlvr.episods: unknown key; did you mean episodes?"),
        ("arms: [", "not YAML"),
        ("- a", "is not a configuration"),
    ):
        wrong.write_text(f"{text}\n", encoding="utf-8")
        result = status_of("config/miniature.yaml", str(wrong))
        assert result.returncode == 1 and said in result.stderr and str(wrong) in result.stderr
        assert "Traceback" not in result.stderr and not result.stdout
    assert "nowhere.yaml" in status_of("nowhere.yaml").stderr


def test_overlays_are_merged_as_snakemake_does(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = status_of("config/miniature.yaml", "tests/short.yaml")
    assert result.returncode == 0
    assert result.stdout.startswith("short: A short run\n\nsft, learning rate 0.0003, seed 1")
    assert read_overlays([]) == Experiment()
    files = [here / "first.yaml", here / "second.yaml"]
    texts = ["arms: {sft: null, rlvr: {episodes: 2, seeds: [1, 2]}}", "arms: {sft: {epochs: 3}, rlvr: {episodes: 3}}"]
    for file, text in zip(files, texts, strict=True):
        file.write_text(f"{text}\n", encoding="utf-8")
    planned = subprocess.run(
        [sys.executable, "-c", MERGE, *map(str, files)], capture_output=True, text=True, check=True
    ).stdout
    assert read_overlays(files) == load_config(yaml.safe_load(planned))


MERGE = """
import sys, yaml
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

changes = {}
for file in sys.argv[1:]:
    update_config(changes, load_configfile(file))
values = load_configfile("config/config.yaml")
update_config(values, changes)
print(yaml.safe_dump(yaml.safe_load(__import__("json").dumps(values))))
"""


@pytest.mark.usefixtures("experiment")
def test_sigterm_ends_a_step_with_a_message_at_any_time() -> None:
    """Also between two programs; while a program runs, `run_process` takes the signal."""
    console = run_step("import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)")
    assert "stopped after 0 s\nIt was stopped by SIGTERM. Start the same command again." in console
    assert f"(log: {LOG})" in console and "Traceback" not in console + Path(LOG).read_text(encoding="utf-8")
    assert frame().end == "stopped"


@pytest.mark.usefixtures("experiment")
def test_what_other_programs_write_into_the_log_is_redacted_at_its_end() -> None:
    printed = "echo 'warning in /home/jane.doe/x.py'; echo token a-secret-of-mine"
    program = f"import os, subprocess; subprocess.run(['sh', '-c', {printed!r}])"
    run_step(f"{program}; print('at', os.environ['HOME'])", HOME="/home/jane.doe", PLANTED_TOKEN="a-secret-of-mine")
    text = Path(LOG).read_text(encoding="utf-8")
    assert "warning in ~/x.py\ntoken [PLANTED_TOKEN]\n" in text and "at ~\n" in text
    assert "jane.doe" not in text and "a-secret" not in text and "\0" not in text
    assert frame().end == "done"
