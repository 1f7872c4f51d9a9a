"use strict";
/* What the page does with the data of each run: a filter of arms, charts (charts.js), tables (tables.js), themes, paper.

   Every run is a block of JSON beside its words; page_data.py says what is in it. Names come from anywhere, so nodes
   are made by `make`, never from markup. */

// Texts, colours and controls

/** A text as plotly must be given it, which reads tags and entities. */
const literal = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const probe = document.body.appendChild(make("span", { hidden: true }));

/** A colour of the style sheet as the theme has it now. */
function colour(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

const unique = (values) => [...new Set(values)].sort((a, b) => a - b);

function select(label, options, value, change, kind = "") {
  const entries = options.map(([key, text]) => make("option", { value: key, selected: String(key) === String(value) }, text));
  return make("label", { class: kind }, label, make("select", { "aria-label": label, onchange: (e) => change(e.target.value) }, ...entries));
}

function check(label, value, change) {
  return make("label", { class: "check" }, make("input", { type: "checkbox", checked: value, onchange: (e) => change(e.target.checked) }), label);
}

function swatch(arm) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  const paint = `stroke: var(--arm-${arm.colour}); fill: var(--arm-${arm.colour})`;
  for (const [name, value] of Object.entries({ width: 26, height: 10 })) svg.setAttribute(name, value);
  for (const [name, value] of Object.entries({ x1: 0, x2: 26, y1: 5, y2: 5, "stroke-width": 2, style: paint })) line.setAttribute(name, value);
  if (arm.stroke) line.setAttribute("stroke-dasharray", STROKES[arm.stroke]);
  for (const [name, value] of Object.entries({ cx: 13, cy: 5, r: 3.2, style: paint })) dot.setAttribute(name, value);
  svg.append(line, dot);
  return svg;
}

// The page

/** Buttons that show and hide arms in everything of the run. */
function armFilter(run, holder, shown, changed) {
  const arms = [...run.arms.entries()].filter(([, arm]) => !arm.control);
  const alone = (i) => {
    shown.clear();
    shown.add(i).add(run.reference);
    update();
  };
  const hint = "click: show or hide · double click, or with Shift: this arm beside the reference alone";
  const buttons = arms.map(([i, arm]) => make("button", { type: "button", title: hint, ondblclick: () => alone(i), onclick: (e) => {
    if (e.shiftKey) return alone(i);
    if (!shown.delete(i)) shown.add(i);
    update();
  } }, swatch(arm), arm.label));
  const all = make("button", { type: "button", class: "all", onclick: () => {
    const full = shown.size === arms.length;
    shown.clear();
    if (!full) arms.forEach(([i]) => shown.add(i));
    update();
  } });
  function update() {
    arms.forEach(([i], n) => buttons[n].setAttribute("aria-pressed", String(shown.has(i))));
    all.textContent = shown.size === arms.length ? "none" : "all";
    changed();
  }
  holder.append(...buttons, all);
  arms.forEach(([i]) => shown.add(i));
  update();
  return (fitting) => {
    shown.clear();
    fitting.forEach((i) => shown.add(i));
    update();
  };
}

/** Sliders for what an arm may take and has to reach: leaves those that fit, and names the best of them. */
function budget(run, holder, show) {
  const { where, limits } = run.budget;
  const arms = [...run.arms.keys()].filter((i) => !run.arms[i].control);
  const said = make("output", {});
  const values = (limit) => unique(Object.values(limit.values));
  const sliders = limits.map((limit) => {
    const steps = values(limit), end = limit.more ? 0 : steps.length - 1;
    const text = make("span", {});
    const input = make("input", { type: "range", min: 0, max: steps.length - 1, value: end, "aria-label": limit.name, oninput: () => update(true) });
    return { limit, steps, input, text, node: make("label", {}, limit.name, input, text) };
  });
  function update(touched) {
    let fitting = arms;
    for (const { limit, steps, input, text } of sliders) {
      const bound = steps[input.value], own = (i) => limit.values[i];
      text.textContent = `${limit.more ? "at least" : "at most"} ${bound.toLocaleString("en")} ${limit.unit}`;
      fitting = fitting.filter((i) => own(i) === undefined ? Number(input.value) === (limit.more ? 0 : steps.length - 1) : limit.more ? own(i) >= bound : own(i) <= bound);
    }
    const first = limits[0], rank = (i) => first.values[i] === undefined ? -Infinity : first.more ? first.values[i] : -first.values[i];
    const best = [...fitting].sort((a, b) => rank(b) - rank(a))[0];
    const figure = best === undefined || first.values[best] === undefined ? "" : `, ${first.values[best].toLocaleString("en")} ${first.unit}`;
    said.textContent = fitting.length ? `${fitting.length} of ${arms.length} arms fit; the best of them in ${first.name} is ${run.arms[best].label}${figure}.` : "No arm fits.";
    if (touched) show(fitting);
  }
  holder.append(make("h2", {}, `What fits a budget, ${where}`), make("div", { class: "sliders" }, ...sliders.map((one) => one.node)), said);
  update(false);
}

const charts = new Map(); // by node, what draws it; drawn once it comes near the screen
const drawn = new Set();
const near = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
  near.unobserve(target);
  drawChart(target);
}), { rootMargin: "400px" });

function drawChart(node) {
  drawn.add(node);
  charts.get(node)();
  performance.mark("charts drawn");
}

const redraw = () => drawn.forEach(drawChart);

function openRun(article) {
  const run = JSON.parse(article.querySelector("script.data").textContent);
  run.reference = run.arms.findIndex((arm) => arm.name === run.against);
  const shown = new Set(), own = [];
  const chart = (holder, begin) => {
    const card = holder.appendChild(make("div", { class: "card" }));
    charts.set(card, begin(card));
    own.push(card);
  };
  for (const view of run.views) chart(article.querySelector(".charts"), (card) => metricChart(run, card, view, shown));
  for (const holder of article.querySelectorAll(".bars")) chart(holder, (card) => partsChart(run, card, holder.dataset.kind, shown));
  const drawTable = figuresTable(run, article.querySelector(".figures"), shown);
  article.querySelectorAll("table.sortable").forEach(sortable);
  article.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", copy));
  const labels = new Map(run.arms.map((arm, i) => [arm.label, arm.control ? run.reference : i]));
  const show = armFilter(run, article.querySelector(".filter"), shown, () => {
    drawTable();
    own.filter((card) => drawn.has(card)).forEach(drawChart);
    for (const row of article.querySelectorAll("tr[data-arm]")) {
      const arm = labels.get(row.dataset.arm);
      row.hidden = arm !== undefined && !shown.has(arm);
    }
  });
  if (run.budget) budget(run, article.querySelector(".budget"), show);
  own.forEach((card) => near.observe(card));
}

const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", redraw);
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement, isDark = root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  root.dataset.theme = isDark ? "light" : "dark";
  redraw();
});

/* Paper is light and narrow, and has all charts and the whole answer. */
const PAPER = 660;
let before;
const resize = (size) => [...document.querySelectorAll(".js-plotly-plot")].filter((plot) => plot.layout).forEach((plot) => Plotly.relayout(plot, size));
addEventListener("beforeprint", () => {
  before = { theme: document.documentElement.dataset.theme, folded: [...document.querySelectorAll("details:not([open])")] };
  document.documentElement.dataset.theme = "light";
  before.folded.forEach((one) => { one.open = true; });
  charts.forEach((_, card) => drawChart(card));
  resize({ width: PAPER, autosize: false });
});
addEventListener("afterprint", () => {
  if (before.theme) document.documentElement.dataset.theme = before.theme;
  else delete document.documentElement.dataset.theme;
  before.folded.forEach((one) => { one.open = false; });
  resize({ width: null, autosize: true });
  redraw();
});

document.querySelectorAll("article.run").forEach(openRun);
// What a reader sees first is drawn at once, though words may stand above it; a phone shows the largest size alone.
document.querySelectorAll("article.run:first-of-type .charts .card").forEach(drawChart);
if (matchMedia("(max-width: 40rem)").matches)
  document.querySelectorAll(".places details:not(:last-child)").forEach((one) => { one.open = false; });
