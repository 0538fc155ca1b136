"""Select the learning rate with the best development accuracy."""

from pathlib import Path

import yaml

from medrlvr.evaluation.selection import candidate_models, select_best
from medrlvr.report.model_card import model_card
from medrlvr.runtime.files import read_json, read_parquet, write_json
from medrlvr.runtime.step_log import step_log
from medrlvr.training.publish import publish_model
from medrlvr.training.run_state import delete_finished

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        models = candidate_models(snakemake.input.candidates)
        answers = read_parquet(*snakemake.input.answers) if snakemake.input.answers else None
        table = select_best(answers, read_parquet(snakemake.input.questions), models, snakemake.params.answer_format)
        best = int(table["chosen"].idxmax())
        candidate = table.loc[best].to_dict()
        reason = f"best of {len(models)} on development" if models[1:] else "the only candidate"
        name = f"{snakemake.wildcards.arm}/seed{snakemake.wildcards.seed}"
        facts = {**snakemake.params.card, "base": read_json(snakemake.input.base)}
        settings = yaml.safe_load((models[best] / "training.yaml").read_text(encoding="utf-8"))
        card = model_card(name, **facts, settings=settings, candidate=candidate, reason=reason)
        publish_model(models[best], Path(snakemake.output.model), card)
        write_json(snakemake.output.selection, table.to_dict("records"))
        notify(f"{name}: {candidate['candidate']}, {reason}")
        delete_finished(Path(snakemake.params.state), map(Path, snakemake.input.candidates))
