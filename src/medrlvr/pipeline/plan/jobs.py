"""The jobs of the workflow as Snakemake's dry run reports them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from medrlvr.config.machine import Machine

_CAUSES = {
    "Missing output files": "not there yet",
    "Incomplete output files": "was interrupted",
    "Updated input files": "an input is newer",
    "Set of input files has changed": "set of input files has changed",
    "Params have changed": "settings have changed",
    "Software environment definition has changed": "packages have changed",
    "Code has changed": "code has changed",
    "Forced execution": "asked for",
}
FOLLOWS = "a step before it runs"

TRAINING_RULES = ("train_sft", "train_rlvr")
GENERATION_RULES = ("generate_answers", "generate_selected", "generate_development", "generate_checkpoint_answers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One step of the graph.

    Attributes:
        rule: whose job it is.
        wildcards: by name.
        inputs, outputs: files and folders, as the workflow names them.
        benchmark: the table of its time and memory, there or not.
        reason: why Snakemake runs it, in Snakemake's words; None: nothing has changed, it is not run.
        limit: seconds that a profile allows it.
    """

    rule: str
    wildcards: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    benchmark: str
    reason: str | None
    limit: float | None = None


class Record(Protocol):
    """What Snakemake's log plug-ins are told of a job; of `resources` only `runtime`, minutes, is looked at."""

    rule_name: str
    wildcards: Mapping[str, str]
    input: Sequence[str]
    output: Sequence[str]
    benchmark: str
    reason: str
    resources: Mapping[str, Any]


def jobs_of(due: Iterable[Record], graph: Iterable[Record]) -> list[Job]:
    """Return the steps of the whole graph, those without output left out.

    Args:
        due: what Snakemake would run now.
        graph: what it would run if nothing were there.
    """
    reasons = {(one.rule_name, *one.output): one.reason for one in due}
    return [
        Job(
            rule=one.rule_name,
            wildcards=one.wildcards,
            inputs=tuple(one.input),
            outputs=tuple(one.output),
            benchmark=one.benchmark,
            reason=reasons.get((one.rule_name, *one.output)),
            limit=60 * one.resources["runtime"] if isinstance(one.resources.get("runtime"), int) else None,
        )
        for one in graph
        if one.output
    ]


def refusal(printed: str) -> str:
    """Return of what a refused dry run printed the part from its error on."""
    fault = re.search(r"^\S*(Error|Exception)\b", printed, re.MULTILINE)
    return printed[fault.start() if fault else 0 :].strip()


def cause(reason: str) -> str:
    """Return in words what comes first in Snakemake's reason for a job."""
    parts = reason.split("; ")
    found = [words for begin, words in _CAUSES.items() if any(part.startswith(begin) for part in parts)]
    return found[0] if found else FOLLOWS


def gpus_of(rule: str, machine: Machine) -> tuple[int, int]:
    """Return how many nodes a rule's job takes, and how many GPUs on each of them."""
    if machine.device == "cpu":
        return 1, 0
    if rule in TRAINING_RULES:
        return machine.nodes if rule == "train_rlvr" else 1, machine.gpus_per_node
    return 1, 1 if rule in GENERATION_RULES else 0


def longest_chain(jobs: Sequence[Job], seconds: Sequence[float]) -> tuple[float, list[str]]:
    """Return the seconds and the rules of the chain of jobs, each waiting for the one before, that takes longest."""
    made = {file: index for index, job in enumerate(jobs) for file in job.outputs}
    ends: dict[int, float] = {}
    before: dict[int, int | None] = {}

    def end(index: int) -> float:
        if index not in ends:
            needed = sorted({made[file] for file in jobs[index].inputs if file in made})
            before[index] = max(needed, key=end) if needed else None
            ends[index] = seconds[index] + max(map(end, needed), default=0)
        return ends[index]

    last = max(range(len(jobs)), key=end)
    chain: list[str] = []
    link: int | None = last
    while link is not None:
        if seconds[link] > 0:
            chain.append(jobs[link].rule)
        link = before[link]
    return ends[last], chain[::-1]
