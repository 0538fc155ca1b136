"""Write docs/figures/report.png, the README's picture: the first screen of an experiment's report.

make picture RESULTS=results/<experiment>
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.append("tests")
from programs import find_or_install

WIDTH, HEIGHT = 1280, 900
PICTURE = Path("docs/figures/report.png")

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Name one results folder: make picture RESULTS=results/miniature")
    report = Path(sys.argv[1], "report.html").resolve()
    if not report.is_file():
        sys.exit(f"{report} does not exist. Run the experiment first, or name another results folder.")
    with sync_playwright() as playwright:
        path = find_or_install(("chromium", "chromium-browser", "google-chrome"), "chromium")
        # The sandbox does not start as root. The report is written by this project.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(report.as_uri())
        page.screenshot(path=PICTURE)
        browser.close()
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")
