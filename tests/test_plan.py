"""What a run is said to take: numbers by hand, and the whole plan as a person sees it."""

import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from forked import python
from pipeline import snakemake

from medrlvr.config.arms import RlvrArm, SftArm
from medrlvr.config.evaluation import Mode
from medrlvr.config.experiment import Experiment
from medrlvr.config.load import read_overlays
from medrlvr.data.registry import load_registry
from medrlvr.models.shape import known_shape
from medrlvr.pipeline.plan.facts import Facts, absent_files
from medrlvr.pipeline.plan.jobs import Job, cause, gpus_of, jobs_of, longest_chain, refusal
from medrlvr.pipeline.plan.memory import memory_rows
from medrlvr.pipeline.plan.space import Space, peak_space, space
from medrlvr.pipeline.plan.text import render
from medrlvr.pipeline.plan.times import Time, arithmetic, comparable, measured, times
from medrlvr.pipeline.plan.work import PROMPT_TOKENS, Work, eval_work, job_work, rlvr_work, sft_work
from medrlvr.pipeline.resources import RuleResources
from medrlvr.training.disk import Weights, weights_of

PAPER = Experiment()
RESULTS = Path("results/med_rlvr")
FACTS = Facts(
    train=10_178,
    held_out={"development": 1272, "medqa": 1273, "mmlu_pro_health": 818},
    weights=Weights(3_085_938_688, 311_164_928, 0),
    free=10**13,
)
# Four prompts in one update, each sampled twice.
ONE_UPDATE = RlvrArm(
    trainer="rlvr", reward="paper", episodes=1, prompts_per_update=4, samples_per_prompt=2, train_batch_size=8
)


def job(rule: str, reason: str | None = "Missing output files: x", **others) -> Job:
    given = {"wildcards": {}, "inputs": (), "outputs": (), "benchmark": f"{RESULTS}/benchmarks/{rule}.tsv"} | others
    return Job(rule=rule, reason=reason, **given)


RLVR = job("train_rlvr", wildcards={"arm": "rlvr", "seed": "1"}, benchmark=f"{RESULTS}/benchmarks/a/seed1.tsv")


def test_the_base_is_sampled_as_often_as_rlvr_samples_or_eight_times() -> None:
    experiment = read_overlays(["config/controls/waterfall.yaml"])
    rlvr, parameters = experiment.arms["rlvr"], FACTS.weights.parameters
    for rows, samples in (("own_responses", rlvr.episodes * rlvr.samples_per_prompt), ("majority", 8)):
        work = job_work(job("sample_training", wildcards={"rows": rows}), experiment, FACTS, 200)
        assert work == Work(generation=2 * parameters * FACTS.train * samples * (PROMPT_TOKENS + 200), training=0)
    limited = experiment.model_copy(update={"arms": {"rlvr": rlvr.model_copy(update={"rows": 5})}})
    few = job_work(job("sample_training", wildcards={"rows": "own_responses"}), limited, FACTS, 200)
    assert few.generation == 2 * parameters * 5 * 80 * (PROMPT_TOKENS + 200)
    unknown = job("train_sft", wildcards={"arm": "rft", "seed": "1", "rate": "1e-05"})
    assert job_work(unknown, experiment, FACTS, 200) is None, "the number of its rows depends on the responses"


def test_the_work_of_one_update_is_that_of_its_tokens() -> None:
    """8 responses of 3 + 5 tokens are 64; each costs twice 10 parameters forward, and four times backward."""
    work = rlvr_work(ONE_UPDATE, False, 10, 4, 3, 5)
    # Policy, reference and critic look at it; policy and critic learn.
    assert work == Work(generation=2 * 10 * 64, training=(3 * 2 + 2 * 6) * 10 * 64)
    assert rlvr_work(ONE_UPDATE, True, 10, 4, 3, 5).training == (3 * 2 + 2 * 8) * 10 * 64
    alone = ONE_UPDATE.model_copy(update={"advantage_estimator": "grpo", "kl_coefficient": 0.0, "ppo_epochs": 3})
    assert rlvr_work(alone, False, 10, 4, 3, 5).training == (1 * 2 + 3 * 6) * 10 * 64
    # Three rows become four, as the trainer fills an optimiser step; of many only `rows` are taken.
    assert rlvr_work(ONE_UPDATE, False, 10, 3, 3, 5) == work
    assert rlvr_work(ONE_UPDATE.model_copy(update={"rows": 4}), False, 10, 99, 3, 5) == work
    assert rlvr_work(ONE_UPDATE.model_copy(update={"episodes": 5}), False, 10, 4, 3, 5).generation == 5 * 1280


def test_work_becomes_time_by_the_assumed_rates() -> None:
    # 312e12 a second on each of two GPUs, a tenth of it in generation, three tenths in training.
    assert Work(generation=312e12, training=0).seconds(PAPER.machine, 2) == pytest.approx(5)
    assert Work(generation=0, training=312e12 * 3).seconds(PAPER.machine, 1) == pytest.approx(10)


RATES = {"training_tflops": 300, "generation_tflops": 40}
"""What `make gpu-check` may have measured."""


def test_measured_rates_replace_assumed_ones() -> None:
    machine = PAPER.machine.model_copy(update=RATES)
    assert Work(generation=40e12, training=600e12).seconds(machine, 1) == pytest.approx(1 + 2)
    found = arithmetic(RLVR, PAPER.model_copy(update={"machine": machine}), FACTS)
    seconds = 815_360 * (340 + 270) * 3_085_938_688 * (2 / 40e12 + 22 / 300e12) / 4
    assert found == Time(pytest.approx(seconds * 0.75), pytest.approx(seconds * 1.25), "estimated")
    only_one = PAPER.machine.model_copy(update={"training_tflops": 300})
    one = arithmetic(RLVR, PAPER.model_copy(update={"machine": only_one}), FACTS)
    assert one is not None and one.high > 4 * one.low, "one measured rate alone leaves the wide range"


def test_the_plan_states_measured_rates_and_no_assumed_ones() -> None:
    machine = PAPER.machine.model_copy(update=RATES)
    text = " ".join(
        render([RLVR], PAPER.model_copy(update={"machine": machine}), FACTS, RESULTS, files=["x.yaml"], profile=None)
        .replace("\n", " ")
        .split()
    )
    assert "300 TFLOP/s of a GPU in scoring and training, 40 in generation" in text and "312" not in text


def test_rates_do_not_hide_measured_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = Path("results/other/config.yaml")
    other.parent.mkdir(parents=True)
    other.write_text(yaml.safe_dump(PAPER.model_dump(mode="json")), encoding="utf-8")
    machine = PAPER.machine.model_copy(update=RATES)
    assert other.parent in comparable(PAPER.model_copy(update={"machine": machine}), RESULTS)


def test_the_work_of_sft_and_of_evaluation() -> None:
    arm = SftArm(trainer="sft", epochs=3)
    assert sft_work(arm, False, 10, 4, 7) == Work(generation=0, training=6 * 10 * 3 * 4 * 7)
    assert sft_work(arm, True, 10, 4, 7).training == 8 * 10 * 3 * 4 * 7
    asked = [
        (5, Mode(prompt="chain_of_thought", answer_format="tagged", max_tokens=100, samples=2)),
        (5, Mode(prompt="direct", answer_format="loglikelihood", max_tokens=100)),
    ]
    assert eval_work(asked, 3, 10, 20, 50).generation == 2 * 10 * 3 * (5 * 2 * 70 + 5 * 21)
    assert eval_work(asked, 3, 10, 20, float("inf")).generation == 2 * 10 * 3 * (5 * 2 * 120 + 5 * 21)


def test_the_papers_run_is_a_range_of_hours() -> None:
    """10,178 questions, 14 of them twice: 815,360 responses; 22 operations a token train, 2 generate."""
    found = arithmetic(RLVR, PAPER, FACTS)
    tokens = {short: 815_360 * (340 + short) * 3_085_938_688 for short in (270, 1024)}
    seconds = {short: work * (2 / 0.1 + 22 / 0.3) / (4 * 312e12) for short, work in tokens.items()}
    assert found == Time(pytest.approx(seconds[270] / 2), pytest.approx(seconds[1024] * 2), "estimated")
    assert 15 * 3600 < found.low < 17 * 3600 and 140 * 3600 < found.high < 145 * 3600


def test_without_gpus_or_a_size_nothing_is_invented() -> None:
    on_cpu = PAPER.model_copy(update={"machine": PAPER.machine.model_copy(update={"device": "cpu"})})
    assert arithmetic(RLVR, on_cpu, FACTS) is None
    assert arithmetic(job("find_duplicates"), PAPER, FACTS) is None
    unknown = Facts(train=10_178, held_out=FACTS.held_out, weights=None, free=0)
    assert arithmetic(RLVR, PAPER, unknown) is None and space(RLVR, PAPER, unknown) is None


def test_the_requests_of_each_model_determine_the_evaluation_time() -> None:
    curve, development, base, selected = (
        arithmetic(job(rule, wildcards=wildcards), PAPER, FACTS)
        for rule, wildcards in (
            ("generate_checkpoint_answers", {"arm": "rlvr", "seed": "1"}),
            ("generate_development", {"arm": "rlvr", "seed": "1"}),
            ("generate_answers", {"model": "base"}),
            ("generate_selected", {"arm": "rlvr", "seed": "1"}),
        )
    )
    # 28 candidates and the base on all 3,363 questions; the candidates on 1,272.
    assert curve.high / development.high == pytest.approx(29 * 3363 / (28 * 1272))
    # Chain of thought on both benchmarks and their four controls; direct and loglikelihood on the two.
    tokens = 3 * 2091 * (340 + 1024) + 2091 * (340 + 8) + 2091 * 341
    assert base.high == pytest.approx(2 * 2 * 3_085_938_688 * tokens / (4 * 0.1 * 312e12))
    # The last checkpoint and the selected one are evaluated as the base is.
    assert selected.high == pytest.approx(2 * base.high)


def test_gpus_are_those_that_the_step_holds() -> None:
    machine = PAPER.machine.model_copy(update={"nodes": 2})
    held = {
        rule: gpus_of(rule, machine)
        for rule in ("train_rlvr", "train_sft", "generate_checkpoint_answers", "score_answers")
    }
    assert held == {
        "train_rlvr": (2, 4),
        "train_sft": (1, 4),
        "generate_checkpoint_answers": (1, 4),
        "score_answers": (1, 0),
    }


def test_an_evaluation_requests_all_gpus_of_a_node_and_on_a_cpu_none() -> None:
    on_gpu = RuleResources(PAPER.machine, None, None)
    assert (on_gpu.engine_gpus, on_gpu.gres(on_gpu.engine_gpus), on_gpu.engine_cores) == (4, "gpu:4", 4 * 8)
    assert on_gpu.training_gpus(PAPER.arms["rlvr"]) == 4
    on_cpu = RuleResources(PAPER.machine.model_copy(update={"device": "cpu"}), 2, None)
    assert (on_cpu.engine_gpus, on_cpu.gres(on_cpu.engine_gpus), on_cpu.engine_cores) == (0, "", 8)


def benchmark(file: Path, seconds: float) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"s\th:m:s\tmax_rss\tmean_load\n{seconds}\t0:00:00\t-\t-\n")


def test_measured_times_take_precedence_over_computed_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arm = {"arm": "rlvr"}
    others = [
        job("train_rlvr", wildcards=arm | {"seed": seed}, benchmark=f"{RESULTS}/benchmarks/a/seed{seed}.tsv")
        for seed in "23"
    ]
    jobs = [RLVR, *others]
    assert [estimate.basis for estimate in times(jobs, PAPER, FACTS, RESULTS)] == ["estimated"] * 3
    # Another experiment's time counts if its report shows that its settings were the same.
    elsewhere = Path("results/other")
    benchmark(elsewhere / "benchmarks/a/seed1.tsv", 50)
    assert times(jobs, PAPER, FACTS, RESULTS)[0].basis == "estimated"

    def says(experiment: Experiment) -> None:
        (elsewhere / "config.yaml").write_text(yaml.safe_dump(experiment.overlay()))

    says(PAPER.model_copy(update={"title": "Other"}))
    assert times(jobs, PAPER, FACTS, RESULTS)[0] == Time(50, 50, "measured in results/other")
    says(PAPER.model_copy(update={"machine": PAPER.machine.model_copy(update={"zero_stage": 2})}))
    assert list(comparable(PAPER, RESULTS)) == [RESULTS]
    longer = PAPER.arms["rlvr"].model_copy(update={"episodes": 20})
    says(PAPER.model_copy(update={"arms": PAPER.arms | {"rlvr": longer}}))
    assert comparable(PAPER, RESULTS)[elsewhere] == {"sft"}
    assert times(jobs, PAPER, FACTS, RESULTS)[0].basis == "estimated"
    (elsewhere / "config.yaml").write_text("machin: {}\n")
    assert list(comparable(PAPER, RESULTS)) == [RESULTS], "an older version's is left out"
    for damaged in (b"", b"\xff", b"a: [", b"- a", b"title: 2024-02-30"):
        (elsewhere / "config.yaml").write_bytes(damaged)
        assert list(comparable(PAPER, RESULTS)) == [RESULTS]
    # Its own runs before all: this job's, else the mean of its rule's and arm's.
    benchmark(RESULTS / "benchmarks/a/seed2.tsv", 100)
    benchmark(RESULTS / "benchmarks/a/seed3.tsv", 200)
    assert [one.low for one in times(jobs, PAPER, FACTS, RESULTS)] == [150, 100, 200]
    other_arm = job("train_rlvr", wildcards={"arm": "mine"}, benchmark=f"{RESULTS}/benchmarks/mine/seed1.tsv")
    assert measured(other_arm, [*jobs, other_arm], {RESULTS: frozenset({"rlvr", "mine"})}) is None
    (RESULTS / "benchmarks/a/seed2.tsv").write_text("s\th:m:s\tmax_rss")
    assert [one.low for one in times(jobs, PAPER, FACTS, RESULTS)] == [200, 200, 200], "a killed job left half a table"


def test_the_first_cause_is_stated_in_words() -> None:
    follows = "Input files updated by another job: results/a"
    assert cause(follows) == "an earlier step runs"
    assert cause(f"Missing output files: x, y; {follows}") == "no output yet"
    assert cause(f"{follows}; Set of input files has changed since last execution") == "inputs were added or removed"
    assert cause("Params have changed since last execution: before: 1 now: 2") == "settings have changed"
    assert cause("Updated input files: x") == "an input is newer"


def test_the_longest_chain_waits_for_files() -> None:
    jobs = [
        job("a", outputs=("1",)),
        job("b", inputs=("1",), outputs=("2",)),
        job("c", inputs=("1", "elsewhere"), outputs=("3",)),
        job("d", inputs=("2", "3"), outputs=("4",)),
        job("alone", outputs=("5",)),
    ]
    assert longest_chain(jobs, [1, 10, 20, 3, 5]) == (24, ["a", "c", "d"])
    assert longest_chain(jobs, [1, 0, 0, 3, 50]) == (50, ["alone"])
    assert longest_chain(jobs, [1, 2, 0, 3, 0]) == (6, ["a", "b", "d"])


def test_disk_is_counted_for_runs_in_turn_or_all_at_once() -> None:
    spaces = [Space(peak=100, left=10), Space(peak=60, left=50), Space(peak=7, left=7)]
    assert peak_space(spaces, side_by_side=True) == 167
    assert peak_space(spaces, side_by_side=False) == 67 + 90
    assert peak_space([], side_by_side=False) == 0


def test_what_a_run_leaves_are_two_models_unless_all_are_kept() -> None:
    found = space(RLVR, PAPER, FACTS)
    model, responses = 2 * 3_085_938_688, 815_360 * (1000 + 5 * 1024)
    assert found.left == 2 * model + responses
    assert found.peak == 28 * model + responses + 2 * 2 * 12 * 3_085_938_688
    keeping = PAPER.evaluation.model_copy(update={"keep_checkpoints": True})
    assert space(RLVR, PAPER.model_copy(update={"evaluation": keeping}), FACTS).left == 28 * model + responses


def shown(jobs: list[Job], facts: Facts = FACTS, **others) -> str:
    return render(jobs, PAPER, facts, RESULTS, **{"files": [], "profile": None} | others)


def test_if_all_files_exist_there_is_nothing_to_do() -> None:
    text = shown([job("train_rlvr", reason=None), job("render_report", reason=None)])
    assert "Nothing to do: all 2 jobs are done. The report: results/med_rlvr/report.html" in text
    assert "snakemake" not in text


def test_the_plan_warns_of_too_little_disk_and_time() -> None:
    late = Job(**{name: getattr(RLVR, name) for name in Job.__dataclass_fields__} | {"limit": 3600.0})
    text = shown([late], Facts(train=FACTS.train, held_out=FACTS.held_out, weights=FACTS.weights, free=10**9))
    assert "1.00 GB free. NOT ENOUGH: raise save_every" in text
    assert "train_rlvr, which may need 16 to 140 h; its limit is 1 h 00 min" in text
    calm = shown([RLVR])
    assert "NOT ENOUGH" not in calm and "may stop" not in calm and "ASSUMED" in calm


def test_the_plan_shows_how_much_of_a_gpu_each_phase_fills() -> None:
    known = Facts(
        train=FACTS.train,
        held_out=FACTS.held_out,
        weights=FACTS.weights,
        free=FACTS.free,
        shape=known_shape(PAPER.base.name),
    )
    text = shown([RLVR], known)
    assert re.search(r"^GPU memory of each phase \(estimated\) +GiB +of 40$", text, re.MULTILINE)
    assert re.search(r"^sft: backward +27\.3 +68%$", text, re.MULTILINE)
    assert re.search(r"^rlvr: actor, backward +34\.5 +86%$", text, re.MULTILINE)
    assert re.search(r"^evaluation: engines: 4, one GPU each +36\.0 +90%$", text, re.MULTILINE)
    assert "GPU memory" not in shown([RLVR])
    small = PAPER.model_copy(update={"machine": PAPER.machine.model_copy(update={"gpu_gib": 8})})
    rows = [*memory_rows(small, known_shape("Qwen/Qwen2.5-3B"))]
    assert rows[-1] == ("evaluation: engines: 2, each divided among 2 GPUs (tensor parallel)", "7.2", "90%")


def test_the_hours_of_the_smallest_preset_are_in_the_docs() -> None:
    overlay = yaml.safe_load(Path("config/presets/gpu_24gb_x1.yaml").read_text())
    base = known_shape(overlay["base"]["name"])
    machine = PAPER.machine.model_copy(update=overlay["machine"])
    facts = Facts(train=FACTS.train, held_out=FACTS.held_out, weights=weights_of(base), free=0)
    found = arithmetic(RLVR, PAPER.model_copy(update={"machine": machine}), facts)
    hours = f"{found.low / 3600:.0f} to {found.high / 3600:.0f} hours"
    assert f"RLVR needs {hours}" in " ".join(Path("docs/memory.md").read_text(encoding="utf-8").split())


def test_a_measured_plan_assumes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    benchmark(Path(RLVR.benchmark), 7200)
    text = shown([RLVR], device_problem="there is no GPU")
    assert "One job after another: 2 h 00 min\n" in text
    assert re.search(r"train_rlvr +1 +0 +4 +8 +2 h 00 min +326 GB +measured +no output yet", text)
    assert "ASSUMED" not in text
    assert "there is no GPU" in text
    assert "there is no GPU" not in shown([RLVR], device_problem="there is no GPU", profile="slurm")


def test_files_that_are_not_found_are_named(tmp_path: Path) -> None:
    sources = load_registry("config/datasets.tsv")
    wanted = [
        job("fetch_dataset", wildcards={"dataset": dataset, "split": split})
        for dataset, split in (("medqa", "test"), ("medqa_4_options", "train_partial"))
    ]
    # Files of the Hugging Face Hub are not checked here; files that it does not have must be in a mirror.
    assert [line.split(":")[0] for line in absent_files(wanted, sources, None)] == ["medqa_4_options/train_partial"]
    assert len(absent_files(wanted, sources, str(tmp_path))) == 2
    (tmp_path / "medqa").mkdir()
    (tmp_path / "medqa/test.jsonl").touch()
    assert len(absent_files(wanted, sources, str(tmp_path))) == 1
    assert absent_files([job("fetch_dataset", reason=None)], sources, None) == []


def plan(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MEDRLVR_")}
    return python("-m", "medrlvr.cli.main", "plan", *arguments, cwd=clone, env=environment | {"PYTHONPATH": "src"})


def rows(text: str) -> dict[str, tuple[int, int]]:
    """Step -> how many run and how many are cached."""
    found = re.findall(r"^(\w+) +(\d+) +(\d+)(?: |$)", text, re.MULTILINE)
    return {rule: (int(run), int(cached)) for rule, run, cached in found}


def files(clone: Path) -> list[Path]:
    return sorted((clone / "results").rglob("*"))


def test_the_miniature_is_planned_without_results_and_leaves_nothing(clone: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "new.yaml"
    overlay.write_text("experiment: never_run\n")
    before = files(clone)
    result = plan(clone, "config/miniature.yaml", str(overlay))
    assert result.returncode == 0, result.stderr
    found = rows(result.stdout)
    assert (found["normalise_questions"], found["train_rlvr"], found["generate_selected"]) == ((6, 0), (1, 0), (1, 0))
    assert {cached for _, cached in found.values()} == {0} and len(found) == 26
    assert f"medrlvr run config/miniature.yaml {overlay}\n" in result.stdout
    assert f"medrlvr status config/miniature.yaml {overlay}\n" in result.stdout
    assert "fetch_model  " in result.stdout and "TFLOP" not in result.stdout
    assert files(clone) == before


def test_what_exists_is_cached_and_its_time_is_known(clone: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "partly.yaml"
    overlay.write_text("experiment: partly\n")
    configured = ["--configfile", "config/miniature.yaml", str(overlay)]
    made = snakemake(*configured, "--until", "make_miniature", cwd=clone)
    assert made.returncode == 0, made.stderr
    before = files(clone)
    result = plan(clone, "config/miniature.yaml", str(overlay))
    assert rows(result.stdout)["make_miniature"] == (0, 1)
    overlay.write_text("experiment: partly\nminiature: {test: 20}\n")
    changed = plan(clone, "config/miniature.yaml", str(overlay))
    assert rows(changed.stdout)["make_miniature"] == (1, 0)
    assert re.search(r"^make_miniature .* measured +settings have changed$", changed.stdout, re.MULTILINE)
    assert files(clone) == before


def test_the_papers_experiment_is_planned_for_a_cluster(clone: Path) -> None:
    result = plan(clone, "--profile", "slurm")
    assert result.returncode == 0, result.stderr
    assert re.search(r"^train_rlvr +1 +0 +4 +64 to 570 +16 to 140 h +326 GB +estimated", result.stdout, re.MULTILINE)
    assert "Longest chain: train_rlvr, generate_development, generate_checkpoint_answers" in result.stdout
    assert "train_rlvr, which may need 16 to 140 h; its limit is 72 h 00 min" in result.stdout
    hours = re.search(r"GPU-hours: (.*)", result.stdout).group(1)
    assert f"{hours} GPU-hours" in " ".join(Path("docs/troubleshooting.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "mine.yaml: cannot be read as a configuration"),
        ("a: [\n", "mine.yaml, line 2: this is not YAML"),
        ("arms: {rlvr: {episodes: 0}}\n", "mine.yaml, line 1: arms.rlvr.episodes: Input should be greater than 0"),
        ("prompts: {direct: prompts/x.txt}\n", "prompt template prompts/x.txt does not exist"),
        ("base: {source: path, name: /nowhere, licence: MIT}\n", "Missing input files for rule fetch_model"),
    ],
)
def test_a_mistake_is_reported_without_a_traceback(clone: Path, tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    result = plan(clone, "config/miniature.yaml", str(tmp_path / "mine.yaml"))
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr and result.stdout == ""


def record(rule: str, *output: str, **others: Any) -> SimpleNamespace:
    told = {
        "wildcards": {},
        "input": ["in"],
        "benchmark": "b.tsv",
        "reason": "Missing output files: x",
        "resources": {},
    }
    return SimpleNamespace(rule_name=rule, output=list(output), **(told | others))


def test_a_job_that_is_not_due_is_cached_and_one_without_output_is_no_step() -> None:
    due = [record("train", "a", reason="Updated input files: y"), record("all")]
    graph = [record("train", "a", resources={"runtime": 90}), record("train", "b"), record("all")]
    first, second = jobs_of(due, graph)
    assert (first.outputs, first.reason, first.limit) == (("a",), "Updated input files: y", 5400)
    assert (second.outputs, second.reason, second.limit) == (("b",), None, None)


def test_the_error_of_a_refusal_is_reported() -> None:
    assert refusal("Building DAG\nWorkflowError in file x:\nno such arm\n") == "WorkflowError in file x:\nno such arm"
    assert refusal("unknown\n") == "unknown"
