// What all parts of the page share: the data, how numbers read, sorting, and which cells are shown.
"use strict";
const LEAST_CONTRAST = 2.2;
const MOST_DRAWN = 100; // cells in the charts: a canvas has a largest height, and drawing takes time
const data = JSON.parse(document.getElementById("chart-data").textContent);

// An element with its content; text stays text, whatever a model wrote.
function element(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

// Three significant digits with the unit that suits their size, as in the tables.
function format(value, unit) {
  if (value === null || value === undefined) return "n/a";
  const digits = (x) => (Math.abs(x) >= 100 ? Math.round(Number(x.toPrecision(3))).toString() : x.toPrecision(3));
  const size = Math.abs(value);
  if (unit === "s") return size >= 1 || !size ? `${digits(value)} s` : size >= 1e-3 ? `${digits(value * 1e3)} ms` : `${digits(value * 1e6)} µs`;
  if (unit === "bytes") return size >= 2 ** 30 ? `${digits(value / 2 ** 30)} GiB` : `${digits(value / 2 ** 20)} MiB`;
  return unit === "1" ? digits(value) : `${digits(value)} ${unit}`;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A backend's colour, mixed with the ink only as far as it takes to be seen on the page, be it white or black.
function seen(hex) {
  const channels = (text) => (text.length === 4 ? [...text.slice(1)].map((x) => parseInt(x + x, 16)) : [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16)));
  const luminance = (rgb) => rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4)).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const [page, ink] = [luminance(channels(colour("--page"))), channels(colour("--ink"))];
  let rgb = channels(hex);
  const contrast = () => (Math.max(luminance(rgb), page) + 0.05) / (Math.min(luminance(rgb), page) + 0.05);
  while (contrast() < LEAST_CONTRAST) rgb = rgb.map((c, i) => Math.round(c + (ink[i] - c) * 0.1));
  return `#${rgb.map((c) => c.toString(16).padStart(2, "0")).join("")}`;
}

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
  document.getElementById("shown").textContent = (visible.length === all ? `${all} cells` : `${visible.length} of ${all} cells`) + drawn;
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
    whenFiltered.push(() => (box.nextElementSibling.style.color = seen(cell.colour)));
  }
  filters.addEventListener("input", applyFilters);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(applyFilters));
  filters.parentElement.open = innerWidth >= 640;
}
