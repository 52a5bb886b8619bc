"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const SIZE = { width: 400, height: 300, left: 56, right: 26, top: 14, bottom: 44 };
// Matplotlib's viridis at equal steps.
const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
let pinned = 0;

function add(parent, name, attributes = {}, text = null) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== null) node.textContent = text;
  return parent.appendChild(node);
}

// Steps are at most 2.5 times as long as the fifth of a range, so that it holds two ticks at least.
function ticks([low, high]) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const count = Math.floor((high - low) / step) + 2;
  const all = Array.from({ length: count }, (_, k) => (Math.ceil(low / step) + k) * step);
  return all.filter((value) => value <= high + 1e-9 * step).map((value) => Number(value.toPrecision(10)));
}

function range(values, pad = 0.06) {
  const finite = values.filter(Number.isFinite);
  if (!finite.length) return [0, 1];
  const [low, high] = finite.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  const margin = (high - low || Math.abs(high) || 1) * pad;
  return [low - margin, high + margin];
}

// Clears a chart, draws its axes, and returns its layer of marks and its two scales.
function axes(id, xs, ys, xLabel, yLabel, equal = false) {
  const svg = document.getElementById(id);
  const describing = svg.querySelector("title");
  svg.replaceChildren(describing);
  // Room for the longest number beside the label.
  const left = Math.max(SIZE.left, 28 + 7 * Math.max(...ticks(ys).map((value) => String(value).length)));
  const inner = { width: SIZE.width - left - SIZE.right, height: SIZE.height - SIZE.top - SIZE.bottom };
  if (equal) {
    const middle = (xs[0] + xs[1]) / 2, half = ((ys[1] - ys[0]) / 2) * (inner.width / inner.height);
    xs = [middle - half, middle + half];
  }
  const x = (value) => left + ((value - xs[0]) / (xs[1] - xs[0])) * inner.width;
  const y = (value) => SIZE.top + inner.height - ((value - ys[0]) / (ys[1] - ys[0])) * inner.height;
  const base = SIZE.top + inner.height;
  const frame = add(svg, "g", { class: "axis" });
  add(frame, "path", { d: `M${left},${SIZE.top}V${base}H${left + inner.width}` });
  for (const value of ticks(xs)) {
    add(frame, "path", { d: `M${x(value)},${base}v4` });
    add(frame, "text", { x: x(value), y: base + 16, "text-anchor": "middle" }, value);
  }
  for (const value of ticks(ys)) {
    add(frame, "path", { d: `M${left},${y(value)}h-4` });
    add(frame, "text", { x: left - 7, y: y(value) + 4, "text-anchor": "end" }, value);
  }
  add(frame, "text", { x: left + inner.width / 2, y: SIZE.height - 8, "text-anchor": "middle" }, xLabel);
  const turn = `translate(13,${SIZE.top + inner.height / 2}) rotate(-90)`;
  add(frame, "text", { transform: turn, "text-anchor": "middle" }, yLabel);
  return { layer: add(svg, "g"), x, y, xs, ys };
}

function line(chart, pairs, attributes) {
  const points = pairs.map(([a, b]) => `${chart.x(a).toFixed(1)},${chart.y(b).toFixed(1)}`);
  if (points.length) add(chart.layer, "path", { d: `M${points.join("L")}`, fill: "none", ...attributes });
}

function color(share) {
  if (!Number.isFinite(share)) return "#8c8c8c";
  const place = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const start = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const mixed = VIRIDIS[start].map((v, i) => Math.round(v + (place - start) * (VIRIDIS[start + 1][i] - v)));
  return `rgb(${mixed.join(",")})`;
}

// Addresses are compared as they are: one that a reader mistypes need not decode.
function address(member) {
  return `#${encodeURIComponent(member.name)}`;
}

function drawMap() {
  const map = data.maps[document.getElementById("map-choice").value];
  const chart = axes("map", range(map.points.map((p) => p[1])), range(map.points.map((p) => p[2])), map.x, map.y);
  document.getElementById("map-n").textContent = map.points.length;
  const scores = data.members.map((member) => member.accuracy).filter((value) => value !== null);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  for (const [index, a, b] of map.points) {
    const member = data.members[index];
    const link = add(chart.layer, "a", { href: address(member), "data-member": index });
    link.setAttribute("aria-label", `${member.name}, accuracy ${member.accuracy ?? "unknown"}`);
    const share = member.accuracy === null ? NaN : high > low ? (member.accuracy - low) / (high - low) : 0.5;
    add(link, "circle", { cx: chart.x(a), cy: chart.y(b), r: 6, fill: color(share) });
    add(link, "title", {}, link.getAttribute("aria-label"));
    link.addEventListener("pointerenter", () => show(index));
    link.addEventListener("pointerleave", () => show(pinned));
    link.addEventListener("focus", () => show(index));
  }
  mark(pinned);
}

function mark(index) {
  for (const link of document.querySelectorAll("#map a")) {
    link.classList.toggle("chosen", Number(link.dataset.member) === index);
  }
}

function drawSpectrum(member) {
  const all = [...data.theory, ...member.eigenvalues];
  const reach = 1.1 * Math.max(1, ...all.map(([re, im]) => Math.hypot(re, im)));
  const chart = axes("spectrum", [-reach, reach], [-reach, reach], "Re λ", "Im λ", true);
  const circle = Array.from({ length: 181 }, (_, k) => [Math.cos((k * Math.PI) / 90), Math.sin((k * Math.PI) / 90)]);
  line(chart, circle, { class: "guide" });
  for (const [re, im] of data.theory) add(chart.layer, "circle", { cx: chart.x(re), cy: chart.y(im), r: 6, class: "theory" });
  for (const [re, im] of member.eigenvalues) {
    add(chart.layer, "circle", { cx: chart.x(re), cy: chart.y(im), r: 2.6, class: "mark" });
  }
}

function drawDiagram(member) {
  const scales = range(member.bars.flatMap(([, birth, death]) => [birth, death ?? NaN]), 0.1);
  const chart = axes("diagram", scales, scales, "birth", "death");
  line(chart, [[scales[0], scales[0]], [scales[1], scales[1]]], { class: "guide" });
  for (const [dimension, birth, death] of member.bars) {
    const top = death ?? scales[1];
    const mark = add(chart.layer, "circle", { cx: chart.x(birth), cy: chart.y(top), r: 4, class: `dimension-${dimension}` });
    add(mark, "title", {}, `dimension ${dimension}: ${birth} to ${death ?? "∞"}`);
  }
}

const curvePairs = data.members.flatMap((member) => [...member.training, ...member.validation]);
const curveRanges = [range(curvePairs.map((pair) => pair[0]), 0.02), range(curvePairs.map((pair) => pair[1]), 0.03)];

function drawCurves(chosen) {
  const chart = axes("curve", ...curveRanges, "training step", "accuracy");
  for (const member of data.members) line(chart, member.training, { class: "other" });
  line(chart, chosen.training, { class: "training" });
  line(chart, chosen.validation, { class: "validation" });
  for (const [step, value] of chosen.validation) {
    add(chart.layer, "circle", { cx: chart.x(step), cy: chart.y(value), r: 2.4, class: "validation-mark" });
  }
}

function fill(id, nodes) {
  document.getElementById(id).replaceChildren(...nodes);
}

function element(name, text, attributes = {}) {
  return Object.assign(document.createElement(name), { textContent: text }, attributes);
}

function show(index) {
  const member = data.members[index];
  document.getElementById("member-name").textContent = member.name;
  document.getElementById("member-choice").value = index;
  fill("member-facts", member.facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  fill("member-files", member.files.map(([name, href]) => {
    const item = document.createElement("li");
    item.append(element("a", name, { href }));
    return item;
  }));
  const charts = { spectrum: member.eigenvalues, diagram: member.bars, curve: member.training.concat(member.validation) };
  for (const [id, content] of Object.entries(charts)) {
    document.getElementById(`${id}-box`).hidden = !content.length;
    document.getElementById(`${id}-absent`).hidden = content.length > 0;
  }
  drawSpectrum(member);
  drawDiagram(member);
  drawCurves(member);
  mark(index);
}

function follow() {
  const index = data.members.findIndex((member) => address(member) === location.hash);
  if (index >= 0) pinned = index;
  show(pinned);
}

function cellValue(row, column) {
  const cell = row.cells[column];
  return cell.dataset.full ?? cell.textContent;
}

function compare(a, b) {
  if ((a === "") !== (b === "")) return a === "" ? 1 : -1;
  const difference = Number(a) - Number(b);
  return Number.isNaN(difference) ? a.localeCompare(b, "en", { numeric: true }) : difference;
}

function sort(table, heading, column) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(cellValue(a, column), cellValue(b, column)) * (descending ? -1 : 1));
  table.tBodies[0].append(...rows);
}

function csv(table) {
  // A spreadsheet would compute text that begins so; numbers stay numbers.
  const inert = (text) => (/^'*[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
  const quote = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = [...table.rows].map((row) => [...row.cells].map((_, column) => quote(inert(cellValue(row, column)))).join(","));
  return rows.join("\n") + "\n";
}

function equip(table) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = element("button", heading.textContent, { type: "button", title: "sort" });
    heading.dataset.full = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => sort(table, heading, column));
  });
  const save = element("button", "Download CSV", { type: "button", className: "save" });
  save.addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
    element("a", "", { href: address, download: `${table.dataset.name}.csv` }).click();
    URL.revokeObjectURL(address);
  });
  table.parentElement.before(save);
}

// One write of a grid is chosen at a time; below it stands what its removal did.
function choose(grid, chosen) {
  for (const button of grid.querySelectorAll("button")) button.setAttribute("aria-pressed", button === chosen);
  grid.querySelector("output").textContent = chosen.getAttribute("aria-label");
}

for (const grid of document.querySelectorAll(".removals")) {
  for (const button of grid.querySelectorAll("button")) button.addEventListener("click", () => choose(grid, button));
}

// Okabe and Ito's colours, in the order of the figures; the last is gray as in them.
const LINES = ["#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#8c8c8c"];

// Lines in three axes, scaled by their largest distance from the middle, seen from a direction that the reader turns.
function turnable(box) {
  const svg = box.querySelector("svg"), choice = box.querySelector("select");
  const members = JSON.parse(box.dataset.lines);
  let [turn, tilt, held] = [0.6, 0.4, null];

  function draw() {
    const lines = members[choice.value][1];
    const all = lines.flatMap(([, line]) => line).filter((point) => point.every(Number.isFinite));
    const middle = [0, 1, 2].map((axis) => all.reduce((sum, point) => sum + point[axis], 0) / (all.length || 1));
    const reach = Math.max(...all.map((point) => Math.hypot(...point.map((v, axis) => v - middle[axis]))), 1e-12);
    const place = (point) => {
      const [a, b, c] = point.map((value, axis) => (value - middle[axis]) / reach);
      const across = a * Math.cos(turn) - b * Math.sin(turn), deep = a * Math.sin(turn) + b * Math.cos(turn);
      const up = c * Math.cos(tilt) - deep * Math.sin(tilt);
      return [200 + 135 * across, 150 - 135 * up].map((value) => value.toFixed(1));
    };
    svg.replaceChildren();
    for (const [axis, end] of [[1, 0, 0], [0, 1, 0], [0, 0, 1]].entries()) {
      const [x, y] = place(end.map((value, k) => middle[k] + value * reach * 0.9));
      add(svg, "path", { d: `M200,150L${x},${y}`, class: "guide" });
      add(svg, "text", { x, y, "text-anchor": "middle" }, `axis ${axis + 1}`);
    }
    for (const [k, [name, line]] of lines.entries()) {
      const points = line.filter((point) => point.every(Number.isFinite)).map(place);
      if (!points.length) continue;
      const color = LINES[k % LINES.length];
      const drawn = add(svg, "path", { d: `M${points.join("L")}`, fill: "none", stroke: color, "stroke-width": 2 });
      add(drawn, "title", {}, name);
      add(svg, "circle", { cx: points[0][0], cy: points[0][1], r: 3.5, fill: color });
    }
    const names = lines.map(([name], k) => [element("span", "", { className: "key" }), name, k]);
    box.querySelector(".legend").replaceChildren(...names.flatMap(([dot, name, k]) => {
      dot.style.background = LINES[k % LINES.length];
      return [dot, document.createTextNode(name)];
    }));
  }

  function turnBy(across, up) {
    turn += across;
    tilt = Math.min(Math.max(tilt + up, -Math.PI / 2), Math.PI / 2);
    draw();
  }

  for (const [index, [name]] of members.entries()) choice.append(element("option", name, { value: index }));
  choice.addEventListener("change", draw);
  svg.addEventListener("keydown", (event) => {
    const [across, up] = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key] ?? [0, 0];
    if (!across && !up) return;
    event.preventDefault();
    turnBy(across, up);
  });
  svg.addEventListener("pointerdown", (event) => {
    held = [event.clientX, event.clientY];
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (!held) return;
    turnBy((event.clientX - held[0]) / 120, (event.clientY - held[1]) / 120);
    held = [event.clientX, event.clientY];
  });
  svg.addEventListener("pointerup", () => { held = null; });
  draw();
}

// Two columns of a journal cannot be read on a narrow screen: a tap shows such a figure at its own width.
const TWO_COLUMNS = 600;

function enlargeable(picture) {
  const image = picture.querySelector("img"), caption = picture.nextElementSibling;
  if (!(image.getAttribute("width") >= TWO_COLUMNS)) return;
  const ariaLabel = `Enlarge ${caption.querySelector("b").textContent}`;
  const button = element("button", "Enlarge", { type: "button", className: "enlarge", ariaPressed: "false", ariaLabel });
  const toggle = () => {
    const large = picture.classList.toggle("large");
    button.ariaPressed = String(large);
    // What scrolls can be reached by keyboard.
    if (large) picture.tabIndex = 0;
    else picture.removeAttribute("tabindex");
  };
  button.addEventListener("click", toggle);
  image.addEventListener("click", toggle);
  picture.after(button);
}

document.querySelectorAll(".picture").forEach(enlargeable);
document.querySelectorAll(".turnable").forEach(turnable);
document.querySelectorAll("table.data").forEach(equip);

function explore() {
  for (const [index, map] of data.maps.entries()) {
    document.getElementById("map-choice").append(element("option", map.name, { value: index }));
  }
  for (const [index, member] of data.members.entries()) {
    document.getElementById("member-choice").append(element("option", member.name, { value: index }));
  }
  document.getElementById("map-choice").addEventListener("change", drawMap);
  document.getElementById("member-choice").addEventListener("change", (event) => {
    location.hash = address(data.members[event.target.value]);
  });
  window.addEventListener("hashchange", follow);
  drawMap();
  follow();
}

if (data.members.length) explore();
