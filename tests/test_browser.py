"""The report in a real browser: normal use and attacks."""

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs

import pages
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import launched, visits
from evaluated import TAGGED, evaluate
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from test_comparison import finish

from medrlvr.report import explorer
from medrlvr.report.experiments import write_page

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    "</pre></article></section><h1>hacked</h1>",
    "<img src=x onerror='window.hacked = 1'>",
    "<svg onload='window.hacked = 1'><script>window.hacked = 1</script></svg>",
    "<style>body { display: none }</style>",
    "<iframe srcdoc='<script>parent.hacked = 1</script>'></iframe>",
    "<a href='javascript:window.hacked = 1'>click</a>",
    "<!-- --!> <![CDATA[ ]]> {{ 7 * 7 }} {% raw %} ${7 * 7} `",
    "abc\u202edcba\u202c \u2066x\u2069 a\u200bb \x00\x07 \ufeff \u3164\u2800\ufe0f",
]
pytestmark = pytest.mark.slow

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
LONG = "<think>It is zinc \U0001f600 as the vein is in zinc. Let me double-check this.</think> <answer>C</answer>"
SAMPLED = [
    [TAGGED.format("ABCDE"[(update + number) % 5]) if number % 4 else "no format" for number in range(30)]
    for update in range(11)
] + [[LONG, *HOSTILE, TAGGED.format("?")]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    evaluated = evaluate(pages.EXPERIMENT, added="".join(HOSTILE))
    page = folder / "report.html"
    page.write_text(
        pages.render(pages.values(folder, evaluated, pages.rollouts(SAMPLED), drawn=True)), encoding="utf-8"
    )
    return page


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Callable[..., Page]]:
    with visits(browser, report) as visit:
        yield visit


def shown(page: Page) -> Page:
    """Everything that waits to be near the screen."""
    for form in ("#rollout-filters", "#test-filters"):
        page.locator(form).scroll_into_view_if_needed()
    expect(page.locator("#rollout-list article").first).to_be_visible()
    expect(page.locator("#test-item article")).to_be_visible()
    return page


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_first_screen_has_question_answer_and_figures(opened: Callable[..., Page], width: int, height: int) -> None:
    page = opened(viewport={"width": width, "height": height})
    assert "option letter" in page.locator(".question").inner_text()
    expect(page.locator(".reading")).to_have_count(2)
    expect(page.locator(".dots svg:visible")).to_have_count(len(pages.EXPERIMENT.benchmarks))
    expect(page.locator(".trust-text a")).to_have_count(5)
    bottom = page.locator(".first").bounding_box()
    assert bottom and bottom["y"] + bottom["height"] <= height, "a part is below the fold"
    before = page.evaluate(
        """() => {
            const range = document.createRange();
            range.setStart(document.body, 0);
            range.setEndBefore(document.querySelector(".reading"));
            return range.toString().trim().split(/\\s+/).length;
        }"""
    )
    assert before <= 60, "words before the first result"
    assert page.locator("section:first-child figure svg:visible").count() == 2 + len(pages.EXPERIMENT.benchmarks)


# Visible words, without those inside figures, of responses, and of the choices in closed lists.
WORDS = """() => {
    const out = "figure svg, #rollout-list, #test-item, option, script, style";
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let words = 0;
    while (walker.nextNode()) {
        const { data, parentElement } = walker.currentNode;
        if (parentElement.closest(out) || !parentElement.checkVisibility()) continue;
        words += data.split(/\\s+/).filter(Boolean).length;
    }
    return words;
}"""


def test_the_report_without_responses_is_small(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    bare = re.sub(r'(<script type="application/gzip" data-payload="[^"]+">)[^<]*', r"\1", page)
    assert len(page) - len(bare) > 5_000 and len(bare.encode()) <= 1_100_000
    # However many responses there are: `make benchmark-page` measures the report at the paper's size.
    assert 1_100_000 + explorer.LIMIT <= 12_500_000


def test_little_is_shown_before_a_fold_is_opened(opened: Callable[..., Page]) -> None:
    page = opened()
    shown = page.locator("table:visible")
    assert 3 <= shown.count() <= 8
    for table in shown.all():
        assert table.locator("thead th").count() <= 8
    assert 500 < page.evaluate(WORDS) <= 1500


def unfold(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true })")


def test_every_table_has_a_caption_and_at_most_8_columns(opened: Callable[..., Page]) -> None:
    page = opened()
    unfold(page)
    tables = page.locator("table")
    assert tables.count() > 15
    for table in tables.all():
        assert table.locator("caption").inner_text().strip()
        assert 1 < table.locator("thead th").count() <= 8


def test_a_column_is_sorted_within_its_group(opened: Callable[..., Page]) -> None:
    page = opened()
    table = page.locator("table", has=page.locator("caption", has_text="Accuracy of base, SFT and RLVR"))
    heading = table.locator("thead th").nth(1)

    def columns() -> list[list[float]]:
        """Values of the second column, one list for each group."""
        groups = table.locator("tbody").all()
        return [[float(cell) for cell in group.locator("tr:not(.group) td:nth-child(2)").all_inner_texts()]
                for group in groups]  # fmt: skip

    written = columns()
    assert len(written) == 2 and written != [sorted(group) for group in written]
    for direction, expected in (
        ("ascending", [sorted(group) for group in written]),
        ("descending", [sorted(group, reverse=True) for group in written]),
        (None, written),
    ):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == direction and columns() == expected
        expect(table.locator("tbody tr:first-child")).to_have_class(["group", "group"])
    heading.get_by_role("button").click()
    table.locator("thead th").nth(0).get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") is None, "one column at a time"
    names = [group.locator("th[scope=row]").all_inner_texts() for group in table.locator("tbody").all()]
    assert names == [sorted(group, key=str.lower) for group in names]


def test_on_a_phone_a_table_shows_model_value_and_interval(opened: Callable[..., Page]) -> None:
    page = opened(viewport={"width": 390, "height": 844})
    unfold(page)
    scrolling = page.locator(".scroll[tabindex='0']")
    expect(scrolling.first).to_be_attached()
    for table in page.locator("table").all():
        cells = table.locator("thead th").all()[:3]
        edges = [cell.bounding_box() for cell in cells]
        label = table.locator("caption").inner_text()
        assert all(edge and edge["x"] + edge["width"] <= 390 for edge in edges), label
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"


def test_on_a_phone_every_value_is_under_its_heading(opened: Callable[..., Page]) -> None:
    page = opened(viewport={"width": 390, "height": 844})
    unfold(page)
    misplaced = page.evaluate(
        """() => {
            const left = (cell) => cell.getBoundingClientRect().left;
            const rows = [...document.querySelectorAll("section table tbody tr:not(.group)")];
            const isMisplaced = (row) => {
                const headings = row.closest("table").tHead.rows[0].cells;
                return [...row.cells].some((cell, column) => Math.abs(left(cell) - left(headings[column])) > 1);
            };
            return rows.filter((row) => row.checkVisibility() && isMisplaced(row)).map((row) => row.textContent);
        }"""
    )
    assert misplaced == []


@pytest.mark.parametrize("width", [390, 1280])
def test_only_a_table_that_scrolls_is_focusable(opened: Callable[..., Page], width: int) -> None:
    page = opened(viewport={"width": width, "height": 844})
    unfold(page)
    page.wait_for_timeout(300)
    regions = page.evaluate(
        """() => [...document.querySelectorAll(".scroll")].map((node) =>
            [node.scrollWidth > node.clientWidth, node.tabIndex === 0, node.getAttribute("role")])"""
    )
    assert {(wide, focusable, role) for wide, focusable, role in regions} <= {
        (True, True, "region"),
        (False, False, None),
    }
    assert any(wide for wide, *_ in regions) == (width == 390)


def test_headers_and_navigation_stay_on_the_screen(opened: Callable[..., Page]) -> None:
    page = opened(viewport={"width": 1280, "height": 400})
    unfold(page)
    table = page.locator("table", has=page.locator("caption", has_text="Accuracy of every model and mode"))
    table.locator("tbody tr").nth(-3).evaluate("row => row.scrollIntoView({ block: 'end', behavior: 'instant' })")
    navigation = page.get_by_role("navigation").bounding_box()
    heading = table.locator("thead th").first.bounding_box()
    assert navigation and heading and navigation["y"] == 0
    assert 0 < heading["y"] <= navigation["height"] + 8, "below the navigation"


@pytest.mark.parametrize("folded", [True, False])
def test_nothing_is_cut_in_print(opened: Callable[..., Page], folded: bool) -> None:
    """On A4 with margins of 1 cm, at 96 pixels per inch."""
    page = opened(viewport={"width": 718, "height": 1047})
    if not folded:
        unfold(page)
    page.emulate_media(media="print")
    wide = page.evaluate(
        """() => [...document.querySelectorAll("table, figure, pre, p, h1, h2:not(.quiet), h3, summary")]
            .filter((node) => node.checkVisibility())
            .filter((node) => Math.max(node.getBoundingClientRect().right - innerWidth,
                node.scrollWidth - node.offsetWidth) > 1)
            .map((node) => `${node.tagName} ${node.textContent.slice(0, 60)}`)"""
    )
    assert wide == []
    assert page.locator("nav:visible").count() == 0


@pytest.mark.parametrize("scripts", [True, False])
def test_the_meaning_of_a_term_opens(opened: Callable[..., Page], scripts: bool) -> None:
    page = opened(java_script_enabled=scripts)
    term = page.get_by_role("button", name="any readable answer").first
    meaning = page.locator("#term-any-readable-answer")
    expect(meaning).to_be_hidden()
    term.press("Enter")
    expect(meaning).to_be_visible()
    expect(meaning).to_contain_text("outside the required format counts")
    page.keyboard.press("Escape")
    expect(meaning).to_be_hidden()


def test_figures_are_not_white_in_the_dark(opened: Callable[..., Page]) -> None:
    page = opened(color_scheme="dark")
    for figure in page.locator("figure .wide:visible").all():
        figure.scroll_into_view_if_needed()
        image = Image.open(BytesIO(figure.screenshot())).convert("L")
        assert image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)) < 100


def test_responses_are_filtered_searched_and_linked(opened: Callable[..., Page]) -> None:
    page = shown(opened())
    count, articles = page.locator("#rollout-count"), page.locator("#rollout-list article")
    filters = page.locator("#rollout-filters")
    embedded = sum(map(len, SAMPLED))
    expect(count).to_have_text(f"{embedded} of {embedded} responses; 1 to 20 are shown")
    page.locator("#rollout-more").click()
    expect(articles).to_have_count(40)
    for name in ("from", "to"):
        filters.locator(f"[name={name}]").fill("2")
    expect(articles.first).to_contain_text("Update 2,")
    filters.locator("[name=grade]").select_option("no valid format")
    expect(count).to_have_text(f"8 of {embedded} responses")
    filters.locator("[name=question]").fill("lode 4?")
    expect(count).to_have_text(f"1 of {embedded} responses")
    for name in ("from", "to", "question"):
        filters.locator(f"[name={name}]").fill("")
    filters.locator("[name=grade]").select_option("")
    filters.locator("[name=words]").fill("DOUBLE-check")
    expect(count).to_have_text(f"1 of {embedded} responses")
    filters.locator("[name=words]").fill("")
    filters.locator("[name=question]").fill("q/1")
    expect(count).to_have_text(f"12 of {embedded} responses")
    filters.locator("[name=question]").fill("")
    filters.locator("[name=stage]").select_option("direct_answer_hacker")
    expect(articles.first).to_contain_text("Update 12,")
    link = articles.first.get_by_role("link", name="Link").get_attribute("href")
    assert link == "#responses?run=rlvr%2Fseed1&from=12&to=12&question=q%2F0&selected=12%2Fq%2F0%2F0"
    for address in (link, "#rollout/rlvr%2Fseed1/12/q%2F0/0"):
        other = opened(address)
        expect(other.locator("article.linked")).to_be_in_viewport()
        expect(other.locator("article.linked h4")).to_contain_text("Update 12, sample 0")
        assert other.url.endswith(link)


def test_the_graders_spans_are_marked_where_they_are(opened: Callable[..., Page]) -> None:
    """After a character that JavaScript counts as two."""
    page = opened("#rollout/rlvr%2Fseed1/12/q%2F0/0")
    marked = page.locator("article.linked pre")
    expect(marked).to_have_text(LONG)
    texts = {
        name: marked.locator(f".{name}").all_inner_texts() for name in ("think", "named", "checks", "answer-block")
    }
    assert "".join(texts["think"]) == LONG.partition("<think>")[2].partition("</think>")[0]
    assert (texts["named"], texts["checks"], texts["answer-block"]) == (["zinc"], ["Let me double-check this"], ["C"])
    assert marked.locator(".letter").all_inner_texts() == ["C"]


def test_an_example_leads_to_its_response(opened: Callable[..., Page]) -> None:
    page = opened()
    page.locator("#dynamics ~ details summary").first.click()
    page.locator("a.item:visible").first.click()
    expect(page.locator("article.linked")).to_be_in_viewport()


def test_counts_and_shares_of_tables_lead_to_exactly_their_responses(opened: Callable[..., Page]) -> None:
    links = opened().locator("td a[href^='#responses?']")
    found = links.evaluate_all("nodes => nodes.map((node) => [node.getAttribute('href'), node.textContent])")
    kinds = {tuple(parse_qs(href.partition("?")[2])): (href, text) for href, text in reversed(found)}
    kinds |= {href.rpartition("=")[2]: (href, text) for href, text in found if "second_outcome" in href}
    assert {"from", "stage", "checks", "second_outcome"} <= {name for kind in kinds for name in kind}
    kinds |= {f"first {href.rpartition('=')[2]}": (href, text) for href, text in found if "second" not in href}
    kinds |= {f"third {href.rpartition('=')[2]}": (href, text) for href, text in found if "third" in href}
    assert {"right", "not+right", "lenient+only", "third right", "third not+right"} <= {*kinds}
    assert {"first right", "first lenient+right", "first not+readable", "first reasoned", "first verified"} <= {*kinds}
    for href, text in kinds.values():
        page = opened(href)
        given = {name: value for name, (value,) in parse_qs(href.partition("?")[2]).items()}
        if "second" in given:
            expected = f"Question 1 of {text}(;|$)" if int(text) else "No question matches"
            expect(page.locator("#test-count")).to_have_text(re.compile(expected))
            continue
        if "first" in given:
            # A share of 12 questions, or the name of a model: tests/test_responses.py has the counts of each outcome.
            expected = "^(Question 1 of|No question matches$)"
            if re.fullmatch(r"[\d.]+", text):
                number = round(float(text) / 100 * 12)
                expected = f"^Question 1 of {number}(;|$)" if number else "^No question matches$"
            expect(page.locator("#test-count")).to_have_text(re.compile(expected))
            continue
        updates = SAMPLED[int(given.get("from", 1)) - 1 : int(given.get("to", len(SAMPLED)))]
        responses = sum(map(len, updates))
        count = page.locator("#rollout-count")
        expect(count).to_have_text(re.compile(r"^\d+ of "))
        shown = int(count.inner_text().split()[0])
        share, words = f"{100 * shown / responses:.1f} %", f"{given.get('from')} to {given.get('to')}"
        assert text in ((share,) if "stage" in given else (f"{shown}",) if shown != responses else (f"{shown}", words))
        for field, value in given.items():
            expect(page.locator(f"#rollout-filters [name={field}]")).to_have_value(value)


def test_models_are_shown_side_by_side_on_any_test_question(opened: Callable[..., Page]) -> None:
    page = shown(opened())
    item, count = page.locator("#test-item"), page.locator("#test-count")
    expect(count).to_have_text("Question 1 of 12")
    headings = [text.partition(":")[0] for text in item.locator(".column h4").all_inner_texts()]
    assert headings == ["base, chain of thought", "base, direct", "SFT, seed 1, direct",
                        "SFT, seed 1, chain of thought", "RLVR, seed 1, chain of thought",
                        "RLVR, best on development, seed 1, chain of thought"]  # fmt: skip
    page.get_by_role("button", name="Next").click()
    expect(item.locator("summary").first).to_have_text("Question medqa/1")
    page.locator("[name=first]").select_option("RLVR, seed 1, chain of thought")
    page.locator("[name=second]").select_option("base, chain of thought")
    expect(item.locator(".column h4").nth(4)).to_contain_text("right: ")
    assert "right: " not in item.locator(".column h4").nth(0).inner_text()
    page.locator("[name=benchmark]").select_option("mmlu_pro_health")
    page.locator("[name=first]").select_option("")
    page.locator("[name=second]").select_option("")
    page.locator("[name=test_question]").fill("vein 7?")
    expect(count).to_have_text("Question 1 of 1; the benchmark has 12")
    link = item.get_by_role("link", name="Link to this question").get_attribute("href")
    assert link == "#responses?benchmark=mmlu_pro_health&item=mmlu_pro_health%2F7"
    other = opened(link)
    expect(other.locator("#test-item summary").first).to_have_text("Question mmlu_pro_health/7")
    page.locator("[name=test_question]").fill("nowhere")
    expect(count).to_have_text("No question matches")
    page.locator("#test-filters [type=reset]").click()
    expect(count).to_have_text("Question 1 of 12")


def test_text_of_a_model_runs_no_code(opened: Callable[..., Page]) -> None:
    page = shown(opened("#rollout/rlvr%2Fseed1/12/q%2F0/0", bypass_csp=True))
    page.locator("#rollout-filters [name=question]").fill("")
    expect(page.locator("#rollout-list article")).to_have_count(12)
    for details in page.locator("details").all():
        details.evaluate("node => { node.open = true }")
    expect(page.locator("#test-item pre").first).to_contain_text("<script>window.hacked = 1</script>")
    assert page.evaluate("window.hacked") is None, "and no policy stood in its way"
    inside = "#rollout-list, #test-item, details:not(#fixed-figures)"
    assert page.locator(inside).locator("script, style, img, svg, iframe, a[href^='javascript:'], h1").count() == 0
    assert page.locator("h1").count() == 1 and page.locator("body").is_visible()
    texts = " ".join(page.locator("#rollout-list pre").all_inner_texts())
    for written in HOSTILE[:9]:
        assert written in texts
    assert (
        "abc[U+202E]dcba[U+202C] [U+2066]x[U+2069] a[U+200B]b [U+0000][U+0007] [U+FEFF] [U+3164][U+2800][U+FE0F]"
        in texts
    )
    assert "\u202e" not in page.content() and "{{ 7 * 7 }}" in page.content()


@pytest.mark.parametrize("place", ["#cost", "#provenance", "#test/medqa/medqa%2F3"])
def test_the_target_of_a_link_stays_in_view(opened: Callable[..., Page], place: str) -> None:
    """Lists above it that are filled later do not push it off the screen."""
    page = opened(place)
    # Whether the lists are near enough to be filled on opening depends on the fonts of the machine.
    page.locator("#rollout-filters").dispatch_event("input")
    page.locator("#test-filters").dispatch_event("input")
    expect(page.locator("#rollout-list article").first).to_be_attached()
    expect(page.locator("#test-item summary").first).to_be_attached()
    page.wait_for_timeout(1000)
    expect(page.locator("#test-item summary >> nth=0" if "test" in place else place)).to_be_in_viewport()


def test_the_policy_stops_a_script_that_is_not_ours(browser: Browser, report: Path) -> None:
    planted = report.with_name("planted.html")
    planted.write_text(
        report.read_text(encoding="utf-8").replace("</main>", "<script>window.hacked = 1</script></main>")
    )
    context = browser.new_context()
    other = context.new_page()
    other.goto(planted.as_uri())
    assert other.evaluate("window.hacked") is None
    expect(other.locator("#rollout-filters")).to_be_visible()
    context.close()


def test_the_keyboard_reaches_everything(opened: Callable[..., Page]) -> None:
    page = opened()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#claims$"))
    shown(page)
    page.locator("#rollout-filters [name=from]").focus()
    page.keyboard.type("2")
    expect(page.locator("#rollout-list article").first).to_contain_text("Update 2,")
    page.keyboard.press("Tab")
    page.keyboard.type("3")
    expect(page.locator("#rollout-count")).to_contain_text("60 of ")
    page.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#test-count")).to_have_text("Question 2 of 12")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390), ("light", 390)])
def test_the_report_meets_wcag_aa(opened: Callable[..., Page], scheme: str, width: int) -> None:
    page = shown(opened(color_scheme=scheme, viewport={"width": width, "height": 800}))
    for details in page.locator("details").all():
        details.evaluate("node => { node.open = true }")
    found = Axe().run(page, options=RULES)
    assert len(found.response["passes"]) > 20, "hardly anything was checked"
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 390)])
def test_the_comparison_meets_wcag_aa(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    evaluated = evaluate(pages.EXPERIMENT)
    hostile = pages.EXPERIMENT.model_copy(update={"title": "".join(HOSTILE)})
    folders = [finish(tmp_path / "one", evaluated, pages.EXPERIMENT), finish(tmp_path / "other", evaluated, hostile)]
    write_page(folders, tmp_path / "comparison.html")
    with browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto((tmp_path / "comparison.html").as_uri())
        assert page.evaluate("window.hacked") is None
        assert page.locator("h1").count() == 1 and page.locator("p script, p img, td script").count() == 0
        found = Axe().run(page, options=RULES)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"


def test_without_javascript_the_report_states_that_and_shows_the_rest(opened: Callable[..., Page]) -> None:
    page = opened(java_script_enabled=False)
    expect(page.locator("noscript p")).to_be_visible()
    for hidden in ("#rollout-filters", "#test-filters", ".legend", "#rollout-more"):
        expect(page.locator(hidden)).to_be_hidden()
    expect(page.locator("section")).to_have_count(8)
    expect(page.locator("table:visible, figure:visible")).not_to_have_count(0)
    assert page.locator("table:visible").count() > 3 and page.locator("figure svg:visible").count() >= 6
    page.locator("#dynamics ~ details summary").first.click()
    expect(page.locator("#dynamics ~ details pre").first).to_be_visible()


def test_damaged_responses_are_reported(browser: Browser, report: Path) -> None:
    damaged = report.with_name("damaged.html")
    text = report.read_text(encoding="utf-8")
    start = text.index('data-payload="rlvr/seed1">') + len('data-payload="rlvr/seed1">')
    damaged.write_text(text[:start] + "AAAA" + text[start + 400 :], encoding="utf-8")
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(damaged.as_uri() + "#rollout/rlvr%2Fseed1/12/q%2F0/0")
        expect(page.locator("#unpacking")).to_contain_text("cannot be read")
