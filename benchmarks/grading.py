"""Measure the time of grading, by kind and length of response, of the import and of the hook, for docs/grading.md.

make rewards, after make demo
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from medrlvr.grading.grader import grade
from medrlvr.grading.letters import LETTERS
from medrlvr.grading.reward_config import reward_to_json
from medrlvr.reference.markdown import splice
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet, write_text
from medrlvr.training.openrlhf import HOOK
from medrlvr.training.rollouts import numbered_label

DOCUMENT = Path("docs/grading.md")
SOURCE = Path("src").resolve()
RESULTS = Path("results/miniature")
OPTIONS = ["ascorbic acid", "thiamine", "retinol", "niacin", "calcium carbonate"]
SENTENCE = "The findings fit a lack of something, and the answer is found by looking at each option in turn. "
WEIGHING = (
    "A patient of forty years has bleeding gums (A). Option B, thiamine, would show otherwise, and C is less likely. "
)
LIST = "".join(
    f"{letter}. {option}: it would show in another way.\n" for letter, option in zip(LETTERS, OPTIONS, strict=False)
)
KINDS = {
    "reasoning that names no option": f"<think>{SENTENCE * 10}</think><answer>B</answer>",
    "reasoning that discusses options": f"<think>{WEIGHING * 9}</think><answer>B. thiamine</answer>",
    "reasoning that lists the options": f"<think>{LIST * 5}</think><answer>B</answer>",
    "reasoning with characters outside ASCII": f"<think>{(SENTENCE + 'β ≥ 3 µg. ') * 9}</think><answer>B</answer>",
    "no tags, a stated answer": f"{SENTENCE * 10}The answer is B.",
    "no tags, no answer": SENTENCE * 10,
    "no tags, begins with the letter": f"B. thiamine. {WEIGHING * 9}",
    "explanation in the answer block": f"<think>x</think><answer>B: thiamine. {WEIGHING * 9}</answer>",
    "no tags, a statement in each sentence": "I would choose the food. The answer is not certain. " * 19,
    "letters everywhere": f"<think>{'A or B or C is it? ' * 52}</think><answer>B</answer>",
}
"""Name -> a response of about 1,000 characters, in the order of docs/grading.md."""


def seconds_each(call: Callable[[], object], repeats: int) -> float:
    """Return the lowest of five mean processor times of a call, in seconds."""
    means = []
    for _ in range(5):
        began = time.thread_time()
        for _ in range(repeats):
            call()
        means.append((time.thread_time() - began) / repeats)
    return min(means)


def by_kind() -> str:
    lines = ["| response | characters | us | responses per second |", "|---|---:|---:|---:|"]
    for kind, text in KINDS.items():
        seconds = seconds_each(lambda text=text: grade(text, OPTIONS, 1), 500)
        lines.append(f"| {kind} | {len(text):,} | {1e6 * seconds:.0f} | {1 / seconds:,.0f} |")
    return "\n".join(lines)


def of_the_import() -> str:
    """Return the time that an interpreter needs for `import medrlvr.grading`, the median of 20."""
    program = (
        f"import sys, time; sys.path.insert(0, {str(SOURCE)!r}); began = time.process_time();"
        " import medrlvr.grading; print(time.process_time() - began)"
    )
    command = [sys.executable, "-I", "-S", "-c", program]
    seconds = [float(subprocess.check_output(command)) for _ in range(20)]
    return f"`import medrlvr.grading` needs {1000 * statistics.median(seconds):.0f} ms."


def by_length() -> str:
    lines = ["| characters | ms | ns per character |", "|---:|---:|---:|"]
    for size in (300, 3_000, 30_000, 300_000):
        text = f"<think>{SENTENCE * (size // len(SENTENCE))}</think><answer>B</answer>"
        seconds = seconds_each(lambda text=text: grade(text, OPTIONS, 1), max(1, 300_000 // size))
        lines.append(f"| {len(text):,} | {1000 * seconds:.3f} | {1e9 * seconds / len(text):.0f} |")
    return "\n".join(lines)


def of_a_step() -> str:
    """Return the reward hook's share of an update of the miniature, whose last responses it grades again."""
    run = RESULTS / "dynamics/rlvr/seed1.parquet"
    if not run.is_file():
        raise UserError(f"{run} does not exist. Run `make demo` first: the hook is compared with its updates.")
    updates = read_parquet(run)
    rollouts = read_parquet(RESULTS / "rollouts/rlvr/seed1/rollouts.parquet")
    last = rollouts[rollouts["update"] == rollouts["update"].max()]
    lines = (RESULTS / "prompts/rlvr.jsonl").read_text(encoding="utf-8").splitlines()
    asked = {json.loads(row["label"])["question_id"]: row for row in map(json.loads, lines)}
    calls = []
    for row in last.to_dict("records"):
        prompt, label = (asked[row["question_id"]][name] for name in ("input", "label"))
        calls.append(([f"{prompt}{row['response']}<eos>"], [prompt], [numbered_label(label, int(row["update"]))]))
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "MEDRLVR_ROLLOUTS": folder,
            "MEDRLVR_REWARD": reward_to_json("paper"),
            "MEDRLVR_END_OF_TEXT": "<eos>",
            "MEDRLVR_EVIDENCE": "miniature",
        }
        spec = importlib.util.spec_from_file_location("hook", HOOK)
        hook = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(hook)
        seconds = seconds_each(lambda: [hook.reward_func(*call) for call in calls], 20)
    step = updates["seconds"].median()
    return (
        f"The reward hook needs {1e6 * seconds / len(calls):.0f} us to grade a response of the miniature, check its"
        f" steps, reward and record it. An update has {len(calls)} responses and a median duration of {step:.1f} s; the"
        f" hook needs {100 * seconds / step:.2f} % of it."
    )


if __name__ == "__main__":
    try:
        write_text(DOCUMENT, splice(DOCUMENT, "speed", f"{by_kind()}\n\n{by_length()}\n\n{of_the_import()}"))
        write_text(DOCUMENT, splice(DOCUMENT, "hook", of_a_step()))
    except UserError as error:
        sys.exit(str(error))
