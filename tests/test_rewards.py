from pathlib import Path

import pytest

from medrlvr import rewards
from medrlvr.errors import UserError
from medrlvr.fingerprint import fingerprint
from medrlvr.grading import grade

RIGHT = grade("<think>so</think><answer>B</answer>", ["x", "y"], 1)
WRONG = grade("<think>so</think><answer>A</answer>", ["x", "y"], 1)
UNTAGGED = grade("B", ["x", "y"], 1)


def test_the_papers_reward() -> None:
    reward = rewards.find("paper")
    assert [reward(found) for found in (RIGHT, WRONG, UNTAGGED)] == [1.0, 0.0, -1.0]


def test_a_file_is_a_reward(tmp_path: Path) -> None:
    file = tmp_path / "harsh.py"
    file.write_text("WRONG = -0.5\n\ndef reward(grade):\n    return 1.0 if grade.correct else WRONG\n")
    assert [rewards.find(str(file))(found) for found in (RIGHT, WRONG)] == [1.0, -0.5]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("papper", None, r"arms.x.reward: there is no reward called 'papper'; there are: paper, or the path"),
        ("none.py", None, r"arms.x.reward: .*none.py is no file"),
        ("broken.py", "def reward(:", r"broken.py cannot be loaded: SyntaxError"),
        ("fails.py", "1 / 0", r"fails.py cannot be loaded: ZeroDivisionError"),
        ("other.py", "reward = 1", r"other.py has no function reward\(grade\)"),
        ("two.py", "def reward(grade, other): return 0", r"reward\(grade\) of .*two.py fails: TypeError"),
        ("text.py", "def reward(grade): return 'one'", r"fails: ValueError: a reward must be a number from -10 to 10"),
        ("much.py", "def reward(grade): return 11 * grade.correct", r"from -10 to 10, and this is 11"),
        ("nan.py", "def reward(grade): return float('nan')", r"from -10 to 10, and this is nan"),
    ],
)
def test_what_is_no_reward_is_named(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=message):
        rewards.find(str(file) if name.endswith(".py") else name, "arms.x.reward")


def test_a_fingerprint_follows_what_code_does_and_not_how_it_is_explained() -> None:
    code = 'LIMIT = 1\n"""Of it."""\n\ndef f(x):\n    return x > LIMIT\n'
    explained = '"""About."""\n# A remark.\nLIMIT = 1\n\ndef f( x ):\n    """Return."""\n\n    return x > LIMIT  # so\n'
    assert fingerprint(code) == fingerprint(explained)
    assert fingerprint(code) != fingerprint(code.replace("> LIMIT", ">= LIMIT"))
    assert fingerprint(code) != fingerprint(code.replace("= 1", "= 2"))


def test_the_source_of_a_reward_is_its_own_code_alone(tmp_path: Path) -> None:
    assert rewards.source("paper").startswith("def paper(")
    assert "def find" not in rewards.source("paper")
    file = tmp_path / "mine.py"
    file.write_text("def reward(grade): return 0.0")
    assert rewards.source(str(file)) == "def reward(grade): return 0.0"
