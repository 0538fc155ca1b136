"""Decompose RLVR's gain over the base: format, knowledge that the base did not state, and new answers."""

from typing import Any

from medrlvr.config.design import ComparisonDesign
from medrlvr.evaluation.comparison.predictions import Predictions, PredictionTables


def decompose_gain(predictions: PredictionTables, design: ComparisonDesign) -> list[dict[str, Any]]:
    """Return, per benchmark and seed, where RLVR's gain over the base comes from; nothing without the base's answers.

    Both are evaluated in RLVR's first mode. The questions that RLVR gains are counted by whether the base's answer
    could be parsed; if not, by whether it still named the right letter (`said`); otherwise by whether the base had the
    right letter under log-likelihood scoring (`known`, partly by luck) or showed it in neither way (`new`).
    """
    arm = design.rlvr
    if arm is None or design.loglikelihood is None or design.primary(arm).mode not in design.modes["base"]:
        return []
    mode = design.primary(arm).mode
    records = []
    for benchmark in design.benchmarks:
        answers = Predictions(predictions, benchmark, design)
        base = answers.tables["base", mode]
        parsed, said = base["letter"].notna(), base["lenient_correct"].astype(bool)
        knows = answers.tables["base", design.loglikelihood]["correct"].astype(bool)
        for model in design.models[arm]:
            right, before = answers.tables[model, mode]["correct"].astype(bool), base["correct"].astype(bool)
            gained = right & ~before
            cells = {
                "unparsed_said": gained & ~parsed & said,
                "unparsed_known": gained & ~parsed & ~said & knows,
                "unparsed_new": gained & ~parsed & ~said & ~knows,
                "wrong_known": gained & parsed & knows,
                "wrong_new": gained & parsed & ~knows,
                "lost": before & ~right,
            }
            counts = {name: int(cell.sum()) for name, cell in cells.items()}
            records.append({"benchmark": benchmark, "model": model, "mode": mode, "n": len(base), **counts})
    return records
