"""Train the base by reinforcement learning from verifiable rewards."""

from pathlib import Path

from medrlvr.config import RlvrArm, load
from medrlvr.job import job
from medrlvr.progress import training_stage
from medrlvr.training.rlvr import train_rlvr

if __name__ == "__main__":
    with job(snakemake) as say:
        settings = load(snakemake.config)
        train_rlvr(
            RlvrArm.model_validate(snakemake.params.arm),
            settings.machine,
            int(snakemake.wildcards.seed),
            name=f"{settings.experiment}-{snakemake.wildcards.arm}-seed{snakemake.wildcards.seed}",
            stage=training_stage(snakemake.wildcards.arm, int(snakemake.wildcards.seed)),
            base=Path(snakemake.input.base),
            prompts=Path(snakemake.input.prompts),
            models=Path(snakemake.output.models),
            rollouts_table=Path(snakemake.output.rollouts),
            metrics_table=Path(snakemake.output.trainer),
            events=Path(snakemake.output.tensorboard),
            node_logs=Path(snakemake.log[0]).with_suffix(""),
            state=Path(snakemake.params.state),
            say=say,
        )
