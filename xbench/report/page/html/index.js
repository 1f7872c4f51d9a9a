"use strict";
/* The page of all runs: tables that sort, and a search over the words of each row. */

document.querySelectorAll("table.sortable").forEach(sortable);
const rows = [...document.querySelectorAll("table.index tbody tr")];
document.getElementById("find").addEventListener("input", (e) => {
  const words = e.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
});
