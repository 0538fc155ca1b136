import json
from pathlib import Path

import pandas as pd
import pytest

from medrlvr.dynamics.table import tabulate
from medrlvr.report.figures import draw_accuracy, draw_dynamics, draw_training, save
from medrlvr.report.page import inline_svg, pick_examples, read_metrics, render_page

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
