"""Sensitivity to the chain of thought: interventions, measures of planted answers, and the claim's rule."""

import json
import os
import random
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from evaluated import PAPER
from matplotlib import pyplot as plt
from test_claims import scores
from test_compare import design

from medrlvr.config.design import DEPENDENCE
from medrlvr.config.load import load_config
from medrlvr.data.miniature.interventions import replace_finding
from medrlvr.data.miniature.world import load_world
from medrlvr.evaluation import answer_store
from medrlvr.evaluation.answer_store import requests_of, shard_names
from medrlvr.evaluation.claims import assess_claims
from medrlvr.evaluation.requests import draw_questions
from medrlvr.evaluation.sensitivity.claim import last_measures, sensitivity_evidence
from medrlvr.evaluation.sensitivity.measures import (
    MEASURED_TYPES,
    measure_questions,
    option_probabilities,
    summarise_measures,
    used_shares,
)
from medrlvr.evaluation.sensitivity.probes import (
    PROBE_TYPES,
    build_probes,
    measured_systems,
    sampled_blocks,
    think_blocks,
)
from medrlvr.evaluation.sensitivity.think import closed, sentence_ends, shuffled
from medrlvr.report.figures.sensitivity import draw_sensitivity
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import empty_table, read_json, read_parquet, write_json, write_parquet

BLOCK = " Cough, 3.5 days. It is flu;\nso rest!  "


def test_sentences_end_at_marks_before_white_space_and_at_line_breaks() -> None:
    assert [BLOCK[:end] for end in sentence_ends(BLOCK)] == [
        " Cough, 3.5 days.",
        " Cough, 3.5 days. It is flu;",
        " Cough, 3.5 days. It is flu;\nso rest!",
    ]
    assert sentence_ends("one\n\ntwo") == [3, 8]
    assert sentence_ends(" \n ") == sentence_ends("") == []


def test_a_closed_block_has_the_first_sentences_and_the_outer_white_space() -> None:
    assert closed(BLOCK, 3) == BLOCK
    assert closed(BLOCK, 1) == " Cough, 3.5 days.  "
    assert closed(BLOCK, 0) == " "
    assert closed("No space.", 0) == " "


def test_shuffled_sentences_are_the_same_in_another_order() -> None:
    orders = {shuffled(BLOCK, random.Random(seed)) for seed in range(60)}
    parts = ["Cough, 3.5 days.", "It is flu;", "so rest!"]
    expected = {f" {' '.join(order)}  " for order in product(parts, repeat=3) if len({*order}) == 3}
    assert orders == expected - {f" {' '.join(parts)}  "}
    assert shuffled("One. One.", random.Random(1)) is None and shuffled("One.", random.Random(1)) is None


def test_a_cited_finding_of_the_question_is_replaced_wherever_it_is_mentioned() -> None:
    first, second, *_ = load_world()
    given, other = list(first.findings[:3]), next(one for one in second.findings if one not in first.findings)
    stem = f"A nurse has {given[0]}, {given[1]} and {given[2]}. Which drug treats it?"
    block = f" The finding {given[0]} and {other}: {given[0].upper()} fits."
    changed = replace_finding(stem, block, random.Random(1))
    assert changed is not None and given[0] not in changed.lower() and other in changed
    new = changed.split()[2]
    assert changed.count(new) == 2 and new not in (*given, other)
    assert new in {finding for condition in load_world() for finding in condition.findings}
    assert replace_finding(stem, f" The finding {other} fits.", random.Random(1)) is None


def test_the_drawn_questions_depend_on_the_benchmark_alone() -> None:
    table = pd.DataFrame({"benchmark": ["a"] * 40 + ["b"] * 6, "question_id": [*range(20), *range(20), *range(6)]})
    drawn = draw_questions(table, 10, seed=1)
    sizes = drawn.groupby("benchmark")["question_id"].nunique()
    assert sizes.to_dict() == {"a": 10, "b": 6} and len(drawn) == 26
    alone = draw_questions(table[table["benchmark"] == "a"], 10, seed=1)
    assert alone.equals(drawn[drawn["benchmark"] == "a"].reset_index(drop=True))
    assert {*draw_questions(table, 4, seed=1)["question_id"]} < {*drawn["question_id"]}
    assert set(draw_questions(table, 10, seed=2)["question_id"]) != set(drawn["question_id"])


OPTIONS = ["iron", "gold", "zinc"]
MODELS = ("base", "checkpoints/update4")


def blocks(responses: list[str], model: str = MODELS[1]) -> pd.DataFrame:
    ids = [f"q{row}" for row in range(len(responses))]
    answers = pd.DataFrame({"question_id": ids, "response": responses, "model": model, "benchmark": "b", "sample": 0})
    prompts = pd.DataFrame({"question_id": ids, "benchmark": "b", "prompt": "Q:", "template": "t"})
    questions = pd.DataFrame(
        {"question_id": ids, "benchmark": "b", "stem": "?", "options": [OPTIONS] * len(ids), "gold": 0}
    )
    return think_blocks(answers, prompts, questions)


def test_only_responses_with_format_letter_and_sentence_have_probes() -> None:
    table = blocks(
        [
            " <think> One. Two. </think> <answer> A </answer>",
            " <think> </think> <answer> A </answer>",
            " One. Answer: A",
            " so <think>Three.</think><answer>B</answer>",
            " <think> Four. </think> <answer> Z </answer>",
        ]
    )
    assert table["question_id"].tolist() == ["q0", "q3"]
    assert table["opening"].tolist() == ["Q: <think>", "Q: so <think>"]
    assert table["answered"].tolist() == ["iron", "gold"]
    probes = build_probes(table, 1, None)
    found = dict(zip(probes["question_id"], probes["prompt"], strict=True))
    assert found == {
        "q0/closed/0": "Q: <think> </think> <answer>",
        "q0/closed/1": "Q: <think> One. </think> <answer>",
        "q0/full/2": "Q: <think> One. Two. </think> <answer>",
        "q0/shuffled/2": "Q: <think> Two. One. </think> <answer>",
        "q0/swapped/2": "Q: <think>Three.</think> <answer>",
        "q3/closed/0": "Q: so <think> </think> <answer>",
        "q3/full/1": "Q: so <think>Three.</think> <answer>",
        "q3/swapped/1": "Q: so <think> One. Two. </think> <answer>",
    }
    replaced = build_probes(table, 1, lambda stem, block, rng: f"{stem}{block}new")
    assert "Q: <think>? One. Two. new</think> <answer>" in set(replaced["prompt"])


def test_blocks_are_those_of_the_drawn_questions_and_a_model_may_have_none() -> None:
    ids = [f"q{row}" for row in range(20)]
    response = " <think> One. </think> <answer> A </answer>"
    answers = pd.DataFrame({"question_id": ids * 2, "benchmark": "b", "sample": 0, "response": response})
    answers["model"] = [name for name in MODELS for _ in ids]
    prompts = pd.DataFrame({"question_id": ids, "benchmark": "b", "prompt": "Q:", "template": "t"})
    questions = pd.DataFrame({"question_id": ids, "benchmark": "b", "stem": "?", "options": [OPTIONS] * 20, "gold": 0})
    systems = {(MODELS[0], "b"): 3, (MODELS[1], "b"): 7}
    found = sampled_blocks(answers, prompts, questions, systems, 1)
    assert found.groupby("model").size().to_dict() == {MODELS[0]: 3, MODELS[1]: 7}
    assert {*found["question_id"][:3]} < {*found["question_id"][3:]}
    collapsed = answers["response"].where(answers["model"] == MODELS[0], " <think> </think> <answer> A </answer>")
    one = sampled_blocks(answers.assign(response=collapsed), prompts, questions, systems, 1)
    assert one.groupby("model").size().to_dict() == {MODELS[0]: 3}
    probes = build_probes(sampled_blocks(answers.assign(response="A"), prompts, questions, systems, 1), 1, None)
    assert probes.empty and [*probes.columns] == [*build_probes(found, 1, None).columns]


def test_a_block_is_swapped_only_with_one_of_another_answer() -> None:
    same = blocks([f" <think> Word {row}. </think> <answer> A </answer>" for row in range(4)])
    assert "swapped" not in set(build_probes(same, 1, None)["intervention"])


def planted(table: pd.DataFrame, policy: dict[str, list[float]]) -> pd.DataFrame:
    """Return measures of a model whose option probabilities depend on the intervention: name or closed/<k>."""
    probes = build_probes(table, 1, lambda stem, block, rng: block + " other")
    keys = [
        f"{name}/{kept}" if name == "closed" else name
        for name, kept in zip(probes["intervention"], probes["sentences"], strict=True)
    ]
    answers = probes[["model", "benchmark", "question_id"]].assign(
        letter_logprobs=[list(np.log(np.array(policy[key])) - 3) for key in keys]
    )
    return measure_questions(probes, answers.sample(frac=1, random_state=1))


PLANTED = ("full", "shuffled", "swapped", "replaced")
THREE = [f" <think> One. Two. Three. </think> <answer> {letter} </answer>" for letter in "AB"]


def test_measures_of_planted_probabilities() -> None:
    found = planted(
        blocks(THREE),
        {
            "closed/0": [0.5, 0.3, 0.2],
            "closed/1": [0.2, 0.6, 0.2],
            "closed/2": [0.6, 0.2, 0.2],
            "full": [0.8, 0.1, 0.1],
            "shuffled": [0.1, 0.2, 0.7],
            "swapped": [0.4, 0.3, 0.3],
            "replaced": [0.1, 0.8, 0.1],
        },
    )
    first, second = found.to_dict("records")
    assert (first["final"], first["written"], first["agreement"]) == ("A", "A", 1)
    assert (second["final"], second["written"], second["agreement"]) == ("A", "B", 0)
    kept = {name: first[f"kept_{name}"] for name in ("emptied", "shuffled", "swapped", "replaced")}
    assert kept == {"emptied": 1, "shuffled": 0, "swapped": 1, "replaced": 0}
    # It leads without any sentence, but not for good before the second.
    assert first["position"] == pytest.approx(2 / 3)
    assert first["area"] == pytest.approx((0.5 / 2 + 0.2 + 0.6 + 0.8 / 2) / 3)
    assert option_probabilities([-1000.0, -1000.0]).tolist() == [0.5, 0.5]


def test_a_summary_leaves_out_what_was_not_possible_and_draws_duplicates_together() -> None:
    measured = planted(
        blocks(THREE[:1]), {"closed/0": [0.1, 0.9], "closed/1": [0.1, 0.9], "closed/2": [0.9, 0.1], "full": [0.9, 0.1]}
        | {name: [0.9, 0.1] for name in ("shuffled", "replaced")},
    )  # fmt: skip
    clusters = pd.DataFrame({"question_id": ["q0"], "cluster": ["q0"]})
    records = {one["measure"]: one for one in summarise_measures(measured, clusters, 50, 1)}
    assert "kept_swapped" not in records
    assert records["kept_emptied"]["value"] == 0 and records["kept_shuffled"]["value"] == 1
    assert records["position"]["value"] == pytest.approx(2 / 3)
    many = pd.concat([measured.assign(question_id=f"q{row}", area=row % 2) for row in range(40)])
    ids = [f"q{row}" for row in range(40)]
    widths = []
    for names in (ids, [f"c{row % 2}" for row in range(40)]):
        table = pd.DataFrame({"question_id": ids, "cluster": names})
        area = next(one for one in summarise_measures(many, table, 500, 1) if one["measure"] == "area")
        widths.append(area["high"] - area["low"])
    assert widths[0] < 0.5 < widths[1] == 1


def test_only_the_last_checkpoint_is_measured_on_all_benchmarks_and_a_model_without_blocks_is_counted() -> None:
    systems = measured_systems(["base", MODELS[1]], {"b": 9, "c": 4}, 8, {"b": 5})
    assert systems == {("base", "b"): 5, (MODELS[1], "b"): 8, (MODELS[1], "c"): 4}
    records = used_shares(build_probes(blocks(THREE), 1, None), systems)
    assert [(one["model"], one["benchmark"], one["value"], one["n"]) for one in records] == [
        ("base", "b", 0, 5), (MODELS[1], "b", 0.25, 8), (MODELS[1], "c", 0, 4),
    ]  # fmt: skip


def types_of(table: pd.DataFrame) -> dict[str, pa.DataType]:
    schema = pa.Schema.from_pandas(table, preserve_index=False)
    return dict(zip(schema.names, schema.types, strict=True))


def test_tables_without_rows_have_the_columns_and_types_of_those_with_rows() -> None:
    probes = build_probes(blocks(THREE), 1, None)
    assert types_of(probes) == PROBE_TYPES
    policy = {f"closed/{count}": [0.9, 0.1] for count in range(3)} | {key: [0.9, 0.1] for key in PLANTED}
    assert types_of(planted(blocks(THREE), policy)) == MEASURED_TYPES
    answers = empty_table(dict.fromkeys(("model", "benchmark", "question_id", "letter_logprobs"), pa.string()))
    without = measure_questions(build_probes(blocks([]), 1, None), answers)
    assert without.empty and [*without.columns] == [*MEASURED_TYPES]
    assert summarise_measures(without, pd.DataFrame({"question_id": ["q0"], "cluster": ["q0"]}), 50, 1) == []


RULES = """
import json, runpy, sys
from types import SimpleNamespace as Bag
class Files(Bag):
    def __iter__(self):
        return iter([])
for name, (inputs, output, params, log) in json.loads(sys.argv[1]).items():
    step = Bag(rule=name, wildcards=[], log=[log], input=Files(**inputs), output=Files(**output), params=Bag(**params),
               config={"experiment": "x", "title": "X", "machine": {"device": "cpu"}})
    runpy.run_path(f"workflow/scripts/{name}.py", {"snakemake": step}, "__main__")
"""


def collapsed_steps(folder: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]]:
    """Write a base and a checkpoint with empty think blocks, and return the rules of sensitivity: their parameters."""
    models = [folder / "base", folder / "checkpoints/update4"]
    for model in models:
        shutil.copytree("assets/miniature_base", model)
    ids = [f"q{row}" for row in range(12)]
    asked = pd.DataFrame({"question_id": ids, "benchmark": "b", "prompt": "Q:", "template": "t"})
    response = " <think> </think> <answer> A </answer>"
    answers = [asked.assign(model=str(model), sample=0, response=response) for model in models]
    questions = pd.DataFrame({"question_id": ids, "stem": "?", "options": [OPTIONS] * 12, "gold": 0})
    clusters = pd.DataFrame({"question_id": ids, "cluster": ids})
    tables = {"requests": asked, "responses": pd.concat(answers), "questions": questions, "clusters": clusters}
    for name, table in tables.items():
        write_parquet(folder / f"{name}.parquet", table)
    write_json(folder / "stages.json", {"bands": [{"stage": "format_failure", "first": 1, "last": 4}]})
    at = {name: str(folder / f"{name}.parquet") for name in tables}
    shared = {"models": [str(folder / "base"), str(folder / "checkpoints")], "questions": [at["questions"]]}
    drawn = {"benchmarks": ["b"], "questions": 10, "curve": {"b": 5}, "seed": 1}
    home = folder / "home"
    made = {name: str(home / f"{name}.parquet") for name in ("answers", "requests", "questions")}
    return {
        "probe_checkpoints": (
            shared | {"responses": at["responses"], "prompts": at["requests"]},
            {"answers": made["answers"]},
            drawn | {"evidence": "miniature", "prompt_max_tokens": 64, "response_max_tokens": 64,
                     "state": str(folder / "state"), "display_name": "probes"},
            str(folder / "logs/probe"),
        ),
        "measure_sensitivity": (
            shared | {"answers": made["answers"], "probes": made["requests"], "clusters": at["clusters"]},
            {"questions": made["questions"], "record": str(home / "sensitivity.json"),
             "table": str(home / "sensitivity.csv")},
            drawn | {"resamples": 20, "again": "again"},
            str(folder / "logs/measure"),
        ),
        "draw_sensitivity": (
            {"tables": [str(home / "sensitivity.csv")], "stages": [str(folder / "stages.json")]},
            {"figure": str(home / "drawn.svg"), "table": str(home / "drawn.csv")},
            {"runs": ["rlvr/seed1"], "titles": {"b": "Title B"}},
            str(folder / "logs/draw"),
        ),
    }  # fmt: skip


@pytest.mark.slow
def test_a_policy_without_think_blocks_is_recorded_without_an_engine(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "logs").mkdir()
    command = [sys.executable, "-c", RULES, json.dumps(collapsed_steps(tmp_path))]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": "src"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "probes: no answers are requested" in done.stderr and "starting vLLM" not in done.stderr
    generation = read_json(home / "generation.json")
    assert (generation["answers"], generation["modes"], generation["hardware"]) == (0, {}, [])
    assert len(generation["weights"]) == 2 and (home / "command.sh").is_file()
    records = read_json(home / "sensitivity.json")["records"]
    found = {(one["update"], one["measure"]): (one["n"], one["value"], one["low"], round(one["high"], 3))
             for one in records}  # fmt: skip
    # Wilson's intervals of 0 of 5 and of 0 of 10.
    assert found == {(0, "used"): (5, 0, 0, 0.434), (4, "used"): (10, 0, 0, 0.278)}
    assert len(pd.read_csv(home / "sensitivity.csv")) == len(pd.read_csv(home / "drawn.csv")) == 2
    requests, answers, questions = (
        pa.parquet.read_schema(home / f"{name}.parquet") for name in ("requests", "answers", "questions")
    )
    typed = PROBE_TYPES | {"letter_tokens": pa.list_(pa.int64()), "shard": pa.string()}
    assert dict(zip(requests.names, requests.types, strict=True)) == typed
    assert dict(zip(answers.names, answers.types, strict=True)) == answer_store.ANSWER_TYPES
    assert dict(zip(questions.names, questions.types, strict=True)) == MEASURED_TYPES
    assert "no think block to change" in (home / "drawn.svg").read_text(encoding="utf-8")
    last = last_measures(read_parquet(home / "questions.parquet"), records)
    assert sensitivity_evidence([last], ["b"], read_parquet(tmp_path / "clusters.parquet"), 20, 1)["b"].n == 0


def measured(changed_if_emptied: float, changed_if_swapped: float, n: int = 200, agreement: float = 1) -> pd.DataFrame:
    order = np.arange(n) / n
    columns = {
        "kept_emptied": (order >= changed_if_emptied).astype(float),
        "kept_swapped": (order >= changed_if_swapped).astype(float),
        "agreement": (order < agreement).astype(float),
    }
    return pd.DataFrame({"benchmark": "b", "question_id": [f"q{row}" for row in range(n)], **columns})


@pytest.mark.parametrize(
    ("emptied", "swapped", "agreement", "verdict"),
    [
        (0.9, 0.8, 1, "supported"),
        (0.9, 0.2, 1, "contradicted"),
        (0.2, 0.9, 1, "contradicted"),
        (0.9, 0.52, 1, "undecided"),
        (0.9, 0.8, 0.9, "undecided"),
    ],
)
def test_the_smaller_change_counts(emptied: float, swapped: float, agreement: float, verdict: str) -> None:
    clusters = pd.DataFrame({"question_id": [f"q{row}" for row in range(200)], "cluster": range(200)})
    found = sensitivity_evidence([measured(emptied, swapped, agreement=agreement)], ["b"], clusters, 500, 1)["b"]
    assert (found.claim, found.verdict, found.n) == (DEPENDENCE, verdict, 200)
    assert found.measured is not None and found.measured.value == pytest.approx(min(emptied, swapped))
    seeds = [measured(emptied, swapped, agreement=agreement), *[measured(0.1, 0.1)] * 2]
    assert sensitivity_evidence(seeds, ["b"], clusters, 500, 1)["b"].verdict != "supported"


@pytest.mark.parametrize("few", [3, 5])
def test_a_run_with_few_used_questions_counts_as_much_as_the_others(few: int) -> None:
    """The interval is that of the value, the mean over runs, and n is the smallest number."""
    clusters = pd.DataFrame({"question_id": [f"q{row}" for row in range(200)], "cluster": range(200)})
    runs = [measured(0.64, 0.64, n=110), measured(0, 0, n=few)]
    found = sensitivity_evidence(runs, ["b"], clusters, 2000, 1)["b"]
    assert found.measured is not None and found.n == few
    assert found.measured.value == pytest.approx(0.32, abs=0.005)
    assert found.measured.low < found.measured.value < found.measured.high < 0.5


def test_a_share_of_all_questions_has_an_interval() -> None:
    clusters = pd.DataFrame({"question_id": [f"q{row}" for row in range(200)], "cluster": range(200)})
    (found,) = sensitivity_evidence([measured(1, 1, n=110)], ["b"], clusters, 500, 1).values()
    assert found.measured is not None and (found.measured.value, found.measured.high) == (1, 1)
    assert found.measured.low == pytest.approx(0.966, abs=1e-3), "Wilson's"


def test_the_claim_has_a_row_only_if_the_control_ran_and_is_undecided_with_few_questions() -> None:
    clusters = pd.DataFrame({"question_id": [f"q{row}" for row in range(200)], "cluster": range(200)})
    for n, verdict in ((100, "supported"), (99, "undecided")):
        found = sensitivity_evidence([measured(1, 1, n)], ["b"], clusters, 100, 1)
        by_claim = {
            record["claim"]: record for record in assess_claims([], scores(), PAPER, design(), {"toy": [found["b"]]})
        }
        assert by_claim[DEPENDENCE]["verdict"] == verdict and by_claim[DEPENDENCE]["value"] == 1
    assert DEPENDENCE not in {record["claim"] for record in assess_claims([], scores(), PAPER, design())}
    assert sensitivity_evidence([], ["b"], clusters, 100, 1) == {}


def test_without_a_block_that_can_be_emptied_and_swapped_in_each_run_the_claim_has_no_value() -> None:
    clusters = pd.DataFrame({"question_id": [f"q{row}" for row in range(200)], "cluster": range(200)})
    full, none = measured(0.9, 0.9), measured(0.9, 0.9, n=0)
    same_letter = full.assign(kept_swapped=np.nan)
    for tables, n in (([none], 0), ([none, none], 0), ([full, none], 0), ([same_letter], 200)):
        found = sensitivity_evidence(tables, ["b", "c"], clusters, 100, 1)
        assert {name: (one.measured, one.verdict, one.n) for name, one in found.items()} == {
            "b": (None, "undecided", n), "c": (None, "undecided", 0)
        }  # fmt: skip
    (record,) = [one for one in assess_claims([], scores(), PAPER, design(), {"toy": [found["c"]]})
                 if one["claim"] == DEPENDENCE]  # fmt: skip
    assert (record["value"], record["low"], record["high"], record["n"]) == (None, None, None, 0)


def test_the_last_checkpoint_is_the_last_of_the_record_also_without_blocks() -> None:
    table = pd.DataFrame({"update": [0, 4, 4], "question_id": ["q0", "q0", "q1"]})
    used = [{"update": update, "measure": "used"} for update in (0, 4, 8)]
    assert last_measures(table, used[:2])["question_id"].tolist() == ["q0", "q1"]
    assert last_measures(table, used).empty


def test_a_model_answers_only_its_own_requests() -> None:
    own = " <think> Own. </think> <answer> A </answer>", " <think> Two. Three. </think> <answer> A </answer>"
    table = pd.concat([blocks([text], model) for text, model in zip(own, MODELS, strict=True)], ignore_index=True)
    probes = build_probes(table, 1, None)
    probes["letter_tokens"] = [[1, 2, 3]] * len(probes)
    probes["shard"] = shard_names(probes, ["1"])
    first, second = (requests_of(probes, model) for model in MODELS)
    assert (len(first), len(second)) == (2, 4)
    assert first["shard"].nunique() == second["shard"].nunique() == 1
    assert set(first["shard"]) != set(second["shard"])
    plain = probes.drop(columns="model")
    assert requests_of(plain, Path("any")) is plain


def test_the_figure_has_a_column_for_each_measured_benchmark() -> None:
    rows = [
        {"benchmark": "b", "measure": measure, "update": update, "value": 0.5, "seed": 1}
        for measure in ("kept_emptied", "area")
        for update in (0, 4)
    ]
    bands = pd.DataFrame([{"seed": 1, "stage": "concise_structurer", "first": 1, "last": 4}])
    figure = draw_sensitivity(pd.DataFrame(rows), bands, {"b": "Title B", "c": "Title C"})
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    lines = {line.get_label() for axis in figure.axes for line in axis.lines if len(line.get_xdata())}
    plt.close(figure)
    assert titles.count("Title B") == 1 and "Title C" not in titles
    assert lines == {"emptied", "area"}


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({1: 0.0, 2: 0.0}, "no think block to change"),
        ({1: 0.5, 2: 0.0, 3: 0.0}, "no think block to change, seeds 2, 3"),
        ({1: 0.5, 2: 0.1}, ""),
    ],
)
def test_the_figure_names_the_seeds_without_a_block(shares: dict[int, float], expected: str) -> None:
    rows = [
        {"benchmark": "b", "measure": "used", "update": update, "value": value * bool(update), "seed": seed}
        for seed, value in shares.items()
        for update in (0, 4)
    ]
    bands = pd.DataFrame([{"seed": seed, "stage": "format_failure", "first": 1, "last": 4} for seed in shares])
    figure = draw_sensitivity(pd.DataFrame(rows), bands, {"b": "Title B"})
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    plt.close(figure)
    assert texts == [expected]


def test_an_arm_without_a_think_block_cannot_be_measured() -> None:
    arms = {"rlvr": {"trainer": "rlvr", "reward": "paper", "modes": ["direct"]}}
    with pytest.raises(UserError, match=r"controls\.sensitivity: needs a think block, but arm rlvr's first mode"):
        load_config({"arms": arms, "controls": {"sensitivity": True}})
    load_config({"arms": arms})
