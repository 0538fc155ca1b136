import base64
import gzip
import json
import random
from dataclasses import asdict
from typing import Any

import pages
import pandas as pd
import pytest
from evaluated import OPTIONS, TAGGED, evaluate
from hypothesis import given
from hypothesis import strategies as st

from medrlvr.grading.grader import grade
from medrlvr.report import explorer

QUESTIONS = pages.train_questions(40)
ROLLOUTS = pages.rollouts(
    [[TAGGED.format("ABCDE"[(u + i) % 5]) if i % 4 else f"none {i}" for i in range(40)] for u in range(6)]
)
STAGES = pd.Series(["concise_structurer" if valid else "format_failure" for valid in ROLLOUTS["valid_format"]])
LABELS = pd.DataFrame({"label": STAGES})


def unpack(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def rows_of(taken: explorer.Sample) -> list[dict[str, Any]]:
    """Return the embedded responses with their facts, as the script of the report joins them."""
    facts, texts = unpack(taken.facts), unpack(taken.text)["texts"]
    return [
        {
            **facts["kinds"][facts["kind"][place]],
            "update": facts["update"][place],
            "id": facts["ids"][facts["question"][place]],
            "sample": facts["sample"][place],
            **texts[str(place)],
        }
        for place in sorted(map(int, texts))
    ]


def size(taken: explorer.Sample) -> int:
    return len(taken.facts) + len(taken.text)


def sample(limit: int, examples: list[tuple[int, str, int]] | None = None) -> explorer.Sample:
    return explorer.sample_rollouts("rlvr/seed1", ROLLOUTS, LABELS, QUESTIONS, examples or [], limit)


def test_all_responses_are_taken_where_they_fit() -> None:
    taken = sample(10**6)
    assert (taken.shown, taken.total) == (240, 240)
    texts = {(row["update"], row["id"]): row["text"] for row in rows_of(taken)}
    keys = zip(ROLLOUTS["update"], ROLLOUTS["question_id"], strict=True)
    assert texts == dict(zip(keys, ROLLOUTS["response"], strict=True))


def test_evidence_is_shown_where_the_reasoning_was_checked() -> None:
    assert not any({"invented", "reasons"} & {*row} for row in rows_of(sample(10**6)))
    found = {"evidence_invented": [0, 2, 0] * 80, "reasons": [True, False, None] * 80}
    labels = LABELS.assign(**{name: pd.array(values) for name, values in found.items()})
    rows = rows_of(explorer.sample_rollouts("x", ROLLOUTS, labels, QUESTIONS, [], 10**6))
    assert [(row["invented"], row["reasons"]) for row in rows] == [(False, True), (True, False), (False, None)] * 80


def test_a_sample_has_every_stratum_evenly_and_fits() -> None:
    whole = size(sample(10**6))
    taken = sample(whole // 2)
    assert size(taken) <= whole // 2 and 0 < taken.shown < 240
    rows = pd.DataFrame(rows_of(taken))
    sizes = rows.groupby(["update", "stage", "grade"]).size()
    everything = (
        ROLLOUTS.assign(stage=STAGES, grade=explorer.grades(ROLLOUTS)).groupby(["update", "stage", "grade"]).size()
    )
    assert sizes.to_dict() == everything.clip(upper=taken.each).to_dict()
    assert size(taken) > 0.8 * (whole // 2), "room is left unused"


def test_the_facts_of_every_response_are_embedded() -> None:
    """Counts of all responses, and addresses of responses whose text is not embedded, need only the facts."""
    facts = unpack(sample(1).facts)
    rows = [
        (facts["update"][place], facts["ids"][facts["question"][place]], facts["sample"][place], facts["kinds"][kind])
        for place, kind in enumerate(facts["kind"])
    ]
    assert [row[:3] for row in rows] == list(
        ROLLOUTS[["update", "question_id", "sample"]].itertuples(index=False, name=None)
    )
    assert [row[3]["stage"] for row in rows] == STAGES.tolist()
    assert [row[3]["reward"] for row in rows] == ROLLOUTS["reward"].tolist()
    assert [row[3]["grade"] for row in rows] == explorer.grades(ROLLOUTS)
    assert [row[3]["lenient"] == "right" for row in rows] == ROLLOUTS["lenient_correct"].tolist()
    assert len(facts["kinds"]) < 30


def test_lenient_grades_have_three_names() -> None:
    texts = ["Answer: A.", "Answer: B.", "no letter"]
    graded = pd.DataFrame([asdict(grade(text, OPTIONS, 0)) for text in texts])
    assert explorer.lenient_grades(graded) == list(explorer.LENIENT_GRADES)
    assert explorer.grades(graded) == ["no valid format"] * 3


def test_examples_are_chosen_by_rule_and_always_embedded() -> None:
    limit = size(sample(10**6)) // 2
    taken = rows_of(sample(limit))
    again = rows_of(explorer.sample_rollouts("x", ROLLOUTS, LABELS, QUESTIONS, [], limit))
    assert taken == again
    left = next(
        (int(row["update"]), row["question_id"], 0)
        for row in ROLLOUTS.to_dict("records")
        if not any((one["update"], one["id"]) == (row["update"], row["question_id"]) for one in taken)
    )
    with_it = rows_of(sample(limit, [left]))
    assert left[:2] in [(one["update"], one["id"]) for one in with_it]
    only = sample(1, [left])
    assert (only.shown, only.each) == (1, 0)


def test_only_questions_that_are_shown_are_embedded() -> None:
    value = unpack(sample(1, [(2, "q/7", 0)]).text)
    assert value["questions"] == {"q/7": {"stem": "What is in lode 7?", "options": OPTIONS, "gold": "C"}}


def test_grades_have_four_names() -> None:
    texts = [TAGGED.format("A"), TAGGED.format("B"), TAGGED.format("?"), "A"]
    graded = pd.DataFrame([vars_of(grade(text, OPTIONS, 0)) for text in texts])
    assert explorer.grades(graded) == list(explorer.GRADES)
    bare = pd.DataFrame([vars_of(grade("I do not know", OPTIONS, 0, "bare"))])
    assert explorer.grades(bare) == ["unreadable answer"], "of a direct answer no tags were asked"


def vars_of(found: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("correct", "letter", "rule")}


@given(
    st.lists(st.sampled_from([" ", "\n", "\t", "\u3000", "\x0b", "zinc", "B", ".", "\U0001f600", "so"]), max_size=30)
)
def test_the_place_where_the_answer_is_named_is_found_in_the_text_as_it_is(words: list[str]) -> None:
    """The grader counts in the think block with white space squeezed; both places must have the same text."""
    response = f"a\u00a0 <think>{''.join(words)} zinc {''.join(words)}</think><answer>C</answer>"
    found = grade(response, OPTIONS, 2)
    assert found.answer_named_at is not None and found.think_start is not None
    place = explorer._unsqueezed(response, found.think_start, found.answer_named_at)
    assert place is not None and response[place : place + 4] == "zinc"


def test_models_are_packed_with_every_question() -> None:
    """Facts of all models, texts only of those that are shown."""
    evaluated = evaluate(pages.EXPERIMENT)
    questions = {name: evaluated["questions"][name] for name in pages.EXPERIMENT.benchmarks}
    own = evaluated["scores"]["sft/seed1"]
    answers = [
        explorer.first_answers("sft/seed1", "direct", own, shown=True),
        explorer.first_answers("base", "direct", evaluated["scores"]["base"], shown=False),
    ]
    text, cut = explorer.pack_tests(answers, questions, str.upper)
    value = unpack(text)
    assert cut is None
    assert value["models"][1] == {"model": "base", "mode": "direct", "shown": False, "label": "BASE"}
    own = own[(own["benchmark"] == "medqa") & (own["mode"] == "direct")].set_index("question_id")
    bench = value["benchmarks"]["medqa"]
    packed, other = bench["answers"]
    assert dict(zip(bench["ids"], (one["text"] for one in packed["texts"]), strict=True)) == own["response"].to_dict()
    right = {
        id_ for id_, kind in zip(bench["ids"], packed["kind"], strict=True) if packed["kinds"][kind]["grade"] == "right"
    }
    assert right == set(own.index[own["correct"]])
    assert other["texts"] is None and len(other["kind"]) == len(bench["ids"])
    assert set(value["benchmarks"]["mmlu_pro_health"]["questions"]) == set(questions["mmlu_pro_health"]["question_id"])


def test_a_question_without_an_answer_is_marked() -> None:
    evaluated = evaluate(pages.EXPERIMENT)
    asked = evaluated["questions"]["medqa"]
    table = evaluated["scores"]["base"]
    table = table[table["question_id"] != "medqa/3"]
    answers = explorer.first_answers("base", "direct", table, shown=True)
    text, _ = explorer.pack_tests([answers], {"medqa": asked}, str)
    [packed] = unpack(text)["benchmarks"]["medqa"]["answers"]
    assert [place for place, kind in enumerate(packed["kind"]) if kind == -1] == [3] and packed["texts"][3] is None


def test_checked_reasoning_needs_a_valid_format() -> None:
    """Steps that are present and true count only in a valid format; a benchmark without checks goes by length."""
    table = evaluate(pages.EXPERIMENT)["scores"]["base"]
    table = table[(table["mode"] == "chain_of_thought") & table["benchmark"].isin(pages.EXPERIMENT.benchmarks)]
    by_length = explorer.first_answers("base", "chain_of_thought", table, shown=False).table
    assert by_length["reasoned"].tolist() == (table["valid_format"] & (table["think_chars"] >= 40)).tolist()
    steps = pd.Series(pd.NA, index=table.index, dtype="boolean").mask(table["benchmark"].eq("medqa"), True)
    steps = steps.mask(table["question_id"].eq("medqa/2"), False).mask(table["question_id"].eq("medqa/4"), pd.NA)
    checked = table.assign(reasons=steps, valid_format=~table["question_id"].eq("medqa/5"))
    found = explorer.first_answers("base", "chain_of_thought", checked, shown=False).table.set_index("question_id")
    medqa = found.loc[found["benchmark"].eq("medqa"), "reasoned"]
    assert set(medqa.index[~medqa]) == {"medqa/2", "medqa/4", "medqa/5"}
    assert found.loc[found["benchmark"].ne("medqa"), "reasoned"].any()


def test_responses_that_do_not_fit_are_cut_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorer, "LIMIT", 40_000)
    noise = random.Random(1)
    evaluated = evaluate(pages.EXPERIMENT)
    table = evaluated["scores"]["base"]
    table = table.assign(response=["".join(noise.choices("abcdefghij", k=2000)) for _ in range(len(table))])
    questions = {name: evaluated["questions"][name] for name in pages.EXPERIMENT.benchmarks}
    answers = explorer.first_answers("base", "direct", table, shown=True)
    text, cut = explorer.pack_tests([answers], questions, str)
    assert len(text) <= 20_000 and cut is not None
    packed = unpack(text)["benchmarks"]["medqa"]["answers"][0]
    assert {len(answer["text"]) for answer in packed["texts"]} == {cut}
