"""Floating-point operations of training and generation jobs."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from medrlvr.config.arms import RlvrArm, SftArm, update_sizes
from medrlvr.config.evaluation import Mode
from medrlvr.config.experiment import Experiment
from medrlvr.config.machine import Machine
from medrlvr.pipeline.plan.facts import Facts
from medrlvr.pipeline.plan.jobs import TRAINING_RULES, Job

PEAK_FLOPS = 312e12
"""FLOP per second of a GPU in bfloat16. ASSUMED: an A100, from its data sheet. Newer GPUs are faster."""

TRAINING_MFU, GENERATION_MFU = 0.3, 0.1
"""Fraction of the peak that training reaches, and that generation reaches, which is bound by memory. ASSUMED."""


PROMPT_TOKENS = 340
"""Tokens of a prompt. ASSUMED. MedQA's development questions, with the paper's instruction, have 1,363 characters on
average."""


@dataclass(frozen=True, slots=True)
class Work:
    """Floating-point operations of a job: of generation, and of all other forward and backward passes."""

    generation: float
    training: float

    def seconds(self, machine: Machine, gpus: int) -> float:
        """Return the time in seconds on a number of GPUs, with the machine's measured rates, or the assumed ones."""
        generation = (machine.generation_tflops or PEAK_FLOPS * GENERATION_MFU / 1e12) * 1e12
        training = (machine.training_tflops or PEAK_FLOPS * TRAINING_MFU / 1e12) * 1e12
        return (self.generation / generation + self.training / training) / gpus


def rlvr_work(
    arm: RlvrArm, checkpointing: bool, parameters: int, questions: int, prompt_tokens: int, response_tokens: float
) -> Work:
    """Return the work of a whole run, with 2 operations per parameter and token forward, and 4 backward.

    Every response passes once through the policy and, if the arm has them, the reference model and the critic. Then
    the policy and the critic are trained on it. Gradient checkpointing adds one forward pass to each training pass.
    """
    responses = sum(run_update_sizes(arm, questions)) * arm.samples_per_prompt
    tokens = responses * (prompt_tokens + response_tokens)
    critic = arm.has_critic
    scored = 1 + arm.has_reference + critic
    trained = (1 + critic) * arm.ppo_epochs
    return Work(
        generation=2 * parameters * tokens,
        training=(2 * scored + _trained(checkpointing) * trained) * parameters * tokens,
    )


def sft_work(arm: SftArm, checkpointing: bool, parameters: int, questions: int, tokens: int) -> Work:
    """Return the work of one learning rate; `tokens` counts the question and the letter."""
    return Work(generation=0, training=_trained(checkpointing) * parameters * arm.epochs * questions * tokens)


def eval_work(
    asked: Iterable[tuple[int, Mode]], models: int, parameters: int, prompt_tokens: int, longest: float
) -> Work:
    """Return the work of evaluating several models on the same requests.

    Args:
        asked: number of questions, and the evaluation mode.
        models: number of models.
        parameters: number of parameters of a model.
        prompt_tokens: tokens of a prompt.
        longest: tokens of a response, if its mode does not allow fewer.
    """
    tokens = 0.0
    for questions, mode in asked:
        response = 1 if mode.answer_format == "loglikelihood" else min(longest, mode.max_tokens)
        tokens += questions * mode.samples * (prompt_tokens + response)
    return Work(generation=2 * parameters * models * tokens, training=0)


def _trained(checkpointing: bool) -> int:
    return 8 if checkpointing else 6


def run_update_sizes(arm: RlvrArm, questions: int) -> list[int]:
    """Return the number of prompts of each update of a run.

    Args:
        questions: number of training questions.
    """
    questions = min(questions, arm.rows or questions)
    # Rows are repeated until every optimiser step is full, as in `training.inputs.fill_steps`.
    step = arm.train_batch_size // math.gcd(arm.train_batch_size, arm.samples_per_prompt)
    return update_sizes(questions + -questions % step, arm.prompts_per_update, arm.episodes)


def job_work(job: Job, experiment: Experiment, facts: Facts, response_tokens: float) -> Work | None:
    """Return the work of a job with responses of at most `response_tokens` tokens; None if unknown."""
    if facts.weights is None:
        return None
    parameters, checkpointing = facts.weights.parameters, experiment.machine.gradient_checkpointing
    arm = experiment.arms.get(job.wildcards.get("arm", ""))
    if job.rule in TRAINING_RULES:
        if facts.train is None:
            return None
        if isinstance(arm, RlvrArm):
            prompt, response = min(PROMPT_TOKENS, arm.prompt_max_tokens), min(response_tokens, arm.response_max_tokens)
            return rlvr_work(arm, checkpointing, parameters, facts.train, prompt, response)
        if isinstance(arm, SftArm) and arm.targets == "own_responses":
            return None  # the number of its rows depends on the base's responses
        if isinstance(arm, SftArm):
            return sft_work(arm, checkpointing, parameters, facts.train, min(PROMPT_TOKENS, arm.max_tokens))
    if job.rule in ("probe_checkpoints", "answer_formats"):
        return None  # their prompts depend on the responses, and on the base's tokenizer
    if job.rule == "sample_answers":
        return _sampling_work(experiment, facts, parameters, response_tokens)
    if job.rule == "sample_training":
        return _training_sampling_work(job.wildcards["rows"], experiment, facts, parameters, response_tokens)
    if job.rule == "generate_answers":
        models, sets = 1, experiment.eval_sets_of(job.wildcards["model"])
    elif job.rule == "generate_selected":
        models, sets = 2, experiment.eval_sets_of(f"{job.wildcards['arm']}/seed{job.wildcards['seed']}")
    elif isinstance(arm, SftArm):
        models, sets = len(arm.learning_rates), {"development": arm.modes[:1]}
    elif isinstance(arm, RlvrArm) and facts.train is not None:
        curve = job.rule == "generate_checkpoint_answers"
        models = candidate_count(arm, facts.train) + curve
        sets = dict.fromkeys(facts.held_out if curve else ("development",), arm.modes[:1])
    else:
        return None
    benchmark_of = {name: benchmark for name, (benchmark, _) in experiment.eval_sets().items()}
    asked = []
    for name, modes in sets.items():
        questions = facts.held_out[benchmark_of.get(name, name)]
        if questions is None:
            return None
        asked += [(questions, experiment.modes[mode]) for mode in modes]
    prompt_tokens = min(PROMPT_TOKENS, experiment.evaluation.prompt_max_tokens)
    return eval_work(asked, models, parameters, prompt_tokens, response_tokens)


def _sampling_work(experiment: Experiment, facts: Facts, parameters: int, response_tokens: float) -> Work | None:
    """Return the work of sampling each drawn question repeatedly; None if the number of questions is unknown."""
    sizes = [facts.held_out[name] for name in experiment.benchmarks]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return None
    drawn = sum(min(size, experiment.controls.questions) for size in known)
    sampled = {"samples": experiment.controls.samples}
    asked = [
        (drawn, experiment.modes[mode].model_copy(update=sampled)) for mode in experiment.sampled_models().values()
    ]
    prompt_tokens = min(PROMPT_TOKENS, experiment.evaluation.prompt_max_tokens)
    return eval_work(asked, 1, parameters, prompt_tokens, response_tokens)


def _training_sampling_work(
    rows: str, experiment: Experiment, facts: Facts, parameters: int, response_tokens: float
) -> Work | None:
    """Return the work of sampling the base on the training questions; None if their number is unknown."""
    if facts.train is None:
        return None
    kind: Literal["majority", "own_responses"] = "majority" if rows == "majority" else "own_responses"
    questions = min(facts.train, experiment.sampled_rows(kind) or facts.train)
    return eval_work([(questions, experiment.base_sampling(kind))], 1, parameters, PROMPT_TOKENS, response_tokens)


def candidate_count(arm: RlvrArm, questions: int) -> int:
    """Return the number of checkpoints that a run saves, among which selection chooses."""
    return (len(run_update_sizes(arm, questions)) - 1) // arm.save_every + 1
