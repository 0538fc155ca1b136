"""Check this GPU, or rehearse the check on a CPU."""

import os
from pathlib import Path

from medrlvr.config.arms import RlvrArm
from medrlvr.config.experiment import Experiment
from medrlvr.config.load import load_config
from medrlvr.gpu_check.check import MINUTES, CheckInputs, check_gpu, read_minutes
from medrlvr.gpu_check.ppo_row import read_presets
from medrlvr.gpu_check.training_row import TrainingInputs, training_run
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        experiment = load_config(snakemake.config)
        papers = Experiment().arms["rlvr"]
        assert isinstance(papers, RlvrArm)
        folder, (mode, *_) = Path(snakemake.params.state), experiment.arms["rlvr"].modes
        training = TrainingInputs(
            run=training_run(
                experiment, Path(snakemake.input.base), Path(snakemake.input.prompts), folder / "training", seed=1
            ),
            prompts=Path(snakemake.input.development),
            mode={mode: experiment.modes[mode]},
            prompt_max_tokens=experiment.evaluation.prompt_max_tokens,
            curve=Path(snakemake.input.curve),
        )
        check_gpu(
            CheckInputs(
                machine=experiment.machine,
                training=training,
                arm=papers,
                presets=read_presets(snakemake.input.presets),
                minutes=read_minutes(os.environ.get(MINUTES)),
                folder=folder,
                report=Path(snakemake.output.report),
                table=Path(snakemake.output.table),
                rates=Path(snakemake.output.report).with_name("rates.yaml"),
            ),
            notify,
        )
