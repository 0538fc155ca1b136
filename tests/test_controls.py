"""A benchmark's questions with other options."""

import pandas as pd
import pytest

from medrlvr.config.controls import Controls
from medrlvr.config.experiment import Experiment
from medrlvr.data.controls import vary
from medrlvr.data.row_parsing import NONE_OF_THE_ABOVE

TEN = [f"option {number}" for number in range(10)]
FOUR = ["iron", "gold", "zinc", "lead"]


def questions(*rows: tuple[list[str], int]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"question_id": f"q{i}", "stem": "?", "options": options, "gold": gold}
            for i, (options, gold) in enumerate(rows)
        ]
    )


def right(table: pd.DataFrame) -> list[str]:
    return [options[gold] for options, gold in zip(table["options"], table["gold"], strict=True)]


@pytest.mark.parametrize("control", ["shuffled", "five_options", "none_of_the_above", "shift_1", "shift_10"])
def test_the_right_option_stays_right_and_nothing_else_changes(control: str) -> None:
    table = questions((TEN, 9), (FOUR, 0), ([*FOUR, NONE_OF_THE_ABOVE], 2), (TEN[:5], 4), (["yes", "no"], 1))
    varied = vary(table, control, seed=1)
    assert right(varied) == right(table)
    assert varied[["question_id", "stem"]].equals(table[["question_id", "stem"]])
    assert varied.equals(vary(table, control, seed=1))
    alone = vary(table.iloc[[3]].reset_index(drop=True), control, seed=1)
    assert list(alone["options"][0]) == list(varied["options"][3])  # whatever the other rows are


def test_shuffled_options_are_the_same_in_every_order_and_none_of_the_above_is_last() -> None:
    many = vary(questions(*[([*FOUR, NONE_OF_THE_ABOVE], 1)] * 2400), "shuffled", seed=1)
    assert all(sorted(options[:4]) == sorted(FOUR) and options[4] == NONE_OF_THE_ABOVE for options in many["options"])
    orders = many["options"].map(tuple).value_counts()
    assert len(orders) == 24 and orders.between(60, 145).all()
    assert many["gold"].value_counts(normalize=True).between(0.2, 0.3).all()
    other = vary(questions(*[([*FOUR, NONE_OF_THE_ABOVE], 1)] * 20), "shuffled", seed=2)
    assert other["options"].tolist() != many["options"].head(20).tolist()


def test_five_options_keep_the_right_one_and_their_order() -> None:
    many = vary(questions(*[(TEN, 7)] * 1800), "five_options", seed=1)
    for options in many["options"]:
        assert len(options) == 5 and TEN[7] in options and options == sorted(options)
    kept = pd.Series([text for options in many["options"] for text in options if text != TEN[7]]).value_counts()
    assert len(kept) == 9 and kept.between(700, 900).all()
    assert [len(options) for options in vary(questions((FOUR, 0), (TEN[:5], 0)), "five_options", 1)["options"]] == [
        4,
        5,
    ]


def test_none_of_the_above_is_added_or_taken_away() -> None:
    eleven = [*TEN, "option 10"]
    table = questions(
        (FOUR, 3), ([*FOUR, "none of the above"], 3), ([*FOUR, NONE_OF_THE_ABOVE], 4), (eleven, 0), (TEN, 0)
    )
    found = vary(table, "none_of_the_above", seed=1)["options"].tolist()
    assert found[0] == [*FOUR, NONE_OF_THE_ABOVE]
    assert found[1] == FOUR
    assert found[2] == [*FOUR, NONE_OF_THE_ABOVE]  # it is the right one
    assert found[3] == eleven  # there is no letter left
    assert found[4] == [*TEN, NONE_OF_THE_ABOVE]


@pytest.mark.parametrize(
    "option",
    [
        *("A and B", "Both A and C", "B, C and D", "Options A or B", "All of the above", "Neither B nor C", "A & C"),
        *("A&B", "A+B", "Both a and b", "All of the Above", "All the above", "Either of the above"),
        "More than one of the above",
    ],
)
def test_a_question_with_an_option_that_refers_to_others_is_not_changed(option: str) -> None:
    asked = questions((["one", "two", "three", "four", "five", "six", option], 0))
    for control in ("shuffled", "five_options"):
        assert vary(asked, control, 1)["options"].tolist() == asked["options"].tolist()


@pytest.mark.parametrize(
    "option", ["Hepatitis B", "Group A streptococcus", "evacuation (D&E)", "anti-A, B or O", "Type I"]
)
def test_other_options_are_shuffled(option: str) -> None:
    asked = questions((["one", "two", "three", "four", "five", option], 0))
    assert any(vary(asked, "shuffled", seed)["options"].tolist() != asked["options"].tolist() for seed in range(5))


def test_shifts_of_all_places_give_each_cyclic_order_once() -> None:
    table = questions((FOUR, 1), ([*FOUR, NONE_OF_THE_ABOVE], 4))
    shifted = [vary(table, f"shift_{places}", 1) for places in (1, 2, 3)]
    assert [one["options"][0] for one in shifted] == [
        ["gold", "zinc", "lead", "iron"],
        ["zinc", "lead", "iron", "gold"],
        ["lead", "iron", "gold", "zinc"],
    ]
    assert [one["gold"].tolist() for one in shifted] == [[0, 4], [3, 4], [2, 4]]
    assert vary(table, "shift_4", 1)["options"].tolist() == table["options"].tolist()
    assert all(one["options"][1][-1] == NONE_OF_THE_ABOVE for one in shifted)


def test_none_of_the_above_replaces_the_right_option_and_is_right() -> None:
    last = [*FOUR, NONE_OF_THE_ABOVE]
    table = questions((FOUR, 1), (last, 1), (last, 4), (["A and B", "iron", "gold"], 1))
    found = vary(table, "key_replaced", 1)
    assert found["options"].tolist() == [
        ["iron", NONE_OF_THE_ABOVE, "zinc", "lead"],
        ["iron", "zinc", "lead", NONE_OF_THE_ABOVE],
        last,
        ["A and B", "iron", "gold"],
    ]
    assert found["gold"].tolist() == [1, 3, 4, 1]
    assert right(found)[:3] == [NONE_OF_THE_ABOVE] * 3


def test_requested_shifts_are_controls_of_every_benchmark() -> None:
    sets = Experiment(controls=Controls(shifts=2)).eval_sets()
    ours = [control for benchmark, control in sets.values() if benchmark == "mmlu_pro_health" and control]
    assert ours == ["shuffled", "five_options", "shift_1", "shift_2", "key_replaced", "none_of_the_above"]
    plain = [control for benchmark, control in Experiment().eval_sets().values() if benchmark == "mmlu_pro_health"]
    assert plain == [None, "shuffled", "five_options"]
