"""Read units of measurement and compare their dimensions; docs/grading_kinds.md explains which are converted.

Factors are exact, so that the limit of a tolerance is the same in every unit.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: a value in the base units of its dimension is `value * factor + offset`.

    Attributes:
        factor: size in base units, positive.
        dimension: base quantities with their powers, sorted, without powers of 0.
        offset: position of the unit's zero in base units; not 0 for temperatures only.
    """

    factor: Fraction
    dimension: tuple[tuple[str, int], ...] = ()
    offset: Fraction = Fraction(0)


NO_UNIT = Unit(Fraction(1))

_PREFIXES = {
    **{"k": Fraction(1000), "h": Fraction(100), "": Fraction(1), "d": Fraction(1, 10), "c": Fraction(1, 100)},
    **{"m": Fraction(1, 10**3), "u": Fraction(1, 10**6), "n": Fraction(1, 10**9)},
    **{"p": Fraction(1, 10**12), "f": Fraction(1, 10**15)},
}
# Symbol -> size in base units, dimension, and the prefixes that the table allows.
_SYMBOLS = {
    "g": ("1", {"gram": 1}, "k,m,u,n,p,f"),
    "m": ("1", {"metre": 1}, "k,c,m,u,n"),
    "L": ("0.001", {"metre": 3}, "d,c,m,u,n,p,f"),
    "s": ("1", {"second": 1}, "m"),
    "mol": ("1", {"mole": 1}, "m,u,n,p"),
    "M": ("1000", {"mole": 1, "metre": -3}, "m,u,n,p"),
    "Eq": ("1", {"equivalent": 1}, "m,u"),
    "Osm": ("1", {"osmole": 1}, "m"),
    "U": ("1", {"unit": 1}, "k,m,u"),
    "IU": ("1", {"international unit": 1}, "k,m,u"),
    "Pa": ("1", {"pascal": 1}, "k,h"),
    "cal": ("4.184", {"joule": 1}, "k"),
    "J": ("1", {"joule": 1}, "k"),
}
# The same for names and for units without prefixes; a name after a comma is another spelling.
_FURTHER = {
    "min,mins": ("60", {"second": 1}),
    "h,hr,hrs": ("3600", {"second": 1}),
    "d": ("86400", {"second": 1}),
    "wk": ("604800", {"second": 1}),
    "yr,yrs": ("12", {"month": 1}),
    "mmHg": ("133.322387415", {"pascal": 1}),
    "cmHHO": ("98.0665", {"pascal": 1}),
    "cc": ("0.000001", {"metre": 3}),
    "lb,lbs": ("453.59237", {"gram": 1}),
    "oz": ("28.349523125", {"gram": 1}),
    "in": ("0.0254", {"metre": 1}),
    "ft": ("0.3048", {"metre": 1}),
    "bpm": ("1/60", {"beat": 1, "second": -1}),
    "gtt": ("1", {"drop": 1}),
    "%": ("0.01", {}),
    "bodysurface": ("1", {"1.73 square metres": 1}),
}
# Names, in capital or small letters and with an s or without -> size in the base unit, dimension.
_NAMES = {
    **{"gram": ("1", "gram"), "kilogram": ("1000", "gram"), "milligram": ("0.001", "gram")},
    **{"microgram": ("0.000001", "gram"), "nanogram": ("0.000000001", "gram"), "pound": ("453.59237", "gram")},
    **{"ounce": ("28.349523125", "gram"), "metre": ("1", "metre"), "meter": ("1", "metre")},
    **{"centimetre": ("0.01", "metre"), "centimeter": ("0.01", "metre"), "millimetre": ("0.001", "metre")},
    **{"millimeter": ("0.001", "metre"), "second": ("1", "second"), "sec": ("1", "second")},
    **{"minute": ("60", "second"), "hour": ("3600", "second"), "day": ("86400", "second")},
    **{"week": ("604800", "second"), "month": ("1", "month"), "year": ("12", "month"), "mole": ("1", "mole")},
    **{"millimole": ("0.001", "mole"), "unit": ("1", "unit"), "beat": ("1", "beat"), "breath": ("1", "breath")},
    **{"cell": ("1", "cell"), "drop": ("1", "drop"), "tablet": ("1", "tablet"), "capsule": ("1", "capsule")},
    **{"joule": ("1", "joule"), "calorie": ("4.184", "joule"), "kilocalorie": ("4184", "joule")},
}
_VOLUMES = {"litre": "0.001", "liter": "0.001", "millilitre": "0.000001", "milliliter": "0.000001"}
_TEMPERATURES = {
    "\u00b0C": Unit(Fraction(1), (("kelvin", 1),), Fraction("273.15")),
    "\u00b0F": Unit(Fraction(5, 9), (("kelvin", 1),), Fraction("273.15") - Fraction(160, 9)),
    "K": Unit(Fraction(1), (("kelvin", 1),)),
}


def _unit(factor: Fraction, dimension: Mapping[str, int]) -> Unit:
    return Unit(factor, tuple(sorted((name, power) for name, power in dimension.items() if power)))


def _table() -> dict[str, Unit]:
    """Return every symbol as it is spelled, with its unit."""
    table: dict[str, Unit] = {}
    for symbol, (size, dimension, prefixes) in _SYMBOLS.items():
        for prefix in ["", *prefixes.split(",")]:
            unit = _unit(Fraction(size) * _PREFIXES[prefix], dimension)
            spelled = [symbol, "l"] if symbol == "L" else [symbol]
            table |= {prefix + spelling: unit for spelling in spelled}
    for spellings, (size, dimension) in _FURTHER.items():
        table |= {spelling: _unit(Fraction(size), dimension) for spelling in spellings.split(",")}
    return {**table, "mcg": table["ug"], "mcL": table["uL"], "mcmol": table["umol"]}


def _names() -> dict[str, Unit]:
    """Return every name in small letters, with its unit."""
    singular = {name: _unit(Fraction(size), {base: 1}) for name, (size, base) in _NAMES.items()}
    singular |= {name: _unit(Fraction(size), {"metre": 3}) for name, size in _VOLUMES.items()}
    singular["point"] = NO_UNIT
    inch = _unit(Fraction("0.0254"), {"metre": 1})
    foot = _unit(Fraction("0.3048"), {"metre": 1})
    irregular = {"inch": inch, "inches": inch, "foot": foot, "feet": foot}
    return singular | {f"{name}s": unit for name, unit in singular.items()} | irregular


_TABLE = _table()
_NAMED = _names()

# Spellings that the grammar below cannot read, and what replaces them.
_REPLACED = (
    (re.compile(r"/ ?1\.73 ?m(?:\^?2|\u00b2)"), "/bodysurface"),
    (re.compile(r"\bmm Hg\b"), "mmHg"),
    (re.compile(r"\bcm ?H(?:2|\u2082)O\b"), "cmHHO"),
    (re.compile(r"\bper ?cent\b", re.IGNORECASE), "%"),
    (re.compile(r"\bdegrees? celsius\b", re.IGNORECASE), "\u00b0C"),
    (re.compile(r"\bdegrees? fahrenheit\b", re.IGNORECASE), "\u00b0F"),
    (re.compile(r"\bper\b", re.IGNORECASE), "/"),
    (re.compile("[\u00b5\u03bc]"), "u"),
    (re.compile("[\u00b7\u22c5\u00d7]"), "*"),
    (re.compile("\u207b\u00b9"), "^-1"),
    (re.compile("\u207b\u00b2"), "^-2"),
    (re.compile("\u00b2"), "^2"),
    (re.compile("\u00b3"), "^3"),
    (re.compile("\u2212"), "-"),
)
_DIVISOR = re.compile(r"/ ?\(([^()/]*)\)")
_FACTOR = re.compile(r"\s*([*/]?)\s*([A-Za-z%\u00b0]+)(?:\^?(-?[1-3]))?(?![0-9^])")


@cache
def known_unit(text: str) -> Unit:
    """Return the unit of a key.

    Raises:
        ValueError: the text is no unit of the table.
    """
    unit = read_unit(text)
    if unit is None:
        raise ValueError(
            f"the unit {text!r} is not in the table of docs/grading_kinds.md; write symbols such as mg, mL/min, kg/m^2"
            " or mg/kg/day, or an empty text for a number without unit"
        )
    return unit


def read_unit(text: str) -> Unit | None:
    """Return the unit that a text without outer white space spells, or None if it spells none of the table.

    The empty text is the unit of a number without unit.
    """
    for pattern, instead in _REPLACED:
        text = pattern.sub(instead, text)
    text = _DIVISOR.sub(lambda match: "/" + match[1].replace("*", "/"), text)
    if text in _TEMPERATURES:
        return _TEMPERATURES[text]
    factor, powers, end = Fraction(1), Counter[str](), 0
    while end < len(text):
        match = _FACTOR.match(text, end)
        # Only a quotient may start with its sign: "/L" is a number of things per litre.
        if match is None or (match[1] == "*" and end == 0):
            return None
        unit = _TABLE.get(match[2]) or _NAMED.get(match[2].lower())
        if unit is None:
            return None
        power = int(match[3] or 1) * (-1 if match[1] == "/" else 1)
        # A space multiplies only where a negative power shows a formula: "mg kg^-1", not "% mg" or "mg day".
        if end and not match[1] and power > 0:
            return None
        factor *= unit.factor**power
        for name, of_unit in unit.dimension:
            powers[name] += of_unit * power
        end = match.end()
    return _unit(factor, powers)


def convert(value: Fraction, unit: Unit, target: Unit) -> Fraction | None:
    """Return a value in another unit, or None if the units differ in dimension."""
    if unit.dimension != target.dimension:
        return None
    return (value * unit.factor + unit.offset - target.offset) / target.factor
