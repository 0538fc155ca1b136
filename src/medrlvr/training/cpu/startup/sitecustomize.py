"""Python imports this at start-up where this folder is on PYTHONPATH: in the driver, Ray's workers, vLLM's engine.

Does nothing unless a switch is set: MEDRLVR_CPU=1 installs every patch for a machine without GPU,
MEDRLVR_NO_FLASH_ATTN=1 only the stand-in for the flash_attn package.
"""

import os

if os.environ.get("MEDRLVR_CPU") == "1" or os.environ.get("MEDRLVR_NO_FLASH_ATTN") == "1":
    from medrlvr.training.cpu import adapter

    adapter.install(cpu=os.environ.get("MEDRLVR_CPU") == "1")
