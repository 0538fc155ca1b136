"""The grader's decisions on numbers and texts: the golden files, and what holds for any text."""

import json
from dataclasses import asdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import get_args

import pytest
from growth import growth
from hypothesis import given
from hypothesis import strategies as st

from medrlvr.grading import units
from medrlvr.grading.grader import AnswerFormat, grade
from medrlvr.grading.kinds import KindGrade, LetterKey, NumberKey, TextKey, grade_answer
from medrlvr.grading.numbers import MOST_DIGITS, NumberRule, read_number
from medrlvr.grading.texts import TextRule, normalised, plural_of
from medrlvr.grading.units import NO_UNIT, convert, known_unit

GOLDEN = {
    name: [json.loads(line) for line in Path(f"tests/golden/{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    for name in ("numbers", "texts")
}


def key_of(fields: dict[str, object]) -> NumberKey | TextKey:
    """Return the key of a golden case."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return NumberKey(**fields) if "value" in fields else TextKey(**fields)


@pytest.mark.parametrize("case", GOLDEN["numbers"] + GOLDEN["texts"], ids=lambda case: case["reason"])
def test_golden(case: dict[str, object]) -> None:
    found = grade_answer(case["response"], key_of(case["key"]), case["form"], truncated=case["truncated"])
    facts = asdict(found)
    assert {name: facts[name] for name in case["expected"]} == case["expected"]


@pytest.mark.parametrize(("name", "rules"), [("numbers", NumberRule), ("texts", TextRule)])
def test_the_golden_files_contain_every_rule(name: str, rules: object) -> None:
    cases = GOLDEN[name]
    assert len(cases) >= 200
    assert len({case["reason"] for case in cases}) == len(cases)
    shared = {"no_answer_block", "several_answer_blocks", "too_long"}
    assert {case["expected"]["answer_rule"] for case in cases} == shared | set(get_args(rules))


def answered(answer: str) -> str:
    return f"<think>so</think><answer>{answer}</answer>"


PIECES = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "5",
    "12.5",
    "1,234",
    "=",
    " ",
    "\n",
    "mg",
    "/",
    "-",
    "e9",
    "%",
]
PIECES += [
    "The answer is ",
    "\\boxed{",
    "}",
    " or ",
    "aspirin",
    "about ",
    "\u00d710^",
    "½",
    "2024-05-01",
    "not ",
    "?",
    "the ",
]
pieces = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join)
responses = pieces | pieces.map(answered)
KEYS = [
    NumberKey(5, "mg", relative=0.1),
    NumberKey(0),
    NumberKey(37, "°C"),
    TextKey(("aspirin", "not so"), plural=True),
]


@given(responses, st.sampled_from(KEYS), st.sampled_from(["tagged", "bare"]), st.booleans())
def test_any_text_is_graded_and_the_facts_agree(
    response: str, key: NumberKey | TextKey, form: str, truncated: bool
) -> None:
    found = grade_answer(response, key, form, truncated=truncated)
    assert isinstance(found, KindGrade) and found.letter is None and found.truncated == truncated
    assert (found.answer is None) == (found.answer_at is None)
    assert found.answer is not None or (not found.correct and found.value is None)
    assert found.answer is None or response.startswith(found.answer, found.answer_at)
    assert not found.correct or found.lenient_correct
    assert (found.value is not None) == (found.answer is not None and found.kind == "number")
    letters = asdict(grade(response, ("x", "y"), 0, form, truncated=truncated))
    formats = ["valid_format", "strict_format", "think_chars", "chars_before_think", "chars_after_answer"]
    formats += ["think_start", "think_end", "answer_start", "answer_end", "answer_tags"]
    assert {name: letters[name] for name in formats} == {name: getattr(found, name) for name in formats}


@given(pieces, st.floats(0.1, 1e6), st.sampled_from(["mg", "g"]))
def test_the_key_does_not_change_what_is_read(answer: str, value: float, unit: str) -> None:
    first, second = (
        grade_answer(answered(answer), key) for key in (NumberKey(5, "mg"), NumberKey(value, unit, relative=0.5))
    )
    assert (first.answer, first.answer_rule) == (second.answer, second.answer_rule)


@given(st.decimals(-(10**12), 10**12, places=4))
def test_every_plain_decimal_is_read_exactly(number: Decimal) -> None:
    found = read_number(f"{number:f}", NO_UNIT)
    assert (found.rule, found.value) == ("number", Fraction(number))
    grouped = f"{number:,f}"
    swapped = grouped.translate(str.maketrans(",.", ".,"))
    assert read_number(grouped, NO_UNIT).value == read_number(swapped, NO_UNIT).value == Fraction(number)
    assert read_number(f"{number:e}", NO_UNIT).value == Fraction(f"{number:e}")


@given(st.integers(1, 999), st.integers(0, 999))
def test_one_comma_and_three_digits_are_never_read(thousands: int, rest: int) -> None:
    assert read_number(f"{thousands},{rest:03}", NO_UNIT).rule == "ambiguous_separator"


@pytest.mark.parametrize(
    ("text", "same"), [("mg*L^-1", "mg/L"), ("mg L^-1", "mg/L"), ("*mg", None), ("mg L", None), ("/L", "L^-1")]
)
def test_products_of_units(text: str, same: str | None) -> None:
    assert units.read_unit(text) == (units.read_unit(same) if same else None)


@pytest.mark.parametrize("text", ["point", "points", "Points"])
def test_points_are_a_number_without_unit(text: str) -> None:
    assert units._names()[text.lower()] == units.read_unit(text) == NO_UNIT


@pytest.mark.parametrize("text", ["iron", "the iron", "an *iron*", 'The "iron".'])
def test_marks_around_a_text_and_after_its_article_do_not_count(text: str) -> None:
    assert normalised(text) == "iron"


@pytest.mark.parametrize(
    ("text", "plural"), [("fly", "flies"), ("2 ty", "2 ties"), ("day", "days"), ("y", "ys"), ("2y", "2ys")]
)
def test_the_plural_of_words_with_y(text: str, plural: str) -> None:
    assert plural_of(text) == plural


CONVERTED = """
kg g 1000; mg g 0.001; ug g 1e-6; ng g 1e-9; pg g 1e-12; km m 1000; cm m 0.01; mm m 0.001; um m 1e-6;
nm m 1e-9; dL L 0.1; cL L 0.01; mL L 0.001; uL L 1e-6; nL L 1e-9; pL L 1e-12; fL L 1e-15; l L 1; ml L 0.001;
dl L 0.1; L m^3 0.001; ms s 0.001; ks s; mmol mol 0.001; umol mol 1e-6; nmol mol 1e-9; pmol mol 1e-12;
M mol/L 1; mM mmol/L 1; uM mmol/L 0.001; nM uM 0.001; pM nM 0.001; mEq Eq 0.001; uEq Eq 1e-6; kEq Eq;
mOsm Osm 0.001; kU U 1000; mU U 0.001; uU U 1e-6; kIU IU 1000; mIU IU 0.001; uIU IU 1e-6; IU U; kPa Pa 1000;
hPa Pa 100; kcal cal 1000; cal J 4.184; kJ J 1000; min s 60; mins s 60; h s 3600; hr s 3600; hrs s 3600;
d s 86400; wk s 604800; wk d 7; yr months 12; yrs yr 1; mmHg Pa 133.322387415; cmH2O Pa 98.0665; cc mL 1;
lb g 453.59237; lbs lb 1; in cm 2.54; oz g 28.349523125; ft in 12; bpm beats/min 1; gtt drops 1; gtt drop 1;
mcg ug 1; mcL uL 1; mcmol umol 1; gram g 1; grams g 1; kilograms kg 1; Milligram mg 1; micrograms ug 1;
nanogram ng 1; pound lb 1; ounces oz 1; metre m 1; meters m 1; centimetre cm 1; millimeters mm 1; second s 1;
secs s 1; minutes min 1; hours h 1; days d 1; weeks wk 1; years yr 1; moles mol 1; millimole mmol 1;
litre L 1; liters L 1; millilitres mL 1; milliliter mL 1; inch in 1; inches in 1; foot ft 1; feet ft 1;
joules J 1; calories cal 1; kilocalorie kcal 1; units U 1; unit U 1; U/L unit/litre 1; breaths breath 1;
cells cell 1; tablets tablet 1; capsules capsule 1; tablet capsule; cell drop; months month 1; month d;
mg mmol; mEq mmol; breath beat; mL/min mL/min/1.73m2; h year
"""


@pytest.mark.parametrize("case", CONVERTED.replace(";\n", "; ").strip().split("; "))
def test_units_are_converted_by_the_stated_factors(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A case is `unit`, `target` and the size of the unit in the target; without a size, it is not converted.

    The tables are created again, because a mutation of their functions is only active in a test.
    """
    monkeypatch.setattr(units, "_TABLE", units._table())
    monkeypatch.setattr(units, "_NAMED", units._names())
    name, target, *size = case.split()
    unit = units.read_unit(name)
    found = None if unit is None else convert(Fraction(1), unit, known_unit(target))
    assert found == (Fraction(size[0]) if size else None)


@given(
    st.integers(0, 10**6), st.sampled_from([("mg", "g"), ("mL/min", "L/h"), ("°C", "°F"), ("mg/kg/day", "µg/kg/min")])
)
def test_a_conversion_and_its_inverse_change_nothing(number: int, units: tuple[str, str]) -> None:
    first, second = map(known_unit, units)
    there = convert(Fraction(number), first, second)
    assert there is not None and convert(there, second, first) == number


@given(st.floats(0.01, 1e6), st.floats(0, 1), st.fractions(-2, 2))
def test_the_tolerance_is_symmetric_and_its_limit_is_correct(value: float, relative: float, share: Fraction) -> None:
    key = NumberKey(value, relative=relative)
    exact, tolerance = Fraction(repr(value)), Fraction(repr(relative))
    for sign in (1, -1):
        assert key.accepts(exact * (1 + sign * tolerance))
        assert key.accepts(exact * (1 + sign * share)) == (abs(share) <= tolerance)


words = st.text(alphabet="abcdehklmrtyßéμ", min_size=1, max_size=8)


@given(st.lists(words, min_size=1, max_size=3).map(" ".join))
def test_marks_case_and_space_do_not_change_a_text(text: str) -> None:
    key = TextKey((text,), plural=True)
    for spelled in (text, text.upper(), f"**{text}**.", f" {text.replace(' ', '-')}\n", f'"{text}"'):
        assert grade_answer(answered(spelled), key).correct, spelled
    assert normalised(normalised(text)) in (normalised(text), normalised(f"the {normalised(text)}"))
    assert grade_answer(answered(plural_of(normalised(text))), key).correct
    assert not grade_answer(answered(f"{text}, {text}"), key).correct


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"value": float("nan")}, "finite"),
        ({"value": float("inf")}, "finite"),
        ({"value": 1e300}, "below 1e300"),
        ({"value": 5, "unit": "MG"}, "not in the table"),
        ({"value": 5, "absolute": -1}, "0 or positive"),
        ({"value": 5, "relative": -0.1}, "0 or positive"),
        ({"value": 5, "relative": float("nan")}, "finite"),
        ({"value": 5, "relative": 0.1, "accepted": (4, 6)}, "not both"),
        ({"value": 5, "accepted": (6, 7)}, "contain the value"),
        ({"value": 5, "accepted": (7, 4)}, "contain the value"),
        ({"accepted": ()}, "needs accepted texts"),
        ({"accepted": ("aspirin", " . ")}, "needs accepted texts"),
    ],
)
def test_a_key_that_cannot_be_graded_is_rejected(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        (NumberKey if "value" in fields else TextKey)(**fields)


@given(responses, st.integers(0, 1), st.sampled_from(get_args(AnswerFormat)), st.booleans())
def test_a_letter_key_gives_the_letters_grade(
    response: str, gold: int, answer_format: AnswerFormat, truncated: bool
) -> None:
    found = grade_answer(response, LetterKey(("x", "y"), gold), answer_format, truncated=truncated)
    assert found == grade(response, ["x", "y"], gold, answer_format, truncated=truncated)


def test_the_format_with_tags_is_the_default() -> None:
    for response in ("x", "The answer is A.", "<think>x</think><answer>A</answer>"):
        assert grade_answer(response, LetterKey(("x", "y"), 0)) == grade(response, ["x", "y"], 0)


FRAME = ("valid_format", "truncated", "think_start", "think_chars", "chars_before_think", "answer_start", "answer_end")


@pytest.mark.parametrize("key", [NumberKey(5), TextKey(("iron",))])
@given(responses, st.sampled_from(get_args(AnswerFormat)), st.booleans())
def test_the_blocks_are_those_of_the_letters_grade(
    key: NumberKey | TextKey, response: str, answer_format: AnswerFormat, truncated: bool
) -> None:
    frame = asdict(grade(response, (), 0, answer_format, truncated=truncated))
    found = asdict(grade_answer(response, key, answer_format, truncated=truncated))
    assert {name: found[name] for name in FRAME} == {name: frame[name] for name in FRAME}


@pytest.mark.parametrize(
    ("response", "key", "answer_format", "answer", "correct"),
    [
        ("12\nThe answer is 13", NumberKey(12), "bare", "12", True),
        ("about\nThe answer is 13", NumberKey(13), "bare", "13", True),
        ("iron\nThe answer is gold", TextKey(("iron",)), "bare", "iron", True),
        ("gold\nThe answer is iron", TextKey(("iron",)), "bare", "iron", True),
        ("gold\nand more", TextKey(("iron",)), "bare", "gold", False),
        ("The answer is 12.\nUser: The answer is 13.", NumberKey(12), "tagged", "12", True),
        ("The answer is 12.\nQuestion: The answer is 13.", NumberKey(13), "tagged", "12", False),
        ("12\nUser: next", NumberKey(12), "tagged", "12", True),
        ("<answer>12</answer> of 13</answer>", NumberKey(12), "tagged", "12", True),
        ("kidney\nstone", TextKey(("kidney stone",)), "tagged", None, False),
        ("kidney stone", TextKey(("kidney stone",)), "tagged", "kidney stone", True),
    ],
)
def test_what_a_reader_would_find_without_the_format(
    response: str, key: NumberKey | TextKey, answer_format: AnswerFormat, answer: str | None, correct: bool
) -> None:
    found = grade_answer(response, key, answer_format)
    assert isinstance(found, KindGrade)
    assert (found.lenient_answer, found.lenient_correct) == (answer, correct)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12 .", 12),
        ("-2\u00bd", Fraction(-5, 2)),
        ("-\u00bd", Fraction(-1, 2)),
        ("2 \u00bd", Fraction(5, 2)),
        ("-10^3", -1000),
        ("10^-3", Fraction(1, 1000)),
        (".5", Fraction(1, 2)),
        ("1e" + "0" * (MOST_DIGITS - 1) + "1", 10),
        ("1" * MOST_DIGITS, int("1" * MOST_DIGITS)),
        ("1" * MOST_DIGITS + "\u00bd", int("1" * MOST_DIGITS) + Fraction(1, 2)),
        ("1." + "1" * (MOST_DIGITS - 1), Fraction("1." + "1" * (MOST_DIGITS - 1))),
        ("1/" + "9" * MOST_DIGITS, Fraction(1, int("9" * MOST_DIGITS))),
    ],
)
def test_a_number_is_read_up_to_the_most_digits(text: str, value: Fraction | int) -> None:
    assert read_number(text, NO_UNIT).value == value


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("012\u00bd", "malformed_number"),
        ("1" * (MOST_DIGITS + 1) + "\u00bd", "malformed_number"),
        ("1" * (MOST_DIGITS + 1), "out_of_range"),
        ("1." + "1" * MOST_DIGITS, "out_of_range"),
        ("1/" + "9" * (MOST_DIGITS + 1), "out_of_range"),
        ("1e" + "0" * MOST_DIGITS + "1", "out_of_range"),
    ],
)
def test_a_number_beyond_the_most_digits_is_unread(text: str, rule: NumberRule) -> None:
    found = read_number(text, NO_UNIT)
    assert (found.rule, found.value) == (rule, None)


def test_a_number_is_found_in_the_think_block_as_it_is_written() -> None:
    response = "<think>so 0.0125 g, that is 12.5</think><answer>0.0125 g</answer>"
    found = grade_answer(response, NumberKey(12.5, "mg"))
    assert found.correct
    assert (found.answer_named_at, found.gold_named_at) == (3, 21)


@pytest.mark.parametrize("accepted", [(5, 7), (3, 5), (5, 5)])
def test_a_value_may_be_a_limit_of_its_accepted_range(accepted: tuple[float, float]) -> None:
    assert NumberKey(5, accepted=accepted).accepts(Fraction(5))


@pytest.mark.parametrize("key", [NumberKey(5, "mg"), TextKey(("aspirin",))])
@pytest.mark.parametrize(
    "piece",
    [
        "5 ",
        "1,",
        "5-",
        "answer is ",
        "\\boxed{",
        "a ",
        "the ",
        "5 mg = ",
        "*",
        ".\n",
        " ",
        "5e",
        "10^",
        "/",
        "\u2009",
        "1/",
    ],
)
def test_time_grows_linearly(key: NumberKey | TextKey, piece: str) -> None:
    for wrap in (answered, str, lambda text: f"<think>{text}</think><answer>5</answer>"):
        ratio = growth(lambda text: grade_answer(text, key), wrap(piece * 300), wrap(piece * 3000))
        assert ratio < 40
