"""Select the last checkpoint and the one with the best development accuracy."""

from pathlib import Path

import yaml

from medrlvr.config.experiment import DEV_SUFFIX
from medrlvr.evaluation.selection import candidate_models, select_best
from medrlvr.report.model_card import model_card
from medrlvr.runtime.files import read_json, read_parquet, write_json
from medrlvr.runtime.step_log import step_log
from medrlvr.training.publish import publish_model
from medrlvr.training.run_state import delete_finished

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        arm, seed = snakemake.wildcards.arm, snakemake.wildcards.seed
        models = candidate_models(snakemake.input.candidates)
        table = select_best(
            read_parquet(snakemake.input.answers),
            read_parquet(snakemake.input.questions),
            models,
            snakemake.params.answer_format,
        )
        facts = {**snakemake.params.card, "base": read_json(snakemake.input.base)}
        for output, name, index, reason in (
            ("last", f"{arm}/seed{seed}", len(models) - 1, "the last"),
            ("chosen", f"{arm}{DEV_SUFFIX}/seed{seed}", int(table["chosen"].idxmax()), "best on development"),
        ):
            candidate = table.loc[index].to_dict()
            settings = yaml.safe_load((models[index] / "training.yaml").read_text(encoding="utf-8"))
            card = model_card(name, **facts, settings=settings, candidate=candidate, reason=reason)
            publish_model(models[index], Path(snakemake.output[output]), card)
            notify(f"{name}: {candidate['candidate']}, {reason} of {len(models)}")
        write_json(snakemake.output.selection, table.to_dict("records"))
        delete_finished(Path(snakemake.params.state), map(Path, snakemake.input.candidates))
