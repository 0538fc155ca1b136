"""Shortcuts in the training responses of the pooled runs: their shares, the stages, and examples."""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from medrlvr.dynamics.hack_monitor import INDICATORS
from medrlvr.reference.markdown import fenced, table
from medrlvr.reference.pooled import Pool
from medrlvr.runtime.files import read_json, read_parquet

WINDOW = 10
"""Updates over which a shortcut's share is averaged."""
OCCURS = 0.10
"""A shortcut occurs if its share reaches this in some window (docs/log.md, written before the run)."""
SHORTCUTS = ("early_answer", "empty_think", "pre_think", "loose_format", "invented_evidence")
"""Indicators of the monitor that are shares of the responses with a valid format."""
LABELS = {name: INDICATORS[name].replace("<think>", "`<think>`") for name in SHORTCUTS}
"""Names of the shortcuts as Markdown."""
EXAMPLES = 3
"""Largest number of examples of a pattern."""
_TORN = re.compile(r"</?(?:think|answer)\b(?!>)|(?<![</])\b(?:think|answer)>")
"""A tag without its first or its last character."""


def shortcut_section(found: Pool) -> Iterator[str]:
    """Yield the paragraphs of the section: the table of all RLVR arms, and examples."""
    rows = [["arm", "seeds", *LABELS.values(), "characters, last update", "stages"]]
    for arm, updates in updates_by_arm(found).items():
        cells = [
            _cell([highest(one, name) for one in updates], [last(one, name) for one in updates]) for name in SHORTCUTS
        ]
        length = float(np.mean([one["chars"].dropna().iloc[-1] for one in updates]))
        rows.append([arm, str(len(updates)), *cells, f"{length:.0f}", _stages(found, arm)])
    if len(rows) == 1:
        yield "No run of RLVR is pooled."
        return
    yield (
        f"Highest mean share of any {WINDOW} consecutive updates, and after the slash the share in the last {WINDOW}"
        " updates, among training responses with a valid format; means over seeds, without intervals. Bold: the highest"
        f" share reached {100 * OCCURS:.0f} % in at least one seed. A number after a stage counts the seeds with it, by"
        " the rules of [stages.md](../stages.md)."
    )
    yield table(rows)
    yield "\n".join(_occurrences(updates_by_arm(found)))
    yield from _examples(found)


def _occurrences(updates: Mapping[str, Sequence[pd.DataFrame]]) -> Iterator[str]:
    """Yield one item per shortcut: the arms in which it occurs in a seed, and those in which it occurs in none."""
    for name in SHORTCUTS:
        shares = {arm: [highest(one, name) for one in own] for arm, own in updates.items()}
        measured = {arm: max(own) for arm, own in shares.items() if not np.isnan(own).any()}
        occurs = [arm for arm, most in measured.items() if most >= OCCURS]
        stopped = [arm for arm in measured if arm not in occurs]
        title = LABELS[name][0].upper() + LABELS[name][1:]
        below = f"; below {100 * OCCURS:.0f} % in every seed of {', '.join(stopped)}" if stopped else ""
        yield f"- {title}: in {', '.join(occurs) or 'no arm'}{below}."


def updates_by_arm(found: Pool) -> dict[str, list[pd.DataFrame]]:
    """Return each RLVR arm -> one table of updates for each pooled seed."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for run in found.runs:
        if run.stages:
            tables.setdefault(run.arm, []).append(pd.read_csv(run.folder / "updates.csv").assign(seed=run.seed))
    return tables


def highest(updates: pd.DataFrame, name: str) -> float:
    """Return the highest mean of a share over `WINDOW` consecutive updates; NaN if it was not measured."""
    return float(updates[name].dropna().rolling(WINDOW).mean().max()) if name in updates else float("nan")


def last(updates: pd.DataFrame, name: str) -> float:
    """Return the mean of a share over the last `WINDOW` updates; NaN if it was not measured."""
    return float(updates[name].dropna().tail(WINDOW).mean()) if name in updates else float("nan")


def _cell(most: Sequence[float], final: Sequence[float]) -> str:
    if np.isnan(most).any():
        return "-"
    mean = f"{100 * float(np.mean(most)):.0f} %"
    return f"**{mean}** / {_percent(final)}" if max(most) >= OCCURS else f"{mean} / {_percent(final)}"


def _percent(shares: Sequence[float]) -> str:
    return f"{100 * float(np.mean(shares)):.0f} %"


def _stages(found: Pool, arm: str) -> str:
    seeds: dict[str, int] = {}
    for run in found.runs:
        if run.arm == arm and run.stages:
            stages = read_json(run.folder / "stages.json")
            for name in dict.fromkeys(band["stage"] for band in stages["bands"]):
                seeds[name] = seeds.get(name, 0) + 1
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in seeds.items())


def _examples(found: Pool) -> Iterator[str]:
    """Yield examples of each pattern: the first response of each arm's first seed, in the order of the arms."""
    shown: dict[str, list[str]] = {}
    for run in found.runs:
        if "rollouts" in run.tables:
            responses, rollouts = (read_parquet(run.folder / f"{name}.parquet") for name in ("responses", "rollouts"))
            for pattern, where in patterns(responses, rollouts).items():
                if where.any() and len(shown.setdefault(pattern, [])) < EXAMPLES:
                    row = rollouts.iloc[int(np.argmax(where))]
                    head = f"{run.arm}, seed {run.seed}, update {row['update']}, reward {row['reward']:+g}"
                    share = f"{100 * where.mean():.1f} % of the {len(where):,} responses"
                    shown[pattern].append(f"{head} ({share}):\n\n{fenced(str(row['response']))}")
    if shown:
        yield (
            f"Examples: the first training response with each pattern, verbatim, from the first seed of at most"
            f" {EXAMPLES} arms. The share is that of all training responses of this seed."
        )
    for pattern, examples in shown.items():
        yield "\n\n".join([f"*{pattern[0].upper()}{pattern[1:]}.*", *examples])


def patterns(responses: pd.DataFrame, rollouts: pd.DataFrame) -> Mapping[str, np.ndarray]:
    """Return each pattern -> which responses have it."""
    found = {LABELS[name]: responses[name].to_numpy(dtype=float) == 1 for name in SHORTCUTS if name in responses}
    text = rollouts["response"]
    found["`<think>` more than once"] = text.str.count("<think>").gt(1).to_numpy()
    found["torn tags"] = text.str.contains(_TORN).to_numpy()
    return found
