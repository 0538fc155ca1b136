"""The facts of the world, and vignettes about them.

The table `facts.tsv` was written for this project. It has 66 real conditions, each with six findings and one value for
each of four relations. It simplifies: it is not a medical reference.

Rules of the world:

1. Three findings of a vignette identify one condition; triples that two conditions share are never used.
2. The finding that is listed first is shared by the condition of another option, so it does not identify the answer.
3. The conditions of the options are drawn first, and the correct one uniformly among them. So no option is more often
   correct than another, whatever its text. All options of a question are seen in training, or all are held out.
"""

import csv
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from medrlvr.grading.letters import LETTERS

RELATIONS = ("drug", "cause", "test", "risk")

Form = Literal["vignette", "question"]
"""vignette: "A nurse has ... Which drug treats it?"; question: "Which drug treats a nurse with ...?"."""

USUAL_COUNTS = (4, 5)
"""Numbers of options in training."""
LARGE_COUNTS = (6, 7, 8, 9, 10)
"""Numbers of options in the test set with more options."""

_PEOPLE = ("man", "woman", "patient", "teacher", "farmer", "nurse", "driver", "cook")
_COMPLAINTS = ("has", "reports", "presents with", "complains of")
_ASKS = {"drug": "Which drug treats", "cause": "Which cause explains", "test": "Which test confirms"}
_ASKS["risk"] = "Which risk favours"


@dataclass(frozen=True, slots=True)
class Condition:
    """One row of the table. `values` has one value for each of RELATIONS; no two conditions share a value."""

    name: str
    findings: tuple[str, ...]
    values: Mapping[str, str]
    seen: tuple[str, str]
    """The two relations that training questions ask about; the other two are held out."""
    triples: tuple[frozenset[str], ...]
    """The triples of findings that occur in training questions and in pre-training."""
    reserved: tuple[frozenset[str], ...]
    """The triples of findings that occur only in development and test questions."""

    def is_seen(self, relation: str) -> bool:
        return relation in self.seen


@cache
def load_world() -> tuple[Condition, ...]:
    """Read the table. The seen relations and reserved triples are fixed and do not depend on a seed."""
    rng = random.Random("the miniature's world")
    with Path(__file__).with_name("facts.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    pairs = list(combinations(RELATIONS, 2))
    findings = [tuple(row["findings"].split("|")) for row in rows]
    uses = Counter(triple for one in findings for triple in _triples(one))
    world = []
    for number, (row, own) in enumerate(zip(rows, findings, strict=True)):
        unique = [triple for triple in _triples(own) if uses[triple] == 1]
        reserved = _reserved(unique, own, rng)
        world.append(
            Condition(
                name=row["condition"],
                findings=own,
                values={relation: row[relation] for relation in RELATIONS},
                seen=pairs[number % len(pairs)],
                triples=tuple(triple for triple in unique if triple not in reserved),
                reserved=reserved,
            )
        )
    return tuple(world)


def _triples(findings: Sequence[str]) -> list[frozenset[str]]:
    return [frozenset(triple) for triple in combinations(findings, 3)]


def _reserved(unique: list[frozenset[str]], findings: Sequence[str], rng: random.Random) -> tuple[frozenset[str], ...]:
    """Return four triples, two and their complements, so that each finding leads some development or test question."""
    whole = [triple for triple in unique if findings[0] in triple and frozenset(findings) - triple in unique]
    return tuple(part for triple in rng.sample(whole, 2) for part in (triple, frozenset(findings) - triple))


@dataclass(frozen=True, slots=True)
class Vignette:
    """A question with everything that an explanation of its answer needs. The first finding is the leading one."""

    condition: Condition
    relation: str
    findings: tuple[str, ...]
    stem: str
    options: tuple[str, ...]
    gold: int


def draw_vignette(
    world: Sequence[Condition], relation: str, seen: bool, reserved: bool, count: int, form: Form, rng: random.Random
) -> Vignette:
    """Draw a question.

    Args:
        relation: one of RELATIONS.
        seen: whether the relation is seen in training for the conditions of all options, or held out for all.
        reserved: whether the findings are a reserved triple.
        count: number of options, 2 to 11.
        form: order of the question's parts.
    """
    pool = [condition for condition in world if condition.is_seen(relation) == seen]
    asked, leading = zip(*_draw_options(pool, count, rng), strict=True)
    order = list(range(count))
    rng.shuffle(order)
    place = rng.randrange(count)
    condition, first = asked[order[place]], leading[order[place]]
    triple = rng.choice([t for t in (condition.reserved if reserved else condition.triples) if first in t])
    others = sorted(triple - {first})
    rng.shuffle(others)
    findings = (first, *others)
    options = tuple(asked[number].values[relation] for number in order)
    return Vignette(condition, relation, findings, _stem(findings, relation, form, rng), options, place)


def _draw_options(pool: Sequence[Condition], count: int, rng: random.Random) -> list[tuple[Condition, str]]:
    """Return conditions in groups of two or three, each with the finding that its group shares.

    Of several shared findings, one of those leads that the fewest conditions of the world have.
    """
    uses = Counter(finding for condition in load_world() for finding in condition.findings)
    while True:
        drawn: list[tuple[Condition, str]] = []
        free = list(pool)
        for size in _group_sizes(count):
            first = rng.choice(free)
            holders = {
                finding: [other for other in free if other is not first and finding in other.findings]
                for finding in first.findings
            }
            shared = [finding for finding, others in holders.items() if len(others) >= size - 1]
            if not shared:
                break
            rarest = min(uses[finding] for finding in shared)
            finding = rng.choice([finding for finding in shared if uses[finding] == rarest])
            group = [first, *rng.sample(holders[finding], size - 1)]
            drawn += [(condition, finding) for condition in group]
            free = [condition for condition in free if condition not in group]
        if len(drawn) == count:
            return drawn


def _group_sizes(count: int) -> list[int]:
    return [2] * (count // 2 - count % 2) + [3] * (count % 2)


def _stem(findings: Sequence[str], relation: str, form: Form, rng: random.Random) -> str:
    listed = listing(findings)
    person = rng.choice(_PEOPLE)
    if form == "question":
        return f"{_ASKS[relation]} a {person} with {listed}?"
    return f"A {person} {rng.choice(_COMPLAINTS)} {listed}. {_ASKS[relation]} it?"


def listing(findings: Sequence[str]) -> str:
    """Return three findings as text: "cough, fever and sputum"."""
    return f"{findings[0]}, {findings[1]} and {findings[2]}"


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """What the questions of one set have in common."""

    seen: bool = True
    reserved: bool = True
    counts: tuple[int, ...] = USUAL_COUNTS
    form: Form = "vignette"


QUESTION_SETS: Mapping[str, QuestionSet] = {
    "train": QuestionSet(reserved=False),
    "dev": QuestionSet(),
    "test": QuestionSet(),
    "options_test": QuestionSet(counts=LARGE_COUNTS),
    "form_test": QuestionSet(form="question"),
    "pairs_test": QuestionSet(seen=False),
}
"""The last three are out of distribution, each in one way: number of options, form, pairs of condition and relation."""


def draw_from(world: Sequence[Condition], questions: QuestionSet, rng: random.Random) -> Vignette:
    """Draw a question of a set."""
    relation, count = rng.choice(RELATIONS), rng.choice(questions.counts)
    return draw_vignette(world, relation, questions.seen, questions.reserved, count, questions.form, rng)


def make_questions(sizes: Mapping[str, int], seed: int) -> dict[str, list[dict[str, Any]]]:
    """Return rows in the format of MedQA's files; all rows differ, within and across the sets.

    Args:
        sizes: number of rows of each of QUESTION_SETS.
        seed: seed for the draw; the world does not depend on it.
    """
    world = load_world()
    rng = random.Random(f"questions {seed}")
    asked: set[tuple[str, tuple[str, ...]]] = set()
    sets = {}
    for name, size in sizes.items():
        rows: list[dict[str, Any]] = []
        for vignette in _endless(world, QUESTION_SETS[name], rng):
            if len(rows) == size:
                break
            key = (vignette.stem, tuple(sorted(vignette.options)))
            if key not in asked:
                asked.add(key)
                rows.append(_row(vignette))
        sets[name] = rows
    return sets


def _endless(world: Sequence[Condition], questions: QuestionSet, rng: random.Random) -> Iterator[Vignette]:
    while True:
        yield draw_from(world, questions, rng)


def _row(vignette: Vignette) -> dict[str, Any]:
    return {
        "question": vignette.stem,
        "options": dict(zip(LETTERS, vignette.options, strict=False)),
        "answer_idx": LETTERS[vignette.gold],
        "meta_info": f"{vignette.condition.name} {vignette.relation}",
    }
