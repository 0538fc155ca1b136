"""The command `medrlvr`: its help, its folders, its exit status, and what it hands to Snakemake."""

import ast
import fcntl
import io
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import pytest
from forked import python

from medrlvr.cli.commands import COMMANDS
from medrlvr.cli.json_lines import grade_lines, read_reward
from medrlvr.cli.main import main
from medrlvr.cli.root import enter_root, profile_from
from medrlvr.cli.snakemake import snakemake_arguments
from medrlvr.config.load import read_overlays
from medrlvr.grading import grade
from medrlvr.report.scores import arm_scores
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import write_text
from medrlvr.runtime.progress import ALARM_PREFIX, Progress

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
RIGHT = {"id": 7, "response": "<think>x</think><answer>B</answer>", "options": ["x", "y"], "gold": "B"}


def medrlvr(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith(("MEDRLVR_", "PYTHONPATH"))}
    source = {"PYTHONPATH": str(SOURCE)}
    return python("-m", "medrlvr.cli.main", *words, cwd=cwd, env=own | source | environment)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a clone, with a folder inside that is the working directory."""
    root = tmp_path / "clone"
    (root / "src").mkdir(parents=True)
    (root / "src/medrlvr").symlink_to(SOURCE / "medrlvr")
    (root / "Snakefile").touch()
    (root / "inside").mkdir()
    monkeypatch.chdir(root / "inside")
    return root


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_synopsis_and_example_and_the_document_has_both(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    entry, text = COMMANDS[command], capsys.readouterr().out
    assert text.startswith(f"usage: medrlvr {command} {entry.synopsis}".rstrip() + "\n")
    assert f"\n\nexample:\n  {entry.example}\n" in text
    document = Path(ROOT / "docs/cli.md").read_text(encoding="utf-8")
    synopsis = f"medrlvr {command} {entry.synopsis}".rstrip().replace("|", "\\|")
    assert f"| `{synopsis}` | {entry.purpose} |\n" in document
    assert f"    {entry.example}\n" in document
    # The synopsis names every option that the parser knows.
    parser = import_module(f"medrlvr.cli.{entry.module}").PARSERS[command]()
    options = {words[0] for action in parser._actions if (words := action.option_strings)} - {"-h"}
    assert options == set(re.findall(r"\[(--?[a-z]+)", entry.synopsis))
    parser.parse(entry.example.split()[2:])


def test_the_list_of_commands_is_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(re.search(rf"^  {name} +{re.escape(entry.purpose)}$", text, re.M) for name, entry in COMMANDS.items())


@pytest.mark.parametrize(
    "words", [[], ["nothing"], ["run", "--nothing"], ["grade", "a", "b"], ["report"], ["config", "write", "a.yaml"]]
)
def test_wrong_usage_ends_with_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "usage: medrlvr" in capsys.readouterr().err


def test_an_error_is_its_message_and_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["status"], ["run"], ["config", "show"]):
        assert main(words) == 1
        assert capsys.readouterr().err == (
            f"{tmp_path} is not in a clone of Med-RLVR: neither this folder nor a folder above it contains its"
            " Snakefile. Change to the folder of your clone and start the command there.\n"
        )
    assert main(["run", "nowhere.yaml"]) == 1
    assert capsys.readouterr().err.startswith("nowhere.yaml does not exist. ")
    assert main(["report", "nowhere"]) == 1
    assert "nowhere/report.html does not exist" in capsys.readouterr().err


def test_paths_are_relative_to_the_users_folder(project: Path) -> None:
    from_root = enter_root()
    assert Path.cwd() == project
    assert [from_root(path) for path in ("a.yaml", "../b.yaml", str(project / "c.yaml"))] == [
        "inside/a.yaml",
        "b.yaml",
        "c.yaml",
    ]
    assert from_root("../../outside.yaml") == str(project.parent / "outside.yaml")
    assert profile_from(from_root, "slurm") == "slurm"
    assert profile_from(from_root, "../slurm") == "slurm"
    assert profile_from(from_root, None) is None


def test_a_clones_own_library_takes_precedence(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "src/medrlvr").unlink()
    (project / "src/medrlvr").mkdir()
    called: list[tuple[list[str], str]] = []

    def execve(_: str, command: list[str], environment: dict[str, str]) -> None:
        called.append((command[1:3], environment["PYTHONPATH"]))

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setenv("PYTHONPATH", "other")
    enter_root()
    own = f"{project / 'src'}{os.pathsep}other"
    assert called == [(["-m", "medrlvr.cli.main"], own)]
    # Once started so, it does not start again.
    monkeypatch.setenv("PYTHONPATH", own)
    enter_root()
    assert len(called) == 1


def test_snakemake_gets_the_options_that_make_gave() -> None:
    usual = ["--quiet", "host", "reason", "rules", "progress", "--rerun-incomplete", "--cores"]
    assert snakemake_arguments(["a", "b"], cores="3", until=["x", "y"], dry_run=True, more=["target"]) == [
        *("--configfile", "a", "b", "--until", "x", "y", "--dry-run"),
        *(*usual, "3", "target"),
    ]
    assert snakemake_arguments([]) == [*usual, str(len(os.sched_getaffinity(0)))]
    assert snakemake_arguments(["a"], profile="slurm") == ["--configfile", "a", "--profile", "slurm"]
    assert snakemake_arguments([], profile="slurm", cores="1") == ["--profile", "slurm", "--cores", "1"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["demo", "--cores", "2", "--", "--", "x"], (["config/miniature.yaml"], ["--", "x"])),
        (["run", "-n", "a.yaml", "--cores", "2", "../b.yaml"], (["inside/a.yaml", "b.yaml", "--dry-run"], [])),
    ],
)
def test_running_prints_the_command_and_becomes_snakemake(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    expected: tuple[list[str], list[str]],
) -> None:
    class Became(Exception):
        pass

    def execv(program: str, command: list[str]) -> None:
        assert (program, command[:3]) == (sys.executable, [sys.executable, "-m", "snakemake"])
        raise Became(command[3:])

    monkeypatch.setattr(os, "execv", execv)
    for name in ("inside/a.yaml", "b.yaml"):
        (project / name).touch()
    with pytest.raises(Became) as became:
        main(words)
    first, last = expected
    usual = ["--quiet", "host", "reason", "rules", "progress", "--rerun-incomplete", "--cores", "2"]
    assert became.value.args == (["--configfile", *first, *usual, *last],)
    assert Path.cwd() == project and os.environ["PYTHONPATH"].split(os.pathsep)[0] == str(SOURCE)
    assert capsys.readouterr().err.startswith(f"{sys.executable} -m snakemake --configfile {first[0]} ")


SNAKEMAKE = """
import os, sys, time
try:
    print(sys.argv[1:], os.getcwd(), os.environ["PYTHONPATH"].split(os.pathsep)[0], flush=True)
    time.sleep(60 if "wait" in sys.argv else 0)
except KeyboardInterrupt:
    print("interrupted")
sys.exit(7)
"""


def test_signals_and_exit_status_are_snakemakes(project: Path) -> None:
    """Another program takes its place. test_docs.py gives the arguments of commands to the real one."""
    (project / "inside/a.yaml").touch()
    (project / "snakemake.py").write_text(SNAKEMAKE, encoding="utf-8")
    command = [sys.executable, "-m", "medrlvr.cli.main", "run", "a.yaml", "--profile", "slurm", "--", "wait"]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        arguments = "['--configfile', 'inside/a.yaml', '--profile', 'slurm', 'wait']"
        assert process.stdout and process.stdout.readline() == f"{arguments} {project} {SOURCE}\n"
        process.send_signal(signal.SIGINT)
        printed, command_line = process.communicate(timeout=30)
    assert (printed, process.returncode) == ("interrupted\n", 7)
    assert command_line == f"{sys.executable} -m snakemake --configfile inside/a.yaml --profile slurm wait\n"


TWICE = """
import sys
print(sys.argv[1:], flush=True)
sys.exit(int("--until" in sys.argv and "fail" in open("config/miniature.yaml").read()))
"""


@pytest.mark.parametrize(
    ("words", "results", "phases"),
    [
        (["demo"], "miniature", 2),
        (["run", "config/miniature.yaml"], "miniature", 2),
        (["run", "config/miniature.yaml"], "other", 1),
        (["run", "config/miniature.yaml", "-n"], "miniature", 1),
        (["run", "config/miniature.yaml", "--until", "x"], "miniature", 1),
        (["demo", "--", "x"], "miniature", 1),
    ],
)
def test_a_run_with_results_prepares_the_prompts_first(
    project: Path, words: list[str], results: str, phases: int
) -> None:
    (project / "results" / results / "prompts").mkdir(parents=True)
    printed = _in_a_copy(project, words)
    assert printed.returncode == 0 and len(printed.stdout.splitlines()) == phases, printed
    assert ("'--until', 'render_training_prompts']" in printed.stdout) == (phases == 2)


def test_a_failed_preparation_ends_the_run_with_its_status(project: Path) -> None:
    (project / "results/miniature/prompts").mkdir(parents=True)
    printed = _in_a_copy(project, ["demo"], "# fail")
    assert (printed.returncode, len(printed.stdout.splitlines())) == (1, 1)


def _in_a_copy(project: Path, words: list[str], more: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command with another program in place of Snakemake and the real configuration."""
    for name in ("config.yaml", "miniature.yaml", "datasets.tsv"):
        text = (SOURCE.parent / "config" / name).read_text(encoding="utf-8")
        write_text(project / "config" / name, f"{text}{more if name == 'miniature.yaml' else ''}")
    for folder in ("prompts", "assets"):
        (project / folder).symlink_to(SOURCE.parent / folder)
    write_text(project / "snakemake.py", TWICE)
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-m", "medrlvr.cli.main", *words]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [["demo"], ["run"], ["run", "-n"]])
def test_a_personal_profile_of_snakemake_is_ignored(project: Path, command: list[str]) -> None:
    """It may send every job to a cluster, although no flag was given."""
    (project / "snakemake.py").write_text("import os; print('SNAKEMAKE_PROFILE' in os.environ)", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "SNAKEMAKE_PROFILE": "mine"}
    words = [sys.executable, "-m", "medrlvr.cli.main", *command]
    printed = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed == "False\n"


def test_a_report_is_found_and_rendered_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = project / "results/mine"
    results.mkdir(parents=True)
    (results / "report.html").touch()
    assert main(["report", "../results/mine"]) == 0
    assert capsys.readouterr().out == "../results/mine/report.html\n"
    assert main(["report", "--rebuild", "../results/mine/"]) == 1
    assert "../results/mine/config.yaml does not exist" in capsys.readouterr().err
    (results / "config.yaml").touch()
    (results / "report.html").unlink()
    called: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: called.append(command[3:]))
    main(["report", "../results/mine/", "--rebuild"])
    page = "results/mine/report.html"
    assert called[0][:2] == ["--configfile", "results/mine/config.yaml"]
    assert called[0][-4:] == ["--forcerun", page, "--", page]


def test_settings_are_shown_and_checked(clone: Path, tmp_path: Path) -> None:
    shown = medrlvr("config", "show", "../config/miniature.yaml", cwd=clone / "docs")
    assert shown.returncode == 0, shown.stderr
    overlay = tmp_path / "merged.yaml"
    overlay.write_text(shown.stdout, encoding="utf-8")
    assert read_overlays([overlay]) == read_overlays(["config/miniature.yaml"])
    checked = medrlvr("config", "check", "config/miniature.yaml", cwd=clone)
    assert checked.stdout.startswith("miniature: the settings")
    overlay.write_text("arms: {rlvr: {reward: nothing}}\n", encoding="utf-8")
    wrong = medrlvr("config", "check", "config/miniature.yaml", str(overlay), cwd=clone)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "arms.rlvr.reward: there is no reward called 'nothing'" in wrong.stderr


def programs() -> Iterator[str]:
    """Every module that `python -m` starts."""
    for file in sorted(SOURCE.rglob("*.py")):
        if 'if __name__ == "__main__":' in file.read_text(encoding="utf-8"):
            yield ".".join(file.relative_to(SOURCE).with_suffix("").parts)


def test_only_the_command_and_programs_of_developers_and_steps_are_started_as_modules() -> None:
    assert list(programs()) == [
        "medrlvr.cli.main",
        "medrlvr.evaluation.vllm_worker",
        "medrlvr.evaluation.worker_group",
        "medrlvr.gpu_check.programs",
        "medrlvr.gpu_check.random_model",
        "medrlvr.hack_bench.main",
        "medrlvr.reference.main",
        "medrlvr.runtime.guard",
        "medrlvr.training.cluster.launcher",
        "medrlvr.training.cluster.node",
        "medrlvr.training.compiled",
        "medrlvr.training.cpu.run",
        "medrlvr.training.memory.tables",
    ]


WITHOUT_HELP = {"medrlvr.evaluation.vllm_worker", "medrlvr.runtime.guard", "medrlvr.training.cpu.run"}


@pytest.mark.parametrize(
    "module",
    [*sorted(set(programs()) - WITHOUT_HELP), "medrlvr.config.files"],
)
def test_help_of_a_module_writes_nothing(module: str, clone: Path, tmp_path: Path) -> None:
    """Not of those that only other modules start, with everything from their caller."""
    here = tmp_path / "here"
    shutil.copytree(clone, here, ignore=shutil.ignore_patterns("results", ".snakemake", "assets"))

    def files() -> dict[Path, int]:
        listed = (path for path in here.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path: path.stat().st_mtime_ns for path in listed}

    before = files()
    result = python("-m", module, "--help", cwd=here, env=os.environ | {"PYTHONPATH": str(here / "src")})
    assert result.returncode == 0 and ("usage: " in result.stdout or module == "medrlvr.config.files")
    assert files() == before


def graded(*rows: object, reward: str | None = None, answer_format: str = "tagged") -> list[dict[str, object]]:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    return list(grade_lines(lines, "file.jsonl", answer_format, read_reward(reward) if reward else None))  # type: ignore[arg-type]


def test_a_line_is_graded_as_the_grader_does() -> None:
    (row,) = graded(RIGHT)
    found = grade(RIGHT["response"], ["x", "y"], 1)  # type: ignore[arg-type]
    assert row == {"id": 7, **asdict(found)}
    rows = graded(RIGHT | {"gold": 1, "truncated": True}, b"\n", RIGHT | {"gold": "A"}, reward="paper")
    assert [(row["truncated"], row["correct"], row["reward"]) for row in rows] == [
        (True, True, 1.0),
        (False, False, 0.0),
    ]
    (bare,) = graded(RIGHT | {"response": "B."}, answer_format="bare", reward='{"binary": 2}')
    assert (bare["letter"], bare["reward"]) == ("B", 2.0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "this is not JSON"),
        (b"\xff", "this is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "must be a JSON object"),
        ({"response": "", "options": ["x", "y"]}, "the key gold is missing"),
        (RIGHT | {"response": 1}, "response must be a string, not 1"),
        (RIGHT | {"options": "xy"}, "options must be a list of strings"),
        (RIGHT | {"options": ["x"]}, "there must be 2 to 11 options, not 1"),
        (RIGHT | {"gold": "C"}, 'a letter from A to B or an index from 0 to 1, not "C"'),
        (RIGHT | {"gold": "AB"}, "gold must be"),
        (RIGHT | {"gold": ""}, "gold must be"),
        (RIGHT | {"gold": -1}, "gold must be"),
        (RIGHT | {"gold": True}, "gold must be"),
        (RIGHT | {"truncated": 1}, "truncated must be true or false"),
    ],
)
def test_a_malformed_line_is_named(line: object, said: str) -> None:
    with pytest.raises(UserError, match="^" + re.escape("file.jsonl, line 3: ")) as error:
        graded(RIGHT, b"", line)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nothing", "no reward called 'nothing'"),
        ("{", "is not JSON"),
        ('{"paper": "much"}', 'paper needs a weight, or an object of numbers, not "much"'),
        ('{"paper": {"weight": null}}', "paper needs a weight"),
        ('{"leak_penalty": 1}', "cannot reward an answer"),
    ],
)
def test_a_wrong_reward_is_named(spec: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        read_reward(spec)


def test_a_reward_that_fails_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def reward(grade):\n    return 1 / grade.think_chars if grade.think_chars > 1 else grade.missing\n"
    )
    with pytest.raises(UserError, match="reward"):
        graded(RIGHT, reward=str(file))


def test_grading_needs_no_packages_and_no_clone(tmp_path: Path) -> None:
    """An interpreter without site-packages, elsewhere; every module that it loads is its own or ours."""
    (tmp_path / "in.jsonl").write_text(json.dumps(RIGHT) + "\n", encoding="utf-8")
    program = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n"
        "from medrlvr.cli.main import main\n"
        "status = main(['grade', 'in.jsonl', '--reward', 'paper'])\n"
        "names = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "ours = {name for name in sys.modules if name.startswith('medrlvr.')}\n"
        "print(status, sorted(names), sorted(name.split('.')[1] for name in ours if name.count('.') == 1))\n"
    )
    command = [sys.executable, "-I", "-S", "-c", program]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    row, loaded = result.stdout.splitlines()
    assert json.loads(row)["correct"] is True
    assert loaded == "0 ['__main__', 'medrlvr'] ['cli', 'grading', 'runtime']"


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r}); "
        "from medrlvr.cli.main import main; sys.exit(main(['status']))"
    )
    command = [sys.executable, "-I", "-S", "-c", program]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.match("`medrlvr status` needs the package yaml, which .* does not have.\n", result.stderr)


def test_a_closed_pipe_and_an_interruption_end_quietly(tmp_path: Path) -> None:
    (tmp_path / "big.jsonl").write_text((json.dumps(RIGHT) + "\n") * 20_000, encoding="utf-8")
    command = [sys.executable, "-m", "medrlvr.cli.main", "grade"]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment}
    with subprocess.Popen([*command, str(tmp_path / "big.jsonl")], **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
    # A shell without job control starts its background jobs, and so these tests, with SIGINT ignored.
    pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stdin=subprocess.PIPE, **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write((json.dumps(RIGHT) + "\n").encode() * 100)
        process.stdin.flush()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
    assert process.returncode == 130


STEP = f"""
import sys, time
from types import SimpleNamespace
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.progress import Progress
from medrlvr.runtime.step_log import step_log
with step_log(SimpleNamespace(rule="train_rlvr", wildcards=["rlvr", "1"], log=["log"])) as say:
    progress = Progress("rlvr, seed 1", 3)
    say(progress.line(1))
    time.sleep(0.05)
    say(progress.line(2, "mean reward +0.20"))
    say("rlvr, seed 1: {ALARM_PREFIX}early answers")
    say(progress.line(3))
    raise UserError("no disk")
"""


def on_a_terminal(program: str, cwd: Path, columns: int = 120, **environment: str) -> tuple[str, int]:
    """Return what a Python program prints on a terminal, and its exit status."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(SOURCE), "TERM": "xterm-256color", "COLUMNS": str(columns)} | environment,
    )
    os.close(terminal)
    printed = io.BytesIO()
    while True:
        try:
            part = os.read(controller, 4096)
        except OSError:  # Linux: all other ends are closed
            break
        printed.write(part)
    os.close(controller)
    return printed.getvalue().decode(), process.wait()


def shown_on(text: str) -> list[str]:
    """Return the lines that stay on the screen, without colours."""
    rows = [""]
    for part in re.split(r"(\r|\n)", re.sub(r"\x1b\[[\d;]*m", "", text)):
        if part == "\n":
            rows.append("")
        elif part.startswith("\x1b[K"):
            rows[-1] = part.removeprefix("\x1b[K")
        elif part != "\r" and part:
            rows[-1] = part + rows[-1][len(part) :]
    return rows


def test_a_terminal_shows_a_bar_and_colours(tmp_path: Path) -> None:
    text, status = on_a_terminal(STEP, tmp_path)
    assert status == 1
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert re.search(
        r"\rrlvr, seed 1 [━╸╺]+ update 2 of 3, about 0 s left, [\d.]+ update/s, mean reward \+0.20\r",
        plain.replace("\x1b[K", ""),
    )
    assert f"\x1b[33mrlvr, seed 1: {ALARM_PREFIX}early answers\x1b[0m" in text
    assert "\x1b[31mno disk\x1b[0m" in text
    rows = shown_on(text)
    # The bar is gone at the end; its last line stays.
    assert not any("━" in row for row in rows)
    assert [row for row in rows if row][:2] == [
        f"rlvr, seed 1: {ALARM_PREFIX}early answers",
        "rlvr, seed 1: update 3 of 3, about 0 s left",
    ]
    assert "\x1b" not in (tmp_path / "log").read_text(encoding="utf-8")


def test_on_a_narrow_terminal_the_bar_is_one_row(tmp_path: Path) -> None:
    text, _ = on_a_terminal(STEP, tmp_path, columns=50)
    drawn = [part for part in re.sub(r"\x1b\[[\d;]*[mK]", "", text).split("\r") if "━" in part]
    assert len(drawn) == 2 and all(len(part) < 50 and "\n" not in part for part in drawn)


def test_without_colours_the_bar_stays(tmp_path: Path) -> None:
    text, _ = on_a_terminal(STEP, tmp_path, NO_COLOR="1")
    assert "━" in text and not re.search(r"\x1b\[3\d", text)
    assert "\x1b" not in on_a_terminal(STEP, tmp_path, TERM="dumb")[0]


def test_only_one_step_draws_a_bar(tmp_path: Path) -> None:
    """Another holds the terminal: lines are printed instead."""
    holder = (
        "import fcntl, os, subprocess, sys\n"
        "lock = os.open(os.ttyname(2), os.O_WRONLY | os.O_NOCTTY)\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        f"sys.exit(subprocess.run([sys.executable, '-c', {STEP!r}]).returncode)\n"
    )
    text, _ = on_a_terminal(holder, tmp_path)
    assert "━" not in text
    assert [row for row in shown_on(text) if row][:2] == [
        "rlvr, seed 1: update 1 of 3",
        "rlvr, seed 1: update 2 of 3, mean reward +0.20, about 0 s left",
    ]


def test_a_pipe_gets_plain_lines(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "TERM": "xterm-256color"}
    result = subprocess.run(
        [sys.executable, "-c", STEP], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    progress = Progress("rlvr, seed 1", 3)
    assert result.stderr.startswith(
        f"{progress.line(1)}\nrlvr, seed 1: update 2 of 3, mean reward +0.20, about 0 s left\n"
    )
    assert result.stderr.endswith("\ntrain_rlvr rlvr 1: failed after 0 s\nno disk\n(log: log)\n\n")
    assert "\x1b" not in result.stderr and "\r" not in result.stderr


OUT = """{name},base,chain_of_thought,all,,0.0,0.5
{name},base,direct,all,,0.2,0.2
{name},sft/seed1,direct,all,,0.3,0.3
{name},rlvr/seed1,chain_of_thought,all,,0.7,0.75
{name},rlvr_dev/seed1,chain_of_thought,all,,0.75,0.75
"""
METRICS = """benchmark,model,mode,stratum,value,accuracy,lenient_accuracy
miniature,base,chain_of_thought,all,,0.0,0.6
miniature,base,direct,all,,0.25,0.26
miniature,base,direct,gold_letter,A,0.9,
miniature,sft/seed1,direct,all,,0.3,0.3
miniature,rlvr/seed1,chain_of_thought,all,,0.8,0.81
miniature,rlvr_dev/seed1,chain_of_thought,all,,0.85,0.85
miniature,always A,policy,all,,0.28,
""" + "".join(OUT.format(name=f"miniature_{name}") for name in ("options", "form", "pairs"))


def test_scores_are_printed_with_the_reports_path(tmp_path: Path) -> None:
    (tmp_path / "results/miniature/compare").mkdir(parents=True)
    (tmp_path / "results/miniature/compare/metrics.csv").write_text(METRICS, encoding="utf-8")
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "prompts").symlink_to(ROOT / "prompts")
    program = (
        "import sys; from medrlvr.config.load import read_overlays; from medrlvr.report.scores import print_scores\n"
        "print_scores(read_overlays(['config/miniature.yaml']), sys.stdout)"
    )
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    titles = [one.title for one in read_overlays(["config/miniature.yaml"]).benchmarks.values()]
    lines = result.stdout.splitlines()
    heading = "percent correct, required format (any readable answer)"
    out = [f"{title} 20.0 (20.0)" for title in titles[1:]]
    assert lines[0] == f"base, direct, {heading}: {titles[0]} 25.0 (26.0), {', '.join(out)}"
    out = [f"{title} 70.0 (75.0)" for title in titles[1:]]
    assert lines[3] == f"rlvr, chain of thought, {heading}: {titles[0]} 80.0 (81.0), {', '.join(out)}"
    assert lines[-1] == "The report: results/miniature/report.html" and len(lines) == 6
    text, _ = on_a_terminal(program, tmp_path)
    assert "╭" in text and f"miniature: {heading}" in text and "│ The report: results/miniature/report.html" in text
    assert re.search(r"│ rlvr, chain of thought +80.0 \(81.0\)( +70.0 \(75.0\)){3} │", text)


def test_seeds_are_averaged_and_controls_left_out() -> None:
    experiment = read_overlays(["config/miniature.yaml", "config/ablations/seeds.yaml"])
    rows = [
        {
            "benchmark": benchmark,
            "model": model,
            "mode": mode,
            "stratum": "all",
            "accuracy": str(value),
            "lenient_accuracy": str(value / 2),
        }
        for benchmark in (*experiment.benchmarks, "miniature_shuffled")
        for model, value in (
            ("base", 0.1),
            *((name, int(name[-1]) / 10) for name in experiment.models() if name != "base"),
        )
        for mode in experiment.modes_of(model)
    ]
    scores = arm_scores(experiment, rows)
    assert scores["rlvr", "chain_of_thought"] == [pytest.approx((20.0, 10.0))] * 4


@pytest.mark.parametrize("file", sorted((SOURCE / "medrlvr/cli").glob("*.py")), ids=lambda file: file.name)
def test_modules_of_commands_import_heavy_libraries_late(file: Path) -> None:
    """So `--help` is fast, and `grade` needs no packages."""
    if file.stem in ("snakemake", "root"):
        return
    top = [node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
    ours = {node.module for node in top if node.module and node.module.startswith("medrlvr.")}
    light = ("errors", "atomic", "progress")
    allowed = ("medrlvr.cli.", "medrlvr.grading.", *(f"medrlvr.runtime.{name}." for name in light))
    assert all(f"{name}.".startswith(allowed) for name in ours), ours


def test_until_takes_one_rule_and_no_overlay_after_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "inside/a.yaml").touch()
    (project / "snakemake.py").write_text("import sys; print(sys.argv[1:])", encoding="utf-8")
    words = [sys.executable, "-m", "medrlvr.cli.main", "run", "--until", "x", "a.yaml", "--until", "y", "-n"]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    printed = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("['--configfile', 'inside/a.yaml', '--until', 'x', 'y', '--dry-run'")


def test_an_output_that_cannot_be_written_is_named_as_such(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(json.dumps({"response": "A", "options": ["x", "y"], "gold": 0}) + "\n", encoding="utf-8")
    words = [sys.executable, "-m", "medrlvr.cli.main", "grade", str(file)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            words,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(SOURCE)},
        )
    assert (done.returncode, done.stderr) == (1, "the output cannot be written: No space left on device.\n")


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied", "x/y"), OSError(28, "Full", "x/y")])
def test_a_file_that_cannot_be_used_is_named_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError
) -> None:
    def fail(command: str, words: list[str]) -> int:
        raise error

    monkeypatch.setattr("medrlvr.cli.main._run", fail)
    assert main(["grade"]) == 1
    assert capsys.readouterr().err == f"x/y: {error.strerror}. Check the path and its permissions.\n"
