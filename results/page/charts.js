// The charts of the report as Vega-Lite specifications. Each function of `charts` takes one benchmark, as unpack() in
// page.js leaves it, and the theme, and gives a specification, or null where there is nothing to draw. Nothing is computed
// here but positions.
"use strict";

// Okabe and Ito's colours, told apart by shape too.
const METHODS = {
  fp32: {light: "#555555", dark: "#c8c8c8", shape: "cross"},
  ptq: {light: "#cc79a7", dark: "#d99bbd", shape: "square"},
  qat: {light: "#009e73", dark: "#1fc79a", shape: "triangle-up"},
  lsq: {light: "#0072b2", dark: "#56b4e9", shape: "diamond"},
  diffq: {light: "#d55e00", dark: "#ff8533", shape: "circle"},
};
const SHOWN_LINES = 60;

function methodsOf(benchmark) {
  return Object.keys(METHODS).filter(name => benchmark.settings.some(setting => setting.method === name))
      .concat([...new Set(benchmark.settings.map(setting => setting.method))].filter(name => !(name in METHODS)));
}

// One scale for all charts, so that a method looks the same everywhere.
function methodColour(benchmark, theme, legend) {
  const names = methodsOf(benchmark);
  const other = METHODS.fp32;
  return {
    field: "method", type: "nominal", legend: legend ? {title: null, orient: "top", symbolOpacity: 1} : null,
    scale: {domain: names, range: names.map(name => (METHODS[name] || other)[theme])},
  };
}

function methodShape(benchmark) {
  const names = methodsOf(benchmark);
  return {
    field: "method", type: "nominal", legend: {title: null, orient: "top"},
    scale: {domain: names, range: names.map(name => (METHODS[name] || {shape: "stroke"}).shape)},
  };
}

// Drag and shift-wheel move and zoom the axes; on touch screens the page scrolls instead.
function zoom() {
  if (window.matchMedia("(pointer: coarse)").matches) return [];
  return [{name: "zoom", bind: "scales", select: {type: "interval", zoom: "wheel![event.shiftKey]"}}];
}

function chosen() {
  return {name: "chosen", bind: "legend", select: {type: "point", fields: ["method"], toggle: "true"}};
}

function faded(opacity) {
  return {condition: {param: "chosen", value: opacity}, value: 0.04};
}

// Area of the marks of means; smaller where there are many.
function meanSize(benchmark) { return benchmark.settings.length > 200 ? 30 : 120; }

const LOG_SIZE = {type: "log", nice: false, padding: 12};
const NUMBER = {format: ".4~g"};

function metricTitle(benchmark) {
  return benchmark.metric_name + (benchmark.higher_is_better ? "" : " (less is better)");
}

// Of a chart whose marks are placed by drawn().
function drawnTitle(benchmark) {
  return metricTitle(benchmark) + (benchmark.has_outliers ? "; far worse runs at the edge" : "");
}

// A metric where it is drawn: what is far worse than the rest, or not finite, lies at the edge; the tooltip tells its value.
function drawn(benchmark, metric) {
  const worst = benchmark.worst_drawn;
  if (metric === null) return worst;
  return benchmark.higher_is_better ? Math.max(metric, worst) : Math.min(metric, worst);
}

// A layer without data would make Vega complain.
function layered(height, layers) {
  return {height, layer: layers.filter(layer => layer.data.values.length > 0)};
}

function rowsHeight(rows) { return 22 * new Set(rows.map(row => row.name)).size; }

function runTooltip(benchmark) {
  return [
    {field: "id", title: "run"}, {field: "method"}, {field: "label", title: "λ | bits"}, {field: "seed"},
    {field: "metric", title: benchmark.metric_name, ...NUMBER}, {field: "size_mb", title: "size MB", ...NUMBER},
    {field: "ratio", title: "times smaller", ...NUMBER}, {field: "mean_bits", title: "mean bits", ...NUMBER},
  ];
}

function meanTooltip(benchmark) {
  return [
    {field: "method"}, {field: "label", title: "λ | bits"}, {field: "seeds"},
    {field: "metric", title: "mean " + benchmark.metric_name, ...NUMBER}, {field: "deviation", title: "±", ...NUMBER},
    {field: "size_mb", title: "mean size MB", ...NUMBER}, {field: "ratio", title: "times smaller", ...NUMBER},
  ];
}

function fp32Rule(benchmark) {
  return {
    data: {values: [{metric: benchmark.fp32_metric}].filter(row => row.metric !== null)},
    mark: {type: "rule", strokeDash: [5, 4], tooltip: {content: "data"}},
    encoding: {y: {field: "metric", type: "quantitative"}, color: {value: "gray"}},
  };
}

function done(benchmark) {
  return benchmark.runs.filter(run => run.status === "done" && run.size_mb > 0);
}

function stairs(benchmark) {
  const end = Math.max(...benchmark.settings.filter(each => each.method !== "fp32").map(each => each.size_mb || 0));
  return benchmark.fronts.flatMap(front => {
    const steps = front.settings.map(index => benchmark.settings[index]);
    if (steps.length === 0) return [];
    return [...steps, {...steps[steps.length - 1], size_mb: end}].map(
        step => ({method: front.method, size_mb: step.size_mb, y: drawn(benchmark, step.metric)}));
  });
}

function bands(benchmark) {
  return benchmark.fronts.flatMap(front => front.band.map(([size_mb, low, high]) => (
      {method: front.method, size_mb, low: drawn(benchmark, low), high: drawn(benchmark, high)})));
}

function sizeChart(benchmark, theme) {
  const colour = methodColour(benchmark, theme, true);
  const x = {field: "size_mb", type: "quantitative", scale: LOG_SIZE, title: "size in MB, log scale"};
  const y = {field: "y", type: "quantitative", scale: {zero: false, nice: false, padding: 10}, title: drawnTitle(benchmark)};
  const means = benchmark.settings.filter(setting => setting.size_mb > 0).map(
      setting => ({...setting, y: drawn(benchmark, setting.metric)}));
  return layered(420, [
    {
      data: {values: bands(benchmark)}, mark: {type: "area", interpolate: "step-after"},
      encoding: {x, y: {field: "low", type: "quantitative"}, y2: {field: "high"}, color: colour, opacity: faded(0.12)},
    },
    {
      data: {values: stairs(benchmark)}, mark: {type: "line", interpolate: "step-after", strokeWidth: 1.5},
      encoding: {x, y, color: colour, opacity: faded(0.9)},
    },
    fp32Rule(benchmark),
    {
      name: "runs", data: {name: "runs", values: done(benchmark).map(run => ({...run, y: drawn(benchmark, run.metric)}))},
      params: [chosen(), ...zoom()],
      mark: {type: "point", filled: true, size: 28},
      encoding: {x, y, color: colour, shape: methodShape(benchmark), opacity: faded(0.6), tooltip: runTooltip(benchmark)},
    },
    {
      data: {values: means}, mark: {type: "point", size: meanSize(benchmark), strokeWidth: 2},
      encoding: {x, y, color: colour, shape: methodShape(benchmark), opacity: faded(1), tooltip: meanTooltip(benchmark)},
    },
  ]);
}

// --- λ ---------------------------------------------------------------------------------------------------------------

function lambdaChart(benchmark, theme, field, title, scale, rule) {
  const place = value => field === "metric" ? drawn(benchmark, value) : value;
  const positive = benchmark.settings.map(setting => setting.lambda).filter(lambda => lambda > 0);
  if (positive.length === 0) return null;
  const zero = Math.min(...positive) / 10;  // λ = 0 has no place on a log scale: it is drawn left of the others
  const row = each => ({...each, x: each.lambda > 0 ? each.lambda : zero, y: place(each[field])});
  const runs = done(benchmark).filter(run => run.lambda !== null).map(row);
  const means = benchmark.settings.filter(setting => setting.lambda !== null && setting.size_mb > 0).map(row);
  const hasZero = means.some(mean => mean.lambda === 0);
  const x = {field: "x", type: "quantitative", scale: {type: "log", nice: false, padding: 12},
             title: "λ, log scale" + (hasZero ? " (leftmost: λ = 0)" : "")};
  const y = {field: "y", type: "quantitative", scale, title};
  const colour = methodColour(benchmark, theme, false);
  return layered(260, [
    ...(rule ? [fp32Rule(benchmark)] : []),
    {
      data: {values: means}, mark: {type: "line", strokeWidth: 1.5},
      encoding: {x, y, color: colour, detail: {field: "setting"}},
    },
    {
      data: {values: runs}, mark: {type: "point", filled: true, size: 28, opacity: 0.6}, params: zoom(),
      encoding: {x, y, color: colour, tooltip: [{field: "lambda", title: "λ"}, ...runTooltip(benchmark)]},
    },
    {
      data: {values: means}, mark: {type: "point", size: meanSize(benchmark), strokeWidth: 2},
      encoding: {x, y, color: colour, tooltip: meanTooltip(benchmark)},
    },
  ]);
}

// --- Equal size ------------------------------------------------------------------------------------------------------

function evenly(list, count) {
  if (list.length <= count) return list;
  return Array.from({length: count}, (_, i) => list[Math.floor(i * (list.length - 1) / (count - 1))]);
}

function equalSizeChart(benchmark, theme) {
  if (benchmark.equal_sizes.length === 0) return null;
  const rows = evenly(benchmark.equal_sizes, SHOWN_LINES).map(equal => {
    const setting = benchmark.settings[equal.setting];
    const against = equal.diffq_setting ? " | diffq " + equal.diffq_setting : "";
    return {...equal, method: setting.method, seeds: equal.seeds.join(" · "), baseline: setting.metric,
            size_mb: setting.size_mb, name: `${setting.method} ${setting.label}${against}`};
  });
  const y = {field: "name", type: "nominal", sort: null, title: null, axis: {labelLimit: 190}};
  const better = benchmark.higher_is_better ? "above 0 DiffQ is better" : "below 0 DiffQ is better";
  const x = {field: "difference", type: "quantitative", title: `difference in ${benchmark.metric_name}; ${better}`};
  const colour = methodColour(benchmark, theme, false);
  const tooltip = [
    {field: "name", title: "baseline"}, {field: "size_mb", title: "size MB", ...NUMBER},
    {field: "baseline", title: "baseline's", ...NUMBER}, {field: "diffq_metric", title: "DiffQ's", ...NUMBER},
    {field: "difference", ...NUMBER}, {field: "low", ...NUMBER}, {field: "high", ...NUMBER},
    {field: "seeds", title: "seeds of both"},
  ];
  return layered(rowsHeight(rows), [
    {data: {values: [{zero: 0}]}, mark: {type: "rule", strokeDash: [5, 4]},
     encoding: {x: {field: "zero", type: "quantitative"}, color: {value: "gray"}}},
    {data: {values: rows.filter(row => row.low !== null)}, mark: {type: "rule", strokeWidth: 2},
     encoding: {y, x: {field: "low", type: "quantitative"}, x2: {field: "high"}, color: colour}},
    {data: {values: rows}, mark: {type: "point", filled: true, size: 70},
     encoding: {y, x, color: colour, shape: {...methodShape(benchmark), legend: null}, tooltip}},
  ]);
}

// --- Bits ------------------------------------------------------------------------------------------------------------

function layerSettings(benchmark) {
  return evenly(benchmark.layers.settings, SHOWN_LINES).map(
      entry => ({...entry, name: benchmark.settings[entry.setting].label}));
}

function layerBitsChart(benchmark) {
  const names = benchmark.layers.names;
  const cells = layerSettings(benchmark).flatMap(entry => entry.mean_bits.map(
      (bits, depth) => ({name: entry.name, depth, layer: names[depth], bits})));
  if (cells.length === 0) return null;
  const few = names.length <= 24;
  return {
    height: rowsHeight(cells), data: {values: cells}, mark: {type: "rect"},
    encoding: {
      x: {field: "depth", type: "ordinal", title: few ? null : "layer, by depth", axis: few ? {
        labelExpr: JSON.stringify(names) + "[datum.value]", labelAngle: -35, labelLimit: 130,
      } : {labelOverlap: true, labelAngle: 0}},
      y: {field: "name", type: "nominal", sort: null, title: null, axis: {labelLimit: 150}},
      color: {field: "bits", type: "quantitative", scale: {scheme: "viridis"}, legend: {title: "bits", orient: "top"}},
      tooltip: [{field: "layer"}, {field: "name", title: "setting"}, {field: "bits", title: "mean bits"}],
    },
  };
}

function bitsShareChart(benchmark) {
  const parts = layerSettings(benchmark).flatMap(entry => entry.share.map(
      (share, bits) => ({name: entry.name, bits, share})).filter(part => part.share > 0));
  if (parts.length === 0) return null;
  return {
    height: rowsHeight(parts), data: {values: parts}, mark: {type: "bar"},
    encoding: {
      x: {field: "share", type: "quantitative", stack: "normalize", axis: {format: "%"}, title: "share of the weights"},
      y: {field: "name", type: "nominal", sort: null, title: null, axis: {labelLimit: 150}},
      color: {field: "bits", type: "ordinal", scale: {scheme: "viridis"},
              legend: {title: "bits", orient: "top", columns: 8}},
      order: {field: "bits"},
      tooltip: [{field: "name", title: "setting"}, {field: "bits"}, {field: "share", format: ".1%"}],
    },
  };
}

// --- Curves ----------------------------------------------------------------------------------------------------------

function curveChart(benchmark, theme, field, title, scale = {zero: false}) {
  const rows = benchmark.curve_runs.flatMap(run => run.epochs.map((epoch, i) => ({
      id: run.id, method: run.method, label: run.label, seed: run.seed, epoch, value: run[field + "_curve"][i],
  }))).filter(row => row.value !== null);
  if (rows.length === 0) return null;
  const last = Math.max(...rows.map(row => row.epoch)), short = last <= 12;
  const ticks = short ? {values: Array.from({length: last}, (_, i) => i + 1)} : {tickMinStep: 1};
  return {
    height: 220, data: {values: rows}, params: zoom(),
    mark: {type: "line", strokeWidth: 1.3, opacity: 0.75, point: {size: short ? 30 : 12}},
    encoding: {
      x: {field: "epoch", type: "quantitative", axis: {...ticks, format: "d"}, scale: {nice: false, zero: false}},
      y: {field: "value", type: "quantitative", scale, title},
      color: methodColour(benchmark, theme, true), shape: methodShape(benchmark), detail: {field: "id"},
      tooltip: [{field: "id", title: "run"}, {field: "method"}, {field: "label", title: "λ | bits"}, {field: "seed"},
                {field: "epoch"}, {field: "value", title, ...NUMBER}],
    },
  };
}

const CURVES = ["train_loss", "eval_loss", "metric", "size_mb", "mean_bits"];

const charts = {
  size: sizeChart,
  equal_size: equalSizeChart,
  lambda_metric: (benchmark, theme) => lambdaChart(
      benchmark, theme, "metric", drawnTitle(benchmark), {zero: false, nice: false, padding: 10}, true),
  lambda_size: (benchmark, theme) => lambdaChart(benchmark, theme, "size_mb", "size in MB, log scale", LOG_SIZE, false),
  layer_bits: layerBitsChart,
  bits_share: bitsShareChart,
  train_loss: (benchmark, theme) => curveChart(benchmark, theme, "train_loss", "training loss"),
  eval_loss: (benchmark, theme) => curveChart(benchmark, theme, "eval_loss", "loss"),
  metric: (benchmark, theme) => curveChart(benchmark, theme, "metric", metricTitle(benchmark)),
  size_mb: (benchmark, theme) => curveChart(benchmark, theme, "size_mb", "size in MB, log scale", LOG_SIZE),
  mean_bits: (benchmark, theme) => curveChart(benchmark, theme, "mean_bits", "mean bits"),
};
