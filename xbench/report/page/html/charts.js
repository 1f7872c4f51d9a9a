"use strict";
/* Charts of a run, drawn by plotly.js: one metric against any condition, and the parts that a time is made of.

   A chart is a card with controls; its `draw` is called again whenever anything was chosen. Texts that plotly is given
   go through `literal`, because it reads tags in them. */

const MARKERS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "star", "x"];
const STROKES = ["solid", "9px,3px", "2px,2px", "9px,3px,2px,3px"];
// Pixels: a row of bars and what is below them, the height of a chart with lines, a letter, the narrowest for long texts.
const BAR = 30, BELOW = 60, LINES = 330, LETTER = 6.6, NARROW = 560;

// Which rows: conditions are fixed one after the other until those are left that one chart can show

/** The arm as one more dimension, so that it can be axis, series or fixed as the conditions are. */
function dimensionsOf(run) {
  const conditions = run.dimensions.map((one, i) => ({ ...one, of: (row) => row.at[i] }));
  const values = run.arms.map((arm) => ({ at: null, text: arm.label, phrase: arm.label, label: "" }));
  return [...conditions, { key: "arm", head: "arm", values, of: (row) => row.arm }];
}

/** Fixes every dimension that is not free: as chosen, or else at the largest size, and of the others the first. */
function fix(dimensions, rows, free, chosen) {
  const derived = free.includes("tokens") ? "extent" : "tokens";
  const fixed = [];
  for (const dimension of dimensions) {
    if (free.includes(dimension.key) || dimension.key === derived) continue;
    const there = unique(rows.map(dimension.of));
    const last = dimension.key === "extent" || dimension.key === "tokens";
    const value = there.includes(chosen[dimension.key]) ? chosen[dimension.key] : last ? there.at(-1) : there[0];
    fixed.push({ dimension, there, value });
    rows = rows.filter((row) => dimension.of(row) === value);
  }
  return { fixed, rows };
}

const OTHER_SIZE = { tokens: "extent", extent: "tokens" }; // one follows from the other

function fixedControls(fixed, chosen, draw) {
  return fixed.filter(({ there }) => there.length > 1).map(({ dimension, there, value }) =>
    select(dimension.head, there.map((i) => [i, dimension.values[i].phrase]), value, (i) => {
      chosen[dimension.key] = Number(i);
      draw();
    }));
}

const phrases = (dimensions, row) => dimensions.filter((one) => one.key !== "arm").map((one) => one.values[one.of(row)].phrase).filter(Boolean);

// Axes

const ROUND = [1, 2, 5];

/** Round places on a logarithmic axis, few enough to be read. */
function logTicks(low, high) {
  const steps = Math.log10(high / low) > 3 ? [1] : ROUND;
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const step of steps) ticks.push(step * 10 ** power);
  const inside = ticks.filter((tick) => tick >= low && tick <= high);
  if (inside.length >= 3) return inside;
  const step = roundStep((high - low) / 6);
  return Array.from({ length: 9 }, (_, i) => (Math.ceil(low / step) + i) * step).filter((tick) => tick > 0 && tick <= high);
}

function roundStep(size) {
  const power = 10 ** Math.floor(Math.log10(size));
  return power * (ROUND.find((step) => step * power >= size) ?? 10);
}

function short(value) {
  const [factor, prefix] = [[1e12, " T"], [1e9, " G"], [1e6, " M"]].find(([least]) => Math.abs(value) >= least) ?? [1, ""];
  return (value / factor).toLocaleString("en", { maximumSignificantDigits: 4 }) + prefix;
}

/** A log or linear axis that holds the values; a linear one begins at 0. */
function valueAxis(values, log, title) {
  if (log) values = values.filter((value) => value > 0);
  let low = Math.min(...values), high = Math.max(...values);
  if (!log) return { ...axis(title), type: "linear", range: [0, high * 1.08 || 1] };
  const margin = Math.max((high / low) ** 0.06, 1.04);
  [low, high] = [low / margin, high * margin];
  const ticks = logTicks(low, high);
  return { ...axis(title), type: "log", range: [Math.log10(low), Math.log10(high)], tickvals: ticks, ticktext: ticks.map(short) };
}

/** An axis with a tick at each of the places, and labels where there is room. */
function placeAxis(values, log, title) {
  const at = values.map((value) => value.at);
  const scale = log ? Math.log : (x) => x;
  const width = scale(at.at(-1)) - scale(at[0]) || 1;
  let end = -1;
  const labels = values.map((value, i) => {
    const middle = (scale(at[i]) - scale(at[0])) / width, half = value.text.length / 90;
    if (middle - half < end + 0.02) return "";
    end = middle + half;
    return literal(value.text);
  });
  const ends = [at[0], at.at(-1)].map((x) => (log ? Math.log10(x) : x));
  const margin = (ends[1] - ends[0]) * 0.05 || 0.3;
  const range = [ends[0] - margin, ends[1] + margin];
  return { ...axis(title), type: log ? "log" : "linear", range, tickvals: at, ticktext: labels, showgrid: false };
}

const axis = (title) => ({
  title: { text: literal(title).replace(/(.{28,}?) /g, "$1<br>"), standoff: 8 }, fixedrange: true, automargin: true, zeroline: false, separatethousands: true, exponentformat: "SI",
  gridcolor: colour("--line"), linecolor: colour("--line"), ticks: "outside", tickcolor: colour("--line"), tickangle: 0,
});

function show(plot, traces, layout, height) {
  const text = { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--soft") };
  Plotly.react(plot, traces, {
    ...layout, height, font: text, autosize: true, showlegend: false, dragmode: false, hovermode: "closest", hoverdistance: 30,
    margin: { l: 10, r: 14, t: 10, b: 10, ...layout.margin }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--soft"), font: { ...text, color: colour("--ink") }, align: "left" },
  }, { displayModeBar: false, responsive: true, doubleClick: false });
}

// Charts

/** One metric against any condition, a line for each value of another; or bars where the arms are the axis. */
function metricChart(run, card, view, shown) {
  const dimensions = dimensionsOf(run), armAxis = dimensions.at(-1);
  const x = dimensions.find((one) => one.values.length > 1 && one.values[0].at !== null) ?? armAxis;
  const choice = { ...view, x: x.key, series: x === armAxis ? "none" : "arm", logX: true, logY: x !== armAxis, fixed: {} };
  const controls = make("div", { class: "controls" }), plot = make("div", { class: "plot", role: "img" }), notes = make("ul", { class: "notes" });
  card.append(controls, plot, notes);
  const change = (key, parse = (value) => value) => (value) => {
    choice[key] = parse(value);
    if (choice.x === "arm") choice.series = "none";
    else if (choice.series === "none" || choice.series === choice.x) choice.series = "arm";
    draw();
  };

  function draw() {
    const metric = run.metrics.find((one) => one.name === choice.metric);
    const there = run.rows.filter((row) => row.cells[metric.name]);
    const { fixed, rows } = fix(dimensions, there.filter((row) => !run.arms[row.arm].control), [choice.x, choice.series], choice.fixed);
    const hasRatio = there.some((row) => row.cells[metric.name].times);
    const ratio = choice.ratio && hasRatio;
    const byArm = choice.x === "arm" || choice.series === "arm";
    const figureOf = (row) => { const cell = row.cells[metric.name]; return ratio ? cell.times : "value" in cell ? cell : undefined; };
    const mine = rows.filter((row) => shown.has(row.arm) && !(ratio && byArm && run.arms[row.arm].name === run.against));
    const label = ratio ? `${metric.label}, multiple of ${run.against}'s` : `${metric.label}${metric.unit === "count" ? "" : ` [${metric.unit}]`}`;
    const alike = (row) => fixed.every(({ dimension, value }) => dimension.key === "arm" || dimension.of(row) === value);
    const control = ratio && byArm ? there.filter((row) => run.arms[row.arm].control && alike(row) && figureOf(row)?.low) : [];
    const hint = (row) => hover(run, dimensions, row, metric);
    const parts = { run, dimensions, metric, choice, rows: mine, figureOf, label, control, ratio, hint, height: 0 };

    controls.replaceChildren(
      select("show", run.metrics.map((one) => [one.name, one.label]), metric.name, change("metric"), "what"),
      hasRatio ? select("as", [["", "measured"], ["yes", `multiple of ${run.against}'s`]], ratio ? "yes" : "", change("ratio", Boolean)) : "",
      dimensions.length > 1 ? select("against", dimensions.map((one) => [one.key, axisName(one)]), choice.x, change("x")) : "",
      choice.x !== "arm" && dimensions.length > 2 ? select("lines", dimensions.filter((one) => ![choice.x, OTHER_SIZE[choice.x]].includes(one.key)).map((one) => [one.key, one.key === "arm" ? "arms" : axisName(one)]), choice.series, change("series")) : "",
      ...fixedControls(fixed, choice.fixed, draw),
      check(choice.x === "arm" ? "log" : "log y", choice.logY, change("logY")),
      choice.x !== "arm" && dimensions.find((one) => one.key === choice.x).values[0].at !== null ? check("log x", choice.logX, change("logX")) : "",
    );
    plot.setAttribute("aria-label", label);
    const drawn = mine.filter(figureOf);
    plot.hidden = !drawn.length;
    if (drawn.length) (choice.x === "arm" ? drawBars : drawLines)(plot, { ...parts, drawn });
    else Plotly.purge(plot);
    notes.replaceChildren(...remarks(parts, drawn));
  }
  return draw;
}

/** "resolution", which a chart's axis has with its unit. */
function axisName(one) {
  if (one.key === "arm") return "arms (bars)";
  return [...new Set(one.values.map((value) => value.label.replace(/ of a sequence.*| \[.*/, "")))].join(" or ");
}

function hover(run, dimensions, row, metric) {
  const cell = row.cells[metric.name];
  const launches = cell.launches ? `, ${cell.launches} launch${cell.launches > 1 ? "es" : ""}` : "";
  return [
    `<b>${literal(run.arms[row.arm].label)}</b>`,
    literal(phrases(dimensions, row).join(" · ")),
    literal(cell.why ?? `${cell.text}${metric.unit === "count" ? "" : ` ${metric.unit}`}${launches}`),
    cell.times && run.arms[row.arm].name !== run.against ? literal(`${cell.times.text} × ${run.against}`) : "",
  ].filter(Boolean).join("<br>");
}

const ends = (figure) => [figure.low ?? figure.value, figure.value, figure.high ?? figure.value];
const bars = (figures, tint) => ({
  type: "data", symmetric: false, array: figures.map((one) => ends(one)[2] - one.value),
  arrayminus: figures.map((one) => one.value - ends(one)[0]), thickness: 1.3, width: 4, color: tint,
  visible: figures.some((one) => one.low !== undefined),
});

function drawLines(plot, { run, dimensions, metric, choice, rows, drawn, figureOf, label, control, ratio, hint }) {
  const x = dimensions.find((one) => one.key === choice.x), series = dimensions.find((one) => one.key === choice.series);
  const used = unique(rows.map(x.of)), numeric = x.values[0].at !== null;
  const at = (row) => (numeric ? x.values[x.of(row)].at : used.indexOf(x.of(row)));
  const along = (some) => [...some].sort((a, b) => at(a) - at(b));
  const groups = unique(drawn.map(series.of)).map((i) => [i, along(drawn.filter((row) => series.of(row) === i))]);
  const traces = groups.map(([i, own]) => {
    const look = series.key === "arm" ? run.arms[i] : { colour: i % 8, stroke: Math.floor(i / 8) % 4, marker: i % 8 };
    const tint = colour(`--arm-${look.colour}`), figures = own.map(figureOf);
    // The first line is the widest, so that lines that coincide all show.
    const width = 1.6 + 2.4 * (1 - i / series.values.length);
    const symbols = own.map((row) => MARKERS[look.marker] + (row.cells[metric.name].void || figureOf(row).bound ? "-open" : ""));
    return {
      type: "scatter", mode: "lines+markers", name: literal(series.values[i].text), x: own.map(at), y: figures.map((one) => one.value),
      error_y: bars(figures, tint), line: { color: tint, width, dash: STROKES[look.stroke] }, marker: { color: tint, size: 6 + width, symbol: symbols },
      customdata: own.map(hint), hovertemplate: "%{customdata}<extra></extra>",
    };
  });
  const shapes = [], band = along(control);
  if (ratio && (choice.series === "arm")) {
    shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: colour("--soft"), width: 1.2 } });
    const low = band.map((row) => figureOf(row).low), high = band.map((row) => figureOf(row).high), places = band.map(at);
    if (band.length) traces.unshift({ type: "scatter", mode: "lines", x: [...places, ...places.toReversed()], y: [...low, ...high.toReversed()], fill: "toself", fillcolor: colour("--line"), line: { width: 0 }, hoverinfo: "skip" });
    for (const one of crossingsHere(run, choice, drawn)) {
      const tint = colour(`--arm-${run.arms[one.arm].colour}`), upright = { yref: "paper", y0: 0, y1: 1, layer: "below" };
      shapes.push({ ...upright, type: "rect", x0: one.low, x1: one.high, line: { width: 0 }, opacity: 0.08, fillcolor: tint });
      shapes.push({ ...upright, type: "line", x0: one.near, x1: one.near, line: { color: tint, width: 1, dash: "3px,3px" } });
    }
  }
  const values = used.map((i, n) => ({ ...x.values[i], at: numeric ? x.values[i].at : n }));
  const figures = [...drawn, ...band].flatMap((row) => ends(figureOf(row)));
  const labels = new Set(values.map((value) => value.label));
  const failed = rows.filter((row) => row.cells[metric.name].why && used.includes(x.of(row)));
  const annotations = failed.map((row, i) => ({
    x: numeric && choice.logX ? Math.log10(at(row)) : at(row), y: 0, yref: "paper", yanchor: "bottom", xshift: 11 * i, showarrow: false,
    text: "✕", font: { color: colour(`--arm-${run.arms[row.arm].colour}`) }, hovertext: hint(row),
  }));
  const layout = {
    shapes, annotations, xaxis: placeAxis(values, numeric && choice.logX, [...labels].join(" or ")),
    yaxis: valueAxis(ratio ? [...figures, 1] : figures, choice.logY, label),
  };
  show(plot, traces, layout, LINES);
}

/** Where arms overtake, on a chart along the size, of the sweep that is drawn. */
function crossingsHere(run, choice, rows) {
  if (choice.x !== "extent" || !rows.length) return [];
  const same = run.dimensions.map((one, i) => [one.key, i]).filter(([key]) => key !== "extent" && key !== "tokens");
  return run.crossings.filter((one) => rows.some((row) => row.arm === one.arm && same.every(([, i]) => one.at[i] === row.at[i])));
}

function drawBars(plot, { run, metric, choice, drawn, figureOf, label, control, ratio, hint }) {
  const rows = [...drawn].sort((a, b) => a.arm - b.arm), figures = rows.map(figureOf), places = rows.map((_, i) => i);
  const tints = rows.map((row) => colour(`--arm-${run.arms[row.arm].colour}`)), ink = colour("--ink");
  const texts = figures.map((one) => one.text);
  const common = { y: places, x: figures.map((one) => one.value), customdata: rows.map(hint), hovertemplate: "%{customdata}<extra></extra>" };
  const trace = choice.logY
    ? { ...common, type: "scatter", mode: "markers", marker: { color: tints, size: 10 }, error_x: bars(figures, ink) }
    : { ...common, type: "bar", orientation: "h", width: 0.62, marker: { color: tints, opacity: rows.map((row) => (row.cells[metric.name].void || figureOf(row).bound ? 0.4 : 1)) }, error_x: bars(figures, ink) };
  const beside = figures.map((one, i) => besideBar(choice.logY ? Math.log10(ends(one)[2]) : ends(one)[2], i, texts[i]));
  const values = figures.flatMap(ends);
  const xaxis = valueAxis(ratio ? [...values, 1] : values, choice.logY, label);
  makeRoom(xaxis, plot, texts);
  const shapes = ratio ? [{ type: "line", yref: "paper", y0: 0, y1: 1, x0: 1, x1: 1, line: { color: colour("--soft"), width: 1.2 } }] : [];
  for (const row of control) shapes.push({ type: "rect", yref: "paper", y0: 0, y1: 1, x0: figureOf(row).low, x1: figureOf(row).high, layer: "below", line: { width: 0 }, fillcolor: colour("--line") });
  show(plot, [trace], { shapes, annotations: beside, xaxis, yaxis: armAxisOf(run, rows), margin: { b: BELOW } }, BELOW + 10 + BAR * rows.length);
}

const besideBar = (x, y, text) => ({ x, y, text: literal(text), xanchor: "left", xshift: 7, showarrow: false, font: { color: colour("--ink") } });

/** Lengthens an axis so that the texts behind the bars find room. */
function makeRoom(xaxis, plot, texts) {
  const letters = Math.max(...texts.map((text) => text.length), 0);
  const share = Math.min((letters * LETTER + 10) / Math.max(plot.clientWidth - 110, 1), 0.6);
  xaxis.range[1] = xaxis.range[0] + (xaxis.range[1] - xaxis.range[0]) / (1 - share);
}

const armAxisOf = (run, rows) => ({
  ...axis(""), range: [rows.length - 0.4, -0.6], showgrid: false, ticks: "",
  tickvals: rows.map((_, i) => i), ticktext: rows.map((row) => literal(run.arms[row.arm].label)),
});

/** Below a chart: what does not show in it, and what the grey is. */
function remarks({ run, dimensions, metric, choice, rows, figureOf, control, ratio }, drawn) {
  const where = (row) => phrases(dimensions, row).join(", ");
  const texts = [];
  if (!rows.length) texts.push(["", "Nothing to show: no arm is chosen, or none of them was measured so."]);
  if (ratio && choice.series === "arm") for (const one of crossingsHere(run, choice, drawn)) texts.push(["", one.text]);
  if (control.length) texts.push(["", `Grey: ${run.against} against itself, the control.`]);
  const place = (row) => where(row) || "the condition measured";
  const void_ = [...new Set(drawn.filter((row) => row.cells[metric.name].void).map(place))];
  if (void_.length) texts.push(["bad", `VOID at ${void_.join("; ")}: the control failed, so these figures show nothing.`]);
  const bounded = [...new Set(drawn.filter((row) => figureOf(row).bound).map((row) => `${run.arms[row.arm].label} ${figureOf(row).bound}`))];
  if (bounded.length) texts.push(["", `${choice.x === "arm" ? "Pale" : "Hollow"}: a bound, for no rule counts all of it: ${bounded.join(", ")}.`]);
  for (const row of rows.filter((one) => one.cells[metric.name].why))
    texts.push(["failure", `✕ ${run.arms[row.arm].label}${where(row) && `, ${where(row)}`}: ${row.cells[metric.name].why}`]);
  return texts.map(([kind, text]) => make("li", { class: kind }, text));
}

const BEHIND = {
  breakdown: "Behind a bar: the attention's share of it, and how many times as fast the model would be without.",
  step: "Behind a bar: the whole.",
};

/** The parts of a whole as stacked bars, one for each arm. */
function partsChart(run, card, kind, shown) {
  const dimensions = dimensionsOf(run), chosen = {};
  const choice = { share: false };
  const controls = make("div", { class: "controls" }), plot = make("div", { class: "plot" });
  const legend = make("ul", { class: "notes parts" });
  card.append(controls, plot, legend);
  return function draw() {
    plot.hidden = false;
    const there = run.rows.filter((row) => row.parts?.[kind]);
    const { fixed, rows } = fix(dimensions, there, ["arm"], chosen);
    const mine = rows.filter((row) => shown.has(row.arm));
    const names = [...new Set(mine.flatMap((row) => row.parts[kind].parts.map((part) => part.name)))];
    const valueOf = (part) => (choice.share ? 100 * part.share : part.value);
    const traces = names.map((name) => {
      const own = mine.map((row) => row.parts[kind].parts.find((part) => part.name === name));
      return {
        type: "bar", orientation: "h", width: 0.62, y: mine.map((_, i) => i), x: own.map((part) => (part ? valueOf(part) : 0)),
        marker: { color: run.colours[kind][name] ?? colour("--soft") }, hovertemplate: "%{customdata}<extra></extra>",
        customdata: own.map((part, i) => `<b>${literal(run.arms[mine[i].arm].label)}</b><br>${literal(name)}: ${literal(part?.text ?? "–")}`),
      };
    });
    const totals = mine.map((row) => row.parts[kind].parts.reduce((sum, part) => sum + valueOf(part), 0));
    const texts = mine.map((row) => (plot.clientWidth < NARROW ? row.parts[kind].text.split(", ")[0] : row.parts[kind].text));
    const xaxis = valueAxis(totals, false, choice.share ? "share of the time [%]" : "time of a batch [ms]");
    makeRoom(xaxis, plot, texts);
    controls.replaceChildren(
      select("as", [["", "ms"], ["yes", "share"]], choice.share ? "yes" : "", (value) => { choice.share = Boolean(value); draw(); }),
      ...fixedControls(fixed, chosen, draw),
    );
    legend.replaceChildren(...names.map((name) => make("li", null, make("i", { style: `background: ${run.colours[kind][name] ?? "gray"}` }), name)), make("li", null, BEHIND[kind]));
    plot.hidden = !mine.length;
    if (mine.length) show(plot, traces, { barmode: "stack", annotations: mine.map((row, i) => besideBar(totals[i], i, texts[i])), xaxis, yaxis: armAxisOf(run, mine), margin: { b: BELOW } }, BELOW + 10 + BAR * mine.length);
  };
}

