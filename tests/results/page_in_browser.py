"""The page of a report in a headless Chromium: no complaints, nothing fetched, every run has a mark, tooltips, legend, zoom,
themes, choice of curves, narrow screens, the live page.

Argument: the program that writes the sample (write_sample_sweep.cpp). DIFFQ_SCREENSHOTS=DIR keeps pictures to look at.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import h5py

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from browser import Browser  # noqa: E402

BENCHMARKS = ["image", "language", "audio"]
FIGURE = 'figure[data-benchmark="{}"][data-chart="{}"]'
# Of a chart's marks of runs: id, the middle on the page, whether inside the plot.
MARKS = """(name => {
  const figure = document.querySelector(`figure[data-benchmark="${name[0]}"][data-chart="${name[1]}"]`);
  const frame = figure.querySelector("path.background").getBoundingClientRect();
  return [...figure.querySelectorAll(".runs_marks path")].map(path => {
    const box = path.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
    const inside = x >= frame.left - 1 && x <= frame.right + 1 && y >= frame.top - 1 && y <= frame.bottom + 1;
    return [path.__data__.datum.id, x, y, inside, Number(getComputedStyle(path).opacity)];
  });
})"""


def done_runs(folder):
    with h5py.File(folder / "results.h5") as file:
        rows = file["runs"][:]
    return {name: {row["run_id"].decode() for row in rows
                   if row["status"] == b"done" and row["benchmark"].decode() == name} for name in BENCHMARKS}


def marks(browser, benchmark, chart="size"):
    return browser.evaluate(f"{MARKS}(['{benchmark}', '{chart}'])")


def show(browser, benchmark, chart):
    browser.evaluate(f"document.querySelector('{FIGURE.format(benchmark, chart)}').scrollIntoView()")


def ids_where(browser, condition):
    """Of the runs with a mark in the first benchmark's main chart."""
    return browser.evaluate(f"diffqReport.views['0/size'].data('runs').filter(run => {condition}).map(run => run.id)")


def check_every_run_has_a_mark(browser, runs):
    for index, name in enumerate(BENCHMARKS):
        found = marks(browser, index)
        assert len(found) == len(runs[name]) and {mark[0] for mark in found} == runs[name], name
        assert all(mark[3] for mark in found), [mark for mark in found if not mark[3]]


def check_tooltip(browser, runs):
    show(browser, 0, "size")
    run, x, y, _, _ = marks(browser, 0)[-1]
    browser.mouse("mouseMoved", x, y)
    browser.wait_for("document.querySelector('#vg-tooltip-element.visible') !== null")
    text = browser.evaluate("document.querySelector('#vg-tooltip-element').innerText")
    assert run in text and "size MB" in text and run in runs["image"], text


def check_legend(browser):
    """A click on a method leaves it alone; a second one shows all again."""
    show(browser, 0, "size")
    where = """(text => {
      const labels = [...document.querySelectorAll('figure[data-chart="size"] .role-legend-label text')];
      const box = labels.find(label => label.textContent === text).getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2];
    })"""
    before = marks(browser, 0)
    browser.click(*browser.evaluate(f"{where}('lsq')"))
    chosen = [mark for mark in marks(browser, 0) if mark[4] > 0.3]
    ids = ids_where(browser, "run.method === 'lsq'")
    assert 0 < len(chosen) < len(before) and {mark[0] for mark in chosen} == set(ids)
    browser.click(*browser.evaluate(f"{where}('lsq')"))
    assert [mark[4] for mark in marks(browser, 0)] == [mark[4] for mark in before], "clicked again, all are back"


def check_zoom(browser):
    show(browser, 0, "size")
    before = marks(browser, 0)
    _, x, y, _, _ = before[len(before) // 2]
    for _ in range(3):
        browser.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-200, modifiers=8)
    browser.wait_for(f"{MARKS}(['0', 'size']).some(mark => !mark[3])")
    browser.evaluate("window.scrollTo(0, 0)")


def check_export(browser):
    links = browser.evaluate(f"""[...document.querySelectorAll('{FIGURE.format(0, "size")} .vega-actions a')]
                                 .map(link => link.textContent)""")
    assert links == ["Save as SVG", "Save as PNG"], links
    for kind, start in (("svg", "data:image/svg+xml"), ("png", "data:image/png")):
        url = browser.evaluate(f"window.diffqReport.views['0/size'].toImageURL('{kind}').then(url => url.slice(0, 40))")
        assert url.startswith((start, "blob:")), url


def check_curves(browser, runs):
    drawn = f"""[...new Set([...document.querySelectorAll('{FIGURE.format(0, "train_loss")} .role-mark path')]
                .map(path => path.__data__?.datum?.id).filter(id => id))]"""
    everything = set(browser.evaluate(drawn))
    assert runs["image"] <= everything, "failed and running ones too"
    for choice, wanted in (("ptq", "run.method === 'ptq'"), ("diffq λ 1", "run.label === 'λ 1'"), ("", "true")):
        browser.evaluate(f"""(() => {{ const select = document.querySelector('.curve-choice select');
                             select.value = '{choice}'; select.dispatchEvent(new Event('change')); }})()""")
        ids = everything if choice == "" else ids_where(browser, wanted)
        browser.wait_for(f"{drawn}.length === {len(ids)}")
        assert set(browser.evaluate(drawn)) == set(ids)


def check_theme_button(browser):
    background = "getComputedStyle(document.body).backgroundColor"
    plot = """document.querySelector('figure[data-chart="size"] svg').style.backgroundColor"""
    before = browser.evaluate(background), browser.evaluate(plot)
    browser.evaluate("document.getElementById('theme').click()")
    browser.wait_for(f"{plot} !== '{before[1]}'")
    assert browser.evaluate(background) != before[0] and browser.evaluate(background) == browser.evaluate(plot)
    browser.evaluate("document.getElementById('theme').click()")
    browser.wait_for(f"{plot} === '{before[1]}'")


def check_text(browser):
    text = browser.evaluate("document.body.innerText")
    assert """step 7: the loss is not finite <b>"here"</b>""" in text, "text of a run is text, not markup"
    for words in ("perplexity (less is better)", "beyond DiffQ's sizes", "one seed", "not comparable", "1 failed", "node1"):
        assert words in browser.evaluate("document.body.textContent"), words
    assert "</script>" in browser.evaluate("document.querySelector('details pre').textContent"), "the sweep file"


def look(browser, page, runs, width, dark):
    browser.open(page, width=width, dark=dark)
    browser.evaluate("window.diffqReport.drawAll()")
    assert browser.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width, "scrolls sideways"
    check_every_run_has_a_mark(browser, runs)
    folder = os.environ.get("DIFFQ_SCREENSHOTS")
    if folder:
        browser.screenshot(f"{folder}/{width}-{'dark' if dark else 'light'}.png")
    assert not browser.complaints(), browser.complaints()


def check_live(browser, page):
    browser.open(page)
    assert browser.evaluate("document.getElementById('live').checkVisibility()")
    browser.wait_for("window.oldPage = diffqReport.drawAll().then(() => window.scrollTo(0, 3000)).then(() => true)")
    for _ in range(2):
        browser.wait_for("window.oldPage === undefined && window.scrollY === 3000")  # again, at the same place
        browser.wait_for("window.oldPage = true")
    browser.wait_for("(box => { if (box.checked) box.click(); return !box.checked; })(document.querySelector('#live input'))")
    browser.evaluate("window.oldPage = true; new Promise(wake => setTimeout(wake, 2500))")
    assert browser.evaluate("window.oldPage === true"), "held by the reader"


def main():
    with tempfile.TemporaryDirectory() as name, Browser() as browser:
        folder = pathlib.Path(name)
        subprocess.run([sys.argv[1], folder], check=True)
        runs = done_runs(folder)
        assert all(len(runs[each]) > 15 for each in BENCHMARKS)
        page = folder / "report.html"
        for width in (1280, 390):
            for dark in (False, True):
                look(browser, page, runs, width, dark)
        browser.open(page)
        assert not browser.evaluate("document.getElementById('live').checkVisibility()")
        browser.evaluate("window.diffqReport.drawAll()")
        check_text(browser)
        check_tooltip(browser, runs)
        check_legend(browser)
        check_export(browser)
        check_curves(browser, runs)
        check_theme_button(browser)
        check_zoom(browser)
        assert not browser.complaints(), browser.complaints()
        check_live(browser, folder / "live.html")
    print("the page: no complaints, nothing fetched, every run has a mark")


main()
