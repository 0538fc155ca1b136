"""Python imports this at start-up if this folder is on PYTHONPATH: in the driver, Ray's workers and vLLM's engine.

The variable MEDRLVR_PATCHES names the sets of patches to install: modules of `medrlvr.training` with a mapping PATCHES.
Without it, this module does nothing.
"""

import os

names = os.environ.get("MEDRLVR_PATCHES", "").split()
if names:
    from importlib import import_module

    from medrlvr.training.patching import install

    install(*(import_module(f"medrlvr.training.{name}").PATCHES for name in names))
