"""The index of all experiments: states, broken folders, numbers, size, writers that meet, and use in a browser."""

import errno
import html
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pages
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from browsing import launched
from evaluated import evaluate
from playwright.sync_api import Browser, Page, expect
from test_comparison import finish

from medrlvr.cli.main import main
from medrlvr.config.experiment import Experiment
from medrlvr.config.results_version import record_version
from medrlvr.report import index
from medrlvr.report.index_rows import Row, read_row, read_rows
from medrlvr.runtime.errors import Interrupted
from medrlvr.runtime.files import write_json
from medrlvr.runtime.hold import hold

HOSTILE = "<img src=x onerror='window.hacked = 1'></script><script>window.hacked = 1</script>{{ 7 * 7 }} \u202e"
DONE = "{0}: started on n1, process 7\n{1}{0}: done in 3 s\n"
OPEN = "{0}: started on n1, process 7\n{1}"


def experiment(title: str = "Med-RLVR", *, kl: float = 0.01, cpu: bool = False) -> Experiment:
    values = pages.EXPERIMENT.model_dump()
    values["title"] = title
    values["arms"]["rlvr"]["kl_coefficient"] = kl
    values["machine"]["device"] = "cpu" if cpu else "gpu"
    return Experiment.model_validate(values)


def write_log(folder: Path, name: str, text: str, age: float = 0.0) -> None:
    path = folder / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (time.time() - age,) * 2)


def write_cost(folder: Path, name: str, seconds: float) -> None:
    path = folder / "benchmarks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\tmax_rss\tmean_load\n{seconds}\t2048\t100\n", encoding="utf-8")


@pytest.fixture(scope="module")
def evaluated() -> dict[str, Any]:
    return evaluate(pages.EXPERIMENT)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, evaluated: dict[str, Any]) -> Path:
    """A finished experiment, of which the tests use copies."""
    folder = finish(tmp_path_factory.mktemp("template") / "one", evaluated, experiment())
    compared = {name: evaluated["comparisons"][name] for name in ("arms", "pairs", "controls")}
    write_json(folder / "compare/comparisons.json", json.loads(json.dumps(compared, default=float)))
    write_log(folder, "checkpoints/rlvr/seed1.log", DONE.format("train_rlvr rlvr 1", ""), age=100)
    write_log(folder, "report/render_report.log", OPEN.format("render_report", ""))
    write_cost(folder, "checkpoints/rlvr/seed1.tsv", 3600)
    write_cost(folder, "eval/base/generate_answers.tsv", 1800)
    return folder


@pytest.fixture
def finished(template: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that plants a finished experiment in results/."""

    def plant(name: str, settings: Experiment | None = None) -> Path:
        folder = tmp_path / "results" / name
        shutil.copytree(template, folder)
        overlay = (settings or experiment()).overlay()
        (folder / "config.yaml").write_text(yaml.safe_dump(overlay, allow_unicode=True), encoding="utf-8")
        return folder

    return plant


def started(folder: Path) -> Path:
    """Plant an experiment that started, without a log of any step."""
    record_version(folder)
    return folder


def text_of(page: str) -> str:
    """Return the text of a page in one line, without its scripts and style."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def render(rows: list[Row]) -> str:
    return index.render_index(rows, pages.datetime(2026, 11, 21, 9, 5, tzinfo=pages.UTC))


def embedded(page: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(page.split('id="values">')[1].split("</script>")[0])
    return values


# The row of a finished experiment.


def test_differences_are_those_of_comparisons_json(finished: Callable[..., Path]) -> None:
    folder = finished("one")
    row = read_row(folder)
    compared = json.loads((folder / "compare/comparisons.json").read_text(encoding="utf-8"))
    for gains, other in (
        (row.results.over_sft, ("sft", "direct")),
        (row.results.over_base, ("base", "chain_of_thought")),
    ):
        assert [gain.test for gain in gains] == ["MedQA", "MMLU-Pro health"]
        for gain, benchmark in zip(gains, ("medqa", "mmlu_pro_health"), strict=True):
            (pair,) = [
                pair
                for pair in compared["pairs"]
                if pair["benchmark"] == benchmark
                and (pair["first"]["arm"], pair["first"]["mode"]) == ("rlvr", "chain_of_thought")
                and (pair["second"]["arm"], pair["second"]["mode"]) == other
            ]
            for one, record in ((gain.required_format, pair), (gain.any_letter, pair["any_letter"])):
                ends = record["interval_95"]
                assert (one.difference, one.low, one.high) == (record["difference"], ends["low"], ends["high"])
                excluded = ends["low"] > 0 or ends["high"] < 0
                assert one.points == f"{100 * record['difference']:+.1f}{'*' * excluded}"
    page = text_of(render([row]))
    shown = row.results.over_base[0]
    assert f"MedQA {shown.required_format.points} / {shown.any_letter.points}" in page


def test_an_asterisk_marks_an_interval_without_zero(finished: Callable[..., Path]) -> None:
    folder = finished("one")
    file = folder / "compare/comparisons.json"
    compared = json.loads(file.read_text(encoding="utf-8"))
    for pair in compared["pairs"]:
        pair |= {"difference": 0.25, "interval_95": {"low": 0.125, "high": 0.5}}
        pair["any_letter"] |= {"difference": -0.01, "interval_95": {"low": -0.5, "high": 0.125}}
    write_json(file, compared)
    gain = read_row(folder).results.over_sft[0]
    assert (gain.required_format.points, gain.any_letter.points) == ("+25.0*", "-1.0")
    assert str(gain.any_letter) == "-1.0 (-50.0 to +12.5)"


def test_state_seeds_cost_stages_and_link_of_a_finished_experiment(finished: Callable[..., Path]) -> None:
    row = read_row(finished("one"))
    assert (row.state.name, row.title, row.page, row.seeds) == (
        "finished",
        "Med-RLVR",
        "one/report.html",
        {"sft": (1,), "rlvr": (1,)},
    )
    # Four GPUs for the training and for the answers.
    assert (row.seconds, row.gpu_hours) == (5400, pytest.approx(4 * 1.5))
    page = render([row])
    assert "seeds 1" in text_of(page) and "6.0 GPU-hours" in text_of(page)
    assert re.search(r"<title>rlvr/seed1: format failure \(1 to 3\)</title><rect x=\"0\" width=\"3\"", page)
    assert 'href="one/report.html"' in page


def test_on_a_cpu_there_are_no_gpu_hours(finished: Callable[..., Path]) -> None:
    row = read_row(finished("one", experiment(cpu=True)))
    assert (row.seconds, row.gpu_hours) == (5400, 0)
    assert "GPU-hours" not in text_of(render([row]))


def test_warnings_name_seeds_trial_runs_alarms_and_the_shuffled_control(finished: Callable[..., Path]) -> None:
    trial = Experiment.model_validate(experiment().model_dump() | {"claims": False})
    folder = finished("one", trial)
    stages = folder / "dynamics/rlvr/seed1/stages.json"
    written = json.loads(stages.read_text(encoding="utf-8"))
    alarm = {"indicator": "empty_think", "since": 4, "until": 7, "update": 6}
    write_json(stages, written | {"alarms": [alarm, alarm | {"since": 5, "until": 9}]})
    file = folder / "compare/comparisons.json"
    compared = json.loads(file.read_text(encoding="utf-8"))
    for row in compared["controls"]:
        row |= {"difference": -0.125, "low": -0.25, "high": -0.0625 if row["model"] == "rlvr/seed1" else 0.0}
    write_json(file, compared)
    assert list(read_row(folder).results.warnings) == [
        "a trial run: its accuracies support no claim",
        "only 1 training seed",
        "rlvr/seed1: -12.5 points with shuffled options (MedQA)",
        "rlvr/seed1: -12.5 points with shuffled options (MMLU-Pro health)",
        "reward hacking in rlvr/seed1: empty think blocks (updates 4 to 9)",
    ]


def test_without_its_benchmarks_the_cost_is_unknown(finished: Callable[..., Path]) -> None:
    folder = finished("one")
    (folder / "benchmarks/checkpoints/rlvr/seed1.tsv").write_text("", encoding="utf-8")
    row = read_row(folder)
    assert (row.state.name, row.seconds, row.gpu_hours) == ("finished", None, None)
    assert "the files in benchmarks/ cannot be read" in row.results.warnings


# States.


def test_a_folder_without_a_started_step_is_planned(tmp_path: Path) -> None:
    row = read_row(started(tmp_path / "mine"))
    assert (row.state.name, row.title, row.seeds, row.page) == ("planned", "mine", {}, None)


def test_a_locked_folder_is_running_with_its_last_progress(tmp_path: Path) -> None:
    folder = started(tmp_path / "mine")
    write_log(folder, "data/split.log", DONE.format("split_questions", ""))
    lines = "rlvr, seed 2: update 8 of 110\nrlvr, seed 2: update 9 of 110, mean reward +0.20, about 3 s left\nnoise\n"
    write_log(folder, "checkpoints/rlvr/seed2.log", OPEN.format("train_rlvr rlvr 2", lines))
    held = hold(folder / ".running/workflow", "snakemake")
    row = read_row(folder)
    held.close()
    assert (row.state.name, row.seeds) == ("running", {"rlvr": [2]})
    assert row.state.detail == "rlvr, seed 2: update 9 of 110, mean reward +0.20"
    # Nothing holds the folder any more, but the name of the killed process is still in the file.
    killed = read_row(folder)
    assert killed.state.name == "stopped"
    assert killed.state.detail == (
        "train_rlvr rlvr 2: Its process ended without a message."
        " Last progress: rlvr, seed 2: update 9 of 110, mean reward +0.20"
    )


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("{0}: failed after 3 s\nno disk\n(log: x)\n", "train_rlvr rlvr 1: no disk"),
        ("{0}: stopped after 3 s\nIt was stopped by Ctrl-C. Start\n", "train_rlvr rlvr 1: It was stopped by Ctrl-C."),
        ("{0}: done in 3 s\n", "all 1 started steps are done; the report is not written"),
    ],
)
def test_a_stopped_experiment_names_the_reason(tmp_path: Path, end: str, reason: str) -> None:
    folder = started(tmp_path / "mine")
    step = "train_rlvr rlvr 1"
    write_log(folder, "checkpoints/rlvr/seed1.log", OPEN.format(step, end.format(step)))
    row = read_row(folder)
    assert row.state.name == "stopped"
    assert row.state.detail.startswith(reason)


def test_a_finished_experiment_that_was_started_again_is_not_finished(finished: Callable[..., Path]) -> None:
    folder = finished("one")
    os.utime(folder / "report.html", (time.time() - 50,) * 2)
    write_log(folder, "checkpoints/rlvr/seed1.log", OPEN.format("train_rlvr rlvr 1", "rlvr, seed 1: update 2 of 9\n"))
    row = read_row(folder)
    assert row.state.name == "stopped" and row.state.detail.endswith("update 2 of 9")
    assert row.results.over_sft and row.page
    # A failed step that is older than the report is not part of the experiment any more.
    write_log(folder, "checkpoints/old.log", OPEN.format("train_rlvr old 1", ""), age=90)
    write_log(folder, "checkpoints/rlvr/seed1.log", DONE.format("train_rlvr rlvr 1", ""))
    assert read_row(folder).state.name == "finished"


def test_the_workflow_that_writes_the_report_does_not_make_it_running(finished: Callable[..., Path]) -> None:
    folder = finished("one")
    held = hold(folder / ".running/workflow", "snakemake")
    step = hold(folder / ".running/n1-7", "render_report")
    assert read_row(folder).state.name == "finished"
    held.close()
    step.close()


def test_a_large_log_is_read_at_its_ends(tmp_path: Path) -> None:
    folder = started(tmp_path / "mine")
    noise = "Train epoch [1/1]\r" * 400_000
    write_log(folder, "checkpoints/rlvr/seed1.log", DONE.format("train_rlvr rlvr 1", f"{noise}\n"))
    assert read_row(folder).state.detail.startswith("all 1 started steps are done")


# Broken folders.


def plant_broken(finished: Callable[..., Path], name: str) -> Path:
    """Plant an experiment that is broken in one way."""
    folder = finished(name)
    compared = folder / "compare/comparisons.json"
    if name == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif name == "file":
        shutil.rmtree(folder)
        folder.write_text("notes", encoding="utf-8")
    elif name == "loop":
        shutil.rmtree(folder)
        folder.symlink_to(folder)
    elif name == "dangling":
        shutil.rmtree(folder)
        folder.symlink_to("nowhere")
    elif name == "not_ours":
        shutil.rmtree(folder)
        (folder / "notes").mkdir(parents=True)
    elif name == "later_version":
        write_json(folder / "version.json", {"medrlvr": "9.9.9", "layout": 99})
    elif name == "no_version":
        (folder / "version.json").unlink()
    elif name == "version_list":
        (folder / "version.json").write_text("[]", encoding="utf-8")
    elif name == "version_half":
        (folder / "version.json").write_text('{"layout": 2, "med', encoding="utf-8")
    elif name == "version_bare":
        (folder / "version.json").write_text("{}", encoding="utf-8")
    elif name == "half_json":
        compared.write_text(compared.read_text(encoding="utf-8")[:500], encoding="utf-8")
    elif name == "not_utf8":
        compared.write_bytes(b"\xff\xfe\x00")
    elif name == "deep_json":
        compared.write_text("[" * 200_000, encoding="utf-8")
    elif name == "other_json":
        compared.write_text('{"pairs": 7}', encoding="utf-8")
    elif name == "nan":
        compared.write_text(
            re.sub(r'"difference": [-\d.e]+', '"difference": NaN', compared.read_text(encoding="utf-8"))
        )
    elif name == "half_stages":
        (folder / "dynamics/rlvr/seed1/stages.json").write_text('{"bands": [', encoding="utf-8")
    elif name == "no_stages":
        (folder / "dynamics/rlvr/seed1/stages.json").unlink()
    elif name == "unknown_stage":
        file = folder / "dynamics/rlvr/seed1/stages.json"
        file.write_text(file.read_text(encoding="utf-8").replace('"stage": "format_failure"', '"stage": "other"'))
    elif name == "old_config":
        (folder / "config.yaml").write_text("experiment: x\nlearning_rate: 3\n", encoding="utf-8")
    elif name == "no_yaml":
        (folder / "config.yaml").write_text("a: [1,\n\tb", encoding="utf-8")
    elif name == "config_list":
        (folder / "config.yaml").write_text("- 1\n", encoding="utf-8")
    else:
        raise AssertionError(name)
    return folder


BROKEN = {
    "empty": "The folder is empty",
    "file": "This is a file. An experiment is a folder",
    "loop": "a symbolic link that leads to no folder",
    "dangling": "a symbolic link that leads to no folder",
    "not_ours": "contains no version.json",
    "later_version": "medrlvr 9.9.9 wrote this folder",
    "no_version": "a version of medrlvr before 0.2.0 wrote this folder",
    "version_list": "version.json contains no JSON object",
    "version_half": "version.json is not JSON",
    "version_bare": "medrlvr of an unknown version wrote this folder",
    "half_json": "compare/comparisons.json is not JSON",
    "not_utf8": "compare/comparisons.json is not JSON",
    "deep_json": "compare/comparisons.json is not JSON",
    "other_json": "A file does not have the expected content",
    "nan": "compare/comparisons.json contains a difference that is not a number",
    "half_stages": "dynamics/rlvr/seed1/stages.json is not JSON",
    "no_stages": "dynamics/rlvr/seed1/stages.json: No such file or directory",
    "unknown_stage": "A file does not have the expected content (KeyError: 'other')",
    "old_config": "config.yaml, line 2: learning_rate: ",
    "no_yaml": "config.yaml, line 2: this is not YAML",
    "config_list": "config.yaml is not a configuration",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_folder_is_a_row_with_the_reason(finished: Callable[..., Path], name: str) -> None:
    good, folder = finished("good"), plant_broken(finished, name)
    rows = {row.name: row for row in read_rows(folder.parent)}
    assert set(rows) == {"good", name}
    assert rows["good"] == read_row(good)
    assert (rows[name].state.name, rows[name].page) == ("broken", None)
    assert BROKEN[name] in rows[name].state.detail
    text = text_of(render(list(rows.values())))
    assert BROKEN[name] in text


@contextmanager
def without_root() -> Iterator[None]:
    """Give up the rights of root, for whom every folder is accessible."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("part", ["", "version.json", "config.yaml", "compare/comparisons.json"])
def test_a_folder_or_file_without_permission_is_a_row(template: Path, part: str) -> None:
    # pytest's own folder is closed to other users.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        shutil.copytree(template, Path(name) / "closed")
        (Path(name) / "closed" / part).chmod(0)
        with without_root():
            (row,) = read_rows(Path(name))
        (Path(name) / "closed" / part).chmod(0o700)
    assert row.state.name == "broken"
    assert os.strerror(errno.EACCES) in row.state.detail and f"closed/{part}".rstrip("/") in row.state.detail


def test_other_files_in_results_are_not_experiments(finished: Callable[..., Path]) -> None:
    root = finished("one").parent
    for name in ("README.md", "comparison.html", "comparison.svg", "index.html", ".hidden"):
        (root / name).write_text("x", encoding="utf-8")
    (root / ".running").mkdir()
    assert [row.name for row in read_rows(root)] == ["one"]


def test_a_link_inside_a_folder_to_the_folder_is_no_endless_loop(finished: Callable[..., Path]) -> None:
    folder = finished("one")
    for name in ("logs", "benchmarks", "checkpoints"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "again").symlink_to(folder, target_is_directory=True)
    assert read_row(folder).state.name == "finished"


def test_an_interruption_is_not_a_broken_folder(finished: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = finished("one")

    def interrupt(*_: object) -> None:
        raise Interrupted("stop")

    monkeypatch.setattr("medrlvr.report.index_rows.read_state", interrupt)
    with pytest.raises(Interrupted):
        read_row(folder)
    with pytest.raises(Interrupted):
        index.rebuild_index(folder.parent, print)


def test_names_that_are_not_unicode_are_shown_and_linked(finished: Callable[..., Path]) -> None:
    folder = finished("one")
    odd = folder.rename(Path(os.fsdecode(os.fsencode(folder.parent) + b"/od\xffd")))
    page = render([read_row(odd)])
    assert 'href="od%FFd/report.html"' in page and "od[U+DCFF]d" in page
    page.encode()


# The HTML.


def test_the_newest_experiment_is_first(finished: Callable[..., Path]) -> None:
    root = finished("c").parent
    for age, name in enumerate(("b", "a")):
        folder = finished(name)
        shutil.rmtree(folder / "logs")
        os.utime(folder / "report.html", (1e9 - age,) * 2)
    os.utime(root / "c/report.html", (2e9,) * 2)
    rows = read_rows(root)
    assert [row.name for row in rows] == ["c", "b", "a"]
    page = text_of(render(rows))
    assert "2033-05-18 03:33" in page and page.index("2033-05-18") < page.index("2001-09-09")


def test_the_comparison_lists_each_text_once(finished: Callable[..., Path]) -> None:
    rows = [read_row(finished(name, experiment(kl=kl))) for name, kl in (("a", 0.01), ("b", 0.25), ("c", 0.01))]
    values = index.comparison_values(rows)
    settings = {row["key"]: row for row in values["settings"]}
    assert settings["arms.rlvr.kl_coefficient"] == {
        "key": "arms.rlvr.kl_coefficient",
        "texts": ["0.01", "0.25"],
        "of": [0, 1, 0],
    }
    differing = [key for key, row in settings.items() if len(row["texts"]) > 1]
    assert differing == ["arms.rlvr.kl_coefficient"]
    results = {row["key"]: row for row in values["results"]}
    gain = rows[0].results.over_sft[0].required_format
    assert results["MedQA: RLVR minus SFT, required format"]["texts"] == [str(gain)]
    assert results["MedQA: questions (SHA-256)"]["texts"] == ["12 (aaaa)"]
    assert results["GPU-hours"]["texts"] == ["6.0"]


def test_settings_of_an_unfinished_experiment_are_those_of_its_trainings(tmp_path: Path) -> None:
    folder = started(tmp_path / "mine")
    file = folder / "checkpoints/rlvr/seed1/update4/training.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("trainer: rlvr\nkl_coefficient: 0.25\nseed: 1\n", encoding="utf-8")
    row = read_row(folder)
    assert row.settings == {"arms.rlvr.trainer": '"rlvr"', "arms.rlvr.kl_coefficient": "0.25"}


def test_long_texts_are_cut(finished: Callable[..., Path]) -> None:
    row = read_row(finished("one", experiment("x" * 100_000)))
    assert len(row.title) < 500 and row.title.endswith("… (100,000 characters)")
    assert len(render([row])) < 100_000


def test_a_hundred_experiments_are_less_than_a_megabyte(finished: Callable[..., Path]) -> None:
    for number in range(100):
        finished(f"experiment_{number}", experiment(f"Med-RLVR, variant {number}", kl=number / 1000))
    root = finished("last").parent
    rows = index.write_index(root)
    page = (root / "index.html").read_text(encoding="utf-8")
    assert len(rows) == 101 and page.count('<th scope="row"') == 101
    assert len(page.encode()) < 1_000_000
    assert len(embedded(page)["names"]) == 101


def test_without_experiments_the_index_states_that(tmp_path: Path) -> None:
    assert index.write_index(tmp_path) == []
    assert "There is no experiment yet" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_hostile_texts_are_escaped(finished: Callable[..., Path]) -> None:
    folder = finished("one", experiment(HOSTILE))
    hostile = folder.with_name("<img src=x onerror=alert(1)>")
    shutil.copytree(folder, hostile)
    page = render([read_row(folder), read_row(hostile)])
    assert "<img" not in page and "<script>window" not in page and "\u202e" not in page
    assert page.count("<script") == 2
    assert embedded(page)["names"][1] == hostile.name


# Writers.


def test_experiments_that_end_together_are_all_finished_in_the_index(
    finished: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first to read is the slowest to write; without the hold, its page would be the last and outdated."""
    first, second = finished("first"), finished("second")
    (second / "report.html").unlink()
    root, read = first.parent, read_rows
    began = threading.Event()

    def slow(folder: Path) -> list[Row]:
        rows = read(folder)
        if not began.is_set():
            began.set()
            time.sleep(1)
        return rows

    monkeypatch.setattr(index, "read_rows", slow)
    with ThreadPoolExecutor() as pool:
        early = pool.submit(index.write_index, root)
        began.wait()
        (second / "report.html").touch()
        late = pool.submit(index.write_index, root)
        early.result()
        late.result()
    page = (root / "index.html").read_text(encoding="utf-8")
    assert page.count('<span class="word finished">') == 2
    assert page.rstrip().endswith("</html>")
    assert sorted(path.name for path in root.iterdir()) == [".running", "first", "index.html", "second"]
    assert not list((root / ".running").iterdir())


def test_a_failure_of_the_index_is_printed(tmp_path: Path) -> None:
    lines: list[str] = []
    (tmp_path / "index.html").mkdir()
    index.rebuild_index(tmp_path, lines.append)
    (line,) = lines
    reason = f"{tmp_path}/index.html cannot be written: Is a directory. Make {tmp_path} accessible to you."
    assert line.startswith(f"The index was not rebuilt: {reason}\n")
    assert line.endswith("`medrlvr index` rebuilds the index.")
    assert [path.name for path in tmp_path.iterdir() if path.name != ".running"] == ["index.html"]


def test_an_index_that_another_process_writes_for_long_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "PATIENCE", 0.0)
    lines: list[str] = []
    held = hold(tmp_path / ".running/index", "writing index.html")
    index.rebuild_index(tmp_path, lines.append)
    held.close()
    assert "is in use by writing index.html, process" in lines[0]
    assert not (tmp_path / "index.html").exists()


def test_the_command_writes_the_index(
    finished: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = finished("one").parent.parent
    (root / "results/two").mkdir()
    (root / "Snakefile").touch()
    (root / "src").mkdir()
    (root / "src/medrlvr").symlink_to(Path(index.__file__).parents[1])
    monkeypatch.chdir(root / "results/one")
    assert main(["index"]) == 0
    assert capsys.readouterr().out == "The index: ../index.html (1 finished, 1 broken)\n"
    page = root / "results/index.html"
    assert "The folder is empty" in page.read_text(encoding="utf-8")
    page.unlink()
    page.mkdir()
    monkeypatch.chdir(root)
    assert main(["index"]) == 1
    assert capsys.readouterr().err.startswith("results/index.html cannot be written: Is a directory. ")


# In a browser.


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as started:
        yield started


@pytest.fixture(scope="module")
def written(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of experiments in all states; names are in the order of their dates, the latest first."""
    root = tmp_path_factory.mktemp("written")
    settings = {
        "a_plain": experiment(),
        "b_strong": experiment("Strong KL", kl=0.25),
        "c_hostile": experiment(HOSTILE, cpu=True),
    }
    for number, (name, own) in enumerate(settings.items()):
        shutil.copytree(template, root / name)
        (root / name / "config.yaml").write_text(yaml.safe_dump(own.overlay(), allow_unicode=True), encoding="utf-8")
        file = root / name / "compare/comparisons.json"
        compared = json.loads(file.read_text(encoding="utf-8"))
        for pair in compared["pairs"]:
            pair |= {"difference": (0.1, -0.2, 0.05)[number], "interval_95": {"low": -0.25, "high": 0.25}}
        write_json(file, compared)
    broken = root / f"d_{HOSTILE}".replace("/", "")
    broken.mkdir()
    step = "train_rlvr rlvr 1"
    write_log(
        started(root / "e_stopped"),
        "checkpoints/rlvr/seed1.log",
        OPEN.format(step, f"{step}: failed after 3 s\n{HOSTILE}\n"),
    )
    training = root / "e_stopped/checkpoints/rlvr/seed1/update4/training.yaml"
    training.parent.mkdir(parents=True)
    training.write_text("kl_coefficient: 0.5\nclip_range: 0.2\n", encoding="utf-8")
    started(root / "f_planned")
    dates = {folder: 1.9e9 - 1000 * number for number, folder in enumerate(sorted(root.iterdir()))}
    for folder, date in dates.items():
        for file in (folder / "report.html", folder / "version.json", *folder.rglob("*.log"), folder):
            if file.exists():
                os.utime(file, (date - 10 if file.suffix == ".log" and "e_" not in folder.name else date,) * 2)
    index.write_index(root)
    return root / "index.html"


@pytest.fixture
def opened(browser: Browser, written: Path) -> Iterator[Callable[..., Page]]:
    """Open the index; afterwards, require that no error, no violation of its policy and no request occurred."""
    faults: list[str] = []
    contexts = []

    def visit(**settings: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **settings})
        contexts.append(context)
        context.add_init_script(
            "document.addEventListener('securitypolicyviolation', (e) => console.error(e.violatedDirective))"
        )
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("request", lambda asked: None if asked.url.startswith("file:") else faults.append(asked.url))
        page.goto(written.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == []


def names(page: Page) -> str:
    """Return the first letters of the experiments in the order of the rows."""
    labels = page.locator("#experiments tbody th").all_inner_texts()
    titles = {"Med": "a", "Str": "b", "<im": "c", "d_<": "d", "e_s": "e", "f_p": "f"}
    return "".join(titles[label.strip()[:3]] for label in labels)


def tick(page: Page, name: str) -> None:
    page.get_by_label(f"Compare {name}", exact=True).check()


def shown_rows(page: Page, number: int) -> dict[str, list[str]]:
    """Return the rows of one table of the comparison."""
    lines = page.locator("#tables table").nth(number).locator("tbody tr").all()
    return {line.locator("th").inner_text(): line.locator("td").all_inner_texts() for line in lines}


@pytest.mark.slow
def test_columns_are_sorted_and_empty_cells_are_last(opened: Callable[..., Page]) -> None:
    page = opened()
    heads = page.locator("#experiments thead th")
    assert names(page) == "abcdef"
    assert heads.nth(4).get_attribute("aria-sort") == "descending"
    for name, ascending, descending in (
        ("RLVR minus SFT", "bcadef", "acbdef"),
        ("Date (UTC)", "fedcba", "abcdef"),
        ("Experiment", "cdefab", "bafedc"),
        ("State", "bacefd", "dfebac"),
    ):
        heading = heads.filter(has_text=name)
        for order, expected in (("ascending", ascending), ("descending", descending)):
            page.get_by_role("button", name=name).click()
            assert (heading.get_attribute("aria-sort"), names(page)) == (order, expected)
            assert page.locator("[aria-sort]").count() == 1


@pytest.mark.slow
def test_two_ticked_experiments_are_compared(opened: Callable[..., Page], written: Path) -> None:
    page = opened()
    panel = page.locator("#comparison")
    expect(panel).to_be_hidden()
    tick(page, "a_plain")
    expect(page.locator("#ticked")).to_have_text("a_plain is ticked. Tick one more experiment.")
    tick(page, "b_strong")
    expect(page.get_by_role("heading", name="a_plain and b_strong")).to_be_visible()
    results, settings = shown_rows(page, 0), shown_rows(page, 1)
    assert settings == {"title": ['"Med-RLVR"', '"Strong KL"'], "arms.rlvr.kl_coefficient": ["0.01", "0.25"]}
    assert results["MedQA: RLVR minus SFT, required format"] == [
        "+10.0 (-25.0 to +25.0)",
        "-20.0 (-25.0 to +25.0)",
    ]
    assert "MedQA: RLVR minus SFT, any readable answer" not in results and "State" not in results
    expect(page.locator("#command code")).to_have_text("medrlvr compare results/a_plain results/b_strong")
    captions = page.locator("#tables caption").all_inner_texts()
    values = embedded(written.read_text(encoding="utf-8"))
    known = sum(row["of"][0] is not None or row["of"][1] is not None for row in values["settings"])
    assert captions[1] == f"Settings: 2 of {known} differ"
    page.get_by_label("Differences only").uncheck()
    assert len(shown_rows(page, 1)) == known
    everything = shown_rows(page, 0)
    assert everything["State"] == ["finished", "finished"]
    assert len(set(everything["MedQA: RLVR minus SFT, any readable answer"])) == 1
    # A third tick replaces the first, and a tick that is removed ends the comparison.
    tick(page, "c_hostile")
    expect(page.get_by_role("heading", name="b_strong and c_hostile")).to_be_visible()
    assert page.locator("#experiments input:checked").count() == 2
    page.get_by_label("Compare b_strong").uncheck()
    expect(panel).to_be_hidden()


@pytest.mark.slow
def test_unknown_settings_of_an_unfinished_experiment_are_not_differences(opened: Callable[..., Page]) -> None:
    page = opened()
    tick(page, "a_plain")
    tick(page, "e_stopped")
    assert shown_rows(page, 1) == {"arms.rlvr.kl_coefficient": ["0.01", "0.5"]}
    expect(page.locator("#command")).to_be_hidden()
    page.get_by_label("Differences only").uncheck()
    everything = shown_rows(page, 1)
    assert everything["arms.rlvr.clip_range"] == ["0.2", "0.2"]
    assert everything["base.name"][1] == "unknown until the report is written"
    page.get_by_label("Compare a_plain").uncheck()
    tick(page, "f_planned")
    assert shown_rows(page, 0)["State"] == ["stopped", "planned"]


@pytest.mark.slow
def test_hostile_texts_create_no_element(opened: Callable[..., Page]) -> None:
    page = opened()
    tick(page, "a_plain")
    tick(page, "c_hostile")
    assert shown_rows(page, 0)["Title"][1].startswith("<img src=x onerror=")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img, iframe").count() == 0 and page.locator("script").count() == 2
    # One broken folder and one stopped experiment show theirs as text, too.
    assert page.locator("#experiments").inner_text().count("<img src=x") == 3
    assert "\u202e" not in page.content()


@pytest.mark.slow
def test_keys_reach_ticks_sorting_and_comparison(opened: Callable[..., Page]) -> None:
    page = opened()
    page.get_by_label("Compare a_plain").focus()
    page.keyboard.press("Space")
    page.get_by_label("Compare b_strong").focus()
    page.keyboard.press("Space")
    page.get_by_role("link", name="Show the comparison").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "comparison"
    page.get_by_role("button", name="Experiment").focus()
    page.keyboard.press("Enter")
    assert names(page) == "cdefab"


@pytest.mark.slow
def test_on_a_phone_title_state_and_a_difference_are_visible(opened: Callable[..., Page]) -> None:
    page = opened(viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    row = page.locator("#experiments tbody tr").first
    for part in (row.locator(".name"), row.locator(".word"), row.locator(".gains").first.locator(".both").first):
        box = part.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390
    detail = page.locator(".detail").first.bounding_box()
    assert detail is not None and detail["x"] + detail["width"] <= 390
    caption = page.locator("#experiments caption span").bounding_box()
    assert caption is not None and caption["x"] + caption["width"] <= 390
    tick(page, "a_plain")
    tick(page, "b_strong")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    table = page.locator("#tables table").first.bounding_box()
    assert table is not None and table["x"] + table["width"] <= 390


@pytest.mark.slow
@pytest.mark.parametrize("width", [718, 1040])
def test_the_print_overflows_nowhere(opened: Callable[..., Page], width: int) -> None:
    """A4 with margins of 1 cm, upright and across."""
    page = opened(viewport={"width": width, "height": 1000})
    tick(page, "a_plain")
    tick(page, "b_strong")
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    wide = "nodes => nodes.filter((node) => node.scrollWidth > node.clientWidth + 1).map((node) => node.outerHTML)"
    assert page.locator(".scroll, td, th").evaluate_all(wide) == []
    expect(page.locator("#ticked")).to_be_hidden()
    expect(page.locator("#experiments input").first).to_be_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_index_is_accessible(opened: Callable[..., Page], scheme: str, width: int) -> None:
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 900})
    tick(page, "a_plain")
    tick(page, "b_strong")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 22, 24)"}[scheme]
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
    found = Axe().run(page, options=rules).response["violations"]
    assert [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found] == []


@pytest.mark.slow
def test_without_javascript_the_table_is_visible(opened: Callable[..., Page]) -> None:
    page = opened(java_script_enabled=False)
    assert names(page) == "abcdef"
    assert page.locator("#experiments button").count() == 0
    for hidden in ("#experiments input", "#how", "#comparison", "#ticked"):
        expect(page.locator(hidden).first).to_be_hidden()
    expect(page.locator("svg").first).to_be_visible()
    assert "+10.0 /" in page.locator("tbody tr").first.inner_text()
