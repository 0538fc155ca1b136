"""Take the last checkpoint and the one that does best on the development questions."""

from pathlib import Path

from medrlvr.evaluation.select import candidates, choose
from medrlvr.files import read_parquet, write_json
from medrlvr.job import job
from medrlvr.report.card import model_card
from medrlvr.training.preparation import hand_over

if __name__ == "__main__":
    with job(snakemake) as say:
        models = candidates(snakemake.input.candidates)
        table = choose(read_parquet(snakemake.input.answers), read_parquet(snakemake.input.questions), models)
        picks = {"last": (len(models) - 1, "the last"), "chosen": (table["chosen"].idxmax(), "best on development")}
        for output, (index, reason) in picks.items():
            candidate, model = table.loc[index].to_dict(), snakemake.output[output]
            card = model_card(
                **snakemake.params.card, seed=snakemake.wildcards.seed, candidate=candidate, reason=reason
            )
            hand_over(models[index], Path(model), card)
            say(f"{model}: {candidate['candidate']}, {reason} of {len(models)}")
        write_json(snakemake.output.selection, table.to_dict("records"))
