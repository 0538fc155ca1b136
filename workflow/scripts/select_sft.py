"""Take the learning rate that does best on the development questions."""

from pathlib import Path

from medrlvr.evaluation.select import candidates, choose
from medrlvr.files import read_parquet, write_json
from medrlvr.job import job
from medrlvr.report.card import model_card
from medrlvr.training.preparation import hand_over

if __name__ == "__main__":
    with job(snakemake) as say:
        models = candidates(snakemake.input.candidates)
        answers = read_parquet(*snakemake.input.answers) if snakemake.input.answers else None
        table = choose(answers, read_parquet(snakemake.input.questions), models)
        (best,) = table[table["chosen"]].to_dict("records")
        reason = f"best of {len(models)} on development" if models[1:] else "the only candidate"
        card = model_card(**snakemake.params.card, seed=snakemake.wildcards.seed, candidate=best, reason=reason)
        hand_over(models[table["chosen"].idxmax()], Path(snakemake.output.model), card)
        write_json(snakemake.output.selection, table.to_dict("records"))
        say(f"{snakemake.output.model}: {best['candidate']}, {reason}")
