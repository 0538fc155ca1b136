"""`python driver.py ARGS...`: run OpenRLHF's `train_ppo_ray`; MEDRLVR_PYTHON is Ray's command for its workers."""

import logging
import os
import runpy

import ray

ray.init(logging_level=logging.WARNING, runtime_env={"py_executable": os.environ["MEDRLVR_PYTHON"]})
runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__", alter_sys=True)
