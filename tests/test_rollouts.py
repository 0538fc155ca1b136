"""Rollouts: cutting the prompt off, dividing rows into updates, resuming; the reward hook itself."""

import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from medrlvr.config.arms import update_sizes
from medrlvr.grading.reward_config import reward_to_json
from medrlvr.runtime.errors import UserError
from medrlvr.training.openrlhf import HOOK
from medrlvr.training.rollouts import (
    FAILURE_FILE,
    PromptMismatch,
    collect_rollouts,
    complete_rollouts,
    numbered_label,
    read_attempt,
    split_response,
    start_attempt,
)

PROMPT = "Reason in <think> </think> and <answer> </answer> tags.\nUser: x\nAssistant:"


def write(attempt: Path, *updates: str, first: int = 1, shard: str = "a") -> None:
    """Append one row for each question, a letter; the words are the questions of consecutive updates."""
    rows = [(update, question) for update, word in enumerate(updates, first) for question in word]
    with (attempt / f"{shard}.jsonl").open("a", encoding="utf-8") as file:
        for i, (update, question) in enumerate(rows):
            row = {"update": update, "question_id": question, "response": f"{question}.{i}", "reward": 0.0}
            print(json.dumps(row), file=file)


def test_the_prompt_is_cut_off_exactly():
    assert split_response(PROMPT + " yes<eos>", PROMPT, "<eos>") == (" yes", "stop")
    assert split_response(PROMPT + " yes", PROMPT, "<eos>") == (" yes", "length")
    assert split_response(PROMPT + "<eos>", PROMPT, "<eos>") == ("", "stop")


def test_only_the_last_end_of_text_is_removed():
    assert split_response("p a<eos><eos>", "p", "<eos>") == (" a<eos>", "stop")


@pytest.mark.parametrize("query", [PROMPT[5:] + " yes", "", PROMPT.replace("\n", " ") + " yes"])
def test_a_text_that_does_not_begin_with_its_prompt_is_rejected(query):
    with pytest.raises(PromptMismatch, match="prompt_max_tokens"):
        split_response(query, PROMPT, "<eos>")


def test_update_sizes_leave_a_smaller_last_update_in_every_episode():
    assert update_sizes(10, 4, 2) == [4, 4, 2, 4, 4, 2]
    assert update_sizes(8, 4, 1) == [4, 4]
    assert len(update_sizes(10_178, 928, 10)) == 110


def test_rows_of_several_processes_are_joined_by_their_update(tmp_path):
    """Whatever the clocks and the order in which the processes wrote."""
    attempt = start_attempt(tmp_path, 1)
    write(attempt, "aba", "c", shard="one")
    write(attempt, "c", first=2, shard="two")
    write(attempt, "b", shard="two")
    table = collect_rollouts(tmp_path, [2, 1], samples_per_prompt=2)
    assert table[["update", "question_id", "sample"]].values.tolist() == [
        [1, "a", 0], [1, "a", 1], [1, "b", 0], [1, "b", 1], [2, "c", 0], [2, "c", 1],
    ]  # fmt: skip
    assert table["response"].tolist()[:2] == ["a.0", "a.2"]


def test_the_last_attempt_at_an_update_wins_and_none_counts_twice(tmp_path):
    first = start_attempt(tmp_path, 1)
    write(first, "ab", "cd", "o")
    second = start_attempt(tmp_path, 2)
    write(second, "xy", "z", first=2)
    third = start_attempt(tmp_path, 3)
    write(third, "uv", first=3)
    table = collect_rollouts(tmp_path, [2, 2, 2], samples_per_prompt=1)
    assert table["question_id"].tolist() == ["a", "b", "x", "y", "u", "v"]


def test_updates_beyond_the_plan_are_not_taken(tmp_path):
    write(start_attempt(tmp_path, 1), "a", "b", "c")
    assert collect_rollouts(tmp_path, [1, 1], samples_per_prompt=1)["question_id"].tolist() == ["a", "b"]


def test_a_missing_update_is_named(tmp_path):
    write(start_attempt(tmp_path, 1), "ab", "c")
    with pytest.raises(UserError, match=r"1 of 2 updates.*update 2"):
        collect_rollouts(tmp_path, [2, 2], samples_per_prompt=1)


def test_complete_updates_are_found_without_a_table(tmp_path):
    write(start_attempt(tmp_path, 1), "aabb", "ccd", "eef")
    write(start_attempt(tmp_path, 2), "ccdd", first=2)
    assert complete_rollouts(tmp_path, [2, 2, 2], samples_per_prompt=2) == {1, 2}
    assert complete_rollouts(tmp_path, [2, 2, 1], samples_per_prompt=2) == {1, 2}, "three responses are not one of two"
    write(start_attempt(tmp_path, 3), "eeff", first=3)
    assert complete_rollouts(tmp_path, [2, 2], samples_per_prompt=2) == {1, 2}
    assert complete_rollouts(tmp_path, [2, 2, 2], samples_per_prompt=2) == {1, 2, 3}


def test_lost_rows_are_not_mistaken_for_another_division(tmp_path):
    write(start_attempt(tmp_path, 1), "aabc", "ccdd")
    with pytest.raises(UserError, match="update 1 has 1 responses to question b instead of 2"):
        collect_rollouts(tmp_path, [2, 2], samples_per_prompt=2)


TORN = [b'{"time": 3, "que', b'{"time": 3, "que\n', b"\x00" * 40, b"\xff\xfe{\n", b"null\n"]


@pytest.mark.parametrize("tear", TORN)
def test_a_torn_line_costs_that_row_only(tmp_path, tear):
    attempt = start_attempt(tmp_path, 1)
    write(attempt, "ab")
    with (attempt / "a.jsonl").open("ab") as file:
        file.write(tear)
    assert collect_rollouts(tmp_path, [2], samples_per_prompt=1)["question_id"].tolist() == ["a", "b"]
    # The update that lacks the row is missing, not shorter.
    with (attempt / "a.jsonl").open("ab") as file:
        file.write(b'\n{"update": 2, "question_id": "c"}\n')
    with pytest.raises(UserError, match=r"the first is update 2\. Delete"):
        collect_rollouts(tmp_path, [2, 2], samples_per_prompt=1)


def test_the_label_of_a_prompt_gets_its_update():
    label = json.dumps({"question_id": "q", "options": ["\u00b5", "x"], "gold": 1})
    assert json.loads(numbered_label(label, 7)) == json.loads(label) | {"update": 7}


@pytest.fixture
def hook(tmp_path, monkeypatch):
    """The hook, loaded as OpenRLHF loads it, and where it writes."""
    monkeypatch.setenv("MEDRLVR_ROLLOUTS", str(tmp_path))
    monkeypatch.setenv("MEDRLVR_REWARD", reward_to_json("paper"))
    monkeypatch.setenv("MEDRLVR_END_OF_TEXT", "<eos>")
    spec = importlib.util.spec_from_file_location("reward_func", HOOK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.reward_func


LABEL = json.dumps({"question_id": "q1", "options": ["x", "y"], "gold": 1, "update": 1})


def test_the_hook_grades_only_the_response_and_records_it(hook, tmp_path):
    right = " <think> t </think><answer> B </answer>"
    assert hook([PROMPT + right + "<eos>"], [PROMPT], [LABEL])["rewards"] == 1.0
    assert hook([PROMPT + right.replace("B", "A")], [PROMPT], [LABEL])["scores"] == 0.0
    # The prompt holds a valid pair of tags, so a hook that graded all of the text would give this one 0.
    logged = hook([PROMPT + " B"], [PROMPT], [LABEL])
    assert logged["rewards"] == -1.0 and logged["extra_logs"]["valid_format"] == 0.0
    (shard,) = tmp_path.glob("*.jsonl")
    rows = [json.loads(line) for line in shard.read_text(encoding="utf-8").splitlines()]
    assert [row["reward"] for row in rows] == [row["reward_paper"] for row in rows] == [1.0, 0.0, -1.0]
    assert rows[0]["response"] == right and rows[0]["finish_reason"] == "stop" and rows[0]["question_id"] == "q1"
    assert [row["truncated"] for row in rows] == [False, True, True]
    assert rows[1]["finish_reason"] == "length" and rows[0]["strict_format"] and rows[0]["letter"] == "B"


def test_a_replaced_label_determines_the_reward_and_nothing_else(hook, tmp_path):
    """Without a replaced label, the row and the reward are those of the right option alone."""
    spurious = json.dumps(json.loads(LABEL) | {"label": 0})
    right, labelled = (f" <think> t </think><answer> {letter} </answer><eos>" for letter in "BA")
    plain = [hook([PROMPT + text], [PROMPT], [LABEL]) for text in (right, labelled)]
    found = [hook([PROMPT + text], [PROMPT], [spurious]) for text in (right, labelled)]
    assert [one["rewards"] for one in plain] == [1.0, 0.0] and [one["rewards"] for one in found] == [0.0, 1.0]
    assert [one["extra_logs"]["correct"] for one in found] == [1.0, 0.0]
    (shard,) = tmp_path.glob("*.jsonl")
    rows = [json.loads(line) for line in shard.read_text(encoding="utf-8").splitlines()]
    assert [row["correct"] for row in rows] == [True, False] * 2
    assert [row.get("rewarded_letter") for row in rows] == [None, None, "A", "A"]
    assert {key: value for key, value in rows[2].items() if key in rows[0] and not key.startswith("reward")} == {
        key: value for key, value in rows[0].items() if not key.startswith("reward")
    }


def test_a_random_reward_is_an_independent_draw_for_each_response_and_the_same_in_every_order(hook, monkeypatch):
    monkeypatch.setenv("MEDRLVR_SEED", "1")
    monkeypatch.setenv("MEDRLVR_REWARD", reward_to_json("random"))
    text = PROMPT + "<think> t </think><answer> {} </answer><eos>"

    def draws(letters: str, update: int) -> list[tuple[str, float]]:
        label = json.dumps(json.loads(LABEL) | {"update": update})
        return [(one, hook([text.format(one)], [PROMPT], [label])["rewards"]) for one in letters]

    first = draws("AB" * 200, 1)
    assert {reward for _, reward in first} == {0.0, 1.0}, "equal texts have different draws"
    for letter in "AB":
        share = np.mean([reward for one, reward in first if one == letter])
        assert 0.4 < share < 0.6, "whether the letter is right does not matter"
    other = draws("AB" * 200, 2)
    assert other != first, "another update has other draws"
    again = draws("A" * 200 + "B" * 200, 1)
    assert sorted(again) == sorted(first), "as in a resumed attempt, whatever the order of arrival"
    assert [reward for one, reward in again if one == "A"] == [reward for one, reward in first if one == "A"]
    monkeypatch.setenv("MEDRLVR_SEED", "2")
    assert draws("AB" * 200, 3) != other
    assert hook([PROMPT + " B"], [PROMPT], [LABEL])["rewards"] == -1.0, "as in the paper, without a valid format"


def test_each_term_of_the_reward_is_logged_and_becomes_a_column(hook, tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    file.write_text("def reward(grade):\n    return 0.125 * grade.think_chars\n")
    monkeypatch.setenv("MEDRLVR_REWARD", reward_to_json({"paper": 1, str(file): 2}))
    attempt = start_attempt(tmp_path, 1)
    monkeypatch.setenv("MEDRLVR_ROLLOUTS", str(attempt))
    result = hook([PROMPT + "<think>t</think><answer>B</answer><eos>"], [PROMPT], [LABEL])
    assert result["rewards"] == 1.25
    logged = result["extra_logs"]
    assert (logged["reward_paper"], logged["reward_mine"]) == (1.0, 0.25)
    assert all(isinstance(value, float) for value in logged.values()), "OpenRLHF takes means of numbers alone"
    # The reward-hacking monitor's facts are among them, and of this response.
    assert (logged["valid_format"], logged["empty_think"], logged["excess_B"], logged["answered"]) == (1, 1, 0, 1)
    table = collect_rollouts(tmp_path, [1], samples_per_prompt=1)
    assert table[["reward", "reward_paper", "reward_mine"]].values.tolist() == [[1.25, 1.0, 0.25]]


def test_invented_findings_are_logged_where_reasoning_can_be_checked(hook, monkeypatch):
    prompt = "User: A nurse has cough, fever and sputum. Which drug treats it?\nAssistant:"
    right, invented = (f"<think> {word}, so B </think><answer>B</answer>" for word in ("cough", "wheeze"))
    assert "invented_evidence" not in hook([prompt + right], [prompt], [LABEL])["extra_logs"]
    monkeypatch.setenv("MEDRLVR_EVIDENCE", "miniature")
    logged = [hook([prompt + text], [prompt], [LABEL])["extra_logs"] for text in (right, invented, "wheeze")]
    assert [one["invented_evidence"] for one in logged] == [0.0, 1.0, 0.0], "only of a valid format"
    assert "invented_evidence" not in hook([PROMPT + right], [PROMPT], [LABEL])["extra_logs"], "of another world"


def test_rewards_to_one_prompt_that_are_equal_have_no_spread_to_divide_by(hook, tmp_path, monkeypatch):
    """As GRPO does it in OpenRLHF 0.11.2, in float32."""
    torch = pytest.importorskip("torch")

    def advantages(value):
        rewards = torch.full((1, 8), value)
        return (rewards - rewards.mean(-1, keepdim=True)) / (rewards.std(-1, keepdim=True) + 1e-9)

    assert advantages(0.1).abs().max() > 0.5
    file = tmp_path / "mine.py"
    file.write_text("def reward(grade):\n    return 0.1\n")
    monkeypatch.setenv("MEDRLVR_REWARD", reward_to_json(str(file)))
    told = hook([PROMPT + " B"], [PROMPT], [LABEL])
    assert told["rewards"] == told["scores"] == pytest.approx(0.1, abs=1e-5)
    assert advantages(told["rewards"]).abs().max() == 0
    (shard,) = tmp_path.glob("*.jsonl")
    assert json.loads(shard.read_text(encoding="utf-8"))["reward"] == 0.1


@pytest.mark.parametrize(
    ("query", "label", "said"), [("other", LABEL, "does not start with its prompt"), (PROMPT + " x", "{}", "KeyError")]
)
def test_a_failing_hook_leaves_a_note_that_ends_the_run(hook, tmp_path, query, label, said):
    with pytest.raises((PromptMismatch, KeyError)):
        hook([query], [PROMPT], [label])
    note = (tmp_path / FAILURE_FILE).read_text(encoding="utf-8")
    assert said in note and repr(query) in note and label in note


def test_a_reward_that_raises_is_named_with_the_response(hook, tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    file.write_text("def reward(grade):\n    return 1 / (grade.think_chars - 2)\n")
    monkeypatch.setenv("MEDRLVR_REWARD", reward_to_json(str(file)))
    assert hook([PROMPT + "<think>abc</think>"], [PROMPT], [LABEL])["rewards"] == 1.0
    with pytest.raises(ZeroDivisionError):
        hook([PROMPT + "<think>ab</think>"], [PROMPT], [LABEL])
    note = (tmp_path / FAILURE_FILE).read_text(encoding="utf-8")
    assert note.startswith(f"ZeroDivisionError: division by zero ({file}, line 2)\n")
    assert "<think>ab</think>" in note and '"question_id": "q1"' in note


def test_the_first_of_many_failures_is_recorded_completely(hook, tmp_path):
    def fail(number):
        with pytest.raises(KeyError):
            hook([PROMPT + f" {number} " + "x" * 10_000], [PROMPT], ["{}"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fail, range(200)))
    note = (tmp_path / FAILURE_FILE).read_text(encoding="utf-8")
    assert note.count("KeyError") == 1 and note.count("labels:") == 1 and note.endswith("x']\n")


WRITER = """
import importlib.util, json, os, sys, threading
spec = importlib.util.spec_from_file_location("reward_func", sys.argv[1])
hook = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hook)
label = json.dumps({"question_id": "q1", "options": ["x", "y"], "gold": 1, "update": 1})

def work(thread):
    number = 0
    while True:
        hook.reward_func([f"P{os.getpid()} {thread} {number} " + "long " * 200], ["P"], [label])
        number += 1
        if number == 50:
            os.write(1, b"ready\\n")  # one call: print writes the line end apart, and threads would mix them

for thread in range(4):
    threading.Thread(target=work, args=(thread,)).start()
"""


def test_rows_survive_a_kill_of_many_writers(tmp_path):
    """Four threads in each of three processes, killed while they write: all written rows are whole and in order."""
    environment = os.environ | {"MEDRLVR_ROLLOUTS": str(tmp_path), "MEDRLVR_REWARD": reward_to_json("paper")}
    environment |= {"MEDRLVR_END_OF_TEXT": "<eos>", "PYTHONPATH": "src"}
    command = [sys.executable, "-c", WRITER, str(HOOK)]
    writers = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for writer in writers:
        for _ in range(4):
            assert writer.stdout.readline() == "ready\n"
        writer.kill()
    for writer in writers:
        writer.communicate()
    rows = list(read_attempt(tmp_path))
    for writer in writers:
        for thread in range(4):
            start = f"{writer.pid} {thread} "
            mine = [int(row["response"].split()[2]) for row in rows if row["response"].startswith(start)]
            assert mine == list(range(len(mine))) and len(mine) >= 50
    assert all(row["response"].endswith("long ") for row in rows)
