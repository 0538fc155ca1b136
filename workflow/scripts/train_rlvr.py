"""Train the base by reinforcement learning from verifiable rewards."""

from pathlib import Path

from medrlvr.config.arms import RlvrArm
from medrlvr.config.load import load_config
from medrlvr.runtime.progress import run_display_name
from medrlvr.runtime.step_log import step_log
from medrlvr.training.rlvr import RlvrRun, train_rlvr

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        experiment = load_config(snakemake.config)
        arm, seed = snakemake.wildcards.arm, int(snakemake.wildcards.seed)
        run = RlvrRun(
            arm=RlvrArm.model_validate(snakemake.params.arm),
            machine=experiment.machine,
            seed=seed,
            name=f"{experiment.experiment}-{arm}-seed{seed}",
            display_name=run_display_name(arm, seed),
            base=Path(snakemake.input.base),
            prompts=Path(snakemake.input.prompts),
            models=Path(snakemake.output.models),
            rollouts_table=Path(snakemake.output.rollouts),
            metrics_table=Path(snakemake.output.trainer),
            events=Path(snakemake.output.tensorboard),
            node_logs=Path(snakemake.log[0]).with_suffix(""),
            state=Path(snakemake.params.state),
            evidence=experiment.evaluation.evidence,
        )
        train_rlvr(run, notify)
