"""The charts of the report in a real browser, and the values that they show."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pages
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import launched
from evaluated import TAGGED, evaluate
from markupsafe import Markup
from playwright.sync_api import Browser, Page, expect

from medrlvr.config.design import comparison_design
from medrlvr.report.charts import chart_values, describe_curves
from medrlvr.report.explorer import pack
from medrlvr.report.overview import model_label
from medrlvr.report.page import LIBRARY
from medrlvr.runtime.files import read_parquet

UPDATES = 50
SAMPLED = pages.rollouts(
    [
        [TAGGED.format("ABCDE"[(update + row) % 5]) if row * 7 % 12 < update % 13 else "A." for row in range(12)]
        for update in range(UPDATES)
    ]
)
TITLES = {"medqa": "MedQA"}
LABELS = partial(model_label, design=comparison_design(pages.EXPERIMENT))
BANDS = {"bands": [{"stage": "format_failure", "first": 1, "last": 20, "shares": {}},
                   {"stage": "reintegrated_reasoning", "first": 21, "last": 50, "shares": {}}]}  # fmt: skip


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The values of a report of one run, `dynamics`, its table with answers of checkpoints, and `folder`, its files."""
    folder = tmp_path_factory.mktemp("page")
    evaluated = evaluate(pages.EXPERIMENT)
    made = pages.values(folder, evaluated, SAMPLED)
    table = read_parquet(folder / "dynamics.parquet")
    tested = {"accuracy_medqa": 0.3, "lenient_accuracy_medqa": 0.4125, "chars_medqa": 91.25}
    for column, first in tested.items():
        table[column] = [first + row / 100 if row % 10 == 9 else np.nan for row in range(len(table))]
    return {**made, "dynamics": table, "folder": folder}


def with_runs(values: Mapping[str, Any], runs: Mapping[str, pd.DataFrame]) -> str:
    """The report with charts of these runs."""
    charts = chart_values([describe_curves(name, table, BANDS) for name, table in runs.items()], TITLES, LABELS)
    return pages.render({**values, "charts": charts, "chart_data": Markup(pack(charts))})


def few_columns() -> pd.DataFrame:
    """The table of a run without answers of checkpoints, without KL and without evidence."""
    table = pd.DataFrame({"update": range(1, UPDATES + 1), "responses": 8.0, "chars": 100.0, "correct": 0.5})
    return table.assign(reward=table["update"] / 64, stage_format_failure=1.0)


def several(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Two arms with two seeds each, whose rewards differ."""
    names = ["rlvr/seed1", "rlvr/seed2", "other/seed1", "other/seed2"]
    return {name: table.assign(reward=table["reward"] + 0.25 * index) for index, name in enumerate(names)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as started:
        yield started


@pytest.fixture
def opened(browser: Browser, values: dict[str, Any], tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open a report with charts of these runs; afterwards, require that no error and no violation occurred."""
    faults: list[str] = []
    contexts = []

    def visit(runs: Mapping[str, pd.DataFrame] | None = None, place: str = "", **settings: Any) -> Page:
        report = tmp_path / "report.html"
        report.write_text(with_runs(values, runs or {"rlvr/seed1": values["dynamics"]}), encoding="utf-8")
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **settings}
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.add_init_script("addEventListener('securitypolicyviolation', (event) => console.error(event.blockedURI))")
        page.goto(report.as_uri() + place)
        if settings.get("java_script_enabled", True):
            page.locator("#charts").scroll_into_view_if_needed()
            expect(page.locator("#charts .brush").first).to_be_attached(timeout=30_000)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == []


def panel(page: Page, title: str) -> Any:
    return page.locator("#charts .panel").filter(has=page.locator(f'[aria-label="Lines of {title}"]'))


MOVE = """(link, update) => {
  const press = (key) => link.dispatchEvent(new KeyboardEvent("keydown", { key }));
  link.focus();
  press("Home");
  while (!link.previousSibling.textContent.includes(`update ${update}\\n`)) press("ArrowRight");
}"""
WALK = """(link, lines) => {
  const press = (key) => link.dispatchEvent(new KeyboardEvent("keydown", { key }));
  const text = () => link.previousSibling.textContent;
  link.focus();
  return [...Array(lines)].map(() => {
    const seen = [];
    press("Home");
    do {
      seen.push(text());
      press("ArrowRight");
    } while (text() !== seen.at(-1));
    press("ArrowDown");
    return seen;
  });
}"""


def move_to(shown: Any, update: int) -> None:
    """Move the point of a panel with the keys of its link."""
    shown.locator(".tip a").evaluate(MOVE, update)


def said(shown: Any) -> tuple[str, int, str, str]:
    """Run, update, line and value of the point of a panel."""
    return parts(shown.locator(".tip span").inner_text())


def parts(text: str) -> tuple[str, int, str, str]:
    found = re.fullmatch(r"(.+), (?:after )?update (\d+)\n(.*): (.*)", text)
    assert found is not None
    return found[1], int(found[2]), found[3], found[4]


def written(value: float, kind: str) -> str:
    """A value as the charts must show it."""
    return {"percent": f"{100 * value:.1f} %", "characters": f"{value:.1f}"}.get(kind) or f"{float(f'{value:.4g}'):g}"


def csv_of(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    table.to_csv(folder / "dynamics.csv", index=False)
    return pd.read_csv(folder / "dynamics.csv").set_index("update")


@pytest.mark.slow
def test_every_value_by_keyboard_is_that_of_the_table(
    opened: Callable[..., Page], values: dict[str, Any], tmp_path: Path
) -> None:
    page, rows = opened(), csv_of(values["dynamics"], tmp_path)
    for described in chart_values([describe_curves("rlvr/seed1", values["dynamics"], BANDS)], TITLES, LABELS)["panels"]:
        lines = [(series["label"], column) for series in described["series"] for column in series["columns"]]
        walked = panel(page, described["title"]).locator(".tip a").evaluate(WALK, len(lines))
        for (label, column), texts in zip(lines, walked, strict=True):
            known = rows[column].dropna()
            expected = [("RLVR, seed 1", update, written(value, described["kind"])) for update, value in known.items()]
            assert [(run, update, value) for run, update, _, value in map(parts, texts)] == expected
            assert all(parts(text)[2].startswith(label) for text in texts)


@pytest.mark.slow
def test_every_value_under_the_pointer_is_that_of_the_table(
    opened: Callable[..., Page], values: dict[str, Any], tmp_path: Path
) -> None:
    """Also of the lines next to the chart, at the same update."""
    page, rows = opened(), csv_of(values["dynamics"], tmp_path)
    for title, column, kind in (("Reward", "reward", "number"), ("KL to the base", "kl", "number")):
        shown = panel(page, title)
        shown.scroll_into_view_if_needed()
        box = shown.locator(".plot").bounding_box()
        seen = set()
        for x in np.linspace(box["x"] + 60, box["x"] + box["width"] - 15, 12):
            page.mouse.move(x, box["y"] + box["height"] / 2)
            _, update, _, value = said(shown)
            assert value == written(rows[column][update], kind)
            stages = panel(page, "Stages").locator(".value").all_inner_texts()
            assert stages[0] == written(rows["stage_format_failure"][update], "percent")
            seen.add(update)
        assert len(seen) == 12
        page.mouse.move(0, 0)
        expect(shown.locator(".tip")).not_to_have_class(re.compile("on"))


def expect_address(page: Page, run: str, first: int, last: int, **further: str) -> None:
    address = "#responses?" + urlencode({"run": run, "from": first, "to": last, **further})
    expect(page).to_have_url(re.compile(re.escape(address) + "$"))


@pytest.mark.slow
def test_a_drag_over_updates_25_to_45_shows_exactly_their_responses(
    opened: Callable[..., Page], values: dict[str, Any]
) -> None:
    page = opened()
    rollouts = values["folder"] / "rollouts.parquet"
    dragged = read_parquet(rollouts)["update"].between(25, 45).sum()
    assert 0 < dragged < len(SAMPLED)
    shown = panel(page, "Length of responses")
    ends = []
    for update in (25, 45):
        move_to(shown, update)
        box = shown.locator(".cursor").bounding_box()
        ends.append(box["x"] + box["width"] / 2)
    plot = shown.locator(".overlay").bounding_box()
    before = page.evaluate("scrollY")
    page.mouse.move(ends[0], plot["y"] + 20)
    page.mouse.down()
    page.mouse.move(sum(ends) / 2, plot["y"] + 30)
    page.mouse.move(ends[1], plot["y"] + 30)
    page.mouse.up()
    expect_address(page, "rlvr/seed1", 25, 45)
    assert page.evaluate("scrollY") == before, "a drag does not move the page"
    assert page.locator("#chart-range [name=from]").input_value() == "25"
    expect(page.locator("#charts .selection:visible")).to_have_count(7)
    expect(page.locator("#rollout-count")).to_contain_text(f"{dragged} of {len(SAMPLED)} responses")
    # A press inside the range is still a press on a point.
    page.mouse.click(sum(ends) / 2, plot["y"] + 30)
    expect_address(page, "rlvr/seed1", 35, 35)
    page.go_back()
    expect_address(page, "rlvr/seed1", 25, 45)
    expect(page.locator("#chart-range [name=to]")).to_have_value("45")
    # As the explorer does when one of its fields is changed.
    page.evaluate("history.replaceState(null, '', '#responses?to=17')")
    expect(page.locator("#chart-range [name=from]")).to_have_value("1")
    expect(page.locator("#chart-range [name=to]")).to_have_value("17")


@pytest.mark.slow
def test_two_fields_do_the_same_by_keyboard(opened: Callable[..., Page]) -> None:
    page = opened(several(few_columns()), viewport={"width": 390, "height": 800})
    page.locator("#chart-range [name=run]").select_option("other/seed2")
    first, last = page.locator("#chart-range [name=from]"), page.locator("#chart-range [name=to]")
    first.focus()
    page.keyboard.type("45")
    page.keyboard.press("Tab")
    page.keyboard.type("25")
    page.keyboard.press("Tab")
    assert page.evaluate("location.hash") == "", "no range from 45 to 25"
    assert last.evaluate("field => field.validationMessage").endswith("Enter an update from 45 to 50.")
    first.fill("25")
    last.fill("45")
    last.press("Enter")
    expect_address(page, "other/seed2", 25, 45)
    expect(page.locator("#charts .selection:visible")).to_have_count(4)


@pytest.mark.slow
def test_a_point_leads_to_exactly_its_responses(opened: Callable[..., Page]) -> None:
    page = opened()
    stages = panel(page, "Stages")
    move_to(stages, 31)
    stages.locator(".tip a").press("ArrowDown")
    assert said(stages)[2] == "Verbose formatter"
    stages.locator(".tip a").press("Enter")
    expect_address(page, "rlvr/seed1", 31, 31, stage="verbose_formatter")
    band = stages.locator("a[*|href*='to=20']")
    assert band.get_attribute("href") == "#responses?run=rlvr%2Fseed1&from=1&to=20"
    lengths = panel(page, "Length of responses")
    lengths.locator(".tip a").focus()
    lengths.locator(".tip a").press("ArrowDown")
    lengths.locator(".tip a").press("ArrowDown")
    assert said(lengths)[2] == "MedQA"
    assert lengths.locator(".tip a").get_attribute("href") == "checkpoint_eval/rlvr/seed1/answers.parquet"


@pytest.mark.slow
def test_a_finger_first_shows_the_values(opened: Callable[..., Page]) -> None:
    page = opened(has_touch=True, viewport={"width": 390, "height": 800})
    reward = panel(page, "Reward")
    reward.scroll_into_view_if_needed()
    box = reward.locator(".overlay").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + 40)
    expect(reward.locator(".tip")).to_have_class(re.compile("on"))
    assert page.evaluate("location.hash") == ""
    _, update, _, _ = said(reward)
    reward.locator(".tip a").tap()
    expect_address(page, "rlvr/seed1", update, update)


@pytest.mark.slow
def test_arms_seeds_and_lines_are_switched(opened: Callable[..., Page], values: dict[str, Any]) -> None:
    table = values["dynamics"]
    page = opened(several(table))
    reward = panel(page, "Reward")
    lines = reward.locator("[aria-label=line] path")
    expect(lines).to_have_count(4 + 2)  # the runs, and the mean of each arm
    move_to(reward, 40)
    mean = float(table.set_index("update")["reward"][40])
    assert reward.locator(".value").inner_text() == f"RLVR {mean + 0.125:.4g}\nother {mean + 0.625:.4g}"
    height = reward.bounding_box()["height"]
    page.locator("h3", has_text="Charts").click()
    assert reward.locator(".value").inner_text() == "RLVR\nother" and reward.bounding_box()["height"] == height
    page.get_by_role("toolbar", name="Arms").get_by_role("button", name="other").click()
    expect(lines).to_have_count(2 + 1)
    page.get_by_role("toolbar", name="Seeds").get_by_role("button", name="1").click()
    expect(lines).to_have_count(1)
    move_to(reward, 40)
    assert said(reward) == ("RLVR, seed 2", 40, "Mean reward", written(mean + 0.25, "number"))
    seeds = page.get_by_role("toolbar", name="Seeds").get_by_role("button")
    seeds.first.focus()
    page.keyboard.press("ArrowRight")
    expect(seeds.nth(1)).to_be_focused()
    page.keyboard.press("Space")
    expect(lines).to_have_count(0)
    page.keyboard.press("Space")
    expect(lines).to_have_count(1)
    reward.locator(".series button").click()
    expect(reward.locator(".series button")).to_have_attribute("aria-pressed", "false")
    expect(lines).to_have_count(0)


SIZES = """() => {
  const isText = (node) => node.nodeType === Node.TEXT_NODE && node.data.trim();
  const nodes = [...document.querySelectorAll("#charts *")].filter((node) => [...node.childNodes].some(isText));
  return nodes.filter((node) => node.checkVisibility()).map((node) => parseFloat(getComputedStyle(node).fontSize));
}"""
PLATES = """() => {
  const styles = [...document.querySelectorAll("#charts, #charts *")].map((node) => getComputedStyle(node));
  return styles.filter((one) => [one.backgroundColor, one.fill].includes("rgb(255, 255, 255)")).length;
}"""


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_charts_are_legible(opened: Callable[..., Page], values: dict[str, Any], scheme: str, width: int) -> None:
    page = opened(several(values["dynamics"]), color_scheme=scheme, viewport={"width": width, "height": 800})
    move_to(panel(page, "Accuracy"), 10)
    sizes = page.evaluate(SIZES)
    assert len(sizes) > 60 and min(sizes) >= 11
    if scheme == "dark":
        assert page.evaluate(PLATES) == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
    found = Axe().run(page, context="#charts", options=rules)
    assert len(found.response["passes"]) > 10, "hardly anything was checked"
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.slow
@pytest.mark.parametrize("updates", [1, 2])
def test_a_short_run_without_kl_has_charts_too(opened: Callable[..., Page], updates: int) -> None:
    table = few_columns().head(updates)
    page = opened({f"rlvr/seed{seed}": table for seed in range(1, 11)})
    expect(page.locator("#charts .panel h4")).to_have_count(4)
    move_to(panel(page, "Reward"), updates)
    assert said(panel(page, "Reward"))[3] == written(updates / 64, "number")
    assert "NaN" not in page.locator("#charts").inner_html()


@pytest.mark.slow
def test_without_javascript_the_figures_are_visible(opened: Callable[..., Page]) -> None:
    page = opened(java_script_enabled=False)
    expect(page.locator("#fixed-figures svg:visible")).to_have_count(2)
    expect(page.locator("#charts")).to_be_hidden()
    page = opened()
    expect(page.locator("#fixed-figures svg:visible")).to_have_count(0)


@pytest.mark.slow
def test_a_changed_library_does_not_run(browser: Browser, values: dict[str, Any], tmp_path: Path) -> None:
    """The policy contains the hash of the library. The figures remain."""
    report = tmp_path / "report.html"
    changed = {**values, "chart_library": Markup(pack(f"window.hacked = 1;{LIBRARY.read_text(encoding='utf-8')}"))}
    report.write_text(pages.render(changed), encoding="utf-8")
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(report.as_uri())
        page.locator("#charts").scroll_into_view_if_needed()
        expect(page.locator("#charts")).to_be_hidden()
        expect(page.locator("#fixed-figures svg:visible")).to_have_count(2)
        assert page.evaluate("window.hacked") is None


def test_the_library_is_the_documented_one() -> None:
    text = LIBRARY.with_name("README.md").read_text(encoding="utf-8")
    library = LIBRARY.read_bytes()
    assert f"`{hashlib.sha256(library).hexdigest()}`" in text and f"{len(library):,} bytes" in text
    # It is embedded in an HTML file and runs without eval.
    assert not re.search(rb"</script|\beval\(|\bFunction\(", library)


def test_columns_that_no_run_has_are_left_out() -> None:
    table = few_columns().assign(kl=np.nan)
    charts = chart_values([describe_curves("rlvr/seed3", table, BANDS)], TITLES, LABELS)
    assert [row["title"] for row in charts["panels"]] == ["Accuracy", "Length of responses", "Stages", "Reward"]
    assert [one["columns"] for one in charts["panels"][0]["series"]] == [["correct"]]
    assert charts["runs"][0]["seed"] == 3 and charts["last"] == UPDATES
    assert set(charts["runs"][0]["values"]) == {"correct", "chars", "stage_format_failure", "reward"}
    assert charts["unlabelled"] == ["reintegrated_reasoning"]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("opens", [True, False])
def test_a_link_to_a_later_section_ends_at_it(
    opened: Callable[..., Page], values: dict[str, Any], width: int, opens: bool
) -> None:
    """The charts of several runs grow when they come near the screen."""
    page = opened(several(values["dynamics"]), viewport={"width": width, "height": 844}, reduced_motion="no-preference")
    address = page.url
    page.goto("about:blank")
    page.goto(address + ("#evaluation" if opens else ""))
    if not opens:
        page.locator("nav a[href='#evaluation']").click()
    page.wait_for_timeout(1500)
    assert 0 <= page.evaluate("document.getElementById('evaluation').getBoundingClientRect().top") <= 100
