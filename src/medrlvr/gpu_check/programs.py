"""Small programs on the GPU, each in a process of its own, so that the memory is free when it has ended.

python -m medrlvr.gpu_check.programs NAME RESULT_FILE [ARGUMENT ...]
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medrlvr.runtime.files import write_json
from medrlvr.runtime.processes import run_process

SIDE = 8192
"""Rows and columns of the matrices whose product is timed."""

COPIED = 2**32
"""Bytes that are copied on the GPU."""


def run_program(name: str, folder: Path, variables: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """Run one of `PROGRAMS` and return what it measured.

    Args:
        folder: receives the result file.
        variables: environment variables in addition to those of this process.

    Raises:
        UserError: the program failed.
    """
    file = folder / f"{name}_result.json"
    command = [sys.executable, "-m", "medrlvr.gpu_check.programs", name, str(file), *arguments]
    run_process(command, variables, print, work=f"the program {name}")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def rates() -> dict[str, Any]:
    """Return the TFLOP/s of a bfloat16 matrix product, and the bytes per second of a copy on the GPU."""
    import torch

    left, right = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = _seconds(lambda: left @ right)
    source = torch.randint(0, 255, (COPIED,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy = _seconds(lambda: target.copy_(source))
    return {
        "tflops": 2 * SIDE**3 / product / 1e12,
        "bytes_per_second": 2 * COPIED / copy,
        "cuda": torch.version.cuda,
        "multiprocessors": torch.cuda.get_device_properties(0).multi_processor_count,
    }


def _seconds(work: Callable[[], object], repeats: int = 10) -> float:
    """Return the median time of some work on the GPU in seconds, after three runs that are not counted."""
    import torch

    times = []
    for _ in range(3 + repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return float(sorted(times[3:])[repeats // 2])


def optimiser() -> dict[str, Any]:
    """Compare three steps of DeepSpeed's optimiser with torch's AdamW.

    Returns:
        difference: the largest difference between the two results; finite: whether all parameters are finite.
    """
    import torch
    from deepspeed.ops.adam import FusedAdam

    torch.manual_seed(1)
    ours = torch.nn.Parameter(torch.randn(1_000_003, device="cuda"))
    theirs = torch.nn.Parameter(ours.detach().clone())
    settings: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.01}
    fused = FusedAdam([ours], **settings)
    reference = torch.optim.AdamW([theirs], **settings)
    for _ in range(3):
        gradient = torch.randn_like(ours)
        for parameter, optimiser in ((ours, fused), (theirs, reference)):
            parameter.grad = gradient.clone()
            optimiser.step()
    moved = (ours - theirs).abs().max().item()
    return {"difference": moved, "finite": bool(torch.isfinite(ours).all())}


def precision(model: str, sequences: str, tokens: str) -> dict[str, Any]:
    """Compare a model's log-probabilities in bfloat16 with float32, on one batch of random tokens.

    Args:
        model: folder of the model.
        sequences, tokens: number of sequences, and of tokens in each.

    Returns:
        relative_error: norm of the logits' difference over the norm of the float32 logits; difference: mean absolute
        difference of the log-probabilities of the batch's tokens, in nats.
    """
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(1)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        network: Any = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
        network.to(device).eval()
        size = (int(sequences), int(tokens))
        batch = torch.randint(0, network.config.vocab_size, size, generator=generator.manual_seed(1)).to(device)
        with torch.no_grad():
            logits = network(batch).logits.float()
        del network
        found.append((logits, _log_probabilities(logits, batch)))
    (exact, exact_logs), (rounded, rounded_logs) = found
    return {
        "relative_error": ((rounded - exact).norm() / exact.norm()).item(),
        "difference": (rounded_logs - exact_logs).abs().mean().item(),
    }


def _log_probabilities(logits: Any, batch: Any) -> Any:
    """Return the natural logarithm of the probability of each token but the first, given those before it."""
    return logits[:, :-1].log_softmax(-1).gather(-1, batch[:, 1:, None]).squeeze(-1)


PROGRAMS: dict[str, Callable[..., dict[str, Any]]] = {"rates": rates, "optimiser": optimiser, "precision": precision}
"""Name -> program."""


def main(arguments: list[str]) -> None:
    """Run a program and write its result."""
    parser = argparse.ArgumentParser(description="Measure something on the GPU.")
    parser.add_argument("name", choices=PROGRAMS)
    parser.add_argument("file", type=Path, help="JSON file for the result")
    parser.add_argument("arguments", nargs="*", help="arguments of the program")
    options = parser.parse_args(arguments)
    write_json(options.file, PROGRAMS[options.name](*options.arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
