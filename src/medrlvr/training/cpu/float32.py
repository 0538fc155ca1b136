"""Train and generate in float32 on a CPU. The trainer and vLLM's engine offer only half precision.

Half precision is 2.5 times slower than float32 on a processor without bf16 instructions (measured on AVX-512 without
avx512_bf16). Without this set of patches, both compute in bfloat16, as on a GPU.
"""

from medrlvr.training.patching import Patch, Replacement

PATCHES = {
    "openrlhf.trainer.ray.vllm_engine": Patch([Replacement('"dtype": "bfloat16"', '"dtype": "float32"')]),
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
}
"""Module -> patch."""
