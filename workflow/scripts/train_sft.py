"""Fine-tune the base model on questions and answer letters."""

from pathlib import Path

from medrlvr.config.arms import SftArm
from medrlvr.config.load import load_config
from medrlvr.runtime.progress import run_display_name
from medrlvr.runtime.step_log import step_log
from medrlvr.training.sft import SftRun, train_sft

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        rate, seed = float(snakemake.wildcards.rate), int(snakemake.wildcards.seed)
        run = SftRun(
            arm=SftArm.model_validate(snakemake.params.arm),
            machine=load_config(snakemake.config).machine,
            seed=seed,
            learning_rate=rate,
            display_name=run_display_name(snakemake.wildcards.arm, seed, rate),
            base=Path(snakemake.input.base),
            prompts=Path(snakemake.input.prompts),
            model=Path(snakemake.output.model),
            metrics_table=Path(snakemake.output.trainer),
            events=Path(snakemake.output.tensorboard),
            state=Path(snakemake.params.state),
        )
        train_sft(run, notify)
