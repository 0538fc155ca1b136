"""The embedded world: its table, its questions, what its base model may have read, and the base model itself."""

from itertools import combinations, islice
from pathlib import Path

import pytest
from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer

from medrlvr.data.miniature.base_model import pretrain
from medrlvr.data.miniature.corpus import documents
from medrlvr.data.miniature.world import RELATIONS, load_world, make_questions
from medrlvr.data.prompts import Renderer
from medrlvr.grading.letters import LETTERS

SIZES = {"train": 352, "dev": 200, "test": 300, "ood_test": 300}
SHIPPED = Path("assets/miniature_base")


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer("prompts/question.txt", direct="prompts/direct.txt", chain_of_thought="prompts/med_rlvr.txt")


def test_three_findings_tell_a_condition() -> None:
    world = load_world()
    triples = [frozenset(triple) for condition in world for triple in combinations(condition.findings, 3)]
    assert len(world) == 40
    assert len(set(triples)) == len(triples) == 400


def test_a_value_belongs_to_one_condition() -> None:
    for relation in RELATIONS:
        values = [condition.values[relation] for condition in load_world()]
        assert len(set(values)) == len(values)


def test_questions_have_one_right_answer_each() -> None:
    by_name = {condition.name: condition for condition in load_world()}
    for rows in make_questions(SIZES, seed=1).values():
        for row in rows:
            condition, relation = row["meta_info"].split()
            assert row["options"][row["answer_idx"]] == by_name[condition].values[relation]
            assert sum(finding in row["question"] for finding in by_name[condition].findings) == 3
            assert len(set(row["options"].values())) == len(row["options"]) in (4, 5)


def test_held_out_relations_are_held_out() -> None:
    asked = {
        split: {tuple(row["meta_info"].split()) for row in rows}
        for split, rows in make_questions(SIZES, seed=1).items()
    }
    assert not (asked["train"] | asked["dev"] | asked["test"]) & asked["ood_test"]


def test_questions_are_distinct_and_follow_the_seed() -> None:
    first, again, other = (make_questions(SIZES, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    keys = [(row["question"], *sorted(row["options"].values())) for rows in first.values() for row in rows]
    assert len(set(keys)) == len(keys) == sum(SIZES.values())


def test_the_corpus_never_shows_a_reserved_triple(renderer: Renderer) -> None:
    reserved = {triple for condition in load_world() for triple in condition.reserved}
    findings = {finding for condition in load_world() for finding in condition.findings}
    held_out = {row["question"] for split, rows in make_questions(SIZES, 1).items() if split != "train" for row in rows}
    shown = 0
    for document in islice(documents(renderer, seed=1), 5000):
        text = document.prompt + document.text
        assert not any(question in text for question in held_out)
        stem = document.prompt.split("Which")[0]
        mentioned = frozenset(word.strip(".,") for word in stem.split()) & findings
        shown += len(mentioned) == 3
        assert mentioned not in reserved
    assert shown > 1000


def test_worked_examples_are_of_many_kinds(renderer: Renderer) -> None:
    texts = [d.text for d in islice(documents(renderer, seed=2), 5000) if d.prompt.startswith("A conversation")]
    tagged = sum("<answer>" in text for text in texts) / len(texts)
    assert 0.1 < tagged < 0.3


def test_tokenizer_round_trip(renderer: Renderer) -> None:
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    assert type(tokenizer).__name__ == "Qwen2Tokenizer"
    for document in islice(documents(renderer, seed=3), 200):
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
    words = [f" {word}" for condition in load_world() for word in (condition.name, *condition.values.values())]
    letters = [f" {letter}" for letter in LETTERS[:5]]
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
    losses = pretrain(tmp_path / "base", renderer, steps=30, seed=1, threads=2, notify=lines.append)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert "step 30 of 30" in lines[-1]
    names = {path.name for path in (tmp_path / "base").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
