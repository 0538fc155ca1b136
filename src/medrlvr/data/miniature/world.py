"""The facts of the world, and vignettes about them.

There are forty conditions, each with five findings and one value for each of four relations (`facts.tsv`, written for
this project; it is plausible but not a medical reference). Any three findings of a condition identify it.
"""

import csv
import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from medrlvr.grading.letters import LETTERS

RELATIONS = ("drug", "cause", "test", "risk")

_OPENINGS = ("A man has", "A woman has", "A patient reports", "A young man presents with", "An old woman complains of")
_ASKS = {
    "drug": "Which drug treats it?",
    "cause": "Which cause explains it?",
    "test": "Which test confirms it?",
    "risk": "Which risk favours it?",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One row of the table. `values` has one value for each of RELATIONS; no two conditions share a value."""

    name: str
    findings: tuple[str, ...]
    values: Mapping[str, str]
    seen: tuple[str, str]
    """The two relations that training questions ask about; the other two are held out."""
    reserved: frozenset[frozenset[str]]
    """The two triples of findings that occur only in development and test questions."""

    @property
    def held_out(self) -> tuple[str, ...]:
        return tuple(relation for relation in RELATIONS if relation not in self.seen)

    def triples(self, reserved: bool) -> list[tuple[str, ...]]:
        """Return the unordered triples of findings of one kind: two are reserved, eight are not."""
        return [t for t in combinations(self.findings, 3) if (frozenset(t) in self.reserved) == reserved]


def load_world() -> tuple[Condition, ...]:
    """Read the table. The seen relations and reserved triples are fixed and do not depend on a seed."""
    rng = random.Random("the miniature's world")
    with Path(__file__).with_name("facts.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    pairs = list(combinations(RELATIONS, 2))
    world = []
    for number, row in enumerate(rows):
        findings = tuple(row["findings"].split("|"))
        triples = [frozenset(triple) for triple in combinations(findings, 3)]
        world.append(
            Condition(
                name=row["condition"],
                findings=findings,
                values={relation: row[relation] for relation in RELATIONS},
                seen=pairs[number % len(pairs)],
                reserved=frozenset(rng.sample(triples, 2)),
            )
        )
    return tuple(world)


@dataclass(frozen=True, slots=True)
class Vignette:
    """A question with everything that an explanation of its answer needs."""

    condition: Condition
    relation: str
    findings: tuple[str, ...]
    stem: str
    options: tuple[str, ...]
    gold: int


def draw_vignette(
    world: tuple[Condition, ...], condition: Condition, relation: str, reserved: bool, rng: random.Random
) -> Vignette:
    """Draw an opening, findings, and four or five options with their order; gold is uniform over the options."""
    findings = list(rng.choice(condition.triples(reserved)))
    rng.shuffle(findings)
    count = rng.choice((4, 5))
    others = [other.values[relation] for other in world if other is not condition]
    options = rng.sample(others, count - 1)
    gold = rng.randrange(count)
    options.insert(gold, condition.values[relation])
    stem = f"{rng.choice(_OPENINGS)} {findings[0]}, {findings[1]} and {findings[2]}. {_ASKS[relation]}"
    return Vignette(condition, relation, tuple(findings), stem, tuple(options), gold)


def make_questions(sizes: Mapping[str, int], seed: int) -> dict[str, list[dict[str, Any]]]:
    """Return rows in the format of MedQA's files; all rows differ, within and across the splits.

    Args:
        sizes: number of rows of train, dev, test (relations seen in training) and ood_test (held-out relations).
        seed: seed for the draw; the world does not depend on it.
    """
    world = load_world()
    rng = random.Random(f"questions {seed}")
    asked: set[tuple[str, tuple[str, ...]]] = set()
    splits = {}
    for split, size in sizes.items():
        rows: list[dict[str, Any]] = []
        while len(rows) < size:
            # Conditions take turns, so that each occurs equally often.
            condition = world[len(rows) % len(world)]
            relation = rng.choice(condition.held_out if split == "ood_test" else condition.seen)
            vignette = draw_vignette(world, condition, relation, reserved=split != "train", rng=rng)
            key = (vignette.stem, tuple(sorted(vignette.options)))
            if key not in asked:
                asked.add(key)
                rows.append(_row(vignette))
        rng.shuffle(rows)
        splits[split] = rows
    return splits


def _row(vignette: Vignette) -> dict[str, Any]:
    return {
        "question": vignette.stem,
        "options": dict(zip(LETTERS, vignette.options, strict=False)),
        "answer_idx": LETTERS[vignette.gold],
        "meta_info": f"{vignette.condition.name} {vignette.relation}",
    }
