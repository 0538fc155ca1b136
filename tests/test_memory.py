import importlib.util
import json
import weakref
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from medrlvr.config.arms import RlvrArm
from medrlvr.config.data import BaseModelSource
from medrlvr.config.experiment import Experiment
from medrlvr.config.load import load_config
from medrlvr.config.machine import Machine
from medrlvr.models.engine_memory import GIB
from medrlvr.models.shape import Shape, known_shape
from medrlvr.runtime.errors import UserError
from medrlvr.training.memory import tables
from medrlvr.training.memory.fit import check, check_arms, check_training, fits, shape_of, suggest_fix
from medrlvr.training.memory.host import host_bytes, job_memory, pinned_bytes
from medrlvr.training.memory.phases import CONTEXT, ENTROPY, SCORED, TRAINED, kv_cache_sequences, peak, phases
from medrlvr.training.memory.tables import render_tables
from medrlvr.training.rlvr import RlvrRun, train_rlvr
from medrlvr.training.sft import SftRun, train_sft

PAPERS = Experiment()
SFT, RLVR = PAPERS.arms["sft"], PAPERS.arms["rlvr"]
FETCHED = Path("results/nothing/models/base")
PRESETS = sorted(tables.PRESETS.glob("*.yaml"))
ONE = {"gpus_per_node": 1, "vllm_engines": 1, "zero_stage": 2}


def shape(name: str = "Qwen/Qwen2.5-3B") -> Shape:
    found = known_shape(name)
    assert found is not None
    return found


def machine(**changes: Any) -> Machine:
    return Machine.model_validate(PAPERS.machine.model_dump() | changes)


def rlvr(**changes: Any) -> RlvrArm:
    return RlvrArm.model_validate(RLVR.model_dump() | changes)


def parts(name: str, arm: Any = RLVR, **changes: Any) -> dict[str, float]:
    return dict(next(phase.parts for phase in phases(shape(), arm, machine(**changes)) if phase.name == name))


def preset(name: str) -> Machine:
    return machine(**yaml.safe_load((tables.PRESETS / f"{name}.yaml").read_text())["machine"])


def test_actor_and_critic_need_sixteen_bytes_of_memory_for_each_parameter() -> None:
    """99 GB of Qwen2.5-3B; 18 bytes, were gradients summed in float32, are 111 GB."""
    held = parts("weights to the engine", rlvr(kl_coefficient=0), **ONE, vllm_sleep=False)
    state = sum(held[part] for part in ("weights", "gradients", "optimiser"))
    assert state == 2 * 16 * 3_085_938_688
    assert 98e9 < state < 2 * 18 * 3_085_938_688 < 112e9 < preset("h200_x1").gpu_gib * GIB


def test_one_card_of_80_gb_fits_the_experiment_only_with_the_optimiser_on_the_host() -> None:
    card = preset("h100_80gb_x1")
    least = {"train_micro_batch": 1, "rollout_micro_batch": 1, "vllm_memory_utilization": 0.2, "vllm_sleep": True}
    assert fits(shape(), RLVR, card)
    for stage in (1, 2, 3):
        update = {**least, "optimiser_offload": False, "zero_stage": stage}
        assert not fits(shape(), RLVR, card.model_copy(update=update))


def test_four_cards_of_40_gb_fit_the_experiment_with_zero_3_and_sleep() -> None:
    assert fits(shape(), RLVR, machine())
    assert not fits(shape(), RLVR, machine(vllm_sleep=False))
    assert not fits(shape(), RLVR, machine(zero_stage=2))


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.stem)
def test_a_preset_fits_both_arms_and_names_no_kind_of_gpu(file: Path) -> None:
    text = file.read_text()
    overlay = yaml.safe_load(text)
    values = yaml.safe_load(Path("config/config.yaml").read_text())
    for key in ("base", "machine"):
        values[key] |= overlay.get(key, {})
    experiment = load_config(values, [file])
    check_arms(experiment, FETCHED)
    assert (experiment.base == PAPERS.base) == ("base" not in overlay) and experiment.machine.gpu_type is None
    assert "Estimated, not yet run on" in text and "docs/gpu.md" in text
    if experiment.machine.optimiser_offload:
        assert f"needs {host_bytes(shape(), RLVR, experiment.machine) / GIB:.0f} GiB of host memory" in text


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.stem)
def test_a_preset_leaves_no_gpu_half_empty_where_a_setting_could_fill_it(file: Path) -> None:
    """Not the critic's phases, the optimiser steps and the transfer of weights: no setting of their own fills them."""
    _, base, card = tables.read_machine(yaml.safe_load(file.read_text()))
    filled = {
        f"{arm.trainer}: {phase.name}": phase.total / (card.gpu_gib * GIB)
        for arm in (SFT, RLVR)
        for phase in phases(base, arm, card)
    }
    settable = ("sft: backward", "rlvr: generation", "rlvr: scoring", "rlvr: actor, backward")
    assert all(0.5 < filled[name] < 0.97 for name in settable), filled


def test_a_preset_for_one_gpu_of_24_gb_fits_no_larger_base() -> None:
    _, base, card = tables.read_machine(yaml.safe_load((tables.PRESETS / "gpu_24gb_x1.yaml").read_text()))
    assert base == shape("Qwen/Qwen2.5-0.5B") and card.gpu_gib < 24
    assert fits(base, RLVR, card) and fits(base, SFT, card)
    assert not fits(base, RLVR, card.model_copy(update={"train_micro_batch": 2}))
    assert not fits(shape("Qwen/Qwen2.5-1.5B"), RLVR, card)


def test_the_tables_of_the_docs_are_printed_by_the_code() -> None:
    printed = render_tables()
    assert printed in Path("docs/memory.md").read_text(), (
        "run: python -m medrlvr.training.memory.tables, and put it into docs/memory.md"
    )
    assert all(file.stem in printed for file in PRESETS)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_zero_divides_what_its_stage_states_among_all_gpus_of_all_nodes(stage: int) -> None:
    one, two = (parts("actor, backward", zero_stage=stage, nodes=nodes) for nodes in (1, 2))
    for first, part in enumerate(["optimiser", "gradients", "weights"], start=1):
        assert one[part] == (2 if stage >= first else 1) * two[part], part
    assert one["weights"] == 3 * 2 * shape().parameters / (4 if stage == 3 else 1)
    assert ("gathered" in one) == (stage == 3)


def test_what_an_arm_does_not_use_is_not_counted() -> None:
    size = shape().parameters
    whole = parts("generation", **ONE)
    assert whole["weights"] == 3 * 2 * size
    assert parts("generation", rlvr(advantage_estimator="grpo"), **ONE)["weights"] == 2 * 2 * size
    assert parts("generation", rlvr(kl_coefficient=0), **ONE)["weights"] == 2 * 2 * size
    assert whole["other"] - parts("generation", rlvr(kl_coefficient=0), **ONE)["other"] == CONTEXT
    names = [phase.name for phase in phases(shape(), rlvr(advantage_estimator="rloo"), machine())]
    assert not any("critic" in name for name in names) and "actor, backward" in names


def test_with_sleep_only_one_model_is_on_the_gpu_at_a_time() -> None:
    asleep, awake = parts("actor, backward", **ONE), parts("training, backward", **ONE, vllm_sleep=False)
    assert "engine" not in asleep and awake["engine"] == 0.5 * 40 * GIB
    assert awake["optimiser"] == 2 * asleep["optimiser"] == 2 * 12 * shape().parameters
    assert awake["activations"] == 2 * asleep["activations"]
    assert "optimiser" not in parts("generation", **ONE)
    # DeepSpeed moves nothing away without ZeRO.
    assert parts("generation", **ONE | {"zero_stage": 0})["optimiser"] == 2 * 12 * shape().parameters


def test_an_optimiser_on_the_host_leaves_the_gpu_and_is_counted_there() -> None:
    assert not {"gradients", "optimiser", "step"} & set(parts("actor, optimiser step", **ONE, optimiser_offload=True))
    size = shape().parameters
    # Embedding, then of each layer: queries to values, output, gate and up, down; each with torch's rounding.
    engine = (1024 + 36 * (16 + 8 + 128 + 64)) * 2**20
    offloaded = (16 + 16 + 8) * GIB + engine + 8 * size
    assert host_bytes(shape(), RLVR, machine(**ONE, optimiser_offload=True)) == 2 * offloaded + engine
    assert host_bytes(shape(), RLVR, machine(**ONE)) == 2 * 3 * 16 * GIB + engine
    assert host_bytes(shape(), RLVR, machine(nodes=2)) == 4 * (2 * (3 * 2 + 1) * GIB + engine)
    assert host_bytes(shape(), RLVR, machine(**ONE, vllm_sleep=False)) == 0
    assert host_bytes(shape(), SFT, machine()) == 0
    assert host_bytes(shape(), SFT, machine(nodes=4, optimiser_offload=True)) == 4 * (
        (4 + 4 + 2) * GIB + engine / 4 + 8 * size / 4
    )


def test_a_pinned_block_is_rounded_up_to_a_power_of_two() -> None:
    """The audit's figure: 11.5 GiB of one state of Qwen2.5-3B become 16 GiB."""
    assert [pinned_bytes(size) for size in (1, 4096, 4097, 2**20)] == [1, 4096, 8192, 2**20]
    assert 11.4 * GIB < 4 * shape().parameters < 11.6 * GIB and pinned_bytes(4 * shape().parameters) == 16 * GIB
    # ZeRO 3 has blocks of 10^9 parameters: 3 of 4 GiB and one of 0.5 GiB for each state.
    one = machine(**ONE | {"zero_stage": 3})
    without_critic = rlvr(advantage_estimator="grpo")
    engine = host_bytes(shape(), without_critic, machine(**ONE)) - 3 * 16 * GIB
    assert host_bytes(shape(), without_critic, one) == (3 * 12.5 + 8) * GIB + engine


def test_sft_uses_one_node_and_never_an_engine() -> None:
    assert phases(shape(), SFT, machine()) == phases(shape(), SFT, machine(nodes=8, vllm_sleep=False))
    assert all("engine" not in phase.parts for phase in phases(shape(), SFT, machine()))


def test_micro_batches_are_no_larger_than_a_gpus_share() -> None:
    assert parts("scoring", rollout_micro_batch=32) == parts("scoring", rollout_micro_batch=64)
    assert parts("scoring", rollout_micro_batch=32)["logits"] == 32 * 2048 * 151_936 * 6
    assert parts("actor, backward", train_micro_batch=1)["logits"] == 2048 * 151_936 * 20
    assert parts("actor, backward", train_micro_batch=1, flash_attention=True)["logits"] == 2048 * 151_936 * 12


def test_an_engine_has_as_many_texts_as_memory_for_keys_and_values_allows() -> None:
    room = 0.5 * 40 * GIB - 2 * shape().parameters - 2 * GIB
    assert kv_cache_sequences(shape(), RLVR, machine()) == room // (2048 * 36 * 1024)
    # Split over four GPUs each still holds one of the two heads.
    split = 0.5 * 40 * GIB - 2 * shape().parameters / 4 - 2 * GIB
    assert kv_cache_sequences(shape(), RLVR, machine(vllm_engines=1)) == split // (2048 * 18 * 1024)
    assert kv_cache_sequences(shape(), RLVR, machine(vllm_memory_utilization=0.1)) == 0


@pytest.mark.parametrize(
    ("model", "arm", "changes", "nearest"),
    [
        ("3B", RLVR, {}, {}),
        ("3B", RLVR, {"vllm_memory_utilization": 0.95}, {"vllm_memory_utilization": 0.8}),
        ("3B", RLVR, {"vllm_memory_utilization": 0.1}, {"vllm_memory_utilization": 0.2}),
        ("3B", RLVR, {"train_micro_batch": 16}, {"train_micro_batch": 2}),
        ("3B", RLVR, {"gradient_checkpointing": False}, {"train_micro_batch": 1}),
        (
            "3B",
            RLVR,
            {"gradient_checkpointing": False, "gpu_gib": 32},
            {"train_micro_batch": 1, "gradient_checkpointing": True},
        ),
        (
            "3B",
            RLVR,
            {"gpu_gib": 18},
            {"rollout_micro_batch": 4, "train_micro_batch": 1, "optimiser_offload": True, "nodes": 2},
        ),
        ("3B", RLVR, {"vllm_sleep": False}, {"vllm_sleep": True}),
        ("3B", RLVR, {"zero_stage": 2}, {"vllm_memory_utilization": 0.45, "train_micro_batch": 1}),
        ("3B", RLVR, {"zero_stage": 1}, {"zero_stage": 3}),
        ("3B", RLVR, {**ONE, "gpu_gib": 79}, {"optimiser_offload": True}),
        ("7B", RLVR, {}, {"optimiser_offload": True}),
        ("3B", SFT, {"sft_micro_batch": 32}, {"sft_micro_batch": 8}),
    ],
    # Not all settings of an arm, so that a new setting does not change the ids.
    ids=lambda value: getattr(value, "trainer", str(value)),
)
def test_the_nearest_setting_that_fits_changes_as_little_as_it_can(
    model: str, arm: Any, changes: dict[str, Any], nearest: dict[str, Any]
) -> None:
    base, asked = shape(f"Qwen/Qwen2.5-{model}"), machine(**changes)
    found = suggest_fix(base, arm, asked)
    assert found == nearest
    assert fits(base, arm, asked.model_copy(update=found))
    for key in found:
        rest = {name: value for name, value in found.items() if name != key}
        assert not fits(base, arm, asked.model_copy(update=rest)), f"{key} was not needed"


def test_a_gpu_may_be_too_small_for_any_number_of_nodes() -> None:
    with pytest.raises(UserError, match=r"No setting fits\. Use larger GPUs or a smaller base model"):
        check("arms.rlvr", shape(), RLVR, machine(gpu_gib=6))


def test_what_does_not_fit_is_reported_with_its_figures_and_a_line_to_paste() -> None:
    with pytest.raises(UserError) as refused:
        check("arms.rlvr", shape(), RLVR, machine(train_micro_batch=4))
    text = str(refused.value)
    assert text.startswith("arms.rlvr: training needs more memory than a GPU has (estimated, see docs/memory.md).")
    assert "Peak: actor, backward, in GiB:\n  weights" in text
    assert "\n  logits            23.2\n" in text and "\n  machine.gpu_gib   40.0\n" in text
    pasted = yaml.safe_load(text.splitlines()[-1])
    assert pasted == {"machine": {"train_micro_batch": 2}}
    fullest = peak(shape(), RLVR, machine(train_micro_batch=4))
    assert f"\n  total           {fullest.total / GIB:6.1f}\n" in text


def test_an_engine_without_memory_for_one_text_is_reported() -> None:
    with pytest.raises(UserError, match="leaves vLLM too little memory for one sequence") as refused:
        check("arms.rlvr", shape(), RLVR, machine(vllm_memory_utilization=0.15))
    assert str(refused.value).endswith("This change fits:\nmachine: {vllm_memory_utilization: 0.2}")


def test_what_fits_is_reported_in_one_line() -> None:
    line = check("rlvr, seed 1", shape(), RLVR, machine())
    assert line.startswith("estimated peak GPU memory: 34.5 of 40 GiB (actor, backward): weights 4.3, ")
    assert line.endswith("; 174 concurrent sequences per engine; host memory: 146 GiB per node") and "\n" not in line
    assert "engine" not in check("sft", shape(), SFT, machine())


def model_folder(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads(Path("assets/miniature_base/config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_the_shape_comes_from_the_files_before_the_table(tmp_path: Path) -> None:
    hub = BaseModelSource()
    assert shape_of(hub, tmp_path / "absent") == shape()
    small = shape_of(hub, model_folder(tmp_path / "base"))
    assert small is not None and small.hidden == 128
    given = BaseModelSource(source="path", name=str(tmp_path / "base"), licence="MIT")
    assert shape_of(given, tmp_path / "absent") == small
    assert shape_of(BaseModelSource(name="some/model", licence="MIT"), tmp_path / "absent") is None
    assert shape_of(BaseModelSource(source="package", name="a==1", licence="MIT"), tmp_path / "absent") is None
    assert shape_of(given, model_folder(tmp_path / "other", model_type="gpt2")) == small


def test_every_arm_is_checked_on_gpus_and_none_on_a_cpu() -> None:
    small = {"gpu_gib": 30}
    with pytest.raises(UserError, match=r"^arms.rlvr: training needs more"):
        check_arms(PAPERS.model_copy(update={"machine": machine(**small)}), FETCHED)
    with pytest.raises(UserError, match=r"^arms.sft: training needs more"):
        check_arms(PAPERS.model_copy(update={"machine": machine(gpu_gib=20)}), FETCHED)
    check_arms(PAPERS.model_copy(update={"machine": machine(**small, device="cpu")}), FETCHED)


def test_training_checks_its_inputs_and_states_what_it_cannot_check(tmp_path: Path) -> None:
    assert check_training("sft", model_folder(tmp_path), SFT, machine()).startswith("estimated peak GPU memory: ")
    with pytest.raises(UserError, match=r"^rlvr, seed 1: training needs more memory"):
        check_training("rlvr, seed 1", tmp_path, RLVR, machine(gpu_gib=2))
    said = check_training("sft", model_folder(tmp_path, model_type="gpt2"), SFT, machine())
    assert said.startswith("memory is not checked: ") and "gpt2" in said


def test_both_trainers_check_before_they_start_anything(tmp_path: Path) -> None:
    said: list[str] = []
    common = {
        "machine": machine(gpu_gib=1),
        "seed": 1,
        "base": Path("assets/miniature_base"),
        "prompts": tmp_path / "absent",
        "metrics_table": tmp_path / "metrics",
        "events": tmp_path / "events",
        "state": tmp_path / "state",
    }
    with pytest.raises(UserError, match=r"^rlvr, seed 1: training needs more memory"):
        own = {name: tmp_path / name for name in ("models", "rollouts_table", "node_logs")}
        train_rlvr(RlvrRun(arm=RLVR, name="run", display_name="rlvr, seed 1", **own, **common), said.append)
    with pytest.raises(UserError, match=r"^sft, learning rate 1e-05, seed 1: training needs more memory"):
        name = "sft, learning rate 1e-05, seed 1"
        run = SftRun(arm=SFT, learning_rate=1e-5, display_name=name, model=tmp_path / "model", **common)
        train_sft(run, said.append)
    assert not said and not list(tmp_path.iterdir())


def allocated(train: bool, checkpointing: bool, entropy: bool, **changes: int) -> float:
    """Count the peak bytes of one micro-batch, without weights and their gradients.

    The model is transformers' own, on torch's device without data; the losses are OpenRLHF's. A
    function that keeps the same tensors replaces the memory-efficient attention kernel.
    """
    import torch
    from torch.nn import functional
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map_only
    from transformers import AutoModelForCausalLM, Qwen2Config

    source = files("openrlhf").joinpath("models/utils.py")
    spec = importlib.util.spec_from_file_location("openrlhf_models_utils", str(source))
    assert spec is not None and spec.loader is not None
    losses = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(losses)

    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, queries: Any, keys: Any, values: Any) -> Any:
            out = torch.empty_like(queries)
            sums = torch.empty(queries.shape[:-1], dtype=torch.float32, device="meta")
            context.save_for_backward(queries, keys, values, out, sums)
            return out

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            return tuple(torch.empty_like(tensor) for tensor in context.saved_tensors[:3])

    class Count(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.now = self.most = 0
            self.seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

        def note(self, tensor: Any) -> None:
            storage = tensor.untyped_storage()
            if storage not in self.seen:
                self.seen[storage] = storage.nbytes()
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self.free, storage.nbytes())

        def free(self, size: int) -> None:
            self.now -= size

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = function(*args, **(kwargs or {}))
            tree_map_only(torch.Tensor, self.note, out)
            return out

    config = Qwen2Config(
        **{
            "hidden_size": 256,
            "intermediate_size": 1024,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "vocab_size": 64,
            **changes,
        },
        tie_word_embeddings=True,
        use_cache=False,
    )
    rows, length = 2, 1024
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
        ids = torch.zeros(rows, length, dtype=torch.long)
        mask = torch.ones(rows, 1, length, length, dtype=torch.bool)
    model.train(train)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    count = Count()
    for weights in model.parameters():
        count.seen[weights.untyped_storage()] = 0
        weights.register_post_accumulate_grad_hook(lambda parameter: setattr(parameter, "grad", None))
    with pytest.MonkeyPatch.context() as patch, count, torch.set_grad_enabled(train):
        patch.setattr(
            functional, "scaled_dot_product_attention", lambda q, k, v, *rest, **more: Attention.apply(q, k, v)
        )
        output = model(ids, attention_mask=mask, use_cache=False)
        output["logits"] = output["logits"].to(torch.float32)
        kept = losses.compute_entropy._torchdynamo_orig_callable(output["logits"]) if entropy else None
        chosen = losses.log_probs_from_logits(output["logits"], ids)
        if train:
            chosen.mean().backward()
        del kept
    return count.most / (rows * length)


@pytest.mark.parametrize(
    ("train", "entropy", "each"),
    [
        (False, False, SCORED),
        (True, False, TRAINED),
        (True, True, TRAINED + ENTROPY),
    ],
)
def test_a_logit_needs_what_torch_allocates_for_it(train: bool, entropy: bool, each: int) -> None:
    fewer, more = (allocated(train, True, entropy, vocab_size=size) for size in (20_000, 40_000))
    assert (more - fewer) / 20_000 == pytest.approx(each, abs=0.05)


WIDER = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_key_value_heads": 2}
DEEPER = {"hidden_size": 384, "intermediate_size": 4096, "num_attention_heads": 6, "num_key_value_heads": 2}


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("changes", [{}, WIDER, DEEPER], ids=["narrow", "wider", "deeper"])
def test_activations_need_what_torch_allocates_for_them_rounded_up(
    checkpointing: bool, changes: dict[str, int]
) -> None:
    sizes = {
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
    } | changes
    heads = sizes["num_attention_heads"]
    counted = allocated(True, checkpointing, False, **sizes)
    asked = Shape(
        hidden=sizes["hidden_size"],
        layers=4,
        heads=heads,
        kv_heads=sizes["num_key_value_heads"],
        head_dim=sizes["hidden_size"] // heads,
        intermediate=sizes["intermediate_size"],
        vocabulary=64,
        tied=True,
    )
    planned = machine(gradient_checkpointing=checkpointing, train_micro_batch=1, zero_stage=0)
    arm = rlvr(prompt_max_tokens=1024, response_max_tokens=1024)
    held = next(phase.parts for phase in phases(asked, arm, planned) if phase.name == "critic, backward")
    assert counted <= held["activations"] / 2048 <= 1.15 * counted


def test_a_job_requests_the_hosts_memory_and_more_for_a_retry() -> None:
    shape = known_shape("Qwen/Qwen2.5-3B")
    assert shape is not None
    asked = job_memory(shape, RLVR, machine())
    assert asked == round((host_bytes(shape, RLVR, machine()) + (16 + 4 * 6) * GIB) / 2**20)
    assert [job_memory(shape, RLVR, machine(), attempt) / asked for attempt in (2, 3)] == pytest.approx([1.5, 2.0])
    offloaded = machine(gpus_per_node=1, vllm_engines=1, zero_stage=2, optimiser_offload=True)
    assert job_memory(shape, RLVR, offloaded) > host_bytes(shape, RLVR, offloaded) / 2**20
    assert job_memory(shape, RLVR, machine(device="cpu")) == 24 * 1024
    assert job_memory(None, RLVR, machine()) == 240 * 1024
