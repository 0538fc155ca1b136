"""What the first screen shows about trust in a result: each fact with the section that has its numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from medrlvr.config.design import ComparisonDesign
from medrlvr.report.overview import signed

FEW_SEEDS = 3
"""With fewer training seeds, an interval covers only the choice of questions."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact about trust.

    Attributes:
        name: what was checked.
        text: the finding.
        section: id of the element with its numbers.
    """

    name: str
    text: str
    section: str


def trust_facts(
    metrics: pd.DataFrame,
    controls: Sequence[Mapping[str, Any]],
    data_card: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    design: ComparisonDesign,
) -> list[Fact]:
    """Return the facts of the first screen.

    Args:
        metrics: as `read_metrics` returns it.
        controls: the key `controls` of comparisons.json.
        data_card: data_card.json.
        runs: as `describe_run` returns them, one per RLVR run.
        design: the experiment's comparison design, with an RLVR arm.
    """
    assert design.rlvr is not None
    models = design.models[design.rlvr]
    return [
        Fact("Training seeds", _seeds(len(models)), "verdicts"),
        Fact("Contamination", _contamination(data_card), "contamination"),
        *_shuffled(controls, models),
        Fact("Reward-hacking alarms", _alarms(runs), "alarms"),
        Fact("Invented findings", _invented(metrics, design), "invented"),
    ]


def _seeds(seeds: int) -> str:
    return f"{seeds}; intervals cover only questions" if seeds < FEW_SEEDS else str(seeds)


def _contamination(card: Mapping[str, Any]) -> str:
    kept = max((rule["questions"] for rule in card["contamination"]["rules"] if not rule["removes"]), default=0)
    removed = card["removed"]["questions"]
    if not removed and not kept:
        return "none found"
    return f"{removed:,} questions removed" + (f", {kept:,} that share text kept" if kept else "")


def _shuffled(controls: Sequence[Mapping[str, Any]], models: Sequence[str]) -> Iterator[Fact]:
    """Yield the change of RLVR's first seed when the options are shuffled, if that control exists."""
    for row in controls:
        if row["control"] == "shuffled" and row["model"] == models[0]:
            required, any_answer = _with_interval(row), _with_interval(row["any_letter"])
            both = required if any_answer == required else f"{required}; any readable answer {any_answer}"
            yield Fact("Shuffled options", both, "controls")
            return


def _with_interval(record: Mapping[str, float]) -> str:
    return f"{signed(record['difference'])} ({signed(record['low'])} to {signed(record['high'])})"


def _alarms(runs: Sequence[Mapping[str, Any]]) -> str:
    alarms = sum(len(run["stages"]["alarms"]) for run in runs)
    return f"{alarms} in {len(runs)} run{'s' if len(runs) > 1 else ''}"


def _invented(metrics: pd.DataFrame, design: ComparisonDesign) -> str:
    """Return the highest share over the benchmarks and seeds of RLVR's responses with an invented finding."""
    assert design.rlvr is not None
    own = metrics[metrics["model"].isin(design.models[design.rlvr]) & metrics["mode"].eq(design.modes[design.rlvr][0])]
    shares = own["invented"].dropna() if "invented" in own else own["accuracy"].iloc[:0]
    if shares.empty:
        return "cannot be checked here"
    steps_checked = own["reasons"].notna().any()
    return f"at most {100 * shares.max():.1f} % of responses" + ("" if steps_checked else " found; a lower limit")
