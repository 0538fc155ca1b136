"""Memory of a vLLM engine: its weights, and the sequences whose keys and values fit next to them."""

from medrlvr.models.shape import Shape

GIB = 2**30

WEIGHT = 2
"""Bytes per parameter, and per number in the KV cache: bfloat16."""

ENGINE_WORKSPACE = 2 * GIB
"""Assumed bytes that vLLM uses of its share for activations, sampling and CUDA graphs."""


def cached_sequences(shape: Shape, share: float, split: int, tokens: int) -> int:
    """Return how many sequences of `tokens` tokens fit into an engine's KV cache at once; 0 if not even one does.

    Args:
        share: bytes that the engine uses of each GPU.
        split: number of GPUs among which the engine divides its weights (tensor parallelism).
    """
    room = share - shape.parameters * WEIGHT / split - ENGINE_WORKSPACE
    heads = -(-shape.kv_heads // split)
    return max(0, int(room // (tokens * 2 * shape.layers * heads * shape.head_dim * WEIGHT)))
