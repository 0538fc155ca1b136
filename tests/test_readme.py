import ast
import inspect
from pathlib import Path

import pandas as pd
import pytest

from medrlvr.report.cost import phase_seconds, read_jobs
from medrlvr.report.readme import results_table, splice, summarise_seeds
from medrlvr.runtime.errors import UserError

METRICS = pd.DataFrame(
    [
        {"title": "Toy", "model": "base", "mode": "direct", "n": 4, "accuracy": 0.25},
        {"title": "Toy", "model": "base", "mode": "chain_of_thought", "n": 4, "accuracy": 0.0},
        {"title": "Toy", "model": "rlvr/seed1", "mode": "chain_of_thought", "n": 4, "accuracy": 0.5},
        {"title": "Toy", "model": "rlvr/seed2", "mode": "chain_of_thought", "n": 4, "accuracy": 1.0},
    ]
).assign(lenient_accuracy=0.5, strict_format=0.75)


def test_the_table_shows_mean_and_range_over_seeds() -> None:
    block = results_table(summarise_seeds(METRICS), pd.Series([True, False, False, False]))
    assert "| base, direct | 25.0 | no tags requested |" in block
    assert "| rlvr, chain of thought | 75.0 (50.0 to 100.0) | 75.0 (75.0 to 75.0) |" in block
    assert "2 training seeds" in block
    assert "`rlvr_dev` is the checkpoint with the best development accuracy" in block
    assert "the strict format in 25 % of 4 responses" in block
    assert "its greedy chain of thought is right on 50.0 % of the questions" in block


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


def test_a_readme_without_markers_is_refused(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing here")
    with pytest.raises(UserError, match=r"README\.md"):
        splice(readme, "results", "new")


@pytest.mark.parametrize("name", ["results", "times"])
def test_the_readme_has_a_place_for_each_block(name: str) -> None:
    assert splice(Path("README.md"), name, "new")


@pytest.mark.parametrize("program", sorted([*Path("benchmarks").glob("*.py"), Path("tests/peer/compare.py")]), ids=str)
def test_programs_that_write_a_block_name_the_document_the_block_and_its_text(program: Path) -> None:
    """They run by hand and rarely, so a changed signature would go unnoticed."""
    for node in ast.walk(ast.parse(program.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "splice":
            inspect.signature(splice).bind(*node.args)
