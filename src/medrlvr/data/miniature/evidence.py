"""Check the reasoning of a response against the facts of the miniature's world.

The steps of a derivation are: findings of the question, the condition that has all of them, and this condition's value
of the relation that the question asks about. docs/stages.md gives the definitions and their limits.
"""

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from medrlvr.data.miniature.world import RELATIONS, Condition, load_world
from medrlvr.grading.evidence import Evidence
from medrlvr.grading.grader import Grade, think_text
from medrlvr.grading.patterns import NAMED_LETTER, TAGS

# Only the letters A to Z, so that positions in the text stay the same.
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

# An underscore does not belong to a word: a model may write _gout_.
_START, _END = r"(?<![^\W_])", r"(?![^\W_])"
# Between the words of a statement: white space and marks that do not end a sentence, a few of them.
_GAP = r"(?:[^\w.!?;]|_){1,8}"


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The table and the regular expressions of its words.

    Attributes:
        conditions: name -> condition.
        finding, condition: a word of this class.
        fact: the relation, the condition and the value of a stated fact; the value is any word of the table.
        listing: the three findings of a question.
        asked: the relation of a question.
    """

    conditions: Mapping[str, Condition]
    finding: re.Pattern[str]
    condition: re.Pattern[str]
    fact: re.Pattern[str]
    listing: re.Pattern[str]
    asked: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class _Fact:
    """A statement such as "the drug for gout is allopurinol", and its position in the reasoning."""

    at: int
    relation: str
    condition: str
    value: str


@cache
def _patterns() -> _Patterns:
    conditions = {condition.name: condition for condition in load_world()}
    findings = {finding for condition in conditions.values() for finding in condition.findings}
    values = {value for condition in conditions.values() for value in condition.values.values()}
    finding, name, relation = _any(findings), _any(conditions), _any(RELATIONS)
    verb = rf"(?:{_GAP}(?:is|was|are|must be|would be|should be))?{_GAP}(?:(?:the|an|a){_GAP})?"
    return _Patterns(
        conditions=conditions,
        finding=re.compile(_START + finding + _END),
        condition=re.compile(_START + name + _END),
        fact=re.compile(
            rf"{_START}{relation}{_GAP}(?:for|of|in){_GAP}(?:the{_GAP})?{name}{verb}"
            rf"{_any({*findings, *values, *conditions})}{_END}"
        ),
        listing=re.compile(rf"{_START}{finding}, {finding} and {finding}{_END}"),
        asked=re.compile(rf"{_START}which {relation}{_END}"),
    )


def _any(words: Iterable[str]) -> str:
    return f"({'|'.join(sorted(words))})"


def check_evidence(question: str, response: str, grade: Grade) -> Evidence | None:
    """Return whether the steps of a response's reasoning are present and true; None for a question of another world.

    The reasoning is the grader's think block. Without one, it is the text before the answer.

    Args:
        question: the stem, or a prompt that ends with the question.
        response: the generated text, without the prompt.
        grade: its grade.
    """
    asked = _read_question(question)
    if asked is None:
        return None
    given, relation = asked
    world = _patterns()
    text, letter_at = _reasoning(response, grade)
    cited = {found[0]: found.start() for found in reversed([*world.finding.finditer(text)])}
    facts = [_Fact(found.start(), *found.groups()) for found in world.fact.finditer(text)]
    named = [fact.condition for fact in facts] or world.condition.findall(text)
    condition = world.conditions[named[-1]] if named else None
    invented = len(cited.keys() - given)
    fits = condition is not None and given <= {*condition.findings}
    true = all(world.conditions[fact.condition].values[fact.relation] == fact.value for fact in facts)
    derived = condition is not None and _is_derived(text[:letter_at], cited, facts, condition, relation)
    return Evidence(
        cites=len(cited),
        invented=invented,
        condition=condition.name if condition else None,
        fits=fits,
        fact_true=true if facts else None,
        reasons=derived and fits and true and not invented,
    )


def _read_question(question: str) -> tuple[set[str], str] | None:
    """Return the findings of the last question in a text, and the relation that it asks about."""
    text = question.translate(_LOWER)
    listed, asked = _patterns().listing.findall(text), _patterns().asked.findall(text)
    return ({*listed[-1]}, asked[-1]) if listed and asked else None


def _reasoning(response: str, grade: Grade) -> tuple[str, int]:
    """Return the reasoning in small letters, and the position in it at which an answer's letter is first named."""
    is_block = grade.think_start is not None
    text = think_text(response, grade) if is_block else response.partition(TAGS[2])[0]
    named = NAMED_LETTER.search(text)
    letter_at = named.start() if named else len(text)
    return (text if is_block else text[:letter_at]).translate(_LOWER), letter_at


def _is_derived(
    text: str, cited: Mapping[str, int], facts: Sequence[_Fact], condition: Condition, relation: str
) -> bool:
    """Return whether a finding comes first, and then the condition's value of a relation, in the fact that states it.

    Args:
        text: the reasoning before the answer's letter is named.
        cited: finding -> the first position at which the reasoning cites it.
        facts: all facts that the reasoning states.
        condition: the condition with which the reasoning concludes.
        relation: the relation that the question asks about.
    """
    value = re.search(_START + condition.values[relation] + _END, text)
    stated = any((fact.relation, fact.condition) == (relation, condition.name) for fact in facts if fact.at < len(text))
    return value is not None and stated and any(at < value.start() for at in cited.values())
