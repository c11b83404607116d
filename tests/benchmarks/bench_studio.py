"""From an open page to a trained classifier: 3 classes of 4 bundled pictures, in a real browser.

`python -W ignore tests/benchmarks/bench_studio.py` prints wall time and the processor time of the
studio's process. The page is opened as soon as the command prints its address, so loading CLIP
counts. It needs Chromium.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "studio"))

from demo_pictures import CLASSES, write_demo_pictures
from playwright.sync_api import expect, sync_playwright
from studio_process import SECONDS, StudioProcess
from test_studio_page import CHROMIUM, add


def processor_seconds(process):
    """Returns what a process has used, in user and system mode (Linux)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    expect.set_options(timeout=1000 * SECONDS)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        pictures = write_demo_pictures(Path(place))
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(1000 * SECONDS)
        with StudioProcess("--project", Path(place) / "project") as studio:
            start, used = time.perf_counter(), processor_seconds(studio.process)

            def tell(what):
                wall = time.perf_counter() - start
                seconds = processor_seconds(studio.process) - used
                print(f"{what}: {wall:.1f} s, {seconds:.1f} s of processor time", flush=True)

            page.goto(studio.address)
            page.fill("#class-name", ", ".join(CLASSES))
            page.keyboard.press("Enter")
            cards = page.locator("#class-list > li")
            expect(cards).to_have_count(3)
            for number, name in enumerate(CLASSES):
                add(page, cards.nth(number), pictures["train"][name])
            expect(page.locator("#class-list .thumb")).to_have_count(12)
            tell("12 images in the project")
            page.locator("#train").click()
            studio.until(lambda state: state["clip"]["state"] == "ready")
            tell("CLIP loaded")
            expect(page.locator("#training-hint")).to_contain_text("Trained on 12 images")
            tell("trained")
            expect(page.locator("#accuracy")).to_contain_text("%")
            tell("tested by cross-validation")
        browser.close()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
