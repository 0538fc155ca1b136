"""The tables and the summary of a run, from responses whose numbers can be counted by hand."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medrlvr.dynamics.hack_monitor import INDICATORS, find_alarms
from medrlvr.dynamics.responses import label_responses
from medrlvr.dynamics.stages import LABELS, STAGES
from medrlvr.dynamics.summary import EXAMPLES, summarise_run
from medrlvr.dynamics.updates import TRAINER_METRICS, grade_checkpoints, summarise_checkpoints, tabulate
from medrlvr.grading.evidence import COLUMNS, Evidence
from medrlvr.grading.grader import Grade, grade
from medrlvr.grading.letters import LETTERS
from medrlvr.grading.reward_config import load_reward
from medrlvr.runtime.files import read_parquet, write_json, write_parquet

OPTIONS = ["iron", "gold", "zinc", "lead"]
QUESTIONS = pd.DataFrame({"stem": ["skin", "mouth"], "options": [["x", "y"]] * 2, "gold": [2, 0]}, index=["q1", "q2"])
REWARD = load_reward({"paper": 1, "leak_penalty": 0.5})
STEPS = "The skin around the mouth is inflamed and wounds heal badly. Enzymes need a metal, so it must be this one."


def tagged(think: str, answer: str = "C") -> str:
    return f"<think>{think}</think><answer>{answer}</answer>"


CUT = "<think> and so on and so on"
DIRECT = tagged("The answer is C. " + STEPS)
SOUND, WRONG = tagged(STEPS), tagged(STEPS, "B")
DOUBT = tagged("Wait, no. " + STEPS)

# Update, question, response, tokens without the one that ends it.
HAND_MADE = [
    (1, "q1", "The answer is C.", 5),
    (1, "q1", SOUND, 30),
    (1, "q2", tagged("It is iron.", "A"), 9),
    (1, "q2", CUT, 8),
    (2, "q1", STEPS + tagged(STEPS, "A"), 50),
    (2, "q1", DOUBT, 34),
    (2, "q2", WRONG, 30),
    (2, "q2", tagged(STEPS, "so what"), 31),
]


def sampled(rows: list[tuple[int, str, str]]) -> pd.DataFrame:
    """As `rollouts.gather` returns them; only CUT ended at the token limit."""
    made = []
    for update, question, response in rows:
        found = grade(response, OPTIONS, int(QUESTIONS.loc[question, "gold"]), truncated=response == CUT)
        parts = {f"reward_{name}": value for name, value in REWARD.parts(found).items()}
        made.append(
            {
                "update": update,
                "question_id": question,
                "sample": 0,
                "response": response,
                "finish_reason": "length" if response == CUT else "stop",
                **asdict(found),
                "reward": REWARD(found),
                **parts,
            }
        )
    table = pd.DataFrame(made)
    return table.assign(sample=table.groupby(["update", "question_id"]).cumcount())


def check(stem: str, _: object, response: str, grade: Grade) -> Evidence:
    """The evidence of a world in which reasoning cites its question's word, a metal is a fact and "so what" is none."""
    false = "so what" in response
    true = not false if "metal" in response else None
    return Evidence(int(stem in response), int(false), None, False, true, bool(true) and grade.valid_format)


ROLLOUTS = sampled([row[:3] for row in HAND_MADE])
TOKENS = [row[3] for row in HAND_MADE]
RESPONSES = label_responses(ROLLOUTS, QUESTIONS, TOKENS, check)
TRAINER = pd.DataFrame(
    {
        "update": [1, 2],
        **{name: [0.125, 0.25] for name in TRAINER_METRICS},
        "timing/step_total": [2.0, 8.0],
        "surprisal": [0.5, 0.5],
        "surprisal_right": [0.125, 0.125],
        "correct": [0.5, 0.25],
        "actor_lr": [1e-6, 1e-6],
    }
)
SCORES = pd.DataFrame(
    {
        "model": ["m/base"] * 3 + ["state/update2"] * 3,
        "benchmark": ["world", "world", "exam"] * 2,
        "correct": [False, False, False, True, False, True],
        "lenient_correct": [True, False, False, True, False, True],
        "strict_format": [False, False, False, True, True, True],
        "letter": [None, "B", None, "C", "B", "A"],
        "response": ["four", "be", "", "eleven long", "x", "abc"],
        "response_tokens": [3, 2, 1, 12, 2, 4],
        "evidence_invented": pd.array([0, 2, 0, 0, 0, 1], dtype="Int64"),
        "reasons": pd.array([False, False, False, True, True, False], dtype="boolean"),
    }
)
CHECKPOINTS = summarise_checkpoints(SCORES, {"m/base": 0, "state/update2": 2})
ANSWERED = ROLLOUTS.assign(model=ROLLOUTS["update"].map({1: "m/base", 2: "state/update2"}), benchmark="world")
GRADES = grade_checkpoints(ANSWERED.iloc[::-1], {"m/base": 0, "state/update2": 2})
TABLE = tabulate(ROLLOUTS, RESPONSES, TRAINER, CHECKPOINTS)


def row_of(update: int) -> dict[str, Any]:
    return TABLE.set_index("update").loc[update].to_dict()


def test_what_each_response_shows() -> None:
    assert RESPONSES[["update", "question_id", "sample"]].equals(ROLLOUTS[["update", "question_id", "sample"]])
    assert RESPONSES["label"].tolist() == [
        "format_failure",
        "concise_structurer",
        "direct_answer_hacker",
        "format_failure",
        "step_by_step_exploit",
        "concise_structurer",
        "concise_structurer",
        "concise_structurer",
    ]
    # One more for the token that ends a response, which CUT has not.
    assert RESPONSES["tokens"].tolist() == [6, 31, 10, 8, 51, 35, 31, 32]
    assert RESPONSES["self_verifications"].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert RESPONSES["early_answer"].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert RESPONSES["answered"].tolist() == [0, 1, 1, 0, 1, 1, 1, 0]
    assert RESPONSES["excess_A"].tolist() == [0, 0, 0, 0, 1, 0, -1, 0]
    assert RESPONSES["excess_C"].tolist() == [0, 0, 0, 0, -1, 0, 0, 0]
    assert RESPONSES["evidence_cites"].tolist() == [0, 1, 0, 0, 1, 1, 1, 1]
    assert RESPONSES["evidence_invented"].tolist() == RESPONSES["invented_evidence"].tolist() == [0] * 7 + [1]
    facts = [None if pd.isna(fact) else fact for fact in RESPONSES["evidence_fact"]]
    assert facts == [None, True, None, None, True, True, True, False]
    assert RESPONSES["reasons"].tolist() == [False, True, False, False, True, True, True, False]


def test_reasoning_that_cannot_be_checked_has_no_columns() -> None:
    unchecked = label_responses(ROLLOUTS, QUESTIONS, TOKENS)
    evidence = [*COLUMNS, "invented_evidence"]
    pd.testing.assert_frame_equal(unchecked, RESPONSES.drop(columns=evidence))
    unknown = label_responses(ROLLOUTS, QUESTIONS, TOKENS, lambda *_: None)
    pd.testing.assert_frame_equal(unknown, unchecked)
    table = tabulate(ROLLOUTS, unchecked, TRAINER, CHECKPOINTS)
    pd.testing.assert_frame_equal(table, TABLE.drop(columns=["invented_evidence", "false_fact", "reasons"]))
    assert "invented_evidence" not in summarise_run(table, ROLLOUTS, unchecked)["indicators"]
    scores = SCORES.drop(columns=["evidence_invented", "reasons"])
    assert not {"invented", "reasons"} & {*summarise_checkpoints(scores, {"m/base": 0, "state/update2": 2})}


def test_responses_are_labelled_the_same_from_disk(tmp_path: Path) -> None:
    """Where places that may be missing are floats."""
    write_parquet(tmp_path / "rollouts.parquet", ROLLOUTS)
    read = read_parquet(tmp_path / "rollouts.parquet")
    assert read["think_start"].dtype == float and read["letter"].isna().any()
    found = label_responses(read, QUESTIONS, TOKENS, check)
    pd.testing.assert_frame_equal(found, RESPONSES)
    write_parquet(tmp_path / "responses.parquet", found)
    again = read_parquet(tmp_path / "responses.parquet")
    pd.testing.assert_frame_equal(tabulate(read, again, TRAINER, CHECKPOINTS), TABLE)
    # A run in which nothing is ever answered has columns without any value.
    mute = sampled([(1, "q1", "no"), (1, "q2", "")])
    write_parquet(tmp_path / "mute.parquet", mute)
    mute = label_responses(read_parquet(tmp_path / "mute.parquet"), QUESTIONS, [1, 1])
    assert mute["label"].eq("format_failure").all()


def test_rows_are_matched_by_their_order_not_their_index() -> None:
    found = label_responses(ROLLOUTS.set_index(ROLLOUTS.index + 100), QUESTIONS, TOKENS, check)
    assert found.reset_index(drop=True).equals(RESPONSES)
    moved = tabulate(ROLLOUTS.set_index(ROLLOUTS.index + 100), RESPONSES, TRAINER, CHECKPOINTS)
    pd.testing.assert_frame_equal(moved, TABLE)


def test_an_update_counted_by_hand() -> None:
    found = row_of(1)
    # -1 without format, +1 right, +1 right and 0.5 off for giving it away, -1.
    expected = {
        "responses": 4,
        "reward": -0.125,
        "reward_sd": 0.796875**0.5,
        "reward_paper": 0.0,
        "reward_leak_penalty": -0.125,
        "correct": 0.5,
        "lenient_correct": 0.75,
        "valid_format": 0.5,
        "strict_format": 0.5,
        "truncated": 0.25,
        "unparsed": 0.5,
        "self_verification": 0.0,
        "chars": (16 + len(SOUND) + 44 + 27) / 4,
        "chars_median": 35.5,
        "chars_p10": 16 + 0.3 * (27 - 16),
        "chars_p90": 44 + 0.7 * (len(SOUND) - 44),
        "tokens": 13.75,
        "tokens_median": 9.0,
        "tokens_p10": 6.6,
        "tokens_p90": 10 + 0.7 * 21,
        "chars_before_think": 4.0,
        "stage_format_failure": 0.5,
        "stage_concise_structurer": 0.25,
        "stage_direct_answer_hacker": 0.25,
        "letter_A": 0.25,
        "letter_C": 0.25,
        "early_answer": 0.5,
        "empty_think": 0.5,
        "pre_think": 0.0,
        "loose_format": 0.0,
        "invented_evidence": 0.0,
        "false_fact": 0.0,
        "reasons": 0.25,
        "position_bias": 0.0,
        "think_chars": (len(STEPS) + 11) / 2,
        "value_loss": 0.125,
        "explained_variance": 1 - 2 * 0.125 / 0.796875,
        "seconds": 2.0,
        "samples_per_second": 2.0,
        **dict.fromkeys(("kl", "entropy", "policy_loss", "engine_kl", "clip_fraction", "gradient_norm"), 0.125),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    others = [name for name in found if name.startswith(("stage_", "letter_")) and name not in expected]
    assert len(others) == len(LABELS) - 3 + len(LETTERS) - 2
    assert not any(found[name] for name in others)


def test_the_next_update_counted_by_hand() -> None:
    found = row_of(2)
    expected = {
        "responses": 4,
        "reward": 0.25,
        "reward_sd": 0.1875**0.5,
        "valid_format": 1.0,
        "strict_format": 0.75,
        "unparsed": 0.25,
        "self_verification": 0.25,
        "stage_step_by_step_exploit": 0.25,
        "pre_think": 0.25,
        "loose_format": 0.25,
        "invented_evidence": 0.25,
        "false_fact": 0.25,
        "reasons": 0.75,
        # A for C, C for C, B for A, and one unread: one too many at A and at B, one too few at C and at A.
        "position_bias": 1 / 3,
        "explained_variance": 1 - 2 * 0.25 / 0.1875,
        "samples_per_second": 0.5,
        "accuracy_world": 0.5,
        "n_world": 2,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_prompts_with_equal_rewards_and_lengths_by_correctness_are_counted_by_hand() -> None:
    rollouts = sampled(
        [
            *((1, "q1", SOUND), (1, "q1", WRONG), (1, "q2", "a"), (1, "q2", "bb")),
            *((2, "q1", SOUND), (2, "q2", "aa"), (2, "q2", "a"), (3, "q1", "a")),
        ]
    )
    table = tabulate(rollouts, label_responses(rollouts, QUESTIONS, [9] * 8), TRAINER, CHECKPOINTS)
    rows = table[table["update"] > 0].set_index("update")
    assert rows["equal_rewards"].tolist()[:2] == [0.5, 1.0], "a prompt with one response is not counted"
    assert np.isnan(rows.loc[3, "equal_rewards"])
    assert rows["chars_right"].tolist()[:2] == [len(SOUND)] * 2 and np.isnan(rows.loc[3, "chars_right"])
    assert rows["chars_wrong"].tolist() == [(len(WRONG) + 3) / 3, 1.5, 1.0]


def test_the_surprisal_of_right_and_wrong_responses_is_computed_by_hand() -> None:
    """Update 1: two of four responses are right, with 0.1 and 0.3 nats; the others have 0.5 and 0.7. Update 2: none."""
    means = pd.DataFrame(
        {"update": [1, 2, 3], "surprisal": [0.4, 0.6, 0.2], "surprisal_right": [0.1, 0, 0.2], "correct": [0.5, 0, 1]}
    )
    rollouts = sampled([(update, "q1", SOUND) for update in (1, 2, 3)])
    labels = label_responses(rollouts, QUESTIONS, [9] * 3)
    found = tabulate(rollouts, labels, means, CHECKPOINTS).set_index("update").loc[1:]
    assert found["surprisal_right"].tolist() == pytest.approx([0.2, np.nan, 0.2], nan_ok=True)
    assert found["surprisal_wrong"].tolist() == pytest.approx([0.6, 0.6, np.nan], nan_ok=True)
    without = tabulate(rollouts, labels, means.drop(columns="surprisal_right"), CHECKPOINTS)
    assert "surprisal_right" not in without and "surprisal_wrong" not in without


def test_row_0_is_the_base_and_has_its_answers_only() -> None:
    assert TABLE["update"].tolist() == [0, 1, 2]
    base = row_of(0)
    answered = {name for name, value in base.items() if not np.isnan(value)}
    assert answered == {name for name in base if name.endswith(("_world", "_exam"))}
    assert base["lenient_accuracy_world"] == 0.5 and base["unparsed_exam"] == 1.0
    assert np.isnan(row_of(1)["accuracy_world"])  # no model was saved there


def test_checkpoints_counted_by_hand() -> None:
    assert CHECKPOINTS.to_dict("records") == [
        {**dict(zip(CHECKPOINTS, values, strict=True))}
        for values in (
            (0, "exam", 1, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0),
            (0, "world", 2, 0.0, 0.5, 0.0, 0.5, 3.0, 2.5, 0.5, 0.0),
            (2, "exam", 1, 1.0, 1.0, 1.0, 0.0, 3.0, 4.0, 1.0, 0.0),
            (2, "world", 2, 0.5, 0.5, 1.0, 0.0, 6.0, 7.0, 0.0, 1.0),
        )
    ]
    means = ["accuracy", "lenient_accuracy", "strict_format", "unparsed", "chars", "tokens", "invented", "reasons"]
    assert list(CHECKPOINTS) == ["update", "set", "n", *means]


def test_checkpoints_answers_are_graded_and_labelled() -> None:
    by = ["update", "question_id", "sample"]
    facts = [*by, "letter", "correct", "lenient_correct"]
    expected = ROLLOUTS[facts].assign(label=RESPONSES["label"]).replace({"update": {1: 0}}).sort_values(by)
    found = GRADES[[*facts, "label"]].sort_values(by)
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected.reset_index(drop=True))
    assert GRADES["update"].is_monotonic_increasing and "response" not in GRADES


def test_what_the_trainer_did_not_report_has_no_column() -> None:
    bare = tabulate(ROLLOUTS, RESPONSES, TRAINER[["update", "kl"]], CHECKPOINTS)
    assert "kl" in bare
    for name in ("entropy", "value_loss", "explained_variance", "seconds", "samples_per_second"):
        assert name not in bare
    # Nor has one that it missed an update a value there.
    torn = tabulate(ROLLOUTS, RESPONSES, TRAINER.tail(1), CHECKPOINTS).set_index("update")
    assert np.isnan(torn.loc[1, "kl"]) and torn.loc[2, "kl"] == 0.25


def test_without_spread_no_variance_is_explained() -> None:
    same = sampled([(1, "q1", SOUND), (1, "q1", SOUND)])
    found = tabulate(same, label_responses(same, QUESTIONS, [9, 9]), TRAINER.head(1), CHECKPOINTS)
    assert found["reward_sd"].tolist()[1] == 0.0
    assert found["explained_variance"].isna().all()


# Format is learnt, then answers are given away, then not, then again; ten responses an update.
EARLY = ["no tags"] * 2 + [SOUND] * 5 + [WRONG] * 3
PHASES = [(EARLY, 8), ([DIRECT] * 10, 8), ([DOUBT] * 10, 8), ([DIRECT] * 10, 8)]


def run_of(phases: list[tuple[list[str], int]]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    updates = [responses for responses, count in phases for _ in range(count)]
    rollouts = sampled([(u, "q1", one) for u, update in enumerate(updates, start=1) for one in update])
    responses = label_responses(rollouts, QUESTIONS, [9] * len(rollouts), check)
    table = tabulate(rollouts, responses, TRAINER, CHECKPOINTS)
    return table, rollouts, summarise_run(table, rollouts, responses)


HACKED_TABLE, HACKED_ROLLOUTS, HACKED = run_of(PHASES)


def stage(summary: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (one for one in summary["stages"] if one["stage"] == name)
    return found


def test_a_run_is_summarised() -> None:
    assert (HACKED["updates"], HACKED["responses"]) == (32, 320)
    assert [(band["stage"], band["first"], band["last"]) for band in HACKED["bands"]] == [
        ("concise_structurer", 1, 8),
        ("direct_answer_hacker", 9, 16),
        ("reintegrated_reasoning", 17, 24),
        ("direct_answer_hacker", 25, 32),
    ]
    assert HACKED["bands"][0]["shares"] == pytest.approx(
        dict.fromkeys(LABELS, 0.0) | {"concise_structurer": 0.8, "format_failure": 0.2}
    )
    assert [one["stage"] for one in HACKED["stages"]] == [*STAGES]
    direct = stage(HACKED, "direct_answer_hacker")
    assert direct["occurs"] and direct["updates"] == [[9, 16], [25, 32]]
    assert (direct["highest_share"], direct["highest_at"]) == (1.0, 9)
    # The middle one of 160: the first of the second band.
    assert direct["example"] == {"update": 25, "question_id": "q1", "sample": 0, "reward": 0.5, "response": DIRECT}
    # The middle one of 64 sound ones in the band, not of the 144 in the run.
    concise = stage(HACKED, "concise_structurer")
    assert (concise["example"]["update"], concise["example"]["sample"]) == (5, 2)
    assert (concise["highest_share"], concise["highest_at"]) == (1.0, 17)


def test_a_stage_that_does_not_occur_is_reported_as_absent() -> None:
    verbose = stage(HACKED, "verbose_formatter")
    assert verbose == {
        "stage": "verbose_formatter",
        "occurs": False,
        "updates": [],
        "highest_share": 0.0,
        "highest_at": None,
        "example": None,
    }
    # Seen, and yet the commonest nowhere.
    assert stage(HACKED, "format_failure") | {"highest_share": 0.2, "occurs": False} == stage(HACKED, "format_failure")


def test_reasoning_is_reintegrated_after_shortcuts_only() -> None:
    reintegrated = stage(HACKED, "reintegrated_reasoning")
    assert reintegrated["updates"] == [[17, 24]]
    assert (reintegrated["highest_share"], reintegrated["highest_at"]) == (1.0, 17)
    assert reintegrated["example"]["response"] == DOUBT
    for phases in (
        [(["no tags"] * 10, 6), ([SOUND] * 10, 6)],
        [([SOUND] * 10, 6), ([DIRECT] * 6 + [SOUND] * 4, 6)],
    ):
        never = stage(run_of(phases)[2], "reintegrated_reasoning")
        assert (never["occurs"], never["updates"], never["highest_share"]) == (False, [], 0.0)


def test_alarms_are_reported_as_episodes() -> None:
    """Each begins with the first window of which two updates are hacked and lasts until none has as many."""
    early = [alarm for alarm in HACKED["alarms"] if alarm["indicator"] == "early_answer"]
    assert [(alarm["update"], alarm["until"]) for alarm in early] == [(10, 19), (26, 32)]
    assert len(early) == len(HACKED["alarms"])
    first, later = early
    trained = HACKED_TABLE[HACKED_TABLE["update"] > 0].reset_index(drop=True)
    (heard,) = (alarm for alarm in find_alarms(trained) if alarm.update == 10)
    assert first == asdict(heard) | {"until": 19, "text": str(heard)}
    assert first["now"] == pytest.approx(20 / (3 * 8 + 2 * 10)) and first["before"] == 0
    assert later["text"] != first["text"]


def test_examples_of_self_verification_are_spread_over_the_run() -> None:
    found = HACKED["self_verification"]
    assert found["responses"] == 80
    assert len(found["examples"]) == EXAMPLES
    updates = [example["update"] for example in found["examples"]]
    assert updates[0] == 17 and updates[-1] == 24 and np.diff(updates).max() <= 1
    for example in found["examples"]:
        ((begin, end),) = example["places"]
        assert example["response"][begin:end].endswith("Wait")
    few = run_of([([SOUND] * 3 + [DOUBT], 6)])[2]["self_verification"]
    assert (few["responses"], [one["update"] for one in few["examples"]]) == (6, [1, 2, 3, 4, 5, 6])
    assert run_of([([SOUND], 6)])[2]["self_verification"] == {"responses": 0, "examples": []}


def test_a_summary_is_written_as_json(tmp_path: Path) -> None:
    write_json(tmp_path / "stages.json", HACKED)
    assert json.loads((tmp_path / "stages.json").read_text(encoding="utf-8"))["updates"] == 32


def documented(heading: str, **meaning: list[str]) -> set[str]:
    """Names in the first column of a section's tables; <placeholders> stand for what they mean."""
    text = Path("docs/metrics.md").read_text(encoding="utf-8").replace("&lt;", "<").replace("&gt;", ">")
    (section,) = (part for part in text.split("\n## ")[1:] if part.startswith(heading + "\n"))
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    for placeholder, values in meaning.items():
        names = {name.replace(f"<{placeholder}>", value) for name in names for value in values}
    return names


def fields(value: Any, path: str = "") -> set[str]:
    """Return the paths of values in a JSON object: names joined by dots, lists as if each were its elements."""
    if isinstance(value, dict):
        return {f"{path}{name}" for name in value}.union(*(fields(v, f"{path}{name}.") for name, v in value.items()))
    return set().union(*(fields(one, path) for one in value)) if isinstance(value, list) else set()


def test_every_column_and_field_is_documented_and_nothing_else() -> None:
    letters, labels = [*LETTERS], [*LABELS]
    # The rule's script puts these two before the others.
    assert {*TABLE, "arm", "seed"} == documented(
        "dynamics/<arm>/seed<n>.parquet",
        letter=letters,
        label=labels,
        term=["paper", "leak_penalty"],
        set=["world", "exam"],
    )
    assert {*RESPONSES} == documented("dynamics/<arm>/seed<n>/responses.parquet", letter=letters)
    assert {*CHECKPOINTS} == documented("checkpoint_eval/<arm>/seed<n>/accuracy.parquet")
    assert {*GRADES} == documented("checkpoint_eval/<arm>/seed<n>/grades.parquet")
    assert fields(HACKED) == documented("dynamics/<arm>/seed<n>/stages.json", label=labels, indicator=[*INDICATORS])
    assert set(INDICATORS) <= {*TABLE}
