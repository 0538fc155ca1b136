"""The graph of rules as dry runs plan it, with nothing made yet, and mistakes in the configuration."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from pipeline import MINIATURE, jobs, snakemake

RULES = {
    "all": 1,
    "normalise_questions": 6,
    "find_duplicates": 1,
    "find_overlaps": 1,
    "split_questions": 1,
    "make_control": 1,
    "write_data_card": 1,
    "render_training_prompts": 1,
    "render_eval_prompts": 1,
    "fetch_model": 1,
    "train_sft": 1,
    "select_sft": 1,
    "train_rlvr": 1,
    "generate_development": 1,
    "select_rlvr": 1,
    "generate_answers": 2,
    "generate_selected": 1,
    "score_answers": 4,
    "compare_models": 1,
    "generate_checkpoint_answers": 1,
    "delete_weights": 1,
    "score_checkpoints": 1,
    "label_stages": 1,
    "tabulate_dynamics": 1,
    "draw_figures": 1,
    "render_report": 1,
}
"""Rule -> number of jobs, with one seed, one learning rate and one control."""


def test_the_miniature_is_planned_completely(clone: Path) -> None:
    assert jobs(snakemake("--dry-run", *MINIATURE, cwd=clone)) == RULES | {"make_miniature": 1}


def test_the_papers_experiment_is_planned_without_data(clone: Path) -> None:
    planned = jobs(snakemake("--dry-run", "--profile", "slurm", cwd=clone))
    more = {"fetch_dataset": 4, "normalise_questions": 4, "make_control": 4, "train_sft": 3, "generate_development": 2}
    assert planned == RULES | more


def test_the_papers_recipe_on_calculations_is_planned_without_data(clone: Path) -> None:
    planned = jobs(snakemake("--dry-run", "--profile", "slurm", "--configfile", "config/medcalc.yaml", cwd=clone))
    other = {"fetch_dataset": 3, "normalise_questions": 3, "train_sft": 3, "generate_development": 2}
    assert planned == {rule: count for rule, count in RULES.items() if rule != "make_control"} | other


def test_all_ablations_together_have_a_folder_and_jobs_for_each_arm_and_seed(clone: Path) -> None:
    names = ("seeds", "rewards", "format_only", "kl", "samples", "estimators", "sensitivities")
    overlays = [f"config/ablations/{name}.yaml" for name in names]
    arms = [
        arm
        for overlay in overlays
        for arm in yaml.safe_load((clone / overlay).read_text(encoding="utf-8"))["arms"]
        if arm not in ("sft", "rlvr")
    ]
    assert len(arms) == len(set(arms)) == 17
    runs = [f"{arm}/seed{seed}" for arm in ("rlvr", *arms) for seed in (1, 2, 3)]
    result = snakemake("--dry-run", *MINIATURE, *overlays, cwd=clone)
    planned = jobs(result)
    for rule in ("train_rlvr", "select_rlvr", "generate_checkpoint_answers", "label_stages", "tabulate_dynamics"):
        assert planned[rule] == len(runs), rule
    assert (planned["train_sft"], planned["compare_models"], planned["render_report"]) == (3, 1, 1)
    for run in runs:
        # An output of its own, and not only a part of another's name.
        assert re.search(rf"results/miniature/checkpoints/{run}(?=[, \n])", result.stdout), run


def test_without_an_arm_of_sft_its_rules_make_nothing(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("arms: {sft: null}")
    planned = jobs(snakemake("--dry-run", *MINIATURE, str(tmp_path / "mine.yaml"), cwd=clone))
    assert planned["train_rlvr"] == planned["select_rlvr"] == 1
    assert not {"train_sft", "select_sft"} & set(planned)


def test_a_cluster_gets_no_number_of_cores(clone: Path) -> None:
    """Only a real run leaves it open, a dry one does not; the summary is a real one that starts nothing."""
    result = snakemake("--profile", "slurm", "--summary", cwd=clone, cores=False)
    assert result.returncode == 0, result.stderr
    assert "report.html" in result.stdout


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")
def test_without_a_gpu_the_papers_experiment_stops_and_names_the_demo(clone: Path) -> None:
    result = snakemake(cwd=clone)
    assert result.returncode != 0
    assert "trains on 4 GPU(s) of one machine, but this machine has none" in result.stderr
    assert "make demo" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (clone / "results/med_rlvr/data").exists()


def test_what_does_not_fit_on_the_gpus_is_rejected_in_a_dry_run_and_a_preset_is_planned(clone: Path) -> None:
    refused = snakemake("--dry-run", "--profile", "slurm", "--config", "machine={vllm_sleep: false}", cwd=clone)
    assert refused.returncode == 1 and "Traceback" not in refused.stdout + refused.stderr
    assert "arms.rlvr: training needs more memory than a GPU has" in refused.stdout + refused.stderr
    assert "machine: {vllm_sleep: true}" in refused.stdout + refused.stderr
    preset = ("--configfile", "config/presets/a100_80gb_x8.yaml")
    assert jobs(snakemake("--dry-run", "--profile", "slurm", *preset, cwd=clone))["train_rlvr"] == 1


def test_the_base_can_be_rebuilt(clone: Path) -> None:
    planned = jobs(snakemake("--dry-run", *MINIATURE, "--config", "base={source: rebuilt}", cwd=clone))
    assert planned["pretrain_base"] == 1
    assert "fetch_model" not in planned


def test_calculations_are_planned_without_the_other_world(clone: Path) -> None:
    overlays = (*MINIATURE, "config/calculations.yaml")
    planned = jobs(snakemake("--dry-run", *overlays, cwd=clone))
    assert (planned["make_calculations"], planned["fetch_model"], planned["train_rlvr"]) == (1, 1, 1)
    assert not {"make_miniature", "make_control", "plant_loophole"} & set(planned)
    rebuilt = jobs(snakemake("--dry-run", *overlays, "--config", "base={source: rebuilt}", cwd=clone))
    assert rebuilt["pretrain_calculations"] == 1
    assert not {"fetch_model", "pretrain_base"} & set(rebuilt)
    claims = jobs(snakemake("--dry-run", *overlays, "--", "results/calculations/compare/claims.json", cwd=clone))
    assert claims["tabulate_dynamics"] == 1, "the claim about early answers needs the dynamics"
    letters = jobs(snakemake("--dry-run", *MINIATURE, "--", "results/miniature/compare/claims.json", cwd=clone))
    assert "tabulate_dynamics" not in letters


def test_one_file_can_be_requested(clone: Path) -> None:
    planned = jobs(snakemake("--dry-run", *MINIATURE, "--", "results/miniature/prompts/sft.jsonl", cwd=clone))
    assert "render_training_prompts" in planned
    assert "train_sft" not in planned


def test_the_selection_precedes_the_answers_of_checkpoints(clone: Path) -> None:
    results = "results/miniature"
    choice = jobs(
        snakemake("--dry-run", *MINIATURE, "--", f"{results}/development/rlvr/seed1/selection.json", cwd=clone)
    )
    assert choice["generate_development"] == 1
    assert not {"generate_checkpoint_answers", "generate_selected", "generate_answers"} & set(choice)
    # The choice is an input, not only earlier by chance.
    curve = jobs(
        snakemake("--dry-run", *MINIATURE, "--", f"{results}/checkpoint_eval/rlvr/seed1/answers.parquet", cwd=clone)
    )
    assert (curve["select_rlvr"], curve["generate_checkpoint_answers"]) == (1, 1)
    for model in ("rlvr", "rlvr_dev"):
        wanted = f"{results}/eval/{model}/seed1/answers.parquet"
        final = jobs(snakemake("--dry-run", *MINIATURE, "--", wanted, cwd=clone))
        assert (final["select_rlvr"], final["generate_selected"]) == (1, 1) and "generate_answers" not in final


def test_sensitivity_is_measured_before_weights_are_deleted_and_only_by_its_overlay(clone: Path) -> None:
    overlay = [*MINIATURE, "config/controls/sensitivity.yaml"]
    added = {"probe_checkpoints": 1, "measure_sensitivity": 1, "draw_sensitivity": 1}
    assert jobs(snakemake("--dry-run", *overlay, cwd=clone)) == RULES | {"make_miniature": 1} | added
    results = "results/miniature"
    deleted = f"{results}/checkpoint_eval/rlvr/seed1/deleted_weights.json"
    for file in (deleted, f"{results}/compare/claims.json"):
        assert "probe_checkpoints" in jobs(snakemake("--dry-run", *overlay, "--", file, cwd=clone)), file


@pytest.mark.parametrize(
    ("before", "more"),
    [
        ((*MINIATURE,), {"make_miniature": 1}),
        (("--profile", "slurm", "--configfile"), {"fetch_dataset": 4, "normalise_questions": 4, "make_control": 4}),
    ],
    ids=["miniature", "paper"],
)
def test_the_waterfall_trains_its_arms_on_their_own_rows_and_only_by_its_overlay(
    clone: Path, before: tuple[str, ...], more: dict[str, int]
) -> None:
    planned = jobs(snakemake("--dry-run", *before, "config/controls/waterfall.yaml", cwd=clone))
    added = {"sample_training": 2, "write_training_rows": 3, "measure_waterfall": 1, "draw_waterfall": 1}
    assert {rule: planned[rule] for rule in added} == added
    assert (planned["train_rlvr"], planned["measure_waterfall"]) == (5, 1)
    assert planned["train_sft"] == (2 if "make_miniature" in more else 6), "rft has a learning rate as SFT has"
    assert {rule: planned[rule] for rule in more} == more
    assert not set(added) & set(RULES)


def test_weights_are_deleted_after_all_answers_unless_they_are_kept(clone: Path) -> None:
    planned = jobs(snakemake("--dry-run", *MINIATURE, cwd=clone))
    assert planned["delete_weights"] == 1
    kept = snakemake("--dry-run", *MINIATURE, "--config", "evaluation={keep_checkpoints: true}", cwd=clone)
    assert "delete_weights" not in jobs(kept)
    # The report shows every step's record, so it is written after them.
    assert (
        jobs(snakemake("--dry-run", *MINIATURE, "--", "results/miniature/report.html", cwd=clone)) | {"all": 1}
        == planned
    )
    record = "results/miniature/checkpoint_eval/rlvr/seed1/deleted_weights.json"
    first = jobs(snakemake("--dry-run", *MINIATURE, "--", record, cwd=clone))
    assert (first["train_rlvr"], first["select_rlvr"], first["generate_checkpoint_answers"]) == (1, 1, 1)


OVERLAYS = sorted(path for path in Path("config").rglob("*.yaml") if path.name not in ("config.yaml", "miniature.yaml"))


FITTING = "machine={train_micro_batch: 2, vllm_memory_utilization: 0.4}"
"""What the refusal of 7B on eight GPUs of 80 GB suggests."""


@pytest.mark.parametrize("overlay", OVERLAYS, ids=str)
def test_every_overlay_is_planned_for_the_cluster(clone: Path, overlay: Path) -> None:
    """On top of what its first lines name, where that is not config.yaml."""
    files, settings = [str(overlay)], []
    if overlay.name == "calculations_five.yaml":
        files.insert(0, "config/calculations.yaml")
    if overlay.name.startswith(("miniature_", "reference", "calculations")) or overlay.parent.name == "hack_bench":
        files.insert(0, "config/miniature.yaml")
    if overlay.name == "qwen2.5_7b.yaml":
        files.insert(0, "config/presets/a100_80gb_x8.yaml")
        settings = ["--config", FITTING]
    planned = jobs(snakemake("--dry-run", "--profile", "slurm", "--configfile", *files, *settings, cwd=clone))
    assert planned["train_rlvr"] >= 1 and planned["render_report"] == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("machin={device: cpu}", "machin: unknown key; did you mean machine?"),
        ("data={train: miniature/trian}", "data.train: there is no data set 'miniature/trian'"),
        ("arms={rlvr: {reward: papper}}", "arms.rlvr.reward: there is no reward called 'papper'"),
        ("arms={rlvr: {reward: {leak_penalty: 1}}}", "arms.rlvr.reward: leak_penalty alone cannot reward an answer"),
        ("arms={rlvr: {episodes: 0}}", "command line: arms.rlvr.episodes: Input should be greater than 0 (value: '0')"),
        ("prompts={direct: prompts/x.txt}", "prompt template prompts/x.txt does not exist"),
        ("data={none_of_the_above: [medqua]}", "data.none_of_the_above: there is no data set 'medqua'"),
        ("arms={new: {trainer: rlvr}}", "command line: arms.new.reward: is missing"),
        ("external_models={new: {path: nowhere}}", "external_models.new.path: there is no folder nowhere"),
        ("external_models={new: {path: src}}", "external_models.new.path: src cannot be used"),
    ],
)
def test_a_mistake_in_the_configuration_ends_the_run_at_once(clone: Path, config: str, message: str) -> None:
    result = snakemake("--dry-run", *MINIATURE, "--config", config, cwd=clone)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_a_mistake_in_an_overlay_is_located(clone: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("title: Mine\narms:\n  rlvr:\n    episodes: 0\n")
    result = snakemake("--dry-run", *MINIATURE, str(overlay), cwd=clone)
    assert f"  {overlay}, line 4: arms.rlvr.episodes: Input should be greater than 0 (value: 0)" in result.stdout


def test_a_missing_mirror_file_is_named(clone: Path, tmp_path: Path) -> None:
    wanted = "results/med_rlvr/data/raw/medqa/test.jsonl"
    result = snakemake("--config", f"data={{mirror: {tmp_path}}}", "--", wanted, cwd=clone)
    assert result.returncode != 0
    assert f"{tmp_path}/medqa/test.jsonl" in result.stderr + result.stdout
    assert "MEDRLVR_MIRROR" in result.stderr + result.stdout
    assert not (clone / wanted).exists()


def test_a_start_in_another_folder_names_the_right_one(clone: Path, tmp_path: Path) -> None:
    refused = snakemake("--dry-run", "--snakefile", str(clone / "Snakefile"), cwd=tmp_path)
    assert refused.returncode != 0
    assert f"Start Snakemake in the repository's root:  cd {clone}" in refused.stdout + refused.stderr


@pytest.mark.parametrize("name", ["my proj", "a&b", "{x}"])
def test_a_path_that_a_shell_would_split_is_rejected_before_the_first_job(
    clone: Path, tmp_path: Path, name: str
) -> None:
    here = tmp_path / name
    shutil.copytree(clone, here, ignore=shutil.ignore_patterns("results", ".snakemake"))
    refused = snakemake("--dry-run", *MINIATURE, cwd=here)
    assert refused.returncode != 0
    assert "Snakemake does not quote paths in shell commands" in refused.stdout + refused.stderr


@pytest.mark.parametrize("dataset", ["miniature_exam", "miniature2", "minia"])
def test_a_data_set_may_have_the_name_of_the_miniature(clone: Path, tmp_path: Path, dataset: str) -> None:
    here = tmp_path / "here"
    shutil.copytree(clone, here, ignore=shutil.ignore_patterns("results", ".snakemake"))
    registry = here / "config/datasets.tsv"
    lines = registry.read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if line.startswith("medqa\ttest\t"))
    registry.write_text("\n".join([*lines, row.replace("medqa\t", f"{dataset}\t", 1)]) + "\n", encoding="utf-8")
    (here / "mine.yaml").write_text(f"benchmarks: {{miniature: {{data: {dataset}/test}}}}", encoding="utf-8")
    planned = jobs(snakemake("--dry-run", *MINIATURE, "mine.yaml", cwd=here))
    assert planned["fetch_dataset"] == 1
