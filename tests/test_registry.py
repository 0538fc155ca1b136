"""The registry of data sets."""

from pathlib import Path

import pytest

from medrlvr.data.registry import find, load_registry
from medrlvr.runtime.errors import UserError

REGISTRY = Path(__file__).parents[1] / "config" / "datasets.tsv"


def edited(tmp_path: Path, dataset: str, column: str, cell: str) -> Path:
    """Write the registry with one cell of the first row of a data set changed."""
    header, *rows = (line.split("\t") for line in REGISTRY.read_text(encoding="utf-8").splitlines())
    row = next(row for row in rows if row[0] == dataset)
    row[header.index(column)] = cell
    path = tmp_path / "datasets.tsv"
    path.write_text("\n".join("\t".join(row) for row in [header, *rows]) + "\n", encoding="utf-8")
    return path


def test_registry_has_the_published_sizes() -> None:
    sources = load_registry(REGISTRY)
    published = {"medqa/train": 10178, "medqa/dev": 1272, "medqa/test": 1273, "mmlu_pro_health/test": 818}
    assert {name: sources[name].rows for name in published} == published
    assert sources["mmlu_pro_health/test"].filter == {"category": ("health",)}
    assert sources["medqa_4_options/train_partial"].raw_file == "medqa_4_options/train_partial.parquet"
    assert sources["miniature_pairs/test"].generated


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("hash", "sha256:12", r"line 2 \(medqa/train\): column hash"),
        ("hash", "-", "hash: must not be empty, because the file comes from bigbio/med_qa"),
        ("revision", "-", "revision: must not be empty"),
        ("rows", "many", r"column rows: .* \(cell: 'many'\)"),
        ("role", "exam", "column role"),
        ("answer", "answer_idx", "column answer"),
        ("filter", "category", "a filter must have the form column=value"),
        ("faults", "5804", "a fault must have the form line:reason"),
        ("faults", "5:a;5:b", "one line has two faults"),
        ("status", "verified-", "column status"),
        ("status", "unpinned", "the status unpinned is for rows without a hash"),
        ("options", "a,,b", "column options"),
        ("licence", "", "column licence"),
        ("member", "train.xlsx", "train.xlsx: the format is not supported; use one of .jsonl, .json, .csv, .parquet"),
        ("home", "https://example.org", "column home"),
        ("split", "dev", r"line 3: medqa/dev already has a row"),
    ],
)
def test_a_bad_cell_is_named_with_line_and_column(tmp_path: Path, column: str, cell: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_registry(edited(tmp_path, "medqa", column, cell))


def test_a_bad_header_or_row_length_is_named(tmp_path: Path) -> None:
    path = tmp_path / "datasets.tsv"
    lines = REGISTRY.read_text(encoding="utf-8").splitlines()
    path.write_text(lines[0].replace("licence", "license") + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 1: .*Missing columns: licence\. Unknown columns: license\."):
        load_registry(path)
    path.write_text(f"{lines[0]}\nmedqa\ttrain\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 2: this row has 2 cells, but"):
        load_registry(path)
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"not UTF-8"):
        load_registry(path)
    with pytest.raises(UserError, match=r"does not exist"):
        load_registry(tmp_path / "nothing.tsv")


def test_an_unknown_data_set_is_reported_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no data set 'medqa/exam'.*medqa/dev"):
        find(load_registry(REGISTRY), "medqa/exam")


def test_verified_is_a_commit_and_not_a_branch(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"verified requires a commit"):
        load_registry(edited(tmp_path, "mmlu_pro_health", "status", "verified"))
    assert load_registry(edited(tmp_path, "medqa", "status", "verified"))["medqa/train"].status == "verified"


def test_a_byte_order_mark_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    text = Path("config/datasets.tsv").read_text(encoding="utf-8")
    file = tmp_path / "datasets.tsv"
    file.write_text("\ufeff" + text.replace("\n", "\n\n", 2) + "\n\n", encoding="utf-8")
    assert load_registry(file) == load_registry("config/datasets.tsv")
