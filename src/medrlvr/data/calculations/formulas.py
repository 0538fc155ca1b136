"""The formulas of the world, and how each is worked out step by step.

All values are whole numbers, and every formula is real or a common rule of thumb. They are simplified: this is not a
medical reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Operation = Literal["plus", "minus", "times", "half"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured value of a patient.

    Attributes:
        usual: its values in training and in all other sets but one.
        high: its values in the test set with held-out ranges, above the usual ones.
    """

    name: str
    usual: range
    high: range


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a formula.

    Attributes:
        left, right: a quantity's name, a number, or RESULT; `half` has no right operand.
    """

    left: str | int
    operation: Operation
    right: str | int | None = None


RESULT = "result"
"""The operand that is the result of the step before."""


@dataclass(frozen=True, slots=True)
class Formula:
    """How a quantity is computed.

    Attributes:
        unit: unit of the result, as the prompt states it; "" for none.
        moves: the steps in order.
        held_out: whether no training question asks for it.
    """

    name: str
    unit: str
    moves: tuple[Move, ...]
    held_out: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the quantities that it needs, in the order of their first use."""
        names = [part for move in self.moves for part in (move.left, move.right) if isinstance(part, str)]
        return tuple(name for name in dict.fromkeys(names) if name != RESULT)


@dataclass(frozen=True, slots=True)
class Step:
    """One step with its numbers: `left operation right is result`; `names` are the quantities of left and right."""

    operation: Operation
    left: int
    right: int | None
    names: tuple[str | None, str | None]
    result: int


def _quantities() -> dict[str, Quantity]:
    rows = {
        "sodium": (range(130, 146), range(146, 152)),
        "chloride": (range(95, 107), range(107, 111)),
        "bicarbonate": (range(14, 26, 2), range(26, 32, 2)),
        "glucose": (range(4, 12), range(12, 16)),
        "urea": (range(3, 12), range(12, 16)),
        "osmoles": (range(300, 330, 2), range(330, 340, 2)),
        "systolic": (range(100, 160, 5), range(160, 180, 5)),
        "diastolic": (range(50, 80, 5), range(80, 95, 5)),
        "arterial": (range(60, 100, 5), range(100, 115, 5)),
        "cranial": (range(5, 20), range(20, 26)),
        "age": (range(20, 60, 2), range(60, 80, 2)),
        "pulse": (range(50, 90, 10), range(90, 110, 10)),
        "weight": (range(40, 80, 2), range(80, 100, 2)),
        "intake": (range(100, 200, 10), range(200, 250, 10)),
        "urine": (range(20, 60, 10), range(60, 80, 10)),
        "drain": (range(5, 30, 5), range(30, 45, 5)),
        "eyes": (range(1, 3), range(3, 5)),
        "speech": (range(1, 4), range(4, 6)),
        "movement": (range(1, 5), range(5, 7)),
        "cholesterol": (range(150, 230, 10), range(230, 260, 10)),
        "hdl": (range(30, 60, 10), range(60, 80, 10)),
        "vldl": (range(10, 30, 5), range(30, 40, 5)),
    }
    return {name: Quantity(name, usual, high) for name, (usual, high) in rows.items()}


QUANTITIES: Mapping[str, Quantity] = _quantities()

_OSMOLALITY = (Move(2, "times", "sodium"), Move(RESULT, "plus", "glucose"), Move(RESULT, "plus", "urea"))
_GAP = (Move("sodium", "minus", "chloride"), Move(RESULT, "minus", "bicarbonate"))
_RESERVE = (Move(220, "minus", "age"), Move(RESULT, "minus", "pulse"))

FORMULAS = (
    Formula("pulse pressure", "mmHg", (Move("systolic", "minus", "diastolic"),)),
    Formula("perfusion pressure", "mmHg", (Move("arterial", "minus", "cranial"),), held_out=True),
    Formula("maximum rate", "bpm", (Move(220, "minus", "age"),)),
    Formula("fluid rate", "mL/h", (Move("weight", "plus", 40),)),
    Formula("anion gap", "mmol/L", _GAP),
    Formula("rate reserve", "bpm", _RESERVE),
    Formula("fluid balance", "mL", (Move("intake", "minus", "urine"), Move(RESULT, "minus", "drain")), held_out=True),
    Formula("coma score", "", (Move("eyes", "plus", "speech"), Move(RESULT, "plus", "movement"))),
    Formula("renal gentamicin", "mg", (Move("weight", "times", 5), Move(RESULT, "half"))),
    Formula("serum osmolality", "mmol/L", _OSMOLALITY),
    Formula("delta gap", "mmol/L", (*_GAP, Move(RESULT, "minus", 12)), held_out=True),
    Formula("ldl cholesterol", "mg/dL", (Move("cholesterol", "minus", "hdl"), Move(RESULT, "minus", "vldl"))),
    Formula(
        "expected carbonate",
        "mmHg",
        (Move("bicarbonate", "half"), Move(RESULT, "plus", "bicarbonate"), Move(RESULT, "plus", 8)),
    ),
    Formula("target rate", "bpm", (*_RESERVE, Move(RESULT, "half"), Move(RESULT, "plus", "pulse"))),
    Formula("osmolal gap", "mmol/L", (*_OSMOLALITY, Move("osmoles", "minus", RESULT)), held_out=True),
)


def work_out(formula: Formula, values: Mapping[str, int]) -> tuple[Step, ...]:
    """Return the steps of a formula for a patient's values.

    Raises:
        ValueError: a result is negative, or half of an odd number.
    """
    steps: list[Step] = []
    for move in formula.moves:
        numbers = [_number(part, values, steps) for part in (move.left, move.right)]
        names = tuple(part if isinstance(part, str) and part != RESULT else None for part in (move.left, move.right))
        left, right = numbers
        assert left is not None
        steps.append(Step(move.operation, left, right, (names[0], names[1]), compute(move.operation, left, right)))
    return tuple(steps)


def _number(part: str | int | None, values: Mapping[str, int], steps: list[Step]) -> int | None:
    if isinstance(part, str):
        return steps[-1].result if part == RESULT else values[part]
    return part


def compute(operation: Operation, left: int, right: int | None) -> int:
    """Return the result of one operation.

    Raises:
        ValueError: the result is negative, or half of an odd number.
    """
    if operation == "half":
        if left % 2:
            raise ValueError(f"{left} is odd")
        return left // 2
    assert right is not None
    result = {"plus": left + right, "minus": left - right, "times": left * right}[operation]
    if result < 0:
        raise ValueError(f"{left} {operation} {right} is negative")
    return result
