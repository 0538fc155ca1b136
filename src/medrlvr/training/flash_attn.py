"""A stand-in for flash_attn, which OpenRLHF imports even where neither packing nor ring attention is used."""

from collections.abc import Mapping
from types import ModuleType

from medrlvr.training.patching import Patch


def _stand_ins() -> Mapping[str, ModuleType]:
    def missing(*args: object, **kwargs: object) -> None:
        raise RuntimeError("flash_attn is not installed, but packing and ring attention need it.")

    names = ("flash_attn", "flash_attn.bert_padding", "flash_attn.utils", "flash_attn.utils.distributed")
    modules = {name: ModuleType(name) for name in names}
    for module in modules.values():
        module.__path__ = []
    for function in ("index_first_axis", "pad_input", "rearrange", "unpad_input"):
        setattr(modules["flash_attn.bert_padding"], function, missing)
    vars(modules["flash_attn.utils.distributed"])["all_gather"] = missing
    return modules


# Present only while this module is imported, so that transformers and vLLM do not detect flash-attn as installed.
PATCHES = {"openrlhf.models.ring_attn_utils": Patch(stand_ins=_stand_ins)}
"""Module -> patch."""
