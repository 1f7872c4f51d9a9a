"use strict";
/* Tables: those that stand in the page become sortable, and that of all figures is made from the data of its run. */

const FIRST_ROWS = 100; // that are in the page before more are asked for

/** What a text is sorted by: the number that it begins with, or itself. */
function sortKey(text) {
  const found = /^(?:void )?(?:[≥≤] )?([-−]?[\d,]*\.?\d+)\s?([kMGT]?)/.exec(text);
  if (!found) return text;
  return Number(found[1].replaceAll(",", "").replace("−", "-")) * { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 }[found[2]];
}

/** Numbers by size, then texts as people order them, and what is missing last, whichever way is sorted. */
function compare(a, b, down) {
  const missing = (key) => key === null || key === "" || key === "–";
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const order = typeof a === "number" && typeof b === "number" ? a - b : typeof a === typeof b ? a.localeCompare(b, "en", { numeric: true }) : typeof a === "number" ? -1 : 1;
  return down ? -order : order;
}

function markSorted(heads, sorted, down) {
  heads.forEach((head, i) => head.setAttribute("aria-sort", i !== sorted ? "none" : down ? "descending" : "ascending"));
}

/** Makes the heads of a table that is there already into buttons that sort it. */
function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  let sorted = -1, down = false;
  heads.forEach((head, column) => {
    const text = head.textContent;
    head.replaceChildren(make("button", { type: "button", onclick: () => {
      down = sorted === column && !down;
      sorted = column;
      const keys = new Map([...body.rows].map((row) => [row, sortKey(row.cells[column]?.textContent ?? "")]));
      body.append(...[...body.rows].sort((a, b) => compare(keys.get(a), keys.get(b), down)));
      markSorted(heads, sorted, down);
    } }, text));
  });
}

/** What compares a cell with the reference arm's: a multiple, or of accuracy a difference in points. */
const compared = (cell) => cell?.times ?? cell?.points;

/** The table of all figures: the first rows at once, more when asked for, a command behind each. */
function figuresTable(run, holder, shown) {
  const conditions = dimensionsOf(run).filter((one) => !["tokens", "arm"].includes(one.key));
  const columns = [
    { head: "arm", name: true, text: (row) => run.arms[row.arm].label, key: (row) => run.arms[row.arm].label },
    ...conditions.map((one) => ({ head: one.head, text: (row) => one.values[one.of(row)][one.key === "extent" ? "phrase" : "text"], key: one.of })),
    ...run.columns.map((one) => {
      const cell = (row) => row.cells[one.metric];
      return {
        ...one, figure: true, cell, key: (row) => (one.ratio ? compared(cell(row))?.value : cell(row)?.value) ?? null,
        text: (row) => (one.ratio ? compared(cell(row))?.text : cell(row)?.text) ?? "",
      };
    }),
  ];
  const state = { sorted: -1, down: false, text: "", only: {}, most: FIRST_ROWS };
  const heads = columns.map((column, i) => make("th", { scope: "col", class: column.figure ? "figure" : null }, make("button", { type: "button", onclick: () => {
    Object.assign(state, { down: state.sorted === i && !state.down, sorted: i });
    draw();
  } }, column.head)));
  const body = make("tbody"), more = make("p", { class: "more note" });
  const words = new Map(run.rows.map((row) => [row, [run.arms[row.arm].label, ...phrases(conditions, row), row.failure ?? ""].join(" ").toLowerCase()]));
  const search = make("input", { type: "search", placeholder: "xfa 1024, oom, …", oninput: (e) => { state.text = e.target.value; draw(); } });
  holder.append(
    make("div", { class: "controls" }, make("label", null, "rows that hold", search), ...conditions.map(only)),
    make("div", { class: "scroll" }, make("table", null, make("thead", null, make("tr", null, ...heads, make("th", { class: "command-column" }))), body)),
    more,
  );

  /** Leaves the rows of one value of a condition, or all. */
  function only(one) {
    const values = one.values.map((value, i) => [i, value.phrase]);
    return select(one.head, [["", "all"], ...values], "", (i) => {
      state.only[one.key] = i;
      draw();
    });
  }

  function line(row, above) {
    const failed = row.failure && !columns.some((column) => column.figure && column.key(row) !== null);
    const cells = columns.filter((column) => !(failed && column.figure)).map((column) => {
      const text = column.text(row), why = column.cell?.(row)?.why;
      const kind = [column.figure && "figure", column.ratio && text.startsWith("void") && "void"].filter(Boolean).join(" ");
      return make(column.name ? "th" : "td", { class: kind || null, scope: column.name ? "row" : null, title: why ?? null }, column.name || why ? make("span", { class: why ? "reason" : null }, text) : text);
    });
    if (failed) cells.push(make("td", { class: "failure", colspan: run.columns.length }, row.failure));
    const button = make("button", { type: "button", class: "link", "aria-expanded": "false", onclick: (e) => open(e.target, row) }, "command");
    const place = state.sorted < 0 && above && String(above.at) !== String(row.at);
    const kind = [place && "place", run.arms[row.arm].control && "control"].filter(Boolean).join(" ");
    return make("tr", { class: kind || null }, ...cells, make("td", { class: "command-column" }, button));
  }

  function open(button, row) {
    const line = button.closest("tr"), isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) return line.nextSibling.remove();
    const why = row.failure ? make("p", { class: "bad" }, row.failure) : null;
    const command = make("div", { class: "command" }, make("pre", null, row.command), copyButton());
    line.after(make("tr", { class: "opened" }, make("td", { colspan: columns.length + 1 }, why, command)));
  }

  function draw() {
    const asked = state.text.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const isAsked = (row) => conditions.every((one) => !state.only[one.key] || one.of(row) === Number(state.only[one.key]));
    const visible = (row) => run.arms[row.arm].control ? shown.has(run.reference) : shown.has(row.arm);
    const rows = run.rows.filter((row) => visible(row) && asked.every((word) => words.get(row).includes(word)) && isAsked(row));
    const column = columns[state.sorted];
    if (column) rows.sort((a, b) => compare(column.key(a), column.key(b), state.down));
    markSorted(heads, state.sorted, state.down);
    const first = rows.slice(0, state.most);
    body.replaceChildren(...first.map((row, i) => line(row, first[i - 1])));
    more.replaceChildren(`${first.length.toLocaleString("en")} of ${run.rows.length.toLocaleString("en")} rows. `);
    if (first.length < rows.length)
      more.append(make("button", { type: "button", class: "link", onclick: () => { state.most *= 10; draw(); } }, `Show ${Math.min(9 * state.most, rows.length - first.length).toLocaleString("en")} more`));
  }
  return draw;
}

function copyButton() {
  return make("button", { type: "button", class: "copy", onclick: copy }, "copy");
}

async function copy(event) {
  const button = event.target, text = button.parentNode.querySelector("pre");
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "copied";
  } catch {
    // Without leave to write it, it is marked to be copied by hand.
    getSelection().selectAllChildren(text);
  }
}

