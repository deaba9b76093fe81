// What all parts of the page share: the data, how numbers read, sorting, and which cells are shown.
"use strict";
const [BARS_LAPTOP, BARS_PHONE, BARS_PAPER] = [9, 6, 12]; // the last one is in the style too
const MOST_DRAWN = 100; // cells in the charts: a canvas has a largest height, and drawing takes time
const MOST_PRINTED = 40; // of them on paper, where a chart has one page
const data = JSON.parse(document.getElementById("chart-data").textContent);

// An element with its content; text stays text, whatever a model wrote.
function element(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

// Three significant digits, thousands apart, with the unit that suits their size, as in the tables.
function format(value, unit) {
  if (value === null || value === undefined) return "n/a";
  const digits = (x) => (Math.abs(x) >= 100 ? Math.round(Number(x.toPrecision(3))).toLocaleString("en") : x.toPrecision(3));
  const size = Math.abs(value);
  if (unit === "s") return size >= 1 || !size ? `${digits(value)} s` : size >= 1e-3 ? `${digits(value * 1e3)} ms` : `${digits(value * 1e6)} µs`;
  if (unit === "bytes") {
    const step = size >= 2 ** 30 ? 3 : size >= 2 ** 20 ? 2 : 1;
    return `${digits(value / 2 ** (10 * step))} ${" KMG"[step]}iB`;
  }
  return unit === "1" ? digits(value) : `${digits(value)} ${unit}`;
}

const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const darkness = matchMedia("screen and (prefers-color-scheme: dark)");
const seen = (cell) => (darkness.matches ? cell.onDark : cell.colour);

for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((heading, column) => {
    heading.firstElementChild.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") !== "descending";
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        const numbers = x !== "" && y !== "" && !isNaN(x) && !isNaN(y);
        return numbers ? Number(x) - Number(y) : x.localeCompare(y);
      };
      const rows = [...table.tBodies[0].rows].sort(order);
      table.tBodies[0].append(...(down ? rows.reverse() : rows));
    });
  });
}

const GLYPHS = { circle: "●", rect: "■", rectRot: "◆", triangle: "▲", triangleDown: "▼", cross: "✚", crossRot: "✖" };
const filters = document.querySelector("#filters form");
let visible = data.cells.map((_, i) => i);
const whenFiltered = [];

function sayShown() {
  const all = data.cells.length;
  const drawn = visible.length > MOST_DRAWN ? `, the first ${MOST_DRAWN} of them in the charts` : "";
  document.getElementById("shown").textContent = (visible.length === all ? "" : `${visible.length.toLocaleString("en")} of `) + counted(all, "cell") + drawn;
}

function applyFilters() {
  const wanted = filters.querySelector("#find-cell").value.trim().toLowerCase();
  const refused = [...filters.querySelectorAll("fieldset[data-dimension]")].map((group) => [
    group.dataset.dimension,
    new Set([...group.querySelectorAll("input:not(:checked)")].map((box) => box.value)),
  ]);
  visible = data.cells.flatMap((cell, i) =>
    cell.label.toLowerCase().includes(wanted) && refused.every(([name, values]) => !values.has(cell.dimensions[name])) ? [i] : []);
  const shown = new Set(visible);
  for (const part of document.querySelectorAll("[data-cell]")) part.hidden = !shown.has(Number(part.dataset.cell));
  sayShown();
  whenFiltered.forEach((follow) => follow());
}

if (filters) {
  for (const box of filters.querySelectorAll("[data-dimension=backend] input")) {
    const cell = data.cells.find((each) => each.dimensions.backend === box.value);
    box.nextElementSibling.textContent = GLYPHS[cell.marker];
    whenFiltered.push(() => (box.nextElementSibling.style.color = seen(cell)));
  }
  filters.addEventListener("input", applyFilters);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(applyFilters));
}

// The bars of the first screen: as many as fit it beside the cards, and the baseline; the others on demand.
const bars = document.getElementById("bars");
const allBars = document.getElementById("all-bars");
const narrow = matchMedia("(max-width: 40rem)");

function foldBars() {
  const most = narrow.matches ? BARS_PHONE : BARS_LAPTOP;
  const shown = [...bars.children].filter((bar) => !bar.hidden);
  const isFolded = shown.length > most;
  shown.forEach((bar, i) => bar.classList.toggle("later", isFolded && i >= most - 1 && !("baseline" in bar.dataset)));
  const later = shown.filter((bar) => bar.classList.contains("later")).length;
  allBars.hidden = !later;
  const left = [...bars.children].slice(BARS_PAPER).filter((bar) => bar.classList.contains("later") && !bar.hidden).length;
  allBars.nextElementSibling.textContent = left ? `${counted(left, "more cell")} in the table` : "";
  bars.classList.toggle("all", allBars.getAttribute("aria-expanded") === "true");
  allBars.textContent = bars.classList.contains("all") ? "show fewer" : `show ${counted(later, "more cell")}`;
}

if (bars) {
  allBars.addEventListener("click", () => {
    allBars.setAttribute("aria-expanded", String(!bars.classList.contains("all")));
    foldBars();
  });
  narrow.addEventListener("change", foldBars);
  whenFiltered.push(foldBars);
}

// On paper everything that is folded for a screen is there, but for static figures and samples, which are many. Charts
// have as many cells as a page holds.
let isPrinted = false;
const folded = [...document.querySelectorAll("#notes, #notes details, #methods details")];
let opened = [];
addEventListener("beforeprint", () => {
  opened = folded.filter((part) => !part.open);
  for (const part of opened) part.open = true;
  redrawFor(true);
});
addEventListener("afterprint", () => {
  for (const part of opened) part.open = false;
  redrawFor(false);
});

function redrawFor(paper) {
  isPrinted = paper;
  const note = ` The first ${MOST_PRINTED} of ${counted(visible.length, "cell")} are drawn.`;
  document.getElementById("drawn").textContent = visible.length > MOST_PRINTED ? note : "";
  drawCharts();
}
