import html
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from evaluated import PAPER, evaluate, write
from test_card import card

from medrlvr.config import Experiment
from medrlvr.dynamics.table import tabulate
from medrlvr.files import write_json, write_parquet
from medrlvr.report.figures import accuracy_table, draw_accuracy, draw_dynamics, draw_training, save
from medrlvr.report.page import describe_run, inline_svg, page_values, pick_examples, read_metrics, render_page

GRADES = {
    "valid_format": [True, False, True, True],
    "strict_format": [True, False, True, False],
    "correct": [False, False, True, True],
    "lenient_correct": [False, True, True, True],
    "chars_before_think": [0, 4, 0, 2],
    "think_chars": [1, 0, 1, 1],
}
ROLLOUTS = pd.DataFrame(
    {"update": [1, 1, 2, 2], "response": ["ab", "abcd", "abc", "abcdef"], "reward": [0.0, -1.0, 1.0, 1.0], **GRADES}
)
TRAINER = pd.DataFrame({"update": [1, 2], "kl": [0.0, 0.5], "unknown": [1, 2]})


def test_one_row_per_update() -> None:
    table = tabulate(ROLLOUTS, TRAINER)
    assert table["update"].tolist() == [1, 2]
    assert table["reward"].tolist() == [-0.5, 1.0]
    assert table["chars"].tolist() == [3.0, 4.5]
    assert table["strict_format"].tolist() == [0.5, 0.5]
    assert table["kl"].tolist() == [0.0, 0.5]
    assert "unknown" not in table


def test_examples_are_the_first_of_each_update() -> None:
    assert [example["response"] for example in pick_examples(ROLLOUTS, [1, 2])] == ["ab", "abc"]


def test_a_run_is_counted_and_shown_at_its_begin_middle_and_end() -> None:
    rollouts = pd.concat([ROLLOUTS, ROLLOUTS.assign(update=ROLLOUTS["update"] + 2)])
    run = describe_run("rlvr/seed1", rollouts)
    assert (run["updates"], run["responses"]) == (4, 8)
    assert [example["update"] for example in run["examples"]] == [1, 3, 4]
    assert [example["update"] for example in describe_run("x", ROLLOUTS.head(2))["examples"]] == [1]


EXPERIMENT = Experiment()


@pytest.fixture(scope="module")
def evaluated() -> dict[str, Any]:
    return evaluate(EXPERIMENT)


def page_of(tmp_path: Path, evaluated: dict[str, Any], candidates: list[dict[str, Any]]) -> str:
    """The real template, filled with these evaluations and this choice of a checkpoint."""
    graded = ROLLOUTS.assign(response="<script>alert(1)</script>", reward=-0.5, question_id="q1")
    write_parquet(tmp_path / "r.parquet", graded)
    write_json(tmp_path / "s.json", candidates)
    write_json(tmp_path / "only.json", [{"candidate": "lr1e-05", "n": 0, "accuracy": None, "chosen": True}])
    write_json(tmp_path / "data_card.json", card())
    write_json(tmp_path / "base.json", {"name": "b", "origin": "b at commit c0ffee"})
    names = ("accuracy", "dynamics", "training")
    for name in names:
        (tmp_path / f"{name}.svg").write_text("<svg></svg>")
    titles = EXPERIMENT.titles()
    values = page_values(
        EXPERIMENT.model_dump(mode="json"),
        read_metrics(write(evaluated, tmp_path), titles),
        titles=titles,
        design=EXPERIMENT.design(),
        runs={"rlvr/seed1": tmp_path / "r.parquet"},
        selections={"rlvr/seed1": tmp_path / "s.json", "sft/seed1": tmp_path / "only.json"},
        tables={name: tmp_path / f"{name}.json" for name in ("comparisons", "verdict", "data_card", "base")},
        figures=[tmp_path / f"{name}.svg" for name in names],
        versions={"torch": "2"},
        created=datetime(2026, 11, 21, 9, 5, tzinfo=UTC),
    )
    return render_page(Path("workflow/report/page.html.jinja"), values)


CANDIDATES = [
    {"candidate": "update4", "n": 2, "accuracy": 0.5, "unparsed": 0.0, "chosen": True},
    {"candidate": "update8", "n": 2, "accuracy": 0.25, "unparsed": 0.5, "chosen": False},
]


def test_the_page_is_filled_whole(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    """The real template takes these values and no other, and what a model wrote is escaped in it."""
    page = page_of(tmp_path, evaluated, CANDIDATES)
    assert "21 November 2026, 09:05 UTC" in page
    assert "reward -0.5" in page and "&lt;script&gt;" in page and "<script>" not in page
    assert "MedQA: in distribution" in page and "MMLU-Pro health: out of distribution" in page
    taken = re.findall(r'<td class="text">(best|last|no other|)</td><td class="text"><a href="development', page)
    assert taken == ["best", "last", "no other"]
    assert page.count("<svg") == 3 and "b at commit c0ffee" in page and "torch 2." in page
    for claim in ("RLVR is as good as SFT in distribution", "RLVR does not verify itself"):
        assert claim in page
    # Below 2 benchmarks, 4 controls, and in 5 strata of each benchmark: options, gold letter (2), src (2).
    assert page.count("always A</td>") == 2 + 4 + 2 * 5 and "training&#39;s most frequent letter, A" in page
    assert "MMLU-Pro health, five options" in page and "chain of thought" in page and "chain_of_thought" not in page


def test_every_number_in_the_pages_tables_is_one_of_the_files(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    """Every number of the files is replaced by one that stands nowhere else; no other may then be on the page."""
    unique = count(1000)

    def renumbered(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renumbered(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [renumbered(inner) for inner in value]
        return next(unique) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else value

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from (str(key), *texts(inner))
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from texts(inner)
        elif isinstance(value, str):
            yield value

    replaced, candidates = renumbered(evaluated), renumbered(CANDIDATES)
    page = page_of(tmp_path, replaced, candidates)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page.partition("<h2>Training dynamics")[0])
    plain = [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in cells]
    named = {text.replace("_", " ") for text in [*texts(replaced), *texts(candidates), *EXPERIMENT.titles().values()]}
    named |= {f"{key}: {value}".replace("_", " ") for key in ("options",) for value in named}
    named |= {text.replace(" ", "_") for text in named} | {
        "1, 1",
        "sft/seed1",
        "lr1e-05",
    }  # the last: seeds of two arms
    numbers = [number for cell in plain if cell not in named for number in re.findall(r"\d[\d.]*", cell)]
    known = {float(value) for number in range(1000, next(unique)) for value in (number, 100 * number)}
    assert len(numbers) > 500
    assert {number for number in numbers if float(number) not in known} == set()


def test_numbers_stand_under_their_headings(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    page = page_of(tmp_path, evaluated, CANDIDATES)

    def row(title: str, first: str) -> dict[str, str]:
        """The first row that begins with `first`, by the headings of the table under `title`."""
        table = page.partition(f">{title}</h")[2].partition("<table>")[2].partition("</table>")[0]
        headings = re.findall(r"<th(?: class=\"text\")?>(.*?)</th>", table)
        (cells, *_) = re.findall(rf"<tr><td>{first}</td>.*?</tr>", table)
        texts = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", cells)]
        assert len(texts) == len(headings)
        return dict(zip(headings, texts, strict=True))

    record = next(
        one for one in evaluated["metrics"]["base"] if (one["benchmark"], one["mode"]) == ("medqa", "chain_of_thought")
    )
    shown = row("Accuracy", "base")
    for heading, name in {
        "SD": "accuracy_sd",
        "Lenient": "lenient_accuracy",
        "Unparsed": "unparsed",
        "Strict format": "strict_format",
        "Truncated": "truncated",
    }.items():
        assert shown[heading] == f"{100 * record[name]:.1f}", heading
    assert (shown["n, once each"], shown["Tokens"]) == (str(record["distinct_n"]), f"{record['mean_tokens']:.1f}")
    claim = evaluated["verdict"]["claims"][0]
    shown = row("The paper\u2019s claims", claim["claim"])
    assert shown["Here"] == f"{100 * claim['value']:+.1f}" and shown["n"] == "12"
    paper = claim["paper"]
    assert shown["Difference (95 %)"].startswith(f"{100 * paper['difference']:+.1f} ({100 * paper['low']:+.1f} to ")
    pair = next(one for one in evaluated["comparisons"]["pairs"] if one["role"] == "primary")
    shown = row("Primary tests", "rlvr, chain of thought")
    seed = pair["by_seed"][0]
    assert (shown["Only first right"], shown["Only second right"]) == (
        str(seed["only_first"]),
        str(seed["only_second"]),
    )
    assert (shown["p"], shown["p, Holm"]) == (f"{seed['mcnemar_p']:.3f}", f"{pair['holm_p']:.3f}")
    gain = evaluated["comparisons"]["decomposition"][0]
    shown = row("Where RLVR\u2019s gain over the base comes from", gain["model"])
    names = {
        "Not readable, said": "unparsed_said",
        "Wrong, knew": "wrong_known",
        "Wrong, new": "wrong_new",
        "Lost": "lost",
    }
    assert {heading: shown[heading] for heading in names} == {key: str(gain[name]) for key, name in names.items()}
    control = evaluated["comparisons"]["controls"][0]
    shown = row("Controls: the same questions with other options", control["model"])
    assert shown["as control"] == f"{100 * control['control_accuracy']:.1f}" and shown["Moved"] == str(control["moved"])


def test_the_bars_are_the_papers_beside_ours(evaluated: dict[str, Any], tmp_path: Path) -> None:
    metrics = read_metrics(write(evaluated, tmp_path), EXPERIMENT.titles())
    table = accuracy_table(metrics, evaluated["comparisons"]["sanity"], PAPER, EXPERIMENT.design())
    bars = table[["system", "mode"]].agg(", ".join, axis=1).tolist()
    assert bars == 2 * ["random, ", "base, direct", "base, chain_of_thought", "sft, direct", "rlvr, chain_of_thought",
                        "rlvr_dev, chain_of_thought"]  # fmt: skip
    theirs = PAPER.set_index(["distribution", "system", "mode"])
    sft = table[(table["system"] == "sft") & (table["title"] == "MMLU-Pro health")].iloc[0]
    assert sft["paper_accuracy"] == theirs.loc[("out", "sft", "direct"), "accuracy"] / 100
    assert sft["paper_sd"] == theirs.loc[("out", "sft", "direct"), "sd"] / 100
    ours = metrics[(metrics["model"] == "sft/seed1") & (metrics["benchmark"] == "mmlu_pro_health")]
    assert sft["accuracy"] == ours.loc[ours["mode"] == "direct", "accuracy"].item()
    assert table.loc[table["system"] == "rlvr_dev", "paper_accuracy"].isna().all()


def test_figures_are_equal_bytes_for_equal_tables(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    dynamics = tabulate(ROLLOUTS, TRAINER).assign(arm="rlvr", seed=1)
    metrics = read_metrics(write(evaluated, tmp_path), EXPERIMENT.titles())
    bars = accuracy_table(metrics, evaluated["comparisons"]["sanity"], PAPER, EXPERIMENT.design())
    for draw, table in ((draw_dynamics, dynamics), (draw_training, dynamics), (draw_accuracy, bars)):
        first, second = tmp_path / "first.svg", tmp_path / "second.svg"
        save(draw(table), first)
        save(draw(table), second)
        assert first.read_bytes() == second.read_bytes()


def test_ids_of_two_figures_do_not_clash(tmp_path: Path) -> None:
    figure = tmp_path / "one.svg"
    figure.write_text('<?xml version="1.0"?><svg><path id="p"/><use href="#p" clip-path="url(#p)"/></svg>')
    assert inline_svg(figure) == '<svg><path id="one-p"/><use href="#one-p" clip-path="url(#one-p)"/></svg>'


def test_model_output_is_escaped(tmp_path: Path) -> None:
    template = tmp_path / "page.html.jinja"
    template.write_text("<pre>{{ response }}</pre>")
    assert "<script>" not in render_page(template, {"response": "<script>alert(1)</script>"})


def test_a_value_missing_from_the_page_is_an_error(tmp_path: Path) -> None:
    template = tmp_path / "page.html.jinja"
    template.write_text("{{ nowhere }}")
    with pytest.raises(Exception, match="nowhere"):
        render_page(template, {})


def test_metrics_are_in_the_order_of_the_benchmarks(tmp_path: Path) -> None:
    for model in ("base", "sft"):
        records = [{"benchmark": "b", "n": 1}, {"benchmark": "a", "n": 2}]
        (tmp_path / model).write_text(json.dumps({"records": records}))
    table = read_metrics({model: str(tmp_path / model) for model in ("base", "sft")}, {"a": "Alpha", "b": "Beta"})
    assert table["title"].tolist() == ["Alpha", "Alpha", "Beta", "Beta"]
    assert table["model"].tolist() == ["base", "sft", "base", "sft"]
