"""Write a model of a given shape with random weights: right for speed and memory, meaningless for accuracy.

Its tokenizer has one token per byte, and a made-up word for every other row of the embedding, so that every sampled
token has a text.

    python -m medrlvr.gpu_check.random_model SHAPE_JSON FOLDER
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from medrlvr.models.shape import Shape

END = "<|endoftext|>"


def shape_command(shape: Shape, folder: Path) -> list[str]:
    """Return the command that writes a model of this shape into a folder."""
    return [sys.executable, "-m", "medrlvr.gpu_check.random_model", json.dumps(asdict(shape)), str(folder)]


def vocabulary(size: int) -> dict[str, int]:
    """Return token -> number: the 256 bytes, made-up words, and the end of text, which is the last.

    Args:
        size: number of tokens; more than 256.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = [*sorted(ByteLevel.alphabet()), *(f"w{number:06d}" for number in range(size - 257)), END]
    return {token: number for number, token in enumerate(tokens)}


def write_random_model(shape: Shape, folder: Path, device: str) -> None:
    """Write a Qwen2 model in bfloat16 and its tokenizer.

    Args:
        shape: the shape; of the biases, only those of queries, keys and values exist.
        folder: output folder.
        device: where torch draws the weights: cpu or cuda.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

    end = shape.vocabulary - 1
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=32_768,
        tie_word_embeddings=shape.tied,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = Qwen2ForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer = Qwen2Tokenizer(vocab=vocabulary(shape.vocabulary), merges=[], eos_token=END, pad_token=END)
    tokenizer.save_pretrained(folder)


def main(arguments: list[str]) -> None:
    """Write the model that the arguments describe, with weights drawn on a GPU if there is one."""
    parser = argparse.ArgumentParser(description="Write a model of a given shape with random weights.")
    parser.add_argument("shape", type=lambda text: Shape(**json.loads(text)), help="JSON with the fields of Shape")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    import torch

    write_random_model(options.shape, options.folder, "cuda" if torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    main(sys.argv[1:])
