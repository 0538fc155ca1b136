"""The explorer of responses in a real browser: its address, filters, comparison, export and keys."""

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pages
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import launched, visits
from evaluated import TAGGED, evaluate
from playwright.sync_api import Browser, Locator, Page, expect
from test_browser import HOSTILE, RULES

from medrlvr.evaluation.claims import reasoned, verified
from medrlvr.grading.evidence import Evidence
from medrlvr.report import explorer
from medrlvr.runtime.files import read_parquet, write_parquet

pytestmark = pytest.mark.slow

UPDATES, QUESTIONS, SAMPLES = 60, 10, 3
RUN = "rlvr/seed1"
NONE = "\u2013"
FIRST = "<think>The vein has zinc and lead, so it is zinc.</think> <answer>C</answer>"
SECOND = "<think>The vein has only lead,\n\nso it is not zinc \u202e.</think> <answer>D</answer>"


def responses_of(update: int) -> list[str]:
    """Return three responses to each of ten questions; most vary with the update, so that every grade occurs."""
    kinds = ["no format", "Answer: C.", TAGGED.format("?"), TAGGED.format("A"), TAGGED.format("C"), "long " * update]
    noise = [hashlib.sha256(f"{update} {number}".encode()).hexdigest() for number in range(QUESTIONS * SAMPLES)]
    texts = [f"{noise[number]} {kinds[(update + number) % len(kinds)]}" for number in range(QUESTIONS * SAMPLES)]
    if update == UPDATES:
        texts[: len(HOSTILE)] = HOSTILE
        texts[-2:] = [FIRST, SECOND]
    return texts


def sampled() -> pd.DataFrame:
    table = pages.rollouts([responses_of(update) for update in range(1, UPDATES + 1)])
    numbers = table["question_id"].str.removeprefix("q/").astype(int)
    return table.assign(question_id="q/" + (numbers % QUESTIONS).astype(str), sample=numbers // QUESTIONS)


def check_evidence(stem: str, _: object, response: str, __: object) -> Evidence:
    """Find reasons in one of three responses, and an invented finding in another."""
    kind = (len(response) + len(stem)) % 3
    return Evidence(2, int(kind == 1), None, fits=kind == 2, fact_true=None, reasons=kind == 2)


@dataclass(frozen=True)
class Reports:
    """Folder of an experiment, with its tables, a report with all texts and one with a sample of them."""

    folder: Path
    whole: Path
    part: Path
    responses: pd.DataFrame


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    folder = tmp_path_factory.mktemp("experiment")
    evaluated = evaluate(pages.EXPERIMENT, added=HOSTILE[0])
    inputs = pages.PageInputs(**pages.prepare(folder, evaluated, sampled(), check=check_evidence))
    tables = {name: read_parquet(folder / f"{name}.parquet") for name in ("rollouts", "responses", "questions-train")}
    places = [f"rollouts/{RUN}/rollouts", f"dynamics/{RUN}/responses", "data/train"]
    placed = dict(zip(places, tables.values(), strict=True))
    placed |= {f"eval/{model}/scores": scores for model, scores in evaluated["scores"].items()}
    placed |= {f"data/benchmarks/{name}": asked for name, asked in evaluated["questions"].items()}
    for place, table in placed.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        write_parquet(folder / f"{place}.parquet", table)
    values = pages.page_values(inputs)
    (folder / "whole.html").write_text(pages.render(values), encoding="utf-8")
    tests, checkpoints, facts, texts = map(len, values["payloads"].values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explorer, "LIMIT", tests + checkpoints + facts + texts // 3)
        values = pages.page_values(inputs)
    (sample,) = values["samples"]
    assert 0 < sample.shown < sample.total
    (folder / "part.html").write_text(pages.render(values), encoding="utf-8")
    labels = tables["responses"][["label", "evidence_invented", "reasons"]]
    return Reports(folder, folder / "whole.html", folder / "part.html", tables["rollouts"].join(labels))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as started:
        yield started


@pytest.fixture
def whole(chromium: Browser, reports: Reports) -> Iterator[Callable[..., Page]]:
    with visits(chromium, reports.whole) as visit:
        yield visit


@pytest.fixture
def part(chromium: Browser, reports: Reports) -> Iterator[Callable[..., Page]]:
    with visits(chromium, reports.part) as visit:
        yield visit


def field(page: Page, name: str) -> Locator:
    return page.locator(f"#responses form [name={name}]")


def parameters(**values: Any) -> str:
    """Return an address with a run's name as its charts write it, without escapes."""
    return "#responses?" + "&".join(f"{name}={value}" for name, value in {"run": RUN, **values}.items())


def count(page: Page) -> Locator:
    return page.locator("#rollout-count")


def python_of(page: Page) -> str:
    return str(page.locator("#rollout-python pre").text_content())


def articles(page: Page) -> Locator:
    return page.locator("#rollout-list article")


def selected(page: Page) -> str:
    """Return the place of the response that has the focus."""
    return str(page.evaluate("document.activeElement.dataset.place"))


ADDRESSES = {
    "from=25&to=45": "25 <= update <= 45",
    "from=59": "update >= 59",
    "stage=format_failure&to=9": "label == 'format_failure' and update <= 9",
    "grade=right": "correct",
    "grade=wrong": "letter.notna() and not correct",
    "grade=unreadable+answer": "letter.isna() and rule != 'no_answer_block'",
    "grade=no+valid+format&lenient=wrong": "letter.isna() and lenient_letter == 'C' and not lenient_correct",
    "lenient=right": "lenient_correct",
    "lenient=no+readable+answer": "lenient_letter.isna()",
    "evidence=reasons": "reasons",
    "evidence=invented&from=50": "evidence_invented > 0 and update >= 50",
    "question=q/7": "question_id == 'q/7'",
    "question=LODE+3": "question_id == 'q/3'",
    "words=Long": "response.str.contains('long')",
}
"""Parameters of an address -> the same selection of the parquet files."""


def test_an_address_selects_exactly_its_responses(
    whole: Callable[..., Page], reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count on screen, the rows of the parquet files, and the Python code that the report shows are the same."""
    monkeypatch.chdir(reports.folder)
    page = whole("#training-responses")
    for address, query in ADDRESSES.items():
        expected = reports.responses.query(query, engine="python")
        assert 0 < len(expected) < len(reports.responses), address
        page.evaluate(f"location.hash = '#responses?{address}'")
        expect(count(page)).to_contain_text(f"{len(expected):,} of {len(reports.responses):,} responses")
        # The code that the report recommends.
        found = eval(python_of(page), {"pd": pd})
        assert found.index.tolist() == expected.index.tolist(), address


def test_two_number_inputs_give_a_range_and_the_address_has_it(whole: Callable[..., Page], reports: Reports) -> None:
    page = whole("#training-responses")
    field(page, "from").fill("25")
    field(page, "to").fill("45")
    expect(count(page)).to_contain_text(f"{21 * QUESTIONS * SAMPLES} of")
    assert page.url == reports.whole.as_uri() + "#responses?from=25&to=45"


def test_reset_clears_the_address(whole: Callable[..., Page], reports: Reports) -> None:
    page = whole(parameters(stage="format_failure", to=3, sort="-length"))
    expect(count(page)).not_to_contain_text(f"{len(reports.responses):,} of")
    page.locator("#rollout-filters [type=reset]").click()
    expect(count(page)).to_contain_text(f"{len(reports.responses):,} of {len(reports.responses):,}")
    assert page.url == reports.whole.as_uri()
    for name in ("from", "to", "stage", "sort"):
        expect(field(page, name)).to_have_value("")


def test_back_and_forward_restore_filters_and_count(whole: Callable[..., Page]) -> None:
    page = whole("#training-responses")
    states: list[tuple[str, str, str]] = []
    for name, value in (("from", "50"), ("grade", "right"), ("words", "zinc")):
        element = field(page, name)
        element.select_option(value) if name == "grade" else element.fill(value)
        page.wait_for_url(f"**{name}={value}*")
        page.wait_for_timeout(300)
        states.append((page.url, count(page).inner_text(), value))
    assert len({shown for _, shown, _ in states}) == 3
    for url, shown, _ in reversed(states[:-1]):
        page.go_back()
        expect(count(page)).to_have_text(shown)
        assert page.url == url
    expect(field(page, "grade")).to_have_value("")
    expect(field(page, "from")).to_have_value("50")
    page.go_forward()
    expect(count(page)).to_have_text(states[1][1])
    expect(field(page, "grade")).to_have_value("right")
    page.go_back()
    page.go_back()
    expect(field(page, "from")).to_have_value("")


def test_a_link_elsewhere_in_the_report_sets_the_filters(whole: Callable[..., Page]) -> None:
    """As the charts do: they set the address."""
    page = whole(parameters(grade="right"))
    expect(count(page)).not_to_be_empty()
    page.evaluate(f"location.hash = '{parameters(**{'from': 2, 'to': 3})}'")
    expect(count(page)).to_contain_text(f"{2 * QUESTIONS * SAMPLES} of")
    expect(field(page, "grade")).to_have_value("")
    expect(page.locator("#rollout-list")).to_be_focused()


def test_the_focus_is_on_the_response_that_the_address_names(whole: Callable[..., Page]) -> None:
    """On any page of a long list, with any order."""
    page = whole(parameters(selected="40/q/7/2", sort="-update"))
    expect(page.locator("article.linked")).to_be_focused()
    expect(page.locator("article.linked")).to_be_in_viewport()
    assert selected(page) == "40/q/7/2"
    expect(articles(page)).to_have_count(20)
    page.locator("#rollout-fewer").click()
    expect(articles(page)).to_have_count(40)


def test_unknown_and_not_embedded_are_distinguished(part: Callable[..., Page], reports: Reports) -> None:
    notice = "#rollout-notice"
    page = part("#training-responses")
    field(page, "words").fill("u")
    expect(count(page)).to_contain_text("embedded")
    embedded = page.evaluate(SHOWN)
    places = [f"{row.update}/{row.question_id}/{row.sample}" for row in rows_of(reports.responses)]
    left = next(place for place in places if place not in embedded)
    expect(part(parameters(selected=left)).locator(notice)).to_contain_text(f"{left} exists, but the report does not")
    page = part(parameters(selected="61/q/7/2"))
    expect(page.locator(notice)).to_contain_text(f"{RUN} has no response 61/q/7/2")
    page = part(parameters(selected=embedded[0], **{"from": 61}))
    expect(page.locator(notice)).to_contain_text("the filters exclude it")
    expect(part("#responses?run=other&stages=x&sort=up").locator("#unpacking")).to_have_text(
        "The address is not of this report: run=other is not in this report; sort=up is not in this report;"
        " stages is not a filter."
    )


SHOWN = """
(async () => {
  const form = document.querySelector("#rollout-filters");
  const node = document.querySelector("[data-payload='rlvr/seed1']");
  const bytes = Uint8Array.from(atob(node.textContent), (sign) => sign.charCodeAt(0));
  const facts = document.querySelector("[data-payload='rlvr/seed1 facts']");
  const other = Uint8Array.from(atob(facts.textContent), (sign) => sign.charCodeAt(0));
  const unpack = (data) => new Response(new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  const [{ texts }, coded] = await Promise.all([unpack(bytes), unpack(other)]);
  return Object.keys(texts).map((at) => `${coded.update[at]}/${coded.ids[coded.question[at]]}/${coded.sample[at]}`);
})()
"""


def rows_of(table: pd.DataFrame) -> Iterator[Any]:
    return table.itertuples(index=False)


def test_the_count_of_a_sample_is_n_of_all_that_match(
    part: Callable[..., Page], reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = part(parameters(grade="right", to=40))
    embedded = set(page.evaluate(SHOWN))
    assert 0 < len(embedded) < len(reports.responses)
    matching = reports.responses.query("correct and update <= 40")
    shown = sum(f"{row.update}/{row.question_id}/{row.sample}" in embedded for row in rows_of(matching))
    expect(count(page)).to_contain_text(
        f"{shown:,} of {len(matching):,} matching responses are embedded; the run has {len(reports.responses):,}"
    )
    monkeypatch.chdir(reports.folder)
    expect(page.locator("#rollout-python pre")).to_be_visible()
    found = eval(python_of(page), {"pd": pd})
    assert len(found) == len(matching)
    field(page, "words").fill("zinc")
    expect(count(page)).to_contain_text("words are not searched in the others")


def test_an_empty_result_names_the_filter_to_loosen(whole: Callable[..., Page], reports: Reports) -> None:
    page = whole(parameters(**{"from": 3, "to": 4, "grade": "right", "words": "no+such+words"}))
    expect(page.locator("#rollout-notice")).to_contain_text("Without the filter \u201cwords in the response\u201d")
    left = len(reports.responses.query("3 <= update <= 4 and correct"))
    expect(page.locator("#rollout-notice")).to_contain_text(f", {left} match")
    page.get_by_role("button", name="Remove the filter words in the response").click()
    expect(count(page)).to_contain_text(f"{left} of")
    page = whole(parameters(**{"from": 61, "words": "no+such+words"}))
    expect(page.locator("#rollout-notice")).to_contain_text("No response matches, also not without any one")


def test_responses_are_sorted(whole: Callable[..., Page], reports: Reports) -> None:
    page = whole("#training-responses")
    table = reports.responses.assign(length=reports.responses["response"].str.len())
    expect(articles(page)).to_have_count(20)
    for sort in ("-update", "reward", "-reward", "length", "-length", "update"):
        field(page, "sort").select_option(sort.removeprefix("update"))
        rows = table.sort_values(sort.removeprefix("-"), ascending=not sort.startswith("-"), kind="stable").head(20)
        expected = [f"{row.update}/{row.question_id}/{row.sample}" for row in rows_of(rows)]
        expect(articles(page)).to_have_count(len(expected))
        for number, place in enumerate(expected):
            expect(articles(page).nth(number)).to_have_attribute("data-place", place)


def test_hits_are_marked(whole: Callable[..., Page]) -> None:
    """Also after a character that JavaScript counts as two, and across the grader's marks."""
    page = whole(parameters(words="IS+zinc.%3C/", selected="60/q/8/2"))
    expect(articles(page)).to_have_count(1)
    assert "".join(articles(page).locator("pre .hit").all_inner_texts()) == "is zinc.</"


def test_a_film_strip_shows_every_response_to_a_question(whole: Callable[..., Page], reports: Reports) -> None:
    page = whole(parameters(selected="2/q/3/1"))
    cells = page.locator("article.linked .strip .cell")
    own = reports.responses.query("question_id == 'q/3'").sort_values(["update", "sample"])
    expect(cells).to_have_count(len(own))
    expect(page.locator("article.linked .strip tbody tr")).to_have_count(UPDATES)
    texts = [f"{row.letter or NONE} {reward_of(row.reward)}" for row in rows_of(own)]
    assert cells.all_inner_texts() == texts
    classes = cells.locator(".shape").evaluate_all("nodes => nodes.map((node) => node.className)")
    assert classes == [f"shape {label}" for label in own["label"]]
    names = cells.evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")
    for row, name in zip(rows_of(own), names, strict=True):
        assert name.startswith(f"update {row.update}, sample {row.sample}, ") and "reward" in name
    expect(page.locator("article.linked .cell[aria-current]")).to_have_count(1)
    cells.last.click()
    expect(page.locator("article.linked")).to_be_focused()
    assert selected(page) == "60/q/3/2"


def reward_of(reward: float) -> str:
    return f"{reward:+g}" if reward else "0"


def test_arrows_move_in_a_film_strip(whole: Callable[..., Page]) -> None:
    page = whole(parameters(selected="2/q/3/1"))
    page.locator("article.linked .cell[aria-current]").focus()
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert "update 3, sample 2" in page.evaluate("document.activeElement.getAttribute('aria-label')")


def test_a_film_strip_of_a_sample_has_the_others_without_links(part: Callable[..., Page]) -> None:
    page = part("#training-responses")
    place = page.evaluate(SHOWN)[0]
    page.evaluate(f"location.hash = '{parameters(selected=place)}'")
    expect(page.locator("article.linked .strip .cell")).to_have_count(UPDATES * SAMPLES)
    links = page.locator("article.linked .strip a.cell").count()
    assert 0 < links < UPDATES * SAMPLES
    name = page.locator("article.linked .strip span.cell").first.get_attribute("aria-label")
    assert "text not in the report" in str(name)


def test_two_responses_differ_in_words(whole: Callable[..., Page]) -> None:
    """The first without deletions, with insertions, is the second."""
    page = whole(parameters(selected="60/q/8/2"))
    expect(page.locator("article.linked")).to_be_focused()
    page.keyboard.press("c")
    expect(page.locator("#difference-status")).to_contain_text("Mark the second response")
    page.evaluate(f"location.hash = '{parameters(selected='60/q/9/2')}'")
    expect(page.locator("article[data-place='60/q/9/2']")).to_be_focused()
    page.keyboard.press("c")
    expect(page.locator("#difference")).to_be_focused()
    parts = page.locator("#difference-text").evaluate(PARTS)
    assert "".join(text for kind, text in parts if kind != "INS") == FIRST
    assert "".join(text for kind, text in parts if kind != "DEL") == SECOND.replace("\u202e", "[U+202E]")
    assert {kind for kind, _ in parts} == {"#text", "DEL", "INS"}
    assert len([kind for kind, _ in parts if kind == "DEL"]) > 1, "only the words that differ"
    page.keyboard.press("Escape")
    expect(page.locator("#difference")).to_be_hidden()
    assert selected(page) == "60/q/9/2"


PARTS = """node => [...node.childNodes].map((one) => [
  one.nodeName === "SPAN" ? "#text" : one.nodeName, one.textContent]).filter(([, text]) => text)"""


def test_answers_of_two_models_differ_in_words(whole: Callable[..., Page]) -> None:
    page = whole("#responses?benchmark=mmlu_pro_health")
    buttons = page.locator("#test-item").get_by_role("button", name="Compare")
    texts = [page.locator("#test-item .column pre").nth(place).text_content() for place in (1, 4)]
    for place in (1, 4):
        buttons.nth(place).click()
    parts = page.locator("#difference-text").evaluate(PARTS)
    assert "".join(text for kind, text in parts if kind != "INS") == texts[0]
    assert "".join(text for kind, text in parts if kind != "DEL") == texts[1]


def test_the_filtered_responses_are_exported(whole: Callable[..., Page], reports: Reports) -> None:
    page = whole(parameters(**{"from": 60, "sort": "-length"}))
    expect(count(page)).to_contain_text("30 of")
    with page.expect_download() as download:
        page.locator("#rollout-filters [name=export]").click()
    assert download.value.suggested_filename == "rlvr-seed1.jsonl"
    lines = [json.loads(line) for line in download.value.path().read_text(encoding="utf-8").splitlines()]
    table = reports.responses.query("update == 60").set_index(["question_id", "sample"])
    assert len(lines) == len(table) == 30
    for line in lines:
        row = table.loc[(line["question_id"], line["sample"])]
        assert (line["run"], line["update"], line["response"]) == (RUN, 60, row["response"])
        assert (line["stage"], line["reward"], line["letter"]) == (row["label"], row["reward"], row["letter"])
        assert (line["lenient"] == "right", line["reasons"]) == (row["lenient_correct"], row["reasons"])


def test_the_filtered_test_answers_are_exported(whole: Callable[..., Page]) -> None:
    page = whole("#responses?benchmark=medqa&test_question=medqa/3")
    expect_questions(page, 1)
    with page.expect_download() as download:
        page.locator("#test-filters [name=export]").click()
    lines = [json.loads(line) for line in download.value.path().read_text(encoding="utf-8").splitlines()]
    models = [text.partition(":")[0] for text in page.locator("#test-item h4").all_inner_texts()]
    assert len(lines) == len(models) == 6
    assert (lines[0]["model"], lines[0]["mode"], models[0]) == ("base", "chain_of_thought", "base, chain of thought")
    assert (lines[-1]["model"], models[-1]) == ("rlvr_dev/seed1", "RLVR, best on development, seed 1, chain of thought")
    assert {line["question_id"] for line in lines} == {"medqa/3"}


def test_keys_select_search_and_move(whole: Callable[..., Page]) -> None:
    page = whole(parameters(**{"from": 2, "selected": "2/q/0/0"}))
    expect(page.locator("article.linked")).to_be_focused()
    for key, place in (("j", "2/q/1/0"), ("ArrowRight", "2/q/2/0"), ("k", "2/q/1/0"), ("ArrowLeft", "2/q/0/0")):
        page.keyboard.press(key)
        expect(page.locator(f"article[data-place='{place}']")).to_be_focused()
    assert page.url.endswith("selected=2%2Fq%2F0%2F0")
    page.keyboard.press("/")
    expect(field(page, "words")).to_be_focused()
    page.keyboard.type("jk/c")
    expect(field(page, "words")).to_have_value("jk/c")
    page.locator("#test-item article").focus()
    page.keyboard.press("j")
    expect(page.locator("#test-count")).to_have_text("Question 2 of 12")
    page.keyboard.press("k")
    expect(page.locator("#test-count")).to_have_text("Question 1 of 12")


def test_keys_do_nothing_outside_the_section(whole: Callable[..., Page]) -> None:
    page = whole()
    page.keyboard.press("/")
    page.keyboard.press("j")
    assert page.url.endswith("whole.html")
    assert page.evaluate("document.activeElement.tagName") == "BODY"


OUTCOMES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "right": lambda scores: scores["correct"],
    "not right": lambda scores: ~scores["correct"],
    "wrong": lambda scores: scores["letter"].notna() & ~scores["correct"],
    "unreadable answer": lambda scores: scores["letter"].isna() & (scores["rule"] != "no_answer_block"),
    "no valid format": lambda scores: scores["letter"].isna() & (scores["rule"] == "no_answer_block"),
    "not readable": lambda scores: scores["letter"].isna(),
    "neither reading": lambda scores: scores["letter"].isna() & ~scores["lenient_correct"],
    "lenient only": lambda scores: scores["lenient_correct"] & ~scores["correct"],
    "lenient wrong": lambda scores: scores["lenient_letter"].notna() & ~scores["lenient_correct"],
    "reasoned": reasoned,
    "verified": verified,
    "lenient right": lambda scores: scores["lenient_correct"],
    "lenient not right": lambda scores: ~scores["lenient_correct"],
    "lenient no readable answer": lambda scores: scores["lenient_letter"].isna(),
}


def test_test_questions_are_filtered_by_any_two_models(
    whole: Callable[..., Page], reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with the base as the second model, and in both readings; the Python code selects the same."""
    monkeypatch.chdir(reports.folder)
    page = whole("#responses?benchmark=medqa")
    base, own = (scores_of(reports, f"{model},chain_of_thought") for model in ("base", "rlvr/seed1"))
    sides = "first=rlvr/seed1,chain_of_thought&second=base,chain_of_thought"
    for outcome, other in itertools.product(OUTCOMES, repeat=2):
        page.evaluate(f"location.hash = '#responses?{sides}&first_outcome={outcome}&second_outcome={other}'")
        ids = own.index[OUTCOMES[outcome](own) & OUTCOMES[other](base)]
        expect_questions(page, len(ids))
        notice = re.compile("Without the filter|without any one" if not len(ids) else "^$")
        expect(page.locator("#test-notice")).to_have_text(notice)
        if outcome == other or "right" in (outcome, other):
            assert selected_by_code(page)["question_id"].tolist() == ids.tolist(), (outcome, other)


def expect_questions(page: Page, number: int, more: str = "") -> None:
    """Expect the number of questions that match the filters, of 12."""
    text = f"Question 1 of {number}{'; the benchmark has 12' if number < 12 else ''}{more}"
    expect(page.locator("#test-count")).to_have_text(text if number else "No question matches")


def selected_by_code(page: Page) -> pd.DataFrame:
    """Run the Python code that the report recommends for the test answers."""
    *lines, last = str(page.locator("#test-python pre").text_content()).splitlines()
    names: dict[str, Any] = {"pd": pd}
    exec("\n".join(lines), names)
    return eval(last, names)


def test_a_third_model_is_filtered_too(
    whole: Callable[..., Page], reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fields are visible only if the address has it. Log-likelihood answers have facts, but no text."""
    monkeypatch.chdir(reports.folder)
    page = whole("#responses?benchmark=medqa")
    expect(page.locator("#test-item article")).to_be_visible()
    expect(field(page, "third")).to_be_hidden()
    sides = {"first": "rlvr/seed1,chain_of_thought", "second": "base,chain_of_thought", "third": "base,loglikelihood"}
    scores = {side: scores_of(reports, model) for side, model in sides.items()}
    for outcome in ("right", "not right"):
        wanted = {"first": "right", "second": "wrong", "third": outcome}
        place = urlencode(sides | {f"{side}_outcome": value for side, value in wanted.items()})
        page.evaluate(f"location.hash = '#responses?{place}'")
        ids = scores["first"].index
        ids = ids[np.logical_and.reduce([OUTCOMES[value](scores[side]) for side, value in wanted.items()])]
        more = "; the report does not contain the texts of base, loglikelihood"
        expect_questions(page, len(ids), more)
        expect(field(page, "third")).to_have_value("base,loglikelihood")
        assert selected_by_code(page)["question_id"].tolist() == ids.tolist()
        expect(page.locator("#test-python pre")).to_be_visible()
    expect(page.locator("#test-item .column", has_text="base, loglikelihood")).to_contain_text("not in the report")


def test_the_code_of_a_row_selects_what_the_row_counts(
    whole: Callable[..., Page], reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of counts that no address selects."""
    monkeypatch.chdir(reports.folder)
    page = whole()
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true })")
    shown = page.locator("code.python").all_text_contents()
    codes = {code.partition(" = ")[0]: code for code in shown}
    comparisons = json.loads((reports.folder / "comparisons.json").read_text(encoding="utf-8"))
    for control in comparisons["controls"]:
        names = {name: control[name] for name in ("benchmark", "model", "mode")} | {"control": control["set"]}
        assert len(run_code(codes["benchmark, control, model, mode"], names)) == control["moved"]
    records = json.loads((reports.folder / "metrics/rlvr-seed1.json").read_text(encoding="utf-8"))["records"]
    names = {"benchmark": "medqa", "model": "rlvr/seed1", "mode": "chain_of_thought"}
    [record] = [one for one in records if (one["benchmark"], one["mode"]) == ("medqa", "chain_of_thought")]
    # The letters of the training questions on disk are not those for which the strata were computed.
    for stratum in (one for one in record["strata"] if one["stratum"] != "gold_letter"):
        part = {name: stratum[name] for name in ("stratum", "value")}
        found = run_code(codes["benchmark, model, mode, stratum, value"], names | part)
        assert len(found) == stratum["n"] and found["correct"].mean() == pytest.approx(stratum["accuracy"])
    strict = run_code(codes["benchmark, model, mode, column"], names | {"column": "strict_format"})
    assert len(strict) == round(record["strict_format"] * record["n"])
    assert set(codes) >= {"rule, held_out", "one, other, kind", "run, candidate"}


def run_code(code: str, names: dict[str, str]) -> pd.DataFrame:
    """Run code of the report with other values in its first line, and return the value of its last line."""
    assert set(code.splitlines()[0].partition(" = ")[0].split(", ")) == set(names)
    *lines, last = code.splitlines()[1:]
    known: dict[str, Any] = {"pd": pd, **names}
    exec("\n".join(lines), known)
    return eval(last, known)


def scores_of(reports: Reports, model: str) -> pd.DataFrame:
    name, mode = model.split(",")
    scores = read_parquet(reports.folder / f"scores-{name.replace('/', '-')}.parquet")
    return scores[(scores["benchmark"] == "medqa") & (scores["mode"] == mode)].set_index("question_id")


def test_a_test_question_that_does_not_exist_is_named(whole: Callable[..., Page]) -> None:
    page = whole("#responses?benchmark=medqa&item=medqa/99")
    expect(page.locator("#test-notice")).to_have_text("This benchmark has no question medqa/99.")
    page = whole("#responses?benchmark=medqa&item=medqa/3")
    expect(page.locator("#test-item article")).to_be_focused()
    expect(page.locator("#test-notice")).to_be_hidden()


def test_hostile_responses_create_no_element(whole: Callable[..., Page]) -> None:
    page = whole(parameters(**{"from": 60, "words": "hacked", "selected": "60/q/1/0"}), bypass_csp=True)
    expect(page.locator("article.linked")).to_be_focused()
    for place in (0, 1):
        articles(page).nth(place).get_by_role("button", name="Compare").click()
    expect(page.locator("#difference ins").first).to_be_visible()
    assert page.evaluate("window.hacked") is None
    inside = page.locator("#rollout-list, #difference, #test-item, #rollout-python, #rollout-notice")
    assert inside.locator("script, style, img, svg, iframe, a[href^='javascript:'], h1").count() == 0
    page = whole(f"#responses?words={'<img src=x onerror=window.hacked=1>'}&selected={HOSTILE[3]}&run={RUN}")
    expect(page.locator("#rollout-notice")).to_contain_text("has no response <img src=x")
    assert page.locator("#responses img").count() == 0 and page.evaluate("window.hacked") is None


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_explorer_meets_wcag_aa(whole: Callable[..., Page], scheme: str, width: int) -> None:
    place = parameters(**{"from": 60, "words": "zinc", "selected": "60/q/8/2"})
    page = whole(place, color_scheme=scheme, viewport={"width": width, "height": 844})
    expect(page.locator("article.linked .strip")).to_be_attached()
    for place in (0, 1):
        articles(page).nth(place).get_by_role("button", name="Compare").click()
    expect(page.locator("#difference-text")).to_be_visible()
    # A control under the sticky navigation counts as too small.
    page.evaluate("scrollTo(0, 0)")
    found = Axe().run(page, context="#responses", options=RULES)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"


def test_the_report_with_an_explorer_without_responses_is_small(reports: Reports) -> None:
    """1.1 MB, so that with `explorer.LIMIT` it has at most 12.5 MB."""
    text = reports.whole.read_text(encoding="utf-8")
    bare = re.sub(r'(data-payload="[^"]+">)[^<]+', r"\1", text)
    assert len(bare) < len(text) - 10_000
    assert len(bare.encode()) < 1_100_000
    assert explorer.LIMIT + 1_100_000 <= 12_500_000


def test_a_film_strip_of_a_test_question_has_the_checkpoints(whole: Callable[..., Page], reports: Reports) -> None:
    page = whole("#responses?benchmark=medqa&item=medqa/3")
    page.locator("#test-item summary", has_text="checkpoints of RLVR, seed 1").click()
    rows = read_parquet(reports.folder / "grades.parquet").query("set == 'medqa' and question_id == 'medqa/3'")
    assert rows["update"].tolist() == [0, 2]
    expect(page.locator("#test-item .strip tbody th")).to_have_text(["base", "2"])
    cells = page.locator("#test-item .strip .cell")
    expect(cells).to_have_text([row.letter or NONE for row in rows_of(rows)])
    classes = cells.locator(".shape").evaluate_all("nodes => nodes.map((node) => node.className)")
    assert classes == [f"shape {row.label}" for row in rows_of(rows)]
