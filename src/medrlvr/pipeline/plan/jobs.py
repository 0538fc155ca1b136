"""The jobs of the workflow, as Snakemake's dry run reports them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from medrlvr.config.machine import Machine

_CAUSES = {
    "Missing output files": "no output yet",
    "Incomplete output files": "was interrupted",
    "Updated input files": "an input is newer",
    "Set of input files has changed": "inputs were added or removed",
    "Params have changed": "settings have changed",
    "Software environment definition has changed": "packages have changed",
    "Code has changed": "code has changed",
    "Forced execution": "requested",
}
FOLLOWS = "an earlier step runs"

TRAINING_RULES = ("train_sft", "train_rlvr")
GENERATION_RULES = (
    "generate_answers",
    "generate_selected",
    "generate_development",
    "generate_checkpoint_answers",
    "probe_checkpoints",
    "sample_answers",
    "sample_training",
    "answer_formats",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job of the graph.

    Attributes:
        rule: name of its rule.
        wildcards: name -> value.
        inputs, outputs: paths of files and folders, relative to the repository's root.
        benchmark: path of the table with its time and memory, which may not exist yet.
        reason: Snakemake's reason for running it; None if it is up to date and does not run.
        limit: time limit of the profile, in seconds; None for no limit.
    """

    rule: str
    wildcards: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    benchmark: str
    reason: str | None
    limit: float | None = None


class Record(Protocol):
    """A job as Snakemake's log plug-ins receive it. Of `resources` only `runtime`, in minutes, is used."""

    rule_name: str
    wildcards: Mapping[str, str]
    input: Sequence[str]
    output: Sequence[str]
    benchmark: str
    reason: str
    resources: Mapping[str, Any]


def jobs_of(due: Iterable[Record], graph: Iterable[Record]) -> list[Job]:
    """Return the jobs of the whole graph, without those that have no output.

    Args:
        due: jobs that Snakemake would run now.
        graph: jobs that Snakemake would run if no file existed.
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
    """Return the output of a failed dry run, starting at the error message."""
    fault = re.search(r"^\S*(Error|Exception)\b", printed, re.MULTILINE)
    return printed[fault.start() if fault else 0 :].strip()


def cause(reason: str) -> str:
    """Describe the first cause in Snakemake's reason for a job."""
    parts = reason.split("; ")
    found = [words for begin, words in _CAUSES.items() if any(part.startswith(begin) for part in parts)]
    return found[0] if found else FOLLOWS


def gpus_of(rule: str, machine: Machine) -> tuple[int, int]:
    """Return the number of nodes that a rule's job uses, and the number of GPUs on each node."""
    if machine.device == "cpu":
        return 1, 0
    used = rule in TRAINING_RULES or rule in GENERATION_RULES
    return machine.nodes if rule == "train_rlvr" else 1, machine.gpus_per_node if used else 0


def longest_chain(jobs: Sequence[Job], seconds: Sequence[float]) -> tuple[float, list[str]]:
    """Return the seconds and the rules of the chain of dependent jobs that needs the most time."""
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
