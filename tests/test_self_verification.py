import pytest
from hypothesis import given
from hypothesis import strategies as st

from medrlvr.grading.self_verification import _PHRASES, find_self_verification


@pytest.mark.parametrize(
    "text",
    [
        "It is gout. Wait, the joint is not red.",
        "<think> Wait. </think>",
        "so B.\nHold on, that cannot be",
        "But wait, he takes lithium.",
        "Let me double-check this.",
        "let me re-examine the options",
        "I should verify this.",
        "I'll check again whether C fits.",
        "On second thought, D is better.",
        "Actually, that is wrong.",
        "I made a mistake above.",
        "My earlier reasoning was wrong",
        "Reconsidering the options, C.",
        "Let me verify: the murmur is diastolic.",
        "Let's re-read the question.",
        "My answer is inconsistent with the fever",
        "I was mistaken about the dose",
    ],
)
def test_self_verification_is_found(text: str) -> None:
    assert len(find_self_verification(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Watchful waiting is the right choice.",
        "Patients wait two weeks; wait and see is wrong.",
        "Check the potassium and verify the tube's position with an X-ray.",
        "The answer is A because the other options do not fit.",
        "Actually the most common cause is viral.",
        "The first step is to give fluids.",
        "the next step in management is rechecking blood pressure",
        "The initial step is intubation.",
        "The first step is intravenous fluids. The previous answer is in the table.",
        "rechecking the potassium level is the next step",
        "Treatment: wait a few weeks and repeat the test.",
        "Diagnosis unclear. Wait a month.",
        "Hold on that medication until the creatinine falls. Hold on to the rail.",
        "Let's reassess the patient. Re-evaluating the patient in a week is enough.",
        "Let me consider each option.",
        "We should verify the dose. I will double-check the potassium.",
        "Actually, that is not uncommon in children.",
        "",
    ],
)
def test_other_text_is_not_self_verification(text: str) -> None:
    assert find_self_verification(text) == []


def test_places_are_those_in_the_response() -> None:
    text = "It is B. Wait, no. On second thought, it is."
    assert [text[begin:end] for begin, end in find_self_verification(text)] == [". Wait", "On second thought"]


@given(st.from_regex(_PHRASES))
def test_the_fast_search_misses_nothing(text: str) -> None:
    assert find_self_verification(text) == [match.span() for match in _PHRASES.finditer(text)]
