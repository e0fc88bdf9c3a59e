// What all parts of the script share. All text from runs is untrusted: it only ever becomes a text node
// or an attribute's value, never markup.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const state = {
  setting: 0, ratio: 0, measure: "", cost: "", across: "", up: "", quantity: "", judge: 0, whose: 0,
  find: "", fate: "", seed: "", prompt: 0, shown: new Set(),
};

const setting = () => data.settings[state.setting];
const lineOf = (c) => setting().lines[c.l];
const cellsAt = (ratio) => setting().cells.filter((c) => c.r === ratio);
const visible = (cells) => cells.filter((c) => state.shown.has(lineOf(c).name));
const ratioName = () => setting().ratios[state.ratio];
const used = (cells) => setting().lines.filter((_, i) => cells.some((c) => c.l === i));
const pct = (x) => (100 * x).toFixed(x < 0.0995 && x > 0 ? 1 : 0) + "%";
const two = (x) => x.toFixed(2);
const ci = (v) => `${two(v[0])} [${two(v[1])}, ${two(v[2])}]`;
const short = (x) => (x === null || x === undefined ? "" : Math.abs(x) >= 1000 ? x.toExponential(1) : x.toFixed(2));
const clip = (s, n) => (Array.from(s).length > n ? Array.from(s).slice(0, n - 1).join("") + "\u2026" : s);

// Measures of the leaderboard; with three groups and more also each group's own win rate.
function measures() {
  const groups = setting().groups.length > 2 ? setting().groups.map((g) => [`group/${g}`, `win rate of ${g}`]) : [];
  return [...Object.entries(data.measures), ...groups];
}
const measureName = (measure) => measures().find(([key]) => key === measure)[1];
// Estimate, low and high of a cell; null where nothing could be averaged.
function valueOf(c, measure) {
  if (!measure.startsWith("group/")) return c.v[measure];
  const group = c.groups.find((g) => `group/${g.name}` === measure);
  return group ? group.ci : null;
}

function add(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== ""));
  return node;
}
const el = (tag, attributes, ...children) => add(document.createElement(tag), attributes, children);
const sv = (tag, attributes, ...children) => add(document.createElementNS(SVG, tag), attributes, children);
// A long name may break after an underscore.
const name = (text) => el("bdi", null, text.split(/(?<=_)/).flatMap((part, i) => (i ? [el("wbr"), part] : [part])));

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  select.value = String(chosen);
  select.disabled = options.length < 2;
}

// ------------------------------------------------------------------------------------------ markers

const SHAPES = {
  circle: "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z",
  square: "M-4 -4H4V4H-4Z",
  triangle: "M0 -5.2L5 3.8H-5Z",
  diamond: "M0 -5.6L5 0L0 5.6L-5 0Z",
  down: "M0 5.2L5 -3.8H-5Z",
  plus: "M-1.8 -5H1.8V-1.8H5V1.8H1.8V5H-1.8V1.8H-5V-1.8H-1.8Z",
  cross: "M-5 -2.6L-2.6 -5L0 -2.4L2.6 -5L5 -2.6L2.4 0L5 2.6L2.6 5L0 2.4L-2.6 5L-5 2.6L-2.4 0Z",
};
const shape = (kind, x, y, partial) =>
  sv("path", { class: "mark" + (partial ? " partial" : ""), d: SHAPES[kind], transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });
const mark = (line, x, y, partial) => shape(line.m, x, y, partial);
const swatch = (line) =>
  sv("svg", { class: `swatch c${line.c}`, width: 34, height: 14, viewBox: "0 0 34 14", "aria-hidden": "true" },
    sv("path", { class: "line", d: "M1 7H33", "stroke-dasharray": line.d }), mark(line, 17, 7));

// --------------------------------------------------------------------------------- points and tips

// A point says what it is to a pointer that is over it and to a keyboard that is at it.
const tip = $("tip");
function show(text, x, y, height) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x, document.documentElement.clientWidth - box.width - 6))}px`;
  tip.style.top = `${y + height + box.height > innerHeight ? y - box.height - 10 : y + height}px`;
}
const hideTip = () => { tip.hidden = true; };
function tipped(node, text) {
  node.classList.add("point");
  add(node, { role: "img", "aria-label": text.replaceAll("\n", "; "), tabindex: -1 }, []);
  const follow = (event) => show(text, event.clientX + 14, event.clientY, 16);
  node.addEventListener("pointerenter", follow);
  node.addEventListener("pointermove", follow);
  node.addEventListener("pointerleave", hideTip);
  node.addEventListener("focus", () => {
    const box = node.getBoundingClientRect();
    show(text, box.right + 6, box.top, box.height + 4);
  });
  node.addEventListener("blur", hideTip);
  return node;
}
// The line that is pointed at stands out: the others fade.
function focusable(group, root) {
  const only = () => { for (const other of root.querySelectorAll("g.series")) other.classList.toggle("dim", other !== group); };
  const all = () => { for (const other of root.querySelectorAll("g.series")) other.classList.remove("dim"); };
  group.addEventListener("pointerenter", only);
  group.addEventListener("pointerleave", all);
  group.addEventListener("focusin", only);
  group.addEventListener("focusout", all);
  return group;
}
// One stop of the tab key for each drawing; arrows go from point to point, up and down from line to line.
function reachable(svg) {
  const points = [...svg.querySelectorAll(".point")];
  if (!points.length) return svg;
  svg.setAttribute("role", "group"); // a lone image has no parts that could be reached
  points[0].setAttribute("tabindex", 0);
  svg.addEventListener("keydown", (event) => {
    const here = points.indexOf(document.activeElement);
    const starts = points.map((p, i) => (i === 0 || p.closest("g") !== points[i - 1].closest("g") ? i : -1)).filter((i) => i >= 0);
    const line = starts.filter((i) => i <= here).length - 1;
    const there = {
      ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: points.length - 1,
      ArrowDown: starts[line + 1], ArrowUp: starts[line - 1],
    }[event.key];
    if (here < 0 || !points[there]) return;
    event.preventDefault();
    points[here].setAttribute("tabindex", -1);
    points[there].setAttribute("tabindex", 0);
    points[there].focus();
  });
  return svg;
}

// ------------------------------------------------------------------------------------------- saving

function save(file, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: url, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
// Text that a spreadsheet might take for a formula is quoted for it.
function csv(rows) {
  const cell = (value) => {
    const text = String(value);
    const safe = /^[=+\-@\t\r]/.test(text) && !Number.isFinite(Number(text)) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
}
const LOOK = [
  "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "stroke-opacity", "opacity", "paint-order",
  "font-family", "font-size", "font-variant-numeric", "text-anchor",
];
// A drawing for a file: with its looks written into it, its legend below, on paper of the page's colour.
function standalone(svg, lines) {
  const whole = svg.cloneNode(true), from = [svg, ...svg.querySelectorAll("*")], to = [whole, ...whole.querySelectorAll("*")];
  to.forEach((node, i) => {
    const looks = getComputedStyle(from[i]);
    for (const key of LOOK) if (looks.getPropertyValue(key)) node.setAttribute(key, looks.getPropertyValue(key));
    for (const key of ["class", "tabindex", "role", "aria-label"]) node.removeAttribute(key);
  });
  const width = Number(svg.getAttribute("width")), height = Number(svg.getAttribute("height"));
  const page = getComputedStyle(document.body);
  let x = 12, y = height + 14;
  for (const line of lines) {
    const wide = 44 + 7 * Array.from(line.name).length;
    if (x > 12 && x + wide > width) { x = 12; y += 20; }
    const colour = getComputedStyle(document.documentElement).getPropertyValue(`--c${line.c}`).trim();
    whole.append(sv("path", { d: `M${x} ${y}h32`, stroke: colour, "stroke-width": 2.2, "stroke-dasharray": line.d, fill: "none" }),
      sv("path", { d: SHAPES[line.m], fill: colour, transform: `translate(${x + 16} ${y})` }),
      sv("text", { x: x + 38, y: y + 4, fill: page.color, "font-size": 12, "font-family": page.fontFamily }, line.name));
    x += wide;
  }
  const tall = lines.length ? y + 14 : height;
  whole.prepend(sv("title", null, svg.getAttribute("aria-label")), sv("rect", { width, height: tall, fill: page.backgroundColor }));
  add(whole, { xmlns: SVG, height: tall, viewBox: `0 0 ${width} ${tall}` }, []);
  return new XMLSerializer().serializeToString(whole);
}
const fileName = (what) => [what, setting().label, ratioName().label].join("-").replace(/[^A-Za-z0-9.]+/g, "-").replace(/-+$/, "");
