from pathlib import Path

import pandas as pd
import pytest

from medrlvr.errors import UserError
from medrlvr.report.readme import BEGIN, END, results_table, splice, summarise_seeds

METRICS = pd.DataFrame(
    [
        {"title": "Toy", "model": "base", "mode": "direct", "n": 4, "accuracy": 0.25},
        {"title": "Toy", "model": "rlvr/seed1", "mode": "chain_of_thought", "n": 4, "accuracy": 0.5},
        {"title": "Toy", "model": "rlvr/seed2", "mode": "chain_of_thought", "n": 4, "accuracy": 1.0},
    ]
).assign(lenient_accuracy=0.5, strict_format=0.75)


def test_the_table_shows_mean_and_range_over_seeds() -> None:
    block = results_table(summarise_seeds(METRICS), {"rlvr/seed1": 0.125})
    assert "| base, direct | 25.0 | no tags asked |" in block
    assert "| rlvr, chain of thought | 75.0 (50.0 to 100.0) | 75.0 (75.0 to 75.0) |" in block
    assert "2 training seeds" in block


def test_splice_replaces_what_stands_between_the_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert splice(readme, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


def test_a_readme_without_markers_is_refused(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing here")
    with pytest.raises(UserError, match=r"README\.md"):
        splice(readme, "new")
