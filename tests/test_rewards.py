import runpy
from pathlib import Path

import pytest

from medrlvr.grading.grader import Grade, grade
from medrlvr.grading.kinds import Kind
from medrlvr.grading.reward_config import Setting, load_reward, reward_from_json, reward_source, reward_to_json
from medrlvr.grading.rewards import REWARDS, checked
from medrlvr.grading.version import grader_version, reward_version
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.fingerprint import fingerprint

RIGHT = grade("<think>so</think><answer>B</answer>", ["x", "y"], 1)
WRONG = grade("<think>so</think><answer>A</answer>", ["x", "y"], 1)
UNTAGGED = grade("B", ["x", "y"], 1)


UNREAD = grade("<think>so</think><answer>?</answer>", ["x", "y"], 1)


VALUES = [
    ("paper", [1.0, 0.0, 0.0, -1.0]),
    ("binary", [1.0, 0.0, 0.0, 0.0]),
    ("wrong_penalty", [1.0, -0.5, -0.5, -1.0]),
    ("strict", [1.0, 0.0, 0.0, -1.0]),
    ("format_only", [1.0, 1.0, 1.0, -1.0]),
]
"""Term -> its values for a right, a wrong, an unread and an untagged answer."""


@pytest.mark.parametrize(("name", "values"), VALUES)
def test_what_each_reward_gives(name: str, values: list[float]) -> None:
    assert [load_reward(name)(found) for found in (RIGHT, WRONG, UNREAD, UNTAGGED)] == values


def thinking(think: str, before: str = "", answer: str = "B") -> Grade:
    return grade(f"{before}<think>{think}</think><answer>{answer}</answer>", ["x", "yellow"], 1)


@pytest.mark.parametrize(
    ("term", "found", "value"),
    [
        ("leak_penalty", thinking("a" * 99 + " yellow"), 0.0),
        ("leak_penalty", thinking("a" * 98 + " yellow"), -1.0),
        ("leak_penalty", thinking("yellow", answer="A"), 0.0),  # not what it answers
        ("leak_penalty", thinking("a"), 0.0),
        ("short_cot_penalty", thinking("a" * 199), -1.0),
        ("short_cot_penalty", thinking("a" * 200), 0.0),
        ("short_cot_penalty", UNTAGGED, -1.0),
        ("structure_penalty", thinking("a"), 0.0),
        ("structure_penalty", thinking("a", before=" "), 0.0),
        ("structure_penalty", thinking("a", before="x"), -1.0),
        ("structure_penalty", UNTAGGED, -1.0),
    ],
)
def test_where_each_penalty_begins(term: str, found: Grade, value: float) -> None:
    assert REWARDS[term](found) == value
    paper = load_reward("paper")(found)
    assert load_reward({"paper": 1, term: 0.25})(found) == paper + 0.25 * value


@pytest.mark.parametrize(
    "response",
    [
        "<think><think>so</think><answer>B</answer>",
        "<think>so</think></think><answer>B</answer>",
        "so <think></think><answer>B</answer>",
        "<think>so</think><answer>B</answer><answer>B</answer>",
    ],
)
def test_the_strict_reward_pays_nothing_that_only_the_papers_check_accepts(response: str) -> None:
    found = grade(response, ["x", "y"], 1)
    assert found.valid_format and REWARDS["paper"](found) >= 0
    assert REWARDS["strict"](found) == -1.0


def test_parameters_come_from_the_setting() -> None:
    setting = {"paper": 2, "leak_penalty": {"weight": 0.5, "within_chars": 3}, "wrong_penalty": {"wrong": -0.25}}
    reward = load_reward(setting)
    assert reward(thinking("so yellow", answer="B")) == 2 + 1
    assert reward(thinking("a yellow", answer="B")) == 2 - 0.5 + 1
    assert reward(WRONG) == -0.25
    assert load_reward({"paper": 1, "structure_penalty": {"most_chars": 1}})(thinking("a", before="x")) == 1
    assert load_reward({"paper": 1, "short_cot_penalty": {"least_chars": 2}})(thinking("a")) == 0


def test_the_parts_are_each_terms_share_with_its_weight(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def reward(grade):\n    return grade.think_chars / 8\n")
    reward = load_reward({"paper": 2, "leak_penalty": {"weight": 0.5, "within_chars": 3}, str(file): 4})
    found = thinking("a yellow")
    assert reward.parts(found) == {"paper": 2.0, "leak_penalty": -0.5, "mine": 4.0}
    assert reward(found) == 5.5
    assert reward.parts(UNTAGGED) == {"paper": -2.0, "leak_penalty": 0.0, "mine": 0.0}


def test_two_files_of_one_name_are_rejected(tmp_path: Path) -> None:
    """Their shares are columns of the rollouts, called after the terms."""
    files = [tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text("def reward(grade):\n    return float(grade.correct)\n")
    assert set(load_reward({"binary": 1, str(files[0]): 1}).terms) == {"binary", "mine"}
    with pytest.raises(UserError, match=r"^a\.reward: two terms are called mine; rename one of the files"):
        load_reward({"paper": 1, str(files[0]): 1, str(files[1]): 1}, "a.reward")


@pytest.mark.parametrize("name", ["paper", "random", "graded", "leak_penalty"])
def test_a_file_may_not_have_the_name_of_a_term(tmp_path: Path, name: str) -> None:
    """A file random.py would get a draw as its second argument, and the column of paper.py would be reward_paper."""
    file = tmp_path / f"{name}.py"
    file.write_text("def reward(grade, within=100):\n    return float(grade.correct)\n")
    with pytest.raises(UserError, match=rf"{name}\.py has the name of a term of medrlvr, {name}; rename the file\.$"):
        load_reward(str(file), drawn=True)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"leak_penalty": 1}, "a.reward: leak_penalty alone cannot reward an answer; add a term such as paper: 1"),
        ({"leak_penalty": 1, "structure_penalty": 1}, "a.reward: leak_penalty and structure_penalty alone cannot"),
        ({}, "a.reward: an empty setting alone cannot reward an answer"),
        (
            {"papper": 1},
            "a.reward: there is no reward called 'papper'; choose one of binary, format_only, leak_penalty,",
        ),
        ({"paper": {"wieght": 1}}, "a.reward: paper has no parameter 'wieght'; it has: weight."),
        ({"paper": 1, "leak_penalty": {"chars": 1}}, "leak_penalty has no parameter 'chars'; it has: weight, within_c"),
        ({"paper": 11}, r"a.reward: reward\(grade\) of paper fails: ValueError: .* from -10 to 10, but this is 11"),
        ({"paper": 6, "binary": 6}, r"reward\(grade\) of paper \+ binary fails: ValueError: .*this is 12"),
        ({"paper": 1, "structure_penalty": 10}, r"of paper \+ structure_penalty fails: ValueError: .*this is -11"),
        ({"paper": {"weight": float("nan")}}, r"a.reward: paper is {.*}; its weight must be positive"),
        ({"paper": 0}, r"a.reward: paper is 0; its weight must be positive"),
        ({"paper": 0, "leak_penalty": 1}, r"paper is 0; its weight must be positive"),
        ({"paper": 1, "leak_penalty": -5}, r"leak_penalty is -5; its weight must be positive"),
        ({"paper": 1, "leak_penalty": {"within_chars": float("inf")}}, r"and its parameters finite"),
        ({"wrong_penalty": {"wrong": 1}}, r"a wrong answer would earn 1 and the correct one 1;"),
        ({"wrong_penalty": {"wrong": 5}}, r"a.reward: a wrong answer would earn 5 and the correct one 1;"),
    ],
)
def test_a_mistake_in_a_setting_is_named(setting: Setting, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_reward(setting, "a.reward")


@pytest.mark.parametrize(
    ("setting", "kind", "advice"),
    [
        ("random", "letter", "exists only in training with medrlvr. Choose another reward."),
        ("x", "number", " wrong_penalty, or give the path of a Python file with a function reward(grade)."),
        ("none.py", "letter", "the repository's root, and the path of --reward to the working directory."),
        ({"paper": 11}, "letter", ". Correct the function, or its weight or parameters."),
        (
            {"wrong_penalty": {"wrong": 5}},
            "letter",
            "must earn more. Change the weights or parameters.",
        ),
        ("graded", "text", "Remove this term; docs/grading_kinds.md lists the terms of each kind."),
    ],
)
def test_a_message_ends_with_what_to_do(setting: Setting, kind: Kind, advice: str) -> None:
    with pytest.raises(UserError) as raised:
        load_reward(setting, "a.reward", kind)
    assert str(raised.value).endswith(advice)


def test_a_term_has_the_name_of_its_function_or_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.v2.py").write_text("def reward(grade):\n    return 0.5\n", encoding="utf-8")
    reward = load_reward({"paper": 1, str(tmp_path / "mine.v2.py"): 1})
    assert [*reward.parts(RIGHT)] == ["paper", "mine.v2"]


def test_the_random_reward_depends_on_format_and_draw_alone_and_exists_only_where_draws_do() -> None:
    reward = load_reward("random", drawn=True)
    assert reward.is_drawn and not load_reward("paper", drawn=True).is_drawn
    assert [reward(found, 0.49) for found in (RIGHT, WRONG, UNREAD, UNTAGGED)] == [1, 1, 1, -1]
    assert [reward(found, 0.5) for found in (RIGHT, WRONG, UNREAD, UNTAGGED)] == [0, 0, 0, -1]
    often = load_reward({"random": {"weight": 2, "rate": 0.75}}, drawn=True)
    assert [often(WRONG, draw) for draw in (0.74, 0.75)] == [2, 0]
    assert reward_from_json(reward_to_json("random"), drawn=True)(WRONG, 0.1) == 1
    with pytest.raises(UserError, match=r"^a.reward: random needs an independent draw for each response"):
        load_reward({"paper": 1, "random": 1}, "a.reward")
    with pytest.raises(UserError, match="random has no parameter 'draw'; it has: weight, rate"):
        load_reward({"random": {"draw": 1}}, drawn=True)


def test_a_message_without_a_key_is_about_the_reward() -> None:
    with pytest.raises(UserError, match=r"^reward: there is no reward called 'x'"):
        load_reward("x")


def test_the_limit_itself_is_allowed() -> None:
    assert (checked(10), checked(-10)) == (10.0, -10.0)
    assert load_reward({"paper": 10})(RIGHT) == 10.0


def test_a_file_that_fails_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "assert __name__ == 'mine' and __file__.endswith('mine.py')\n"
        "def reward(grade):\n    return 1 / (grade.think_chars - 3)\n"
    )
    with pytest.raises(ZeroDivisionError) as error:
        load_reward(str(file))(thinking("abc"))
    assert (error.traceback[-1].path, error.traceback[-1].lineno) == (file, 2)


def test_a_value_beyond_the_limit_is_rejected_when_it_occurs(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def reward(grade):\n    return grade.think_chars\n")
    assert load_reward({str(file): 1})(thinking("a" * 10)) == 10
    with pytest.raises(ValueError, match="this is 11"):
        load_reward(str(file))(thinking("a" * 11))


def test_a_setting_is_the_same_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("def reward(grade, bonus=0):\n    return bonus + grade.correct\n")
    monkeypatch.chdir(tmp_path)
    texts = [reward_to_json("mine.py"), reward_to_json({"paper": 1, "mine.py": {"weight": 0.5, "bonus": 1}})]
    monkeypatch.chdir("/")
    assert [reward_from_json(text)(RIGHT) for text in texts] == [1, 2]
    assert reward_from_json(reward_to_json("paper"))(UNTAGGED) == -1


POLICIES = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "rewards.py"))


@pytest.mark.parametrize("name", POLICIES["REWARDS"])
def test_no_policy_beats_honest_answering(name: str) -> None:
    returns = {
        title: POLICIES["expected_return"](POLICIES["REWARDS"][name], policy)
        for title, policy in POLICIES["POLICIES"].items()
    }
    honest = returns.pop(POLICIES["HONEST"])
    assert max(returns.values()) <= honest + 1e-9
    if "format_only" in POLICIES["REWARDS"][name]:
        assert returns["random letter"] == pytest.approx(honest)  # its loophole, as docs/rewards.md explains
    else:
        assert max(returns[policy] for policy in POLICIES["IGNORANT"]) < honest - 0.3


def test_every_shipped_term_is_in_the_table_of_policies() -> None:
    named = {
        term for setting in POLICIES["REWARDS"].values() for term in ([setting] if type(setting) is str else setting)
    }
    assert named == set(REWARDS)
    text = Path("docs/rewards.md").read_text(encoding="utf-8")
    assert POLICIES["table"]() in text
    assert all(f"`{term}`" in text for term in REWARDS)


def test_a_file_can_be_a_reward(tmp_path: Path) -> None:
    file = tmp_path / "harsh.py"
    file.write_text("WRONG = -0.5\n\ndef reward(grade):\n    return 1.0 if grade.correct else WRONG\n")
    assert [load_reward(str(file))(found) for found in (RIGHT, WRONG)] == [1.0, -0.5]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "papper",
            None,
            r"arms.x.reward: there is no reward called 'papper'; choose one of binary, .* or give the path of a Python",
        ),
        ("none.py", None, r"arms.x.reward: the file .*none.py does not exist"),
        ("broken.py", "def reward(:", r"broken.py cannot be loaded: SyntaxError"),
        ("fails.py", "1 / 0", r"fails.py cannot be loaded: ZeroDivisionError"),
        ("other.py", "reward = 1", r"other.py has no function reward\(grade\)"),
        ("two.py", "def reward(grade, other): return 0", r"reward\(grade\) of .*two.py fails: TypeError"),
        ("text.py", "def reward(grade): return 'one'", r"fails: ValueError: a reward must be a number from -10 to 10"),
        ("much.py", "def reward(grade): return 11 * grade.correct", r"from -10 to 10, but this is 11"),
        ("nan.py", "def reward(grade): return float('nan')", r"from -10 to 10, but this is nan"),
    ],
)
def test_an_unusable_reward_is_named(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=message):
        load_reward(str(file) if name.endswith(".py") else name, "arms.x.reward")


def test_a_fingerprint_depends_on_code_and_not_on_comments() -> None:
    code = 'LIMIT = 1\n"""Of it."""\n\ndef f(x):\n    return x > LIMIT\n'
    explained = '"""About."""\n# A remark.\nLIMIT = 1\n\ndef f( x ):\n    """Return."""\n\n    return x > LIMIT  # so\n'
    assert fingerprint(code) == fingerprint(explained)
    assert fingerprint(code) != fingerprint(code.replace("> LIMIT", ">= LIMIT"))
    assert fingerprint(code) != fingerprint(code.replace("= 1", "= 2"))


def test_the_source_of_a_reward_is_its_own_code_alone(tmp_path: Path) -> None:
    assert "def paper(" in reward_source("paper")
    assert "def find" not in reward_source("paper")
    assert reward_source({"binary": 1, "paper": 2}) == f"{reward_source('binary')}\n{reward_source('paper')}"
    file = tmp_path / "mine.py"
    file.write_text("def reward(grade): return 0.0")
    assert reward_source(str(file)) == "def reward(grade): return 0.0"


def test_other_parameters_are_another_run() -> None:
    """A run that was stopped with one reward must not resume with another."""
    settings = ["paper", {"paper": 1}, {"paper": 0.1}, {"wrong_penalty": {"wrong": -0.9}}, "wrong_penalty"]
    judges = [reward_version(setting) for setting in settings]
    assert len({tuple(found) for found in judges}) == len(settings)
    assert reward_version("paper") == judges[0]


def test_the_grader_of_each_kind_has_its_own_fingerprint() -> None:
    of = [grader_version(kinds) for kinds in (["letter"], ["number"], ["text"], ["text", "number"])]
    assert len(set(of)) == len(of)
    assert grader_version() == of[0]
    assert grader_version({"letter", "number"}) == of[1] == reward_version("paper", ["number"])[0]
