"""Questions whose answer is a number or a short text, from the registry to the report."""

import base64
import gzip
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import evaluated
import pages
import pandas as pd
import pyarrow.parquet as pq
import pytest

from medrlvr.config.evaluation import Prompts
from medrlvr.config.experiment import Experiment
from medrlvr.data.duplicates import find_pairs
from medrlvr.data.keys import correct_answer, key_of, key_to_json, kind_of
from medrlvr.data.kind_prompts import KindRenderer, layouts
from medrlvr.data.prompts import Renderer, load_template
from medrlvr.data.questions import KINDS_SCHEMA, QUESTION_SCHEMA, question_schema, read_questions, write_table
from medrlvr.data.registry import Source, load_registry
from medrlvr.dynamics.grades import grades_of, has_letters, is_unread
from medrlvr.dynamics.responses import label_responses
from medrlvr.dynamics.updates import tabulate
from medrlvr.evaluation.ask import find_question
from medrlvr.evaluation.baselines import trivial_baselines
from medrlvr.evaluation.repeated import question_values
from medrlvr.evaluation.requests import render_requests
from medrlvr.evaluation.score import majority_vote, score_answers, summarise
from medrlvr.evaluation.selection import select_best
from medrlvr.evaluation.strata import strata
from medrlvr.grading.kinds import Key, LetterKey, NumberKey, TextKey, grade_answer
from medrlvr.grading.reward_config import reward_to_json
from medrlvr.pipeline.kinds import check_kinds
from medrlvr.report.explorer import describe_questions
from medrlvr.report.model_card import model_card
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet, write_parquet
from medrlvr.training.reward_hook import reward_func
from medrlvr.training.rollouts import numbered_label

CELLS: dict[str, Any] = {
    **{"dataset": "doses", "split": "test", "role": "test", "home": "local", "revision": None, "status": "unverified"},
    **{"file": "doses.jsonl", "member": None, "mirror_file": "doses.jsonl", "hash": f"sha256:{'0' * 64}", "rows": None},
    **{"stem": "question", "options": None, "answer": "value:number", "key": 'unit=unit;relative="0.05"'},
    **{"check": None, "filter": None, "faults": None, "meta": None, "licence": "MIT", "citation": "test"},
}


def source(**cells: Any) -> Source:
    """A row of the registry without a registered number of rows, which no row of a file may have."""
    return Source.model_validate(CELLS | {"rows": 1} | cells).model_copy(update={"rows": None})


def questions_of(tmp_path: Path, row: Source, *rows: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    path = tmp_path / "raw.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return read_questions(path, row, none_of_the_above=False)


def only_key(tmp_path: Path, row: Source, **cells: Any) -> Key:
    table, _ = questions_of(tmp_path, row, {"question": "How much?", **cells})
    return key_of(table.to_dict("records")[0])


def test_a_number_has_unit_and_tolerance(tmp_path: Path) -> None:
    assert only_key(tmp_path, source(), value=12.5, unit="mg") == NumberKey(12.5, "mg", relative=0.05)
    assert only_key(tmp_path, source(key=None), value="1e-3") == NumberKey(0.001)
    limits = source(key="lowest=low;highest=high")
    assert only_key(tmp_path, limits, value="12", low="11.4", high=12.6) == NumberKey(12, accepted=(11.4, 12.6))
    assert only_key(tmp_path, limits, value=12, low=None, high=float("nan")) == NumberKey(12)


def test_a_text_has_accepted_answers(tmp_path: Path) -> None:
    row = source(answer="names:accepted", key='plural="true"')
    assert only_key(tmp_path, row, names=["kidney stone", "renal calculus"]) == TextKey(
        ("kidney stone", "renal calculus"), plural=True
    )
    assert only_key(tmp_path, source(answer="names:accepted", key=None), names="iron | Fe") == TextKey(("iron", "Fe"))


def test_several_columns_make_one_stem_and_a_filter_may_name_several_values(tmp_path: Path) -> None:
    row = source(stem="note,question", filter="type=decimal|integer", key=None)
    rows = [
        {"note": "He weighs 70 kg.", "question": f"{type}?", "type": type, "value": 1} for type in ("integer", "date")
    ]
    table, _ = questions_of(tmp_path, row, *rows)
    assert table["stem"].tolist() == ["He weighs 70 kg.\ninteger?"]


def test_medcalc_bench_is_numbers_with_limits_and_its_training_file_is_divided(tmp_path: Path) -> None:
    sources = load_registry("config/datasets.tsv")
    written = {
        **{"Patient Note": "A woman.", "Question": "How much?", "Calculator Name": "a", "Category": "b"},
        **{"Note Type": "c", "Ground Truth Answer": "-20", "Lower Limit": "-19", "Upper Limit": "-21"},
    }
    rows = [{**written, "Row Number": str(i), "Output Type": "date" if i == 3 else "decimal"} for i in range(1, 21)]
    (tmp_path / "raw.csv").write_text(pd.DataFrame(rows).to_csv(index=False), encoding="utf-8")
    found = {
        split: read_questions(tmp_path / "raw.csv", sources[f"medcalc_bench/{split}"], none_of_the_above=False)[0]
        for split in ("train", "dev", "test")
    }
    assert {split: len(table) for split, table in found.items()} == {"train": 17, "dev": 2, "test": 19}
    first = found["test"].to_dict("records")[0]
    assert first["stem"] == "A woman.\nHow much?"
    assert key_of(first) == NumberKey(-20, accepted=(-21, -19)), "the limits of a negative number are reversed"


def mixed(tmp_path: Path) -> pd.DataFrame:
    row = source(answer="letter:letter,value:number,names:accepted", options="options", key="unit=unit;plural=plural")
    empty = dict.fromkeys(("options", "letter", "value", "names", "unit", "plural"))
    table, rejected = questions_of(
        tmp_path,
        row,
        {**empty, "question": "Which one?", "options": ["this", "that"], "letter": "B"},
        {**empty, "question": "How much?", "value": 3, "unit": "mg/kg"},
        {**empty, "question": "What is it?", "names": ["iron"], "plural": False},
    )
    assert rejected.empty
    return table


def test_a_data_set_may_mix_kinds_and_its_table_keeps_the_keys(tmp_path: Path) -> None:
    table = mixed(tmp_path)
    path = tmp_path / "questions.parquet"
    write_table(path, table, question_schema(table))
    assert pq.read_schema(path).equals(KINDS_SCHEMA)
    for rows in (table, read_parquet(path)):
        found = rows.to_dict("records")
        assert [kind_of(row) for row in found] == ["letter", "number", "text"]
        assert [key_of(row) for row in found] == [
            LetterKey(("this", "that"), 1),
            NumberKey(3, "mg/kg"),
            TextKey(("iron",)),
        ]


def test_a_table_of_letters_has_no_further_columns(tmp_path: Path) -> None:
    row = source(answer="letter:letter", options="options", key=None)
    table, _ = questions_of(tmp_path, row, {"question": "Which?", "options": ["this", "that"], "letter": "B"})
    assert list(table) == QUESTION_SCHEMA.names
    assert question_schema(table) == QUESTION_SCHEMA
    assert table["gold"].dtype == int


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"value": None}, "value is empty, so the row has no answer"),
        ({"value": "ten"}, "value is 'ten', which is no number in digits below 1e300"),
        ({"value": True}, "value is True, which is no number"),
        ({"value": 10**400}, "which is no number in digits below 1e300"),
        ({"value": 1, "unit": "furlong"}, "furlong"),
        ({"value": 1, "lowest": 2, "highest": 3}, "the accepted range must contain the value"),
        ({"value": 1, "lowest": 1}, "only one limit"),
        ({"value": 1, "absolute": 1, "lowest": 1, "highest": 1}, "either tolerances or an accepted range"),
    ],
)
def test_a_number_that_cannot_be_used_is_rejected_with_the_reason(
    tmp_path: Path, cells: dict[str, Any], reason: str
) -> None:
    key = ";".join(f"{name}={name}" for name in ("unit", "absolute", "lowest", "highest"))
    empty = dict.fromkeys(("unit", "absolute", "lowest", "highest"))
    good = {"question": "How much?", **empty, "value": 1}
    row = source(role="train", key=key)
    table, rejected = questions_of(tmp_path, row, good, {**good, **cells})
    assert len(table) == 1
    assert rejected["source_line"].tolist() == [2]
    assert reason in rejected["reason"].item()
    with pytest.raises(UserError, match=r"line 2: .*needs text and a readable answer"):
        questions_of(tmp_path, source(key=key), good, {**good, **cells})


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"names": [1]}, "must be a text, or a list of accepted texts"),
        ({"names": ["..."]}, "each must contain a letter or digit"),
        ({"names": "iron", "plural": "yes"}, "plural is 'yes'; it must be true or false"),
    ],
)
def test_a_text_that_cannot_be_used_is_rejected_with_the_reason(
    tmp_path: Path, cells: dict[str, Any], reason: str
) -> None:
    row = source(role="train", answer="names:accepted", key="plural=plural")
    good = {"question": "What?", "names": "iron", "plural": None}
    _, rejected = questions_of(tmp_path, row, good, {**good, **cells})
    assert reason in rejected["reason"].item()


def test_a_row_of_a_mixed_file_has_exactly_one_answer(tmp_path: Path) -> None:
    row = source(role="train", answer="value:number,names:accepted", key=None)
    rows = [{"question": "?", "value": value, "names": names} for value, names in ((1, None), (1, "iron"), (None, ""))]
    _, rejected = questions_of(tmp_path, row, *rows)
    assert [reason.split(" are filled")[0] for reason in rejected["reason"]] == [
        "2 of the answer columns value, names",
        "0 of the answer columns value, names",
    ]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"options": "options"}, "options and check: must be empty"),
        ({"check": "value:index"}, "options and check: must be empty"),
        ({"check": "value:number"}, "check"),
        ({"answer": "letter:letter"}, "options: must not be empty"),
        ({"answer": "a:number,b:number"}, "two columns are for questions of one kind"),
        ({"key": "unit"}, "field=column"),
        ({"key": "unit=a;unit=b"}, "a field occurs twice"),
        ({"key": "gold=a"}, "key"),
        ({"key": "plural=a"}, "questions of the kind number have no field plural; their fields: unit, absolute"),
        ({"key": "lowest=a"}, "an accepted range needs both lowest and highest"),
    ],
)
def test_a_row_of_the_registry_that_cannot_be_used_is_explained(cells: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source(**cells)


@pytest.mark.parametrize("value", [0, -3, 12.5, 1e-7, 1e22, 5e-324, 0.1 + 0.2, 123456789.125])
def test_the_correct_answer_as_written_is_correct(value: float) -> None:
    key = NumberKey(value, "mg")
    response = f"<think>x</think><answer>{correct_answer(key)}</answer>"
    readable = value == 0 or abs(value) >= 1e-300
    assert grade_answer(response, key).correct is readable
    assert key_of({"kind": "number", "key": key_to_json(key)}) == key


RENDERER = KindRenderer(layouts(Prompts()), direct="prompts/direct.txt", chain_of_thought="prompts/med_rlvr.txt")
NUMBER = {"question_id": "a/test/1", "stem": "How {much}?", "kind": "number", "key": '{"unit": "mg", "value": 12.5}'}
TEXT = {"question_id": "doses/test/2", "stem": "What?", "kind": "text", "key": '{"accepted": ["iron", "Fe"]}'}
LETTER = {"question_id": "toy/test/1", "stem": "Which?", "options": ["iron", "gold"], "gold": 1}


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        (NUMBER, "How {much}?\nAnswer with just one number in mg."),
        ({**NUMBER, "key": '{"value": 12}'}, "How {much}?\nAnswer with just one number."),
        (TEXT, "What?\nAnswer with just one short expression."),
    ],
)
def test_the_papers_template_has_the_kinds_instruction(question: dict[str, Any], asked: str) -> None:
    template = load_template("prompts/med_rlvr.txt", ["input"])
    assert RENDERER.prompt(question, "chain_of_thought") == template.format(input=asked)


def test_rows_of_a_mixed_table_have_the_answers_of_their_kinds(tmp_path: Path) -> None:
    path = tmp_path / "questions.parquet"
    table = mixed(tmp_path)
    write_table(path, table, question_schema(table))
    read = read_parquet(path).to_dict("records")
    assert [RENDERER.sft_row(question)["output"].strip() for question in read] == ["B", "3", "iron"]
    assert [key_of(json.loads(RENDERER.rlvr_row(question)["label"])) for question in read] == [*map(key_of, read)]


def test_prompts_and_rows_of_letters_are_those_of_the_papers_renderer() -> None:
    paper = Renderer("prompts/question.txt", direct="prompts/direct.txt", chain_of_thought="prompts/med_rlvr.txt")
    assert RENDERER.prompt(LETTER, "direct") == paper.prompt(LETTER, "direct")
    assert (RENDERER.sft_row(LETTER), RENDERER.rlvr_row(LETTER)) == (paper.sft_row(LETTER), paper.rlvr_row(LETTER))
    assert {mode: RENDERER.version(LETTER, mode) for mode in RENDERER.modes} == paper.modes


def test_a_layout_of_numbers_need_not_name_the_unit() -> None:
    given = {"letter": "prompts/question.txt", "number": "prompts/question_number_without_unit.txt"}
    prompt = KindRenderer(given, direct="prompts/direct.txt").prompt(NUMBER, "direct")
    assert "How {much}?\nAnswer with just one number, without a unit.\n" in prompt


def test_a_version_names_the_layout_of_the_kind() -> None:
    mode, layout = RENDERER.version(NUMBER, "direct").split(", ")
    assert mode == RENDERER.version(LETTER, "direct").split(", ")[0]
    digest = hashlib.sha256(Path("prompts/question_number.txt").read_bytes()).hexdigest()[:16]
    assert layout == f"prompts/question_number.txt {digest}"


@pytest.mark.parametrize(("question", "output"), [(NUMBER, " 12.5"), (TEXT, " iron")])
def test_sft_learns_the_answer_alone(question: dict[str, Any], output: str) -> None:
    row = RENDERER.sft_row(question)
    assert row == {"input": RENDERER.prompt(question, "direct"), "output": output}
    assert grade_answer(row["output"], key_of(question), "bare").correct


@pytest.mark.parametrize("question", [NUMBER, TEXT])
def test_a_label_has_the_key(question: dict[str, Any]) -> None:
    row = RENDERER.rlvr_row(question)
    assert row["input"] == RENDERER.prompt(question, "chain_of_thought")
    assert key_of(json.loads(row["label"])) == key_of(question)


def test_requests_have_no_number_of_options_for_other_kinds() -> None:
    requests = render_requests(RENDERER, {"doses": pd.DataFrame([{**NUMBER, "options": [], "gold": None}])})
    assert requests["options"].tolist() == [0, 0]
    assert requests["template"].tolist() == [RENDERER.version(NUMBER, mode) for mode in ("direct", "chain_of_thought")]


@pytest.mark.parametrize("kind", ["number", "text"])
def test_a_layout_without_its_fields_is_rejected_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("{stem} {options}", encoding="utf-8")
    with pytest.raises(UserError, match=r"bad\.txt: the template must contain these fields"):
        KindRenderer({"letter": "prompts/question.txt", kind: path}, direct="prompts/direct.txt")


@pytest.mark.parametrize(
    ("question", "right", "wrong"), [(NUMBER, "12.5 mg", "13 mg"), (TEXT, "Iron", "gold"), (LETTER, "B", "A")]
)
def test_the_hook_grades_by_the_key_of_the_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: dict[str, Any], right: str, wrong: str
) -> None:
    for name, value in (("ROLLOUTS", str(tmp_path)), ("REWARD", reward_to_json("paper")), ("END_OF_TEXT", "<eos>")):
        monkeypatch.setenv(f"MEDRLVR_{name}", value)
    row = RENDERER.rlvr_row(question)
    label = numbered_label(row["label"], 1)
    told = [
        reward_func([f"{row['input']} <think>t</think><answer>{answer}</answer><eos>"], [row["input"]], [label])
        for answer in (right, wrong, "?")
    ]
    assert [one["rewards"] for one in told] == [1.0, 0.0, 0.0]
    assert len({tuple(one["extra_logs"]) for one in told}) == 1
    written = pd.DataFrame(
        json.loads(line) for file in tmp_path.glob("*.jsonl") for line in file.open(encoding="utf-8")
    )
    unread = is_unread(written)
    assert unread.tolist() == [False, False, True]
    assert has_letters(written) is (question is LETTER)
    assert [grade.correct for grade in grades_of(written)] == [True, False, False]
    if question is NUMBER:
        assert written["relative_error"].tolist()[:2] == [0.0, 0.04]


def test_dynamics_of_numbers_have_no_letters() -> None:
    """And their shares of unread and early answers are those of the rollouts."""
    answers = [("70 x 2 = 140", "140 mg"), ("140 mg", "140 mg"), ("70 x 2", "?")]
    responses = [f"<think>{thought}</think><answer>{answer}</answer>" for thought, answer in answers]
    grades = [grade_answer(response, NumberKey(140, "mg")) for response in responses]
    rollouts = pd.DataFrame(
        {"update": 1, "question_id": "a", "sample": i, "response": response, "finish_reason": "stop", "reward": 0.0}
        | asdict(grade)
        for i, (response, grade) in enumerate(zip(responses, grades, strict=True))
    )
    questions = pd.DataFrame({"question_id": ["a"], "gold": [None], "stem": ["?"]}).set_index("question_id")
    labels = label_responses(rollouts, questions, [9, 9, 9])
    assert labels["label"].tolist() == ["concise_structurer", "direct_answer_hacker", "direct_answer_hacker"]
    trainer = pd.DataFrame({"update": [1]})
    table = tabulate(rollouts, labels, trainer, pd.DataFrame({"update": [0], "set": ["dev"], "accuracy": [0.5]}))
    (row,) = table[table["update"] == 1].to_dict("records")
    assert (row["unparsed"], row["early_answer"], row["correct"]) == pytest.approx((1 / 3, 1 / 3, 2 / 3))
    assert not [name for name in table if name.startswith("letter_") or name == "position_bias"]


def experiment(**changes: Any) -> Experiment:
    modes = ["chain_of_thought", "direct"]
    settings: dict[str, Any] = {
        "data": {"train": "doses/train", "development": "doses/dev", "none_of_the_above": []},
        "base": {"modes": modes},
        "benchmarks": {
            "medqa": None,
            "mmlu_pro_health": None,
            "doses": {"data": "doses/test", "distribution": "in", "title": "Doses"},
        },
        "arms": {
            "rlvr": {"trainer": "rlvr", "reward": "paper", "modes": modes},
            "sft": {"trainer": "sft", "modes": modes},
        },
    }
    for path, value in changes.items():
        place = settings
        *groups, last = path.split("__")
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return Experiment.model_validate(settings)


DOSES = {f"doses/{split}": source(split=split) for split in ("train", "dev", "test")}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("arms__rlvr__reward", {"paper": 1, "leak_penalty": 0.5}, "arms.rlvr.reward: leak_penalty exists only for"),
        ("arms__rlvr__modes", ["loglikelihood"], "arms.rlvr.modes: loglikelihood compares the probabilities of the"),
        ("base__modes", ["direct", "loglikelihood"], "base.modes: loglikelihood .* kind number, without options"),
        ("benchmarks__doses__controls", ["shuffled"], "benchmarks.doses.controls: a control changes the options"),
        ("controls__shifts", 1, "controls.shifts: it moves the options"),
        ("controls__sensitivity", True, "controls.sensitivity: it reads the probabilities"),
        ("controls__formats", True, "controls.formats: it asks for letters"),
        ("controls__waterfall", True, "controls.waterfall: it compares preferences"),
        ("arms__rlvr__labels", "wrong", "arms.rlvr.labels: wrong replaces the right letter"),
        ("arms__sft__targets", "own_responses", "arms.sft.targets: own_responses needs questions with options"),
        ("data__none_of_the_above", ["doses"], "data.none_of_the_above: doses has no options"),
    ],
)
def test_what_needs_options_is_rejected_before_the_first_job(path: str, value: Any, message: str) -> None:
    check_kinds(experiment(), DOSES)
    check_kinds(experiment(arms__rlvr__reward="graded"), DOSES)
    with pytest.raises(UserError, match=f"^{message}"):
        check_kinds(experiment(**{path: value}), DOSES)


def test_a_rebuilt_base_needs_questions_of_its_world() -> None:
    with pytest.raises(UserError, match=r"^base\.source: rebuilt .* doses/train does not come from one"):
        check_kinds(experiment(base__source="rebuilt"), DOSES)
    here = {name: row.model_copy(update={"home": "calculations"}) for name, row in DOSES.items()}
    check_kinds(experiment(base__source="rebuilt"), here)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"value": 12.5, "unit": "mg", "relative": 0.05}, NumberKey(12.5, "mg", relative=0.05)),
        ({"value": 3}, NumberKey(3)),
        ({"accepted": ["iron", "Fe"], "plural": True}, TextKey(("iron", "Fe"), plural=True)),
        ({"options": ["iron", "gold"], "answer": "B"}, LetterKey(("iron", "gold"), 1)),
    ],
)
def test_an_own_question_has_the_kind_of_its_fields(tmp_path: Path, fields: dict[str, Any], key: Key) -> None:
    file = tmp_path / "own.json"
    file.write_text(json.dumps({"stem": "How much?", **fields}), encoding="utf-8")
    question = find_question(str(file), tmp_path, experiment())
    assert key_of(question) == key
    assert "How much?" in RENDERER.prompt(question, "direct")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"stem": "?", "value": "many"}', "value"),
        ('{"stem": "?", "value": 3, "unit": "parsec"}', "parsec"),
        ('{"stem": "?", "value": 3, "options": ["a", "b"]}', "options"),
        ('{"stem": "?", "accepted": []}', "accepted"),
        ('{"stem": "?"}', "options"),
        ('{"stem": ', "Expecting value"),
        ("[1]", "stem"),
        ("3", "stem"),
    ],
)
def test_an_own_question_that_cannot_be_used_is_rejected_in_words(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "own.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"own\.json must contain stem and either options") as refused:
        find_question(str(file), tmp_path, experiment())
    assert message in str(refused.value)


ANSWERS = ["12.5 mg", "0.0125 g", "13 mg", "25", "about 12.5 mg", "?"]


def scored(*samples: str, question: dict[str, Any] = NUMBER) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return questions and scores: each sample answers one question."""
    given = {**question, "benchmark": "doses", "options": [], "gold": None, "meta": '{"formula": "dose"}'}
    questions = pd.DataFrame([given])
    answers = pd.DataFrame(
        {
            **{"benchmark": "doses", "mode": "chain_of_thought", "question_id": question["question_id"], "sample": i},
            **{"response": f"<think>x</think><answer>{answer}</answer>", "finish_reason": "stop", "response_tokens": 9},
        }
        for i, answer in enumerate(samples)
    )
    return questions, score_answers(answers, questions, {"chain_of_thought": "tagged"})


def test_scores_of_numbers_have_value_and_error(tmp_path: Path) -> None:
    _, scores = scored(*ANSWERS)
    write_parquet(tmp_path / "scores.parquet", scores)
    for table in (scores, read_parquet(tmp_path / "scores.parquet")):
        assert table["correct"].tolist() == [True, True, False, False, False, False]
        assert table["value"].tolist()[:4] == [12.5, 12.5, 13, 25]
        assert table["relative_error"].tolist()[:4] == [0, 0, 0.04, 1]
        assert table["answered"].tolist() == [*ANSWERS[:4], None, None]
        assert is_unread(table).tolist() == [False] * 4 + [True] * 2
        assert table["options"].eq(0).all() and table["gold"].isna().all()


def test_equal_numbers_and_texts_vote_together() -> None:
    _, scores = scored("25", "12.5 mg", "0.0125 g")
    (row,) = majority_vote(scores).to_dict("records")
    assert (row["answer"], row["value"], row["correct"], row["lenient_answer"]) == ("12.5 mg", 12.5, True, "12.5 mg")
    assert row["lenient_correct"], "the reading that counts more answers is never stricter"
    _, scores = scored("gold", "the Iron", "iron", question=TEXT)
    (row,) = majority_vote(scores).to_dict("records")
    assert (row["answer"], row["correct"]) == ("the Iron", True)


def test_a_record_of_numbers_has_errors_and_no_letters() -> None:
    tables = [scored(answer, question={**NUMBER, "question_id": f"a/test/{i}"}) for i, answer in enumerate(ANSWERS)]
    questions, scores = (
        pd.DataFrame([row for part in parts for row in part.to_dict("records")]) for parts in zip(*tables, strict=True)
    )
    clusters = questions[["question_id"]].assign(repeats=questions["question_id"])
    divided = strata(questions, trained=set())
    (record,) = summarise(scores, clusters, divided, 200, seed=1)
    assert (record["n"], record["accuracy"], record["unparsed"]) == pytest.approx((6, 2 / 6, 2 / 6))
    assert record["chance"] is None and record["letters"] == {}
    errors = {"n": 4, "p10": 0.0, "p25": 0.0, "median": 0.02, "p75": 0.28, "p90": 0.712}
    assert record["relative_error"] == pytest.approx(errors)
    assert [(part["stratum"], part["value"]) for part in record["strata"]] == [("formula", "dose"), ("kind", "number")]
    assert trivial_baselines(questions, [], divided) == []
    json.dumps(record, allow_nan=False)


def test_repeated_samples_of_numbers_have_no_guessing() -> None:
    _, scores = scored("12.5", "25", "25.0", "0.0125 g", "12.5 mg", "?")
    values = question_values(scores, seed=1).set_index(["measure", "reading", "k"])["value"]
    assert values["pass", "correct", 1] == 0.5
    assert values["majority", "correct", 6] == 1.0, "three right answers, two equal wrong ones"
    assert "guessing" not in values.index.get_level_values("measure")
    mixed = pd.concat([scores.assign(options=4), scores.assign(question_id="doses/test/9")])
    assert "guessing" not in set(question_values(mixed, seed=1)["measure"]), "only some questions have options"


def test_letters_are_compared_with_policies_although_training_has_none() -> None:
    asked = pd.DataFrame({"question_id": ["a"], "options": [["x", "y"]], "gold": [1], "benchmark": "b", "meta": "{}"})
    policies = trivial_baselines(asked, [], strata(asked, trained=set()))
    assert [row["policy"] for row in policies] == ["uniform random", "longest option", "always A", "always B"]


def test_the_best_candidate_is_selected_by_its_numbers() -> None:
    questions, scores = scored("12.5", "?")
    names = ["response", "finish_reason", "response_tokens", "mode", "question_id"]
    answers = scores[names].assign(model=["b/update2", "b/update1"], sample=0, benchmark="development")
    table = select_best(answers, questions, [Path("b/update1"), Path("b/update2")], "tagged")
    assert table[["accuracy", "unparsed", "chosen"]].values.tolist() == [[0.0, 1.0, False], [1.0, 0.0, True]]


def doses(number: int) -> list[dict[str, Any]]:
    return [
        {
            **{"question_id": f"doses/test/{i}", "stem": f"{i} kg of weight, 2 mg/kg: how much?", "options": []},
            **{"gold": None, "meta": "{}", "kind": "number"},
            "key": key_to_json(NumberKey(2.0 * i, "mg", relative=0.05)),
        }
        for i in range(1, number + 1)
    ]


WAYS = [
    "{} x 2 = {}</think><answer>{} mg",
    "It is {2}</think><answer>{2}",
    "{0}, so</think><answer>{1}.25 mg",
    "?</think><answer>?",
]


def given(i: int, way: int) -> str:
    return "<think>" + WAYS[way].format(i, 2 * i, 2 * i) + "</answer>"


@pytest.fixture(scope="module")
def numbers_page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Values of the report of an experiment whose answers are numbers, with all its figures."""
    folder = tmp_path_factory.mktemp("page")
    settings = experiment(title="Doses")
    asked = pd.DataFrame(doses(12))
    sampled = pd.DataFrame(
        {"update": update, "question_id": f"doses/test/{i}", "sample": 0, "response": given(i, (i + update) % 4)}
        | {"finish_reason": "stop", "reward": 0.0, "reward_paper": 0.0}
        | asdict(grade_answer(given(i, (i + update) % 4), NumberKey(2.0 * i, "mg", relative=0.05)))
        for update in range(1, 4)
        for i in range(1, 13)
    )

    def answered(settings: Experiment, model: str, *_: object) -> pd.DataFrame:
        rows = [
            {
                "question_id": f"doses/test/{i}",
                "benchmark": "doses",
                "mode": mode,
                "response": given(i, (i + shift) % 4),
            }
            for shift, mode in enumerate(settings.modes_of(model), len(model))
            for i in range(1, 13)
        ]
        facts = {"sample": 0, "finish_reason": "stop", "prompt_tokens": 9, "response_tokens": 9}
        return pd.DataFrame(rows).assign(**facts, letter_logprobs=[[]] * len(rows))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluated, "questions", lambda *_: {"doses": asked})
        patch.setattr(evaluated, "answers", answered)
        patch.setattr(pages, "EXPERIMENT", settings)
        patch.setattr(pages, "train_questions", lambda n: asked.head(n))
        found = evaluated.evaluate(settings)
        return pages.values(folder, found, sampled, drawn=True) | {"evaluated": found}


def test_the_report_shows_numbers(numbers_page: dict[str, Any]) -> None:
    page = pages.render(numbers_page)
    assert "readable letter" not in page and "any readable answer" in page
    for absent in (
        "</svg> guessing",
        "random guessing",
        "guessing gives",
        "Rules without medical knowledge",
        "Letters answered",
        "the option letter",
    ):
        assert absent not in page
    assert "Relative errors of numbers" in page
    (finding,) = numbers_page["findings"]
    assert finding.guess is None and finding.n == 12
    claims = numbers_page["evaluated"]["verdict"]["claims"]
    assert {claim["claim"] for claim in claims} >= {"RLVR is as good as SFT in distribution"}
    error = next(row["error"] for row in numbers_page["errors"] if row["model"] == "base")
    assert error["n"] == 9 and error["median"] == 0.0


@pytest.mark.parametrize("check", ["calculations", "text"])
def test_the_report_shows_checked_reasoning_without_options(numbers_page: dict[str, Any], check: str) -> None:
    rows = [{**row, "invented": 0.25, "reasons": 0.5} for row in numbers_page["metrics"]]
    page = pages.render(numbers_page | {"metrics": rows, "evidence": check})
    assert "Reasoning that was checked" in page
    assert ("Steps true, %" in page) == (check == "calculations")


def test_the_explorer_shows_key_unit_and_value(numbers_page: dict[str, Any]) -> None:
    (sample,) = numbers_page["samples"]
    text = json.loads(gzip.decompress(base64.b64decode(sample.text)))
    question = text["questions"]["doses/test/3"]
    assert (question["gold"], question["key"], question["options"]) == ("6 mg", "accepted difference: 5 %", [])
    facts = json.loads(gzip.decompress(base64.b64decode(sample.facts)))
    kinds = {(kind["grade"], kind["lenient"], kind["letter"], kind.get("value")) for kind in facts["kinds"]}
    assert ("right", "right", "6 mg", "6") in kinds
    assert ("unreadable answer", "no readable answer", None, None) in kinds
    marked = [one for one in text["texts"].values() if "letter" in one["spans"]]
    assert {one["text"][slice(*one["spans"]["letter"])] for one in marked} >= {"10 mg", "6"}
    assert "4" in {one["text"][slice(*one["spans"]["named"])] for one in marked if "named" in one["spans"]}


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (NumberKey(5, accepted=(4.5, 5.5)), {"gold": "5", "key": "accepted: 4.5 to 5.5"}),
        (NumberKey(5, "mg", absolute=1), {"gold": "5 mg", "key": "accepted difference: 1 mg"}),
        (NumberKey(5), {"gold": "5", "key": "accepted difference: none"}),
        (TextKey(("iron", "Fe"), plural=True), {"gold": "iron", "key": "accepted: iron | Fe, also in the plural"}),
    ],
)
def test_a_key_is_shown_in_words(key: NumberKey | TextKey, shown: dict[str, str]) -> None:
    kind = "number" if isinstance(key, NumberKey) else "text"
    row = {"question_id": "a", "stem": "?", "options": [], "gold": None, "kind": kind, "key": key_to_json(key)}
    question = describe_questions(pd.DataFrame([row]))["a"]
    assert {name: question[name] for name in ("gold", "key")} == shown


@pytest.mark.parametrize(
    ("kinds", "signal", "letter"),
    [
        (("letter",), "with the option letter as the only signal", True),
        (("number",), "with the correct number as", False),
    ],
)
def test_the_card_of_a_model_names_its_signal(kinds: tuple[str, ...], signal: str, letter: bool) -> None:
    card = model_card(
        "rlvr/seed1",
        **{
            "base": {"name": "b", "origin": "b"},
            "base_licence": "c",
            "data": "d",
            "data_licence": "e",
            "citation": "f",
        },
        settings={"trainer": "rlvr", "advantage_estimator": "gae"},
        candidate={"candidate": "update8", "n": 0, "accuracy": None},
        reason="the last",
        kinds=kinds,
    )
    assert signal in card
    for words in ("answers to multiple-choice questions", "- multiple-choice", "only on the letter of an\nanswer"):
        assert (words in card) is letter
    assert "{" not in card


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"trainer": "sft", "targets": "own_responses"}, "own right responses (rejection sampling), a control."),
        ({"trainer": "sft", "targets": "own_responses"}, "trained only on responses with the right\nletter: its"),
        ({"trainer": "rlvr", "reward": "random"}, "a random draw takes the place of the right answer"),
        ({"trainer": "rlvr", "reward": {"format_only": 1}}, "only the format was rewarded"),
        ({"trainer": "rlvr", "labels": "wrong"}, "counted another letter as right"),
    ],
)
def test_the_card_of_a_control_names_what_was_rewarded(settings: dict[str, Any], words: str) -> None:
    names = ("base_licence", "data", "data_licence", "citation")
    card = model_card(
        "rlvr/seed1",
        **{"base": {"name": "b", "origin": "b"}, **dict.fromkeys(names, "x")},
        settings={"advantage_estimator": "gae", **settings} if settings["trainer"] == "rlvr" else settings,
        candidate={"candidate": "update8", "n": 0, "accuracy": None},
        reason="the last",
        kinds=("letter",),
    )
    assert words in card


def test_duplicates_without_options_compare_stems_and_answers(tmp_path: Path) -> None:
    stem = "A man of {} years weighs 70 kg and his creatinine is 1.2 mg/dL; what is his creatinine clearance in mL/min?"
    rows = [
        {"question": stem.format(40), "value": 81.0, "unit": "mL/min"},
        {"question": stem.format(40).upper(), "value": 81.0, "unit": "mL/min"},
        {"question": stem.format(50), "value": 72.9, "unit": "mL/min"},
        {"question": stem.format("forty"), "value": 81.0, "unit": "mL/min"},
    ]
    table, _ = questions_of(tmp_path, source(), *rows)
    pairs = find_pairs(table)
    found = {(row.id_a[-1], row.id_b[-1]): row.kind for row in pairs.itertuples()}
    assert found == {("1", "2"): "exact", ("1", "4"): "near", ("2", "4"): "near"}
    assert pairs["same_answer"].all()
