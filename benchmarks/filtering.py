"""Measure how long the explorer of a report needs to show another selection of the responses, for docs/report.md.

python benchmarks/filtering.py results/<experiment>

The time is from the input event to the first frame with the new list. It contains the explorer's delay of 150 ms, after
which it supposes that typing has ended.
"""

import os
import sys
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

sys.path.append("tests")
from programs import find_or_install

REPEATS = 5
CHANGES = {
    "range of updates": ("to", ("45", "46")),
    "grade": ("grade", ("right", "wrong")),
    "words in the response": ("words", ("the", "answer")),
    "words in the question": ("question", ("which", "patient")),
    "sort by length": ("sort", ("-length", "length")),
}
"""Name of a change -> field of the form, and two values that it gets in turn."""

CHANGE = """
async ([name, value]) => {
  const field = document.querySelector("#rollout-filters").elements[name];
  const list = document.querySelector("#rollout-list");
  const changed = new Promise((resolve) => new MutationObserver(resolve).observe(list, { childList: true }));
  const begun = performance.now();
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  await changed;
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return performance.now() - begun;
}
"""

if __name__ == "__main__":
    report = Path(sys.argv[1], "report.html").resolve()
    with sync_playwright() as playwright:
        path = find_or_install(("chromium", "chromium-browser", "google-chrome"), "chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(report.as_uri() + "#responses?from=1")
        page.locator("#rollout-list article").first.wait_for()
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}: {page.locator('#rollout-count').inner_text()}")
        for change, (field, values) in CHANGES.items():
            times = [page.evaluate(CHANGE, [field, value]) for _ in range(REPEATS) for value in values]
            print(f"{change}: median {median(times):.0f} ms, longest {max(times):.0f} ms of {len(times)}")
            page.evaluate(CHANGE, [field, ""])
        browser.close()
