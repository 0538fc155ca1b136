from pathlib import Path

import pandas as pd
import pytest

from medrlvr.evaluation.selection import candidate_models, select_best
from medrlvr.report.model_card import model_card
from medrlvr.runtime.errors import UserError

QUESTIONS = pd.DataFrame({"question_id": ["q1", "q2"], "options": [["x", "y"]] * 2, "gold": [0, 1]})
MODELS = [Path("c/lr1e-05"), Path("c/lr5e-06"), Path("c/lr1e-06")]


def answers(*letters: str) -> pd.DataFrame:
    """Two answers of each model."""
    return pd.DataFrame(
        [
            {
                "model": str(model),
                "question_id": question,
                "benchmark": "development",
                "mode": "direct",
                "sample": 0,
                "response": letter,
                "finish_reason": "stop",
            }
            for model, pair in zip(MODELS, letters, strict=True)
            for question, letter in zip(("q1", "q2"), pair, strict=True)
        ]
    )


@pytest.mark.parametrize(("given", "best"), [(("BB", "AB", "AA"), 1), (("BA", "BA", "AA"), 2), (("AB", "AB", "??"), 0)])
def test_the_best_on_development_is_taken_and_of_equals_the_first(given: tuple[str, ...], best: int) -> None:
    table = select_best(answers(*given), QUESTIONS, MODELS, "bare")
    assert table.index[table["chosen"]].tolist() == [best]
    assert table["candidate"].tolist() == ["lr1e-05", "lr5e-06", "lr1e-06"]
    assert table["n"].tolist() == [2, 2, 2]


def test_unreadable_answers_are_counted() -> None:
    table = select_best(answers("A?", "AB", "??"), QUESTIONS, MODELS, "bare")
    assert table["accuracy"].tolist() == [0.5, 1.0, 0.0]
    assert table["unparsed"].tolist() == [0.5, 0.0, 1.0]


def test_tagged_answers_are_read_from_the_answer_block() -> None:
    tagged = answers("AB", "AB", "AB").assign(response="<think>a</think><answer>A</answer>")
    assert select_best(tagged, QUESTIONS, MODELS, "tagged")["accuracy"].tolist() == [0.5] * 3
    assert select_best(tagged, QUESTIONS, MODELS, "bare")["unparsed"].tolist() == [1.0] * 3


def test_a_letter_outside_the_answer_block_does_not_select_but_is_counted() -> None:
    rows = answers("AB", "AA", "??")
    inside = rows["model"] == str(MODELS[1])
    rows["response"] = ("<think>x</think><answer>" + rows["response"] + "</answer>").where(
        inside, "The answer is " + rows["response"]
    )
    table = select_best(rows, QUESTIONS, MODELS, "tagged")
    assert table["accuracy"].tolist() == [0.0, 0.5, 0.0]
    assert table["lenient_accuracy"].tolist() == [1.0, 0.5, 0.0]
    assert table.index[table["chosen"]].tolist() == [1]


def test_a_candidate_without_answers_is_named() -> None:
    some = answers("AB", "AB", "AB")
    some = some[some["model"] != str(MODELS[1])]
    with pytest.raises(
        UserError, match=r"c: lr5e-06 cannot be evaluated on the development questions.*keep_checkpoints"
    ):
        select_best(some, QUESTIONS, MODELS, "bare")


def test_one_candidate_needs_no_selection() -> None:
    table = select_best(None, QUESTIONS, MODELS[:1], "bare")
    assert table[["chosen", "n"]].iloc[0].tolist() == [True, 0]
    with pytest.raises(ValueError, match="too many"):
        select_best(None, QUESTIONS, MODELS, "bare")


def test_checkpoints_are_in_the_order_of_their_updates(tmp_path: Path) -> None:
    for update in (100, 4, 50):
        (tmp_path / f"update{update}").mkdir()
    assert [path.name for path in candidate_models([tmp_path])] == ["update4", "update50", "update100"]
    (tmp_path / "config.json").touch()
    assert candidate_models([tmp_path]) == [tmp_path]


def test_a_model_may_precede_the_checkpoints_of_a_run(tmp_path: Path) -> None:
    model, run = tmp_path / "base", tmp_path / "run"
    for folder in (model, run / "update8", run / "update4"):
        folder.mkdir(parents=True)
    (model / "config.json").touch()
    assert candidate_models([model, run]) == [model, run / "update4", run / "update8"]
    assert candidate_models([str(run), str(model)]) == [run / "update4", run / "update8", model]


def test_a_card_states_the_sources_of_the_model() -> None:
    text = model_card(
        "rlvr_dev/seed3",
        base={"name": "some/base", "origin": "some/base at commit c0ffee"},
        base_licence="Some licence",
        data="exam/train",
        data_licence="MIT",
        citation="Somebody 2020",
        settings={"trainer": "rlvr", "advantage_estimator": "grpo", "clip_range": 0.2, "seed": 3},
        candidate={"candidate": "update8", "n": 200, "accuracy": 0.5},
        reason="best on development",
    )
    for part in (
        "base_model: some/base\n",
        "license_name: Some licence",
        "# rlvr_dev/seed3",
        "at commit c0ffee",
        "not medical advice",
        "MIT",
        "and GRPO's advantages (arXiv 2402.03300) instead of a critic",
    ):
        assert part in text
    assert "update8, best on development (50.0 % of 200 development questions)" in text
    assert "clip_range: 0.2" in text
