from pathlib import Path

import pytest

from medrlvr.errors import UserError
from medrlvr.grading import grade
from medrlvr.prompts import Renderer, load_template

QUESTION = {"question_id": "toy/train/1", "stem": "Which {metal} shines?", "options": ["iron", "gold"], "gold": 1}


@pytest.fixture
def renderer() -> Renderer:
    return Renderer("prompts/question.txt", "prompts/direct.txt", "prompts/med_rlvr.txt")


def test_the_papers_prompt(renderer: Renderer) -> None:
    prompt = renderer.prompt(QUESTION, "chain_of_thought")
    assert prompt.startswith("A conversation between User and Assistant. The user asks")
    assert prompt.endswith(
        "User: Which {metal} shines?\nAnswer with just one of the letters from the options below.\n"
        "Options:\nA. iron\nB. gold\nAssistant:"
    )


def test_the_prompt_alone_would_pass_the_format_check(renderer: Renderer) -> None:
    """Why the reward must cut the prompt off: the paper's template holds a valid pair of tags."""
    assert grade(renderer.prompt(QUESTION, "chain_of_thought"), QUESTION["options"], 1).valid_format


def test_sft_row(renderer: Renderer) -> None:
    row = renderer.sft_row(QUESTION)
    assert row["output"] == " B"
    assert row["input"].endswith("\nAnswer:")


@pytest.mark.parametrize("text", ["no field", "{input} {input}", "{input} {other}", "{input"])
def test_a_bad_template_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=r"bad\.txt"):
        load_template(path, ["input"])


def test_a_missing_template_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.txt"):
        load_template(tmp_path / "nowhere.txt", ["input"])
