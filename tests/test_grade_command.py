"""`medrlvr grade`: names of keys, processes, output files, progress and summary. tests/test_cli.py tests the lines."""

import io
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import medrlvr
from medrlvr.cli.grade_chunks import LINES, Chunk, Task, grade_chunks
from medrlvr.cli.grade_progress import SECONDS, GradingProgress, count_lines
from medrlvr.cli.grade_summary import summarise
from medrlvr.cli.json_lines import Keys, grade_lines
from medrlvr.cli.main import main
from medrlvr.grading.grader import Grade
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet

RESPONSES = [
    ("<think>x</think><answer>B</answer>", "letter", True),
    ("<think>x</think><answer>A. iron</answer>", "letter_and_text", False),
    ("<think>x</think><answer>none</answer>", "no_letter", False),
    ("The answer is B.", "no_answer_block", False),
]
SUMMARY = """\
4 responses graded

outcome
  correct                         1    25.0 %
  wrong                           1    25.0 %
  unread                          2    50.0 %

rule
  letter                          1    25.0 %
  letter_and_text                 1    25.0 %
  no_answer_block                 1    25.0 %
  no_letter                       1    25.0 %

accuracy by
  required format                 1    25.0 %
  any readable letter             2    50.0 %

responses with
  valid format                    3    75.0 %
  no readable letter              1    25.0 %

mean reward +0.0000
"""


def lines(rows: list[dict[str, object]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def rows(times: int = 1) -> list[dict[str, object]]:
    texts = [response for response, _, _ in RESPONSES] * times
    return [{"id": n, "response": text, "options": ["iron", "zinc"], "gold": "B"} for n, text in enumerate(texts)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_summary_counts_outcomes_rules_and_accuracies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in.jsonl").write_text(lines(rows()))
    assert main(["grade", "in.jsonl", "--reward", "paper"]) == 0
    printed = capsys.readouterr()
    assert printed.err == SUMMARY
    graded = [json.loads(line) for line in printed.out.splitlines()]
    assert [(row["rule"], row["correct"]) for row in graded] == [(rule, correct) for _, rule, correct in RESPONSES]
    assert [set(row) for row in graded] == [{"id", "reward", *Grade.__dataclass_fields__}] * 4
    assert main(["grade", "in.jsonl", "--reward", "paper", "--out", "new/out.jsonl"]) == 0
    assert capsys.readouterr() == (SUMMARY, "")
    assert (folder / "new/out.jsonl").read_text() == printed.out


def test_the_summary_of_direct_answers_and_of_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in.jsonl").write_text(lines([rows()[0] | {"response": "B."}]))
    assert main(["grade", "in.jsonl", "--format", "bare"]) == 0
    text = capsys.readouterr().err
    assert "  letter at the start             1   100.0 %\n" in text
    assert "valid format" not in text and "mean reward" not in text
    (folder / "empty.jsonl").touch()
    assert main(["grade", "empty.jsonl"]) == 0
    assert capsys.readouterr() == ("", "0 responses graded.\n")


def test_the_keys_of_a_line_have_any_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"text": "B", "n": 2, "key": 1, "cut": True, "response": "kept"}
    (folder / "in.jsonl").write_text(lines([row]))
    named = ["--response", "text", "--options", "n", "--gold", "key", "--truncated", "cut"]
    assert main(["grade", "in.jsonl", "--format", "bare", *named]) == 0
    graded = json.loads(capsys.readouterr().out)
    assert (graded["letter"], graded["correct"], graded["truncated"], graded["response"]) == ("B", True, True, "kept")
    assert not {"text", "n", "key", "cut"} & set(graded)
    assert main(["grade", "in.jsonl", "--response", "text"]) == 1
    assert capsys.readouterr().err == (
        "in.jsonl, line 1: the key options is missing; the keys of this line are: text, n, key, cut, response. A line"
        " needs text, options and gold. If your key has another name, give it with --options.\n"
    )


@pytest.mark.parametrize("number", [1, 12, 10**9, True, -2])
def test_a_number_of_options_has_limits(number: int) -> None:
    line = json.dumps({"response": "", "options": number, "gold": 0}).encode()
    with pytest.raises(Exception, match=r"^f, line 1: (there must be 2 to 11 options|options must be a list)"):
        list(grade_lines([line], "f", "tagged", None))


def test_several_processes_give_the_same_rows_in_the_same_order(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "in.jsonl").write_text(lines(rows(LINES)))
    assert main(["grade", "in.jsonl", "--reward", "paper"]) == 0
    alone = capsys.readouterr()
    assert alone.out.count("\n") == 4 * LINES
    assert main(["grade", "in.jsonl", "--reward", "paper", "--processes", "2"]) == 0
    assert capsys.readouterr() == alone


@pytest.mark.parametrize("end", ["all chunks", "close", "malformed"])
def test_no_thread_and_no_process_remains_after_the_grading(end: str) -> None:
    """A thread that ends during the interpreter's exit can print a traceback."""
    before = set(threading.enumerate())
    good = lines(rows()).encode().splitlines(keepends=True)
    third = [b"{}\n"] if end == "malformed" else good
    graded = grade_chunks(Task("f", Keys(), "tagged", None, False), [Chunk(1, part) for part in (good, good, third)], 2)
    if end == "all chunks":
        assert sum(part.lines for part in graded) == 3 * len(good)
    elif end == "close":
        next(graded)
        graded.close()
    else:
        with pytest.raises(UserError, match=r"^f, line 1: the key "):
            list(graded)
    assert (set(threading.enumerate()), multiprocessing.active_children()) == (before, [])


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_malformed_line_is_named_and_no_file_changes(
    folder: Path, capsys: pytest.CaptureFixture[str], processes: str, suffix: str
) -> None:
    given = rows(LINES)
    given[2 * LINES + 3]["gold"] = given[3 * LINES + 3]["gold"] = "C"
    (folder / "in.jsonl").write_text(lines(given))
    (folder / f"out.{suffix}").write_text("old")
    assert main(["grade", "in.jsonl", "--out", f"out.{suffix}", "--processes", processes]) == 1
    assert capsys.readouterr() == (
        "",
        f'in.jsonl, line {2 * LINES + 4}: gold must be a letter from A to B or an index from 0 to 1, not "C".\n',
    )
    assert (folder / f"out.{suffix}").read_text() == "old"
    assert {path.name for path in folder.iterdir()} == {"in.jsonl", f"out.{suffix}"}


def test_a_parquet_file_has_the_rows_of_the_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = rows(LINES)
    # Keys that only some lines have, and a number that is first whole and then is not.
    given[0]["note"], given[1]["score"], given[3 * LINES]["score"] = "first", 1, 0.5
    (folder / "in.jsonl").write_text(lines(given))
    for out in ("out.jsonl", "out.parquet"):
        assert main(["grade", "in.jsonl", "--reward", "paper", "--out", out]) == 0
    table = read_parquet(folder / "out.parquet")
    expected = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert len(table) == len(expected) == 4 * LINES
    for name in ("id", "note", "score", *Grade.__dataclass_fields__, "reward"):
        values = [None if value != value else value for value in table[name].tolist()]
        assert values == [row.get(name) for row in expected], name


@pytest.mark.parametrize("second", [1, LINES])
def test_values_that_do_not_fit_into_a_column_are_reported(
    folder: Path, capsys: pytest.CaptureFixture[str], second: int
) -> None:
    given = rows(LINES)
    given[0]["note"], given[second]["note"] = "text", 1
    (folder / "in.jsonl").write_text(lines(given))
    assert main(["grade", "in.jsonl", "--out", "out.parquet"]) == 1
    text = capsys.readouterr().err
    assert "note" in text and "Write JSON lines instead: --out FILE.jsonl.\n" in text
    assert not (folder / "out.parquet").exists()


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("out.csv", "--out out.csv: the name must end with .jsonl for JSON lines, or with .parquet."),
        ("folder.jsonl", "--out folder.jsonl is a folder. Give the path of a file."),
        ("in.jsonl", "--out in.jsonl is also the input, whose responses would be lost. Give another name."),
        ("in.jsonl/x.jsonl", "--out in.jsonl/x.jsonl cannot be written: "),
        (f"{'x' * 300}.jsonl", f"--out {'x' * 300}.jsonl cannot be written: File name too long."),
    ],
)
def test_an_output_that_cannot_be_used_is_rejected(
    folder: Path, capsys: pytest.CaptureFixture[str], out: str, said: str
) -> None:
    (folder / "in.jsonl").write_text(lines(rows()))
    (folder / "folder.jsonl").mkdir()
    assert main(["grade", "in.jsonl", "--out", out]) == 1
    assert capsys.readouterr().err.startswith(said)
    assert (folder / "in.jsonl").read_text() == lines(rows())


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5", "257", "100000", "9" * 5000])
def test_a_number_of_processes_is_positive(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["grade", "in.jsonl", f"--processes={number}"])
    assert f"'{number}' is not a number of processes; write 1 to 256" in capsys.readouterr().err


def test_a_killed_process_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in.jsonl").write_text(lines(rows()))
    (folder / "mine.py").write_text(
        "import multiprocessing, os\n\ndef reward(grade):\n"
        "    return os._exit(1) if multiprocessing.parent_process() else float(grade.correct)\n"
    )
    assert main(["grade", "in.jsonl", "--reward", "mine.py", "--processes", "2", "--out", "out.jsonl"]) == 1
    assert capsys.readouterr().err == (
        "in.jsonl: one of the 2 processes was killed, perhaps because the memory was full. Start the command again with"
        " fewer --processes.\n"
    )
    assert not (folder / "out.jsonl").exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (400, "grade: line 100 of 400, 20 lines per second, about 15 s left"),
        (None, "grade: line 100, 20 lines per second"),
    ],
)
def test_progress_has_the_time_left_if_the_number_of_lines_is_known(total: int | None, expected: str) -> None:
    for stream, shown in ((io.StringIO(), f"{expected}\n"), (Terminal(), f"\r\x1b[K{expected}\r\x1b[K")):
        now = [0.0]
        progress = GradingProgress(total, stream, clock=lambda now=now: now[0])
        for now[0] in (1.0, 2.0, SECONDS, SECONDS + 1):
            progress.add(33 if now[0] < SECONDS else 34)
        progress.clear()
        assert stream.getvalue() == shown


def test_nothing_is_deleted_from_a_terminal_without_progress() -> None:
    stream = Terminal()
    GradingProgress(1, stream).clear()
    assert stream.getvalue() == ""


def test_only_lines_of_files_are_counted(folder: Path) -> None:
    (folder / "in.jsonl").write_text("a\n\nb\n")
    assert [count_lines(Path(name)) for name in ("in.jsonl", "/dev/null", "none", ".")] == [3, None, None, None]


def test_summaries_add_up() -> None:
    graded = list(grade_lines([line.encode() for line in lines(rows()).splitlines()], "f", "tagged", None))
    total = summarise(graded[:1], rewarded=False)
    total.add(summarise(graded[1:], rewarded=False))
    assert total == summarise(graded, rewarded=False)


NEEDED = "Each line must be a JSON object with response, options and gold.\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x00\x01\xfa", f"this is not JSON: byte 3 is not UTF-8. Convert the file to UTF-8. {NEEDED}"),
        (
            '{"id": "caf\xe9"}'.encode("latin-1"),
            f"this is not JSON: byte 12 is not UTF-8. Convert the file to UTF-8. {NEEDED}",
        ),
        ('{"id": 1}'.encode("utf-16"), f"this is not JSON: byte 1 is not UTF-8. Convert the file to UTF-8. {NEEDED}"),
        (b"[" * 100_000, f"lists and objects are nested too deeply to read. {NEEDED}"),
        (b'{"id": 1' + b"0" * 5000 + b"}", "a whole number has more than 4,300 digits. Write it as a string.\n"),
        (
            json.dumps(dict.fromkeys(map(str, range(1000)))).encode(),
            "the key response is missing; the keys of this line are: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,"
            " 15, 16, 17, 18, 19, 20, 21, 22.... A line needs response, options and gold. If your key has another"
            " name, give it with --response.\n",
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_explained(
    folder: Path, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    (folder / "in.jsonl").write_bytes(b"\n" + content)
    assert main(["grade", "in.jsonl"]) == 1
    assert capsys.readouterr().err == f"in.jsonl, line 2: {said}"


@pytest.mark.parametrize(("text", "column"), [('{"response": "x",', 18), ('{"a": 1}\r{"a": 2}\r', 10)])
def test_the_column_of_wrong_json_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, column: int
) -> None:
    (folder / "in.jsonl").write_bytes(text.encode())
    assert main(["grade", "in.jsonl"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("in.jsonl, line 1: this is not JSON: ") and f" at column {column}. " in error


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b""])
def test_a_byte_order_mark_and_line_ends_of_windows_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str], ending: bytes
) -> None:
    (folder / "in.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(rows()[0]).encode() + ending)
    assert main(["grade", "in.jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["letter"] == "B"


@pytest.mark.parametrize("value", ["good", None, 7])
def test_a_reward_of_the_input_is_copied_and_not_counted(
    folder: Path, capsys: pytest.CaptureFixture[str], value: object
) -> None:
    (folder / "in.jsonl").write_text(lines([rows()[0] | {"reward": value}]))
    assert main(["grade", "in.jsonl"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["reward"] == value and "mean reward" not in printed.err
    assert main(["grade", "in.jsonl", "--out", "out.parquet"]) == 0
    assert read_parquet(folder / "out.parquet")["reward"].tolist() == [value]


def test_two_keys_with_one_name_are_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grade", "in.jsonl", "--response", "gold"]) == 1
    assert capsys.readouterr().err == "--response and --gold both name the key gold. Give each its own key.\n"


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_a_parquet_file_without_rows_has_the_columns(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (folder / "in.jsonl").write_text(content)
    assert main(["grade", "in.jsonl", "--out", "out.parquet"]) == 0
    assert list(read_parquet(folder / "out.parquet").columns) == list(Grade.__dataclass_fields__)


@pytest.mark.parametrize(
    ("key", "value"), [("\ud800", 1), ("note", "\ud800"), ("note", {}), ("note", [1, "a"]), ("note", 10**30)]
)
def test_what_parquet_does_not_have_is_reported(
    folder: Path, capsys: pytest.CaptureFixture[str], key: str, value: object
) -> None:
    (folder / "in.jsonl").write_text(lines([rows()[0] | {key: value}]))
    assert main(["grade", "in.jsonl", "--out", "out.parquet"]) == 1
    assert capsys.readouterr().err.endswith(". Write JSON lines instead: --out FILE.jsonl.\n")
    assert not (folder / "out.parquet").exists()


def started(words: list[str], prepare: Callable[[], object], **pipes: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(Path(medrlvr.__file__).parents[1])}
    command = [sys.executable, "-m", "medrlvr.cli.main", "grade", *words]
    return subprocess.Popen(command, env=environment, preexec_fn=prepare, stderr=subprocess.PIPE, **pipes)


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_no_file(folder: Path, processes: str, number: signal.Signals) -> None:
    def prepare() -> None:
        # Tests that run in the background or under nohup ignore these.
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_DFL)

    words = ["-", "--out", "out.jsonl", "--processes", processes]
    with started(words, prepare, stdin=subprocess.PIPE) as process:
        process.stdin.write(lines(rows(LINES)).encode())
        process.stdin.flush()
        # The input does not end, so the file is never finished.
        until = time.monotonic() + 60
        while not [*folder.glob(".out.jsonl.*.part")] and time.monotonic() < until:
            time.sleep(0.02)
        assert [path.name for path in folder.iterdir()] == [f".out.jsonl.{process.pid}.part"]
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert process.stderr.read() == b""
    assert list(folder.iterdir()) == []


def test_a_signal_that_is_ignored_stays_ignored(folder: Path) -> None:
    (folder / "in.jsonl").write_text(lines(rows()))

    def prepare() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with started(["-", "--out", "out.jsonl"], prepare, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        process.stdin.write(lines(rows(LINES)).encode())
        process.stdin.flush()
        while not [*folder.glob(".out.jsonl.*.part")] and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
        process.stdin.close()
        assert process.wait(60) == 0
    assert (folder / "out.jsonl").read_text().count("\n") == 4 * LINES


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_full_disk_leaves_the_old_file(folder: Path, suffix: str, processes: str) -> None:
    """A limit on the size of a file fails in the same way as a full disk."""
    (folder / "in.jsonl").write_text(lines(rows(LINES)))
    (folder / f"out.{suffix}").write_text("old")

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    with started(["in.jsonl", "--out", f"out.{suffix}", "--processes", processes], prepare) as process:
        text = process.stderr.read().decode()
        assert process.wait(60) == 1
    assert text.startswith(f"--out out.{suffix} cannot be written: ") and "File too large" in text
    assert text.endswith(". Give a path in a folder that you can write to and that has space.\n")
    assert (folder / f"out.{suffix}").read_text() == "old"
    assert {path.name for path in folder.iterdir()} == {"in.jsonl", f"out.{suffix}"}


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize(
    ("file", "said"),
    [(".", "Is a directory"), ("none.jsonl", "No such file or directory"), ("/proc/self/mem", "Input/output error")],
)
def test_an_input_that_cannot_be_read_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], file: str, said: str, processes: str
) -> None:
    assert main(["grade", file, "--out", "out.jsonl", "--processes", processes]) == 1
    assert capsys.readouterr().err == (
        f"{file} cannot be read: {said}. Give the path of a JSON lines file, or - for standard input.\n"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_the_null_device(folder: Path, closed: str) -> None:
    (folder / "in.jsonl").write_text(lines(rows()))
    command = f'"$0" -m medrlvr.cli.main grade in.jsonl --out out.jsonl {closed}'
    path = str(Path(medrlvr.__file__).parents[1])
    done = subprocess.run(
        ["sh", "-c", command, sys.executable], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "out.jsonl").read_text().count("\n") == len(RESPONSES)
