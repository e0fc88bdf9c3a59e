// -------------------------------------------------------------------------------- frames of figures

function nice(low, high, count) {
  if (!(high > low)) { low -= 0.5; high += 0.5; }
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const ticks = [];
  for (let i = Math.floor(low / step); i <= Math.ceil(high / step); i++) ticks.push(+(i * step).toPrecision(12));
  return ticks;
}
const RATE = { low: 0, high: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1].map((v) => [v, v.toFixed(1)]) };
const scale = (ticks, title) => ({ low: ticks[0], high: ticks[ticks.length - 1], ticks: ticks.map((t) => [t, String(t)]), title });

// Axes with room for data: returns the drawing and the two scales.
function axes(figure, options) {
  const width = Math.max(240, Math.floor(figure.clientWidth));
  const height = Math.round(options.height(width));
  const m = { top: 12, right: 14, bottom: 46, left: 48, ...options.margins };
  const x = (v) => m.left + (options.x.at ? options.x.at(v) : (v - options.x.low) / (options.x.high - options.x.low)) * (width - m.left - m.right);
  const y = (v) => height - m.bottom - ((v - options.y.low) / (options.y.high - options.y.low)) * (height - m.top - m.bottom);
  const svg = sv("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": options.title });
  for (const [v, text] of options.y.ticks) {
    svg.append(sv("line", { class: "grid", x1: m.left, x2: width - m.right, y1: y(v), y2: y(v) }),
      sv("text", { x: m.left - 8, y: y(v) + 4, "text-anchor": "end" }, text));
  }
  for (const [v, text] of options.x.ticks) {
    svg.append(sv("line", { class: "grid", x1: x(v), x2: x(v), y1: m.top, y2: height - m.bottom }),
      sv("text", { x: x(v), y: height - m.bottom + 18, "text-anchor": "middle" }, text));
  }
  svg.append(sv("line", { class: "axis", x1: m.left, x2: width - m.right, y1: height - m.bottom, y2: height - m.bottom }),
    sv("text", { class: "label", x: (m.left + width - m.right) / 2, y: height - 6, "text-anchor": "middle" }, options.x.title));
  if (options.y.title) {
    const middle = (m.top + height - m.bottom) / 2;
    const title = clip(options.y.title, Math.floor((height - m.top) / 6.2)); // an axis says no more than fits along it
    svg.append(sv("text", { class: "label", transform: `translate(13 ${middle}) rotate(-90)`, "text-anchor": "middle" }, title));
  }
  return { svg, x, y, width, height, m };
}
function halfLine(box, measure) {
  if (measure !== "gap") box.svg.append(sv("line", { class: "half", x1: box.m.left, x2: box.width - box.m.right, y1: box.y(0.5), y2: box.y(0.5) }));
}

// A figure's parts: the drawing, its legend, its numbers, and both to take away.
function put(figure, svg, lines, header, rows, partial) {
  const parts = svg ? [reachable(svg)] : [el("p", { class: "note" }, "Nothing to draw: choose aligners or another split above.")];
  if (svg && lines.length) {
    parts.push(el("ul", { class: "legend" }, lines.map((line) => el("li", null, swatch(line), name(line.name)))));
  }
  if (svg && partial) parts.push(el("p", { class: "small" }, "Hollow: incomplete over seeds, and not ranked."));
  if (rows.length) {
    parts.push(el("details", { class: "numbers" }, el("summary", null, "The numbers, and files"),
      el("p", { class: "buttons" },
        el("button", { type: "button", class: "save-figure", onclick: () => save(`${fileName(figure.id)}.svg`, "image/svg+xml", standalone(svg, lines)) }, "Figure as SVG"),
        el("button", { type: "button", class: "save-numbers", onclick: () => save(`${fileName(figure.id)}.csv`, "text/csv", csv([header, ...rows])) }, "Numbers as CSV")),
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The numbers of this figure" },
        grid(header, rows, "The numbers of the figure above"))));
  }
  // Whoever had opened the numbers keeps them open.
  const open = figure.querySelector("details.numbers")?.open;
  figure.replaceChildren(...parts);
  if (open && rows.length) figure.querySelector("details.numbers").open = true;
}
function grid(header, rows, caption) {
  return el("table", null, el("caption", null, caption),
    el("thead", null, el("tr", null, header.map((h, i) => el("th", { scope: "col", class: i ? "number" : null }, h)))),
    el("tbody", null, rows.map((row) => el("tr", null, row.map((cell, i) =>
      i ? el("td", { class: "number" }, cell) : el("th", { scope: "row" }, name(cell)))))));
}

// Labels beside points: at the first of several places where they cover nothing that was drawn, else left to
// the legend. `bars` are rectangles that are taken, such as whiskers.
function placeLabels(svg, box, points, bars) {
  const taken = [...points.map((p) => ({ x: p.x - 6, y: p.y - 6, w: 12, h: 12 })), ...bars];
  const free = (r) => !taken.some((t) => r.x < t.x + t.w && t.x < r.x + r.w && r.y < t.y + t.h && t.y < r.y + r.h);
  for (const p of points) {
    const text = clip(p.text, 24);
    const w = 7.2 * text.length + 4, h = 14;
    const spots = [[9, -7], [-9 - w, -7], [-w / 2, -22], [-w / 2, 9], [8, -20], [8, 7], [-8 - w, -20], [-8 - w, 7],
      [8, -34], [8, 21], [-8 - w, -34], [-8 - w, 21], [8, -60], [-8 - w, -60], [8, 48], [-8 - w, 48]];
    const at = spots.map(([dx, dy]) => ({ x: p.x + dx, y: p.y + dy, w, h })).find((r) =>
      r.x >= box.m.left && r.x + w <= box.width - 2 && r.y >= box.m.top && r.y + h <= box.height - box.m.bottom && free(r));
    if (!at) continue;
    taken.push(at);
    svg.append(sv("text", { class: "label", x: at.x + 2, y: at.y + 11, "aria-hidden": "true" }, text));
  }
}
const upright = (x, y1, y2) => ({ x: x - 1.5, y: Math.min(y1, y2), w: 3, h: Math.abs(y2 - y1) });
const level = (y, x1, x2) => ({ x: Math.min(x1, x2), y: y - 1.5, w: Math.abs(x2 - x1), h: 3 });
