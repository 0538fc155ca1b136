"""Run OpenRLHF, DeepSpeed, Ray and vLLM on a machine without a GPU.

OpenRLHF names the CUDA device in a few places. vLLM's CPU build rearranges weights so that they cannot be updated in
place. Each patch below changes one such place, in the versions of envs/cpu.lock (`float32.py`: the number format).
Some patches change only how fast a small model runs, not what it computes; their comments give the measurements.
"""

import multiprocessing
import pickle
from functools import cache
from multiprocessing.context import BaseContext
from types import ModuleType
from typing import TYPE_CHECKING, Any

from medrlvr.training.flash_attn import PATCHES as FLASH_ATTN_PATCHES
from medrlvr.training.patching import Patch, Replacement, replace_function

if TYPE_CHECKING:
    import torch


def _without_cuda(_openrlhf: ModuleType) -> None:
    import torch

    cuda: Any = torch.cuda
    device = torch.device("cpu")
    cuda.current_device = lambda: device
    cuda.set_device = lambda device: None
    cuda.synchronize = lambda device=None: None
    cuda.current_stream = lambda device=None: None


class GlooCommunicator:
    """Sends weights from the trainer to vLLM over gloo; has the one method of PyNcclCommunicator that OpenRLHF uses."""

    def __init__(self, host: str, port: int, rank: int, world_size: int) -> None:
        from vllm.distributed.utils import stateless_init_torch_distributed_process_group

        self._group: Any = stateless_init_torch_distributed_process_group(host, port, rank, world_size, "gloo")

    def broadcast(self, tensor: "torch.Tensor", src: int, stream: object = None) -> None:
        """Send `tensor` from rank `src` to all others, in place."""
        from torch.distributed import BroadcastOptions

        options = BroadcastOptions()
        options.rootRank, options.rootTensor = src, 0
        self._group.broadcast([tensor], options).wait()


class PickledOnce:
    """Wraps a value that Ray sends with many calls: it is serialised once, and each process restores it once."""

    def __init__(self, value: object) -> None:
        from ray import cloudpickle

        pickler: Any = cloudpickle
        self._data: bytes = pickler.dumps(value)

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        return restored_once, (self._data,)


@cache
def pickled_once(value: object) -> PickledOnce:
    """Return the same wrapper for the same object."""
    return PickledOnce(value)


@cache
def restored_once(data: bytes) -> object:
    """Return the same object for the same bytes."""
    return pickle.loads(data)


def _sync_weights_over_gloo(module: ModuleType) -> None:
    def stateless_init_process_group(
        master_address: str, master_port: int, rank: int, world_size: int, device: object
    ) -> GlooCommunicator:
        return GlooCommunicator(master_address, master_port, rank, world_size)

    replace_function(module, "stateless_init_process_group", stateless_init_process_group)


def _keep_weights_plain(module: ModuleType) -> None:
    # vLLM packs Linear weights for its own kernels when it loads them. An update would then crash or, for lm_head, be
    # ignored silently.
    def dispatch_cpu_unquantized_gemm(layer: Any, remove_weight: bool) -> None:
        import torch

        layer.cpu_linear = torch.nn.functional.linear

    replace_function(module, "dispatch_cpu_unquantized_gemm", dispatch_cpu_unquantized_gemm)


def _fork_the_engine(module: ModuleType) -> None:
    # To preload a memory allocator, vLLM would start its engine in a fresh process that imports everything again: 10 s.
    def get_mp_context() -> BaseContext:
        return multiprocessing.get_context("fork")

    replace_function(module, "get_mp_context", get_mp_context)


def _no_compiled_all_reduce(module: ModuleType) -> None:
    # On a fresh machine, g++ needs 51 s to compile a shared-memory all-reduce, which gloo can replace.
    replace_function(module, "build_shm_op", lambda: None)


_SEND_EACH_WEIGHT = """\
        for name, param in params_to_sync:
            count += 1  # empty_cache at last param
            with _gather_params_ctx(param):
                sync_fn(param, count, num_params)
"""
_SEND_ALL_WEIGHTS = """\
        if torch.distributed.get_rank() == 0:
            names = [name for name, _ in params_to_sync]
            shapes = [getattr(param, "ds_shape", param.shape) for _, param in params_to_sync]
            for engine in self.vllm_engines:
                cache_reset_refs.append(engine.update_weight.remote(names, params_to_sync[0][1].dtype, shapes))
        for _, param in params_to_sync:
            with _gather_params_ctx(param):
                if torch.distributed.get_rank() == 0:
                    self._model_update_group.broadcast(param.data, src=0)
"""
_RECEIVE_ONE_WEIGHT = """\
        if torch.distributed.get_rank() == 0:
            print(f"update weight: {name}, dtype: {dtype}, shape: {shape}")

        assert dtype == self.model_config.dtype, f"mismatch dtype: src {dtype}, dst {self.model_config.dtype}"
        weight = torch.empty(shape, dtype=dtype, device="cuda")
        if self._model_update_with_ray:
            import ray.util.collective as collective

            collective.broadcast(weight, 0, group_name=self._model_update_group)
        else:
            self._model_update_group.broadcast(weight, src=0, stream=torch.cuda.current_stream())

        self.model_runner.model.load_weights(weights=[(name, weight)])

        del weight
"""
_RECEIVE_ALL_WEIGHTS = """\
        assert dtype == self.model_config.dtype, f"mismatch dtype: src {dtype}, dst {self.model_config.dtype}"
        weights = [(one, torch.empty(size, dtype=dtype)) for one, size in zip(name, shape, strict=True)]
        for _, weight in weights:
            self._model_update_group.broadcast(weight, src=0)
        self.model_runner.model.load_weights(weights=weights)
"""


def _free_port(name: str, count: int = 1) -> list[Replacement]:
    # Ray's processes start at the same time and take ports from the ephemeral range.
    return [
        Replacement("import socket\n", "import socket\nfrom medrlvr.training.ports import free_ports\n"),
        Replacement(f'{name}.bind(("", 0))', f'{name}.bind(("", free_ports(1)[0]))', count),
    ]


PATCHES = FLASH_ATTN_PATCHES | {
    "openrlhf": Patch(after=_without_cuda),
    "openrlhf.trainer.ppo_utils.replay_buffer": Patch(
        [Replacement('torch.device(f"cuda:{torch.cuda.current_device()}")', 'torch.device("cpu")')]
    ),
    # SFT reads every question in every epoch and tokenises it each time, which is a quarter of the miniature's step.
    "openrlhf.datasets.sft_dataset": Patch(
        [
            Replacement("    def __getitem__(self, idx):\n", "    @cache\n    def __getitem__(self, idx):\n"),
            Replacement("from typing import Callable\n", "from functools import cache\nfrom typing import Callable\n"),
        ]
    ),
    "openrlhf.trainer.ray.launcher": Patch(_free_port("sock")),
    "vllm.utils.network_utils": Patch(_free_port("s", 2)),
    # One remote call for all weights, because each call costs about 5 ms. The miniature sends 50 weights per
    # update: 0.03 to 0.08 s instead of 0.29 s.
    "openrlhf.trainer.ray.ppo_actor": Patch([Replacement(_SEND_EACH_WEIGHT, _SEND_ALL_WEIGHTS), *_free_port("sock")]),
    "openrlhf.trainer.ray.vllm_worker_wrap": Patch([Replacement(_RECEIVE_ONE_WEIGHT, _RECEIVE_ALL_WEIGHTS)]),
    # OpenRLHF reads only the finished response, but vLLM builds an output at every token. OpenRLHF also sends the
    # tokenizer with every prompt, and restoring it needs 3 ms. Without both, vLLM's Ray actor needs 0.2 s per update
    # instead of 0.45 s.
    "openrlhf.trainer.ppo_utils.samples_generator": Patch(
        [
            Replacement(
                "        sampling_params = SamplingParams(\n",
                "        from medrlvr.training.cpu.adapter import pickled_once\n"
                "        from vllm.sampling_params import RequestOutputKind\n\n"
                "        sampling_params = SamplingParams(\n            output_kind=RequestOutputKind.FINAL_ONLY,\n",
            ),
            Replacement("hf_tokenizer=self.tokenizer", "hf_tokenizer=pickled_once(self.tokenizer)"),
        ]
    ),
    # Cache blocks of 32 tokens, the minimum of the CPU kernels, so that even a short prompt has blocks to share.
    "openrlhf.trainer.ray.vllm_engine": Patch(
        [Replacement('"dtype": "bfloat16"', '"dtype": "bfloat16", "block_size": 32')]
    ),
    "openrlhf.utils.deepspeed.deepspeed": Patch(
        [
            Replacement('"cuda", (dp_size,', '"cpu", (dp_size,'),
            # Uses torch's AdamW: compiling DeepSpeed's own needs 93 s on a fresh machine.
            Replacement(
                '"type": "AdamW",\n                "params": {',
                '"type": "AdamW",\n                "params": {"torch_adam": True,',
            ),
        ]
    ),
    # A cluster of one machine needs no autoscaler. Prestarted workers lack the adapter's py_executable, so Ray
    # never uses them. The autoscaler and these workers together cost 1 s of processor time at the start.
    "ray._private.parameter": Patch(
        [Replacement("no_monitor: Optional[bool] = False", "no_monitor: Optional[bool] = True")]
    ),
    "ray._private.services": Patch(
        [
            Replacement(
                '"--num_prestart_python_workers={}".format(int(resource_and_label_spec.num_cpus))',
                '"--num_prestart_python_workers=0"',
            )
        ]
    ),
    # On a busy laptop, the raylet may need more than 30 s to start.
    "ray._private.node": Patch([Replacement("raylet_start_wait_time_s = 30", "raylet_start_wait_time_s = 300")]),
    "openrlhf.utils.distributed_util": Patch(after=_sync_weights_over_gloo),
    # torch.zeros writes the whole cache: 0.4 s and 1 GiB of memory. The system zeroes each page on first use instead.
    "vllm.v1.worker.utils": Patch(
        [
            Replacement(
                "buf = torch.zeros(buf_size, dtype=torch.int8, device=device)",
                "pages = mmap.mmap(-1, buf_size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
                "    buf = torch.frombuffer(pages, dtype=torch.int8)",
            ),
            Replacement("import math\n", "import math\nimport mmap\n"),
        ]
    ),
    "vllm.utils.system_utils": Patch(after=_fork_the_engine),
    "vllm.model_executor.layers.utils": Patch(after=_keep_weights_plain),
    "deepspeed.comm.torch": Patch(after=_no_compiled_all_reduce),
}
