"""Evaluation modes, prompt templates and evaluation settings."""

from typing import Annotated, Literal

from pydantic import Field

from medrlvr.config.base import Modes, Positive, Settings

EvidenceSetting = Literal["miniature", "calculations", "text"]
"""The checks of reasoning; docs/stages.md describes them."""


class Mode(Settings):
    """One evaluation mode. The defaults are the paper's two and loglikelihood; you can add more."""

    prompt: str
    """Paper: direct or chain_of_thought, the templates used in training. Ours: or the path of a template file."""
    answer_format: Literal["bare", "tagged", "loglikelihood"]
    """Ours: where the letter is. bare: at the start of the response; tagged: in the answer block; loglikelihood:
    nothing is generated, and the letter with the highest probability is the answer."""
    max_tokens: Positive = 1024
    """Ours: maximum tokens of the response. Ignored if answer_format is loglikelihood."""
    samples: Positive = 1
    """Ours: responses per question; the most frequent letter is the answer (self-consistency)."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """Ours: sampling temperature. 0: greedy decoding."""

    @property
    def grader_format(self) -> Literal["bare", "tagged"]:
        """Where the grader looks for the letter. A loglikelihood answer counts as bare."""
        return "tagged" if self.answer_format == "tagged" else "bare"


class ExternalModel(Settings):
    """Your own model, evaluated in addition to the trained ones."""

    path: str
    """Ours: a folder with safetensors, config.json and tokenizer."""
    modes: Modes = ("chain_of_thought", "direct", "loglikelihood")
    """Ours: its evaluation modes. The first is used for the main comparisons."""


class Prompts(Settings):
    """Template files. To change one, copy it, edit the copy and enter its path here."""

    question: str = "prompts/question.txt"
    """Paper, Table 1: layout of stem and options."""
    question_number: str = "prompts/question_number.txt"
    """Ours: layout of a question whose answer is a number. `{unit}`, which may be absent, is empty or, for example,
    " in mg"."""
    question_text: str = "prompts/question_text.txt"
    """Ours: layout of a question whose answer is a short text."""
    chain_of_thought: str = "prompts/med_rlvr.txt"
    """Paper, section 3.2, verbatim: prompt for reasoning before the answer."""
    direct: str = "prompts/direct.txt"
    """Ours, as the paper's wording is not known: prompt for the letter without reasoning."""


class Evaluation(Settings):
    """Settings for generating and scoring answers."""

    prompt_max_tokens: Positive = 2048
    """Ours: maximum tokens of a prompt. A longer question stops the run; it is never truncated."""
    bootstrap_resamples: Positive = 1000
    """Paper, Figure 3: bootstrap resamples for a standard deviation. Intervals use ten times as many."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Ours: seed for resamples, sampled answers and the benchmarks' controls."""
    evidence: EvidenceSetting | None = "text"
    """Ours. miniature: the findings and facts that a response states are checked against the miniature's world, for
    its own questions. calculations: the same for the steps and values of that world. text: a rule reports numbers,
    quotations and findings that the reasoning states and the question does not have (docs/stages.md). null: the
    reasoning is not checked."""
    keep_checkpoints: bool = False
    """Ours. If false, the weights of intermediate RLVR checkpoints are deleted after evaluation; the last and the
    selected checkpoint are kept. Deleted checkpoints cannot be selected later or evaluated on benchmarks added
    later."""
