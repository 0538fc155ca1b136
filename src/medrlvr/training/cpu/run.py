"""`python -m medrlvr.training.cpu.run ARGS...`: run OpenRLHF's `train_ppo_ray` with its own Ray, without a GPU.

This process starts Ray (no dashboard, one simulated GPU per model) while the server of `prefork.py` imports the
libraries. A fork of the server then runs the driver.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from medrlvr.training.cpu import prefork

_PLACES = 4
"""Actor, critic, reference and vLLM, each of which requests a CPU and a GPU from Ray."""


def main() -> int:
    """Run OpenRLHF's entry point with this process's arguments and return its exit status."""
    folder = Path(os.environ["MEDRLVR_RAY_FOLDER"])
    folder.mkdir(parents=True, exist_ok=True)
    server = folder / "prefork"
    # Ray's C++ library reads these at import. A worker must end with its raylet, which ends with this process. Its
    # job is a new cluster's second, after this process's own. Ray would print progress bars as 100 lines per update.
    at_import = {"RAY_RAYLET_PID": str(os.getpid()), "RAY_JOB_ID": "02000000", "TQDM_DISABLE": "1"}
    prefork.start(server, at_import)
    import ray

    context: Any = ray.init(
        address="local",
        num_cpus=_PLACES + 1,  # one for the trainer
        num_gpus=_PLACES,
        include_dashboard=False,
        object_store_memory=256 << 20,
        logging_level=logging.WARNING,
        _temp_dir=str(folder),
    )
    driver = Path(__file__).with_name("driver.py")
    environment = os.environ | {
        "RAY_ADDRESS": context.address_info["gcs_address"],
        "MEDRLVR_PYTHON": f"{sys.executable} -ISE {Path(__file__).with_name('client.py')} {server}",
    }
    return prefork.run(server, [str(driver), *sys.argv[1:]], environment)


if __name__ == "__main__":
    sys.exit(main())
