import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import yaml
from test_card import card

from medrlvr.config import load
from medrlvr.dynamics.table import tabulate
from medrlvr.files import write_json, write_parquet
from medrlvr.report.figures import draw_accuracy, draw_dynamics, draw_training, save
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


def test_the_page_is_filled_whole(tmp_path: Path) -> None:
    """The real template takes these values and no other, and what a model wrote is escaped in it."""
    experiment = load(yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))).model_dump(mode="json")
    rollouts, selection, table, figure = (tmp_path / name for name in ("r.parquet", "s.json", "t.json", "accuracy.svg"))
    graded = ROLLOUTS.assign(response="<script>alert(1)</script>", reward=-0.5, question_id="q1")
    write_parquet(rollouts, graded)
    candidates = [{"candidate": "update4", "n": 2, "accuracy": 0.5, "unparsed": 0.0, "chosen": True}]
    candidates.append({"candidate": "update8", "n": 2, "accuracy": 0.25, "unparsed": 0.5, "chosen": False})
    write_json(selection, candidates)
    write_json(tmp_path / "only.json", [{"candidate": "lr1e-05", "n": 0, "accuracy": None, "chosen": True}])
    write_json(table, [])
    write_json(tmp_path / "data_card.json", card())
    write_json(tmp_path / "base.json", {"name": "b", "origin": "b at commit c0ffee"})
    names = ("accuracy", "dynamics", "training")
    for name in names:
        figure.with_name(f"{name}.svg").write_text("<svg></svg>")
    values = page_values(
        experiment,
        pd.DataFrame(),
        runs={"rlvr/seed1": rollouts},
        selections={"rlvr/seed1": selection, "sft/seed1": tmp_path / "only.json"},
        tables={"comparisons": table, "data_card": tmp_path / "data_card.json", "base": tmp_path / "base.json"},
        figures=[tmp_path / f"{name}.svg" for name in names],
        versions={"torch": "2"},
        created=datetime(2026, 11, 21, 9, 5, tzinfo=UTC),
    )
    page = render_page(Path("workflow/report/page.html.jinja"), values)
    assert "21 November 2026, 09:05 UTC" in page
    assert "reward -0.5" in page and "&lt;script&gt;" in page and "<script>" not in page
    assert "MedQA: in distribution" in page and "MMLU-Pro health: out of distribution" in page
    taken = re.findall(r'<td class="text">(best|last|no other|)</td><td class="text"><a href="development', page)
    assert taken == ["best", "last", "no other"]
    assert page.count("<svg") == 3 and "b at commit c0ffee" in page and "torch 2." in page


def test_figures_are_equal_bytes_for_equal_tables(tmp_path: Path) -> None:
    dynamics = tabulate(ROLLOUTS, TRAINER).assign(arm="rlvr", seed=1)
    metrics = pd.DataFrame(
        {"model": ["base", "rlvr/seed1"], "title": "Toy", "mode": "direct", "accuracy": [0.2, 0.8]}
    ).assign(accuracy_sd=0.02, chance=0.25)
    for draw, table in ((draw_dynamics, dynamics), (draw_training, dynamics), (draw_accuracy, metrics)):
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
        (tmp_path / model).write_text(json.dumps(records))
    table = read_metrics({model: str(tmp_path / model) for model in ("base", "sft")}, {"a": "Alpha", "b": "Beta"})
    assert table["title"].tolist() == ["Alpha", "Alpha", "Beta", "Beta"]
    assert table["model"].tolist() == ["base", "sft", "base", "sft"]
