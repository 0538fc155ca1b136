import ast
import inspect
from pathlib import Path

import pandas as pd
import pytest

from medrlvr.data import worked_examples
from medrlvr.data.miniature import corpus
from medrlvr.data.prompts import Renderer
from medrlvr.reference.markdown import splice
from medrlvr.reference.readme import choose_example, example_text, shorten, write_readme
from medrlvr.reference.runs import PARTS
from medrlvr.report.cost import phase_seconds, read_jobs
from medrlvr.runtime.errors import UserError


def scores(*rows: tuple[bool, bool, str]) -> pd.DataFrame:
    """Return scores of one model: correct, lenient_correct and response of each question."""
    table = pd.DataFrame(rows, columns=["correct", "lenient_correct", "response"])
    table["question_id"] = [f"q/{row}" for row in range(len(rows))]
    table["letter"] = ["B" if correct else None for correct in table["correct"]]
    return table.assign(lenient_letter="B", gold_named_at=None)


def test_the_example_is_the_first_question_with_the_most_frequent_outcome() -> None:
    before = scores((True, True, "a"), (False, True, "b"), (False, True, "c"))
    after = scores((True, True, "d"), (True, True, "e"), (True, True, "f")).iloc[::-1]
    example = choose_example(before, after)
    assert (example.question_id, example.same, example.n) == ("q/1", 2, 3)
    assert (example.before["response"], example.after["response"]) == ("b", "e")


def test_an_example_has_response_and_verdicts_and_its_fence_holds() -> None:
    example = choose_example(scores((False, True, "It is\n B. ```")), scores((True, True, "<answer>B</answer>")))
    question = {"stem": "Which?", "options": ["iron", "zinc"], "gold": 1}
    assert example_text(example, question).splitlines() == [
        "````text",
        "Question  Which?",
        "          A. iron  B. zinc",
        "          correct: B",
        "",
        "Before    It is B. ```",
        "          required format: no letter, wrong",
        "          any readable letter: B, correct",
        "",
        "After     <answer>B</answer>",
        "          required format: B, correct",
        "          any readable letter: B, correct",
        "````",
    ]


def test_the_example_shows_start_and_end_of_a_long_response() -> None:
    assert shorten("a" * 1000 + "b" * 1012, 20) == "aaaaaaaaaa [... 1,992 characters ...] bbbbbbbbbb"
    assert shorten(" a\n b ", 20) == "a b"


def test_stage_times_are_of_one_seed(tmp_path: Path) -> None:
    times = {"data/find": 1, "prompts/render": 2, "models/base": 3}
    times |= {"checkpoints/rlvr/seed1": 10, "checkpoints/rlvr/seed2": 20, "checkpoints/sft/seed1/lr1e-05": 8}
    times |= {"development/rlvr/seed1": 1, "models/rlvr/seed1": 1}
    times |= {"eval/base/score": 4, "eval/rlvr/seed1/score": 5, "eval/rlvr/seed2/score": 7}
    for name, seconds in times.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.tsv").write_text(f"s\tmax_rss\tmean_load\n{seconds}\t1\t100\n")
    assert phase_seconds(read_jobs(tmp_path)).to_dict() == {
        "answers and scores": 12,
        "data and prompts": 6,
        "training rlvr": 15,
        "training sft": 8,
    }


def test_splice_replaces_what_is_between_the_markers_of_a_name(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    other = "<!-- other: begin -->\nx\n<!-- other: end -->"
    readme.write_text(f"before\n<!-- times: begin -->\nold\n<!-- times: end -->\nafter\n{other}\n")
    expected = f"before\n<!-- times: begin -->\nnew\n<!-- times: end -->\nafter\n{other}\n"
    assert splice(readme, "times", "new") == expected


def test_the_readme_has_the_numbers_of_the_shipped_runs(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    text = Path("README.md").read_text(encoding="utf-8")
    copy.write_text(splice(Path("README.md"), "results", "old"), encoding="utf-8")
    write_readme(copy, PARTS[0])
    assert copy.read_text(encoding="utf-8") == text, "Run make reference ARGS='--runs 0' and commit README.md."


def test_a_readme_without_markers_is_rejected(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing here")
    with pytest.raises(UserError, match=r"README\.md"):
        splice(readme, "results", "new")


@pytest.mark.parametrize("name", ["results", "times"])
def test_the_readme_has_a_place_for_each_block(name: str) -> None:
    assert splice(Path("README.md"), name, "new")


def test_the_document_states_how_the_base_was_pretrained_as_the_code_does_it() -> None:
    document = " ".join(Path("docs/miniature.md").read_text(encoding="utf-8").split())
    renderer = Renderer("prompts/question.txt", direct="prompts/direct.txt", chain_of_thought="prompts/med_rlvr.txt")
    shares = [f"{100 * share:.0f} %" for share, _ in corpus.phases(renderer, "many", seed=1)]
    assert "binding ({} of the steps), answering ({}) and everything ({})".format(*shares) in document
    assert corpus.RIGHT == 0.8 and "Four fifths are written with the correct letter" in document
    assert "*many*, 15 % of the last phase, and *few*, a third of that" in document
    assert corpus.DIRECT == {"few": 1 / 3, "many": 1.0}
    code = inspect.getsource(corpus)
    for number in ("(0.15 * factor, direct)", "(0.50, worked)"):
        assert number in code
    assert worked_examples.TAGGED == 0.2
    assert "half of the last phase. Four fifths have no tags" in document


@pytest.mark.parametrize("program", sorted([*Path("benchmarks").glob("*.py"), Path("tests/peer/compare.py")]), ids=str)
def test_programs_that_write_a_block_name_the_document_the_block_and_its_text(program: Path) -> None:
    """They run by hand and rarely, so a changed signature would go unnoticed."""
    for node in ast.walk(ast.parse(program.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "splice":
            inspect.signature(splice).bind(*node.args)
