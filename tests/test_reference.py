"""The reference run: its order, its export, what is missing, what is pooled, and its page, from planted results."""

import json
import math
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medrlvr.data.evidence_checks import evidence_check
from medrlvr.data.miniature.world import QUESTION_SETS, draw_from, load_world, make_questions
from medrlvr.evaluation.score import score_answers
from medrlvr.grading import grade, load_reward
from medrlvr.grading.letters import LETTERS
from medrlvr.reference import export, fingerprints, main
from medrlvr.reference import page as page_module
from medrlvr.reference.export import LARGEST_FILE, LARGEST_FOLDER, export_questions, export_run, shipped_bytes
from medrlvr.reference.page import write_page
from medrlvr.reference.pooled import find_unequal, pool
from medrlvr.reference.readme import write_readme
from medrlvr.reference.runs import PARTS, REFERENCE, Part, Run, all_runs
from medrlvr.reference.shortcuts import highest, last, patterns
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet, write_json, write_parquet, write_text

QUESTIONS = 120
SETS = {"miniature": "test", "miniature_pairs": "pairs_test"}
OVERLAY = """
experiment: reference
benchmarks: {miniature: {controls: []}, miniature_options: null, miniature_form: null}
arms:
  sft: {seeds: [1, 2]}
  rlvr: {seeds: [1, 2]}
  rlvr_strict: {extends: rlvr, seeds: [1], reward: strict}
"""


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    """An experiment with one SFT and two RLVR arms, of which base, sft and rlvr have finished with two seeds."""
    overlay = tmp_path / "overlay.yaml"
    write_text(overlay, OVERLAY)
    monkeypatch.setattr(page_module, "RESAMPLES", 200)
    monkeypatch.setattr(Part, "overlays", ["config/miniature.yaml", str(overlay)])
    made = Part("reference", tmp_path / "results", tmp_path / "shipped")
    folder = made.results / "models/base"
    folder.mkdir(parents=True)
    write_text(folder / "model.safetensors", "weights")
    questions = _plant_questions(made)
    for model, right in {"base": 30, "sft/seed1": 60, "sft/seed2": 70, "rlvr/seed1": 100, "rlvr/seed2": 110}.items():
        _plant(made, model, right, questions)
    return made


def _plant_questions(part: Part) -> pd.DataFrame:
    rng, tables = random.Random(1), []
    for name, kind in SETS.items():
        drawn = [draw_from(load_world(), QUESTION_SETS[kind], rng) for _ in range(QUESTIONS)]
        table = pd.DataFrame(
            {
                "question_id": [f"{name}/{number}" for number in range(QUESTIONS)],
                "stem": [one.stem for one in drawn],
                "options": [list(one.options) for one in drawn],
                "gold": [one.gold for one in drawn],
            }
        )
        write_parquet(part.results / f"data/benchmarks/{name}.parquet", table)
        tables.append(table.assign(benchmark=name))
    questions = pd.concat(tables, ignore_index=True)
    own = questions["question_id"]
    clusters = pd.DataFrame({"question_id": own, "cluster": own, "repeats": own})
    write_parquet(part.results / "data/clusters.parquet", clusters)
    return questions


def _plant(part: Part, model: str, right: int, questions: pd.DataFrame) -> None:
    """Plant the results of one model that answers the first `right` questions of each set correctly."""
    rows = []
    for mode in part.experiment.modes_of(model):
        for benchmark, group in questions.groupby("benchmark"):
            for number, row in enumerate(group.to_dict("records")):
                letter = LETTERS[row["gold"] if number < right else (row["gold"] + 1) % len(row["options"])]
                tagged = f" <think> It must be {letter}. </think> <answer> {letter} </answer>"
                text = f" It must be {letter}. Answer: {letter}." if model == "base" else tagged
                rows.append(
                    {
                        "model": model,
                        "benchmark": benchmark,
                        "question_id": row["question_id"],
                        "mode": mode,
                        "sample": 0,
                        "response": text if mode == "chain_of_thought" else f" {letter}",
                        "finish_reason": "stop",
                        "response_tokens": 9,
                    }
                )
    forms = {mode: settings.grader_format for mode, settings in part.experiment.modes.items()}
    scores = score_answers(pd.DataFrame(rows), questions, forms, evidence_check("miniature"))
    write_parquet(part.results / f"eval/{model}/scores.parquet", scores)
    if model.startswith("sft"):
        losses = pd.DataFrame({"update": [1, 2], "gpt_loss": [0.5, 0.4]})
        write_parquet(part.results / f"dynamics/{model}/lr0.0003.parquet", losses)
    if not model.startswith("rlvr"):
        return
    shares = [0.3] * 10 + [0.0] * 10
    updates = pd.DataFrame({"update": range(1, 21), "reward": 0.5, "chars": 40.0, "empty_think": shares})
    for name in part.experiment.benchmarks:
        saved = updates["update"] % 10 == 0
        updates[f"accuracy_{name}"] = (updates["update"] / 100).where(saved)
        updates[f"lenient_accuracy_{name}"] = (updates["update"] / 50).where(saved)
    write_parquet(part.results / f"dynamics/{model}.parquet", updates)
    rollouts = pd.DataFrame(
        {"update": [1, 2], "response": ["<think></think>", "```<think> <think x"], "reward": [1.0, 0.0]}
    )
    write_parquet(part.results / f"rollouts/{model}/rollouts.parquet", rollouts)
    write_parquet(part.results / f"dynamics/{model}/responses.parquet", pd.DataFrame({"empty_think": [1.0, 1.0]}))
    write_json(part.results / f"dynamics/{model}/stages.json", {"bands": [{"stage": "format_failure"}]})


def finished(part: Part) -> list[Run]:
    return [run for run in all_runs([part]) if (part.results / "eval" / run.model).is_dir()]


def ship(part: Part) -> list[Run]:
    export_questions(part)
    for run in finished(part):
        export_run(run)
    return finished(part)


def test_the_main_arms_run_first_and_their_last_seeds_last() -> None:
    names = [f"{run.part.name}/{run.model}" for run in all_runs()]
    first = [f"reference/{model}" for seed in (1, 2, 3) for model in (f"sft/seed{seed}", f"rlvr/seed{seed}")]
    assert names[:7] == ["reference/base", *first]
    assert names[-2:] == ["reference/sft/seed10", "reference/rlvr/seed10"]
    assert "reference_few/rlvr/seed3" in names and len(set(names)) == len(names)


def test_every_arm_of_the_reference_differs_from_rlvr_in_one_factor_and_has_64_responses_an_update() -> None:
    arms = PARTS[0].experiment.arms
    for name, arm in arms.items():
        if name == "sft":
            continue
        assert arm.prompts_per_update * arm.samples_per_prompt == 64, name
        assert len(arm.seeds) == (10 if name == "rlvr" else 3), name
        rows = arm.rows or PARTS[0].experiment.miniature.train
        assert rows * arm.episodes / arm.prompts_per_update == 110, name


def test_a_run_is_exported_whole_without_weights(part: Part) -> None:
    runs = ship(part)
    assert {run.model for run in runs} == {"base", "sft/seed1", "sft/seed2", "rlvr/seed1", "rlvr/seed2"}
    files = {run.model: sorted(file.name for file in run.folder.iterdir() if file.is_file()) for run in runs}
    assert files["base"] == ["answers.parquet", "run.json"]
    assert files["sft/seed1"] == ["answers.parquet", "run.json", "updates.csv"]
    assert files["rlvr/seed2"] == ["answers.parquet", "run.json", "stages.json", "updates.csv"]
    assert files["rlvr/seed1"] == sorted([*files["rlvr/seed2"], "responses.parquet", "rollouts.parquet"])
    record = json.loads((part.shipped / "rlvr/seed1/run.json").read_text())
    assert set(record["fingerprints"]) == {"world", "base", "grader", "evidence", "settings", "training", "reward"}
    assert record["settings"]["reward"] == "paper"
    shipped = read_parquet(part.shipped / "rlvr/seed1/answers.parquet")
    assert shipped["correct"].sum() == read_parquet(part.results / "eval/rlvr/seed1/scores.parquet")["correct"].sum()


@pytest.mark.parametrize(
    ("changed", "dirty"), [(None, False), ("docs/page.md", False), ("README.md", False), ("src/code.py", True)]
)
def test_a_run_records_its_commit_and_changes_of_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str | None, dirty: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    assert export._commit() == "unknown"
    for name in ("docs/page.md", "README.md", "src/code.py"):
        write_text(tmp_path / name, "old")
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "All"]):
        subprocess.run(["git", *command], check=True)
    if changed:
        write_text(tmp_path / changed, "new")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert export._commit() == commit[:12] + "-dirty" * dirty


def test_an_unfinished_run_is_not_exported(part: Part) -> None:
    (part.results / "dynamics/rlvr/seed2/stages.json").unlink()
    run = next(run for run in finished(part) if run.model == "rlvr/seed2")
    with pytest.raises(UserError, match=r"rlvr/seed2: not finished, .*stages\.json missing"):
        export_run(run)
    assert not run.folder.exists()


def test_an_interrupted_export_leaves_the_old_run_and_no_half_folder(part: Part, monkeypatch) -> None:
    run = next(one for one in ship(part) if one.model == "sft/seed1")
    before = (run.folder / "run.json").read_bytes()

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_json", stopped)
    with pytest.raises(KeyboardInterrupt):
        export_run(run)
    assert (run.folder / "run.json").read_bytes() == before


def test_a_file_that_is_too_large_is_rejected(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "LARGEST_FILE", 100)
    export_questions(part)
    with pytest.raises(UserError, match="bytes, more than the 100 that are shipped"):
        export_run(finished(part)[0])


@pytest.mark.parametrize(
    ("name", "value", "outdated"),
    [
        ("world_version", lambda experiment: "other", True),
        ("training_version", lambda experiment: "other", True),
        ("terms_version", lambda setting: "other", True),
        ("grader_version", lambda: "other", False),
        ("evidence_version", lambda: "other", False),
    ],
)
def test_a_run_of_other_code_is_missing_but_not_one_of_another_grader(
    part: Part, monkeypatch: pytest.MonkeyPatch, name: str, value: Callable[..., str], outdated: bool
) -> None:
    run = next(one for one in ship(part) if one.model == "rlvr/seed1")
    assert main.is_current(run)
    monkeypatch.setattr(fingerprints, name, value)
    assert main.is_current(run) is not outdated
    monkeypatch.undo()


def test_the_fingerprint_of_training_follows_its_code_and_not_its_docstrings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = '"""{}"""\n\n\ndef step():  # {}\n    return {}\n'
    monkeypatch.setattr(fingerprints, "_TRAINING", tmp_path)
    found = []
    for text in (code.format("a", "a", 1), code.format("b", "b", 1), code.format("a", "a", 2)):
        write_text(tmp_path / "one.py", text)
        found.append(fingerprints.training_version(PARTS[0].experiment))
    assert found[0] == found[1] != found[2]
    monkeypatch.setattr(fingerprints, "version", lambda package: "other")
    assert fingerprints.training_version(PARTS[0].experiment) != found[2]


def test_the_fingerprint_of_the_world_follows_its_table_and_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = PARTS[0].experiment
    larger = experiment.miniature.model_copy(update={"test": 400})
    found = {fingerprints.world_version(one) for one in (experiment, PARTS[1].experiment)}
    assert len(found) == 1, "the questions do not depend on the base"
    found.add(fingerprints.world_version(experiment.model_copy(update={"miniature": larger})))
    write_text(tmp_path / "facts.tsv", "condition\n")
    monkeypatch.setattr(fingerprints, "FACTS", tmp_path / "facts.tsv")
    found.add(fingerprints.world_version(experiment))
    assert len(found) == 3


def test_only_a_base_that_is_pre_trained_depends_on_its_recipe(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    base = part.results / "models/base"
    monkeypatch.undo()
    embedded, rebuilt = (fingerprints.fingerprints(one.experiment, base, None) for one in PARTS)
    assert set(rebuilt) - set(embedded) == {"pretraining"}


def test_results_of_other_code_are_rejected(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="this has changed: world, training, grader"):
        main.claim_results(part)
    new = Part(part.name, part.results_root / "new", part.shipped_root)
    main.claim_results(new)
    (new.results / "data").mkdir()
    main.claim_results(new)
    monkeypatch.setattr(fingerprints, "training_version", lambda experiment: "other")
    with pytest.raises(UserError, match=r"other code wrote this folder; this has changed: training\..*\n  rm -r"):
        main.claim_results(new)


def test_each_finished_run_is_exported_at_once_and_a_failure_keeps_the_earlier_ones(
    part: Part, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "all_runs", lambda: all_runs([part]))
    monkeypatch.setattr(main, "claim_results", lambda part: None)
    monkeypatch.setattr(main, "_start_workflow", lambda run: int(run.arm == "rlvr_strict"))
    monkeypatch.setattr(main, "write_page", lambda folder: None)
    monkeypatch.setattr(main, "write_readme", lambda readme, part: None)
    assert main.main(["--runs", "2"]) == 0
    assert [run.model for run in all_runs([part]) if run.record()] == ["base", "sft/seed1"]
    assert "reference: reference, sft/seed1, run 2 of 2" in capsys.readouterr().out
    assert main.main([]) == 1
    assert "rlvr_strict/seed1 failed. The finished runs are in docs/reference." in capsys.readouterr().err
    assert [run.model for run in main.missing_runs()] == ["rlvr_strict/seed1"]


def test_ctrl_c_ends_the_command_without_a_traceback(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(run: Run) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "all_runs", lambda: all_runs([part]))
    monkeypatch.setattr(main, "claim_results", lambda part: None)
    monkeypatch.setattr(main, "_start_workflow", interrupt)
    assert main.main([]) == 130
    assert not part.shipped.exists()


@pytest.mark.slow
def test_the_workflow_makes_every_file_that_is_shipped() -> None:
    files = [str(file) for run in all_runs(PARTS[:1]) for file in run.targets]
    command = [sys.executable, "-m", "medrlvr.cli.main", "run", *PARTS[0].overlays, "-n", "--", *files]
    printed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert printed.returncode == 0, printed.stdout + printed.stderr
    assert "train_rlvr" in printed.stdout


def test_another_base_is_another_run(part: Part) -> None:
    run = next(one for one in ship(part) if one.model == "sft/seed1")
    write_text(part.results / "models/base/model.safetensors", "others")
    assert not main.is_current(run)


def test_only_equal_fingerprints_are_pooled_and_the_results_name_the_others(part: Part) -> None:
    ship(part)
    file = part.shipped / "sft/seed2/run.json"
    record = json.loads(file.read_text())
    record["fingerprints"]["training"] = "older"
    write_json(file, record)
    found = pool(part, all_runs([part]))
    assert found and dict(found.excluded) == {"sft/seed2": ["training"]}
    assert list(found.absent) == ["rlvr_strict/seed1"]
    write_page(part.shipped_root, [part])
    page = (part.shipped_root / "index.md").read_text()
    assert "Not run: rlvr_strict (seed 1)." in page
    assert "Not pooled: sft/seed2, with another fingerprint of training." in page


def test_answers_of_another_grader_are_graded_again(part: Part) -> None:
    ship(part)
    file = part.shipped / "rlvr/seed1"
    answers = read_parquet(file / "answers.parquet")
    write_parquet(file / "answers.parquet", answers.assign(correct=False))
    record = json.loads((file / "run.json").read_text())
    as_shipped = pool(part, all_runs([part]))
    assert as_shipped and not as_shipped.scores["rlvr/seed1"]["correct"].any()
    for name in fingerprints.GRADING:
        older = record | {"fingerprints": record["fingerprints"] | {name: "older"}}
        # RLVR is pooled with runs that the same grader has rewarded, so the other run has the older one too.
        for run in ("rlvr/seed1", "rlvr/seed2"):
            write_json(part.shipped / run / "run.json", older)
        again = pool(part, all_runs([part]))
        assert again and again.scores["rlvr/seed1"]["correct"].tolist() == answers["correct"].tolist()


def test_what_must_be_equal_depends_on_the_arm() -> None:
    def record(arm: str, **found: str) -> dict[str, Any]:
        return {"arm": arm, "fingerprints": {"world": "w", "base": "b"} | found}

    rlvr = {"training": "t", "grader": "g", "settings": "s", "reward": "r"}
    records = {
        "base": record("base", grader="new"),
        "sft/seed1": record("sft", training="t", grader="new", settings="its own"),
        **{f"rlvr/seed{seed}": record("rlvr", **rlvr) for seed in (1, 2, 3)},
        "rlvr/seed4": record("rlvr", **(rlvr | {"training": "other"})),
        "rlvr/seed5": record("rlvr", **(rlvr | {"grader": "other", "settings": "other"})),
        "rlvr/seed6": record("rlvr", **(rlvr | {"base": "other"})),
        "rlvr/seed7": record("rlvr", **(rlvr | {"world": "other"})),
        "rlvr_binary/seed1": record("rlvr_binary", **(rlvr | {"settings": "binary", "reward": "binary"})),
    }
    assert find_unequal(records, "w", PARTS[0].experiment) == {
        "rlvr/seed4": ["training"],
        "rlvr/seed5": ["grader", "settings"],
        "rlvr/seed6": ["base"],
        "rlvr/seed7": ["world"],
    }


def test_the_results_have_both_readings_verdicts_and_shortcuts(part: Part) -> None:
    ship(part)
    write_page(part.shipped_root, [part])
    page = (part.shipped_root / "index.md").read_text()
    accuracy = 100 * (100 + 110) / 2 / QUESTIONS
    assert f"| rlvr, chain of thought | 2 | {accuracy:.1f} |" in page
    assert "| As in training | RLVR is better than its base model | **supported** |" in page
    assert "Seeds: sft 2, rlvr 2; questions for each set: 120." in page
    assert "| RLVR is better than its base model | supported | 0 | supported 2 |" in page
    assert "- Empty think blocks: in rlvr.\n" in page
    assert "| **30 %** / 0 % |" in page and "| format failure 2 |" in page
    assert "*Empty think blocks.*\n\nrlvr, seed 1, update 1, reward +1 (100.0 % of the 2 responses):" in page
    assert "*Torn tags.*\n\nrlvr, seed 1, update 2, reward +0 (50.0 % of the 2 responses):" in page
    assert "````text\n```<think> <think x\n````" in page, "a response does not end its block"


def test_the_readmes_block_has_an_example_a_table_and_the_gain_by_both_readings(part: Part) -> None:
    ship(part)
    readme = part.shipped_root / "README.md"
    write_text(readme, "before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n")
    write_readme(readme, part)
    block = readme.read_text()
    assert block.startswith("before\n") and block.endswith("\nafter\n")
    assert "It is the first of the 70 of 120 questions with the most frequent outcome:" in block
    assert "| guessing | - | 22." in block
    assert "| base, chain of thought | - | 0.0 \\| 25.0 | 0.0 \\| 25.0 |" in block
    assert "| base, direct | - | 25.0 | 25.0 |" in block
    assert "| SFT, direct | 2 | 54.2 | 54.2 |" in block
    assert "| RLVR, chain of thought | 2 | 87.5 | 87.5 |" in block
    assert "**By any readable letter, RLVR minus the base's best mode is +62.5 and +62.5 points." in block
    assert "is +62.5 and +62.5 by any readable letter and +87.5 and +87.5 with the required format" in block
    assert "SFT minus the base's direct answers is +29.2 and +29.2." in block
    assert "In 0.0 % of RLVR's test responses" in block


def test_without_a_comparison_the_readme_is_not_changed(part: Part) -> None:
    export_questions(part)
    readme = part.shipped_root / "README.md"
    write_text(readme, "no markers")
    write_readme(readme, part)
    assert readme.read_text() == "no markers"


def test_the_figures_are_drawn_from_their_tables(part: Part) -> None:
    ship(part)
    write_page(part.shipped_root, [part])
    folder = part.shipped_root / "figures"
    assert sorted(file.name for file in folder.iterdir()) == [
        f"reference_{name}" for name in ("accuracy.csv", "accuracy.svg", "shortcuts.csv", "shortcuts.svg")
    ]
    curve = pd.read_csv(folder / "reference_accuracy.csv")
    assert curve.groupby(["title", "reading", "seed"]).size().tolist() == [2] * 8
    assert set(curve.loc[curve["reading"] == "any readable letter", "value"]) == {0.2, 0.4}
    shares = pd.read_csv(folder / "reference_shortcuts.csv")
    assert shares.to_dict("records") == [
        {"arm": "rlvr", "seed": seed, "shortcut": "empty_think", "value": 0.3} for seed in (1, 2)
    ]
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    write_page(part.shipped_root, [part])
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["run.json", "stages.json"])
def test_a_corrupt_shipped_file_is_named(part: Part, name: str) -> None:
    ship(part)
    file = part.shipped / "rlvr/seed1" / name
    file.write_text('{"arm": ')
    with pytest.raises(UserError, match=rf"rlvr/seed1/{name} is not JSON"):
        write_page(part.shipped_root, [part])


def test_without_runs_the_results_name_what_was_not_run(part: Part) -> None:
    write_page(part.shipped_root, [part])
    page = (part.shipped_root / "index.md").read_text()
    assert "Not run: base, sft (seeds 1, 2), rlvr (seeds 1, 2), rlvr_strict (seed 1)." in page


def test_without_a_base_or_rlvr_there_is_no_verdict(part: Part) -> None:
    export_questions(part)
    for run in finished(part):
        if run.arm == "sft":
            export_run(run)
    write_page(part.shipped_root, [part])
    page = (part.shipped_root / "index.md").read_text()
    assert "### Accuracy" in page and "### Verdicts" not in page and "No run of RLVR is pooled." in page


@pytest.mark.parametrize(
    ("response", "torn"),
    [
        ("<think>a</think><answer>A</answer>", False),
        ("I think it is the answer", False),
        ("<think a</think>", True),
        ("think>a", True),
        ("</answer", True),
        ("<thinking>", False),
    ],
)
def test_torn_tags(response: str, torn: bool) -> None:
    rows = pd.DataFrame({"response": [response]})
    assert patterns(pd.DataFrame(index=[0]), rows)["torn tags"].tolist() == [torn]


def test_the_highest_share_is_of_ten_updates() -> None:
    shares = pd.DataFrame({"empty_think": [0.0] * 9 + [1.0] + [0.0] * 20})
    assert highest(shares, "empty_think") == pytest.approx(0.1)
    assert math.isnan(highest(shares, "absent")) and math.isnan(last(shares, "absent")), "not measured"
    assert last(shares.iloc[:12], "empty_think") == pytest.approx(0.1)
    assert last(shares, "empty_think") == 0.0


def test_graders_that_count_as_one_give_the_shipped_rollouts_one_reward() -> None:
    """Training would have been the same with the present grader."""
    for part in PARTS:
        questions = make_questions(
            {name: getattr(part.experiment.miniature, name) for name in QUESTION_SETS}, part.experiment.miniature.seed
        )["train"]
        for run in all_runs([part]):
            record = run.record()
            if record and "rollouts" in run.tables and record["fingerprints"]["grader"] in fingerprints.EQUAL_GRADERS:
                reward, table = load_reward(record["settings"]["reward"]), read_parquet(run.folder / "rollouts.parquet")
                for row in table.to_dict("records"):
                    question = questions[int(row["question_id"].rpartition("/")[2]) - 1]
                    gold = LETTERS.index(question["answer_idx"])
                    truncated = row["finish_reason"] == "length"
                    found = grade(row["response"], [*question["options"].values()], gold, truncated=truncated)
                    assert (found.letter, reward(found)) == (row["letter"], row["reward"]), row


def test_an_earlier_grader_with_the_same_rewards_is_pooled_and_another_is_not() -> None:
    prints = {"world": "w", "base": "b", "training": "t", "settings": "s", "reward": "r"}
    graders = {"a": next(iter(fingerprints.EQUAL_GRADERS)), "b": fingerprints.grader_version(), "c": "another"}
    records = {name: {"arm": "rlvr", "fingerprints": prints | {"grader": one}} for name, one in graders.items()}
    assert find_unequal(records, "w", PARTS[0].experiment) == {"c": ["grader"]}


def test_what_is_shipped_is_small() -> None:
    files = [file for file in REFERENCE.rglob("*") if file.is_file()] if REFERENCE.is_dir() else []
    assert [str(file) for file in files if file.stat().st_size > LARGEST_FILE] == []
    assert not files or shipped_bytes(REFERENCE) < LARGEST_FOLDER
    assert [file.name for file in files if file.suffix == ".safetensors"] == []
