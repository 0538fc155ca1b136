"""Fine-tune the base on question and letter."""

from pathlib import Path

from medrlvr.config import SftArm, load
from medrlvr.job import job
from medrlvr.progress import training_stage
from medrlvr.training.sft import train_sft

if __name__ == "__main__":
    with job(snakemake) as say:
        rate, seed = float(snakemake.wildcards.rate), int(snakemake.wildcards.seed)
        train_sft(
            SftArm.model_validate(snakemake.params.arm),
            rate,
            load(snakemake.config).machine,
            seed,
            stage=training_stage(snakemake.wildcards.arm, seed, rate),
            base=Path(snakemake.input.base),
            prompts=Path(snakemake.input.prompts),
            model=Path(snakemake.output.model),
            metrics_table=Path(snakemake.output.trainer),
            events=Path(snakemake.output.tensorboard),
            state=Path(snakemake.params.state),
            say=say,
        )
