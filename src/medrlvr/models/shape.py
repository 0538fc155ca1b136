"""Compute a model's shape and number of parameters from its config.json, without reading weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medrlvr.models.folder import read_model_json
from medrlvr.runtime.errors import UserError

SUPPORTED = ("llama", "mistral", "qwen2")
"""Supported values of `model_type`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A decoder with grouped-query attention, a gated MLP and RMS norms.

    Attributes:
        hidden: width of the residual stream.
        layers: number of blocks.
        heads: number of query heads.
        kv_heads: number of key and of value heads; equal to `heads` without grouping.
        head_dim: width of a head.
        intermediate: width of the MLP.
        vocabulary: number of rows of the embedding, including unused ones.
        tied: whether the output layer shares the weights of the embedding.
        qkv_bias: whether the projections to queries, keys and values have biases.
        output_bias: whether attention's output projection has a bias.
        mlp_bias: whether the MLP's three projections have biases.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False

    @property
    def embedding(self) -> int:
        """Return the number of parameters in the embedding."""
        return self.vocabulary * self.hidden

    @property
    def block(self) -> int:
        """Return the number of parameters in one layer."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = self.hidden * (2 * queries + 2 * keys)
        attention += self.qkv_bias * (queries + 2 * keys) + self.output_bias * self.hidden
        mlp = 3 * self.hidden * self.intermediate + self.mlp_bias * (2 * self.intermediate + self.hidden)
        return attention + mlp + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """Return the number of parameters in the model; tied weights count once."""
        return self.embedding * (1 if self.tied else 2) + self.layers * self.block + self.hidden


_QWEN = Shape(
    hidden=2048,
    layers=36,
    heads=16,
    kv_heads=2,
    head_dim=128,
    intermediate=11008,
    vocabulary=151_936,
    tied=True,
    qkv_bias=True,
)
_KNOWN = {
    "Qwen/Qwen2.5-0.5B": replace(_QWEN, hidden=896, layers=24, heads=14, head_dim=64, intermediate=4864),
    "Qwen/Qwen2.5-1.5B": replace(_QWEN, hidden=1536, layers=28, heads=12, intermediate=8960),
    "Qwen/Qwen2.5-3B": _QWEN,
    "Qwen/Qwen2.5-7B": replace(
        _QWEN, hidden=3584, layers=28, heads=28, kv_heads=4, intermediate=18944, vocabulary=152_064, tied=False
    ),
}
"""Shapes of Hugging Face Hub models that are needed before the download, copied from their config.json."""


def known_shape(name: str) -> Shape | None:
    """Return the shape of a Hugging Face Hub model in `_KNOWN` by its id, with or without @commit; else None."""
    return _KNOWN.get(name.partition("@")[0])


def read_shape(folder: Path) -> Shape:
    """Return the shape of the model in a folder.

    Raises:
        UserError: config.json is missing, a key is missing or not valid, or the model type is not supported.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"base model: there is no {file}; base.name must be a model folder saved by transformers.")
    config = read_model_json(file)
    kind = config.get("model_type")
    if kind not in SUPPORTED:
        raise UserError(
            f"base model: {file}: model_type {kind!r} is not supported; supported types: {', '.join(SUPPORTED)}."
        )
    hidden, heads = _number(config, "hidden_size", file), _number(config, "num_attention_heads", file)
    # transformers' classes differ here only for Llama: its older files lack the key if nothing is grouped.
    grouped = kind != "llama" or config.get("num_key_value_heads") is not None
    biased = bool(config.get("attention_bias")) if kind == "llama" else False
    return Shape(
        hidden=hidden,
        layers=_number(config, "num_hidden_layers", file),
        heads=heads,
        kv_heads=_number(config, "num_key_value_heads", file) if grouped else heads,
        head_dim=hidden // heads if config.get("head_dim") is None else _number(config, "head_dim", file),
        intermediate=_number(config, "intermediate_size", file),
        vocabulary=_number(config, "vocab_size", file),
        tied=bool(config.get("tie_word_embeddings", False)),
        qkv_bias=kind == "qwen2" or biased,
        output_bias=biased,
        mlp_bias=kind == "llama" and bool(config.get("mlp_bias")),
    )


def _number(config: Mapping[str, Any], key: str, file: Path) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise UserError(f"base model: {file}: {key} is {value!r}; it must be a whole number of 1 or more.")
    return value
