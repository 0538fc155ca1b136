"""The graph of rules, dry, and once for real: every stage, on the real stack, in a copy of the repository."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import yaml
from pipeline import first_causes, jobs, snakemake

from medrlvr.files import read_parquet
from medrlvr.grading import grade
from medrlvr.training.metrics import read_events

MINIATURE = ["--configfile", "config/miniature.yaml"]
SHORT = [*MINIATURE, "tests/short.yaml"]


def test_the_miniature_is_planned_whole(clone: Path) -> None:
    assert jobs(snakemake("--dry-run", *MINIATURE, cwd=clone)) == {
        "all": 1,
        "make_miniature": 1,
        "normalise_questions": 4,
        "find_duplicates": 1,
        "find_runs": 1,
        "split_questions": 1,
        "vary_benchmark": 1,
        "write_data_card": 1,
        "render_prompts": 1,
        "render_tests": 1,
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
        "generate_curve": 1,
        "drop_checkpoints": 1,
        "score_curve": 1,
        "label_stages": 1,
        "tabulate_dynamics": 1,
        "draw_figures": 1,
        "render_report": 1,
    }


def test_the_papers_experiment_is_planned_without_data(clone: Path) -> None:
    planned = jobs(snakemake("--dry-run", "--profile", "slurm", cwd=clone))
    assert planned == {
        "all": 1,
        "fetch_dataset": 4,
        "normalise_questions": 4,
        "find_duplicates": 1,
        "find_runs": 1,
        "split_questions": 1,
        "vary_benchmark": 4,
        "write_data_card": 1,
        "render_prompts": 1,
        "render_tests": 1,
        "fetch_model": 1,
        "train_sft": 3,
        "select_sft": 1,
        "train_rlvr": 1,
        "select_rlvr": 1,
        "generate_development": 2,
        "generate_answers": 2,
        "generate_selected": 1,
        "score_answers": 4,
        "compare_models": 1,
        "generate_curve": 1,
        "drop_checkpoints": 1,
        "score_curve": 1,
        "label_stages": 1,
        "tabulate_dynamics": 1,
        "draw_figures": 1,
        "render_report": 1,
    }


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
    for rule in ("train_rlvr", "select_rlvr", "generate_curve", "label_stages", "tabulate_dynamics"):
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


def test_a_cluster_is_told_no_number_of_cores(clone: Path) -> None:
    """Only a real run leaves it open, a dry one does not; the summary is a real one that starts nothing."""
    result = snakemake("--profile", "slurm", "--summary", cwd=clone, cores=False)
    assert result.returncode == 0, result.stderr
    assert "report.html" in result.stdout


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")
def test_without_a_gpu_the_papers_experiment_stops_and_names_the_demo(clone: Path) -> None:
    result = snakemake(cwd=clone)
    assert result.returncode != 0
    assert "trains on 4 GPU(s) of one machine; this one has none" in result.stderr
    assert "make demo" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (clone / "results/med_rlvr/data").exists()


def test_what_does_not_fit_on_the_gpus_is_refused_in_a_dry_run_and_a_preset_is_planned(clone: Path) -> None:
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


def test_one_file_can_be_asked_for(clone: Path) -> None:
    planned = jobs(snakemake("--dry-run", *MINIATURE, "--", "results/miniature/prompts/sft.jsonl", cwd=clone))
    assert "render_prompts" in planned
    assert "train_sft" not in planned


def test_the_tests_are_answered_by_checkpoints_when_the_choice_is_made(clone: Path) -> None:
    results = "results/miniature"
    choice = jobs(
        snakemake("--dry-run", *MINIATURE, "--", f"{results}/development/rlvr/seed1/selection.json", cwd=clone)
    )
    assert choice["generate_development"] == 1
    assert not {"generate_curve", "generate_selected", "generate_answers"} & set(choice)
    # The choice is an input, not only earlier by chance.
    curve = jobs(snakemake("--dry-run", *MINIATURE, "--", f"{results}/curve/rlvr/seed1/answers.parquet", cwd=clone))
    assert (curve["select_rlvr"], curve["generate_curve"]) == (1, 1)
    for model in ("rlvr", "rlvr_dev"):
        final = jobs(
            snakemake("--dry-run", *MINIATURE, "--", f"{results}/eval/{model}/seed1/answers.parquet", cwd=clone)
        )
        assert (final["select_rlvr"], final["generate_selected"]) == (1, 1) and "generate_answers" not in final


def test_weights_are_dropped_when_all_have_answered_unless_they_are_kept(clone: Path) -> None:
    planned = jobs(snakemake("--dry-run", *MINIATURE, cwd=clone))
    assert planned["drop_checkpoints"] == 1
    kept = snakemake("--dry-run", *MINIATURE, "--config", "evaluation={keep_checkpoints: true}", cwd=clone)
    assert "drop_checkpoints" not in jobs(kept)
    # The page has a place for every step's record, so it is not made before them.
    assert (
        jobs(snakemake("--dry-run", *MINIATURE, "--", "results/miniature/report.html", cwd=clone)) | {"all": 1}
        == planned
    )
    record = "results/miniature/curve/rlvr/seed1/dropped.json"
    first = jobs(snakemake("--dry-run", *MINIATURE, "--", record, cwd=clone))
    assert (first["train_rlvr"], first["select_rlvr"], first["generate_curve"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("machin={device: cpu}", "machin: unknown key; did you mean machine?"),
        ("data={train: miniature/trian}", "data.train: there is no data set 'miniature/trian'"),
        ("arms={rlvr: {reward: papper}}", "arms.rlvr.reward: there is no reward called 'papper'"),
        ("arms={rlvr: {reward: {leak_penalty: 1}}}", "arms.rlvr.reward: leak_penalty alone rewards no answer"),
        ("arms={rlvr: {episodes: 0}}", "command line: arms.rlvr.episodes: Input should be greater than 0 (value: '0')"),
        ("prompts={direct: prompts/x.txt}", "prompt template prompts/x.txt does not exist"),
        ("data={none_of_the_above: [medqua]}", "data.none_of_the_above: there is no data set 'medqua'"),
        ("arms={new: {trainer: rlvr}}", "command line: arms.new.reward: is missing"),
        ("checkpoints={new: {path: nowhere}}", "checkpoints.new.path: there is no folder nowhere"),
        ("checkpoints={new: {path: src}}", "checkpoints.new.path: src cannot be used"),
    ],
)
def test_a_mistake_in_the_configuration_stops_at_once(clone: Path, config: str, message: str) -> None:
    result = snakemake("--dry-run", *MINIATURE, "--config", config, cwd=clone)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_a_mistake_in_an_overlay_is_placed(clone: Path, tmp_path: Path) -> None:
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


@contextmanager
def training(cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """The short experiment as a shell would start it, from its beginning, once its first update is done."""
    shutil.rmtree(cwd / "results/short/state", ignore_errors=True)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *SHORT]
    with subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Tests that were started in the background would hand on that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        for line in process.stdout:
            if "update 1 of 2" in line:
                break
        yield process


def processes_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd().startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.mark.slow
def test_a_killed_ray_ends_the_run_with_a_way_out(clone: Path) -> None:
    with training(clone) as process:
        (raylet,) = (
            child for child in psutil.Process(process.pid).children(recursive=True) if child.name() == "raylet"
        )
        raylet.kill()
        printed = process.stdout.read()
    assert process.returncode != 0
    assert "A process of Ray died or was killed. Start the same command again" in printed
    assert "Traceback" not in printed
    assert not (clone / "results/short/models/rlvr/seed1").exists()
    assert processes_in(clone) == []


@pytest.mark.slow
def test_ctrl_c_ends_everything(clone: Path) -> None:
    with training(clone) as process:
        os.killpg(process.pid, signal.SIGINT)
        printed = process.stdout.read()
    assert process.returncode != 0
    assert "Start the same command again to go on with it" in printed
    assert "Traceback" not in printed
    assert processes_in(clone) == []


@pytest.fixture(scope="module")
def finished(clone: Path) -> Path:
    """The short experiment, run to its end."""
    result = snakemake(*SHORT, cwd=clone)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return clone


@pytest.mark.slow
def test_the_whole_graph_for_real(finished: Path) -> None:
    results = finished / "results/short"

    page = (results / "report.html").read_text(encoding="utf-8")
    assert "These accuracies support no claim" in page
    assert page.count("<svg") == 8
    assert "Update 2, question miniature/train/" in page

    for model, first in (
        ("base", "chain_of_thought"),
        ("sft/seed1", "direct"),
        ("rlvr/seed1", "chain_of_thought"),
        ("rlvr_dev/seed1", "chain_of_thought"),
    ):
        metrics = json.loads((results / f"eval/{model}/metrics.json").read_text())
        asked = [(record["benchmark"], record["mode"]) for record in metrics["records"]]
        modes = ("chain_of_thought", "direct", "constrained")
        expected = {(benchmark, mode) for benchmark in ("miniature", "miniature_ood") for mode in modes}
        assert len(asked) == 7 and set(asked) == expected | {("miniature_shuffled", first)}
        assert {record["n"] for record in metrics["records"]} == {16}
        scores = read_parquet(results / f"eval/{model}/scores.parquet")
        for record in metrics["records"]:
            group = scores[(scores["benchmark"] == record["benchmark"]) & (scores["mode"] == record["mode"])]
            assert group["correct"].mean() == record["accuracy"]
            assert f"{100 * record['accuracy']:.1f}" in page
        assert f"results/short/eval/{model}/answers.parquet" in metrics["provenance"]["inputs"]
        assert metrics["provenance"]["command"].endswith(f"-- results/short/eval/{model}/metrics.json")
        assert metrics["generation"]["modes"]["constrained"]["answer"] == "constrained"
        scored = scores[scores["mode"] == "constrained"]
        best = ["ABCDEFGHIJK"[max(range(len(row)), key=row.__getitem__)] for row in scored["letter_logprobs"]]
        assert scored["letter"].tolist() == best

    comparisons = json.loads((results / "compare/comparisons.json").read_text())
    primary = [pair for pair in comparisons["pairs"] if pair["role"] == "primary"]
    assert [pair["benchmark"] for pair in primary] == ["miniature", "miniature_ood"]
    assert (len(comparisons["controls"]), len(comparisons["decomposition"])) == (4, 2)
    claims = json.loads((results / "compare/verdict.json").read_text())["claims"]
    assert {claim["verdict"] for claim in claims} == {"cannot tell"}, "16 questions tell nothing"

    rollouts = read_parquet(results / "rollouts/rlvr/seed1/rollouts.parquet")
    assert rollouts.groupby("update").size().to_dict() == {1: 32, 2: 32}
    # tests/reward.py
    assert set(rollouts.loc[rollouts["valid_format"] & ~rollouts["correct"], "reward"]) == {-0.5}
    dynamics = read_parquet(results / "dynamics/rlvr/seed1.parquet")
    assert dynamics["update"].tolist() == [0, 1, 2], "the base has answered and been rewarded nothing"
    assert dynamics["reward"].tolist()[1:] == rollouts.groupby("update")["reward"].mean().tolist()
    assert dynamics["engine_kl"].abs().max() < 2e-3
    assert rollouts["reward_reward"].equals(rollouts["reward"]), "of the file's name"
    assert {"update", "entropy_loss", "reward_reward"} <= set(read_events(results / "tensorboard/rlvr/seed1"))
    assert "loss_mean" in read_events(results / "tensorboard/sft/seed1/lr0.0002")

    curve = read_parquet(results / "curve/rlvr/seed1/accuracy.parquet")
    assert curve[["update", "set", "n"]].values.tolist() == [
        [update, name, 16] for update in (0, 1, 2) for name in ("development", "miniature", "miniature_ood")
    ]

    selection = json.loads((results / "development/rlvr/seed1/selection.json").read_text())
    assert [row["candidate"] for row in selection] == ["update1", "update2"]
    assert [row["n"] for row in selection] == [16, 16]
    # The same answers as on the curve: nobody was asked twice.
    held_out = curve[(curve["set"] == "development") & (curve["update"] > 0)]
    assert held_out["accuracy"].tolist() == [row["accuracy"] for row in selection]
    (best,) = (row["candidate"] for row in selection if row["chosen"])
    weights = results / "models/rlvr_dev/seed1/model.safetensors"
    assert weights.samefile(results / f"checkpoints/rlvr/seed1/{best}/model.safetensors")
    taken = {best, "update2"}
    assert json.loads((results / "curve/rlvr/seed1/dropped.json").read_text()) == sorted({"update1"} - taken)
    assert {path.parent.name for path in results.glob("checkpoints/rlvr/seed1/*/model.safetensors")} == taken
    for model in ("sft/seed1", "rlvr/seed1", "rlvr_dev/seed1"):
        card = (results / f"models/{model}/README.md").read_text()
        assert f"# {model}\n" in card and "not medical advice" in card
        assert (results / f"models/{model}/command.sh").is_file()
    assert "learning_rate: 0.0002" in (results / "models/sft/seed1/README.md").read_text()
    (rewarded,) = {f"reward {reward:+g}" for reward in rollouts["reward"].head(1)}
    assert rewarded in page
    assert yaml.safe_load((results / "config.yaml").read_text())["arms"]["rlvr"]["reward"] == {"tests/reward.py": 1.0}

    written = snakemake(*SHORT, "--report", "workflow.html", cwd=finished)
    assert written.returncode == 0, written.stderr
    workflow = (finished / "workflow.html").read_text(encoding="utf-8")
    for category in ("Data", "Evaluation", "Training dynamics", "Figures", "Results"):
        assert f'"{category}"' in workflow
    assert "the paper's bars beside ours" in workflow

    command = [sys.executable, "-m", "medrlvr.report.comparison", "results/short"]
    subprocess.run(command, cwd=finished, env=os.environ | {"PYTHONPATH": "src"}, check=True)
    assert "rlvr" in (finished / "results/comparison.html").read_text(encoding="utf-8")

    again = snakemake(*SHORT, cwd=finished)
    assert "Nothing to be done" in again.stdout + again.stderr
    resolved = ("--configfile", "results/short/config.yaml")
    assert jobs(snakemake("--dry-run", *resolved, cwd=finished)) == {}, "the page's configuration is the run's"
    forced = jobs(snakemake("--dry-run", *SHORT, "--forcerun", "score_answers", cwd=finished))
    assert set(forced) == {"all", "score_answers", "compare_models", "draw_figures", "render_report"}


@pytest.mark.slow
def test_the_data_are_the_same_bytes_again_on_one_core(finished: Path) -> None:
    first, second = finished / "results/short", finished / "results/again"
    wanted = ["results/again/data/data_card.json", "results/again/prompts/rlvr.jsonl"]
    again = snakemake("--cores", "1", *SHORT, "--config", "experiment=again", "--", *wanted, cwd=finished, cores=False)
    assert again.returncode == 0, again.stderr
    made = [path.relative_to(second) for room in ("data", "prompts") for path in (second / room).rglob("*.*")]
    assert len(made) > 20
    assert [path for path in made if (first / path).read_bytes() != (second / path).read_bytes()] == []


STAND_IN = """
from pathlib import Path
from medrlvr.errors import UserError
from medrlvr.job import job

with job(snakemake):
    if snakemake.wildcards.arm == "rlvr_broken" and not Path("mended").exists():
        raise UserError("this arm is broken")
    for path in map(Path, snakemake.output):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix else path.mkdir()
"""


@pytest.mark.slow
def test_an_arm_that_fails_stops_no_other_and_is_alone_done_again(clone: Path, tmp_path: Path) -> None:
    """The whole graph before training, and a stand-in for training itself."""
    here = tmp_path / "here"
    shutil.copytree(clone, here, ignore=shutil.ignore_patterns("results", ".snakemake"))
    (here / "workflow/scripts/train_rlvr.py").write_text(STAND_IN, encoding="utf-8")
    arms = ("rlvr_broken", "rlvr", "rlvr_other")
    (here / "arms.yaml").write_text("arms: {rlvr_broken: {like: rlvr}, rlvr_other: {like: rlvr}}")
    made = [f"results/short/rollouts/{arm}/seed1/rollouts.parquet" for arm in arms]
    command = ("--keep-going", *SHORT, "arms.yaml", "--", *made)

    first = snakemake("--cores", "1", *command, cwd=here, cores=False)
    assert first.returncode != 0
    assert [(here / path).exists() for path in made] == [False, True, True]
    assert "this arm is broken\n(log: results/short/logs/checkpoints/rlvr_broken/seed1.log)" in first.stderr
    assert jobs(snakemake("--dry-run", *command, cwd=here)) == {"train_rlvr": 1}
    (here / "mended").touch()
    again = snakemake("--cores", "1", *command, cwd=here, cores=False)
    assert again.returncode == 0 and (here / made[0]).exists(), again.stderr


CHANGED, OTHER_FILES, NEW = (
    "params have changed since last execution",
    "set of input files has changed since last execution",
    "output files have to be generated",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "causes"),
    [
        ("title=Other", {CHANGED: {"draw_figures"}}),
        ("claims=true", {CHANGED: {"compare_models"}}),
        ("base={licence: Other}", {CHANGED: {"select_sft", "select_rlvr"}}),
        ("base={modes: [direct]}", {CHANGED: {"generate_answers"}}),
        ("modes={chain_of_thought: {max_tokens: 60}}", {CHANGED: {"generate_answers", "generate_development"}}),
        (
            "modes={other: {prompt: direct, answer: bare, max_tokens: 4}}",
            {CHANGED: {"render_tests"}, OTHER_FILES: {"render_tests"}},
        ),
        (
            "checkpoints={other: {path: assets/miniature_base}}",
            {
                NEW: {"generate_answers", "score_answers"},
                CHANGED: {"compare_models", "drop_checkpoints"},
                OTHER_FILES: {"compare_models"},
            },
        ),
        ("base={context_tokens: 256}", {CHANGED: {"render_report"}}),
        ("data={mirror: /elsewhere}", {CHANGED: {"render_report"}}),
        ("data={train_rows: 16}", {CHANGED: {"split_questions"}}),
        ("data={development_rows: 8}", {CHANGED: {"split_questions"}}),
        ("data={seed: 2}", {CHANGED: {"split_questions"}}),
        ("data={none_of_the_above: [miniature]}", {CHANGED: {"normalise_questions"}}),
        ("contamination={remove: []}", {CHANGED: {"split_questions"}}),
        ("contamination={near_similarity: 0.7}", {CHANGED: {"find_duplicates"}}),
        ("contamination={words: 8}", {CHANGED: {"find_runs"}}),
        (
            "benchmarks={miniature: {controls: [five_options]}}",
            {NEW: {"vary_benchmark"}, CHANGED: {"render_tests"}, OTHER_FILES: {"render_tests"}},
        ),
        ("benchmarks={miniature: {rows: 8}}", {CHANGED: {"split_questions"}}),
        ("benchmarks={miniature: {title: Other}}", {CHANGED: {"draw_figures"}}),
        ("prompts={direct: prompts/med_rlvr.txt}", {OTHER_FILES: {"render_prompts", "render_tests"}}),
        ("arms={sft: {epochs: 2}}", {CHANGED: {"train_sft"}}),
        ("arms={sft: {modes: [chain_of_thought]}}", {CHANGED: {"select_sft"}}),
        (
            "arms={sft: {learning_rates: [2.0e-4, 1.0e-4]}}",
            {NEW: {"train_sft", "generate_development"}, OTHER_FILES: {"select_sft"}},
        ),
        ("arms={rlvr: {clip: 0.3}}", {CHANGED: {"train_rlvr"}}),
        ("arms={rlvr: {reward: paper}}", {CHANGED: {"train_rlvr"}}),
        ("arms={rlvr: {reward: {leak_penalty: {weight: 0.5}}}}", {CHANGED: {"train_rlvr"}}),
        ("arms={rlvr: {modes: [direct]}}", {CHANGED: {"generate_development"}}),
        ("evaluation={bootstrap_resamples: 10}", {CHANGED: {"score_answers"}}),
        ("evaluation={seed: 2}", {CHANGED: {"vary_benchmark"}}),
        ("evaluation={keep_checkpoints: true}", {CHANGED: {"render_report"}, OTHER_FILES: {"render_report"}}),
        ("machine={threads: 2}", {}),
        ("machine={wandb_project: mine}", {}),
        ("machine={train_micro_batch: 4}", {}),
        ("machine={vllm_memory_utilization: 0.2}", {}),
        ("miniature={test: 20}", {CHANGED: {"make_miniature"}}),
        ("miniature={pretraining_steps: 2}", {CHANGED: {"render_report"}}),
    ],
)
def test_a_key_runs_again_exactly_the_rules_that_read_it(
    finished: Path, change: str, causes: dict[str, set[str]]
) -> None:
    """The first of them in every line of the graph; what depends on these runs again in any case."""
    assert first_causes(snakemake("--dry-run", *SHORT, "--config", change, cwd=finished)) == causes


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        "evaluation={seed: 2}",
        "modes={other: {prompt: direct, answer: bare, max_tokens: 4}}",
        "benchmarks={miniature: {controls: [five_options]}}",
        "base={modes: [direct]}",
    ],
)
def test_other_questions_to_a_model_train_nothing(finished: Path, change: str) -> None:
    planned = jobs(snakemake("--dry-run", *SHORT, "--config", change, cwd=finished))
    assert planned and not {"train_sft", "train_rlvr", "render_prompts"} & set(planned)


@pytest.mark.slow
def test_a_second_seed_runs_beside_the_first(finished: Path) -> None:
    planned = jobs(snakemake("--dry-run", *SHORT, "--config", "arms={rlvr: {seeds: [1, 2]}}", cwd=finished))
    assert (planned["train_rlvr"], planned["select_rlvr"], planned["generate_selected"]) == (1, 1, 1)
    assert not {"train_sft", "generate_answers"} & set(planned)


@contextmanager
def edited(file: Path, old: str, new: str) -> Iterator[None]:
    """A file of the clone with other text, and afterwards as it was but for its time."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(text, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "rules"),
    [
        ("workflow/scripts/train_rlvr.py", '"""Train the base by', '"""Train it by', set()),
        ("src/medrlvr/rewards.py", '"""-1 without a valid format', '"""Minus one without a valid format', set()),
        ("src/medrlvr/grading.py", '"""The one grader: it', '"""The grader: it', set()),
        ("src/medrlvr/training/rlvr.py", '"""Reinforcement learning from', '"""Learning from', set()),
        ("src/medrlvr/config.py", '"""Name of the folder under', '"""The folder under', set()),
        ("tests/reward.py", '"""Return less for', '"""Give less for', set()),
        ("tests/reward.py", "WRONG = -0.5", "WRONG = -0.6", {"train_rlvr"}),
        ("src/medrlvr/grading.py", "[(*]{0,3}", "[(*]{0,2}", {"score_answers", "select_sft", "select_rlvr"}),
    ],
)
def test_what_is_said_of_the_code_runs_nothing_and_what_it_decides_does(
    finished: Path, file: str, old: str, new: str, rules: set[str]
) -> None:
    with edited(finished / file, old, new):
        causes = first_causes(snakemake("--dry-run", *SHORT, cwd=finished))
    assert causes == ({CHANGED: rules} if rules else {})


@contextmanager
def hidden(*paths: Path) -> Iterator[None]:
    """Files or folders elsewhere for a while."""
    for path in paths:
        path.rename(path.with_name(f"{path.name}.hidden"))
    try:
        yield
    finally:
        for path in paths:
            path.with_name(f"{path.name}.hidden").rename(path)


@pytest.mark.slow
def test_a_step_that_failed_is_missed_though_all_after_it_is_there(finished: Path) -> None:
    """Snakemake deletes what a failed step wrote before, and by itself would find nothing to do."""
    prompts = finished / "results/short/prompts"
    with hidden(*prompts.iterdir()):
        planned = jobs(snakemake("--dry-run", *SHORT, cwd=finished))
    assert (planned["render_prompts"], planned["render_tests"]) == (1, 1)


@pytest.mark.slow
def test_deleted_models_are_not_trained_again(finished: Path) -> None:
    results = finished / "results/short"
    with hidden(results / "checkpoints", results / "models"):
        assert jobs(snakemake("--dry-run", *SHORT, cwd=finished)) == {}


@pytest.mark.slow
def test_one_question_is_asked_and_graded(finished: Path, tmp_path: Path) -> None:
    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "medrlvr.ask", *arguments]
        environment = os.environ | {"PYTHONPATH": str(finished / "src")}
        return subprocess.run(command, cwd=finished, env=environment, capture_output=True, text=True, check=False)

    model = "results/short/models/rlvr_dev/seed1"
    first = read_parquet(finished / "results/short/data/benchmarks/miniature.parquet").iloc[0]
    result = ask(model, "--question", first["question_id"])
    assert result.returncode == 0, result.stderr
    assert f"--- {first['question_id']}, chain_of_thought" in result.stdout
    # not the evaluation's words: asked alone, sums are made in another order, and so new a model has near ties
    response = result.stdout.split("--- response\n")[1].split("\n--- grade\n")[0]
    found = grade(response, list(first["options"]), int(first["gold"]))
    assert f"\n--- grade\nanswered: {found.letter or 'nothing readable'}; right is " in result.stdout
    assert f"untagged text read too: {found.lenient_letter or 'nothing'}\n" in result.stdout
    assert "not medical advice" in result.stdout

    own = tmp_path / "own.json"
    own.write_text(json.dumps({"stem": "Which?", "options": ["this", "that"], "answer": "B"}))
    for mode in ("direct", "constrained"):
        result = ask("results/short/models/base", "--question", str(own), "--mode", mode)
        assert result.returncode == 0, result.stderr
        assert "A. this\nB. that" in result.stdout
        assert "right is B" in result.stdout
    assert "probability of the letters: A 0." in result.stdout

    own.write_text(json.dumps({"stem": "Which?", "options": ["this", "that"], "answer": "C"}))
    for arguments, message in (
        (["results/short/models/none"], "is no model folder"),
        ([model, "--question", "nobody/1"], "is called 'nobody/1'; one there is"),
        ([model, "--question", str(own)], "answer is C, but there are 2 options"),
        ([str(finished / "assets/miniature_base")], "lies in no results folder"),
    ):
        result = ask(*arguments)
        assert result.returncode == 1
        assert message in result.stderr
        assert "Traceback" not in result.stderr
