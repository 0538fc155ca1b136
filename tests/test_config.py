import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from medrlvr import config_files
from medrlvr.config import (
    BaseModelSource,
    Benchmark,
    Data,
    Evaluation,
    Experiment,
    Machine,
    Miniature,
    Prompts,
    RlvrArm,
    SftArm,
    load,
    training_settings,
)
from medrlvr.errors import UserError
from medrlvr.training.preparation import fill_steps
from medrlvr.training.rollouts import update_sizes

PAPER = Path("config/config.yaml")
OTHER = {"data": "medqa_4_options/test", "distribution": "in", "title": "Other"}
OVERLAYS = sorted([*Path("config").glob("*.yaml"), *Path("config/ablations").glob("*.yaml")])
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
        (config_files.YAML, config_files.render_yaml()),
        (config_files.SCHEMA, json.dumps(config_files.schema(), indent=2) + "\n"),
    ],
    ids=str,
)
def test_generated_files_are_those_of_the_settings(file: Path, text: str) -> None:
    assert file.read_text(encoding="utf-8") == text, f"{file} is not what src/medrlvr/config.py says. Run: make config"


def test_the_papers_experiment_is_the_default() -> None:
    experiment = load(merged(), [PAPER])
    assert experiment == Experiment()
    assert experiment.models() == ["base", "sft/seed1", "rlvr/seed1", "rlvr_dev/seed1"]
    assert experiment.modes("base") == ("direct", "chain_of_thought")
    assert experiment.modes("rlvr_dev/seed1") == ("chain_of_thought",)
    sft, rlvr = experiment.arms["sft"], experiment.arms["rlvr"]
    assert (sft.epochs, sft.learning_rates, rlvr.episodes, rlvr.reward) == (10, (1e-5, 5e-6, 1e-6), 10, "paper")
    assert experiment.data.none_of_the_above == ("medqa",)


def test_every_setting_says_what_it_is_and_whose_choice() -> None:
    for kind in (BaseModelSource, Data, Benchmark, Prompts, SftArm, RlvrArm, Evaluation):
        for name, field in kind.model_fields.items():
            assert re.match(r"(Paper|Ours)[.:,;]", field.description or ""), f"{kind.__name__}.{name}"
    for kind in (Machine, Miniature):
        assert all(field.description for field in kind.model_fields.values())


def test_there_are_110_updates_for_any_number_of_training_questions_that_validation_may_leave() -> None:
    arm = Experiment().arms["rlvr"]
    for rows in range(9281, 10209):
        filled = fill_steps(range(rows), arm.train_batch_size // arm.samples_per_prompt)
        assert len(update_sizes(len(filled), arm.prompts_per_update, arm.episodes)) == 110, rows


@pytest.mark.parametrize("file", OVERLAYS, ids=str)
def test_an_overlay_holds_only_what_differs_each_with_its_reason(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    overlay = yaml.safe_load(text)
    jsonschema.validate(overlay, config_files.schema())
    for line in text.splitlines():
        key = re.match(r"( *)(\w+):(.*)", line)
        if key and key[3].split("#")[0].strip() and key[2] not in ("experiment", "title", "distribution"):
            assert " # " in line, f"{file}: {line.strip()}: say why, behind a #"
    base = [yaml.safe_load(Path("config/miniature.yaml").read_text())] if file.parent.name == "ablations" else []
    without = merged(*base)
    for path, value in leaves(overlay):
        assert at(without, path) != value, f"{file}: {'.'.join(path)} has this value without it"
    load(merged(*base, overlay), [PAPER, file])


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
        (rlvr(xyzzy=1), "arms.rlvr.xyzzy: unknown key; known: actor_learning_rate, "),
        ({"benchmarks": {"medqa": {"row": 3}}}, "benchmarks.medqa.row: unknown key; did you mean rows?"),
        (rlvr(episodes=0), "arms.rlvr.episodes: Input should be greater than 0 (value: 0)"),
        (rlvr(reward=["paper"]), "arms.rlvr.reward: names a reward, or several with their weights, such as paper or"),
        (rlvr(reward={"paper": "one"}), "arms.rlvr.reward: names a reward, or several with their weights"),
        (rlvr(episodes="ten"), "arms.rlvr.episodes: Input should be a valid integer"),
        ({"arms": {"x": {"trainer": "rlvr"}}}, "arms.x.reward: is missing. Paper: `paper` is -1 without"),
        ({"arms": {"x": {"epochs": 1}}}, "arms.x: needs trainer: sft or trainer: rlvr"),
        ({"arms": {"x": {"trainer": "dpo"}}}, "arms.x: Input tag 'dpo' found using 'trainer' does not match"),
        (rlvr(train_batch_size=100), "arms.rlvr.train_batch_size: does not divide prompts_per_update x samples_per_"),
        ({"arms": {"base": {"trainer": "sft"}}}, "arms.base: cannot be an arm's name"),
        ({"arms": {"a/b": {"trainer": "sft"}}}, "arms.a/b: cannot be an arm's name"),
        ({"arms": {"rlvr_dev": {"trainer": "sft"}}}, "arms.rlvr_dev: is the name of rlvr's checkpoint chosen"),
        (rlvr(seeds=[1, 1]), "arms.rlvr.seeds: one stands there twice"),
        ({"arms": {"sft": {"learning_rates": [1e-5, 1e-5]}}}, "arms.sft.learning_rates: one stands there twice"),
        ({"arms": {"rlvr": None}}, "arms: there is none with trainer: rlvr"),
        (
            {"machine": {"train_micro_batch": 24}},
            "arms.rlvr.train_batch_size: cannot be divided among 4 GPUs in micro-batches of machine.train_micro_batch",
        ),
        ({"machine": {"gpus_per_node": 3, "vllm_engines": 3}}, "arms.sft.batch_size: cannot be divided among 3 GPUs"),
        ({"machine": {"vllm_engines": 3}}, "machine.vllm_engines: cannot share gpus_per_node = 4 evenly (value: 3)"),
        ({"benchmarks": {"medqa": None, "mmlu_pro_health": None}}, "benchmarks: there is none"),
        ({"benchmarks": {"medqa": {"data": "medqa/train"}}}, "benchmarks.medqa.data: is a set that models are trained"),
        (
            rlvr(prompt_max_tokens=40000),
            "arms.rlvr.prompt_max_tokens: prompt and response have 41024 tokens, base.",
        ),
        ({"evaluation": {"prompt_max_tokens": 32768}}, "evaluation.prompt_max_tokens: prompt and response have 33792"),
        ({"arms": {"sft": {"max_tokens": 40000}}}, "arms.sft.max_tokens: prompt and response have 40000"),
        ({"base": {"name": "other/model"}}, "base.licence: is Qwen2.5-3B's; name the licence of other/model"),
        ({"experiment": "a/b"}, "experiment: String should match pattern"),
        (rlvr(seeds=3), "arms.rlvr.seeds: should be a list, such as [3] (value: 3)"),
        (rlvr(temperature=float("inf")), "arms.rlvr.temperature: Input should be a finite number"),
        (rlvr(trainer="sft"), "arms.rlvr.trainer: reward and other keys of the arm are another trainer's"),
        ({"data": {"development": "medqa/train"}}, "data.development: is what models are trained on"),
        ({"benchmarks": {"development": {**OTHER}}}, "benchmarks.development: cannot be a benchmark's name"),
        ({"benchmarks": {"a/b": {**OTHER}}}, "benchmarks.a/b: cannot be a benchmark's name"),
        ({"benchmarks": {"b": {**OTHER, "data": "medqa/test"}}}, "benchmarks.b.data: is that of benchmark medqa too"),
        ({"benchmarks": {"b": {**OTHER, "title": "MedQA"}}}, "benchmarks.b.title: is that of benchmark medqa too"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, overlay: dict[str, Any], message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("# mine\n" + yaml.safe_dump(overlay))
    with pytest.raises(UserError) as caught:
        load(merged(overlay), [PAPER, file])
    assert message in str(caught.value)


def test_a_mistake_is_placed(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("title: x\narms:\n  rlvr:\n    episodes: 0\n    clipp: 1\n    modes: [x]\n")
    values = merged(yaml.safe_load(file.read_text()), {"machine": {"threads": 0}})
    with pytest.raises(UserError) as caught:
        load(values, [PAPER, file], {"machine": {"threads": 0}})
    title, *problems = str(caught.value).splitlines()
    assert title == "the configuration cannot be used:"
    assert set(problems) == {
        f"  {file}, line 4: arms.rlvr.episodes: Input should be greater than 0 (value: 0)",
        f"  {file}, line 5: arms.rlvr.clipp: unknown key; did you mean clip?",
        f"  {file}, line 6: arms.rlvr.modes.0: Input should be 'direct' or 'chain_of_thought' (value: 'x')",
        "  command line: machine.threads: Input should be greater than 0 (value: 0)",
    }
    assert len(problems) == 4


def test_two_arms_with_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("arms:\n  a: {trainer: sft}\n  a: {trainer: sft, epochs: 1}\n")
    with pytest.raises(UserError, match=r"mine.yaml, line 3: arms.a stands here a second time, after line 2"):
        load(merged(yaml.safe_load(file.read_text())), [PAPER, file])


def test_what_an_arm_is_trained_with_leaves_out_what_only_others_read() -> None:
    arm = Experiment().arms["sft"]
    assert set(training_settings(arm)) == {"trainer", "epochs", "batch_size", "max_tokens"}
