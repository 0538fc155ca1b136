"""Check whether the GPU environment can be installed and used on this machine, before anything is installed.

    python envs/preflight_gpu.py [folder]

It prints all problems at once, each with a reason and a solution. The exit status is 1 if there is any. On a machine
without a GPU, such as a login node, each job checks the GPUs again when it starts. src/medrlvr/runtime/gpu_preflight.py
contains the checks.
"""

from __future__ import print_function

import os
import re
import sys

ENVS = os.path.dirname(os.path.abspath(__file__))
RUN_TIME = r"^nvidia-cuda-runtime==(\d+)\.(\d+)"


def locked_release():
    """Return the release of CUDA in gpu.lock, which is that of torch."""
    with open(os.path.join(ENVS, "gpu.lock")) as lock:
        major, minor = re.search(RUN_TIME, lock.read(), re.MULTILINE).groups()
    return int(major), int(minor)


def main(folder):
    """Print the problems and warnings for this machine; return the exit status."""
    sys.path.insert(0, os.path.join(os.path.dirname(ENVS), "src"))
    from medrlvr.runtime import gpu_preflight

    facts = gpu_preflight.gather(locked_release(), folder)
    for text in gpu_preflight.setup_cautions(facts):
        print("preflight: warning: " + text, file=sys.stderr)
    found = gpu_preflight.setup_problems(facts)
    for text in found:
        print("preflight: " + text, file=sys.stderr)
    if found:
        print("preflight: nothing was installed.", file=sys.stderr)
        return 1
    glibc = "{}.{}".format(*facts.glibc)
    print("preflight: glibc {}, {:.0f} GiB of disk free: OK".format(glibc, facts.free_disk / gpu_preflight.GIB))
    return 0


if __name__ == "__main__":
    if sys.version_info < (3, 6):
        sys.exit("preflight: this is Python {}.{}. Name a Python 3.11 with PYTHON=...".format(*sys.version_info[:2]))
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
