"""Evaluation modes, prompt templates and evaluation settings."""

from typing import Annotated, Literal

from pydantic import Field

from medrlvr.config.base import Modes, Positive, Settings


class Mode(Settings):
    """One way to ask a model. The paper's two, and loglikelihood; more by a name of your choice."""

    prompt: str
    """Paper: direct and chain_of_thought, the templates that models are trained with. Ours: or a template file."""
    answer_format: Literal["bare", "tagged", "loglikelihood"]
    """Ours. Where the letter is. bare: at the response's begin; tagged: in the answer block; loglikelihood: nothing is
    written, and the letter of the highest probability is taken."""
    max_tokens: Positive = 1024
    """Ours: room for the response. Of no effect where loglikelihood."""
    samples: Positive = 1
    """Ours: responses to each question; the letter that most of them give is the answer (self-consistency)."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """Ours: 0 is greedy."""

    @property
    def grader_format(self) -> Literal["bare", "tagged"]:
        """Where the grader looks for the letter: a loglikelihood answer is a bare one."""
        return "tagged" if self.answer_format == "tagged" else "bare"


class ExternalModel(Settings):
    """A model of yours, asked beside the trained ones."""

    path: str
    """Ours: a folder with safetensors, configuration and tokenizer."""
    modes: Modes = ("chain_of_thought", "direct", "loglikelihood")
    """Ours: how it is asked; by the first it is judged."""


class Prompts(Settings):
    """Template files. Copy one, change the copy and name it here."""

    question: str = "prompts/question.txt"
    """Paper, Table 1: how stem and options are laid out."""
    chain_of_thought: str = "prompts/med_rlvr.txt"
    """Paper, section 3.2, word for word."""
    direct: str = "prompts/direct.txt"
    """Ours: asks for the letter at once; the paper's wording is not known."""


class Evaluation(Settings):
    """How answers are generated and scored."""

    prompt_max_tokens: Positive = 2048
    """Ours. A longer question stops the run, it is never cut."""
    bootstrap_resamples: Positive = 1000
    """Paper, Figure 3: of the standard deviation. Intervals take ten times as many."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Ours: of resamples, sampled answers and the benchmarks' controls."""
    keep_checkpoints: bool = False
    """Ours. false: of models that RLVR saves on the way the weights are deleted once they have answered, but for the
    last and the one chosen. What is asked later they are not asked, and none of them can be chosen later."""
