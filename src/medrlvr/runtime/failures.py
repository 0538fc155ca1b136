"""Known failures in the output of a long process, with advice."""

import re
from collections.abc import Sequence

_KNOWN_FAILURES = (
    (
        r"ClusterError: (?:Slurm ended|stopped by)",
        "Start the same command again: it resumes from the last checkpoint. If the job's time was up, raise runtime in"
        " slurm/config.yaml.",
    ),
    (
        r"ClusterError: .* came within",
        "Request GPUs in the form that your site requires (slurm/config.yaml, docs/slurm.md), or fewer nodes. Then"
        " start the same command again.",
    ),
    (
        r"NVIDIA driver.*too old|CUDA driver version is insufficient|forward compatibility was attempted",
        "The NVIDIA driver is older than torch's CUDA needs. Ask the administrators for a newer driver (docs/slurm.md),"
        " or choose another node.",
    ),
    (
        r"Error building extension|Unable to JIT load",
        "DeepSpeed could not compile its optimiser. The log contains the compiler's first error. Provide g++ 10 or"
        " newer and a CUDA compiler of torch's version (docs/troubleshooting.md). Then start the same command again.",
    ),
    (
        r"Address already in use|EADDRINUSE|Failed to bind",
        "Another program started to use the same network port. Start the same command again.",
    ),
    (
        r"OutOfMemoryError|out of memory|Cannot allocate memory|No space left on device",
        "Memory or disk ran out. Free some, or lower the micro-batch sizes under machine. Then start the same command"
        " again.",
    ),
    (
        r"Actor(?:Died|Unavailable)Error(?!.*creation task)|raylet.*(?:died|terminated)|Lost connection to GCS|"
        r"Failed to connect to GCS|node.*dead",
        "A process of Ray died or was killed. Start the same command again: it resumes from the last checkpoint.",
    ),
    (
        r"^The driver was killed\.$",
        "Its process was killed. Start the same command again: it resumes from the last checkpoint.",
    ),
)
"""Pattern in the output, and advice."""


def explain_failure(code: int, tail: Sequence[str]) -> str:
    """Return why a program failed and what to do, for a person.

    Args:
        code: its exit status; the negative number of a signal.
        tail: its last lines.
    """
    text = "\n".join(tail)
    reasons = [advice for pattern, advice in _KNOWN_FAILURES if re.search(pattern, text, re.IGNORECASE | re.MULTILINE)]
    how = f"signal {-code}" if code < 0 else f"status {code}"
    if code < 0:
        reasons.append("It was killed. Start the same command again: it resumes from the last checkpoint.")
    errors = [line for line in tail if re.search(r"\b\w*(?:Error|Exception)\b: ", line)]
    # An error of the CPU adapter is the cause of the later errors in other processes.
    errors = [line for line in errors if "PinnedSourceError" in line][:1] or errors[-3:] or list(tail)[-10:]
    # The launcher of a cluster prints its error last, with the last lines of each node's log.
    cluster = next((number for number, line in enumerate(tail) if line.startswith("ClusterError: ")), None)
    errors = errors if cluster is None else list(tail)[cluster:]
    return "\n".join([f"{how}.", *reasons[:1], "Its last lines:", *(f"  {line[:300]}" for line in errors)])
