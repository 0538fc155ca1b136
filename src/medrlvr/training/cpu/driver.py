"""`python driver.py ARGS...`: OpenRLHF's `train_ppo_ray` in a Ray whose workers start as MEDRLVR_PYTHON says."""

import logging
import os
import runpy

import ray

ray.init(logging_level=logging.WARNING, runtime_env={"py_executable": os.environ["MEDRLVR_PYTHON"]})
runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__", alter_sys=True)
