"""Run unmodified OpenRLHF, with DeepSpeed, Ray and vLLM, on a machine without GPU, in float32.

OpenRLHF names the CUDA device in a few places, vLLM's CPU build rearranges weights so that they cannot be updated in
place, and both offer only half precision, which a processor without bf16 instructions runs 2.5 times slower than
float32 (measured on AVX-512 without avx512_bf16). Each patch below is one such place, in the versions of envs/cpu.lock.
"""

import multiprocessing
from collections.abc import Mapping
from multiprocessing.context import BaseContext
from types import ModuleType
from typing import TYPE_CHECKING, Any

from medrlvr.training.cpu.patching import Patch, Replacement, replace_function
from medrlvr.training.cpu.patching import install as install_patches

if TYPE_CHECKING:
    import torch


def install(cpu: bool = True) -> None:
    """Patch modules imported from now on: all patches with `cpu`, else only the stand-in for flash_attn."""
    install_patches(CPU_PATCHES if cpu else FLASH_ATTN_PATCH)


def _without_cuda(_openrlhf: ModuleType) -> None:
    import torch

    cuda: Any = torch.cuda
    device = torch.device("cpu")
    cuda.current_device = lambda: device
    cuda.set_device = lambda device: None
    cuda.synchronize = lambda device=None: None
    cuda.current_stream = lambda device=None: None


class GlooCommunicator:
    """Weights from the trainer to vLLM, over gloo; has the one method of PyNcclCommunicator that OpenRLHF uses."""

    def __init__(self, host: str, port: int, rank: int, world_size: int) -> None:
        from vllm.distributed.utils import stateless_init_torch_distributed_process_group

        self._group: Any = stateless_init_torch_distributed_process_group(host, port, rank, world_size, "gloo")

    def broadcast(self, tensor: "torch.Tensor", src: int, stream: object = None) -> None:
        """Send `tensor` from rank `src` to all others, in place."""
        from torch.distributed import BroadcastOptions

        options = BroadcastOptions()
        options.rootRank, options.rootTensor = src, 0
        self._group.broadcast([tensor], options).wait()


def _sync_weights_over_gloo(module: ModuleType) -> None:
    def stateless_init_process_group(
        master_address: str, master_port: int, rank: int, world_size: int, device: object
    ) -> GlooCommunicator:
        return GlooCommunicator(master_address, master_port, rank, world_size)

    replace_function(module, "stateless_init_process_group", stateless_init_process_group)


def _keep_weights_plain(module: ModuleType) -> None:
    # vLLM packs Linear weights at load for its own kernels: an update would crash, or for lm_head be ignored silently.
    def dispatch_cpu_unquantized_gemm(layer: Any, remove_weight: bool) -> None:
        import torch

        layer.cpu_linear = torch.nn.functional.linear

    replace_function(module, "dispatch_cpu_unquantized_gemm", dispatch_cpu_unquantized_gemm)


def _fork_the_engine(module: ModuleType) -> None:
    # vLLM would start its engine from nothing and import everything again, to preload a memory allocator: 10 s.
    def get_mp_context() -> BaseContext:
        return multiprocessing.get_context("fork")

    replace_function(module, "get_mp_context", get_mp_context)


def _no_compiled_all_reduce(module: ModuleType) -> None:
    # 51 s of g++ on a fresh machine for a shared-memory all-reduce that gloo does as well.
    replace_function(module, "build_shm_op", lambda: None)


def _flash_attn_stand_ins() -> Mapping[str, ModuleType]:
    def missing(*args: object, **kwargs: object) -> None:
        raise RuntimeError("flash_attn is not installed: packing and ring attention need it.")

    names = ("flash_attn", "flash_attn.bert_padding", "flash_attn.utils", "flash_attn.utils.distributed")
    modules = {name: ModuleType(name) for name in names}
    for module in modules.values():
        module.__path__ = []
    for function in ("index_first_axis", "pad_input", "rearrange", "unpad_input"):
        setattr(modules["flash_attn.bert_padding"], function, missing)
    vars(modules["flash_attn.utils.distributed"])["all_gather"] = missing
    return modules


# Only while this one module is imported, so that transformers and vLLM do not take flash-attn to be installed.
FLASH_ATTN_PATCH = {"openrlhf.models.ring_attn_utils": Patch(stand_ins=_flash_attn_stand_ins)}

CPU_PATCHES = FLASH_ATTN_PATCH | {
    "openrlhf": Patch(after=_without_cuda),
    "openrlhf.trainer.ppo_utils.replay_buffer": Patch(
        [Replacement('torch.device(f"cuda:{torch.cuda.current_device()}")', 'torch.device("cpu")')]
    ),
    "openrlhf.trainer.ray.vllm_worker_wrap": Patch([Replacement('device="cuda"', 'device="cpu"')]),
    # Blocks of 32 tokens, the fewest that the CPU kernels take, so that a short prompt has some to share.
    "openrlhf.trainer.ray.vllm_engine": Patch(
        [Replacement('"dtype": "bfloat16"', '"dtype": "float32", "block_size": 32')]
    ),
    "openrlhf.utils.utils": Patch(
        [
            Replacement(
                'if param_dtype == "bf16":\n        return torch.bfloat16',
                'if param_dtype == "bf16":\n        return torch.float32',
            )
        ]
    ),
    "openrlhf.utils.deepspeed.deepspeed_utils": Patch(
        [Replacement('"enabled": param_dtype == "bf16"', '"enabled": False', 2)]
    ),
    "openrlhf.utils.deepspeed.deepspeed": Patch(
        [
            Replacement('"cuda", (dp_size,', '"cpu", (dp_size,'),
            # torch's AdamW: DeepSpeed's own would be compiled for 93 s on a fresh machine.
            Replacement(
                '"type": "AdamW",\n                "params": {',
                '"type": "AdamW",\n                "params": {"torch_adam": True,',
            ),
        ]
    ),
    # On a busy laptop half a minute is soon over.
    "ray._private.node": Patch([Replacement("raylet_start_wait_time_s = 30", "raylet_start_wait_time_s = 300")]),
    "openrlhf.utils.distributed_util": Patch(after=_sync_weights_over_gloo),
    "vllm.utils.system_utils": Patch(after=_fork_the_engine),
    "vllm.model_executor.layers.utils": Patch(after=_keep_weights_plain),
    "deepspeed.comm.torch": Patch(after=_no_compiled_all_reduce),
}
