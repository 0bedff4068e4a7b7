"""The picture of the report that the README shows: the top of a page, down to the end of its first chart.

usage: report_picture.py out/demo/report.html docs/report.png      chromium is needed (scripts/setup.sh --test)
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/support"))
from browser import Browser  # noqa: E402

WIDTH = 1100


def main():
    page, picture = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    with Browser() as browser:
        browser.open(page, width=WIDTH)
        browser.evaluate("window.diffqReport.drawAll()")
        end = browser.evaluate("Math.ceil(document.querySelector('figure.chart').getBoundingClientRect().bottom) + 8")
        browser.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=end, deviceScaleFactor=1, mobile=False)
        browser.screenshot(picture, whole_page=False)
    print(f"{picture}: {pathlib.Path(picture).stat().st_size / 1000:.0f} kB")


main()
