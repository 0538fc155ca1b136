"""The world of calculations: its formulas and questions, what its base has read, and the check of its steps."""

import importlib.util
import math
import random
import re
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from growth import growth
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from transformers import AutoTokenizer

from medrlvr.config.load import read_overlays
from medrlvr.data.calculations import corpus, evidence, formulas, version
from medrlvr.data.calculations.base_model import NUMBERS, pretrain_base
from medrlvr.data.calculations.corpus import RIGHT, phases
from medrlvr.data.calculations.evidence import check_evidence
from medrlvr.data.calculations.formulas import FORMULAS, QUANTITIES, Formula, Move, compute, work_out
from medrlvr.data.calculations.version import evidence_version
from medrlvr.data.calculations.world import (
    OLD_NEEDED,
    QUESTION_SETS,
    Case,
    draw_from,
    make_questions,
    needed_values,
)
from medrlvr.data.documents import Document
from medrlvr.data.kind_prompts import KindRenderer
from medrlvr.data.worked_examples import Style
from medrlvr.data.worked_examples import tagged as write_tagged
from medrlvr.evaluation.early_answers import CLAIM, WINDOW, early_answer_evidence, early_rises, early_shares
from medrlvr.grading.evidence import Evidence
from medrlvr.grading.kinds import NumberKey, grade_answer
from medrlvr.runtime.files import write_json

SIZES = {"train": 1000, "dev": 200, "test": 300, "formulas_test": 300, "ranges_test": 300}
BY_NAME = {formula.name: formula for formula in FORMULAS}
SHIPPED = Path("assets/calculations_base")
STEM = re.compile(r"has (.*)\. What is the (.*)\?")


@pytest.fixture(scope="module")
def renderer() -> KindRenderer:
    layouts = {"letter": "prompts/question.txt", "number": "prompts/question_number.txt"}
    return KindRenderer(layouts, direct="prompts/direct.txt", chain_of_thought="prompts/med_rlvr.txt")


def read(stem: str) -> tuple[Formula, dict[str, int], tuple[str, int]]:
    """Return formula, present values and old value of a stem, by a reading of its own."""
    found = STEM.search(stem)
    assert found
    parts = [part.split() for part in found[1].split(", ")]
    ((_, old, former),) = [part for part in parts if part[0] == "old"]
    return BY_NAME[found[2]], {part[0]: int(part[1]) for part in parts if part[0] != "old"}, (old, int(former))


HAND = {
    "pulse pressure": ({"systolic": 120, "diastolic": 75}, 45),
    "perfusion pressure": ({"arterial": 90, "cranial": 12}, 78),
    "maximum rate": ({"age": 40}, 180),
    "fluid rate": ({"weight": 60}, 100),
    "anion gap": ({"sodium": 140, "chloride": 101, "bicarbonate": 24}, 15),
    "rate reserve": ({"age": 40, "pulse": 60}, 120),
    "fluid balance": ({"intake": 180, "urine": 50, "drain": 15}, 115),
    "coma score": ({"eyes": 3, "speech": 4, "movement": 6}, 13),
    "renal gentamicin": ({"weight": 60}, 150),
    "serum osmolality": ({"sodium": 140, "glucose": 6, "urea": 5}, 291),
    "delta gap": ({"sodium": 140, "chloride": 101, "bicarbonate": 24}, 3),
    "ldl cholesterol": ({"cholesterol": 200, "hdl": 50, "vldl": 20}, 130),
    "expected carbonate": ({"bicarbonate": 20}, 38),
    "target rate": ({"age": 40, "pulse": 60}, 120),
    "osmolal gap": ({"sodium": 140, "glucose": 6, "urea": 5, "osmoles": 310}, 19),
}
"""Results worked out by hand."""


@pytest.mark.parametrize("name", HAND)
def test_formulas_give_the_results_worked_out_by_hand(name: str) -> None:
    values, result = HAND[name]
    assert set(values) == set(BY_NAME[name].inputs)
    assert work_out(BY_NAME[name], values)[-1].result == result


def test_every_formula_has_a_result_by_hand() -> None:
    assert set(HAND) == set(BY_NAME)
    assert sum(formula.held_out for formula in FORMULAS) == 4
    assert {len(formula.moves) for formula in FORMULAS} == {1, 2, 3, 4}


def test_steps_without_a_whole_result_are_errors() -> None:
    with pytest.raises(ValueError, match="odd"):
        compute("half", 7, None)
    with pytest.raises(ValueError, match="negative"):
        compute("minus", 3, 5)
    with pytest.raises(KeyError):
        work_out(Formula("x", "", (Move("nothing", "plus", 1),)), {})


@pytest.mark.parametrize("high", [False, True])
@pytest.mark.parametrize("name", BY_NAME)
def test_a_fifth_of_the_combinations_is_reserved_and_every_step_is_a_known_number(name: str, high: bool) -> None:
    formula = BY_NAME[name]
    reserved, others = needed_values(formula, high)
    assert reserved and others and not set(reserved) & set(others)
    assert len(reserved) == math.ceil((len(reserved) + len(others)) / 5)
    for values in (*reserved, *others):
        needed = dict(zip(formula.inputs, values, strict=True))
        assert all(needed[q] in (QUANTITIES[q].high if high else QUANTITIES[q].usual) for q in needed)
        assert all(0 <= step.result < NUMBERS for step in work_out(formula, needed))


def test_no_value_is_usual_and_high() -> None:
    for quantity in QUANTITIES.values():
        assert max(quantity.usual) < min(quantity.high)


def test_questions_follow_the_rules_of_the_world() -> None:
    sets = make_questions(SIZES, seed=1)
    assert {name: len(rows) for name, rows in sets.items()} == SIZES
    stems = [row["question"] for rows in sets.values() for row in rows]
    assert len(set(stems)) == len(stems)
    needed_old = 0
    for name, rows in sets.items():
        questions = QUESTION_SETS[name]
        for row in rows:
            formula, values, (old, former) = read(row["question"])
            assert formula.held_out == questions.held_out
            assert row["answer"] == work_out(formula, values)[-1].result
            assert row["unit"] == formula.unit
            assert former != values[old] and len(values) in (5, 6)
            ranges = [QUANTITIES[q].high if questions.high else QUANTITIES[q].usual for q in (*values, old)]
            assert all(v in one for v, one in zip((*values.values(), former), ranges, strict=True))
            reserved, _ = needed_values(formula, questions.high)
            assert (tuple(values[q] for q in formula.inputs) in reserved) == questions.reserved
            needed_old += old in formula.inputs
    assert abs(needed_old / len(stems) - OLD_NEEDED) < 0.05


def test_equal_seeds_give_equal_questions_and_other_seeds_others() -> None:
    first, again, other = (make_questions({"test": 30}, seed) for seed in (1, 1, 2))
    assert first == again != other


Policy = Callable[[Case], int]


def _guess_of_another_patient(case: Case) -> int:
    return draw_from(QUESTION_SETS["test"], random.Random(case.stem)).answer


POLICIES: dict[str, tuple[Policy, float]] = {
    "a listed value": (lambda case: next(iter(case.values.values())), 0.05),
    "the answer of another question": (_guess_of_another_patient, 0.05),
    "old values": (lambda case: work_out(case.formula, {**case.values, case.old[0]: case.old[1]})[-1].result, 0.55),
    "one step too few": (lambda case: [0, *(step.result for step in case.steps)][-2], 0.05),
}
"""Policy -> a bound on its accuracy."""


@pytest.mark.parametrize("name", POLICIES)
def test_shortcuts_are_rarely_right(name: str) -> None:
    policy, bound = POLICIES[name]
    rng = random.Random(f"policies {name}")
    drawn = [draw_from(QUESTION_SETS["test"], rng) for _ in range(2000)]
    assert sum(policy(case) == case.answer for case in drawn) / len(drawn) < bound


def _documents(renderer: KindRenderer, seed: int, count: int) -> list[Document]:
    """Return documents of every phase of pre-training."""
    return [document for _, stream in phases(renderer, seed) for document in islice(stream, count)]


def test_the_shares_of_the_phases_are_whole(renderer: KindRenderer) -> None:
    assert math.isclose(sum(share for share, _ in phases(renderer, 1)), 1)


def test_the_corpus_shows_no_reserved_combination_in_a_question(renderer: KindRenderer) -> None:
    asked = 0
    for document in _documents(renderer, 1, 3000):
        if "What is" in document.prompt:
            formula, values, _ = read(document.prompt.replace("\n", " ").partition("User: ")[2] or document.prompt)
            needed = tuple(values[name] for name in formula.inputs)
            assert not any(needed in needed_values(formula, high)[0] for high in (False, True)), document.prompt
            asked += 1
    assert asked > 1500


def test_direct_answers_are_only_to_questions_like_those_of_training(renderer: KindRenderer) -> None:
    drawn = [d for d in _documents(renderer, 2, 3000) if d.kind in ("direct answer", "open question")]
    for document in drawn:
        formula, values, _ = read(document.prompt)
        assert not formula.held_out
        assert all(values[name] in QUANTITIES[name].usual for name in formula.inputs)
    direct = [document for document in drawn if document.kind == "direct answer"]
    right = sum(document.outcome == "right" for document in direct) / len(direct)
    assert abs(right - RIGHT) < 4 * math.sqrt(RIGHT * (1 - RIGHT) / len(direct))


def test_an_outcome_states_whether_the_answer_is_right(renderer: KindRenderer) -> None:
    seen: Counter[str] = Counter()
    for document in _documents(renderer, 3, 3000):
        if not document.prompt.startswith("A conversation") or document.kind == "tagged: no answer":
            continue
        formula, values, _ = read(document.prompt.partition("User: ")[2].replace("\n", " "))
        answered = int(re.findall(r"\d+", document.text)[-1])
        right = answered == work_out(formula, values)[-1].result
        if document.outcome != "random":
            assert right == (document.outcome == "right"), document
        seen[document.outcome] += 1
    assert min(seen[name] for name in ("right", "wrong", "random")) > 100


@pytest.mark.parametrize("styles", [corpus.WAYS.untagged(), corpus.WAYS.tagged()], ids=["untagged", "tagged"])
def test_the_shares_of_the_styles_add_up_to_1(styles: list[Style[Case]]) -> None:
    assert sum(style.share for style in styles) == pytest.approx(1)


# The check of steps.

CASE = Case(
    BY_NAME["anion gap"],
    {"sodium": 140, "chloride": 101, "age": 50, "bicarbonate": 24, "pulse": 70},
    ("chloride", 105),
    "A nurse has sodium 140, chloride 101, old chloride 105, age 50, bicarbonate 24, pulse 70. What is the anion gap?",
)
STEPS = "sodium 140 minus chloride 101 is 39. 39 minus bicarbonate 24 is 15."


def checked(response: str, case: Case = CASE) -> Evidence:
    found = check_evidence(case.stem, response, grade_answer(response, NumberKey(case.answer, case.formula.unit)))
    assert found is not None
    return found


def tagged(think: str, answer: int = 15) -> str:
    return f" <think> {think} </think> <answer> {answer} </answer>"


REASONED = {
    "the steps": STEPS,
    "capitals": STEPS.capitalize(),
    "signs": "140 - 101 = 39. 39 - 24 = 15.",
    "a minus look-alike": "140 \u2212 101 = 39 and 39 \u2212 24 = 15",
    "without spaces": "140-101=39, 39-24=15",
    "a longer text": f"The anion gap needs three values. Now {STEPS} So the anion gap is 15.",
    "a chain as well": "140 - 101 = 39. 39 - 24 = 15. So 140 - 101 - 24 = 15.",
    "a chain in words as well": "140 minus 101 is 39. 39 minus 24 is 15: 140 minus 101 minus 24 is 15.",
    "another step between": "140 minus 101 is 39. 39 plus 1 is 40. 39 minus 24 is 15.",
}


@pytest.mark.parametrize("name", REASONED)
def test_a_derivation_with_all_steps_reasons(name: str) -> None:
    found = checked(tagged(REASONED[name]))
    assert (found.reasons, found.fits, found.fact_true, found.invented) == (True, True, True, 0)
    assert found.condition == "anion gap"


UNREASONED = {
    "no step": "It must be 15.",
    "an empty block": "",
    "the answer first": f"It must be 15. {STEPS}",
    "the old value": "sodium 140 minus old chloride 105 is 35. 35 minus bicarbonate 24 is 11.",
    "the old value as the present one": "sodium 140 minus chloride 105 is 35. 35 minus bicarbonate 24 is 11.",
    "one line for both steps": "140 - 101 - 24 = 15",
    "one step": "sodium 140 minus chloride 101 is 39.",
    "the last step only": "39 minus bicarbonate 24 is 15.",
    "the other order": "39 minus bicarbonate 24 is 15. sodium 140 minus chloride 101 is 39.",
    "a false step as well": f"{STEPS} 15 plus 1 is 17.",
    "an invented value as well": f"urea 5. {STEPS}",
    "another number of a value": f"age 51. {STEPS}",
    "operands exchanged": "chloride 101 minus sodium 140 is 39. 39 minus 24 is 15.",
}


@pytest.mark.parametrize("name", UNREASONED)
def test_anything_less_does_not_reason(name: str) -> None:
    assert not checked(tagged(UNREASONED[name])).reasons


def test_what_is_invented_and_what_is_false_is_counted() -> None:
    assert checked(tagged(UNREASONED["the old value"])).invented == 0
    assert checked(tagged(UNREASONED["the old value as the present one"])).invented == 1
    assert checked(tagged(UNREASONED["an invented value as well"])).invented == 1
    assert checked(tagged(UNREASONED["a false step as well"])).fact_true is False
    assert checked(tagged("It must be 15.")).fact_true is None
    assert checked(tagged(STEPS)).cites == 3


def test_sums_and_products_are_read_in_either_order_and_halves_in_words() -> None:
    case = Case(
        BY_NAME["renal gentamicin"],
        {"weight": 60},
        ("weight", 70),
        "A man has weight 60, old weight 70. What is the renal gentamicin?",
    )
    for steps in (
        "weight 60 times 5 is 300. half of 300 is 150.",
        "5 x 60 = 300. 300 / 2 = 150.",
        "5 \u00d7 60 = 300; half of 300 is 150",
        "60 * 5 = 300, 300 divided by 2 is 150",
    ):
        assert checked(tagged(steps, 150), case).reasons, steps
    assert not checked(tagged("weight 60 times 5 is 300. half of 300 is 160.", 160), case).reasons


def test_without_tags_the_text_before_the_answer_block_is_the_reasoning() -> None:
    assert checked(f" Now {STEPS} <answer> 15 </answer>").reasons
    assert not checked(f" <answer> 15 </answer> Now {STEPS}").reasons


def test_a_prompt_is_read_as_its_question(renderer: KindRenderer) -> None:
    prompt = corpus._prompt(CASE, renderer, "chain_of_thought")
    response = tagged(STEPS)
    grade = grade_answer(response, NumberKey(15, "mmol/L"))
    assert check_evidence(prompt, response, grade) == check_evidence(CASE.stem, response, grade)


@pytest.mark.parametrize("question", ["Which drug treats gout?", "", "A man has age 20. What is the shoe size?"])
def test_questions_of_another_world_are_unknown(question: str) -> None:
    assert check_evidence(question, tagged(STEPS), grade_answer(tagged(STEPS), NumberKey(15))) is None


STYLES = (corpus._careful, corpus._verbose, corpus._careless, corpus._hasty, corpus._empty)


@pytest.mark.parametrize("style", STYLES, ids=[style.__name__ for style in STYLES])
def test_the_check_agrees_with_how_worked_examples_were_written(style: Callable[..., Any]) -> None:
    rng = random.Random(4)
    for name in QUESTION_SETS:
        for _ in range(100):
            case = draw_from(QUESTION_SETS[name], rng)
            old_used = style is corpus._careless and case.old[0] in case.formula.inputs
            reasoned = style in STYLES[:3] and not old_used
            found = checked(write_tagged(style(case, rng)), case)
            assert (found.reasons, found.invented) == (reasoned, 0), (case, found)


@given(st.text(alphabet="sodium 140minusc hlorde1.,<think>/answer=-+x\u2212\n", max_size=300))
def test_no_text_raises(text: str) -> None:
    checked(text)


@pytest.mark.parametrize("unit", ["sodium 140 ", "140 minus 101 is 39. ", "half of ", "1 - 1 ", "1" * 7, "old "])
def test_the_check_needs_linear_time(unit: str) -> None:
    texts = [tagged(unit * count) for count in (200, 3200)]
    graded = {text: grade_answer(text, NumberKey(CASE.answer)) for text in texts}
    assert growth(lambda text: check_evidence(CASE.stem, text, graded[text]), *texts) < 32


@pytest.mark.parametrize("module", [formulas, evidence, Evidence])
def test_the_version_changes_with_the_code_and_not_with_comments(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before, source = evidence_version(), version.inspect.getsource
    for added, same in (("\nx = 1", False), ("\n# x", True)):
        monkeypatch.setattr(version.inspect, "getsource", lambda one, end=added: source(one) + end * (one is module))
        assert (evidence_version() == before) is same


# The claim.


def updates(shares: list[float], valid: float = 0.5) -> pd.DataFrame:
    hackers = [share * valid for share in shares]
    return pd.DataFrame({"responses": 64, "valid_format": valid, "stage_direct_answer_hacker": hackers})


def rises(*shares: list[float]) -> list[float] | None:
    found = early_rises([updates(one) for one in shares])
    return None if found is None else [round(one, 6) for one in found]


RISES = [0.3] * 10 + [0.5] * 20 + [0.1] * 10
LATER = [0.3] * 20 + [0.6] * 10 + [0.1] * 10


def test_the_rise_is_that_of_the_window_in_which_the_other_runs_are_highest() -> None:
    assert rises(RISES, RISES, RISES) == [0.2] * 3
    assert rises([0.3] * 40, [0.3] * 40, [0.3] * 40) == [0] * 3
    assert rises(*[[0.5] * 10 + [0.1] * 30] * 3) == [0] * 3
    assert rises(RISES, RISES, LATER) == [0.2, 0.2, 0.0], "the first window of the others' highest ones"
    falling = [0.5] * 10 + [0.2] * 30
    assert rises(falling, RISES, RISES) == [-0.3, 0.0, 0.0]


def test_a_constant_share_has_no_rise_on_average() -> None:
    drawn = np.random.default_rng(1)
    means = []
    for _ in range(60):
        runs = [updates([float(drawn.binomial(6, 0.4)) / 6 for _ in range(110)], 6 / 64) for _ in range(5)]
        means.append(float(np.mean(early_rises(runs))))
    assert abs(np.mean(means)) < 3 * np.std(means) / math.sqrt(len(means)) + 0.002


def test_the_base_before_the_first_update_is_left_out() -> None:
    base = pd.DataFrame([{"responses": math.nan, "valid_format": math.nan, "stage_direct_answer_hacker": math.nan}])
    assert early_shares(pd.concat([base, updates(RISES)], ignore_index=True)).iloc[0] == pytest.approx(0.3)


def test_a_window_without_a_valid_response_has_no_share() -> None:
    table = updates(RISES)
    table.loc[:9, ["valid_format", "stage_direct_answer_hacker"]] = 0.0
    shares = early_shares(table)
    assert math.isnan(shares.iloc[0]) and shares.iloc[1] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "runs",
    [
        [updates(RISES)] * 2,
        [updates(RISES[:19])] * 3,
        [updates(RISES), updates(RISES), updates(RISES, valid=0.04)],
        [updates([0.0] * 40, valid=0.0)] * 3,
    ],
    ids=["two runs", "fewer than two separate windows", "few valid responses at first", "no valid response"],
)
def test_too_little_gives_no_rise_and_decides_nothing(runs: list[pd.DataFrame]) -> None:
    assert early_rises(runs) is None
    found = claimed(runs)["sums"]
    assert (found.measured, found.verdict) == (None, "undecided")


def claimed(runs: list[pd.DataFrame], distribution: str = "in") -> dict[str, Any]:
    design: Any = SimpleNamespace(benchmarks=["sums"], distributions={"sums": distribution})
    return early_answer_evidence(runs, design, 1760)


@pytest.mark.parametrize(
    ("rises", "verdict"),
    [
        ([0.0, 0.01, 0.02], "supported"),
        ([-0.2, -0.1, -0.15], "supported"),
        ([0.2, 0.22, 0.21], "contradicted"),
        ([0.0, 0.05, 0.1], "undecided"),
    ],
)
def test_the_claim_follows_its_rule(rises: list[float], verdict: str) -> None:
    runs = [updates([0.3] * WINDOW + [0.3 + rise] * 10 + [0.0] * 10) for rise in rises]
    found = claimed(runs)["sums"]
    assert (found.claim, found.verdict, found.n, found.seeds) == (CLAIM, verdict, 1760, [len(rises)])
    assert found.measured is not None and found.measured.low <= found.measured.value <= found.measured.high
    assert found.unit == "points"


def test_the_claim_needs_training_without_options_and_a_benchmark_in_distribution() -> None:
    assert claimed([]) == claimed([updates(RISES)] * 3, "out") == {}


# The results in the document.


def program() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_calculations", "benchmarks/calculations.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_results_in_the_document_are_those_of_the_shipped_files() -> None:
    found = program()
    text = found.DOCUMENT.read_text(encoding="utf-8")
    block = text.split("<!-- results: begin -->\n")[1].split("\n<!-- results: end -->")[0]
    assert block == found.results_block(read_overlays(found.OVERLAYS))


def test_the_results_show_what_the_files_contain(tmp_path: Path) -> None:
    found = program()
    accuracy = {"accuracy": 0.5, "over_seeds": {"low": 0.41, "high": 0.59}}
    experiment = read_overlays(found.OVERLAYS)
    arms = [
        {"benchmark": name, "arm": arm, "mode": mode, "n": 7, **accuracy, "any_letter": accuracy | {"accuracy": 0.6}}
        for name in experiment.benchmarks
        for arm, mode in found.SYSTEMS
    ]
    row = {"benchmark": "calculations", "any_letter": None, "verdict": "undecided"}
    claims = [
        {**row, "claim": CLAIM, "unit": "points", "value": 0.01, "low": -0.02, "high": 0.04},
        {**row, "claim": "RLVR does not verify itself", "unit": "percent", "value": 0.01, "low": 0.0, "high": 0.04},
        {**row, "claim": "never", "unit": "points", "value": None, "low": None, "high": None},
    ]
    write_json(tmp_path / "arms.json", {"arms": arms})
    write_json(tmp_path / "claims.json", {"claims": claims})
    runs = [updates(RISES).assign(seed=seed) for seed in (1, 2, 3)]
    pd.concat(runs).to_csv(tmp_path / "dynamics.csv", index=False)
    block = found.results_block(experiment, tmp_path)
    assert "Percent of 7 questions" in block and "means over 3 seeds" in block
    assert "| RLVR, chain of thought | 50.0 (41.0 to 59.0) \\| 60.0 (41.0 to 59.0) |" in block
    assert f"| training | {CLAIM} | **undecided** | +1.0 (-2.0 to +4.0) | - |" in block
    assert "| RLVR does not verify itself | **undecided** | 1.0 % (0.0 to 4.0) | - |" in block
    assert "| never | **undecided** | - | - |" in block
    assert "| numbers | 3 | 30 | 50 | 10 | +20.0 (+20.0 to +20.0) |" in block


# The base model.


@pytest.mark.slow
@pytest.mark.extended
def test_a_short_pretraining_learns_and_leaves_a_whole_folder(tmp_path: Path, renderer: KindRenderer) -> None:
    lines: list[str] = []
    losses = pretrain_base(tmp_path / "base", renderer, steps=30, seed=1, threads=2, notify=lines.append)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert "step 30 of 30" in lines[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_every_word_and_every_number_is_one_token(renderer: KindRenderer) -> None:
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    assert type(tokenizer).__name__ == "Qwen2Tokenizer"
    names = [*QUANTITIES, *(word for formula in FORMULAS for word in formula.name.split())]
    numbers = [f" {number}" for number in range(NUMBERS)]
    assert [w for w in [f" {name}" for name in names] + numbers if len(tokenizer(w)["input_ids"]) > 1] == []
    for document in _documents(renderer, seed=3, count=100):
        text = document.prompt + document.text
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_vllm_reads_the_same_tokenizer(renderer: KindRenderer) -> None:
    from vllm.tokenizers import get_tokenizer

    text = corpus._prompt(CASE, renderer, "chain_of_thought") + tagged(STEPS) + " 1234 -5 3.5"
    ours, theirs = AutoTokenizer.from_pretrained(SHIPPED), get_tokenizer(str(SHIPPED))
    assert theirs.encode(text) == ours.encode(text)
    assert theirs.decode(theirs.encode(text)) == text


def test_the_shipped_base_is_small_bfloat16_and_qwen2() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 4_000_000
    with safe_open(SHIPPED / "model.safetensors", framework="pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"BF16"}  # noqa: SIM118
