import json
from pathlib import Path
from typing import Any

import pytest

from medrlvr.models.folder import tensor_sizes
from medrlvr.models.shape import known_shape, read_shape
from medrlvr.runtime.errors import UserError

MINIATURE = Path("assets/miniature_base")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen/Qwen2.5-0.5B", 494_032_768),
        ("Qwen/Qwen2.5-1.5B", 1_543_714_304),
        ("Qwen/Qwen2.5-3B", 3_085_938_688),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
    ],
)
def test_known_models_have_the_parameters_that_their_weights_have(name: str, parameters: int) -> None:
    shape = known_shape(name)
    assert shape is not None and shape.parameters == parameters
    assert known_shape(f"{name}@0123abc") == shape


def test_another_model_is_not_in_the_table() -> None:
    assert known_shape("Qwen/Qwen2.5-3B-Instruct") is None


def test_the_miniature_has_the_parameters_of_its_weights() -> None:
    assert read_shape(MINIATURE).parameters == sum(tensor_sizes(MINIATURE).values())


def written(folder: Path, **changes: Any) -> Path:
    config = json.loads((MINIATURE / "config.json").read_text()) | changes
    text = json.dumps({key: value for key, value in config.items() if value != "absent"})
    (folder / "config.json").write_text(text)
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "qwen2", "num_key_value_heads": 2},
        {"model_type": "qwen2", "tie_word_embeddings": False},
        {"model_type": "llama"},
        {"model_type": "llama", "num_key_value_heads": "absent"},
        {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
        {"model_type": "llama", "head_dim": 48, "tie_word_embeddings": "absent"},
        {"model_type": "mistral", "num_key_value_heads": 1, "layer_types": "absent"},
    ],
    ids=str,
)
def test_a_shape_counts_what_transformers_builds(tmp_path: Path, changes: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = written(tmp_path, **changes)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    assert read_shape(folder).parameters == sum(weights.numel() for weights in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2' is not supported; supported types: llama, mistral, qwen2."),
        ({"model_type": "absent"}, "model_type None is not supported"),
        ({"hidden_size": "absent"}, "hidden_size is None; it must be a whole number"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0; it must be a whole number"),
    ],
    ids=str,
)
def test_a_shape_that_cannot_be_read_is_reported_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_shape(written(tmp_path, **changes))


def test_a_folder_without_configuration_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no"):
        read_shape(tmp_path)
