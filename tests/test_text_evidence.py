"""Evidence in free text: numbers, quotations and findings that a reasoning states and the question does not have."""

from pathlib import Path

import pandas as pd
import pytest
from growth import growth
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.text_evidence import DOCUMENT, cases, table
from medrlvr.data.evidence_checks import evidence_check, evidence_check_version
from medrlvr.dynamics.responses import label_responses
from medrlvr.dynamics.updates import summarise_checkpoints
from medrlvr.evaluation.score import score_answers, summarise
from medrlvr.evaluation.strata import strata
from medrlvr.grading import text_evidence
from medrlvr.grading.grader import grade
from medrlvr.grading.text_evidence import FINDINGS, TESTS, check_response, check_text

STEM = (
    "A 45-year-old man has had a productive cough for 3 weeks. He smokes. His temperature is 38.9 C, pulse is 96/min, "
    "blood pressure is 118/76 mm Hg and weight is 70 kg. The leukocyte count is 11,400/mm3. What is the best next step?"
)
OPTIONS = ("Chest radiograph", "Bronchoscopy", "Reassurance")
QUESTION = "\n".join((STEM, *OPTIONS))

INVENTED = {
    "The patient has a pulse of 131.": ["131"],
    "He is febrile and his potassium is 6.8.": ["6.8"],
    "Potassium of 6.1 explains it.": ["6.1"],
    "A 54-year-old is at this stage.": ["54-year-old"],
    "The patient has jaundice and a cough.": ["jaundice"],
    "She reports hematuria, so a stone fits.": ["hematuria"],
    'The question says "recent travel to tropical regions".': ['"recent travel to tropical regions"'],
    "The MRI showed a mass.": ["MRI"],
    "A biopsy confirmed it, which could be a lymphoma.": ["biopsy"],
}
NOT_REPORTED = [
    "The patient is a 45-year-old man with a cough of 21 days.",
    "This man, aged forty-five, has a temperature of 102 F.",  # converted
    "His weight is 154 lb.",
    "The body stores thiamine for 3 weeks, and he eats little.",
    "His leukocyte count is 11400.",
    "The patient's count of 11.4 thousand is high.",
    "He has no jaundice.",
    "If he had hematuria, a stone would fit.",
    "Patients with pneumonia usually have a pulse of 120.",
    "Normal potassium for a man is 3.5 to 5.0.",
    "His mean pressure is (118 + 2 * 76) / 3 = 90.",
    "Meningitis presents with neck stiffness and photophobia.",
    'The question says "productive cough for 3 weeks".',
    "The chest film showed nothing.",  # an option mentions the radiograph
    "MRI shows plaques in multiple sclerosis.",
    "1. Step 14 of the list. 15) more",
    "",
]


def reported(reasoning: str, question: str = QUESTION) -> list[str]:
    return [reasoning[start:end] for start, end in check_text(question, reasoning).absent]


@pytest.mark.parametrize("reasoning", INVENTED)
def test_a_statement_that_the_question_does_not_have_is_reported_with_its_place(reasoning: str) -> None:
    assert reported(reasoning) == INVENTED[reasoning]


@pytest.mark.parametrize("reasoning", NOT_REPORTED)
def test_general_negated_conditional_calculated_and_given_statements_are_not_reported(reasoning: str) -> None:
    assert reported(reasoning) == []


@pytest.mark.parametrize("table", [FINDINGS, TESTS], ids=lambda path: path.stem)
def test_the_words_of_each_row_match_its_own_name(table: Path) -> None:
    for line in table.read_text(encoding="utf-8").splitlines()[1:]:
        name, words = line.split("\t")
        plain = name.lower().replace(r"\w+", "phy").replace("?", "")
        assert any(part.startswith(tuple(words.split())) for part in plain.replace("-", " ").split()), line


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_is_accepted_and_places_are_in_the_text(question: str, reasoning: str) -> None:
    found = check_text(question, reasoning)
    assert 0 <= found.invented <= found.cites
    assert all(0 <= start < end <= len(reasoning) for start, end in found.absent)


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=200))
def test_the_question_itself_is_never_reported_as_numbers_or_findings(text: str) -> None:
    assert reported(f"The patient has {text}", f"The patient has {text}") == []


def test_time_grows_with_the_length_of_the_text() -> None:
    texts = ['The patient has a pulse of 131, and "a b" ' * n for n in (40, 640)]
    assert growth(lambda text: check_text(QUESTION, text), *texts) < 32


def test_an_age_counts_once_and_every_table_is_in_the_fingerprint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert reported("The patient is a 46-year-old man.") == ["46-year-old"]
    versions = {text_evidence.text_evidence_version()}
    for name in ("FINDINGS", "TESTS"):
        table = getattr(text_evidence, name)
        other = tmp_path / table.name
        other.write_text(table.read_text(encoding="utf-8") + "other\tother\n", encoding="utf-8")
        monkeypatch.setattr(text_evidence, name, other)
        versions.add(text_evidence.text_evidence_version())
    assert len(versions) == 3


def test_options_belong_to_the_question_and_text_after_the_block_does_not_count() -> None:
    response = "<think> He has a 13 cm mass. </think> <answer> A </answer> His pulse is 131."
    graded = grade(response, OPTIONS, 0)
    assert check_response(STEM, OPTIONS, response, graded).invented == 1
    assert check_response(STEM, ["A 13 cm mass"], response, graded).invented == 0
    assert check_response(STEM, OPTIONS, "His pulse is 131. <answer>A", grade("", OPTIONS, 0)).invented == 1


def test_the_setting_chooses_the_check_and_its_fingerprint() -> None:
    assert evidence_check(None) is None is evidence_check_version(None)
    assert evidence_check("text") is check_response
    assert evidence_check_version("text") != evidence_check_version("miniature")


def test_scores_and_dynamics_have_the_share_of_invented_statements_and_no_share_that_reasons() -> None:
    think = ["He has a pulse of 131.", "He has a cough."]
    answers = pd.DataFrame(
        {
            "model": "m",
            "benchmark": "b",
            "mode": "cot",
            "question_id": ["q0", "q1"],
            "sample": 0,
            "finish_reason": "stop",
            "response": [f"<think> {text} </think> <answer> A </answer>" for text in think],
            "response_tokens": 9,
        }
    )
    questions = pd.DataFrame(
        {
            "benchmark": "b",
            "question_id": ["q0", "q1"],
            "stem": STEM,
            "options": [list(OPTIONS)] * 2,
            "gold": 0,
            "meta": "{}",
        }
    )
    scores = score_answers(answers, questions, {"cot": "tagged"}, evidence_check("text"))
    clusters = pd.DataFrame({"question_id": ["q0", "q1"], "repeats": ["q0", "q1"]})
    [record] = summarise(scores, clusters, strata(questions, {0}), resamples=10, seed=1)
    assert (record["invented"], record["reasons"]) == (0.5, None)
    [row] = summarise_checkpoints(scores, {"m": 3}).to_dict("records")
    assert row["invented"] == 0.5
    assert "reasons" not in row
    rollouts = scores.assign(update=1)
    labels = label_responses(rollouts, questions.set_index("question_id"), [9, 9], evidence_check("text"))
    assert labels["invented_evidence"].tolist() == [1, 0]
    assert labels["evidence_invented"].tolist() == [1, 0]


def test_the_documents_table_is_what_the_rule_reports() -> None:
    found = cases()
    assert table(found) in DOCUMENT.read_text(encoding="utf-8")
    assert len(found) == 300
