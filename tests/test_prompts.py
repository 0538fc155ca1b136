from pathlib import Path

import pytest

from medrlvr.errors import UserError
from medrlvr.grading import grade
from medrlvr.prompts import Renderer, load_template

QUESTION = {"question_id": "toy/train/1", "stem": "Which {metal} shines?", "options": ["iron", "gold"], "gold": 1}


@pytest.fixture
def renderer() -> Renderer:
    return Renderer("prompts/question.txt", "prompts/direct.txt", "prompts/med_rlvr.txt")


@pytest.mark.parametrize("mode", ["direct", "chain_of_thought"])
def test_the_prompts_to_the_letter(renderer: Renderer, mode: str) -> None:
    assert renderer.prompt(QUESTION, mode) + "\n" == Path(f"tests/golden/{mode}.txt").read_text(encoding="utf-8")


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
