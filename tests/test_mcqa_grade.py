"""MCQA-Grade: its file, and that our grader agrees with its labels as docs/mcqa_grade.md states."""

import importlib.util
import json
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from medrlvr.grading.grader import grade
from medrlvr.grading.letters import LETTERS
from medrlvr.runtime.errors import UserError

FOLDER = Path("data/mcqa_grade")
CASES = [json.loads(line) for line in (FOLDER / "mcqa_grade.jsonl").read_text(encoding="utf-8").splitlines()]
EXCEPTIONS = [line.split("\t") for line in (FOLDER / "exceptions.tsv").read_text(encoding="utf-8").splitlines()[1:]]
DOCUMENT = Path("docs/mcqa_grade.md").read_text(encoding="utf-8")
COLUMNS = ["id", "kind", "question", "options", "response", "finish_reason", "strict", "lenient", "meant", "reason"]
READINGS = {"strict": "letter", "lenient": "lenient_letter"}
BY_ID = {case["id"]: case for case in CASES}


def masked(response: str, options: list[str]) -> str:
    """Return a response with option texts and single letters replaced, without case and runs of white space."""
    for option in sorted(options, key=len, reverse=True):
        if len(option) > 1:
            response = re.sub(rf"(?<!\w){re.escape(option)}(?!\w)", "#", response, flags=re.IGNORECASE)
    return " ".join(re.sub(r"(?<!\w)[A-Ka-k](?!\w)", "_", response).casefold().split())


def readings(case: dict) -> dict[str, str | None]:
    found = grade(case["response"], case["options"], 0, truncated=case["finish_reason"] == "length")
    return {column: getattr(found, field) for column, field in READINGS.items()}


def test_every_case_has_the_columns_and_possible_letters() -> None:
    assert len(CASES) >= 1000
    for case in CASES:
        assert list(case) == [*COLUMNS, "reader", "license"], case["id"]
        allowed = {None, *LETTERS[: len(case["options"])]}
        assert {case["strict"], case["lenient"], case["meant"]} <= allowed, case["id"]
        assert case["reader"] in allowed | {"none"}, case["id"]
        assert case["finish_reason"] in ("stop", "length"), case["id"]
        assert case["license"] == "CC-BY-4.0"
        assert case["question"].strip() and case["reason"].endswith((".", '."')) and isinstance(case["response"], str)
        assert 2 <= len(case["options"]) == len(set(case["options"])) <= len(LETTERS)
        # A letter in the required format is a readable letter.
        assert case["strict"] in (None, case["lenient"]), case["id"]


def test_ids_name_the_kind_and_are_unique() -> None:
    assert len(BY_ID) == len(CASES)
    assert all(re.fullmatch(rf"{case['kind']}-\d{{3}}", case["id"]) for case in CASES)


def test_no_two_responses_are_equal_once_masked() -> None:
    seen: dict[str, str] = {}
    for line in Path("tests/golden/grades.jsonl").read_text(encoding="utf-8").splitlines():
        golden = json.loads(line)
        seen[masked(golden["response"], golden["options"])] = "golden"
    same = [
        (case["id"], seen.get(text))
        for case in CASES
        if seen.setdefault(text := masked(case["response"], case["options"]), case["id"]) != case["id"]
    ]
    assert same == []


def test_the_mask_hides_letters_and_texts_only() -> None:
    assert masked("The answer is (B), Zinc\n", ["iron", "zinc"]) == masked("The answer is (a), iron", ["iron", "zinc"])
    assert masked("Answer: B", ["iron", "zinc"]) != masked("Choose B", ["iron", "zinc"])


def test_kinds_and_answers_are_balanced() -> None:
    kinds = Counter(case["kind"] for case in CASES)
    assert len(kinds) >= 15 and max(kinds.values()) < 1.6 * min(kinds.values())
    for kind in kinds.keys() - {"format"}:
        meant = [case["meant"] is not None for case in CASES if case["kind"] == kind]
        assert sum(meant) > 0, kind
    letters = Counter(case["meant"] for case in CASES)
    assert all(letters[letter] >= 10 for letter in "ABCDH") and letters[None] >= 200


def test_every_kind_has_long_responses() -> None:
    long = [case for case in CASES if 600 <= len(case["response"]) <= 2000]
    assert len(long) >= 40 and {case["kind"] for case in long} == {case["kind"] for case in CASES}
    assert sum("<answer>" not in case["response"] for case in long) > len(long) / 2
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    lengths = sorted(len(case["response"]) for case in long)
    assert f"{len(long)} have {lengths[0]} to {lengths[-1]:,} characters" in card


def test_the_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_000_000


@pytest.mark.parametrize("column", READINGS)
def test_our_grader_differs_in_the_listed_cases_only(column: str) -> None:
    listed = {name: (strict, lenient) for name, strict, lenient, _ in EXCEPTIONS}
    for case in CASES:
        read, expected = readings(case)[column], case[column]
        if case["id"] in listed:
            expected = {"-": None}.get(letter := listed[case["id"]][list(READINGS).index(column)], letter)
        assert read == expected, (case["id"], case["reason"])


def test_a_listed_case_differs() -> None:
    for name, strict, lenient, _ in EXCEPTIONS:
        expected = tuple(BY_ID[name][column] or "-" for column in READINGS)
        assert (strict, lenient) != expected, f"{name} is no exception any more: remove its line"


@pytest.mark.parametrize("column", READINGS)
@pytest.mark.parametrize("expected", ["own", "meant"])
def test_the_document_states_our_graders_counts(column: str, expected: str) -> None:
    against = column if expected == "own" else "meant"
    counts: Counter[str] = Counter()
    for case in CASES:
        read, wanted = readings(case)[column], case[against]
        counts["right" if read == wanted else "false" if wanted is None else "wrong" if read else "missed"] += 1
    cells = " | ".join(f"{counts[name]:,}" for name in ("right", "wrong", "missed", "false"))
    assert f"| ours, {column} | {against} | {cells} |" in DOCUMENT


def test_the_document_counts_the_findings() -> None:
    for finding, number in Counter(row[3] for row in EXCEPTIONS).items():
        assert re.search(rf"^\| `{finding}` \| {number} \|", DOCUMENT, re.MULTILINE), (finding, number)


def test_the_card_counts_the_kinds() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{len(CASES):,} cases" in card and f"{len({case['question'] for case in CASES})} questions" in card
    for kind in {case["kind"] for case in CASES}:
        of_kind = [case for case in CASES if case["kind"] == kind]
        cells = [sum(case[column] is not None for case in of_kind) for column in ("strict", "lenient", "meant")]
        assert f"| `{kind}` | {len(of_kind)} | {' | '.join(map(str, cells))} |" in card, kind


@pytest.fixture(scope="module")
def reader() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mcqa_reader", "benchmarks/mcqa_reader.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readers_sheet_has_200_cases_and_shows_no_label(reader: ModuleType) -> None:
    rows = reader.sheet(CASES)
    assert len({row["id"] for row in rows}) == len(rows) == 200
    assert all(set(row) == {"id", "question", "options", "response"} for row in rows)
    kinds = Counter(case["kind"] for case in reader.sample(CASES))
    assert set(kinds.values()) == {11, 12} and not any(kind in row["id"] for row in rows for kind in kinds)


def test_the_sheet_has_the_cases_that_the_reader_labelled(reader: ModuleType) -> None:
    assert {case["id"] for case in reader.sample(CASES)} == {case["id"] for case in CASES if case["reader"]}


def test_kappa_is_agreement_beyond_chance(reader: ModuleType) -> None:
    # By hand: 3 of 4 are equal; by chance (3 * 2 + 1 * 2) / 16 = 1 / 2.
    assert reader.agreement(["A", "A", "A", "B"], ["A", "A", "B", "B"]) == (0.75, pytest.approx(0.5))
    with pytest.raises(UserError, match="not defined"):
        reader.agreement(["A"], ["A"])


def test_a_readers_labels_are_checked(reader: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    rows = [{"id": row["id"], "reader": "none"} for row in reader.sheet(CASES)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert set(reader.labels(path, CASES).values()) == {"none"}
    rows[3]["reader"] = "maybe"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"'maybe'\. Write one of none, A, B"):
        reader.labels(path, CASES)
    path.write_text(json.dumps(rows[0]) + '\n{"id": 1}\n')
    with pytest.raises(UserError, match="line 2: is no label"):
        reader.labels(path, CASES)


def test_the_summary_compares_the_labelled_cases(reader: ModuleType) -> None:
    label = {"format-001": "B", "format-002": "none", "refusal-001": "none"}
    summary = reader.summary([{**case, "reader": label.get(case["id"])} for case in CASES])
    # By hand: 2 of 3 are equal; by chance (1 * 1 + 1 * 2) / 9 = 1 / 3.
    assert "| `meant` | 3 | 66.7 % | 0.500 |" in summary and "format-002 (none, A)." in summary


def test_the_documents_example_runs() -> None:
    [block] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    exec(compile(block, "docs/mcqa_grade.md", "exec"), {})
