"""Write docs/reference/index.md from the shipped runs: accuracies, verdicts, shortcuts, and what one seed shows."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.config.design import ComparisonDesign
from medrlvr.dynamics.hack_monitor import INDICATORS
from medrlvr.evaluation.claims import assess_claims
from medrlvr.evaluation.comparison.pairs import compare_systems
from medrlvr.evaluation.comparison.predictions import Reading
from medrlvr.evaluation.score import majority_vote
from medrlvr.evaluation.statistics import seed_interval
from medrlvr.reference.pooled import Pool, pool
from medrlvr.reference.runs import PARTS, Part, all_runs
from medrlvr.runtime.files import read_parquet, write_text

PAPER = Path("assets/paper/figure3.csv")
RESAMPLES = 10_000
WINDOW = 10
"""Updates over which a shortcut's share is averaged."""
OCCURS = 0.10
"""A shortcut occurs if its share reaches this in some window (docs/log.md, written before the run)."""
SHORTCUTS = ("early_answer", "empty_think", "pre_think", "loose_format", "invented_evidence")
READINGS: Mapping[Reading, str] = {"correct": "required format", "lenient_correct": "any readable letter"}


def write_page(folder: Path, parts: Sequence[Part] = PARTS) -> None:
    """Write `index.md` into the folder of shipped runs."""
    pools = [pool(part, all_runs([part])) for part in parts]
    sections = [_experiment(one) for one in pools if one]
    if not sections:
        sections = ["No run is shipped yet. `make reference` makes them."]
    write_text(folder / "index.md", "\n\n".join([_HEAD, *sections]) + "\n")


_HEAD = """# The reference run of the miniature

`make reference` writes this page from the runs in this folder. [docs/miniature.md](../miniature.md) describes world and
base, [docs/log.md](../log.md) the design, which was written before these runs. The results concern a model of 1.6
million parameters in a synthetic world. They are no evidence about the paper's model, and nothing here is medical
advice."""


def _experiment(found: Pool) -> str:
    design = found.design()
    titles = {name: benchmark.title for name, benchmark in found.part.experiment.benchmarks.items()}
    parts = [f"## {found.part.experiment.title}", _runs_text(found), *_accuracy_section(found, titles)]
    if design:
        claims = verdicts(found, design)
        parts += ["### Verdicts", _verdict_table(claims, titles)]
        if misled := _misled(found, design, claims):
            parts += ["### One seed instead of all", misled]
    parts += ["### Shortcuts", *_shortcut_section(found)]
    return "\n\n".join(parts)


def _runs_text(found: Pool) -> str:
    lines = [f"Pooled: {len(found.runs)} runs, the base included."]
    if found.absent:
        lines.append(f"Not run: {', '.join(found.absent)}.")
    for model, names in found.excluded.items():
        lines.append(f"Not pooled: {model}, with another fingerprint of {', '.join(names)}.")
    return " ".join(lines)


def _accuracy_section(found: Pool, titles: Mapping[str, str]) -> Iterator[str]:
    yield "### Accuracy"
    sizes = found.questions.groupby("benchmark").size()
    yield (
        f"Percent of {sizes[next(iter(titles))]} questions for each set: required format | any readable letter. In"
        " brackets the 95 % t-interval over training seeds, for arms with three or more."
    )
    rows = [["model", "seeds", *titles.values()]]
    for arm, models in _models(found).items():
        for mode in _modes(found, models[0]):
            cells = [_accuracy_cell(found, models, mode, benchmark) for benchmark in titles]
            rows.append([f"{arm}, {mode.replace('_', ' ')}", "-" if arm == "base" else str(len(models)), *cells])
    yield table(rows)


def _models(found: Pool) -> dict[str, list[str]]:
    models: dict[str, list[str]] = {}
    for run in found.runs:
        models.setdefault(run.arm, []).append(run.model)
    return models


def _modes(found: Pool, model: str) -> list[str]:
    present = set(found.scores[model]["mode"])
    return [mode for mode in found.part.experiment.modes_of(model) if mode in present]


def _accuracy_cell(found: Pool, models: Sequence[str], mode: str, benchmark: str) -> str:
    return " \\| ".join(_mean_with_interval(accuracies(found, models, mode, benchmark, name)) for name in READINGS)


def accuracies(found: Pool, models: Sequence[str], mode: str, benchmark: str, reading: Reading) -> list[float]:
    """Return the accuracy of each model on one benchmark, in one mode and by one reading."""
    tables = [found.scores[model] for model in models]
    return [
        float(one.loc[(one["benchmark"] == benchmark) & (one["mode"] == mode), reading].astype(float).mean())
        for one in tables
    ]


def _mean_with_interval(values: Sequence[float]) -> str:
    interval = seed_interval(list(values), 0.0, 0.95) if len(values) > 2 else None
    mean = f"{100 * float(np.mean(values)):.1f}"
    return f"{mean} ({100 * max(interval[0], 0):.1f} to {100 * min(interval[1], 1):.1f})" if interval else mean


def verdicts(found: Pool, design: ComparisonDesign) -> list[dict[str, Any]]:
    """Return the records of `assess_claims` for the pooled runs of a design."""
    models = [model for models in design.models.values() for model in models]
    scores = {model: found.scores[model] for model in models}
    predictions = {model: majority_vote(scores[model]) for model in models}
    clusters = found.questions[["question_id", "cluster", "repeats"]].drop_duplicates("question_id")
    pairs = compare_systems(predictions, clusters, design, RESAMPLES, found.part.experiment.evaluation.seed)
    return assess_claims(pairs, scores, pd.read_csv(PAPER, keep_default_na=False), design)


def _verdict_table(claims: Iterable[Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    rows = [["test set", "claim", "verdict", "required format", "any readable letter", "interval"]]
    for claim in claims:
        share = claim["any_letter"] is None
        cells = [_measured(claim, share), "-" if share else _measured(claim["any_letter"], share)]
        confidence = f"{100 * claim['confidence']:.0f} %"
        rows.append([titles[claim["benchmark"]], claim["claim"], f"**{claim['verdict']}**", *cells, confidence])
    return table(rows)


def _measured(record: Mapping[str, Any], share: bool) -> str:
    low, value, high = (100 * record[name] for name in ("low", "value", "high"))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})" if share else f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _misled(found: Pool, design: ComparisonDesign, claims: Sequence[Mapping[str, Any]]) -> str | None:
    """Return a table of how many single seeds have another verdict than all seeds; None with one seed."""
    assert design.rlvr is not None
    arms = [arm for arm in (design.rlvr, design.sft) if arm]
    count = min(len(design.models[arm]) for arm in arms)
    if count < 2:
        return None
    pooled = {(claim["benchmark"], claim["claim"]): claim["verdict"] for claim in claims}
    differing = dict.fromkeys(pooled, 0)
    for number in range(count):
        models = {"base": ["base"], **{arm: [design.models[arm][number]] for arm in arms}}
        alone = {arm: design.runs[arm] for arm in models}, {arm: design.modes[arm] for arm in models}
        for claim in verdicts(found, replace(design, models=models, runs=alone[0], modes=alone[1])):
            key = claim["benchmark"], claim["claim"]
            differing[key] += claim["verdict"] != pooled[key]
    rows = [["test set", "claim", "verdict of all seeds", f"single seeds with another verdict, of {count}"]]
    titles = {name: benchmark.title for name, benchmark in found.part.experiment.benchmarks.items()}
    rows += [[titles[key[0]], key[1], pooled[key], str(other)] for key, other in differing.items()]
    return table(rows)


def _shortcut_section(found: Pool) -> Iterator[str]:
    yield (
        f"Highest mean share of any {WINDOW} consecutive updates, among responses with a valid format, as the mean over"
        f" seeds. Bold: the share reached {100 * OCCURS:.0f} % in at least one seed. Stages: those seen in at least one"
        " seed, by the rules of [stages.md](../stages.md)."
    )
    rows = [["arm", "seeds", *(INDICATORS[name] for name in SHORTCUTS), "characters, last update", "stages"]]
    for arm, models in _models(found).items():
        updates = [file for model in models if (file := found.part.shipped / model / "updates.csv").is_file()]
        if not updates:
            continue
        tables = [pd.read_csv(file) for file in updates]
        cells = [_shortcut_cell([highest(one, name) for one in tables]) for name in SHORTCUTS]
        length = float(np.mean([one["chars"].dropna().iloc[-1] for one in tables]))
        rows.append([arm, str(len(models)), *cells, f"{length:.0f}", ", ".join(_stages(found, models))])
    yield table(rows)
    yield from _examples(found)


def highest(updates: pd.DataFrame, name: str) -> float:
    """Return the highest mean of a share over `WINDOW` consecutive updates; NaN if it was not measured."""
    if name not in updates:
        return float("nan")
    return float(updates[name].dropna().rolling(WINDOW).mean().max())


def _shortcut_cell(shares: Sequence[float]) -> str:
    mean = f"{100 * float(np.mean(shares)):.0f} %"
    return f"**{mean}**" if max(shares) >= OCCURS else mean


def _stages(found: Pool, models: Sequence[str]) -> list[str]:
    seen: list[str] = []
    for model in models:
        stages = json.loads((found.part.shipped / model / "stages.json").read_text(encoding="utf-8"))
        seen += [band["stage"] for band in stages["bands"]]
    return [name.replace("_", " ") for name in dict.fromkeys(seen)]


def _examples(found: Pool) -> Iterator[str]:
    """Yield the last response of the first seed of `rlvr` with each shortcut, verbatim."""
    folder = next((run.folder for run in found.runs if run.arm == "rlvr" and run.is_first_seed), None)
    if folder is None or not (folder / "responses.parquet").is_file():
        return
    responses, rollouts = (read_parquet(folder / f"{name}.parquet") for name in ("responses", "rollouts"))
    for name in SHORTCUTS:
        shown = responses[name].astype(float) == 1 if name in responses else pd.Series(dtype=bool)
        if shown.any():
            row = rollouts.loc[shown[shown].index[-1]]
            yield f"{INDICATORS[name].capitalize()}, update {row['update']}, reward {row['reward']:+g}:"
            yield "\n".join(["```text", str(row["response"]).strip().replace("```", "` ` `"), "```"])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its header."""
    header, *body = rows
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *body])
