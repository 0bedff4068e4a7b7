"""The report of 10,000 runs of 300 epochs: time and memory to write it, size of the page, the page in a headless Chromium.

usage: report_bench.py
Needs `cmake --build build --target diffq write_sample_sweep` and, for the browser, scripts/setup.sh --test.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from browser import Browser  # noqa: E402


def timed(action):
    start = time.monotonic()
    action()
    return time.monotonic() - start


def zoom_in(browser):
    """Five turns of the wheel over the first chart, until the last is drawn."""
    x, y = browser.evaluate("""(() => { const box = document.querySelector("figure.chart canvas").getBoundingClientRect();
                               return [box.x + box.width / 2, box.y + box.height / 2]; })()""")
    for _ in range(5):
        browser.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-100, modifiers=8)
    browser.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([ROOT / "build/tests/results/write_sample_sweep", folder, "large"], check=True)
        process = subprocess.Popen([ROOT / "build/diffq", "report", folder], stdout=subprocess.DEVNULL)
        start = time.monotonic()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        assert status == 0
        print(f"diffq report: {seconds:.1f} s, of which {usage.ru_utime + usage.ru_stime:.1f} s of processor time; "
              f"{usage.ru_maxrss / 2**10:.0f} MB at most")
        print(f"results.h5: {(folder / 'results.h5').stat().st_size / 2**20:.0f} MB; "
              f"page: {(folder / 'report.html').stat().st_size / 2**20:.1f} MB")
        with Browser() as browser:
            browser.open("/dev/null")
            opened = timed(lambda: (browser.open(folder / "report.html"),
                                    browser.wait_for("Object.keys(window.diffqReport.views).length > 0")))
            drawn = timed(lambda: browser.evaluate("window.diffqReport.drawAll()"))
            browser.evaluate("document.querySelector('figure.chart').scrollIntoView()")
            print(f"in the browser: first chart after {opened:.1f} s, all charts {drawn:.1f} s more, "
                  f"five steps of zoom in {timed(lambda: zoom_in(browser)):.1f} s")
            assert not browser.complaints(), browser.complaints()


main()
