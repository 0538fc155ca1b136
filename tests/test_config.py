import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from medrlvr.config import files
from medrlvr.config.arms import RlvrArm, SftArm, training_settings, update_sizes
from medrlvr.config.data import BaseModelSource, Benchmark, Calculations, Data, Miniature
from medrlvr.config.design import comparison_design, matches_paper
from medrlvr.config.evaluation import Evaluation, ExternalModel, Mode, Prompts
from medrlvr.config.experiment import Experiment
from medrlvr.config.load import load_config, read_overlays
from medrlvr.config.machine import Machine
from medrlvr.runtime.errors import UserError
from medrlvr.training.inputs import fill_steps

PAPER = Path("config/config.yaml")
ESTIMATORS = ("gae", "reinforce++", "grpo", "rloo", "dr_grpo")
OTHER = {"data": "medqa_4_options/test", "distribution": "in", "title": "Other"}
ABLATIONS = sorted(Path("config/ablations").glob("*.yaml"))
BASES = sorted(Path("config/ablations/bases").glob("*.yaml"))
PRESETS = sorted(Path("config/presets").glob("*.yaml"))
HACK_BENCH = sorted(Path("config/controls/hack_bench").glob("*.yaml"))
OVERLAYS = [*sorted(Path("config").glob("*.yaml")), *ABLATIONS, *BASES, *PRESETS, *HACK_BENCH]
OVERLAYS.remove(PAPER)


def merged(*overlays: dict[str, Any]) -> dict[str, Any]:
    """The paper's experiment with overlays merged over it, as Snakemake does."""

    def update(target: dict[str, Any], source: dict[str, Any]) -> None:
        for key, value in source.items():
            if isinstance(value, dict) and isinstance(target.get(key), dict):
                update(target[key], value)
            else:
                target[key] = value

    values = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    for overlay in overlays:
        update(values, overlay)
    return values


def rlvr(**changes: Any) -> dict[str, Any]:
    return {"arms": {"rlvr": changes}}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (files.YAML, files.render_yaml()),
        (files.SCHEMA, json.dumps(files.schema(), indent=2) + "\n"),
    ],
    ids=["config.yaml", "schema.json"],
)
def test_generated_files_are_those_of_the_settings(file: Path, text: str) -> None:
    assert file.read_text(encoding="utf-8") == text, (
        f"{file} is not what src/medrlvr/config/ says. Run: medrlvr config write"
    )


def test_the_papers_experiment_is_the_default() -> None:
    experiment = load_config(merged(), [PAPER])
    assert experiment == Experiment()
    assert experiment.models() == ["base", "sft/seed1", "rlvr/seed1", "rlvr_dev/seed1"]
    assert experiment.modes_of("base") == ("chain_of_thought", "direct", "loglikelihood")
    assert experiment.modes_of("sft/seed1") == ("direct", "chain_of_thought", "loglikelihood")
    assert experiment.modes_of("rlvr_dev/seed1") == experiment.modes_of("rlvr") == experiment.modes_of("base")
    assert matches_paper(experiment)
    sft, rlvr = experiment.arms["sft"], experiment.arms["rlvr"]
    assert (sft.epochs, sft.learning_rates, rlvr.episodes, rlvr.reward) == (10, (1e-5, 5e-6, 1e-6), 10, "paper")
    assert experiment.data.none_of_the_above == ("medqa",)


def test_every_setting_states_its_meaning_and_whose_choice_it_is() -> None:
    for kind in (BaseModelSource, Data, Benchmark, Prompts, SftArm, RlvrArm, Evaluation, Mode, ExternalModel):
        for name, field in kind.model_fields.items():
            assert re.match(r"(Paper|Ours)[.:,;]", field.description or ""), f"{kind.__name__}.{name}"
    for kind in (Machine, Miniature, Calculations):
        assert all(field.description for field in kind.model_fields.values())


def test_there_are_110_updates_for_any_number_of_training_questions_that_validation_may_leave() -> None:
    arm = Experiment().arms["rlvr"]
    for rows in range(9281, 10209):
        filled = fill_steps(range(rows), arm.train_batch_size // arm.samples_per_prompt)
        assert len(update_sizes(len(filled), arm.prompts_per_update, arm.episodes)) == 110, rows


@pytest.mark.parametrize("file", OVERLAYS, ids=str)
def test_an_overlay_has_only_what_differs_each_with_its_reason(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    overlay = yaml.safe_load(text)
    jsonschema.validate(overlay, files.schema())
    for line in text.splitlines():
        key = re.match(r"( *)(\w+):(.*)", line)
        if key and key[3].split("#")[0].strip() and key[2] not in ("experiment", "title", "about", "distribution"):
            assert " # " in line, f"{file}: {line.strip()}: say why, behind a #"
    on_miniature = file.parent.name in ("ablations", "hack_bench")
    on_miniature |= file.name.startswith(("miniature_", "gpu_check", "reference", "calculations"))
    below = ["miniature"] * on_miniature + ["calculations"] * (file.stem == "calculations_five")
    base = [yaml.safe_load(Path(f"config/{name}.yaml").read_text()) for name in below]
    without = merged(*base)
    for path, value in leaves(overlay):
        assert at(without, path) != value, f"{file}: {'.'.join(path)} has this value without it"
    load_config(merged(*base, overlay), [PAPER, file])


def leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found = []
    for key, value in values.items():
        found += leaves(value, (*path, key)) if isinstance(value, dict) else [((*path, key), value)]
    return found


def at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values.get(key, "absent") if isinstance(values, dict) else "absent"
    return values


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"machin": {}}, "machin: unknown key; did you mean machine?"),
        (rlvr(gae_lamda=1), "arms.rlvr.gae_lamda: unknown key; did you mean gae_lambda?"),
        (rlvr(xyzzy=1), "arms.rlvr.xyzzy: unknown key; known keys: actor_learning_rate, "),
        ({"benchmarks": {"medqa": {"row": 3}}}, "benchmarks.medqa.row: unknown key; did you mean rows?"),
        (rlvr(episodes=0), "arms.rlvr.episodes: Input should be greater than 0 (value: 0)"),
        (rlvr(reward=["paper"]), "arms.rlvr.reward: must be a reward, or several rewards with weights, such as paper"),
        (rlvr(reward={"paper": "one"}), "arms.rlvr.reward: must be a reward, or several rewards with weights"),
        (rlvr(episodes="ten"), "arms.rlvr.episodes: Input should be a valid integer"),
        ({"arms": {"x": {"trainer": "rlvr"}}}, "arms.x.reward: is missing. Paper: `paper` is -1 without"),
        ({"arms": {"x": {"epochs": 1}}}, "arms.x: must contain trainer: sft, trainer: rlvr, or extends: "),
        (
            {"arms": {"x": {"extends": "y"}}},
            "arms.x.extends: must name an existing arm that does not use extends itself (value: 'y')",
        ),
        (
            {"arms": {"x": {"extends": "rlvr", "epochs": 1}}},
            "arms.x.trainer: does not allow epochs, a key of another trainer",
        ),
        ({"arms": {"x": {"trainer": "dpo"}}}, "arms.x: Input tag 'dpo' found using 'trainer' does not match"),
        (
            rlvr(advantage_estimator="ppo"),
            "arms.rlvr.advantage_estimator: Input should be 'gae', 'reinforce++', 'grpo', 'rloo' or 'dr_grpo'",
        ),
        (
            rlvr(advantage_estimator="grpo", samples_per_prompt=1),
            "arms.rlvr.samples_per_prompt: must be 2 or more: grpo compares the responses to",
        ),
        (
            rlvr(advantage_estimator="rloo", gamma=0.9),
            "arms.rlvr.gamma: must be 1 with rloo, which gives every token of a response the same advantage",
        ),
        (rlvr(train_batch_size=100), "arms.rlvr.train_batch_size: must divide prompts_per_update x samples_per_"),
        ({"arms": {"base": {"trainer": "sft"}}}, "arms.base: is not a valid arm name"),
        ({"arms": {"a/b": {"trainer": "sft"}}}, "arms.a/b: is not a valid arm name"),
        (
            {"arms": {"rlvr_dev": {"trainer": "sft"}}},
            "arms.rlvr_dev: is already the name of rlvr's checkpoint selected",
        ),
        (rlvr(seeds=[1, 1]), "arms.rlvr.seeds: contains one value twice"),
        ({"arms": {"sft": {"learning_rates": [1e-5, 1e-5]}}}, "arms.sft.learning_rates: contains one value twice"),
        ({"arms": {"rlvr": None}}, "arms: must contain an arm with trainer: rlvr"),
        (
            {"machine": {"train_micro_batch": 24}},
            "arms.rlvr.train_batch_size: cannot be divided among 4 GPUs in micro-batches of machine.train_micro_batch",
        ),
        ({"machine": {"gpus_per_node": 3, "vllm_engines": 3}}, "arms.sft.batch_size: cannot be divided among 3 GPUs"),
        ({"machine": {"vllm_engines": 3}}, "machine.vllm_engines: must divide gpus_per_node = 4 (value: 3)"),
        ({"machine": {"zero_stage": 4}}, "machine.zero_stage: Input should be less than or equal to 3 (value: 4)"),
        ({"machine": {"zero_stage": 0}}, "machine.zero_stage: must be 1, 2 or 3 with vllm_sleep"),
        (
            {"machine": {"device": "cpu", "flash_attention": True, "vllm_sleep": False}},
            "machine.flash_attention: must be false on a CPU; flash-attn needs machine.device: gpu (value: True)",
        ),
        ({"machine": {"nodes": 3}}, "arms.rlvr.train_batch_size: cannot be divided among 12 GPUs"),
        (
            rlvr(advantage_estimator="rloo", samples_per_prompt=1),
            "arms.rlvr.samples_per_prompt: must be 2 or more: rloo compares the responses",
        ),
        ({"benchmarks": {"medqa": None, "mmlu_pro_health": None}}, "benchmarks: is empty"),
        ({"benchmarks": {"medqa": {"data": "medqa/train"}}}, "benchmarks.medqa.data: is also used to train"),
        (
            rlvr(prompt_max_tokens=40000),
            "arms.rlvr.prompt_max_tokens: allows 41024 tokens for prompt and response together, but base.",
        ),
        ({"evaluation": {"prompt_max_tokens": 32768}}, "evaluation.prompt_max_tokens: allows 33792 tokens"),
        ({"arms": {"sft": {"max_tokens": 40000}}}, "arms.sft.max_tokens: allows 40000 tokens"),
        (
            {"base": {"name": "other/model"}},
            "base.licence: is the licence of Qwen2.5-3B; enter the licence of other/model",
        ),
        ({"experiment": "a/b"}, "experiment: String should match pattern"),
        (rlvr(seeds=3), "arms.rlvr.seeds: must be a list, such as [3] (value: 3)"),
        (rlvr(temperature=float("inf")), "arms.rlvr.temperature: Input should be a finite number"),
        (rlvr(trainer="sft"), "arms.rlvr.trainer: does not allow reward, a key of another trainer"),
        ({"data": {"development": "medqa/train"}}, "data.development: is also data.train"),
        ({"benchmarks": {"development": {**OTHER}}}, "benchmarks.development: is not a valid benchmark name"),
        ({"benchmarks": {"a/b": {**OTHER}}}, "benchmarks.a/b: is not a valid benchmark name"),
        ({"benchmarks": {"b": {**OTHER, "data": "medqa/test"}}}, "benchmarks.b.data: is also used by benchmark medqa"),
        ({"benchmarks": {"b": {**OTHER, "title": "MedQA"}}}, "benchmarks.b.title: is also used by benchmark medqa"),
        (
            {"benchmarks": {"medqa_shuffled": {**OTHER}}},
            "benchmarks.medqa_shuffled: is already the name of medqa's control shuffled",
        ),
        ({"benchmarks": {"medqa": {"controls": ["x"]}}}, "benchmarks.medqa.controls.0: Input should be 'shuffled', "),
        (
            rlvr(modes=["direct", "x"]),
            "arms.rlvr.modes: there is no mode x; known modes: direct, chain_of_thought, loglikelihood",
        ),
        (rlvr(modes=["direct", "direct"]), "arms.rlvr.modes: contains one value twice"),
        ({"base": {"modes": ["x"]}}, "base.modes: there is no mode x"),
        ({"modes": {"direct": None}}, "base.modes: there is no mode direct"),
        ({"modes": {"a b": {"prompt": "direct", "answer_format": "bare"}}}, "modes.a b: is not a valid mode name"),
        ({"modes": {"x": {"prompt": "direct"}}}, "modes.x.answer_format: is missing. Ours: where the letter is."),
        ({"modes": {"direct": {"sample": 2}}}, "modes.direct.sample: unknown key; did you mean samples?"),
        ({"modes": {"direct": {"samples": 2}}}, "modes.direct.samples: must be 1 with temperature 0"),
        (
            {"modes": {"loglikelihood": {"samples": 2, "temperature": 1}}},
            "modes.loglikelihood.samples: must be 1 with temperature 0 or loglikelihood",
        ),
        ({"external_models": {"x": {"path": "p", "modes": ["y"]}}}, "external_models.x.modes: there is no mode y"),
        ({"external_models": {"sft": {"path": "p"}}}, "external_models.sft: is not a valid model name"),
        ({"external_models": {"rlvr_dev": {"path": "p"}}}, "external_models.rlvr_dev: is not a valid model name"),
        ({"external_models": {"x": {}}}, "external_models.x.path: is missing. Ours: a folder with safetensors"),
        ({"evaluation": {"evidence": "medqa"}}, "evaluation.evidence: Input should be 'miniature'"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, overlay: dict[str, Any], message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("# mine\n" + yaml.safe_dump(overlay))
    with pytest.raises(UserError) as caught:
        load_config(merged(overlay), [PAPER, file])
    assert message in str(caught.value)


def test_a_mistake_is_located(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("title: x\narms:\n  rlvr:\n    episodes: 0\n    clip_rang: 1\n    modes: direct\n")
    values = merged(yaml.safe_load(file.read_text()), {"machine": {"threads": 0}})
    with pytest.raises(UserError) as caught:
        load_config(values, [PAPER, file], {"machine": {"threads": 0}})
    title, *problems = str(caught.value).splitlines()
    assert title == "the configuration cannot be used:"
    assert set(problems) == {
        f"  {file}, line 4: arms.rlvr.episodes: Input should be greater than 0 (value: 0)",
        f"  {file}, line 5: arms.rlvr.clip_rang: unknown key; did you mean clip_range?",
        f"  {file}, line 6: arms.rlvr.modes: must be a list, such as [direct] (value: 'direct')",
        "  command line: machine.threads: Input should be greater than 0 (value: 0)",
    }
    assert len(problems) == 4


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        (rlvr(importance_weights=[2.0, 0.5]), "arms.rlvr.importance_weights: must be the smallest weight and then the"),
        (rlvr(importance_weights=[0.0, 0.0]), "arms.rlvr.importance_weights.1: Input should be greater than 0"),
        (
            rlvr(advantage_estimator="dr_grpo", samples_per_prompt=1),
            "must be 2 or more: dr_grpo compares the responses",
        ),
        (rlvr(clip_high=0.0), "arms.rlvr.clip_high: Input should be greater than 0"),
        (rlvr(labels="right"), "arms.rlvr.labels: Input should be 'gold', 'majority' or 'wrong'"),
        ({"arms": {"sft": {"targets": "own"}}}, "arms.sft.targets: Input should be 'letter' or 'own_responses'"),
    ],
)
def test_a_mistake_in_a_later_key_is_named(overlay: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        experiment(overlay)
    assert message in str(caught.value)


def test_two_arms_with_one_name_are_rejected(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("arms:\n  a: {trainer: sft}\n  a: {trainer: sft, epochs: 1}\n")
    with pytest.raises(UserError, match=r"mine.yaml, line 3: arms.a is already defined in line 2"):
        load_config(merged(yaml.safe_load(file.read_text())), [PAPER, file])


def test_the_training_settings_of_an_arm_leave_out_those_of_others() -> None:
    arm = Experiment().arms["sft"]
    assert set(training_settings(arm)) == {"trainer", "epochs", "batch_size", "max_tokens"}


def experiment(*overlays: dict[str, Any]) -> Experiment:
    return load_config(merged(*overlays))


CHECKPOINT = {"external_models": {"mine": {"path": "p", "modes": ["direct"]}}}


def test_a_checkpoint_is_a_further_model() -> None:
    found = experiment(CHECKPOINT)
    assert found.models() == [*Experiment().models(), "mine"]
    assert found.modes_of("mine") == ("direct",)
    assert comparison_design(found).models["mine"] == ["mine"]


def test_an_arm_like_another_differs_in_what_it_names() -> None:
    arms = experiment(
        rlvr(clip_range=0.1, reward={"paper": 1}), {"arms": {"x": {"extends": "rlvr", "reward": "format_only"}}}
    ).arms
    assert arms["x"] == arms["rlvr"].model_copy(update={"reward": "format_only"})
    assert (arms["x"].trainer, arms["x"].clip_range) == ("rlvr", 0.1)
    assert experiment({"arms": {"x": {"extends": "sft"}}}).arms["x"] == Experiment().arms["sft"]


def test_controls_are_evaluated_with_their_benchmark() -> None:
    found = Experiment()
    assert list(found.eval_sets()) == list(found.titles()) == [
        "medqa",
        "mmlu_pro_health",
        "medqa_shuffled",
        "medqa_none_of_the_above",
        "mmlu_pro_health_shuffled",
        "mmlu_pro_health_five_options",
    ]  # fmt: skip
    assert found.eval_sets()["mmlu_pro_health_five_options"] == ("mmlu_pro_health", "five_options")
    assert found.titles()["mmlu_pro_health_five_options"] == "MMLU-Pro health, five options"


def test_a_mode_has_its_own_template_or_one_that_models_are_trained_with() -> None:
    mine = {"modes": {"mine": {"prompt": "prompts/med_rlvr_3_shot.txt", "answer_format": "tagged"}}}
    found = experiment(mine, {"prompts": {"direct": "prompts/direct_chatml.txt"}})
    assert found.template("mine") == "prompts/med_rlvr_3_shot.txt"
    assert found.template("loglikelihood") == found.template("direct") == "prompts/direct_chatml.txt"


SECOND = {"arms": {"rlvr_format_only": {"trainer": "rlvr", "reward": "format_only", "modes": ["direct"]}}}


@pytest.mark.parametrize(
    ("overlay", "papers"),
    [
        ({"machine": {"device": "cpu"}}, True),
        (rlvr(seeds=[1, 2, 3], clip_range=0.1), True),  # the paper gives neither
        ({"base": {"name": "Qwen/Qwen2.5-3B"}}, True),
        (CHECKPOINT, True),
        (SECOND, True),
        ({"base": {"name": "Qwen/Qwen2.5-7B", "licence": "x"}}, False),
        (rlvr(reward="binary"), False),
        (rlvr(rows=512), False),
        (rlvr(advantage_estimator="grpo"), False),
        ({"arms": {"rlvr_grpo": {"extends": "rlvr", "advantage_estimator": "grpo"}}}, True),  # added to the paper's
        (rlvr(kl_coefficient=0.05), True),  # the paper has a beta without a value
        (rlvr(kl_coefficient=0.0), False),
        (rlvr(modes=["direct"]), False),
        ({"arms": {"sft": {"epochs": 3}}}, False),
        ({"arms": {"sft": None}}, False),
        ({"benchmarks": {"medqa": {"rows": 100}}}, False),
        ({"benchmarks": {"medqa": {"data": "medqa_4_options/test"}}}, False),
        ({"data": {"train_rows": 100}}, False),
        ({"benchmarks": {"medqa": {"distribution": "out"}}}, False),
        ({"modes": {"chain_of_thought": {"samples": 16, "temperature": 0.7}}}, False),
        ({"modes": {"chain_of_thought": {"answer_format": "bare"}}}, False),
        ({"modes": {"direct": {"prompt": "prompts/direct_3_shot.txt"}}}, False),
        ({"modes": {"chain_of_thought": {"max_tokens": 2048}}}, True),
    ],
    ids=str,
)
def test_what_the_paper_states_makes_the_papers_experiment(overlay: dict[str, Any], papers: bool) -> None:
    found = experiment(overlay)
    assert matches_paper(found) is comparison_design(found).papers is papers


def read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "file", [file for file in ABLATIONS if "experiment" not in read(file)], ids=lambda file: file.stem
)
def test_an_ablation_of_the_papers_experiment_is_judged_by_the_papers_arm(file: Path) -> None:
    for found in (experiment(read(file)), experiment(read(Path("config/miniature.yaml")), read(file))):
        assert (found.primary_arm("rlvr"), found.primary_arm("sft")) == ("rlvr", "sft")
        settings = [training_settings(arm) for arm in found.arms.values()]
        assert all(first not in settings[:place] for place, first in enumerate(settings)), "two arms are the same"
    assert matches_paper(experiment(read(file)))


def test_ablations_can_be_combined_and_seeds_apply_to_all() -> None:
    files = [file for file in ABLATIONS if "experiment" not in read(file)]
    alone = {file.stem: set(experiment(read(file)).arms) - set(Experiment().arms) for file in files}
    together = experiment(*map(read, files))
    assert sum(map(len, alone.values())) == len(together.arms) - 2 >= 16
    assert {arm.seeds for arm in together.arms.values()} == {(1, 2, 3)}
    assert {arm.advantage_estimator for arm in together.arms.values() if arm.trainer == "rlvr"} == set(ESTIMATORS)
    assert matches_paper(together)
    for file in BASES:
        small = experiment(read(file), *map(read, files))
        assert small.base.name in file.read_text(encoding="utf-8") and not matches_paper(small)
        assert (small.experiment, small.base.licence) != ("med_rlvr", Experiment().base.licence)
        assert small.arms == together.arms


def test_arms_of_other_samples_have_the_same_prompts_and_steps_in_an_update() -> None:
    for overlays in ([], [read(Path("config/miniature.yaml"))]):
        found = experiment(*overlays, read(Path("config/ablations/samples.yaml")))
        arms = [arm for name, arm in found.arms.items() if name.startswith("rlvr")]
        assert len({arm.samples_per_prompt for arm in arms}) == 4
        assert len({arm.prompts_per_update for arm in arms}) == 1
        assert len({arm.prompts_per_update * arm.samples_per_prompt // arm.train_batch_size for arm in arms}) == 1


def test_the_first_arm_of_each_trainer_is_compared() -> None:
    found = comparison_design(experiment(SECOND, CHECKPOINT))
    assert (found.rlvr, found.sft) == ("rlvr", "sft")
    assert found.runs == {
        "base": None, "sft": "sft", "rlvr": "rlvr", "rlvr_dev": "rlvr",
        "rlvr_format_only": "rlvr_format_only", "rlvr_format_only_dev": "rlvr_format_only", "mine": None,
    }  # fmt: skip
    assert comparison_design(experiment({"arms": {"sft": None}})).sft is None


def test_new_entries_come_last_whatever_the_order_in_which_files_were_merged() -> None:
    """Snakemake puts an overlay's new entries first."""
    values = merged(SECOND, CHECKPOINT)
    turned = {
        **values,
        "arms": dict(reversed(values["arms"].items())),
        "modes": dict(reversed(values["modes"].items())),
    }
    found = load_config(turned)
    assert list(found.arms) == ["sft", "rlvr", "rlvr_format_only"] and comparison_design(found).rlvr == "rlvr"
    assert list(found.modes) == list(Experiment().modes)
    assert comparison_design(experiment({"base": {"modes": ["direct"]}})).loglikelihood is None


@pytest.mark.parametrize("name", ["miniature", "smollm2"])
def test_the_settings_of_a_run_are_an_overlay_that_repeats_it(name: str) -> None:
    """As render_report writes them: merged over the paper's experiment again, none of its entries come back."""
    found = experiment(yaml.safe_load(Path(f"config/{name}.yaml").read_text(encoding="utf-8")), CHECKPOINT)
    again = experiment(yaml.safe_load(yaml.safe_dump(found.overlay(), sort_keys=False)))
    assert again == found
    assert again.models() == found.models() and list(again.eval_sets()) == list(found.eval_sets())
    assert list(again.modes) == list(found.modes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"arms": {"rlvr": {"estimator": "grpo"}}}, "arms.rlvr.estimator: was renamed to advantage_estimator in 0.2.0"),
        ({"arms": {"rlvr": {"clip": 0.1}}}, "arms.rlvr.clip: was renamed to clip_range in 0.2.0"),
        ({"arms": {"rlvr": {"value_clip": 0.1}}}, "arms.rlvr.value_clip: was renamed to value_clip_range in 0.2.0"),
        ({"arms": {"mine": {"like": "rlvr"}}}, "arms.mine.like: was renamed to extends in 0.2.0"),
        ({"modes": {"direct": {"answer": "bare"}}}, "modes.direct.answer: was renamed to answer_format in 0.2.0"),
        (
            {"modes": {"direct": {"answer_format": "constrained"}}},
            "modes.direct.answer_format: constrained was renamed to loglikelihood in 0.2.0",
        ),
        ({"base": {"modes": ["constrained"]}}, "(constrained was renamed to loglikelihood in 0.2.0)"),
        ({"checkpoints": {"mine": {"path": "p"}}}, "checkpoints: was renamed to external_models in 0.2.0"),
        ({"contamination": {"characters": 9}}, "contamination.characters: was renamed to char_overlap in 0.2.0"),
        ({"contamination": {"words": 9}}, "contamination.words: was renamed to word_overlap in 0.2.0"),
        (
            {"contamination": {"remove": ["words"]}},
            "contamination.remove.0: words was renamed to word_overlap in 0.2.0",
        ),
    ],
)
def test_a_former_name_is_rejected_with_the_present_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        experiment(values)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"arms": {"rlvr": {"actor_learning_rate": True}}}, "arms.rlvr.actor_learning_rate"),
        ({"data": {"train_rows": True}}, "data.train_rows"),
        ({"arms": {"rlvr": {"seeds": [True]}}}, "arms.rlvr.seeds"),
        ({"machine": {"gpu_gib": False}}, "machine.gpu_gib"),
        ({"modes": {"direct": {"temperature": True}}}, "modes.direct.temperature"),
    ],
)
def test_a_boolean_is_not_a_number(values: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError) as error:
        experiment(values)
    assert f"{key}: must be a number; YAML reads yes, no, on and off as true and false" in str(error.value)


def test_a_boolean_is_not_a_weight_of_a_reward() -> None:
    with pytest.raises(UserError, match=r"arms\.rlvr\.reward: must be a number"):
        experiment({"arms": {"rlvr": {"reward": {"paper": True}}}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"experiment: x\n\ttitle: y\n", "line 2: this is not YAML"),
        ("title: \u00fcber\n".encode("latin-1"), "line 1: this is not UTF-8: byte 0xfc"),
        ("experiment: x\n".encode("utf-16"), "this file is UTF-16. Save it as UTF-8."),
        (
            b"title: 2024-02-30\n",
            ": a value is not valid YAML: day is out of range for month. Correct",
        ),
        (b"title: 0x_\n", ": a value is not valid YAML: "),
        (b"title: &a [*a]\n", ": a value is not valid YAML: "),
        (b"arms: &a {b: *a}\n", ": a value is not valid YAML: "),
        (b"title: " + b"[" * 20_000, ": the values are nested too deeply."),
    ],
)
def test_an_overlay_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_overlays([file])
    assert str(error.value).startswith(str(file)) and message in str(error.value)


def test_an_overlay_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"\xef\xbb\xbfexperiment: mine\r\n")
    assert read_overlays([file]).experiment == "mine"


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"modes": {"direct": {"answer_format": ["tagged"]}}}, "modes.direct.answer_format"),
        ({"modes": {"direct": {"answer_format": {"a": 1}}}}, "modes.direct.answer_format"),
        ({"arms": {"mine": {"extends": ["rlvr"]}}}, "arms.mine.extends: must name an existing arm"),
        ({"contamination": {"remove": [["words"]]}}, "contamination.remove"),
    ],
)
def test_a_list_where_a_name_is_expected_is_reported(values: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError) as error:
        experiment(values)
    assert key in str(error.value)
