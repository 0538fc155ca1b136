"""Measure the report at the paper's scale: 110 updates of 1,024 responses, and the number of its test questions.

make benchmark-page. Responses have the lengths of the paper's Figure 2. They are random words, which compress less well
than model output.
"""

import os
import random
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from playwright.sync_api import sync_playwright

from medrlvr.report.page_data import PageInputs, page_values

sys.path.append("tests")
import pages
from evaluated import evaluate
from programs import find_or_install

UPDATES, RESPONSES, QUESTIONS = 110, 1024, 1273
TAGGED = "<think>{}</think> <answer>{}</answer>"


def main() -> None:
    noise = random.Random(1)
    figure2 = pd.read_csv("assets/paper/figure2.csv").set_index("update")["chars"]
    vocabulary = ["".join(noise.choices("abcdefghijklmnopqrstuvwxyz", k=noise.randint(2, 11))) for _ in range(5000)]

    def text(chars: float) -> str:
        return " ".join(noise.choices(vocabulary, k=max(4, int(chars / 7.5))))

    chars = [figure2[min(update // 4 * 4, figure2.index.max())] for update in range(UPDATES)]
    updates = [[TAGGED.format(text(length), noise.choice("ABCDE")) for _ in range(RESPONSES)] for length in chars]
    sampled = pages.rollouts(updates)
    evaluated = evaluate(pages.EXPERIMENT, QUESTIONS)
    for model, scores in evaluated["scores"].items():
        reasoned = scores["mode"].eq("chain_of_thought")
        written = figure2.iloc[0 if model == "base" else -1]
        scores.loc[reasoned, "response"] = [text(written) + old for old in scores.loc[reasoned, "response"]]
    with tempfile.TemporaryDirectory() as name:
        prepared = pages.prepare(Path(name), evaluated, sampled, drawn=True)
        begun = time.perf_counter()
        values = page_values(PageInputs(**prepared))
        page = Path(name) / "report.html"
        page.write_text(pages.render(values), encoding="utf-8")
        built = time.perf_counter() - begun
        (sample,) = values["samples"]
        millions = sampled["response"].str.len().sum() / 1e6
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(f"rollouts: {len(sampled):,}, {millions:.0f} million characters; embedded: {sample.shown:,}")
        print(f"tests: {2 * QUESTIONS:,} questions, 5 answers each; cut: {values['tests']['cut']}")
        print(f"built in {built:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
        with sync_playwright() as playwright:
            path = find_or_install(("chromium", "chromium-browser", "google-chrome"), "chromium")
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            for place, ready in (("", "#claims"), ("#explorer", "#rollout-list article"), ("", "#claims")):
                opened = browser.new_page()
                begun = time.perf_counter()
                opened.goto(page.as_uri() + place)
                opened.locator(ready).first.wait_for(state="visible")
                print(f"opened{place and ' at the explorer'} in {time.perf_counter() - begun:.2f} s")
                opened.close()
            browser.close()


if __name__ == "__main__":
    main()
