"""Sample each drawn question repeatedly."""

from pathlib import Path

from medrlvr.config.evaluation import Mode
from medrlvr.config.load import load_config
from medrlvr.evaluation.generate import generate_answers
from medrlvr.evaluation.repeated import sampling_requests
from medrlvr.evaluation.requests import draw_questions
from medrlvr.runtime.files import read_parquet
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        inputs, params = snakemake.input, snakemake.params
        models = [Path(model) for model in inputs.models]
        prompts = read_parquet(inputs.prompts)
        drawn = draw_questions(prompts[prompts["benchmark"].isin(params.benchmarks)], params.questions, params.seed)
        modes = dict(zip(map(str, models), params.modes, strict=True))
        settings = {name: Mode(**mode | params.sampling) for name, mode in params.settings.items()}
        generate_answers(
            models,
            sampling_requests(drawn, modes, settings, params.seed),
            Path(snakemake.output.answers).parent,
            load_config(snakemake.config).machine,
            prompt_max_tokens=params.prompt_max_tokens,
            state=Path(params.state),
            display_name=params.display_name,
            notify=notify,
        )
