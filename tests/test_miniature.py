"""The embedded world: its table, its questions, what its base model may have read, and the base model itself."""

import math
import random
from collections import Counter
from collections.abc import Callable
from itertools import combinations, islice
from pathlib import Path

import pytest
from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer

from medrlvr.data.miniature.base_model import pretrain_base
from medrlvr.data.miniature.corpus import RIGHT, DirectAnswers, Document, phases, typical
from medrlvr.data.miniature.world import (
    QUESTION_SETS,
    Condition,
    Vignette,
    draw_from,
    load_world,
    make_questions,
)
from medrlvr.data.prompts import Renderer
from medrlvr.grading.letters import LETTERS

SIZES = {"train": 1000, "dev": 200, "test": 300, "options_test": 300, "form_test": 300, "pairs_test": 300}
TESTS = [name for name in SIZES if name.endswith("test")]
SHIPPED = Path("assets/miniature_base")


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer("prompts/question.txt", direct="prompts/direct.txt", chain_of_thought="prompts/med_rlvr.txt")


def test_three_findings_identify_a_condition() -> None:
    world = load_world()
    uses = Counter(triple for condition in world for triple in map(frozenset, combinations(condition.findings, 3)))
    assert len(world) == 66
    for condition in world:
        assert len(set(condition.findings)) == 6
        assert len(condition.reserved) == 4
        assert len(condition.triples) >= 11
        assert {uses[triple] for triple in (*condition.triples, *condition.reserved)} == {1}
        assert frozenset().union(*condition.reserved) == set(condition.findings)


def test_every_finding_is_shared() -> None:
    uses = Counter(finding for condition in load_world() for finding in condition.findings)
    assert min(uses.values()) >= 2


def test_a_word_has_one_meaning() -> None:
    world = load_world()
    findings = {finding for condition in world for finding in condition.findings}
    names = [condition.name for condition in world]
    values = [value for condition in world for value in condition.values.values()]
    words = [*findings, *names, *values]
    assert len(set(words)) == len(words) == len(findings) + 66 + 4 * 66


def test_questions_have_one_right_answer_each() -> None:
    by_name = {condition.name: condition for condition in load_world()}
    for name, rows in make_questions(SIZES, seed=1).items():
        for row in rows:
            condition, relation = row["meta_info"].split()
            assert row["options"][row["answer_idx"]] == by_name[condition].values[relation]
            assert (
                sum(
                    finding in row["question"].replace(",", "").replace(".", "").replace("?", "").split()
                    for finding in by_name[condition].findings
                )
                == 3
            )
            assert len(set(row["options"].values())) == len(row["options"])
            assert len(row["options"]) in QUESTION_SETS[name].counts


def test_each_test_set_is_out_of_distribution_in_one_way() -> None:
    train = QUESTION_SETS["train"]
    differing = {
        name: {field for field in ("seen", "counts", "form") if getattr(one, field) != getattr(train, field)}
        for name, one in QUESTION_SETS.items()
    }
    assert differing == {
        "train": set(),
        "dev": set(),
        "test": set(),
        "options_test": {"counts"},
        "form_test": {"form"},
        "pairs_test": {"seen"},
    }


def test_held_out_pairs_occur_in_no_training_option() -> None:
    questions = make_questions(SIZES, seed=1)
    options = {name: {value for row in rows for value in row["options"].values()} for name, rows in questions.items()}
    assert not options["train"] & options["pairs_test"]
    assert options["test"] | options["options_test"] | options["form_test"] <= options["train"]


Policy = Callable[[Vignette], int]


def _accuracy(policy: Policy, name: str, count: int = 4000) -> tuple[float, float]:
    """Return the policy's accuracy on new questions of a set, and guessing's."""
    rng = random.Random(f"policies {name}")
    drawn = [draw_from(load_world(), QUESTION_SETS[name], rng) for _ in range(count)]
    right = sum(policy(vignette) == vignette.gold for vignette in drawn)
    return right / count, sum(1 / len(vignette.options) for vignette in drawn) / count


def _owner(value: str) -> Condition:
    return next(condition for condition in load_world() if value in condition.values.values())


def _best(scores: list[float]) -> int:
    return random.Random(str(scores)).choice([n for n, score in enumerate(scores) if score == max(scores)])


def _training_counts() -> tuple[Counter[str], Counter[str]]:
    rows = make_questions({"train": 3520}, seed=1)["train"]
    right = Counter(row["options"][row["answer_idx"]] for row in rows)
    return right, Counter(value for row in rows for value in row["options"].values())


_RIGHT, _SHOWN = _training_counts()

OPTION_POLICIES: dict[str, Policy] = {
    "first letter": lambda vignette: 0,
    "last letter": lambda vignette: len(vignette.options) - 1,
    "most often right in training": lambda vignette: _best([_RIGHT[option] for option in vignette.options]),
    "most often shown in training": lambda vignette: _best([_SHOWN[option] for option in vignette.options]),
    "highest share of right in training": lambda vignette: _best(
        [_RIGHT[option] / (_SHOWN[option] or 1) for option in vignette.options]
    ),
    "most findings shared with other options": lambda vignette: _best(
        [
            sum(len({*_owner(one).findings} & {*_owner(other).findings}) for other in vignette.options if other != one)
            for one in vignette.options
        ]
    ),
    "longest text": lambda vignette: _best([len(option) for option in vignette.options]),
}


@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize("policy", OPTION_POLICIES)
def test_options_alone_give_no_more_than_guessing(policy: str, name: str) -> None:
    accuracy, guessing = _accuracy(OPTION_POLICIES[policy], name)
    assert abs(accuracy - guessing) < 4 * math.sqrt(guessing * (1 - guessing) / 4000)


@pytest.mark.parametrize("name", TESTS)
def test_the_first_finding_alone_is_not_enough(name: str) -> None:
    def careless(vignette: Vignette) -> int:
        value = typical(vignette.findings[0]).values[vignette.relation]
        return vignette.options.index(value) if value in vignette.options else 0

    def best_with_one_finding(vignette: Vignette) -> int:
        return _best([float(vignette.findings[0] in _owner(option).findings) for option in vignette.options])

    def all_findings(vignette: Vignette) -> int:
        return _best([len({*vignette.findings} & {*_owner(option).findings}) for option in vignette.options])

    assert _accuracy(careless, name)[0] < 0.6
    assert _accuracy(best_with_one_finding, name)[0] < 0.6
    assert _accuracy(all_findings, name)[0] > 0.99


def test_questions_are_distinct_and_follow_the_seed() -> None:
    first, again, other = (make_questions(SIZES, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    keys = [(row["question"], *sorted(row["options"].values())) for rows in first.values() for row in rows]
    assert len(set(keys)) == len(keys) == sum(SIZES.values())


def _documents(renderer: Renderer, seed: int, count: int, level: DirectAnswers = "many") -> list[Document]:
    """Return documents of every phase of pre-training."""
    return [document for _, stream in phases(renderer, level, seed) for document in islice(stream, count)]


def test_the_corpus_never_shows_a_reserved_triple(renderer: Renderer) -> None:
    reserved = {triple for condition in load_world() for triple in condition.reserved}
    findings = {finding for condition in load_world() for finding in condition.findings}
    held_out = {row["question"] for split, rows in make_questions(SIZES, 1).items() if split != "train" for row in rows}
    shown = 0
    for document in _documents(renderer, seed=1, count=4000):
        text = document.prompt + document.text
        assert not any(question in text for question in held_out)
        stem = document.prompt.split("Options")[0]
        mentioned = frozenset(word.strip(".,?") for word in stem.split()) & findings
        shown += len(mentioned) == 3
        assert mentioned not in reserved
    assert shown > 1000


def test_worked_examples_are_of_many_kinds(renderer: Renderer) -> None:
    texts = [d.text for d in _documents(renderer, seed=2, count=5000) if d.prompt.startswith("A conversation")]
    tagged = sum("<answer>" in text for text in texts) / len(texts)
    assert 0.1 < tagged < 0.3


def test_direct_answers_are_of_training_questions_and_of_two_levels(renderer: Renderer) -> None:
    shares = {}
    values = {value: (one, name) for one in load_world() for name, value in one.values.items()}
    levels: tuple[DirectAnswers, ...] = ("few", "many")
    for level in levels:
        drawn = _documents(renderer, seed=4, count=3000, level=level)
        direct = [d for d in drawn if d.kind == "direct answer"]
        shares[level] = len(direct) / len(drawn)
        right = sum(d.outcome == "right" for d in direct) / len(direct)
        assert abs(right - RIGHT) < 4 * math.sqrt(RIGHT * (1 - RIGHT) / len(direct))
        for document in direct:
            options = [line[3:] for line in document.prompt.split("Options:\n")[1].splitlines()[:-1]]
            assert len(options) in (4, 5)
            assert all(values[option][0].is_seen(values[option][1]) for option in options)
            assert not document.prompt.removeprefix("Question: ").startswith("Which")
    assert 2.5 < shares["many"] / shares["few"] < 3.5


def test_no_exercise_joins_a_held_out_pair_to_a_letter_or_a_question(renderer: Renderer) -> None:
    held = {value for one in load_world() for name, value in one.values.items() if not one.is_seen(name)}
    kinds = ("letter of a fact", "open question", "direct answer", "direct answer in words")
    drawn = [d for d in _documents(renderer, seed=5, count=3000) if d.kind in kinds]
    assert {d.kind for d in drawn} == set(kinds)
    assert not [d for d in drawn if held & set((d.prompt + d.text).replace(".", "").split())]


def test_tokenizer_round_trip(renderer: Renderer) -> None:
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    assert type(tokenizer).__name__ == "Qwen2Tokenizer"
    for document in _documents(renderer, seed=3, count=200):
        text = document.prompt + document.text
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.decode(tokenizer("Grüße, naïve <|x|>\n\n  42")["input_ids"]) == "Grüße, naïve <|x|>\n\n  42"


def test_vllm_reads_the_same_tokenizer(renderer: Renderer) -> None:
    from vllm.tokenizers import get_tokenizer

    text = renderer.prompt({"stem": "A man has fever.", "options": ["iron", "heparin"]}, "chain_of_thought")
    ours, theirs = AutoTokenizer.from_pretrained(SHIPPED), get_tokenizer(str(SHIPPED))
    assert theirs.encode(text) == ours.encode(text)
    assert theirs.decode(theirs.encode(text)) == text


def test_every_value_is_one_token() -> None:
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    words = [
        f" {word}"
        for condition in load_world()
        for word in (condition.name, *condition.values.values(), *condition.findings)
    ]
    letters = [f" {letter}" for letter in LETTERS]
    assert [word for word in words + letters if len(tokenizer(word)["input_ids"]) > 1] == []


def test_the_shipped_base_is_small_bfloat16_and_qwen2() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 4_000_000
    assert AutoConfig.from_pretrained(SHIPPED).model_type == "qwen2"
    with safe_open(SHIPPED / "model.safetensors", framework="pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"BF16"}  # noqa: SIM118


@pytest.mark.slow
@pytest.mark.extended
def test_a_short_pretraining_learns_and_leaves_a_whole_folder(tmp_path: Path, renderer: Renderer) -> None:
    lines: list[str] = []
    losses = pretrain_base(
        tmp_path / "base", renderer, direct_answers="few", steps=30, seed=1, threads=2, notify=lines.append
    )
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert "step 30 of 30" in lines[-1]
    names = {path.name for path in (tmp_path / "base").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
