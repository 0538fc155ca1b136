"""Python imports this at start-up if this folder is on PYTHONPATH: in the driver, Ray's workers and vLLM's engine.

It does nothing unless a variable is set: MEDRLVR_CPU=1 installs all patches for a machine without a GPU,
MEDRLVR_NO_FLASH_ATTN=1 only the stand-in for the flash_attn package.
"""

import os

if os.environ.get("MEDRLVR_CPU") == "1" or os.environ.get("MEDRLVR_NO_FLASH_ATTN") == "1":
    from medrlvr.training.cpu import adapter

    adapter.install(cpu=os.environ.get("MEDRLVR_CPU") == "1")
