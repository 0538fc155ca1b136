"""Compare our evaluation with lm-evaluation-harness's, on the same model, prompts and responses: `make test-peer`.

Fails if the two differ in a way that docs/evaluation.md does not explain. With both experiments it writes the
figures into that document.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from medrlvr.config.machine import Machine
from medrlvr.evaluation.vllm_worker import worker_command
from medrlvr.grading.grader import Rule, grade
from medrlvr.grading.letters import LETTERS, letter_continuation
from medrlvr.reference.markdown import splice
from medrlvr.runtime.environment import process_environment
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet, write_text

MACHINE = Machine(device="cpu", gpus_per_node=1, vllm_engines=1, threads=1)
"""One thread for each of the two."""
DOCUMENT = Path("docs/evaluation.md")
PEER = Path(".peer/bin/python")
GOLDEN = Path("tests/golden/grades.jsonl")
DIFFERENCES = Path("results/peer/differences.csv")
TOLERANCE = 1e-3
"""Of a log-probability, in nats: two implementations in float32."""
LEAST_EQUAL_TEXTS = 0.95
"""Two implementations in float32 may part where two tokens are almost equally likely."""
READINGS = {"answer tag": "letter", "its MMLU-Pro filter": "lenient_letter", "its flexible filter": "lenient_letter"}
"""A filter of the harness -> our reading that it is compared with."""
READ, UNREAD = {"letter", "letter_and_text"}, set(get_args(Rule)) - {"letter", "letter_and_text"}
EXPLAINED = {
    ("answer tag", "only ours"): READ,
    ("answer tag", "only theirs"): UNREAD,
    ("its MMLU-Pro filter", "only ours"): READ | {"no_answer_block"},
    ("its MMLU-Pro filter", "only theirs"): UNREAD,
    ("its MMLU-Pro filter", "other letter"): READ | {"no_answer_block"},
    ("its flexible filter", "only ours"): READ | {"no_answer_block"},
    ("its flexible filter", "only theirs"): UNREAD,
    ("its flexible filter", "other letter"): READ | {"no_answer_block"},
}
"""Filter and kind of difference -> our rules under which docs/evaluation.md explains it."""
PLAIN = re.compile(r"\s*[A-K]\s*")
"""An answer block that leaves nothing to decide."""


def documents(asked: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """What the harness is given: every prompt as it stands, and the letters as they follow it."""
    given: dict[str, list[dict[str, Any]]] = {"loglikelihood": [], "generated": []}
    for row in asked.to_dict("records"):
        choices = [letter_continuation(row["prompt"], index) for index in range(row["options"])]
        if row["answer_format"] == "loglikelihood":
            given["loglikelihood"].append({"prompt": row["prompt"], "choices": choices, "gold": int(row["gold"])})
        else:
            given["generated"].append({"prompt": row["prompt"]})
    return given


def harness(given: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], float]:
    """Return what the harness found, and the seconds it took with its start."""
    started = time.monotonic()
    (folder / "given.json").write_text(json.dumps(given))
    words = [str(PEER), "tests/peer/harness.py", str(folder / "given.json"), str(folder / "found.json")]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(words, env=offline, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"the harness failed:\n{done.stdout[-1000:]}{done.stderr[-3000:]}")
    return json.loads((folder / "found.json").read_text()), time.monotonic() - started


def ours(asked: pd.DataFrame, model: Path, engine: list[str], folder: Path) -> tuple[pd.DataFrame, float]:
    """Generate our answers to the same requests; return them and the seconds, including the engine's start."""
    asked.to_parquet(folder / "requests.parquet")
    answers = folder / "answers"
    words = worker_command(folder / "requests.parquet", [model], [answers], engine)
    started = time.monotonic()
    done = subprocess.run(
        words,
        env=process_environment(MACHINE.device, MACHINE.threads, folder),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    if done.returncode:
        raise UserError(f"our evaluation failed:\n{done.stderr[-3000:]}")
    tables = [read_parquet(answers / f"{shard}.parquet") for shard in asked["shard"].unique()]
    keys = ["question_id", "benchmark", "mode"]
    return asked[keys].merge(pd.concat(tables), on=keys, validate="one_to_one"), seconds


def beside(results: Path) -> list[str]:
    """Evaluate the base of an experiment with both; return rows of the document's table.

    Raises:
        UserError: a letter differs, or a log-probability differs by more than TOLERANCE.
    """
    generation = json.loads((results / "eval/base/generation.json").read_text(encoding="utf-8"))
    everything = read_parquet(results / "eval/base/requests.parquet")
    keys = ["question_id", "benchmark", "mode"]
    gold = read_parquet(results / "eval/base/scores.parquet")[[*keys, "gold"]]
    everything = everything.merge(gold, on=keys, validate="one_to_one")
    # The benchmarks without their controls, which are not evaluated in mode loglikelihood.
    benchmarks = everything.loc[everything["answer_format"] == "loglikelihood", "benchmark"].unique()
    everything = everything[everything["benchmark"].isin(benchmarks)]
    model, written = results / "models/base", generation["modes"]["chain_of_thought"]["max_tokens"]
    rows = []
    for kind, which in (("loglikelihood", "loglikelihood"), ("generated", "tagged")):
        asked = everything[everything["answer_format"] == which].reset_index(drop=True)
        given = {"model": str(model), "max_tokens": written, "threads": MACHINE.threads, "responses": []}
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for n in (1, len(asked)):
            with tempfile.TemporaryDirectory() as folder:
                answers, mine = ours(asked.head(n), model, generation["engine"], Path(folder))
                found, its = harness(given | documents(asked.head(n)), Path(folder))
            seconds["ours"].append(mine)
            seconds["theirs"].append(its)
        agreement = same_letters(answers, found) if kind == "loglikelihood" else same_texts(answers, found)
        (start, whole), (its_start, its_whole) = seconds.values()
        rows.append(
            f"| {results.name}'s base, {kind} | {len(asked)} | {agreement} | {start:.0f} s, {its_start:.0f} s |"
            f" {whole:.0f} s, {its_whole:.0f} s | {its_whole / whole:.2f} |"
        )
    return rows


def same_letters(answers: pd.DataFrame, found: Mapping[str, Any]) -> str:
    """Compare letters and log-probabilities item by item."""
    furthest, others = 0.0, []
    for row, theirs in zip(answers.to_dict("records"), found["loglikelihood"], strict=True):
        furthest = max(furthest, float(np.abs(np.subtract(row["letter_logprobs"], theirs)).max()))
        letter = LETTERS[int(np.argmax(theirs))]
        if letter != row["response"].strip():
            others.append(f"{row['question_id']}: ours {row['response']}, theirs {letter}")
    if others or furthest > TOLERANCE:
        raise UserError(f"log-probabilities differ by up to {furthest}; other letters: {others}")
    return f"all letters; log-probabilities within {furthest:.0e}"


def same_texts(answers: pd.DataFrame, found: Mapping[str, Any]) -> str:
    """Compare greedy texts to the letter."""
    same = [mine.strip() == its.strip() for mine, its in zip(answers["response"], found["generated"], strict=True)]
    if np.mean(same) < LEAST_EQUAL_TEXTS:
        raise UserError(f"only {sum(same)} of {len(same)} texts are the same")
    return f"{sum(same)} of {len(same)} texts to the letter"


def responses(folders: list[Path]) -> Iterator[dict[str, Any]]:
    """The golden cases with tags, and what the models of the experiments wrote when asked to reason."""
    for line in GOLDEN.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        if case["form"] == "tagged":
            yield {"source": "golden cases", **{key: case[key] for key in ("reason", "response", "options", "gold")}}
    for folder in folders:
        known = pd.concat(read_parquet(path) for path in sorted((folder / "data/benchmarks").glob("*.parquet")))
        options = known.drop_duplicates("question_id").set_index("question_id")["options"]
        for path in sorted((folder / "eval").glob("**/scores.parquet")):
            table = read_parquet(path)
            table = table[table["finish_reason"].isin(["stop", "length"]) & table["mode"].eq("chain_of_thought")]
            table = table[table["options"].eq(table["question_id"].map(options).map(len))]
            for row in table.to_dict("records"):
                shared = {"reason": row["question_id"], "response": row["response"], "gold": row["gold"]}
                yield {"source": f"{folder.name}: models", "options": list(options[row["question_id"]]), **shared}


def same_readings(rows: list[dict[str, Any]]) -> list[str]:
    """Let both read the same responses; return rows of the document's second table.

    Raises:
        UserError: a difference is of a kind that is not EXPLAINED, or the two read a plain answer differently.
    """
    grades = [grade(row["response"], row["options"], row["gold"], "tagged") for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        given = [{"response": row["response"], "choices": row["options"]} for row in rows]
        found, _ = harness({"loglikelihood": [], "generated": [], "responses": given}, Path(folder))
    plain = [
        one.rule == "letter" and bool(PLAIN.fullmatch(row["response"][one.answer_start : one.answer_end]))
        for one, row in zip(grades, rows, strict=True)
    ]
    table = pd.DataFrame(rows).drop(columns="options").assign(rule=[one.rule for one in grades], plain=plain)
    lines, differences = [], []
    for name, reading in READINGS.items():
        mine = pd.Series([getattr(one, reading) for one in grades], dtype=object)
        theirs = pd.Series(found["read"][name], dtype=object)
        compared = table.assign(filter=name, ours=mine, theirs=theirs, kind="other letter")
        compared.loc[mine.eq(theirs) | (mine.isna() & theirs.isna()), "kind"] = "same"
        compared.loc[mine.notna() & theirs.isna(), "kind"] = "only ours"
        compared.loc[mine.isna() & theirs.notna(), "kind"] = "only theirs"
        for source, group in compared.groupby("source", sort=False):
            counts = group["kind"].value_counts()
            cells = [str(counts.get(kind, 0)) for kind in ("same", "only ours", "only theirs", "other letter")]
            lines.append(f"| {source} | {name} | {' | '.join(cells)} |")
        differing = compared[compared["kind"] != "same"]
        for (kind, rule), group in differing.groupby(["kind", "rule"]):
            if rule not in EXPLAINED.get((name, str(kind)), set()):
                raise UserError(
                    f"{name}: {kind} where our rule is {rule}, unexplained: {group['response'].tolist()[:3]}"
                )
        if name == "answer tag" and differing["plain"].any():
            raise UserError(
                f"plain answers are read otherwise: {differing[differing['plain']]['response'].tolist()[:3]}"
            )
        differences.append(differing)
    write_text(DIFFERENCES, pd.concat(differences).to_csv(index=False))
    return lines


def main(folders: list[Path]) -> None:
    """Compare, print and, with both experiments, write the document."""
    measured = [row for folder in folders for row in beside(folder)]
    read = same_readings(list(responses(folders)))
    block = "\n".join(
        [
            "| model, mode | n | agree | one question: ours, harness | all n: ours, harness | ratio |",
            "|---|---:|---|---:|---:|---:|",
            *measured,
            "",
            "| responses | filter of the harness | same | only ours | only theirs | another letter |",
            "|---|---|---:|---:|---:|---:|",
            *read,
        ]
    )
    print(block)
    print(f"every difference: {DIFFERENCES}")
    if len(folders) == 2:
        write_text(DOCUMENT, splice(DOCUMENT, "results", block))


if __name__ == "__main__":
    try:
        main([Path("results") / name for name in sys.argv[1:]])
    except UserError as error:
        sys.exit(str(error))
