"""Write docs/reference/index.md from the shipped runs: accuracies, verdicts, shortcuts, and what one seed shows."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from medrlvr.config.design import ComparisonDesign
from medrlvr.evaluation.claims import assess_claims
from medrlvr.evaluation.comparison.pairs import compare_systems
from medrlvr.evaluation.score import majority_vote
from medrlvr.reference.accuracy import accuracy_section, questions_each
from medrlvr.reference.figures import draw_figures
from medrlvr.reference.markdown import table
from medrlvr.reference.pooled import Pool, pool
from medrlvr.reference.runs import PARTS, Part, all_runs
from medrlvr.reference.shortcuts import shortcut_section
from medrlvr.runtime.files import write_text

PAPER = Path("assets/paper/figure3.csv")
RESAMPLES = 10_000


def write_page(folder: Path, parts: Sequence[Part] = PARTS) -> None:
    """Write `index.md` and its figures into the folder of shipped runs."""
    sections = []
    for part in parts:
        runs = all_runs([part])
        found = pool(part, runs)
        sections.append(f"## {part.experiment.title}")
        sections += _experiment(found, folder) if found else [not_run(run.model for run in runs)]
    write_text(folder / "index.md", "\n\n".join([_HEAD, *sections]) + "\n")


_HEAD = """# The reference run of the miniature

`make reference` writes this page from the runs in this folder. [docs/miniature.md](../miniature.md) describes world and
base, [docs/log.md](../log.md) the design, which was written before these runs. The results concern a model of 1.6
million parameters in a synthetic world. They are no evidence about the paper's model, and nothing here is medical
advice."""


def _experiment(found: Pool, folder: Path) -> Iterator[str]:
    yield _runs_text(found)
    yield from accuracy_section(found)
    if design := found.design():
        claims = verdicts(found, design)
        yield from _verdict_section(found, design, claims)
        yield from _misled(found, design, claims)
    yield "### Shortcuts"
    yield from shortcut_section(found)
    yield from draw_figures(found, folder)


def _runs_text(found: Pool) -> str:
    lines = [f"Pooled: {len(found.runs)} runs, the base included."]
    if found.absent:
        lines.append(not_run(found.absent))
    for model, names in found.excluded.items():
        lines.append(f"Not pooled: {model}, with another fingerprint of {', '.join(names)}.")
    return " ".join(lines)


def not_run(models: Iterable[str]) -> str:
    """Return a sentence with the models that are not shipped, grouped by arm."""
    seeds: dict[str, list[str]] = {}
    for model in models:
        arm, _, seed = model.partition("/seed")
        seeds.setdefault(arm, []).append(seed)
    listed = [f"{arm} (seed{'s' * (len(own) > 1)} {', '.join(own)})" if any(own) else arm for arm, own in seeds.items()]
    return f"Not run: {', '.join(listed)}."


def verdicts(found: Pool, design: ComparisonDesign) -> list[dict[str, Any]]:
    """Return the records of `assess_claims` for the pooled runs of a design."""
    models = [model for models in design.models.values() for model in models]
    scores = {model: found.scores[model] for model in models}
    predictions = {model: majority_vote(scores[model]) for model in models}
    clusters = found.questions[["question_id", "cluster", "repeats"]].drop_duplicates("question_id")
    pairs = compare_systems(predictions, clusters, design, RESAMPLES, found.part.experiment.evaluation.seed)
    return assess_claims(pairs, scores, pd.read_csv(PAPER, keep_default_na=False), design)


def _verdict_section(found: Pool, design: ComparisonDesign, claims: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    seeds = ", ".join(f"{arm} {len(models)}" for arm, models in design.models.items() if arm != "base")
    yield "### Verdicts"
    yield (
        f"Seeds: {seeds}; questions for each set: {questions_each(found)}. Differences in points, shares in percent."
        " The interval contains the bootstrap interval over questions and, with three or more seeds of each arm, the"
        " t-interval over seeds. The rules are in [claims.md](../claims.md)."
    )
    rows = [["test set", "claim", "verdict", "required format", "any readable letter", "interval"]]
    titles = found.part.experiment.benchmarks
    for claim in claims:
        share = claim["any_letter"] is None
        cells = [measured(claim, share), "-" if share else measured(claim["any_letter"], share)]
        confidence = f"{100 * claim['confidence']:.0f} %"
        rows.append([titles[claim["benchmark"]].title, claim["claim"], f"**{claim['verdict']}**", *cells, confidence])
    yield table(rows)


def measured(record: Mapping[str, Any], share: bool) -> str:
    """Return value and interval of a claim's record as text: percent for a share, points for a difference."""
    low, value, high = (100 * record[name] for name in ("low", "value", "high"))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})" if share else f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _misled(found: Pool, design: ComparisonDesign, claims: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the section that compares the verdicts of single seeds with those of all seeds; nothing with one seed."""
    trained = [arm for arm in design.models if arm != "base"]
    count = min(len(design.models[arm]) for arm in trained)
    if count < 2:
        return
    alone: dict[tuple[str, str], Counter[str]] = {_key(claim): Counter() for claim in claims}
    for number in range(count):
        models = {"base": ["base"], **{arm: [design.models[arm][number]] for arm in trained}}
        for one in verdicts(found, replace(design, models=models)):
            alone[_key(one)][one["verdict"]] += 1
    yield "### One seed instead of all"
    yield (
        f"Verdicts of {count} single seeds: the first of each arm, the second of each arm, and so on. Their intervals"
        f" are over questions only ({questions_each(found)} for each set). A seed misleads if its verdict is not"
        " that of all seeds."
    )
    rows = [
        ["test set", "claim", "verdict of all seeds", f"seeds that mislead, of {count}", "verdicts of single seeds"]
    ]
    titles = found.part.experiment.benchmarks
    for claim in claims:
        seen = alone[_key(claim)]
        listed = ", ".join(f"{verdict} {number}" for verdict, number in seen.most_common())
        misled = str(count - seen[claim["verdict"]])
        rows.append([titles[claim["benchmark"]].title, claim["claim"], claim["verdict"], misled, listed])
    yield table(rows)


def _key(claim: Mapping[str, Any]) -> tuple[str, str]:
    return claim["benchmark"], claim["claim"]
