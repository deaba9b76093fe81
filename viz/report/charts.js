// The charts: one horizontal mark per cell with its interval, the time course, and accuracy beside speed.
const NARROW = 560; // px; below it labels wrap early
const DECADE = 10; // an axis is logarithmic where largest and smallest differ by more
const DASHES = [[], [6, 3], [2, 3], [10, 3, 2, 3], [4, 6]];
const MOST_POWERS = 7; // of two, beside an axis of ratios
const MARGIN = 0.05; // of an axis, behind the last mark at either end
const SIZED = new Set(["s", "bytes"]); // units that change with the size of the number
const MOST_NAMES = 16; // names beside points, entries of a legend
const PAPER_PIXELS = 3; // for each CSS pixel
const TALL = 500; // px; a higher chart may fill a page on paper
const MOST_LINES = 3; // of a cell's name beside its row
const LONGEST_ENTRY = 36; // letters of a legend's entry

// Draws each point's interval, the line at the baseline, and names beside points.
const intervals = {
  id: "intervals",
  beforeDatasetsDraw(chart, _, { line, band }) {
    if (line === undefined) return;
    const { ctx, chartArea: area, scales: { x } } = chart;
    const [from, to] = [x.getPixelForValue(line / (1 + band)), x.getPixelForValue(line * (1 + band))];
    ctx.save();
    ctx.fillStyle = colour("--line");
    ctx.fillRect(from, area.top, to - from, area.height);
    ctx.fillStyle = colour("--ink");
    ctx.fillRect(x.getPixelForValue(line) - 0.5, area.top, 1, area.height);
    ctx.restore();
  },
  afterDatasetsDraw(chart, _, { names }) {
    const { ctx, chartArea: area, scales: { x, y } } = chart;
    ctx.save();
    ctx.beginPath();
    ctx.rect(area.left, area.top, area.width, area.height);
    ctx.clip();
    chart.data.datasets.forEach((set, i) => {
      if (!chart.isDatasetVisible(i)) return;
      chart.getDatasetMeta(i).data.forEach((mark, j) => {
        const point = set.data[j];
        ctx.strokeStyle = set.borderColor;
        ctx.lineWidth = 2;
        ctx.beginPath();
        if (point.low != null) whisker(ctx, area, x.getPixelForValue(point.low), mark.y, x.getPixelForValue(point.high), mark.y);
        if (point.lowY != null) whisker(ctx, area, mark.x, y.getPixelForValue(point.lowY), mark.x, y.getPixelForValue(point.highY));
        ctx.stroke();
      });
    });
    ctx.restore();
    if (names) writeNames(chart);
  },
};

// Put each name beside its mark where neither a name, a mark nor an interval is; hovering shows the others.
function writeNames(chart, height = 14) {
  const { ctx, chartArea: area, data: { datasets } } = chart;
  const marks = datasets.map((set, i) => {
    const { x, y } = chart.getDatasetMeta(i).data[0];
    return { x, y, name: set.data[0].name, point: set.data[0] };
  });
  const { x: across, y: up } = chart.scales;
  const taken = marks.flatMap(({ x, y, point }) => [
    [x - 7, y - 7, x + 7, y + 7],
    ...(point.low == null ? [] : [[across.getPixelForValue(point.low), y - 4, across.getPixelForValue(point.high), y + 4]]),
    ...(point.lowY == null ? [] : [[x - 4, up.getPixelForValue(point.highY), x + 4, up.getPixelForValue(point.lowY)]]),
  ]);
  ctx.save();
  ctx.fillStyle = colour("--ink");
  ctx.font = `12px ${Chart.defaults.font.family}`;
  for (const { x, y, name } of marks) {
    const width = ctx.measureText(name).width;
    const places = [[x + 10, y + 4], [x - 10 - width, y + 4], [x + 8, y - 9], [x - 8 - width, y - 9], [x + 8, y + 20], [x - 8 - width, y + 20]];
    const free = places.find(([left, low]) => left >= area.left && left + width <= area.right && low - height >= area.top - 1 && low <= area.bottom
      && taken.every(([a, b, c, d]) => left + width < a || left > c || low < b || low - height > d));
    if (!free) continue;
    taken.push([free[0], free[1] - height, free[0] + width, free[1]]);
    ctx.fillText(name, ...free);
  }
  ctx.restore();
}

// A line with a bar at each end; with an arrow where it goes on beyond the axes.
function whisker(ctx, area, x1, y1, x2, y2) {
  const inside = ([x, y]) => [Math.min(Math.max(x, area.left), area.right), Math.min(Math.max(y, area.top), area.bottom)];
  const isUpright = x1 === x2;
  const ends = [[x1, y1], [x2, y2]].map((end) => [inside(end), inside(end).some((place, i) => Math.abs(place - end[i]) > 1)]);
  ctx.moveTo(...ends[0][0]);
  ctx.lineTo(...ends[1][0]);
  for (const [[[x, y], isCut], to] of [[ends[0], isUpright ? 1 : -1], [ends[1], isUpright ? -1 : 1]]) {
    const back = isCut ? -6 * to : 0;
    for (const side of [-4, 4]) {
      ctx.moveTo(x, y);
      ctx.lineTo(...(isUpright ? [x + side, y + back] : [x + back, y + side]));
    }
  }
}

// Chart.js has no triangle that points down: it is one turned round.
const look = (cell) => ({
  borderColor: seen(cell),
  backgroundColor: seen(cell),
  pointStyle: cell.marker === "triangleDown" ? "triangle" : cell.marker,
  rotation: cell.marker === "triangleDown" ? 180 : 0,
  pointRadius: 6,
  pointHoverRadius: 8,
  pointBorderWidth: 2,
});
const around = (figure, unit) => (figure[1] === null ? "no interval" : `95 %: ${format(figure[1], unit)} to ${format(figure[2], unit)}`);

// Lines of at most so many letters; a longer word is broken behind a hyphen, or where it must be.
function wrapped(text, width) {
  const pieces = text.split(" ").flatMap((word) =>
    (word.length <= width ? [word] : word.match(/[^-_]*[-_]?/g).filter(Boolean).flatMap((part) => part.match(new RegExp(`.{1,${width}}`, "gu"))))
      .map((part, i) => (i ? part : ` ${part}`)));
  const lines = [];
  for (const piece of pieces) {
    if (lines.length && lines.at(-1).length + piece.length <= width) lines[lines.length - 1] += piece;
    else lines.push(piece.trimStart());
  }
  return lines.length <= MOST_LINES ? lines : [...lines.slice(0, MOST_LINES - 1), `${lines[MOST_LINES - 1]}…`];
}

const shortened = (text) => (text.length <= LONGEST_ENTRY ? text : `${text.slice(0, LONGEST_ENTRY / 2)}…${text.slice(-LONGEST_ENTRY / 2)}`);

// A number at an axis: its unit stands there once, in the axis' title, unless it changes with the size.
const tick = (value, unit) => format(value, SIZED.has(unit) ? unit : "1").replace(/\.0+(?=\D|$)|(\.\d*?[1-9])0+(?=\D|$)/, "$1");
const titled = ({ label, unit }) => (SIZED.has(unit) || unit === "1" ? label : `${label} (${unit})`);

// The axis of values: it stays with the data, since the interval of two rounds may reach anywhere. Its ends are those
// of the data, so only round numbers are written beside it.
function scale(points, unit, { fromZero = true, title } = {}) {
  const values = points.map((point) => point[0]).filter((value) => value !== null && value > 0);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const reach = Math.min(Math.max(...points.map((point) => point[2] ?? point[0])), most * 1.5);
  const isLogarithmic = most / least > DECADE;
  const low = Math.max(Math.min(...points.map((point) => point[1] ?? point[0])), least / 1.5);
  const room = (reach / low) ** MARGIN; // of a logarithmic axis
  return {
    type: isLogarithmic ? "logarithmic" : "linear",
    min: fromZero && !isLogarithmic ? 0 : isLogarithmic ? low / room : low - (reach - low) * MARGIN,
    max: isLogarithmic ? reach * room : reach + (reach - (fromZero ? 0 : low)) * MARGIN,
    ...(isLogarithmic && { afterBuildTicks: (axis) => (axis.ticks = decades(axis).map((value) => ({ value }))) }),
    grid: { color: colour("--line") },
    ticks: { includeBounds: false, color: colour("--soft"), maxRotation: 0, autoSkipPadding: 20, callback: (value) => (Math.abs(value.toPrecision(2) - value) > 1e-9 * Math.abs(value) ? null : tick(value, unit)) },
    title: { display: Boolean(title), text: isLogarithmic ? `${title}, logarithmic` : title, color: colour("--soft") },
  };
}

// Round numbers of a logarithmic axis: the more decades it has, the fewer of each.
function decades({ min, max }) {
  const from = Math.floor(Math.log10(min));
  const count = Math.log10(max / min);
  const steps = count < 1.5 ? [1, 2, 5] : count < 3 ? [1, 3] : [1];
  const values = Array.from({ length: Math.ceil(count) + 2 }, (_, i) => steps.map((step) => step * 10 ** (from + i))).flat();
  return values.filter((value) => value >= min && value <= max);
}

// Half and double lie equally far from the baseline: 1/4×, 1/2×, 1×, 2× on a logarithmic axis.
function inRatios(axis) {
  if (axis.type !== "logarithmic") return { ...axis, ticks: { ...axis.ticks, callback: (value) => `${tick(value, "1")}×` } };
  const stride = Math.ceil(Math.log2(axis.max / axis.min) / MOST_POWERS);
  const powers = Array.from({ length: 41 }, (_, i) => 2 ** (stride * (i - 20))).filter((value) => value >= axis.min && value <= axis.max);
  return {
    ...axis,
    afterBuildTicks: (made) => (made.ticks = powers.map((value) => ({ value }))),
    ticks: { ...axis.ticks, callback: (value) => (value < 1 ? `1/${Math.round(1 / value)}×` : `${value.toLocaleString("en")}×`) },
  };
}

function tooltip() {
  return {
    displayColors: false,
    callbacks: {
      title: (items) => items.map((item) => item.raw.title).slice(0, 1),
      label: (item) => item.raw.lines,
    },
  };
}

function show(name, make) {
  const figure = document.querySelector(`[data-chart=${name}]`);
  const canvas = figure.querySelector("canvas");
  const width = figure.clientWidth || innerWidth;
  const made = visible.length ? make(width) : null;
  figure.hidden = !made;
  Chart.getChart(canvas)?.destroy();
  if (!made) return;
  canvas.parentElement.style.height = `${made.height}px`;
  canvas.parentElement.classList.toggle("tall", made.height > TALL);
  const options = { animation: false, maintainAspectRatio: false, devicePixelRatio: isPrinted ? PAPER_PIXELS : undefined, interaction: { mode: "nearest", intersect: false }, ...made.options };
  options.plugins = { legend: { display: false }, tooltip: tooltip(), ...made.options.plugins };
  new Chart(canvas, { type: made.type ?? "scatter", data: { datasets: made.datasets }, options, plugins: [intervals] });
}

// One row per cell: `sets(cell)` gives its datasets without y, `x` is the axis of values.
function rows(cells, sets, x, width, plugins) {
  const labels = cells.map((cell) => wrapped(cell.label, width < NARROW ? 18 : 30));
  const y = {
    type: "category",
    labels: cells.map((cell) => cell.label),
    offset: true,
    grid: { display: false },
    ticks: { color: colour("--ink"), autoSkip: false, crossAlign: "far", callback: (_, i) => labels[i] },
  };
  const datasets = cells.flatMap((cell) => sets(cell).map((set) => ({ ...set, data: set.data.map((point) => ({ ...point, y: cell.label })) })));
  const height = 70 + labels.length * (14 + 14 * Math.max(...labels.map((lines) => lines.length))); // all rows are alike
  return { datasets, height, options: { scales: { x, y }, plugins } };
}

const chosen = (name) => document.querySelector(`[data-chart=${name}] select`).value;
const shownCells = () => visible.slice(0, isPrinted ? MOST_PRINTED : MOST_DRAWN).map((i) => data.cells[i]);

function figuresChart(width) {
  const metric = chosen("figures");
  const unit = data.metrics[metric].unit;
  const cells = shownCells().filter((cell) => cell.metrics[metric]);
  if (!cells.length) return null;
  const sets = (cell) => {
    const figure = cell.metrics[metric];
    const lines = [format(figure[0], unit), around(figure, unit), metric === "accuracy" ? counted(figure[3], "problem") : counted(figure[3], "round")];
    const rounds = cell.rounds.filter((round) => round.metrics[metric] !== undefined);
    const faint = rounds.map((round) => ({ x: round.metrics[metric], title: cell.label, lines: [`round ${round.round + 1}: ${format(round.metrics[metric], unit)}`, round.at] }));
    return [
      { ...look(cell), data: [{ x: figure[0], low: figure[1], high: figure[2], title: cell.label, lines }] },
      { ...look(cell), pointStyle: "circle", pointRadius: 3, pointBorderWidth: 0, backgroundColor: `${seen(cell)}80`, data: faint },
    ];
  };
  const x = scale(cells.map((cell) => cell.metrics[metric]), unit, { title: titled(data.metrics[metric]) });
  return rows(cells, sets, x, width, {});
}

function ratiosChart(width) {
  const cells = shownCells().filter((cell) => cell.verdict !== "baseline" && cell.ratio[0] !== null);
  if (!cells.length) return null;
  const sets = (cell) => {
    const lines = [`${format(cell.ratio[0], "1")}×`, around(cell.ratio, "1"), counted(cell.ratio[3], "round"), cell.verdict];
    return [{ ...look(cell), data: [{ x: cell.ratio[0], low: cell.ratio[1], high: cell.ratio[2], title: cell.label, lines }] }];
  };
  const x = inRatios(scale([...cells.map((cell) => cell.ratio), [1, null, null]], "1", { fromZero: false, title: "times the baseline" }));
  return rows(cells, sets, x, width, { intervals: { line: 1, band: data.minEffect } });
}

function latenciesChart(width) {
  const kind = chosen("latencies");
  const cells = shownCells().filter((cell) => cell.latencies[kind]?.quantiles.some((value) => value !== null));
  if (!cells.length) return null;
  const sets = (cell) => {
    const { n, tokens, quantiles } = cell.latencies[kind];
    const told = quantiles.flatMap((value, i) => (value === null ? [] : [{ value, name: data.percentiles[i] === 0.5 ? "median" : `${+(100 * data.percentiles[i]).toFixed(1)} %` }]));
    const of = kind === "step_s" ? `${counted(n, "step")}${tokens > 1.005 ? `, ${format(tokens, "1")} tokens each` : ""}` : counted(n, "sample");
    const lines = [...told.map((each) => `${each.name}: ${format(each.value, "s")}`), of];
    const points = told.map((each) => ({ x: each.value, title: cell.label, lines }));
    points[0] = { ...points[0], low: points[0].x, high: points.at(-1).x };
    return [
      { ...look(cell), data: points.slice(0, 1) },
      { ...look(cell), pointStyle: "line", rotation: 90, pointRadius: 7, data: points.slice(1) },
    ];
  };
  const everything = cells.flatMap((cell) => cell.latencies[kind].quantiles.filter((value) => value !== null).map((value) => [value, null, null]));
  return rows(cells, sets, scale(everything, "s", { fromZero: false, title: titled(data.latencies[kind]) }), width, {});
}

function roundsChart(width) {
  const metric = chosen("figures");
  const unit = data.metrics[metric].unit;
  const cells = shownCells().filter((cell) => cell.rounds.filter((round) => round.metrics[metric] !== undefined).length > 1);
  if (!cells.length) return null;
  const formats = [...new Set(data.cells.map((cell) => cell.dimensions.quantisation))];
  const datasets = cells.map((cell) => ({
    ...look(cell),
    label: `${GLYPHS[cell.marker]} ${cell.label}`,
    pointRadius: 4,
    borderWidth: 1.5,
    borderDash: DASHES[formats.indexOf(cell.dimensions.quantisation) % DASHES.length],
    data: cell.rounds.filter((round) => round.metrics[metric] !== undefined).map((round) => ({
      x: round.round + 1, y: round.metrics[metric], title: cell.label,
      lines: [`round ${round.round + 1}: ${format(round.metrics[metric], unit)}`, round.at],
    })),
  }));
  const everything = datasets.flatMap((set) => set.data.map((point) => [point.y, null, null]));
  const y = scale(everything, unit, { title: titled(data.metrics[metric]) });
  const x = { type: "linear", offset: true, grid: { display: false }, ticks: { stepSize: 1, precision: 0, autoSkip: true, color: colour("--soft") }, title: { display: true, text: "round", color: colour("--soft") } };
  const dashed = (chart) => Chart.defaults.plugins.legend.labels.generateLabels(chart).map((item) => ({ ...item, text: shortened(item.text), lineDash: chart.data.datasets[item.datasetIndex].borderDash }));
  const legend = { display: cells.length <= MOST_NAMES, position: "bottom", align: "start", labels: { generateLabels: dashed, color: colour("--ink"), usePointStyle: true, pointStyle: "line", pointStyleWidth: 30 } };
  const entries = legend.display ? datasets.map(({ label }) => 50 + 6.5 * shortened(label).length) : [];
  const legendRows = Math.ceil((1.25 * entries.reduce((sum, each) => sum + each, 0)) / width);
  return { type: "line", datasets, height: 280 + 20 * legendRows, options: { scales: { x, y }, plugins: { legend } } };
}

function accuracyChart(width) {
  const { unit, label } = data.metrics[data.metric] ?? {};
  const cells = shownCells().filter((cell) => cell.accuracy && cell.metrics[data.metric]);
  if (!cells.length) return null;
  const datasets = cells.map((cell) => {
    const [speed, right] = [cell.metrics[data.metric], cell.accuracy];
    const lines = [`${label}: ${format(speed[0], unit)} (${around(speed, unit)})`, `accuracy: ${format(100 * right[0], "%")} (95 %: ${format(100 * (right[1] ?? right[0]), "%")} to ${format(100 * (right[2] ?? right[0]), "%")}, ${counted(right[3], "problem")})`];
    const point = { x: speed[0], low: speed[1], high: speed[2], y: 100 * right[0], title: cell.label, name: cell.label, lines };
    if (right[1] !== null) Object.assign(point, { lowY: 100 * right[1], highY: 100 * right[2] });
    return { ...look(cell), data: [point] };
  });
  const x = scale(cells.map((cell) => cell.metrics[data.metric]), unit, { title: titled(data.metrics[data.metric]) });
  const least = Math.min(...cells.map((cell) => 100 * (cell.accuracy[1] ?? cell.accuracy[0])));
  const bottom = Math.max(Math.ceil(least / 10) * 10 - 10, 0);
  const room = MARGIN * (100 - bottom); // for marks at 0 and at 100 %
  const y = { min: bottom - room, max: 100 + room, grid: { color: colour("--line") }, ticks: { includeBounds: false, color: colour("--soft"), callback: (value) => (value < 0 || value > 100 ? null : `${value} %`) }, title: { display: true, text: "accuracy", color: colour("--soft") } };
  return { datasets, height: 360, options: { scales: { x, y }, plugins: { intervals: { names: cells.length <= MOST_NAMES && width >= NARROW } } } };
}

function drawCharts() {
  show("figures", figuresChart);
  show("ratios", ratiosChart);
  show("rounds", roundsChart);
  show("latencies", latenciesChart);
  show("accuracy", accuracyChart);
}

for (const [name, offered] of [["figures", data.metrics], ["latencies", data.latencies]]) {
  const select = document.querySelector(`[data-chart=${name}] select`);
  select.append(...Object.entries(offered).map(([value, { label }]) => element("option", { value }, label)));
  if (name === "figures") select.value = data.metric in data.metrics ? data.metric : select.value;
  select.addEventListener("change", drawCharts);
}
Chart.defaults.font.family = "system-ui, sans-serif";
whenFiltered.push(drawCharts);
darkness.addEventListener("change", () => whenFiltered.forEach((follow) => follow()));
