"""A whole short experiment on the real stack, and what its finished files make of every change."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from forked import python
from pipeline import SHORT, first_causes, jobs, snakemake

from medrlvr.grading.grader import grade
from medrlvr.runtime.files import read_parquet
from medrlvr.training.trainer_metrics import read_events

pytestmark = pytest.mark.slow

BENCHMARKS = ["miniature", "miniature_options", "miniature_form", "miniature_pairs"]


SECRETS = {
    "HF_TOKEN": "hf_planted0123456789planted",
    "WANDB_API_KEY": "0123456789abcdef" * 2,
    "EMAIL": "jane.planted@example.org",
    "MY_PASSWORD": "planted horse battery",
}


@pytest.fixture(scope="module")
def finished(clone: Path) -> Path:
    """The short experiment, run to its end by a user with secrets, in a clone in the home folder."""
    result = snakemake(*SHORT, cwd=clone, HOME=str(clone.parent), **SECRETS)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    # The selection among one learning rate needs no prompts, so both jobs end in any order. Here the prompts are first.
    prompts = clone / "results/short/prompts"
    first = (prompts / "sft.jsonl").stat().st_mtime_ns
    for file in prompts.iterdir():
        os.utime(file, ns=(first, first))
    return clone


def test_the_whole_graph_runs(finished: Path) -> None:
    results = finished / "results/short"

    page = (results / "report.html").read_text(encoding="utf-8")
    assert "These accuracies support no claim" in page
    assert [page.count(f'<div class="{width}" role="img"') for width in ("wide", "narrow")] == [4, 4]
    assert page.count("Dot plot of the percentages") == len(BENCHMARKS)
    assert "Update 2, question miniature/train/" in page

    for model, first in (
        ("base", "chain_of_thought"),
        ("sft/seed1", "direct"),
        ("rlvr/seed1", "chain_of_thought"),
        ("rlvr_dev/seed1", "chain_of_thought"),
    ):
        metrics = json.loads((results / f"eval/{model}/metrics.json").read_text())
        asked = [(record["benchmark"], record["mode"]) for record in metrics["records"]]
        modes = ("chain_of_thought", "direct", "loglikelihood")
        expected = {(benchmark, mode) for benchmark in BENCHMARKS for mode in modes}
        assert len(asked) == 13 and set(asked) == expected | {("miniature_shuffled", first)}
        assert {record["n"] for record in metrics["records"]} == {16}
        scores = read_parquet(results / f"eval/{model}/scores.parquet")
        for record in metrics["records"]:
            group = scores[(scores["benchmark"] == record["benchmark"]) & (scores["mode"] == record["mode"])]
            assert group["correct"].mean() == record["accuracy"]
            assert f"{100 * record['accuracy']:.1f}" in page
        assert f"results/short/eval/{model}/answers.parquet" in metrics["provenance"]["inputs"]
        assert metrics["provenance"]["command"].endswith(f"-- results/short/eval/{model}/metrics.json")
        assert metrics["generation"]["modes"]["loglikelihood"]["answer_format"] == "loglikelihood"
        scored = scores[scores["mode"] == "loglikelihood"]
        best = ["ABCDEFGHIJK"[max(range(len(row)), key=row.__getitem__)] for row in scored["letter_logprobs"]]
        assert scored["letter"].tolist() == best

    comparisons = json.loads((results / "compare/comparisons.json").read_text())
    primary = [pair for pair in comparisons["pairs"] if pair["role"] == "primary"]
    assert [pair["benchmark"] for pair in primary] == BENCHMARKS
    assert (len(comparisons["controls"]), len(comparisons["decomposition"])) == (4, 4)
    claims = json.loads((results / "compare/claims.json").read_text())["claims"]
    assert {claim["verdict"] for claim in claims} == {"undecided"}, "16 questions tell nothing"

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
    assert "loss_mean" in read_events(results / "tensorboard/sft/seed1/lr0.0003")

    curve = read_parquet(results / "checkpoint_eval/rlvr/seed1/accuracy.parquet")
    assert curve[["update", "set", "n"]].values.tolist() == [
        [update, name, 16] for update in (0, 1, 2) for name in ("development", *sorted(BENCHMARKS))
    ]

    selection = json.loads((results / "development/rlvr/seed1/selection.json").read_text())
    assert [row["candidate"] for row in selection] == ["update1", "update2"]
    assert [row["n"] for row in selection] == [16, 16]
    # The same answers as on the curve: none was generated twice.
    held_out = curve[(curve["set"] == "development") & (curve["update"] > 0)]
    assert held_out["accuracy"].tolist() == [row["accuracy"] for row in selection]
    (best,) = (row["candidate"] for row in selection if row["chosen"])
    weights = results / "models/rlvr_dev/seed1/model.safetensors"
    assert weights.samefile(results / f"checkpoints/rlvr/seed1/{best}/model.safetensors")
    taken = {best, "update2"}
    assert json.loads((results / "checkpoint_eval/rlvr/seed1/deleted_weights.json").read_text()) == sorted(
        {"update1"} - taken
    )
    assert {path.parent.name for path in results.glob("checkpoints/rlvr/seed1/*/model.safetensors")} == taken
    for model in ("sft/seed1", "rlvr/seed1", "rlvr_dev/seed1"):
        card = (results / f"models/{model}/README.md").read_text()
        assert f"# {model}\n" in card and "not medical advice" in card
        assert (results / f"models/{model}/command.sh").is_file()
    assert "learning_rate: 0.0003" in (results / "models/sft/seed1/README.md").read_text()
    (rewarded,) = {f"reward {reward:+g}" for reward in rollouts["reward"].head(1)}
    assert rewarded in page
    assert yaml.safe_load((results / "config.yaml").read_text())["arms"]["rlvr"]["reward"] == {"tests/reward.py": 1.0}

    written = snakemake(*SHORT, "--report", "workflow.html", cwd=finished)
    assert written.returncode == 0, written.stderr
    workflow = (finished / "workflow.html").read_text(encoding="utf-8")
    for category in ("Data", "Evaluation", "Training dynamics", "Figures", "Results"):
        assert f'"{category}"' in workflow
    assert "Circles show the accuracy by any" in workflow

    source = os.environ | {"PYTHONPATH": "src"}
    python("-m", "medrlvr.cli.main", "compare", "results/short", cwd=finished, env=source).check_returncode()
    assert "rlvr" in (finished / "results/comparison.html").read_text(encoding="utf-8")

    again = snakemake(*SHORT, cwd=finished)
    assert "Nothing to be done" in again.stdout + again.stderr
    resolved = ("--configfile", "results/short/config.yaml")
    assert jobs(snakemake("--dry-run", *resolved, cwd=finished)) == {}, "the page's configuration is the run's"
    forced = jobs(snakemake("--dry-run", *SHORT, "--forcerun", "score_answers", cwd=finished))
    assert set(forced) == {"all", "score_answers", "compare_models", "draw_figures", "render_report"}


CHANGED, OTHER_FILES, NEW = (
    "params have changed since last execution",
    "set of input files has changed since last execution",
    "output files have to be generated",
)


@pytest.mark.parametrize(
    ("change", "causes"),
    [
        ("title=Other", {CHANGED: {"draw_figures"}}),
        ("claims=true", {CHANGED: {"compare_models"}}),
        ("base={licence: Other}", {CHANGED: {"select_sft", "select_rlvr"}}),
        ("base={modes: [direct]}", {CHANGED: {"generate_answers"}}),
        ("modes={chain_of_thought: {max_tokens: 60}}", {CHANGED: {"generate_answers", "generate_development"}}),
        (
            "modes={other: {prompt: direct, answer_format: bare, max_tokens: 4}}",
            {CHANGED: {"render_eval_prompts"}, OTHER_FILES: {"render_eval_prompts"}},
        ),
        (
            "external_models={other: {path: assets/miniature_base}}",
            {
                NEW: {"generate_answers", "score_answers"},
                CHANGED: {"compare_models", "delete_weights"},
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
        ("contamination={word_overlap: 8}", {CHANGED: {"find_overlaps"}}),
        (
            "benchmarks={miniature: {controls: [five_options]}}",
            {NEW: {"make_control"}, CHANGED: {"render_eval_prompts"}, OTHER_FILES: {"render_eval_prompts"}},
        ),
        ("benchmarks={miniature: {rows: 8}}", {CHANGED: {"split_questions"}}),
        ("benchmarks={miniature: {title: Other}}", {CHANGED: {"draw_figures"}}),
        ("prompts={direct: prompts/med_rlvr.txt}", {OTHER_FILES: {"render_training_prompts", "render_eval_prompts"}}),
        ("arms={sft: {epochs: 2}}", {CHANGED: {"train_sft"}}),
        ("arms={sft: {modes: [chain_of_thought]}}", {CHANGED: {"select_sft"}}),
        (
            "arms={sft: {learning_rates: [3.0e-4, 1.0e-4]}}",
            {NEW: {"train_sft", "generate_development"}, OTHER_FILES: {"select_sft"}},
        ),
        ("arms={rlvr: {clip_range: 0.3}}", {CHANGED: {"train_rlvr"}}),
        ("arms={rlvr: {reward: paper}}", {CHANGED: {"train_rlvr"}}),
        ("arms={rlvr: {reward: {leak_penalty: {weight: 0.5}}}}", {CHANGED: {"train_rlvr"}}),
        ("arms={rlvr: {modes: [direct]}}", {CHANGED: {"generate_development"}}),
        ("evaluation={bootstrap_resamples: 10}", {CHANGED: {"score_answers"}}),
        ("evaluation={seed: 2}", {CHANGED: {"make_control"}}),
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


@pytest.mark.parametrize(
    "change",
    [
        "evaluation={seed: 2}",
        "modes={other: {prompt: direct, answer_format: bare, max_tokens: 4}}",
        "benchmarks={miniature: {controls: [five_options]}}",
        "base={modes: [direct]}",
    ],
)
def test_a_changed_evaluation_trains_nothing(finished: Path, change: str) -> None:
    planned = jobs(snakemake("--dry-run", *SHORT, "--config", change, cwd=finished))
    assert planned and not {"train_sft", "train_rlvr", "render_training_prompts"} & set(planned)


def test_a_second_seed_is_added_to_the_first(finished: Path) -> None:
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


@pytest.mark.parametrize(
    ("file", "old", "new", "rules"),
    [
        ("workflow/scripts/train_rlvr.py", '"""Train the base by', '"""Train it by', set()),
        ("src/medrlvr/grading/rewards.py", '"""-1 without a valid format', '"""Minus one without', set()),
        ("src/medrlvr/grading/grader.py", '"""The one grader: it', '"""The grader: it', set()),
        ("src/medrlvr/training/rlvr.py", '"""Reinforcement learning from', '"""Learning from', set()),
        ("src/medrlvr/config/experiment.py", '"""Name of the folder under', '"""The folder under', set()),
        ("tests/reward.py", '"""Return less for', '"""Give less for', set()),
        ("tests/reward.py", "WRONG = -0.5", "WRONG = -0.6", {"train_rlvr"}),
        ("src/medrlvr/grading/patterns.py", "[(*]{0,3}", "[(*]{0,2}", {"score_answers", "select_sft", "select_rlvr"}),
        ("src/medrlvr/data/miniature/evidence.py", '"""Check the reasoning', '"""Inspect the reasoning', set()),
        (
            "src/medrlvr/data/miniature/evidence.py",
            "{1,8}",
            "{1,9}",
            {"score_answers", "score_checkpoints", "label_stages"},
        ),
        ("src/medrlvr/evaluation/claims.py", '"""Assess equality:', '"""Judge equality:', set()),
        ("src/medrlvr/evaluation/claims.py", "MARGIN = 0.05", "MARGIN = 0.04", {"compare_models"}),
    ],
    ids=[
        "script",
        "rewards",
        "grader",
        "trainer",
        "settings",
        "own reward",
        "own reward's number",
        "grader's pattern",
        "evidence",
        "evidence's pattern",
        "claims",
        "claims' margin",
    ],
)
def test_a_docstring_reruns_nothing_and_changed_code_does(
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


def test_a_failed_step_is_planned_again_although_all_later_files_exist(finished: Path) -> None:
    """Snakemake deletes the old output of a failed step, and without the records would find nothing to do."""
    prompts = finished / "results/short/prompts"
    with hidden(*prompts.iterdir()):
        planned = jobs(snakemake("--dry-run", *SHORT, cwd=finished))
    assert (planned["render_training_prompts"], planned["render_eval_prompts"]) == (1, 1)


def test_deleted_models_are_not_trained_again(finished: Path) -> None:
    results = finished / "results/short"
    with hidden(results / "checkpoints", results / "models"):
        assert jobs(snakemake("--dry-run", *SHORT, cwd=finished)) == {}


def test_one_question_is_answered_and_graded(finished: Path, tmp_path: Path) -> None:
    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return python("-m", "medrlvr.cli.main", "ask", *arguments, cwd=finished, env=os.environ | {"PYTHONPATH": "src"})

    model = "results/short/models/rlvr_dev/seed1"
    first = read_parquet(finished / "results/short/data/benchmarks/miniature.parquet").iloc[0]
    result = ask(model, "--question", first["question_id"])
    assert result.returncode == 0, result.stderr
    assert f"--- {first['question_id']}, chain_of_thought" in result.stdout
    # The text may differ from the evaluation's: one prompt alone changes the order of sums, and a model with so little
    # training has near ties.
    response = result.stdout.split("--- response\n")[1].split("\n--- grade\n")[0]
    found = grade(response, list(first["options"]), int(first["gold"]))
    assert f"\n--- grade\nanswer: {found.letter or 'none found'}; correct answer: " in result.stdout
    assert f"answer with untagged text included: {found.lenient_letter or 'none found'}\n" in result.stdout
    assert "not medical advice" in result.stdout

    own = tmp_path / "own.json"
    own.write_text(json.dumps({"stem": "Which?", "options": ["this", "that"], "answer": "B"}))
    for mode in ("direct", "loglikelihood"):
        result = ask("results/short/models/base", "--question", str(own), "--mode", mode)
        assert result.returncode == 0, result.stderr
        assert "A. this\nB. that" in result.stdout
        assert "correct answer: B" in result.stdout
    assert "probabilities of the letters: A 0." in result.stdout

    own.write_text(json.dumps({"stem": "Which?", "options": ["this", "that"], "answer": "C"}))
    for arguments, message in (
        (["results/short/models/none"], "is not a model folder"),
        ([model, "--question", "absent/1"], "has the id 'absent/1'. An example of an id is"),
        ([model, "--question", str(own)], "answer is C, but there are 2 options"),
        ([str(finished / "assets/miniature_base")], "is not in a results folder"),
    ):
        result = ask(*arguments)
        assert result.returncode == 1
        assert message in result.stderr
        assert "Traceback" not in result.stderr


def test_no_secret_and_no_home_folder_is_in_logs_pages_and_models(finished: Path) -> None:
    """Read as bytes: every file that a user may publish, and Snakemake's own log."""
    results = finished / "results/short"
    files = [path for path in results.rglob("*") if path.is_file() and path.suffix not in (".parquet", ".safetensors")]
    files += (finished / ".snakemake/log").glob("*.log")
    names = {path.name for path in files}
    assert {"report.html", "README.md", "command.sh", "seed1.log", "training.yaml", "version.json"} <= names
    forbidden = [value.encode() for value in (*SECRETS.values(), f"{finished.parent}/")]
    own = [path for path in files if ".snakemake" not in path.parts]
    assert [path for path in own for value in forbidden if value in path.read_bytes()] == []
    theirs = [path for path in files if ".snakemake" in path.parts]
    assert theirs and not [path for path in theirs for value in forbidden[:-1] if value in path.read_bytes()]
