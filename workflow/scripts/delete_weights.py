"""Delete the weights of the checkpoints that were not selected."""

from pathlib import Path

from medrlvr.evaluation.selection import candidate_models
from medrlvr.models.folder import delete_weights
from medrlvr.runtime.files import read_json_value, write_json
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        models = candidate_models(snakemake.input.candidates)
        rows = read_json_value(snakemake.input.taken)
        taken = {row["candidate"] for row in rows if row["chosen"]} | {models[-1].name}
        asked = {Path(path).resolve() for path in snakemake.params.asked}
        left = [model for model in models if model.name not in taken and model.resolve() not in asked]
        for model in left:
            delete_weights(model)
        write_json(snakemake.output[0], [model.name for model in left])
        kept = ", ".join(sorted(taken))
        notify(f"{snakemake.wildcards.arm}, seed {snakemake.wildcards.seed}: kept the weights of {kept}")
