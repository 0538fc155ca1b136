"""Upstream rows become typed questions, or are rejected with an error that names the line."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medrlvr.data import readers
from medrlvr.data.fetch import fetch
from medrlvr.data.questions import QUESTION_SCHEMA, REJECTED_SCHEMA, read_questions, sample, write_table
from medrlvr.data.registry import AnswerColumn, Source, load_registry
from medrlvr.runtime.errors import UserError
from medrlvr.training.inputs import read_training_rows

ROOT = Path(__file__).parents[1]
SOURCES = load_registry(ROOT / "config" / "datasets.tsv")
MIRROR = Path(os.environ.get("MEDRLVR_MIRROR", ROOT.parent / "shared" / "data"))
needs_mirror = pytest.mark.skipif(not MIRROR.is_dir(), reason="no mirror folder (variable MEDRLVR_MIRROR)")

GOOD = {
    "question": "Which one?",
    "options": {"A": "this", "B": "that"},
    "answer_idx": "B",
    "answer": "that",
    "meta_info": "step1",
}


def row_of(split: str, rows: int) -> Source:
    """The registry's row of original MedQA, for a file of `rows` rows."""
    return SOURCES[f"medqa/{split}"].model_copy(update={"rows": rows, "faults": {}})


def counted(form: str, rows: int) -> Source:
    return row_of("test", rows).model_copy(update={"answer": (AnswerColumn(column="cop", form=form),), "check": None})


def json_lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_becomes_a_question(tmp_path: Path) -> None:
    path = json_lines(tmp_path / "raw.jsonl", GOOD, {**GOOD, "answer_idx": "A", "answer": "this"})
    questions, rejected = read_questions(path, row_of("train", 2), none_of_the_above=False)
    assert rejected.empty
    assert questions.to_dict("records")[1] == {
        "question_id": "medqa/train/2",
        "dataset": "medqa",
        "split": "train",
        "stem": "Which one?",
        "options": ["this", "that"],
        "gold": 0,
        "source_file": "data_clean/questions/US/train.jsonl",
        "source_line": 2,
        "meta": '{"meta_info": "step1"}',
    }


def test_none_of_the_above_is_the_last_option(tmp_path: Path) -> None:
    questions, _ = read_questions(json_lines(tmp_path / "raw.jsonl", GOOD), row_of("dev", 1), none_of_the_above=True)
    assert questions.options[0] == ["this", "that", "None of the above"]
    assert questions.gold[0] == 1


UNUSABLE = [
    ({"answer_idx": "C"}, "answer 'C' is not among the options"),
    ({"answer_idx": "A"}, "answer_idx and answer disagree"),
    ({"options": {"A": "that ", "B": "that"}}, "duplicate options"),
    ({"options": {"A": " ", "B": "that"}}, "empty option"),
    ({"options": {"B": "that"}}, "neither a list of texts"),
    ({"options": {"A": "that"}, "answer_idx": "A"}, "1 options"),
    ({"question": "  "}, "empty stem"),
    ({"question": 5}, "the stem is not text"),
    ({"question": "\ud83d"}, "the stem is not text"),
    ({"options": {"A": "\ud83d", "B": "that"}}, "neither a list of texts"),
]


@pytest.mark.parametrize(("change", "reason"), UNUSABLE)
def test_an_unusable_training_row_is_rejected_with_its_reason(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    path = json_lines(tmp_path / "raw.jsonl", GOOD, {**GOOD, **change})
    questions, rejected = read_questions(path, row_of("train", 2), none_of_the_above=False)
    assert questions.question_id.tolist() == ["medqa/train/1"]
    assert rejected.source_line.tolist() == [2]
    assert reason in rejected.reason[0]


def test_a_row_that_is_scored_is_kept_and_flagged(tmp_path: Path) -> None:
    path = json_lines(tmp_path / "raw.jsonl", {**GOOD, "answer": "this"})
    questions, rejected = read_questions(path, row_of("test", 1), none_of_the_above=False)
    assert rejected.empty
    assert questions.gold.tolist() == [1]
    assert json.loads(questions.meta[0])["flags"] == ["answer_idx and answer disagree"]


@pytest.mark.parametrize(
    "change", [{"question": ["x"]}, {"options": [str(i) for i in range(12)], "answer_idx": "A", "answer": "0"}]
)
def test_a_scored_row_without_text_or_answer_is_rejected(tmp_path: Path, change: dict[str, Any]) -> None:
    path = json_lines(tmp_path / "raw.jsonl", {**GOOD, **change})
    with pytest.raises(UserError, match=r"raw.jsonl, line 1: .*A row that is scored needs text and a readable answer"):
        read_questions(path, row_of("test", 1), none_of_the_above=False)


def test_a_file_without_a_usable_row_is_rejected(tmp_path: Path) -> None:
    path = json_lines(tmp_path / "raw.jsonl", *[{**GOOD, "answer_idx": "b"}] * 2)
    with pytest.raises(
        UserError, match=r"none of the 2 rows can be used. The first is line 1: answer 'b' is not among"
    ):
        read_questions(path, row_of("dev", 2).model_copy(update={"role": "train"}), none_of_the_above=False)


def test_a_fault_of_a_line_that_does_not_exist_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lists a fault in line 5804, but no question is read from this line"):
        read_questions(json_lines(tmp_path / "raw.jsonl", GOOD), SOURCES["medqa/train"], none_of_the_above=False)


def test_kept_columns_are_json_whatever_they_hold(tmp_path: Path) -> None:
    rows = [{**GOOD, "meta_info": value} for value in (float("nan"), 1.5)]
    path = parquet(tmp_path / "raw.parquet", rows)
    questions, _ = read_questions(path, row_of("test", 2), none_of_the_above=False)
    assert questions.meta.tolist() == ['{"meta_info": null}', '{"meta_info": 1.5}']
    day = parquet(tmp_path / "day.parquet", [{**GOOD, "meta_info": datetime(2026, 11, 21)}])
    questions, _ = read_questions(day, row_of("test", 1), none_of_the_above=False)
    assert questions.meta.tolist() == ['{"meta_info": "2026-11-21 00:00:00"}']


def test_a_row_that_is_scored_needs_an_answer(tmp_path: Path) -> None:
    path = json_lines(tmp_path / "raw.jsonl", GOOD, {**GOOD, "answer_idx": "E"})
    with pytest.raises(UserError, match=r"raw.jsonl, line 2: answer 'E' is not among the options"):
        read_questions(path, row_of("test", 2), none_of_the_above=False)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{not json}", "line 2: this is not JSON"),
        (b"null", "line 2: this is not a JSON object that contains question"),
        (b"[1]", "line 2: this is not a JSON object that contains question"),
        (b'{"question": "caf\xe9"}', "line 2: this is not UTF-8"),
        (
            json.dumps({key: GOOD[key] for key in GOOD if key != "answer_idx"}).encode(),
            "line 2: this is not a JSON object that contains answer_idx",
        ),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "raw.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + line + b"\n")
    with pytest.raises(UserError, match=rf"raw.jsonl, {message}"):
        read_questions(path, row_of("train", 2), none_of_the_above=False)


ANSWER_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "a list, and the answer's letter": ("raw.jsonl", {"options": ["this", "that"], "answer": "B"}),
    "an object, and the answer's text": ("raw.json", {"options": {"A": "this", "B": "that"}, "answer": "that"}),
    "columns, and the answer's index": ("raw.json", {"a": "this", "b": "that", "c": None, "answer": 1}),
    "columns of CSV, and the answer's index": ("raw.csv", {"a": "this", "b": "that", "c": "", "answer": 1}),
    "columns of CSV, and the answer's letter": ("raw.csv", {"a": "this", "b": "that", "c": "", "answer": "B"}),
    "columns of parquet, and the answer's index": ("raw.parquet", {"a": "this", "b": "that", "c": None, "answer": 1}),
    "a list of parquet, and a float that is the index": ("raw.parquet", {"options": ["this", "that"], "answer": 1.0}),
}


@pytest.mark.parametrize("form", ANSWER_FORMATS)
def test_a_data_set_is_a_row_of_the_registry(tmp_path: Path, form: str) -> None:
    name, cells = ANSWER_FORMATS[form]
    rows = [{"text": "One,\nor two?", **cells}, {"text": "Or \u201cthree\u201d?", **cells}]
    if name.endswith(".csv"):
        pd.DataFrame(rows).to_csv(tmp_path / name, index=False)
    elif name.endswith(".parquet"):
        parquet(tmp_path / name, rows)
    else:
        lines = [json.dumps(row) for row in rows]
        text = "\n".join(lines) if name.endswith(".jsonl") else f"\ufeff[{', '.join(lines)}]"
        (tmp_path / name).write_text(text, encoding="utf-8")
    header = (ROOT / "config" / "datasets.tsv").read_text(encoding="utf-8").splitlines()[0]
    cells_of = dict.fromkeys(header.split("\t"), "-") | {
        "dataset": "exam",
        "split": "test",
        "role": "test",
        "home": "local",
        "status": "unverified",
        "file": name,
        "mirror_file": name,
        "hash": f"sha256:{'0' * 64}",
        "rows": "2",
        "stem": "text",
        "options": "options" if "options" in cells else "a,b,c",
        "answer": f"answer:{form.split()[-1]}",
        "licence": "MIT",
        "citation": "nobody",
    }
    (tmp_path / "datasets.tsv").write_text(f"{header}\n" + "\t".join(cells_of.values()) + "\n", encoding="utf-8")
    source = load_registry(tmp_path / "datasets.tsv")["exam/test"]
    questions, _ = read_questions(tmp_path / name, source, none_of_the_above=False)
    assert questions.stem.tolist() == ["One,\nor two?", "Or \u201cthree\u201d?"]
    assert questions.options.tolist() == [["this", "that"]] * 2
    assert questions.gold.tolist() == [1, 1]
    # The first cell of CSV goes over two lines, below the header.
    assert questions.source_line.tolist() == ([2, 4] if name.endswith(".csv") else [1, 2])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "raw.csv",
            b"question,options\n",
            r"raw.csv, line 1: there is no column answer_idx, .*; existing columns: question, options",
        ),
        (
            "raw.csv",
            b"question,options,answer_idx,answer,meta_info\na,b,c,d,e\na,b\n",
            r"line 3: this row has 2 cells, but there are 5",
        ),
        ("raw.csv", b"question,options,answer_idx,answer,meta_info\na,b,c,d,\xff\n", r"line 2: this is not UTF-8"),
        ("raw.csv", b'question,options,answer_idx,answer,meta_info\na,b,c,d,"e\n', r"line 2: this is not CSV: unexpec"),
        ("raw.json", b'[\n{},\n{"a"}\n]', r"raw.json, line 3: this is not JSON"),
        ("raw.json", b'{"data": []}', r"raw.json, line 1: this is not a JSON object that contains question"),
        ("raw.csv", b"question,question\n", r"line 1: two columns have the same name"),
        ("raw.jsonl", b"[" * 100_000, r"line 1: the JSON is nested too deeply"),
        ("raw.json", b"[" * 100_000, r"raw.json: the JSON is nested too deeply"),
        (
            "raw.jsonl",
            b'{"question": ' + b"1" * 5000 + b"}",
            r"line 1: a value cannot be read: Exceeds",
        ),
        ("raw.json", b'[{"question": ' + b"1" * 5000 + b"}]", r"raw.json: a value cannot be read: Exceeds the limit"),
        ("raw.json", b'[{"question": "?"}]', r"raw.json, object 1: this is not a JSON object that contains options"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_questions(tmp_path / name, row_of("train", 2), none_of_the_above=False)


def test_a_known_fault_is_not_trained_on(tmp_path: Path) -> None:
    """Line 5804 of MedQA's training files reads well and asks about a patient who is not described."""
    known = {name: source.faults for name, source in SOURCES.items() if source.faults}
    assert {name: list(faults) for name, faults in known.items()} == {
        "medqa/train": [5804],
        "medqa_4_options/train": [5804],
    }
    path = json_lines(tmp_path / "raw.jsonl", *[GOOD] * 5804)
    source = SOURCES["medqa/train"].model_copy(update={"rows": 5804})
    questions, rejected = read_questions(path, source, none_of_the_above=False)
    assert len(questions) == 5803
    assert rejected[["question_id", "source_line"]].values.tolist() == [["medqa/train/5804", 5804]]
    assert "vignette is missing" in rejected.reason[0]


def test_another_number_of_rows_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the file has 1 rows, but .* expects 1273 for medqa/test"):
        read_questions(json_lines(tmp_path / "raw.jsonl", GOOD), SOURCES["medqa/test"], none_of_the_above=False)


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_parquet_with_lists_indices_and_a_filter(tmp_path: Path) -> None:
    row = {
        "question": "Which?",
        "options": ["x", "y", "z"],
        "answer": "C",
        "answer_index": 2,
        "question_id": 7,
        "src": "s",
    }
    path = parquet(tmp_path / "raw.parquet", [{**row, "category": "law"}, {**row, "category": "health"}])
    source = SOURCES["mmlu_pro_health/test"].model_copy(update={"rows": 1})
    questions, _ = read_questions(path, source, none_of_the_above=False)
    assert questions.question_id.tolist() == ["mmlu_pro_health/test/2"]
    assert (questions.gold[0], questions.options[0]) == (2, ["x", "y", "z"])
    assert json.loads(questions.meta[0]) == {"question_id": 7, "src": "s"}


def test_parquet_with_letters_that_a_row_lacks(tmp_path: Path) -> None:
    four = {**GOOD, "options": {"A": "this", "B": "that", "C": "those"}}
    path = parquet(tmp_path / "raw.parquet", [GOOD, four])
    questions, _ = read_questions(path, row_of("train", 2), none_of_the_above=False)
    assert questions.options.tolist() == [["this", "that"], ["this", "that", "those"]]


def test_bad_parquet_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"raw.parquet: there is no column answer_idx, meta_info, answer; existing columns: question, opt",
    ):
        read_questions(
            parquet(tmp_path / "raw.parquet", [{"question": "?", "options": ["a"]}]), row_of("dev", 1), False
        )
    (tmp_path / "page.parquet").write_text("<html>404</html>")
    with pytest.raises(UserError, match=r"page.parquet: this is not a readable parquet file"):
        read_questions(tmp_path / "page.parquet", row_of("dev", 1), none_of_the_above=False)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    path = json_lines(tmp_path / "raw.jsonl", GOOD, {**GOOD, "answer_idx": "E"})
    for run in ("first", "second"):
        questions, rejected = read_questions(path, row_of("train", 2), none_of_the_above=False)
        write_table(tmp_path / run / "questions.parquet", questions, QUESTION_SCHEMA)
        write_table(tmp_path / run / "rejected.parquet", rejected, REJECTED_SCHEMA)
    for name in ("questions.parquet", "rejected.parquet"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert pq.read_schema(tmp_path / "first" / "questions.parquet").equals(QUESTION_SCHEMA)


def test_an_empty_table_keeps_its_schema(tmp_path: Path) -> None:
    write_table(tmp_path / "rejected.parquet", pd.DataFrame(columns=REJECTED_SCHEMA.names), REJECTED_SCHEMA)
    assert pq.read_schema(tmp_path / "rejected.parquet").equals(REJECTED_SCHEMA)


def test_a_draw_is_seeded_ordered_and_nested() -> None:
    questions = pd.DataFrame({"question_id": [f"medqa/test/{line}" for line in range(1, 101)]})
    ten, twenty = (sample(questions, rows, seed=1).question_id.tolist() for rows in (10, 20))
    assert len(ten) == 10
    assert set(ten) < set(twenty)
    assert twenty == [name for name in questions.question_id if name in twenty]
    assert sample(questions, 10, seed=2).question_id.tolist() != ten
    # A pinned draw: another platform or version has to make the same one.
    assert [int(name.rpartition("/")[2]) for name in ten] == [16, 19, 29, 49, 53, 55, 76, 81, 89, 99]
    assert sample(questions, None, seed=1).equals(questions)
    with pytest.raises(UserError, match=r"200 rows are requested, but there are only 100"):
        sample(questions, 200, seed=1)


LETTERS_OF = {
    "medqa/test": [273, 277, 252, 269, 202],
    "medqa_4_options/dev": [330, 316, 352, 274],
    "medqa_4_options/test": [353, 309, 346, 265],
}


@needs_mirror
@pytest.mark.parametrize("name", [*LETTERS_OF, "medqa/dev", "medqa_4_options/train_partial"])
def test_the_real_medqa(tmp_path: Path, name: str) -> None:
    source = SOURCES[name]
    raw = tmp_path / source.raw_file
    fetch(source, raw, MIRROR)
    questions, rejected = read_questions(raw, source, none_of_the_above=False)
    assert len(questions) + len(rejected) == source.rows
    assert rejected.reason.tolist() == (["duplicate options"] * 2 if source.role == "train" else [])
    assert not questions.meta.str.contains("flags").any()
    if name in LETTERS_OF:
        assert questions.gold.value_counts().sort_index().tolist() == LETTERS_OF[name]


@needs_mirror
def test_the_real_mmlu_pro(tmp_path: Path) -> None:
    source, whole = SOURCES["mmlu_pro_health/test"], SOURCES["mmlu_pro/test"]
    fetch(source, tmp_path / "raw.parquet", MIRROR)
    health, _ = read_questions(tmp_path / "raw.parquet", source, none_of_the_above=False)
    assert len(health) == 818
    assert not health.meta.str.contains("flags").any()
    sizes = {10: 597, 9: 67, 8: 42, 7: 21, 6: 8, 5: 8, 4: 72, 3: 3}
    assert health.options.map(len).value_counts().to_dict() == sizes
    everything, _ = read_questions(tmp_path / "raw.parquet", whole, none_of_the_above=False)
    odd = [json.loads(meta)["question_id"] for meta in everything.meta if "disagree" in meta]
    assert odd == [3983]


def test_only_a_line_feed_ends_a_line_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    """U+2028, U+2029 and U+0085 are allowed in JSON text; one question of MMLU-Pro contains such a character."""
    stem = "one\u2028two\u2029three\u0085four"
    path = tmp_path / "raw.jsonl"
    text = json.dumps({**GOOD, "question": stem}, ensure_ascii=False)
    path.write_text(f"{text}\n\n{text}\n\n", encoding="utf-8")
    table, rejected = read_questions(path, row_of("train", 2), False)
    assert table["stem"].tolist() == [stem, stem] and table["source_line"].tolist() == [1, 3]
    assert rejected.empty
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"input": stem}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_training_rows(rows, ["input"]) == [{"input": stem}]


def test_blank_lines_of_csv_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "raw.csv"
    path.write_text('a,b\n1,2\n\n"3\n3",4\n\n', encoding="utf-8")
    assert list(readers.read_rows(path, ["a"])) == [(2, {"a": "1", "b": "2"}), (4, {"a": "3\n3", "b": "4"})]


def test_json_lines_may_have_the_suffix_json(tmp_path: Path) -> None:
    path = tmp_path / "raw.json"
    path.write_text('{"a": 1}\n{"a": 2}\n', encoding="utf-8")
    assert [row for _, row in readers.read_rows(path, ["a"])] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("options", [["AA", "Aa", "aa"], ["5 mg", "5 Mg"], ["10\u2074", "104"], ["\u00bd", "1\u20442"]])
def test_options_that_differ_in_case_or_form_are_not_duplicates(tmp_path: Path, options: list[str]) -> None:
    cells = dict(zip("ABC", options, strict=False))
    path = json_lines(tmp_path / "raw.jsonl", {**GOOD, "options": cells, "answer_idx": "A", "answer": options[0]})
    table, rejected = read_questions(path, row_of("train", 1), False)
    assert len(table) == 1 and rejected.empty


@pytest.mark.parametrize("cells", [[1, 2, 4, 3], ["1", "2", "4"], [1, 2, 3] * 20])
def test_an_index_that_counts_from_1_is_rejected_and_can_be_registered(tmp_path: Path, cells: list[Any]) -> None:
    rows = [{**GOOD, "options": dict(zip("ABCD", "wxyz", strict=True)), "cop": cell} for cell in cells]
    path = json_lines(tmp_path / "raw.jsonl", *rows)
    with pytest.raises(UserError, match=r"write cop:index_from_1 in the column answer"):
        read_questions(path, counted("index", len(cells)), False)
    table, _ = read_questions(path, counted("index_from_1", len(cells)), False)
    assert table["gold"].tolist() == [int(cell) - 1 for cell in cells]


@pytest.mark.parametrize("cells", [[0, 3, 1], ["0", "1"], [1, 2, 3]])
def test_an_index_that_counts_from_0_is_read(tmp_path: Path, cells: list[Any]) -> None:
    rows = [{**GOOD, "options": dict(zip("ABCD", "wxyz", strict=True)), "cop": cell} for cell in cells]
    path = json_lines(tmp_path / "raw.jsonl", *rows)
    table, _ = read_questions(path, counted("index", len(cells)), False)
    assert table["gold"].tolist() == [int(cell) for cell in cells]


def test_a_row_without_options_does_not_make_a_column_count_from_1(tmp_path: Path) -> None:
    rows = [{**GOOD, "options": dict(zip("ABCD", "wxyz", strict=True)), "cop": cell} for cell in (0, 1, 2, 3)]
    path = json_lines(tmp_path / "raw.jsonl", *rows, {**GOOD, "options": None, "cop": 0})
    train = row_of("train", 5).model_copy(update={"answer": (AnswerColumn(column="cop", form="index"),), "check": None})
    table, rejected = read_questions(path, train, False)
    assert table["gold"].tolist() == [0, 1, 2, 3] and len(rejected) == 1
