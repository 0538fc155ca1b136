"""Known failures in the output of a long process, with advice."""

import re
from collections.abc import Sequence

_KNOWN_FAILURES = (
    (
        r"ClusterError: (?:Slurm ended|stopped by)",
        "Start the same command again: it goes on from the last checkpoint. If its time was up: runtime in"
        " slurm/config.yaml.",
    ),
    (
        r"ClusterError: .* came within",
        "Ask for GPUs in the way your site wants (slurm/config.yaml, docs/slurm.md), or for fewer nodes. Then start the"
        " same command again.",
    ),
    (
        r"Address already in use|EADDRINUSE|Failed to bind",
        "A network port was taken by another program just before it was used. Start the same command again.",
    ),
    (
        r"OutOfMemoryError|out of memory|Cannot allocate memory|No space left on device",
        "Memory or disk ran out. Free some, or lower the micro-batches in machine:. Then start the same command again.",
    ),
    (
        r"Actor(?:Died|Unavailable)Error(?!.*creation task)|raylet.*(?:died|terminated)|Lost connection to GCS|"
        r"Failed to connect to GCS|node.*dead",
        "A process of Ray died or was killed. Start the same command again: it goes on from the last checkpoint.",
    ),
)
"""What the output shows, and what to do."""


def explain_failure(code: int, tail: Sequence[str]) -> str:
    text = "\n".join(tail)
    reasons = [advice for pattern, advice in _KNOWN_FAILURES if re.search(pattern, text, re.IGNORECASE)]
    how = f"signal {-code}" if code < 0 else f"status {code}"
    errors = [line for line in tail if re.search(r"\b\w*(?:Error|Exception)\b: ", line)]
    # What the adapter says explains what follows from it in the other processes.
    errors = [line for line in errors if "PinnedSourceError" in line][:1] or errors[-3:] or list(tail)[-10:]
    # Of a cluster the last word is its launcher's, with the last lines of each node's log.
    cluster = next((number for number, line in enumerate(tail) if line.startswith("ClusterError: ")), None)
    errors = errors if cluster is None else list(tail)[cluster:]
    return "\n".join([f"{how}.", *reasons[:1], "The last it said:", *(f"  {line[:300]}" for line in errors)])
