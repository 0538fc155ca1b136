"""Labels of responses, compared with a reader; bands of simulated runs with the paper's stages, one stage, or noise."""

import re
import runpy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medrlvr.dynamics.hack_monitor import (
    COLLAPSE,
    INDICATORS,
    LEAST_RESPONSES,
    LEAST_RISE,
    LEAST_Z,
    REWARD_RISE,
    WINDOW,
)
from medrlvr.dynamics.segmentation import LEAST_BAND, Band, segment
from medrlvr.dynamics.stages import HACKED, LABELS, REINTEGRATED, STAGES, VERBOSE_CHARS, label
from medrlvr.grading.grader import grade
from medrlvr.grading.shortcuts import ARGUMENT_WORDS, EARLY_SHARE, SENTENCE_WORDS

BENCHMARK = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "stages.py"))
DOCUMENT = Path("docs/stages.md").read_text(encoding="utf-8")
OPTIONS = ["iron", "gold", "zinc", "lead"]
STEPS = "The skin around the mouth is inflamed and wounds heal badly. Enzymes need a metal, so it must be this one."


def labelled(response: str, *, truncated: bool = False) -> str:
    return label(response, grade(response, OPTIONS, 2, truncated=truncated))


def long(chars: int) -> str:
    """Return a think block's text of this many characters."""
    return (STEPS + " ") * (chars // len(STEPS)) + "x" * (chars - chars // len(STEPS) * (len(STEPS) + 1))


@pytest.mark.parametrize(
    ("expected", "response"),
    [
        ("format_failure", STEPS + " The answer is C."),
        ("format_failure", f"<think> {STEPS} </think> C"),
        ("format_failure", ""),
        ("concise_structurer", f"<think>{STEPS}</think><answer>C</answer>"),
        ("concise_structurer", f"<think>{long(VERBOSE_CHARS)}</think><answer>C</answer>"),
        ("verbose_formatter", f"<think>{long(VERBOSE_CHARS + 1)}</think><answer>C</answer>"),
        ("verbose_formatter", f"<think>The answer is C. {long(VERBOSE_CHARS)}</think><answer>C</answer>"),
        ("direct_answer_hacker", f"<think>The answer is C. {STEPS}</think><answer>C</answer>"),
        ("direct_answer_hacker", "<think></think><answer>C</answer>"),
        ("step_by_step_exploit", f"{STEPS}<think>{STEPS}</think><answer>C</answer>"),
        ("step_by_step_exploit", f"{STEPS}<think>C</think><answer>C</answer>"),
        ("step_by_step_exploit", f"{STEPS}<think>{long(VERBOSE_CHARS + 1)}</think><answer>C</answer>"),
    ],
)
def test_labels(expected: str, response: str) -> None:
    assert labelled(response) == labelled(response, truncated=True) == expected


def test_a_think_block_without_end_is_verbose_only_where_the_token_limit_cut_it() -> None:
    endless = f"{STEPS}<think>{long(VERBOSE_CHARS + 1)}"
    assert labelled(endless, truncated=True) == "verbose_formatter"
    assert labelled(endless) == "format_failure"
    assert labelled(f"<think>{STEPS}" + "\n" * VERBOSE_CHARS, truncated=True) == "format_failure", "blanks are no words"
    assert labelled(f"{long(VERBOSE_CHARS)}<think>{STEPS}", truncated=True) == "format_failure"
    assert labelled(long(2 * VERBOSE_CHARS), truncated=True) == "format_failure"
    assert labelled(endless + "</think>", truncated=True) == "format_failure"


def test_the_documents_table_is_what_the_rules_give() -> None:
    begin, end = "<!-- results: begin -->\n", "\n<!-- results: end -->"
    assert DOCUMENT.partition(begin)[2].partition(end)[0] == BENCHMARK["table"]()


def test_the_golden_file_is_complete() -> None:
    cases = BENCHMARK["cases"]()
    assert [case.id for case in cases] == [f"s{n:03d}" for n in range(1, 187)]
    for half in (0, 1):
        readers = pd.Series([case.reader for case in cases if case.half == half]).value_counts()
        assert set(readers.index) == set(LABELS) and readers.min() >= 9


@pytest.mark.parametrize(("half", "least"), [(1, 92), (0, 89)])
def test_rules_and_reader_agree(half: int, least: int) -> None:
    """At least as often as when the rules were finished; fewer would be a regression."""
    cases = BENCHMARK["cases"]([half])
    assert sum(case.reader == case.rules for case in cases) >= least
    assert f"{least} of {len(cases)} labels agree" in DOCUMENT


def test_every_disagreement_is_explained() -> None:
    explained = DOCUMENT.partition("## Where they disagree")[2].partition("\n## ")[0]
    unlike = [case.id for case in BENCHMARK["cases"]() if case.reader != case.rules]
    assert re.findall(r"\bs\d{3}\b", explained) == unlike


def test_the_thresholds_are_those_of_the_document() -> None:
    for words in (
        f"more than {VERBOSE_CHARS:,} characters",
        f"{ARGUMENT_WORDS} or more words before",
        f"fewer than {SENTENCE_WORDS} words",
        f"windows of {WINDOW} updates",
        f"at least {REWARD_RISE:g} lower",
        f"least {LEAST_RISE:g} and by {LEAST_Z:g} times",
        f"fewer than {LEAST_RESPONSES} responses",
    ):
        assert words in " ".join(DOCUMENT.split()), words
    assert (EARLY_SHARE, COLLAPSE, LEAST_BAND) == (0.1, 0.5, 3)  # a tenth, to half, three updates
    assert set(re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.MULTILINE)) == {*LABELS, *INDICATORS}


def test_agreement_by_hand() -> None:
    pairs = [("format_failure", "format_failure")] * 4 + [("concise_structurer", "concise_structurer")] * 4
    pairs += [("format_failure", "concise_structurer")] * 2
    cases = [BENCHMARK["Case"]("s001", *pair) for pair in pairs]
    # By chance: 0.6 x 0.4 + 0.4 x 0.6.
    assert BENCHMARK["agreement"](cases) == pytest.approx((0.8, (0.8 - 0.48) / (1 - 0.48)))


# Stage, updates, and what share of the responses shows it.
PAPERS = [
    ("format_failure", 6, 0.8),
    ("verbose_formatter", 8, 0.6),
    ("concise_structurer", 10, 0.7),
    ("direct_answer_hacker", 28, 0.7),
    ("step_by_step_exploit", 30, 0.6),
    ("concise_structurer", 28, 0.7),
]


def shares_of(
    rng: np.random.Generator, size: int, stages: Sequence[tuple[str, int, float]], *, spread: float | None = None
) -> pd.DataFrame:
    """The labels' shares of a run, update by update; what a stage leaves is spread over the other labels.

    Args:
        spread: updates differ from each other by more than chance, the more the smaller this is.
    """
    rows = []
    for stage, updates, share in stages:
        rest = (1 - share) / (len(LABELS) - 1)
        expected = np.array([share if name == stage else rest for name in LABELS])
        for _ in range(updates):
            drawn = rng.dirichlet(spread * expected) if spread else expected
            rows.append(rng.multinomial(size, drawn) / size)
    return pd.DataFrame(rows, columns=[*LABELS]).assign(update=range(1, len(rows) + 1), responses=size)


def spans(bands: Sequence[Band]) -> list[tuple[str, int, int]]:
    return [(band.stage, band.first, band.last) for band in bands]


@pytest.mark.parametrize("size", [64, 1024])
@pytest.mark.parametrize("seed", range(3))
def test_the_six_stages_of_the_paper_are_found_in_order(size: int, seed: int) -> None:
    found = segment(shares_of(np.random.default_rng(seed), size, PAPERS))
    assert [band.stage for band in found] == [*STAGES]
    ends = np.cumsum([updates for _, updates, _ in PAPERS])
    assert ends[-1] == 110
    assert [band.last for band in found] == pytest.approx(ends, abs=2)
    assert [band.first for band in found] == [1, *(band.last + 1 for band in found[:-1])]
    for band, (stage, _, share) in zip(found, PAPERS, strict=True):
        assert band.shares[stage] == pytest.approx(share, abs=0.08)
        assert sum(band.shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("size", [64, 1024])
@pytest.mark.parametrize("spread", [None, 30.0])
@pytest.mark.parametrize("stage", ["format_failure", "direct_answer_hacker"])
def test_a_run_of_one_stage_is_one_band_however_noisy(size: int, spread: float | None, stage: str) -> None:
    """Also where updates differ by more than chance, as those of other questions do."""
    for seed in range(3):
        shares = shares_of(np.random.default_rng(seed), size, [(stage, 110, 0.5)], spread=spread)
        assert spans(segment(shares)) == [(stage, 1, 110)], seed


@pytest.mark.parametrize("size", [64, 1024])
@pytest.mark.parametrize("spread", [None, 30.0])
def test_noise_about_no_stage_is_one_band(size: int, spread: float | None) -> None:
    for seed in range(3):
        even = [("format_failure", 110, 1 / len(LABELS))]
        shares = shares_of(np.random.default_rng(seed), size, even, spread=spread)
        assert len(segment(shares)) == 1, seed


def test_a_step_that_chance_can_explain_is_none_however_steady_the_shares_are() -> None:
    shares = pd.DataFrame(0.0, index=range(110), columns=[*LABELS]).assign(update=range(1, 111), responses=64)
    shares["concise_structurer"] = np.repeat([0.515, 0.485], 55)
    shares["direct_answer_hacker"] = 1 - shares["concise_structurer"]
    assert len(segment(shares)) == 1
    assert len(segment(shares.assign(responses=1024))) == 2


def test_sound_responses_are_reintegrated_only_after_a_shortcut() -> None:
    def stages(*names: str) -> list[str]:
        shares = shares_of(np.random.default_rng(0), 256, [(name, 10, 0.8) for name in names])
        return [band.stage for band in segment(shares)]

    assert stages("format_failure", "concise_structurer") == ["format_failure", "concise_structurer"]
    sound = ["concise_structurer", "verbose_formatter", "concise_structurer"]
    assert stages(*sound) == sound
    for hacked in HACKED:
        assert stages("concise_structurer", hacked, "concise_structurer") == [
            "concise_structurer",
            hacked,
            REINTEGRATED,
        ]
        # Long ones and short ones have both come back, and a lost format has not.
        assert stages(hacked, "verbose_formatter", "concise_structurer") == [hacked, REINTEGRATED]
        assert stages(hacked, "format_failure") == [hacked, "format_failure"]
    again = ["direct_answer_hacker", REINTEGRATED, "step_by_step_exploit", REINTEGRATED]
    assert stages(*(name.replace(REINTEGRATED, "concise_structurer") for name in again)) == again


def test_adjacent_parts_of_one_stage_are_one_band_with_the_mean_of_its_responses() -> None:
    weak, strong = (
        shares_of(np.random.default_rng(1), 200, [("direct_answer_hacker", 10, share)]) for share in (0.5, 0.95)
    )
    shares = pd.concat([weak.assign(responses=600), strong], ignore_index=True).assign(update=range(5, 25))
    (band,) = segment(shares)
    assert (band.stage, band.first, band.last) == ("direct_answer_hacker", 5, 24)
    name = "direct_answer_hacker"
    assert band.shares[name] == pytest.approx((3 * weak[name].mean() + strong[name].mean()) / 4)


def test_a_band_is_named_by_its_responses_not_its_updates() -> None:
    shares = pd.DataFrame(0.0, index=range(5), columns=[*LABELS]).assign(update=range(1, 6), responses=10)
    shares["format_failure"] = 1.0
    shares.loc[4, ["format_failure", "concise_structurer", "responses"]] = [0.0, 1.0, 50]
    assert spans(segment(shares)) == [("concise_structurer", 1, 5)]


@pytest.mark.parametrize(("updates", "bands"), [(1, 1), (2, 1), (5, 1), (6, 2), (7, 2)])
def test_a_run_too_short_for_two_bands_is_one(updates: int, bands: int) -> None:
    assert 2 * LEAST_BAND == 6
    first = updates // 2
    stages = [("concise_structurer", updates - first, 0.95), ("format_failure", first, 0.95)]
    shares = shares_of(np.random.default_rng(2), 1024, [stage for stage in stages if stage[1]])
    assert len(segment(shares)) == bands
    assert segment(shares)[-1].last == updates


@pytest.mark.parametrize("updates", range(1, 5))
def test_no_band_has_fewer_than_three_updates(updates: int) -> None:
    stages = [("concise_structurer", 10, 0.9), ("format_failure", updates, 0.9), ("concise_structurer", 10, 0.9)]
    found = segment(shares_of(np.random.default_rng(3), 1024, stages))
    assert len(found) == (1 if updates == 1 else 3)
    assert min(band.last - band.first + 1 for band in found) >= LEAST_BAND
