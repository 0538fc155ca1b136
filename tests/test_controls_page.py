"""The controls of what a gain consists of, in the report: their values, their charts and the causal panel."""

import base64
import gzip
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import launched, visits
from evaluated import PAPER, TAGGED, evaluate
from markupsafe import Markup
from playwright.sync_api import Browser, Page, expect
from test_browser import HOSTILE, RULES, WORDS, unfold

from medrlvr.config.design import BLOCK_CHANGES, DEPENDENCE, comparison_design
from medrlvr.evaluation.claims import assess_claims
from medrlvr.evaluation.repeated import measure_samples
from medrlvr.evaluation.sensitivity import claim
from medrlvr.evaluation.sensitivity.measures import measure_questions, summarise_measures, used_shares
from medrlvr.evaluation.sensitivity.probes import build_probes, think_blocks
from medrlvr.evaluation.sensitivity.think import sentence_ends
from medrlvr.report import causal
from medrlvr.report.causal import pack_panels, split_block
from medrlvr.report.controls import (
    FORMATS,
    READINGS,
    SENSITIVITY,
    ControlFiles,
    control_values,
    describe_samples,
    describe_sensitivity,
)
from medrlvr.report.figures.curve import bands_of
from medrlvr.report.figures.repeated import draw_repeated
from medrlvr.report.figures.sensitivity import draw_sensitivity
from medrlvr.report.figures.style import save
from medrlvr.report.page_data import PageInputs, page_values
from medrlvr.runtime.files import read_parquet, write_json, write_parquet

RUN = "rlvr/seed1"
NONE = "\u2013"
QUESTIONS = 24
UPDATES = (2, 8)
DESIGN = comparison_design(pages.EXPERIMENT)
TITLES = {name: one.title for name, one in pages.EXPERIMENT.benchmarks.items()}
FIRST, SECOND = TITLES
SAMPLED = pages.rollouts([[TAGGED.format("A"), "no format"], [TAGGED.format("B"), TAGGED.format("A")]])
PARTS = {
    "sensitivity": {"sensitivity", "causal", "causal-panel"},
    "samples": {"samples"},
    "shifts": {"shifts"},
    "formats": {"formats", "memory"},
}
"""Control -> ids of its parts of the report."""


EMPTY_CLUSTERS = pd.DataFrame({"question_id": [], "cluster": []})


# ---------------------------------------------------------------- files, by the functions of the steps
def response(row: int) -> str:
    """A response whose think block has a hostile sentence, between two others."""
    hostile = HOSTILE[row % len(HOSTILE)].replace("\x00", "")
    block = f" The vein {row} has zinc. So {hostile} it is. Then zinc!\n"
    return f" <think>{block}</think> <answer>{'ABCDE'[row % 5]}</answer>"


def measured(questions: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, list[Any]]:
    """Return requests, answers, measures of each question, and records of the two checkpoints."""
    asked = pd.concat([questions[name].assign(benchmark=name) for name in TITLES], ignore_index=True)
    rows = [
        {"model": f"results/x/checkpoints/{RUN}/update{update}", "benchmark": row["benchmark"], "sample": 0,
         "question_id": row["question_id"], "response": response(number)}
        for update in UPDATES
        for number, row in enumerate(asked.to_dict("records"))
        if update == UPDATES[-1] or (row["benchmark"] == FIRST and number < 5)
    ]  # fmt: skip
    prompts = asked[["question_id", "benchmark"]].assign(prompt="Q:", template="t")
    probes = build_probes(think_blocks(pd.DataFrame(rows), prompts, asked), 1, lambda stem, block, rng: f"{block} x")
    drawn = np.random.default_rng(3)
    logprobs = [list(drawn.normal(0, 2, options)) for options in probes["options"]]
    answers = probes[causal.KEYS].assign(mode="sensitivity", letter_logprobs=logprobs)
    found = measure_questions(probes, answers)
    systems = {key: len(own) for key, own in found.groupby(["model", "benchmark"], sort=False)}
    clusters = found[["question_id"]].drop_duplicates().assign(cluster=lambda table: table["question_id"])
    records = used_shares(probes, systems) + summarise_measures(found, clusters, 100, 1)
    updates = {row["model"]: int(row["model"].rpartition("update")[2]) for row in rows}
    return probes, answers, found, [record | {"update": updates[record["model"]]} for record in records]


def sampled() -> tuple[list[Any], list[Any]]:
    """Return curves and differences of planted samples."""
    drawn = np.random.default_rng(5)
    models = {"m/base": ("base", 0.2), "m/sft": ("sft", 0.4), "m/rlvr": ("rlvr", 0.7)}
    tables = []
    for name in TITLES:
        for model, (_, share) in models.items():
            for question in range(12):
                right = drawn.random(8) < share
                letters = np.where(right, "A", "B")
                tables.append(
                    pd.DataFrame({"question_id": f"q{question}", "benchmark": name, "model": model, "gold": 0,
                                  "options": 4, "letter": letters, "lenient_letter": letters, "correct": right,
                                  "lenient_correct": right | (drawn.random(8) < 0.1),
                                  "reasons": right & (drawn.random(8) < 0.6)})
                )  # fmt: skip
    clusters = pd.Series({f"q{question}": f"q{question}" for question in range(12)})
    arms = {model: arm for model, (arm, _) in models.items()}
    return measure_samples(pd.concat(tables, ignore_index=True), arms, "rlvr", clusters, 100, 1)


def shifts() -> list[dict[str, Any]]:
    robust = {"accuracy": 0.75, "robust": 0.5, "low": 0.4, "high": 0.6, "independent": 0.3125}
    robust |= {"excess": 0.1875, "excess_low": 0.0625, "excess_high": 0.3125}
    less = robust | {"robust": 0.25, "low": 0.125, "high": 0.375}
    less |= {"excess": -0.0625, "excess_low": -0.1875, "excess_high": 0.0625}
    place = {"model": RUN, "mode": DESIGN.modes["rlvr"][0], "n": 12, "shifts": 4, "complete": 0.5}
    return [{"benchmark": name, **place, **robust, "any_letter": less} for name in TITLES]


def formats() -> dict[str, Any]:
    gained = {"base": 0.25, "sft/seed1": 0.375, RUN: 0.75}
    matrix = [
        {"benchmark": name, "model": f"results/x/models/{model}", "format": form, "n": 16,
         "accuracy": share if form == "tags" else 0.25, "low": share - 0.125 if form == "tags" else 0.125,
         "high": share + 0.125 if form == "tags" else 0.375, "followed": 0.875 if form == "tags" else 0.0}
        for name in TITLES
        for model, share in gained.items()
        for form in FORMATS
    ]  # fmt: skip
    memory = [
        {"benchmark": name, "model": model, "n": 16, "remembered": 12 if name == FIRST else 3, "accuracy": share,
         "of_remembered": share + 0.125 if name == FIRST else None, "of_others": 0.0625 if name == FIRST else None}
        for name in TITLES
        for model, share in gained.items()
    ]  # fmt: skip
    differences = [
        {"benchmark": name, "format": form, "n": 16, "seeds": 1, "value": 0.5, "low": 0.25, "high": 0.75,
         "p": {"tags": 0.001, "boxed": 0.125}.get(form, 0.05)}
        for name in TITLES
        for form in FORMATS
    ]  # fmt: skip
    return {"matrix": matrix, "rlvr_minus_base": differences, "memory": memory}


@dataclass(frozen=True)
class Made:
    """An experiment whose controls ran: the inputs of its report, and the tables of its controls."""

    folder: Path
    inputs: dict[str, Any]
    controls: ControlFiles
    probes: pd.DataFrame
    answers: pd.DataFrame
    measures: pd.DataFrame
    evaluated: dict[str, Any]

    def values(self, controls: ControlFiles | None = None) -> dict[str, Any]:
        return page_values(PageInputs(**self.inputs, controls=self.controls if controls is None else controls))

    def read(self, path: str | Path | None) -> Any:
        assert path is not None
        return json.loads(Path(path).read_text(encoding="utf-8"))

    @property
    def records(self) -> Any:
        return self.read(self.controls.sensitivity[RUN]["record"])["records"]

    def probabilities(self, benchmark: str, question: str, update: int) -> list[list[float]]:
        """Return the options' probabilities after 0, 1, ... sentences, from the requests and answers."""
        own = self.probes[self.probes["model"].str.endswith(f"update{update}")]
        own = own[(own["benchmark"] == benchmark) & (own["question"] == question)]
        path = own[own["intervention"].isin(["closed", "full"])].merge(self.answers, on=causal.KEYS)
        shares = [np.exp(row) / np.exp(row).sum() for row in path.sort_values("sentences")["letter_logprobs"]]
        return [list(map(float, row)) for row in shares]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("page")
    evaluated = evaluate(pages.EXPERIMENT, n=QUESTIONS)
    evaluated["comparisons"]["shifts"] = shifts()
    probes, answers, measures, records = measured(evaluated["questions"])
    # The explorer has the last model's response to one question.
    scores = evaluated["scores"][RUN]
    is_same = (scores["question_id"] == f"{FIRST}/3") & (scores["mode"] == DESIGN.modes["rlvr"][0])
    scores.loc[is_same, "response"] = response(3)
    last = measures[measures["update"] == UPDATES[-1]]
    clusters = last[["question_id"]].assign(cluster=last["question_id"])
    found = claim.sensitivity_evidence([last], [*TITLES], clusters, 100, 1)
    evidence = {name: [one] for name, one in found.items()}
    evaluated["verdict"] = {
        "claims": assess_claims(evaluated["comparisons"]["pairs"], evaluated["scores"], PAPER, DESIGN, evidence)
    }
    inputs = pages.prepare(folder, evaluated, SAMPLED)
    home = folder / "controls/sensitivity" / RUN
    tables = {"requests": probes, "answers": answers, "questions": measures}
    for name, table in tables.items():
        write_parquet(home / f"{name}.parquet", table)
    write_json(home / "sensitivity.json", {"records": records})
    curves, differences = sampled()
    write_json(folder / "controls/samples.json", {"curves": curves, "rlvr_minus_base": differences})
    write_json(folder / "controls/formats.json", formats())
    for name in ("sensitivity", "samples"):
        (folder / f"{name}.svg").write_text("<svg></svg>", encoding="utf-8")
    inputs["figures"] = [*inputs["figures"], folder / "sensitivity.svg", folder / "samples.svg"]
    run = {name: home / f"{name}.parquet" for name in tables} | {"record": home / "sensitivity.json"}
    controls = ControlFiles(
        sensitivity={RUN: run}, samples=folder / "controls/samples.json", formats=folder / "controls/formats.json"
    )
    return Made(folder, inputs, controls, probes, answers, measures, evaluated)


@pytest.fixture(scope="module")
def filled(made: Made) -> dict[str, Any]:
    return made.values()


@pytest.fixture(scope="module")
def page_text(filled: dict[str, Any]) -> str:
    return pages.render(filled)


@pytest.fixture(scope="module")
def report(made: Made) -> Path:
    """The report with its figures."""
    pages.draw(made.folder, made.evaluated, made.inputs["metrics"], made.inputs["runs"][RUN])
    bands = bands_of({1: made.folder / "stages.json"})
    save(draw_sensitivity(pd.DataFrame(made.records).assign(seed=1), bands, TITLES), made.folder / "sensitivity.svg")
    curves = pd.DataFrame(made.read(made.controls.samples)["curves"])
    save(draw_repeated(curves, TITLES), made.folder / "samples.svg")
    path = made.folder / "report.html"
    path.write_text(pages.render(made.values()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as started:
        yield started


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Callable[..., Page]]:
    with visits(browser, report) as visit:

        def open_at(place: str = "", **settings: Any) -> Page:
            return visit(place, **{"reduced_motion": "reduce", **settings})

        yield open_at


# ---------------------------------------------------------------- what the report contains
def ids_of(page: str) -> set[str]:
    return set(re.findall(r'\bid="([\w-]+)"', page))


def test_only_controls_that_ran_have_a_part(made: Made, filled: dict[str, Any]) -> None:
    """Also no frame of a chart, no figure and no embedded text."""
    everything = set().union(*PARTS.values())
    kept = filled["gain_controls"]
    for ran in ({}, *({name: kept[name]} for name in PARTS)):
        values = filled | {"gain_controls": dict.fromkeys(PARTS) | ran}
        page = pages.render(values)
        assert ids_of(page) & everything == set().union(*(PARTS[name] for name in ran))
        charts = set(re.findall(r'data-(?:control|figure)="(\w+)"', page))
        assert charts == {*ran} & {"sensitivity", "samples"}
    without = made.values(ControlFiles())
    assert without["panels"] is None and without["gain_controls"]["sensitivity"] is None
    assert not {"controls", "causal"} & set(without["payloads"])
    assert {"controls", "causal"} <= set(filled["payloads"])


def table_of(page: str, caption: str) -> list[list[str]]:
    """The text of each cell of every row of a table."""
    table = next(part for part in re.findall(r"<table>.*?</table>", page, re.DOTALL) if f"{caption}</caption>" in part)
    rows = re.findall(r'<tr>(<th scope="row".*?)</tr>', table, re.DOTALL)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in cells]


def percent(*values: float) -> list[str]:
    return [f"{100 * value:.1f}" for value in values]


def with_interval(record: Mapping[str, Any], name: str = "value") -> str:
    return "{} {} to {}".format(*percent(record[name], record["low"], record["high"]))


def test_the_tables_have_the_values_of_the_files(made: Made, page_text: str) -> None:
    found = {(one["benchmark"], one["measure"]): one for one in made.records if one["update"] == UPDATES[-1]}
    rows = table_of(page_text, "Sensitivity of the last checkpoint")
    label = f"RLVR, seed 1; {QUESTIONS} of {QUESTIONS} questions"
    assert rows == [[label, *(with_interval(found[name, one]) for one in SENSITIVITY)] for name in TITLES]
    differences = made.read(made.controls.samples)["rlvr_minus_base"]
    at = {(one["benchmark"], one["measure"], one["reading"], one["k"]): one for one in differences}
    rows = table_of(page_text, "RLVR minus base, repeated samples")
    assert len(rows) == len(TITLES) * 3 * 2
    label, *cells, k, n = rows[0]
    expected = [at[FIRST, "pass_reasoned", reading, 1] for reading in READINGS]
    texts = [[f"{100 * one[name]:+.1f}" for name in ("value", "low", "high")] for one in expected]
    assert (label, k, n) == ("pass@k, steps true", "1", "12")
    assert cells == [cell for value, low, high in texts for cell in (value, f"{low} to {high}")]
    (row, _) = table_of(page_text, "Right in every order of the options")
    assert row[1:] == ["50.0", "40.0 to 60.0", "31.2", "75.0", "25.0", "12.5 to 37.5", "31.2"]
    matrix = {(one["benchmark"], one["model"], one["format"]): one for one in formats()["matrix"]}
    rows = table_of(page_text, "Accuracy in each answer format")
    assert [cells[0] for cells in rows[:3]] == ["base", "SFT, seed 1", "RLVR, seed 1"]
    own = [matrix[FIRST, f"results/x/models/{RUN}", form] for form in FORMATS]
    assert rows[2][1:] == [with_interval(record, "accuracy") for record in own]
    rows = table_of(page_text, "Remembered questions")
    assert rows[2] == ["RLVR, seed 1", "75.0", "87.5", "6.2", "12", "16"] and rows[5][2:5] == [NONE, NONE, "3"]


UNMEASURED = {
    "no block": {"verdict": "undecided", "value": None, "n": 0},
    "not measured": {"verdict": "undecided", "value": None, "n": 200},
}
"""Outcome of the claim -> its fields without a value."""


def sensitivity_sentence(verdicts: Mapping[str, str], agreement: float = 1.0) -> str:
    names = {name: f"Title {name}" for name in "abc"}
    record = {"benchmark": "a", "update": 1, "n": 9, "low": 0.0, "high": 1.0}
    values = {"used": 1.0, "agreement": agreement}
    records = [record | {"measure": measure, "value": value} for measure, value in values.items()]
    claims = [
        {"benchmark": name, "claim": DEPENDENCE, "verdict": verdict, "value": 0.5, "n": 200}
        | UNMEASURED.get(verdict, {})
        for name, verdict in verdicts.items()
    ]
    found: str = describe_sensitivity({RUN: records}, claims, names, {RUN: []}, DESIGN)["sentence"]
    return found


def test_the_sentence_on_sensitivity_follows_the_verdicts() -> None:
    assert sensitivity_sentence(dict.fromkeys("ab", "supported")) == (
        "RLVR's answers depend on the chain of thought on every benchmark: more than half of them change when the "
        "think block is emptied, and when it is swapped."
    )
    mixed = sensitivity_sentence({"a": "contradicted", "b": "undecided", "c": "supported"})
    assert (
        "on “Title c”: more than half" in mixed and "do not depend on the chain of thought on “Title a”: fewer" in mixed
    )
    assert mixed.endswith("Undecided: “Title b”.")
    low = sensitivity_sentence({"a": "undecided"}, agreement=0.94)
    assert low == "Undecided: “Title a”. Not interpreted, because agreement is below 95 %: “Title a”."
    assert sensitivity_sentence(dict.fromkeys("abc", "no block")) == (
        "No response of RLVR's last checkpoint has a think block to change on every benchmark."
    )
    assert sensitivity_sentence({"a": "no block", "b": "not measured", "c": "undecided"}) == (
        "No response of RLVR's last checkpoint has a think block to change on “Title a”. Not measured on “Title b”: in "
        "one run or more, no think block of the last checkpoint can be emptied, or none can be swapped. Undecided: "
        "“Title c”."
    )


def test_the_sentence_on_samples_follows_the_findings(made: Made) -> None:
    record = made.read(made.controls.samples)
    for one in record["rlvr_minus_base"]:
        if one["measure"] == "pass_reasoned" and one["k"] == 8:
            is_open = (one["benchmark"], one["reading"]) == (SECOND, "lenient_correct")
            one["finding"] = "open" if is_open else "the base solves more"
    first, second = TITLES.values()
    assert describe_samples(record, TITLES, DESIGN)["sentence"] == (
        "At k = 8, counting only samples whose steps are true. Required format: the base solves more on every "
        f"benchmark. Any readable answer: the base solves more on “{first}”; open on “{second}”."
    )
    # Where the reasoning was not checked, only guessing is compared.
    for one in record["rlvr_minus_base"]:
        one["finding"] = None
    for one in record["curves"]:
        if (one["arm"], one["measure"], one["k"]) == ("rlvr", "pass", 8):
            one["low"] = 1.0 if one["benchmark"] == FIRST else 0.5
    sentence = describe_samples(record, TITLES, DESIGN)["sentence"]
    assert sentence.startswith("RLVR's pass@8. Required format: guessing does not explain it on " + f"“{first}”; ")
    assert f"guessing explains it on “{second}”" in sentence
    record["curves"] = [one for one in record["curves"] if one["measure"] != "guessing"]
    sentence = describe_samples(record, TITLES, DESIGN)["sentence"]
    assert sentence == "Without options, there is no rate of guessing to compare RLVR's pass@8 with."


def test_the_sentences_on_options_formats_and_memory(filled: dict[str, Any]) -> None:
    assert filled["gain_controls"]["shifts"]["sentence"] == (
        "RLVR is right in every order more often than independent orders would give on every benchmark (required "
        "format), and on no benchmark (any readable answer)."
    )
    found = filled["gain_controls"]["formats"]
    assert found["sentence"].endswith("with the prompt for: Paper's tags 2, \\boxed{} 0, “Answer:” 0, No options 0.")
    assert found["followed"].endswith("Paper's tags 88 %, \\boxed{} 0 %, “Answer:” 0 %, No options 0 %.")
    assert found["memory_sentence"] == "The base completes the options of 15 of 32 questions word for word."


def test_two_seeds_have_a_row_and_a_choice_each(made: Made) -> None:
    files = ControlFiles(sensitivity=dict.fromkeys(("rlvr/seed1", "rlvr/seed2"), made.controls.sensitivity[RUN]))
    bands: dict[str, Any] = {run: [] for run in files.sensitivity}
    shown = control_values(files, {"shifts": []}, {"claims": []}, TITLES, bands, DESIGN)["sensitivity"]
    assert [row["model"] for row in shown["rows"]] == ["RLVR, seed 1", "RLVR, seed 2"] * 2
    assert [name for name, _ in shown["chart"]["selects"][0]["options"]] == ["rlvr/seed1", "rlvr/seed2"]


@pytest.fixture(scope="module")
def collapsed(made: Made) -> Mapping[str, str | Path]:
    """Files of a run of which no response has a think block to change."""
    home = made.folder / "controls/sensitivity/rlvr/seed2"
    kept = {"requests": made.probes, "answers": made.answers, "questions": made.measures}
    for name, table in kept.items():
        write_parquet(home / f"{name}.parquet", table[:0])
    used = [one | {"value": 0.0, "low": 0.0, "high": 0.1} for one in made.records if one["measure"] == "used"]
    write_json(home / "sensitivity.json", {"records": used})
    return {name: home / f"{name}.parquet" for name in kept} | {"record": home / "sensitivity.json"}


def test_a_run_without_think_blocks_has_a_row_and_neither_chart_nor_panel(
    made: Made, collapsed: Mapping[str, str | Path], tmp_path: Path
) -> None:
    found = claim.sensitivity_evidence([made.measures[:0]], [*TITLES], EMPTY_CLUSTERS, 100, 1)
    evidence = {name: [one] for name, one in found.items()}
    evaluated = made.evaluated
    claims = assess_claims(evaluated["comparisons"]["pairs"], evaluated["scores"], PAPER, DESIGN, evidence)
    write_json(tmp_path / "claims.json", {"claims": claims})
    inputs = made.inputs | {"tables": made.inputs["tables"] | {"verdict": tmp_path / "claims.json"}}
    values = page_values(PageInputs(**inputs, controls=ControlFiles(sensitivity={RUN: collapsed})))
    page = pages.render(values)
    assert "last checkpoint has a think block to change on every benchmark." in page
    assert "No response of any checkpoint has a think block to change" in page
    assert ids_of(page) & PARTS["sensitivity"] == {"sensitivity"}
    assert 'data-control="sensitivity"' not in page and 'data-figure="sensitivity"' in page
    rows = table_of(page, "Sensitivity of the last checkpoint")
    assert rows == [[f"RLVR, seed 1; 0 of {QUESTIONS} questions", *[NONE] * len(SENSITIVITY)]] * len(TITLES)
    shares = [row for row in table_of(page, "Verdicts on shares of responses") if row[0] == DEPENDENCE]
    assert [row[1:3] for row in shares] == [["no think block to change", "undecided"]] * len(TITLES)
    assert unpacked(values["payloads"]["causal"])["runs"] == []


def test_a_run_without_think_blocks_leaves_the_panels_of_the_others(
    made: Made, collapsed: Mapping[str, str | Path], filled: dict[str, Any]
) -> None:
    files = {RUN: made.controls.sensitivity[RUN], "rlvr/seed2": collapsed}
    bands: dict[str, Any] = {run: [] for run in files}
    controls = ControlFiles(sensitivity=files)
    shown = control_values(controls, {"shifts": []}, {"claims": []}, TITLES, bands, DESIGN)["sensitivity"]
    assert [(row["model"], row["used"]) for row in shown["rows"]] == [
        ("RLVR, seed 1", QUESTIONS), ("RLVR, seed 2", 0)
    ] * len(TITLES)  # fmt: skip
    assert [name for name, _ in shown["chart"]["selects"][0]["options"]] == [RUN]
    questions = {name: read_parquet(made.inputs["questions"][name]) for name in TITLES}
    panels = pack_panels(files, questions, {}, {})
    assert [run["name"] for run in unpacked(panels.text)["runs"]] == [RUN]
    assert (panels.shown, panels.total) == (filled["panels"].shown, filled["panels"].total)


def test_an_earlier_checkpoint_does_not_replace_a_last_one_without_blocks(made: Made, tmp_path: Path) -> None:
    """Its responses are not those of the explorer, and its measures are not those of the table."""
    own = made.controls.sensitivity[RUN]
    write_parquet(tmp_path / "questions.parquet", made.measures[made.measures["update"] < UPDATES[-1]])
    records = [one for one in made.records if one["update"] < UPDATES[-1] or one["measure"] == "used"]
    write_json(tmp_path / "sensitivity.json", {"records": records})
    files = {RUN: {**own, "questions": tmp_path / "questions.parquet", "record": tmp_path / "sensitivity.json"}}
    questions = {name: read_parquet(made.inputs["questions"][name]) for name in TITLES}
    shown = pd.DataFrame({"question_id": [f"{FIRST}/{row}" for row in range(5)], "benchmark": FIRST, "sample": 0})
    shown["response"] = [response(row) for row in range(5)]
    entries = unpacked(pack_panels(files, questions, {RUN: shown}, {}).text)["runs"][0]["entries"]
    assert {one["update"] for one in entries} == {UPDATES[0]} and not any(one["embedded"] for one in entries)
    bands: dict[str, Any] = {RUN: []}
    described = describe_sensitivity({RUN: records}, [], TITLES, bands, DESIGN)
    assert all(cell is None for row in described["rows"] for cell in row["cells"])


# ---------------------------------------------------------------- the data of the causal panel
@pytest.mark.parametrize("block", [" One. Two; three!\n Four \n", "One.", "  a? <b> c", "\n<i>.</i> x\n\ny.\n"])
def test_the_sentences_of_a_block_are_those_that_were_shown(block: str) -> None:
    ends = sentence_ends(block)
    row = {"question_id": "q", "stem": "?", "options": 2, "letter": "A", "answered": "x", "model": "m",
           "benchmark": "b", "template": "t", "opening": "say <think>x</think> Q: <think>", "block": block}  # fmt: skip
    probes = build_probes(pd.DataFrame([row]), 1, None)
    prompts = probes[probes["intervention"].isin(["closed", "full"])]["prompt"].tolist()
    start = len(block) - len(block.lstrip())
    found = split_block(prompts)
    assert found == [block[first:last] for first, last in zip([start, *ends], ends, strict=False)]
    assert all(prompt.partition("Q: <think>")[2].lstrip().startswith("".join(found[:count]))
               for count, prompt in enumerate(prompts) if count)  # fmt: skip


def unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def panels_of(made: Made) -> Any:
    questions = {name: read_parquet(path) for name, path in made.inputs["questions"].items() if name in TITLES}
    return pack_panels(made.controls.sensitivity, questions, {}, {"runs": {}, "benchmarks": {}})


def test_the_panels_are_bounded_and_state_how_many_there_are(
    made: Made, filled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    panels = filled["panels"]
    assert (panels.each, panels.shown, panels.total) == (20, 20 + 20 + 5, 24 + 24 + 5)
    whole = panels_of(made)
    whole_entries = unpacked(whole.text)["runs"][0]["entries"]
    with monkeypatch.context() as patched:
        patched.setattr(causal, "LIMIT", len(whole.text) // 2)
        part = panels_of(made)
    assert 0 < part.each < 20 and len(part.text) <= len(whole.text) // 2
    entries = unpacked(part.text)["runs"][0]["entries"]
    assert len(entries) == part.shown == 2 * part.each + min(5, part.each)
    # The same questions at both checkpoints, as far as they were measured.
    kept = {update: {one["question"] for one in entries if one["update"] == update} for update in UPDATES}
    assert len(kept[2]) == 5 and kept[2] < kept[8]
    # The order of the file has no effect.
    asked = {one["question"] for one in whole_entries}
    reordered = made.measures.sample(frac=1, random_state=1)
    write_parquet(made.folder / "reordered.parquet", reordered)
    files = {RUN: made.controls.sensitivity[RUN] | {"questions": made.folder / "reordered.parquet"}}
    questions = {name: read_parquet(made.inputs["questions"][name]) for name in TITLES}
    again = pack_panels(files, questions, {}, {})
    assert {one["question"] for one in unpacked(again.text)["runs"][0]["entries"]} == asked


def test_the_panels_have_the_files_values(made: Made, filled: dict[str, Any]) -> None:
    data = unpacked(filled["payloads"]["causal"])
    entries = data["runs"][0]["entries"]
    measures = made.measures.set_index(["update", "benchmark", "question_id"])
    for one in entries:
        key = (one["update"], one["benchmark"], one["question"])
        expected = made.probabilities(one["benchmark"], one["question"], one["update"])
        assert one["probabilities"] == [[round(1000 * share) for share in row] for row in expected]
        row = measures.loc[key]
        assert (one["final"], one["written"]) == (row["final"], row["written"])
        assert (one["position"], one["area"]) == pytest.approx((row["position"], row["area"]), rel=1e-5)
        assert one["kept"] == {name: row[f"kept_{name}"] == 1 for name in BLOCK_CHANGES}
        assert one["embedded"] == (key == (8, FIRST, f"{FIRST}/3"))
    assert set(data["questions"][FIRST]) == {one["question"] for one in entries if one["benchmark"] == FIRST}


# ---------------------------------------------------------------- in the browser
def ready(page: Page, name: str) -> Any:
    """Scroll to a control's chart, and wait until it is drawn."""
    box = page.locator(f"[data-control={name}]")
    box.scroll_into_view_if_needed()
    expect(box.locator(".drawn svg")).to_be_visible()
    return box


def panel(page: Page) -> Any:
    page.locator("#causal").evaluate("node => { node.open = true }")
    box = page.locator("#causal-panel")
    box.scroll_into_view_if_needed()
    expect(box.locator(".drawn svg")).to_be_visible()
    return box


WALK = """(box) => {
  const range = box.querySelector("input[type=range]");
  return [...Array(Number(range.max) + 1).keys()].map((place) => {
    range.value = place;
    range.dispatchEvent(new Event("input"));
    const shown = (row) => [row.children[1].textContent, row.children[2].textContent];
    const rows = [...box.querySelectorAll(".values li")].map(shown);
    return [box.querySelector("output").textContent, rows, range.getAttribute("aria-valuetext")];
  });
}"""
"""The text and the values at each place of a chart."""


def written(point: Mapping[str, Any], has_interval: bool = True) -> str:
    value, low, high = percent(point["value"], point["low"], point["high"])
    return f"{value} % ({low} to {high})" if has_interval else f"{value} %"


@pytest.mark.slow
def test_the_chart_of_samples_has_every_value_of_the_file(opened: Callable[..., Page], made: Made) -> None:
    box = ready(opened(), "samples")
    curves = {(one["benchmark"], one["measure"], one["reading"], one["arm"], one["k"]): one
              for one in made.read(made.controls.samples)["curves"]}  # fmt: skip
    measures = box.locator("[name=measure] option").evaluate_all("nodes => nodes.map((node) => node.value)")
    assert measures == ["pass_reasoned", "pass", "majority"], "what the sentence is about comes first"
    for name in TITLES:
        for measure in measures:
            for reading in READINGS:
                for field, value in (("benchmark", name), ("measure", measure), ("reading", reading)):
                    box.locator(f"[name={field}]").select_option(value)
                arms = {"base": "base", "sft": "SFT", "rlvr": "RLVR"}
                for k, rows, _ in box.evaluate(WALK):
                    own = {label: curves[name, measure, reading, arm, int(k)] for arm, label in arms.items()}
                    expected = [[label, written(record)] for label, record in own.items()]
                    if measure != "majority":
                        chance = curves[name, "guessing", reading, "base", int(k)]
                        expected.append(["guessing", written(chance, has_interval=False)])
                    assert rows == expected
    assert k == "8"


@pytest.mark.slow
def test_the_chart_of_sensitivity_has_every_value_of_the_file(opened: Callable[..., Page], made: Made) -> None:
    box = ready(opened(), "sensitivity")
    found = {(one["benchmark"], one["update"], one["measure"]): one for one in made.records}
    # The run has two updates; later checkpoints have the stage of the last.
    last_stage = made.read(made.folder / "stages.json")["bands"][-1]["stage"]
    expect(box.locator(".band").last).to_be_attached()
    for name, updates in ((FIRST, UPDATES), (SECOND, UPDATES[-1:])):
        box.locator("[name=benchmark]").select_option(name)
        walked = box.evaluate(WALK)
        assert [int(text.partition(",")[0]) for text, *_ in walked] == list(updates)
        for text, rows, said in walked:
            update, _, stage = text.partition(", ")
            assert stage == last_stage.replace("_", " ")
            expected = [[label, written(found[name, int(update), one])] for one, label in SENSITIVITY.items()]
            assert rows == expected
            assert said == f"{text}: " + "; ".join(f"{label} {value}" for label, value in expected)


@pytest.mark.slow
def test_the_pointer_and_the_arrow_keys_show_the_values_at_a_place(opened: Callable[..., Page]) -> None:
    box = ready(opened(), "samples")
    area = box.locator(".drawn svg").bounding_box()
    seen = []
    for x in np.linspace(area["x"] + 50, area["x"] + area["width"] - 70, 9):
        box.page.mouse.move(x, area["y"] + 100)
        seen.append(int(box.locator("output").inner_text()))
    assert seen == sorted(seen) and set(seen) == {1, 2, 4, 8}
    box.locator("input[type=range]").focus()
    box.page.keyboard.press("Home")
    expect(box.locator("output")).to_have_text("1")
    box.page.keyboard.press("ArrowRight")
    expect(box.locator("output")).to_have_text("2")
    rule = box.locator(".rule").bounding_box()
    points = box.locator("[aria-label=dot]").first.locator("circle").nth(1).bounding_box()
    assert rule["x"] == pytest.approx(points["x"] + points["width"] / 2, abs=1)


def choose(box: Any, **values: str) -> None:
    for name, value in values.items():
        box.locator(f"[name={name}]").select_option(value)


@pytest.mark.slow
def test_the_causal_panel_shows_the_probabilities_of_the_files(opened: Callable[..., Page], made: Made) -> None:
    box = panel(opened())
    for update, name in ((8, FIRST), (8, SECOND), (2, FIRST)):
        choose(box, update=str(update), benchmark=name)
        questions = box.locator("[name=question] option").evaluate_all("nodes => nodes.map((node) => node.value)")
        assert len(questions) == (20 if update == 8 else 5)
        for question in questions[:4]:
            choose(box, question=question)
            expected = made.probabilities(name, question, update)
            walked = box.evaluate(WALK)
            last = len(expected) - 1
            assert [said for said, *_ in walked] == [f"{count} of {last}" for count in range(last + 1)]
            for (_, rows, _), shares in zip(walked, expected, strict=True):
                assert rows == [["ABCDEFG"[place], f"{100 * share:.1f} %"] for place, share in enumerate(shares)]
            final = "ABCDEFG"[int(np.argmax(expected[-1]))]
            assert box.locator(".values .strong").inner_text().startswith(final)
            assert box.locator(".drawn text.strong").text_content() == final


@pytest.mark.slow
def test_a_step_marks_its_sentence(opened: Callable[..., Page], made: Made) -> None:
    page = opened()
    box = panel(page)
    choose(box, sort="question")
    question = box.locator("[name=question]").input_value()
    row = made.probes[(made.probes["question"] == question) & (made.probes["intervention"] == "full")].iloc[-1]
    block = row["prompt"].partition("<think>")[2].partition("</think>")[0].strip()
    ends = sentence_ends(block)
    sentences = [block[first:last].strip() for first, last in zip([0, *ends], ends, strict=False)]
    nodes = box.locator(".sentence")
    assert nodes.all_inner_texts() == sentences and box.locator("#causal-text").inner_text() == block
    steps = box.locator("input[type=range]")
    steps.focus()
    page.keyboard.press("Home")
    expect(box.locator(".sentence[aria-current], .sentence.shown")).to_have_count(0)
    for count in range(1, len(sentences) + 1):
        page.keyboard.press("ArrowRight")
        expect(box.locator(".sentence[aria-current=step]")).to_have_text([sentences[count - 1]])
        expect(box.locator(".sentence.shown")).to_have_count(count)
        expect(box.locator("output")).to_have_text(f"{count} of {len(sentences)}")
    area = box.locator(".drawn svg").bounding_box()
    page.mouse.move(area["x"] + 52, area["y"] + 100)
    expect(box.locator(".sentence[aria-current]")).to_have_count(0)
    nodes.nth(1).hover()
    expect(box.locator("output")).to_have_text(f"2 of {len(sentences)}")
    expect(nodes.nth(1)).to_have_attribute("aria-current", "step")


@pytest.mark.slow
def test_questions_are_in_the_chosen_order(opened: Callable[..., Page], made: Made, filled: dict[str, Any]) -> None:
    box = panel(opened())
    entries = [one for one in unpacked(filled["payloads"]["causal"])["runs"][0]["entries"]
               if (one["update"], one["benchmark"]) == (8, FIRST)]  # fmt: skip
    at = {one["question"]: one for one in entries}
    for order, key in (("position", lambda one: one["position"]), ("area", lambda one: -one["area"])):
        choose(box, sort=order)
        shown = box.locator("[name=question] option").evaluate_all("nodes => nodes.map((node) => node.value)")
        keys = [key(at[question]) for question in shown]
        first = at[shown[0]]
        place = round(first["position"] * len(first["sentences"]))
        lead = f"from sentence {place} of {len(first['sentences'])}" if place else "without any sentence"
        assert box.locator("[name=question] option").first.text_content() == f"{shown[0]}: {first['final']}, {lead}"
        choose(box, question=shown[0])
        assert f"{first['final']} leads {lead};" in box.locator("#causal-facts").inner_text()
        assert keys == sorted(keys) and len(set(keys)) > 1
    choose(box, sort="question")
    shown = box.locator("[name=question] option").evaluate_all("nodes => nodes.map((node) => node.value)")
    assert shown == sorted(at, key=lambda question: int(question.rpartition("/")[2]))


@pytest.mark.slow
def test_the_python_code_selects_all_responses_of_the_choice(
    opened: Callable[..., Page], made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = panel(opened())
    choose(box, update="8", benchmark=SECOND)
    assert "20 of 24 measured responses" in box.locator("#causal-count").inner_text()
    code = box.locator("#causal-python").text_content()
    monkeypatch.chdir(made.folder)
    monkeypatch.setattr(pd, "read_parquet", read_parquet)
    found = eval(code, {"pd": pd})
    assert found["question"].nunique() == 24 and set(found["benchmark"]) == {SECOND}
    assert found["model"].str.endswith("update8").all() and "letter_logprobs" in found


@pytest.mark.slow
def test_panel_and_explorer_link_to_each_other(opened: Callable[..., Page]) -> None:
    address = f"#causal?run=rlvr%2Fseed1&update=8&benchmark={FIRST}&question={FIRST}%2F3"
    page = opened(address)
    box = page.locator("#causal-panel")
    expect(box.locator("input[type=range]")).to_be_focused()
    expect(box.locator("[name=question]")).to_have_value(f"{FIRST}/3")
    own = box.get_by_role("link", name="Link to this panel")
    assert own.get_attribute("href") == address
    box.get_by_role("link", name="This response in the explorer").click()
    expect(page.locator("#test-item summary").first).to_have_text(f"Question {FIRST}/3")
    expect(page.locator("#test-item")).to_contain_text("The vein 3 has zinc.")
    page.locator("#test-item").get_by_role("link", name="Probabilities along its think block").click()
    expect(page).to_have_url(re.compile(re.escape(address) + "$"))
    expect(box.locator("input[type=range]")).to_be_focused()
    choose(box, question=box.locator("[name=question] option").nth(7).get_attribute("value"))
    expect(box.get_by_role("link", name="This question in the explorer")).to_be_visible()
    page = opened("#causal?run=rlvr%2Fseed1&question=nowhere")
    expect(page.locator("#causal-notice")).to_have_text("The report has no panel with question=nowhere.")


@pytest.mark.slow
def test_text_of_a_model_runs_no_code_in_the_panel(opened: Callable[..., Page]) -> None:
    page = opened(bypass_csp=True)
    box = panel(page)
    choose(box, sort="question")
    texts = []
    for question in box.locator("[name=question] option").evaluate_all("nodes => nodes.map((node) => node.value)"):
        choose(box, question=question)
        texts.append(box.locator("#causal-text").inner_text())
        shown = box.locator("#causal-text, #causal-question, #causal-facts, form")
        assert shown.locator("script, style, img, svg, iframe, a, h1").count() == 0
    assert page.evaluate("window.hacked") is None, "and no policy stood in its way"
    for hostile in (HOSTILE[0], HOSTILE[3], HOSTILE[8]):
        assert any(hostile in text for text in texts)
    assert any("[U+202E]dcba" in text for text in texts) and "\u202e" not in "".join(texts)
    assert page.locator("h1").count() == 1


SIZES = """() => [...document.querySelectorAll("[data-control] *, #causal-panel *")]
  .filter((node) => [...node.childNodes].some((one) => one.nodeType === Node.TEXT_NODE && one.data.trim()))
  .filter((node) => node.checkVisibility()).map((node) => parseFloat(getComputedStyle(node).fontSize))"""
PLATES = """() => [...document.querySelectorAll("[data-control], [data-control] *, #causal-panel, #causal-panel *")]
  .map((node) => getComputedStyle(node))
  .filter((one) => [one.backgroundColor, one.fill].includes("rgb(255, 255, 255)")).length"""


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_controls_meet_wcag_aa(opened: Callable[..., Page], scheme: str, width: int) -> None:
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 844})
    unfold(page)
    for name in ("sensitivity", "samples"):
        ready(page, name)
    panel(page)
    sizes = page.evaluate(SIZES)
    assert len(sizes) > 60 and min(sizes) >= 11
    if scheme == "dark":
        assert page.evaluate(PLATES) == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    found = Axe().run(page, context="section[aria-labelledby=real]", options=RULES)
    assert len(found.response["passes"]) > 10, "hardly anything was checked"
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.slow
def test_the_limits_of_the_report_are_met_with_every_control(opened: Callable[..., Page], report: Path) -> None:
    page = opened()
    assert page.locator("table:visible").count() <= 8
    assert 500 < page.evaluate(WORDS) <= 1500
    unfold(page)
    for table in page.locator("section[aria-labelledby=real] table").all():
        assert table.locator("caption").inner_text().strip() and 1 < table.locator("thead th").count() <= 8
    text = report.read_text(encoding="utf-8")
    bare = re.sub(r'(<script type="application/gzip" data-payload="[^"]+">)[^<]*', r"\1", text)
    assert len(text) - len(bare) > 5_000 and len(bare.encode()) <= 1_100_000


@pytest.mark.slow
def test_on_a_phone_the_tables_show_model_and_value(opened: Callable[..., Page]) -> None:
    page = opened(viewport={"width": 390, "height": 844})
    unfold(page)
    for table in page.locator("section[aria-labelledby=real] table").all():
        edges = [cell.bounding_box() for cell in table.locator("thead th").all()[:2]]
        assert all(edge and edge["x"] + edge["width"] <= 390 for edge in edges), table.locator("caption").inner_text()


@pytest.mark.slow
def test_without_javascript_the_figures_and_the_names_of_the_files_are_shown(opened: Callable[..., Page]) -> None:
    page = opened(java_script_enabled=False)
    expect(page.locator("[data-figure] svg:visible")).to_have_count(2)
    for hidden in ("[data-control]", "#causal-panel"):
        expect(page.locator(f"{hidden}:visible")).to_have_count(0)
    page.locator("#causal summary").first.click()
    files = page.locator("#causal > p a")
    expect(files.first).to_be_visible()
    for link in files.all():
        address = link.get_attribute("href")
        assert (Path(page.url.removeprefix("file://")).parent / str(address)).exists()
    page = opened()
    expect(page.locator("[data-figure] svg:visible")).to_have_count(0)


@pytest.mark.slow
def test_damaged_data_leave_the_figures(browser: Browser, made: Made, filled: dict[str, Any]) -> None:
    damaged = made.folder / "damaged.html"
    payloads = filled["payloads"] | {"controls": Markup("AAAA"), "causal": Markup("AAAA")}
    text = pages.render(filled | {"payloads": payloads}).replace("<svg></svg>", '<svg width="9" height="9"></svg>')
    damaged.write_text(text, encoding="utf-8")
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(damaged.as_uri())
        page.locator("[data-control=samples]").scroll_into_view_if_needed()
        expect(page.locator("[data-figure] svg:visible")).to_have_count(2)
        page.locator("#causal").evaluate("node => { node.open = true }")
        page.locator("#causal").scroll_into_view_if_needed()
        expect(page.locator("#causal-panel")).to_be_hidden()
        expect(page.locator("#causal > p a").first).to_be_visible()
