// The page: unpacks the data, draws the charts, those in sight first, theme, choice of curves, reload of a live page.
// For tests: window.diffqReport has drawAll() and the Vega views by "benchmark/chart".
"use strict";

(() => {
  const root = document.documentElement;
  const views = {};

  // --- Data: columns to rows ---

  function worstDrawn(benchmark) {
    if (benchmark.worst_shown !== null) return benchmark.worst_shown;
    const metrics = [benchmark.fp32_metric, ...benchmark.runs.map(run => run.metric)].filter(metric => metric !== null);
    return benchmark.higher_is_better ? Math.min(...metrics) : Math.max(...metrics);
  }

  function unpack(benchmark) {
    const columns = Object.entries(benchmark.runs);
    const curves = benchmark.curves;
    let epochs = [];
    benchmark.runs = benchmark.runs.id.map((_, i) => {
      const run = Object.fromEntries(columns.map(([name, values]) => [name, values[i]]));
      const setting = benchmark.settings[run.setting];
      Object.assign(run, {method: setting.method, label: setting.label, lambda: setting.lambda, setting: setting.setting});
      epochs = curves.epoch[i] ?? epochs;
      run.epochs = epochs;
      for (const name of CURVES) run[name + "_curve"] = curves[name][i];
      return run;
    });
    benchmark.worst_drawn = worstDrawn(benchmark);
    benchmark.has_outliers = benchmark.runs.some(
        run => run.status === "done" && drawn(benchmark, run.metric) !== run.metric);
    chooseCurves(benchmark, "");
    return benchmark;
  }

  // `choice`: a method, a method's setting, or "" for all runs.
  function chooseCurves(benchmark, choice) {
    const matching = benchmark.runs.filter(
        run => run.epochs.length > 0 && ["", run.method, `${run.method} ${run.label}`].includes(choice));
    benchmark.curve_runs = evenly(matching, SHOWN_LINES);
    return matching.length;
  }

  const benchmarks = JSON.parse(document.getElementById("data").textContent).benchmarks.map(unpack);

  // --- Theme: the system's, until the button is pressed ---

  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let pressed = sessionStorage.getItem("diffq-theme");

  function theme() { return pressed ?? (system.matches ? "dark" : "light"); }

  function config() {
    const dark = theme() === "dark";
    const ink = dark ? "#d5d7da" : "#2a2c2f", line = dark ? "#3a3e44" : "#e1e4e8";
    return {
      background: dark ? "#16181b" : "#ffffff", font: "system-ui, sans-serif", view: {stroke: line},
      axis: {labelColor: ink, titleColor: ink, titleFontWeight: "normal",
             gridColor: line, domainColor: line, tickColor: line},
      legend: {labelColor: ink, titleColor: ink}, title: {color: ink},
    };
  }

  // --- Drawing ---

  const figures = [...document.querySelectorAll("figure.chart")];
  const drawings = new Map();  // figure → promise of its latest drawing

  function draw(figure) {
    drawings.set(figure, embed(figure));
    return drawings.get(figure);
  }

  async function embed(figure) {
    const {benchmark: index, chart} = figure.dataset;
    const benchmark = benchmarks[index];
    const specification = charts[chart](benchmark, theme());
    figure.classList.toggle("empty", specification === null);
    figure.hidden = specification === null;
    if (specification === null) return;
    const name = `${index}/${chart}`;
    views[name]?.finalize();
    const sized = {width: "container", autosize: {type: "fit-x", contains: "padding"}, config: config(), ...specification};
    const result = await vegaEmbed(figure.querySelector(".plot"), sized, {
      mode: "vega-lite", renderer: benchmark.runs.length > 1000 ? "canvas" : "svg", tooltip: {theme: theme()},
      actions: {export: true, source: false, compiled: false, editor: false},
      downloadFileName: `${benchmark.title} ${chart}`.replace(/\W+/g, "_"),
    });
    views[name] = result.view;
  }

  const sight = new IntersectionObserver(entries => {
    for (const entry of entries) {
      if (entry.isIntersecting && !drawings.has(entry.target)) draw(entry.target);
    }
  }, {rootMargin: "600px"});

  function redraw(which) {
    root.dataset.theme = theme();
    return Promise.all([...drawings.keys()].filter(which).map(draw));
  }

  async function drawAll() {
    for (const figure of figures) {
      await (drawings.get(figure) ?? draw(figure));
    }
  }

  // One after the other while nothing else is to do, so that the page can be searched and printed as a whole.
  async function drawRest() {
    const figure = figures.find(each => !drawings.has(each));
    if (figure === undefined) return;
    await draw(figure);
    requestIdleCallback(drawRest);
  }

  // --- Choice of curves ---

  function addChoice(paragraph) {
    const benchmark = benchmarks[paragraph.dataset.benchmark];
    const select = document.createElement("select"), note = document.createElement("span");
    select.append(new Option("all runs", ""));
    for (const method of methodsOf(benchmark)) {
      select.append(new Option(method, method));
      for (const setting of benchmark.settings.filter(each => each.method === method))
        select.append(new Option(`${method} ${setting.label}`, `${method} ${setting.label}`));
    }
    const choose = () => {
      const matching = chooseCurves(benchmark, select.value), shown = benchmark.curve_runs.length;
      note.textContent = shown < matching ? ` ${shown} of ${matching} runs, evenly picked` : "";
    };
    select.addEventListener("change", () => {
      choose();
      redraw(figure => figure.dataset.benchmark === paragraph.dataset.benchmark && CURVES.includes(figure.dataset.chart));
    });
    choose();
    paragraph.append("Runs shown: ", select, note);
  }

  // --- Reload of a live page ---

  async function startReload(seconds) {
    const label = document.getElementById("live"), box = label.querySelector("input");
    label.hidden = false;
    box.checked = sessionStorage.getItem("diffq-live") !== "off";
    box.addEventListener("change", () => sessionStorage.setItem("diffq-live", box.checked ? "on" : "off"));
    // Charts have their height only when drawn: the reader's place is found again after that.
    const place = sessionStorage.getItem("diffq-place");
    if (place !== null) {
      await drawAll();
      window.scrollTo(0, Number(place));
    }
    setInterval(() => {
      if (!box.checked) return;
      sessionStorage.setItem("diffq-place", window.scrollY);
      location.reload();
    }, seconds * 1000);
  }

  root.dataset.theme = theme();
  document.getElementById("theme").addEventListener("click", () => {
    pressed = theme() === "dark" ? "light" : "dark";
    sessionStorage.setItem("diffq-theme", pressed);
    redraw(() => true);
  });
  system.addEventListener("change", () => redraw(() => true));
  document.querySelectorAll(".curve-choice").forEach(addChoice);
  figures.forEach(figure => sight.observe(figure));
  requestIdleCallback(drawRest);
  if (Number(root.dataset.reloadSeconds) > 0) startReload(Number(root.dataset.reloadSeconds));
  window.diffqReport = {views, drawAll};
})();
