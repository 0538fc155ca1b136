"""Pages of experiments that never ran: their files, by the functions that the rules call, and the real templates."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from evaluated import OPTIONS, PAPER, write
from test_card import card

from medrlvr.config.design import comparison_design
from medrlvr.config.experiment import Experiment
from medrlvr.dynamics.responses import label_responses
from medrlvr.dynamics.summary import summarise_run
from medrlvr.dynamics.updates import grade_checkpoints, tabulate
from medrlvr.grading.evidence import EvidenceCheck
from medrlvr.grading.grader import grade
from medrlvr.grading.reward_config import load_reward
from medrlvr.report.figures.accuracy import accuracy_table, draw_accuracy
from medrlvr.report.figures.curve import bands_of, curve_table, draw_curve
from medrlvr.report.figures.panels import draw_panels, panels_table
from medrlvr.report.figures.style import COLUMN, PAGE, save
from medrlvr.report.metrics_table import read_metrics
from medrlvr.report.page import render_page
from medrlvr.report.page_data import PageInputs, page_values
from medrlvr.runtime.files import read_parquet, write_json, write_parquet

EXPERIMENT = Experiment()
NO_CHECKPOINTS = pd.DataFrame(columns=["update", "set", "n", "accuracy", "chars"])
FIGURES = [f"{name}{kind}" for name in ("accuracy", "dynamics", "training", "hacking") for kind in ("", "_column")]
CANDIDATES = [
    {"candidate": "update4", "n": 2, "accuracy": 0.5, "unparsed": 0.0, "chosen": True},
    {"candidate": "update8", "n": 2, "accuracy": 0.25, "unparsed": 0.5, "chosen": False},
]


def train_questions(n: int) -> pd.DataFrame:
    rows = [
        {"question_id": f"q/{row}", "stem": f"What is in lode {row}?", "options": OPTIONS, "gold": row % 5}
        for row in range(n)
    ]
    return pd.DataFrame(rows)


def rollouts(updates: Sequence[Sequence[str]]) -> pd.DataFrame:
    """As `training.rollouts.gather` returns them: of each update these responses, to one question each."""
    reward = load_reward("paper")
    rows = []
    for update, responses in enumerate(updates, start=1):
        for number, response in enumerate(responses):
            found = grade(response, OPTIONS, number % 5)
            graded = {**asdict(found), "reward": reward(found), "reward_paper": reward(found)}
            rows.append((update, f"q/{number}", 0, response, "stop", *graded.values()))
    return pd.DataFrame(rows, columns=["update", "question_id", "sample", "response", "finish_reason", *graded])


def write_run(folder: Path, sampled: pd.DataFrame, check: EvidenceCheck | None = None) -> dict[str, str]:
    """Write the files of one run of RLVR, with `check` of its reasoning; return their paths by name."""
    train = train_questions(sampled["question_id"].nunique())
    responses = label_responses(sampled, train.set_index("question_id"), [9] * len(sampled), check)
    updates = sorted(sampled["update"].unique())
    trainer = pd.DataFrame({"update": updates, "kl": 0.1, "timing/step_total": 2.0})
    trainer = trainer.assign(**{f"timing/{part}": 0.5 for part in ("generation", "make_experience", "ppo_train")})
    table = tabulate(sampled, responses, trainer, NO_CHECKPOINTS)
    paths = {name: str(folder / f"{name}.parquet") for name in ("rollouts", "responses", "dynamics")}
    for name, rows in {"rollouts": sampled, "responses": responses, "dynamics": table}.items():
        write_parquet(paths[name], rows)
    write_json(folder / "stages.json", summarise_run(table, sampled, responses))
    return {**paths, "stages": str(folder / "stages.json")}


def checkpoint_grades(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the grades of two checkpoints: of the base, and of RLVR's model as after two updates."""
    updates = {"base": 0, "rlvr/seed1": 2}
    answers = pd.concat([scores[model].assign(model=model) for model in updates], ignore_index=True)
    return grade_checkpoints(answers[answers["mode"] == "chain_of_thought"], updates)


def draw(folder: Path, evaluated: dict[str, Any], metrics: pd.DataFrame, run: dict[str, str]) -> None:
    """Draw the report's figures."""
    bars = accuracy_table(metrics, evaluated["comparisons"], PAPER, comparison_design(EXPERIMENT))
    dynamics = read_parquet(run["dynamics"]).assign(arm="rlvr", seed=1)
    curve = curve_table(
        dynamics,
        bands_of({1: run["stages"]}),
        pd.read_csv("assets/paper/figure2.csv"),
        pd.read_csv("assets/paper/stages.csv"),
        EXPERIMENT.titles(),
    )
    for kind, width in (("", PAGE), ("_column", COLUMN)):
        save(draw_accuracy(bars, width), folder / f"accuracy{kind}.svg")
        save(draw_curve(curve, "Ours", width), folder / f"dynamics{kind}.svg")
        for name in ("training", "hacking"):
            drawn = draw_panels(panels_table(dynamics, name), name, width)
            save(drawn, folder / f"{name}{kind}.svg")


def values(*arguments: Any, **settings: Any) -> dict[str, Any]:
    """Return the values for the report's template; arguments as for `prepare`."""
    return page_values(PageInputs(**prepare(*arguments, **settings)))


def prepare(
    folder: Path,
    evaluated: dict[str, Any],
    sampled: pd.DataFrame,
    candidates: list[dict[str, Any]] = CANDIDATES,
    *,
    drawn: bool = False,
    check: EvidenceCheck | None = None,
) -> dict[str, Any]:
    """Write an experiment's files into `folder` and return the fields of `PageInputs`.

    Args:
        drawn: with figures, which take a while, and not only with places for them.
        check: of the reasoning of the run's responses.
    """
    run = write_run(folder, sampled, check)
    write_json(folder / "s.json", candidates)
    write_json(folder / "only.json", [{"candidate": "lr1e-05", "n": 0, "accuracy": None, "chosen": True}])
    write_json(folder / "data_card.json", card())
    write_json(folder / "base.json", {"name": "b", "origin": "b at commit c0ffee"})
    titles = EXPERIMENT.titles()
    metrics = write(evaluated, folder)
    shown = read_metrics(metrics, titles)
    for name in FIGURES:
        (folder / f"{name}.svg").write_text("<svg></svg>", encoding="utf-8")
    if drawn:
        draw(folder, evaluated, shown, run)
    write_parquet(folder / "grades.parquet", checkpoint_grades(evaluated["scores"]))
    side_by_side = ["base", "sft/seed1", "rlvr/seed1", "rlvr_dev/seed1"]
    for model in evaluated["scores"]:
        write_parquet(folder / f"scores-{model.replace('/', '-')}.parquet", evaluated["scores"][model])
    questions = {"train": train_questions(sampled["question_id"].nunique()), **evaluated["questions"]}
    for name in ("train", *EXPERIMENT.benchmarks):
        write_parquet(folder / f"questions-{name}.parquet", questions[name])
    write_json(folder / "kills.json", {"tried": 20, "survived": 19, "seed": 7, "commit": "c0ffee" * 6})
    tables = {name: folder / f"{name}.json" for name in ("comparisons", "verdict", "data_card", "base", "kills")}
    log = str(folder / "logs/any.log")
    return {
        "experiment": EXPERIMENT.model_dump(mode="json"),
        "metrics": shown,
        "titles": titles,
        "design": comparison_design(EXPERIMENT),
        "runs": {"rlvr/seed1": run},
        "checkpoints": {"rlvr/seed1": folder / "grades.parquet"},
        "generations": metrics,
        "scores": {model: folder / f"scores-{model.replace('/', '-')}.parquet" for model in evaluated["scores"]},
        "shown": side_by_side,
        "questions": {name: folder / f"questions-{name}.parquet" for name in ("train", *EXPERIMENT.benchmarks)},
        "selections": {"rlvr/seed1": folder / "s.json", "sft/seed1": folder / "only.json"},
        "tables": tables | {"base_metrics": metrics["base"]},
        "glossary": "docs/glossary.md",
        "figures": [folder / f"{name}.svg" for name in FIGURES],
        "cost": [
            {"phase": "report", "jobs": 1, "seconds": 1.0, "longest": 1.0, "gpu_hours": 0, "memory": 1.0, "cores": None}
        ],
        "records": [{"file": run["rollouts"], "rule": "train_rlvr", "log": log}],
        "results": folder,
        "versions": {"torch": "2"},
        "created": datetime(2026, 11, 21, 9, 5, tzinfo=UTC),
    }


def render(values: dict[str, Any]) -> str:
    return render_page(values)
