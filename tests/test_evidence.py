"""The check of reasoning in the miniature's world, by responses whose steps are known."""

import random
from dataclasses import replace
from itertools import combinations, product

import pytest
from growth import growth
from hypothesis import given
from hypothesis import strategies as st

from medrlvr.config.experiment import Experiment
from medrlvr.config.load import read_overlays
from medrlvr.data.miniature import corpus, evidence, version, world
from medrlvr.data.miniature.evidence import check_evidence
from medrlvr.data.miniature.version import evidence_version
from medrlvr.data.miniature.world import (
    QUESTION_SETS,
    RELATIONS,
    Vignette,
    draw_from,
    draw_vignette,
    load_world,
    make_questions,
)
from medrlvr.data.prompts import Renderer
from medrlvr.data.worked_examples import Style, before_the_tags
from medrlvr.grading.evidence import COLUMNS, Evidence
from medrlvr.grading.grader import grade

WORLD = load_world()
VIGNETTE = draw_from(WORLD, QUESTION_SETS["test"], random.Random(1))
OWN = VIGNETTE.condition
OTHER = next(one for one in WORLD if one is not OWN and not {*one.findings} & {*VIGNETTE.findings})
ALIEN = next(one for one in OTHER.findings if one not in OWN.findings)
ELSE = next(relation for relation in RELATIONS if relation != VIGNETTE.relation)
WORDS = {
    **dict(zip("abc", VIGNETTE.findings, strict=True)),
    "alien": ALIEN,
    "own": OWN.name,
    "other": OTHER.name,
    "asked": VIGNETTE.relation,
    "else": ELSE,
    "value": OWN.values[VIGNETTE.relation],
    "lie": OTHER.values[VIGNETTE.relation],
    "more": OWN.values[ELSE],
}
FACT = "The {asked} for {own} is {value}"
STEPS = "The findings {a}, {b} and {c} fit {own}. " + FACT
UNTRUE = "The {asked} for {own} is {lie}"


def filled(text: str) -> str:
    """Return a text with words of the vignette for the names in braces."""
    return text.format_map(WORDS)


def checked(response: str, vignette: Vignette = VIGNETTE) -> Evidence:
    found = check_evidence(vignette.stem, response, grade(response, vignette.options, vignette.gold))
    assert found is not None
    return found


def block(think: str) -> str:
    return f"<think> {think} </think> <answer> C </answer>"


def holds(cites: int = 3, *, invented: int = 0, name: str | None = "{own}", fits: bool = True,
          fact: bool | None = True, reasons: bool = True) -> Evidence:  # fmt: skip
    """Return evidence; by default that of `STEPS`."""
    return Evidence(cites, invented, filled(name) if name else None, fits, fact, reasons)


NOTHING = holds(0, name=None, fits=False, fact=None, reasons=False)

# Response, what is found in it.
CASES = {
    "careful": (block(STEPS + " C."), holds()),
    "untagged": (f" {STEPS} C. Answer: C.", holds()),
    "one finding": (block("The finding {a} points to {own}. " + FACT), holds(1)),
    "each finding alone": (block("The patient has {a}. The patient has {b}. " + STEPS), holds()),
    "a finding twice": (block("{a}, {a} and {b} fit {own}. " + FACT), holds(2)),
    "condition by its fact alone": (block("{a} and {b}. " + FACT), holds(2)),
    "another condition": (
        block("The finding {a} points to {other}. The {asked} for {other} is {lie} C."),
        holds(1, name="{other}", fits=False, reasons=False),
    ),
    "one invented finding": (block(STEPS.replace("{c}", "{alien}")), holds(invented=1, reasons=False)),
    "one more, invented": (block("The patient has {alien}. " + STEPS), holds(4, invented=1, reasons=False)),
    "no finding": (block("It fits {own}. " + FACT), holds(0, reasons=False)),
    "no fact": (block("The findings {a}, {b} and {c} fit {own}."), holds(fact=None, reasons=False)),
    "a false fact": (block(STEPS.replace(FACT, UNTRUE)), holds(fact=False, reasons=False)),
    "a false fact elsewhere": (block("The {else} for {other} is {more}. " + STEPS), holds(fact=False, reasons=False)),
    "a true fact elsewhere": (block("The {asked} for {other} is {lie}. " + STEPS), holds()),
    "a true fact of another relation": (
        block("The findings {a}, {b} and {c} fit {own}. The {else} for {own} is {more} C."),
        holds(reasons=False),
    ),
    "a finding as value": (
        block("{b} and {c} fit {own}. The {asked} for {own} is {a}."),
        holds(fact=False, reasons=False),
    ),
    "a condition as value": (block("{a}. The {asked} for {own} is {other}."), holds(1, fact=False, reasons=False)),
    "an unknown value": (block("{a}. The {asked} for {own} is zzz."), holds(1, fact=None, reasons=False)),
    "a negated fact": (block("{a}. The {asked} for {own} is not {lie}. " + FACT), holds(1)),
    "a corrected condition": (block("{a} points to {other}. No, {b} and {c} fit {own}. " + FACT), holds()),
    "its last fact concludes": (
        block(STEPS + ". The {asked} for {other} is {lie}."),
        holds(name="{other}", fits=False, reasons=False),
    ),
    "a name after the last fact": (block(STEPS + ". It is not {other}."), holds()),
    "without a fact the last name": (
        block("{a} fits {own} or {other}."),
        holds(1, name="{other}", fits=False, fact=None, reasons=False),
    ),
    "letter before the steps": (block("It must be C. " + STEPS), holds(reasons=False)),
    "answer before the steps, untagged": ("Answer: C. " + STEPS, NOTHING),
    "steps after an untagged letter": (" It must be C. Answer: C. " + STEPS, NOTHING),
    "value before the findings": (block(FACT + ". {a}, {b} and {c} fit {own}."), holds(reasons=False)),
    "value named first": (block("{value}. " + STEPS), holds(reasons=False)),
    "letter between the steps": (block("{a} and {b} fit {own}. It is C. " + FACT), holds(2, reasons=False)),
    "value before the letter, its fact after it": (
        block("{a} and {b} fit {own}, so {value}. It is C. " + FACT),
        holds(2, reasons=False),
    ),
    "facts about both, but not this one": (
        block("{a}: {value}. The {asked} for {other} is {lie}. The {else} for {own} is {more}."),
        holds(1, reasons=False),
    ),
    "a finding again after the fact": (block("{a} fits {own}. " + FACT + " because of {a}."), holds(1)),
    "steps before the block": (STEPS + " <think> C </think> <answer> C </answer>", NOTHING),
    "steps after the answer": (block("so") + STEPS, NOTHING),
    "empty block": ("<think> </think> <answer> C </answer>", NOTHING),
    "empty response": ("", NOTHING),
    "letter alone": (" C", NOTHING),
    "no answer block": (f"<think> {STEPS} C. </think>", holds()),
    "two open tags": (f"<think> <think> {STEPS} C. </think> <answer> C </answer>", holds()),
    "two closed tags": (f"<think> {STEPS} C. </think> </think> <answer> C </answer>", holds()),
    "torn open tag": (f"<thi {STEPS} C. </think> <answer> C </answer>", holds()),
    "torn closed tag": (f"<think> {STEPS} C. </thi <answer> C </answer> {{alien}}", holds()),
    "tag inside a statement": (
        block("{a}. The {asked} for <think> {own} is {value}."),
        holds(1, fact=None, reasons=False),
    ),
    "only an answer block": (f"{STEPS} <answer> C </answer> {{alien}}", holds()),
    "marks": (block('"{a}", **{b}**, _{c}_: fit ({own}). The {asked} for _{own}_ is: **{value}**!'), holds()),
    "line breaks": (block("{a}\n{b}\n\n{c}\n{own}\nThe {asked} for\n  {own}\n is\t{value}"), holds()),
    "other words between": (block("{a}! The {asked} of the {own} must be the {value} C"), holds(1)),
    "no verb": (block("{a}: {own}. {asked} for {own}: {value}"), holds(1)),
    "a statement over two sentences": (
        block("{a}. The {asked} for {own}. Is {value} right?"),
        holds(1, fact=None, reasons=False),
    ),
    "parts of words": (block("un{a}ly non{own}s {value}x"), NOTHING),
    "torn statement": (block("{a}. The {asked} for {own} is {lie} {value} C."), holds(1, fact=False, reasons=False)),
    "half a statement": (block("{a} {b} {own} for is {value} The"), holds(2, fact=None, reasons=False)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_found_in_a_response(name: str) -> None:
    response, expected = CASES[name]
    assert checked(filled(response)) == expected


def test_words_in_capital_letters_are_the_same() -> None:
    response = block(filled(STEPS))
    loud = response.replace(filled(STEPS), filled(STEPS).upper())
    assert loud != response and checked(loud) == checked(response) == holds()


def test_letters_that_only_look_the_same_are_other_letters() -> None:
    """Unicode has letters that are the same as i, k and s in a search that ignores case."""
    odd = filled(STEPS).replace("i", "\u0131").replace("s", "\u017f").replace("k", "\u212a").replace("I", "\u0130")
    checked(block(odd))
    assert checked(block("\u0130" * 20 + filled(STEPS))).fact_true


def test_a_word_belongs_to_one_class() -> None:
    classes = [{finding for one in WORLD for finding in one.findings}, {one.name for one in WORLD}]
    classes += [{one.values[relation] for one in WORLD} for relation in RELATIONS]
    assert not [shared for first, second in combinations(classes, 2) if (shared := first & second)]
    words = set().union(*classes)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    texts = [part for name in ("_PEOPLE", "_COMPLAINTS") for part in getattr(world, name)]
    texts += [*world._ASKS.values(), *RELATIONS]
    assert not words & {word.lower() for text in texts for word in text.split()}, "a stem would name other words"


KINDS = {
    corpus._careful: "careful",
    corpus._verbose: "verbose",
    corpus._careless: "careless",
    corpus._hasty: "hasty",
    corpus._empty: "hasty",
}
STYLES = corpus.WAYS.untagged() + corpus.WAYS.tagged()


def drawn(rng: random.Random) -> list[Vignette]:
    """Return questions of every relation and form, seen or held out, with 4 to 10 options."""
    kinds = product(RELATIONS, (True, False), (True, False), ("vignette", "question"), (4, 5, 10))
    return [draw_vignette(WORLD, relation, seen, kept, n, form, rng) for relation, seen, kept, form, n in kinds]


@pytest.mark.parametrize("style", STYLES, ids=[name for _, _, name, _ in STYLES])
def test_the_corpus_reasons_as_its_styles_do(style: Style[Vignette]) -> None:
    reasoning, write, name, _ = style
    kind = "outside" if write is before_the_tags else KINDS[reasoning]
    rng = random.Random(name)
    for vignette in drawn(rng):
        found = checked(write(reasoning(vignette, rng)), vignette)
        right = kind in ("careful", "verbose") or (
            kind == "careless" and corpus.typical(vignette.findings[0]) == vignette.condition
        )
        assert found.reasons == right
        assert found.invented == 0
        assert found.cites == {"careful": 3, "verbose": 3, "careless": 1}.get(kind, 0)
        assert found.fact_true == (True if kind in ("careful", "verbose", "careless") else None)
        assert found.fits == right


def test_careless_reasoning_is_right_and_wrong_in_the_test_above() -> None:
    same = [corpus.typical(one.findings[0]) == one.condition for one in drawn(random.Random("careless"))]
    assert 5 < sum(same) < len(same) - 5


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("{a}", "{alien}", {"invented": 1}),
        ("{a}", "it", {"cites": 2, "reasons": True}),
        ("{own}", "{other}", {"condition": OTHER.name, "fits": False, "fact_true": False}),
        ("{value}", "{lie}", {"fact_true": False}),
        ("{value}", "it", {"fact_true": None}),
        ("{asked}", "{else}", {"fact_true": False}),
        ("findings {a}, {b} and {c}", "findings", {"cites": 0}),
    ],
)
def test_each_step_can_fail(old: str, new: str, changed: dict[str, object]) -> None:
    assert checked(block(filled(STEPS))) == holds()
    assert old in STEPS
    assert checked(block(filled(STEPS.replace(old, new)))) == replace(holds(), **{"reasons": False, **changed})


def test_the_columns_are_the_fields() -> None:
    columns = Evidence(4, 1, "gout", True, None, reasons=False).columns()
    assert columns == dict(zip(COLUMNS, (4, 1, True, None, False), strict=True))


def test_a_prompt_ends_with_the_question() -> None:
    """Live, the check has the prompt only; its examples are not the question."""
    renderer = Renderer("prompts/question.txt", one="prompts/med_rlvr.txt", shots="prompts/med_rlvr_3_shot.txt")
    response = block(filled(STEPS))
    question = {"stem": VIGNETTE.stem, "options": VIGNETTE.options}
    for mode in ("one", "shots"):
        prompt = renderer.prompt(question, mode)
        assert check_evidence(prompt, response, grade(response, VIGNETTE.options, VIGNETTE.gold)) == holds()
    before = next(one for one in drawn(random.Random(2)) if not {*one.findings} & {*VIGNETTE.findings})
    two = f"{before.stem} {VIGNETTE.stem}"
    assert check_evidence(two, response, grade(response, VIGNETTE.options, VIGNETTE.gold)) == holds()


@pytest.mark.parametrize("question", ["", "Which drug treats it?", "A man has gout, cough and fever.", "Which is it?"])
def test_a_question_of_another_world_is_not_checked(question: str) -> None:
    assert check_evidence(question, filled(STEPS), grade("", ["x", "y"], 0)) is None


PIECES = ["<think>", "</think>", "<answer>", "</answer>", "<thi", " ", "\n", ". ", "C", "Answer: C.", "It must be"]
PIECES += [filled(part) for part in ("{a}", "{b}", "{alien}", "{own}", "{other}", "{value}", "{lie}", FACT, UNTRUE)]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_gives_evidence_that_agrees_with_itself(response: str) -> None:
    found = checked(response)
    assert 0 <= found.invented <= found.cites
    assert not found.fits or found.condition == OWN.name
    assert not found.reasons or (found.cites and not found.invented and found.fits and found.fact_true)
    assert found.condition is not None or found.fact_true is None


@pytest.mark.parametrize(
    "piece", ["{a} ", "The {asked} for {own} is ", "The {asked} for ", FACT + ". ", "_ ", "<think>"]
)
def test_time_grows_linearly_on_hostile_responses(piece: str) -> None:
    texts = [block(filled(piece) * (length // len(filled(piece)))) for length in (20_000, 160_000)]
    graded = {text: grade(text, VIGNETTE.options, VIGNETTE.gold) for text in texts}
    assert growth(lambda text: check_evidence(VIGNETTE.stem, text, graded[text]), *texts) < 32


def test_the_version_changes_with_the_table_and_the_code(tmp_path, monkeypatch) -> None:
    before = evidence_version()
    assert before == evidence_version()
    source = version.inspect.getsource
    for module in (world, evidence, Evidence):
        with monkeypatch.context() as patch:
            patch.setattr(
                version.inspect, "getsource", lambda one, edited=module: source(one) + "\nx = 1" * (one is edited)
            )
            assert evidence_version() != before
        with monkeypatch.context() as patch:
            patch.setattr(
                version.inspect, "getsource", lambda one, edited=module: source(one) + "\n# x" * (one is edited)
            )
            assert evidence_version() == before
    (tmp_path / "facts.tsv").write_bytes(b"other")
    monkeypatch.setattr(version, "FACTS", tmp_path / "facts.tsv")
    assert evidence_version() != before


def test_the_miniature_is_checked_against_its_world_and_free_text_by_a_rule() -> None:
    assert read_overlays(["config/miniature.yaml"]).evaluation.evidence == "miniature"
    assert Experiment().evaluation.evidence == "text"


def test_every_question_of_the_miniature_is_known() -> None:
    for rows in make_questions(dict.fromkeys(QUESTION_SETS, 50), seed=1).values():
        for row in rows:
            assert check_evidence(row["question"], "", grade("", [*row["options"].values()], 0)) is not None
