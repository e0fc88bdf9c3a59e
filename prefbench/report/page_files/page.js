// Draws the figures and the reader of responses, and sorts and filters the table. All text from runs
// is untrusted: it only ever becomes a text node or an attribute's value, never markup.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const state = { setting: 0, ratio: 0, measure: "minority_win_rate", quantity: "", seed: 0, prompt: 0, shown: new Set() };

  const setting = () => data.settings[state.setting];
  const cellsAt = (ratio) => setting().cells.filter((c) => c.r === ratio);
  const visible = (cells) => cells.filter((c) => state.shown.has(setting().lines[c.l].name));
  const ratioName = () => setting().ratios[state.ratio];
  const pct = (x) => (100 * x).toFixed(x < 0.0995 && x > 0 ? 1 : 0) + "%";
  const two = (x) => x.toFixed(2);
  const ci = (v) => `${two(v[0])} [${two(v[1])}, ${two(v[2])}]`;
  const short = (x) => (x === null || x === undefined ? "" : Math.abs(x) >= 1000 ? x.toExponential(1) : x.toFixed(2));
  const clip = (s, n) => (Array.from(s).length > n ? Array.from(s).slice(0, n - 1).join("") + "\u2026" : s);

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

  // ------------------------------------------------------------------------------------- markers

  const SHAPES = {
    circle: "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z",
    square: "M-4 -4H4V4H-4Z",
    triangle: "M0 -5.2L5 3.8H-5Z",
    diamond: "M0 -5.6L5 0L0 5.6L-5 0Z",
    down: "M0 5.2L5 -3.8H-5Z",
    plus: "M-1.8 -5H1.8V-1.8H5V1.8H1.8V5H-1.8V1.8H-5V-1.8H-1.8Z",
    cross: "M-5 -2.6L-2.6 -5L0 -2.4L2.6 -5L5 -2.6L2.4 0L5 2.6L2.6 5L0 2.4L-2.6 5L-5 2.6L-2.4 0Z",
  };
  const mark = (line, x, y, partial) =>
    sv("path", { class: "mark" + (partial ? " partial" : ""), d: SHAPES[line.m], transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });
  const swatch = (line) =>
    sv("svg", { class: `swatch c${line.c}`, width: 34, height: 14, viewBox: "0 0 34 14", "aria-hidden": "true" },
      sv("path", { class: "line", d: "M1 7H33", "stroke-dasharray": line.d }), mark(line, 17, 7));

  // ----------------------------------------------------------------------------------------- tips

  const tip = $("tip");
  function tipped(node, text) {
    node.addEventListener("pointerenter", (event) => {
      tip.textContent = text;
      tip.hidden = false;
      move(event);
    });
    node.addEventListener("pointermove", move);
    node.addEventListener("pointerleave", () => { tip.hidden = true; });
    return node;
  }
  function move(event) {
    const box = tip.getBoundingClientRect();
    const x = Math.min(event.clientX + 14, document.documentElement.clientWidth - box.width - 6);
    const y = event.clientY + 16 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 16;
    tip.style.left = `${Math.max(4, x)}px`;
    tip.style.top = `${y}px`;
  }
  // The line under the pointer stands out: the others fade.
  function focusable(group, root) {
    group.addEventListener("pointerenter", () => {
      for (const other of root.querySelectorAll("g.series")) other.classList.toggle("dim", other !== group);
    });
    group.addEventListener("pointerleave", () => {
      for (const other of root.querySelectorAll("g.series")) other.classList.remove("dim");
    });
    return group;
  }

  // --------------------------------------------------------------------------------------- frames

  function nice(low, high, count) {
    if (!(high > low)) { low -= 0.5; high += 0.5; }
    const raw = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
    const ticks = [];
    for (let i = Math.floor(low / step); i <= Math.ceil(high / step); i++) ticks.push(+(i * step).toPrecision(12));
    return ticks;
  }

  // Axes with room for data: returns the drawing and the two scales.
  function axes(figure, options) {
    const width = Math.max(240, Math.floor(figure.clientWidth));
    const height = options.height(width);
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
      svg.append(sv("text", { class: "label", transform: `translate(13 ${middle}) rotate(-90)`, "text-anchor": "middle" }, options.y.title));
    }
    return { svg, x, y, width, height, m };
  }
  const RATE = { low: 0, high: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1].map((v) => [v, v.toFixed(1)]) };

  function put(figure, svg, lines, header, rows, partial) {
    const parts = svg ? [svg] : [el("p", { class: "note" }, "Nothing to draw: choose aligners or another split above.")];
    if (svg && lines.length) {
      parts.push(el("ul", { class: "legend" }, lines.map((line) => el("li", null, swatch(line), name(line.name)))));
    }
    if (svg && partial) parts.push(el("p", { class: "small" }, "Hollow: incomplete over seeds, and not ranked."));
    if (rows.length) {
      parts.push(el("details", { class: "numbers" }, el("summary", null, "The numbers"),
        el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The numbers of this figure" },
          grid(header, rows, figure.dataset.caption || "The numbers of the figure above"))));
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
  const used = (cells) => setting().lines.filter((_, i) => cells.some((c) => c.l === i));

  // Labels beside points: at the first of several places where they cover nothing.
  function placeLabels(svg, box, points) {
    const taken = points.map((p) => ({ x: p.x - 6, y: p.y - 6, w: 12, h: 12 }));
    for (const p of points) {
      const text = clip(p.text, 24);
      const w = 6.6 * text.length + 4, h = 14;
      const spots = [[9, -7], [-9 - w, -7], [-w / 2, -22], [-w / 2, 9], [8, -20], [8, 7], [-8 - w, -20], [-8 - w, 7]];
      for (const [dx, dy] of spots) {
        const r = { x: p.x + dx, y: p.y + dy, w, h };
        const inside = r.x >= box.m.left && r.x + w <= box.width - 2 && r.y >= box.m.top && r.y + h <= box.height - box.m.bottom;
        if (inside && !taken.some((t) => r.x < t.x + t.w && t.x < r.x + w && r.y < t.y + t.h && t.y < r.y + h)) {
          taken.push(r);
          svg.append(sv("text", { class: "label", x: r.x + 2, y: r.y + 11 }, text));
          break;
        }
      }
    }
  }

  // -------------------------------------------------------------------------------------- figures

  function drawHeadline() {
    const figure = $("headline"), ratios = setting().ratios, measure = state.measure;
    const cells = visible(setting().cells).filter((c) => c.v[measure]);
    $("caveat").textContent = "";
    if (!cells.length) return put(figure, null, [], [], []);
    const logs = ratios.map((r) => -Math.log(r.value));
    const low = Math.min(...logs), high = Math.max(...logs), pad = high > low ? 0.06 * (high - low) : 1;
    const wide = figure.clientWidth > 720 && ratios.length > 1;
    const lines = used(cells);
    const box = axes(figure, {
      title: `${data.measures[measure]} against the minority's share; the numbers are below`,
      height: (w) => Math.max(300, Math.min(440, w * 0.5)),
      margins: { right: wide ? 190 : 14 },
      x: { at: (i) => (logs[i] - low + pad) / (high - low + 2 * pad), ticks: ratios.map((r, i) => [i, r.label]), title: "majority : minority" },
      y: { ...RATE, title: data.measures[measure] },
    });
    if (measure !== "gap") box.svg.append(sv("line", { class: "half", x1: box.m.left, x2: box.width - box.m.right, y1: box.y(0.5), y2: box.y(0.5) }));
    box.svg.classList.toggle("many", lines.length > 8); // else bands pile up to a fog
    const ends = [];
    lines.forEach((line, k) => {
      const own = cells.filter((c) => setting().lines[c.l] === line).sort((a, b) => a.r - b.r);
      // With one split there is no line to follow, and points side by side are easier to tell apart.
      const shift = ratios.length > 1 ? 0 : (k - (lines.length - 1) / 2) * Math.min(70, (box.width - box.m.left - box.m.right) / (lines.length + 1));
      const x = (c) => box.x(c.r) + shift;
      const group = sv("g", { class: `series c${line.c}` });
      if (own.length > 1) {
        const upper = own.map((c) => `${x(c)} ${box.y(c.v[measure][2])}`), lower = own.map((c) => `${x(c)} ${box.y(c.v[measure][1])}`).reverse();
        group.append(sv("path", { class: "band", d: `M${[...upper, ...lower].join("L")}Z` }),
          sv("path", { class: "line", "stroke-dasharray": line.d, d: `M${own.map((c) => `${x(c)} ${box.y(c.v[measure][0])}`).join("L")}` }));
      }
      for (const c of own) {
        if (own.length === 1) group.append(sv("line", { class: "whisker", x1: x(c), x2: x(c), y1: box.y(c.v[measure][1]), y2: box.y(c.v[measure][2]) }));
        group.append(tipped(mark(line, x(c), box.y(c.v[measure][0]), !c.ok), `${line.name}, ${ratios[c.r].label}\n${data.measures[measure]} ${ci(c.v[measure])}\n${about(c)}`));
      }
      box.svg.append(focusable(group, box.svg));
      const last = own[own.length - 1];
      ends.push({ line, y: box.y(last.v[measure][0]), x: x(last) });
    });
    if (wide) {
      ends.sort((a, b) => a.y - b.y);
      const top = box.m.top + 4, bottom = box.height - box.m.bottom;
      ends.forEach((e, i) => { e.to = Math.max(e.y, i ? ends[i - 1].to + 15 : top); });
      for (let i = ends.length - 1, floor = bottom; i >= 0; i--) { ends[i].to = Math.min(ends[i].to, floor); floor = ends[i].to - 15; }
      const at = box.width - box.m.right + 8;
      for (const e of ends) {
        box.svg.append(sv("path", { class: "grid", fill: "none", d: `M${e.x + 7} ${e.y}L${at - 3} ${e.to}` }),
          sv("text", { class: "label", x: at, y: e.to + 4 }, clip(e.line.name, 27)));
      }
    }
    const rows = lines.map((line) => [line.name, ...ratios.map((_, i) => {
      const c = cells.find((one) => one.r === i && setting().lines[one.l] === line);
      return c ? ci(c.v[measure]) + (c.ok ? "" : " (incomplete)") : "";
    })]);
    put(figure, box.svg, lines, ["aligner", ...ratios.map((r) => r.label)], rows, cells.some((c) => !c.ok));
    const seeds = cells.map((c) => c.seeds), few = Math.min(...seeds), many = Math.max(...seeds);
    $("caveat").textContent = `${few === many ? few : `${few} to ${many}`} seed${many === 1 ? "" : "s"} per point` +
      (few < 5 ? ", too few to say much about a method" : "") + (data.few ? `; ${data.few}` : "") +
      `. Differences under ${two(Math.max(...cells.map((c) => c.mde)))} between two aligners may go unseen where their seeds disagree most.`;
  }
  const rank = (c) => (c.rank ? `rank ${c.rank[0]} of the learners, not ruled out ${c.rank[1]} to ${c.rank[2]}` : `${c.role}, not ranked`);
  const about = (c) => (c.ok ? `${rank(c)}; ` : `${c.status}; `) + `${c.seeds} seed${c.seeds === 1 ? "" : "s"}, ${c.prompts} prompts, differences under ${two(c.mde)} may go unseen${c.near ? `; ${c.near}` : ""}`;

  function whiskers(group, box, x, y) {
    if (x[1] !== x[2]) group.append(sv("line", { class: "whisker", x1: box.x(x[1]), x2: box.x(x[2]), y1: box.y(y[0]), y2: box.y(y[0]) }));
    group.append(sv("line", { class: "whisker", x1: box.x(x[0]), x2: box.x(x[0]), y1: box.y(y[1]), y2: box.y(y[2]) }));
  }

  function drawScatter() {
    const figure = $("scatter");
    const cells = visible(cellsAt(state.ratio)).filter((c) => c.v.minority_win_rate && c.v.majority_win_rate);
    if (!cells.length) return put(figure, null, [], [], []);
    const box = axes(figure, {
      title: "minority win rate against majority win rate; the numbers are below",
      height: (w) => Math.min(460, w * 0.82),
      x: { ...RATE, title: "majority win rate" }, y: { ...RATE, title: "minority win rate" },
    });
    box.svg.append(sv("line", { class: "half", x1: box.x(0), y1: box.y(0), x2: box.x(1), y2: box.y(1) }));
    const front = [];
    for (const c of cells.filter((one) => one.ok).sort((a, b) => b.v.majority_win_rate[0] - a.v.majority_win_rate[0] || b.v.minority_win_rate[0] - a.v.minority_win_rate[0])) {
      if (!front.length || c.v.minority_win_rate[0] > front[0].v.minority_win_rate[0]) front.unshift(c);
    }
    if (front.length) {
      let d = `M${box.x(0)} ${box.y(front[0].v.minority_win_rate[0])}`;
      for (const c of front) d += `V${box.y(c.v.minority_win_rate[0])}H${box.x(c.v.majority_win_rate[0])}`;
      box.svg.append(sv("path", { class: "front", d: `${d}V${box.y(0)}` }));
    }
    for (const c of cells) {
      const line = setting().lines[c.l], x = c.v.majority_win_rate, y = c.v.minority_win_rate;
      const group = sv("g", { class: `series c${line.c}` });
      whiskers(group, box, x, y);
      group.append(tipped(mark(line, box.x(x[0]), box.y(y[0]), !c.ok), `${line.name}\nmajority ${ci(x)}\nminority ${ci(y)}\n${about(c)}`));
      box.svg.append(focusable(group, box.svg));
    }
    placeLabels(box.svg, box, cells.map((c) => ({ x: box.x(c.v.majority_win_rate[0]), y: box.y(c.v.minority_win_rate[0]), text: setting().lines[c.l].name })));
    put(figure, box.svg, used(cells), ["aligner", "majority", "minority", "on the front"],
      cells.map((c) => [setting().lines[c.l].name, ci(c.v.majority_win_rate), ci(c.v.minority_win_rate), front.includes(c) ? "yes" : c.ok ? "no" : "incomplete"]),
      cells.some((c) => !c.ok));
  }

  function drawGap() {
    const figure = $("gap");
    const cells = visible(cellsAt(state.ratio)).filter((c) => c.v.gap).sort((a, b) => a.v.gap[0] - b.v.gap[0]);
    if (!cells.length) return put(figure, null, [], [], []);
    const step = 34;
    const box = axes(figure, {
      title: "gap between the best and the worst group; the numbers are below",
      height: () => step * cells.length + 62, margins: { left: 8, right: 14 },
      x: { ...RATE, title: "gap in win rate" }, y: { low: 0, high: 1, ticks: [] },
    });
    cells.forEach((c, i) => {
      const line = setting().lines[c.l], v = c.v.gap, top = box.m.top + i * step;
      box.svg.append(sv("text", { class: "label", x: box.m.left + 2, y: top + 11 }, clip(line.name, 40)),
        sv("text", { class: "value", x: box.width - box.m.right, y: top + 11, "text-anchor": "end" }, ci(v)));
      const group = sv("g", { class: `series c${line.c}` });
      group.append(sv("rect", { class: "bar" + (c.ok ? "" : " partial"), x: box.x(0), y: top + 16, width: Math.max(1, box.x(v[0]) - box.x(0)), height: 11 }),
        sv("line", { class: "over", x1: box.x(v[1]), x2: box.x(v[2]), y1: top + 21.5, y2: top + 21.5 }));
      box.svg.append(tipped(focusable(group, box.svg), `${line.name}\ngap ${ci(v)}\nworst off: ${c.worst}\n${about(c)}`));
    });
    put(figure, box.svg, [], ["aligner", "gap", "worst off"], cells.map((c) => [setting().lines[c.l].name, ci(c.v.gap), name(c.worst)]), cells.some((c) => !c.ok));
  }

  function drawKl() {
    const figure = $("kl"), measure = state.measure;
    const cells = visible(cellsAt(state.ratio)).filter((c) => c.v[measure] && c.kl !== null);
    if (!cells.length) return put(figure, null, [], [], []);
    const ticks = nice(Math.min(0, ...cells.map((c) => c.kl)), Math.max(...cells.map((c) => c.kl), 0.1), 5);
    const box = axes(figure, {
      title: `${data.measures[measure]} against KL; the numbers are below`,
      height: (w) => Math.min(400, w * 0.72),
      x: { low: ticks[0], high: ticks[ticks.length - 1], ticks: ticks.map((t) => [t, String(t)]), title: "KL from the reference policy (nats per response)" },
      y: { ...RATE, title: data.measures[measure] },
    });
    if (measure !== "gap") box.svg.append(sv("line", { class: "half", x1: box.m.left, x2: box.width - box.m.right, y1: box.y(0.5), y2: box.y(0.5) }));
    for (const c of cells) {
      const line = setting().lines[c.l], y = c.v[measure];
      const group = sv("g", { class: `series c${line.c}` });
      whiskers(group, box, [c.kl, c.kl, c.kl], y);
      group.append(tipped(mark(line, box.x(c.kl), box.y(y[0]), !c.ok), `${line.name}\nKL ${two(c.kl)}\n${data.measures[measure]} ${ci(y)}\n${about(c)}`));
      box.svg.append(focusable(group, box.svg));
    }
    placeLabels(box.svg, box, cells.map((c) => ({ x: box.x(c.kl), y: box.y(c.v[measure][0]), text: setting().lines[c.l].name })));
    put(figure, box.svg, used(cells), ["aligner", "KL", data.measures[measure]], cells.map((c) => [setting().lines[c.l].name, two(c.kl), ci(c.v[measure])]), cells.some((c) => !c.ok));
  }

  function drawTraining() {
    const figure = $("training");
    const known = new Set(setting().cells.flatMap((c) => Object.keys(c.curves)));
    $("training-section").hidden = known.size === 0;
    if (!known.size) return;
    const names = Object.keys(data.curves).filter((q) => known.has(q));
    if (!known.has(state.quantity)) state.quantity = names[0];
    fill($("quantity"), names.map((q) => [q, data.curves[q]]), state.quantity);
    const cells = visible(cellsAt(state.ratio)).filter((c) => c.curves[state.quantity]);
    if (!cells.length) {
      put(figure, null, [], [], []);
      figure.querySelector(".note").textContent = "None of the aligners shown has a known training history at this split.";
      return;
    }
    const curves = cells.map((c) => c.curves[state.quantity]);
    const yt = nice(Math.min(...curves.flatMap((k) => k.low)), Math.max(...curves.flatMap((k) => k.high)), 5);
    const xt = nice(1, Math.max(...curves.flatMap((k) => k.steps)), 5).filter((t) => t >= 0);
    const box = axes(figure, {
      title: `${state.quantity} in training; the numbers are below`,
      height: (w) => Math.min(400, w * 0.72),
      x: { low: xt[0], high: xt[xt.length - 1], ticks: xt.map((t) => [t, String(t)]), title: "iteration" },
      y: { low: yt[0], high: yt[yt.length - 1], ticks: yt.map((t) => [t, String(t)]), title: state.quantity },
    });
    for (const c of cells) {
      const line = setting().lines[c.l], k = c.curves[state.quantity], n = k.steps.length;
      const at = (i, v) => `${box.x(k.steps[i]).toFixed(1)} ${box.y(v[i]).toFixed(1)}`;
      const indices = k.steps.map((_, i) => i);
      const group = sv("g", { class: `series c${line.c}` },
        sv("path", { class: "band", d: `M${indices.map((i) => at(i, k.high)).join("L")}L${indices.map((i) => at(i, k.low)).reverse().join("L")}Z` }),
        sv("path", { class: "line", "stroke-dasharray": line.d, d: `M${indices.map((i) => at(i, k.mean)).join("L")}` }),
        mark(line, box.x(k.steps[n - 1]), box.y(k.mean[n - 1]), !c.ok));
      box.svg.append(tipped(focusable(group, box.svg), `${line.name}\n${state.quantity} ends at ${short(k.mean[n - 1])} (${short(k.low[n - 1])} to ${short(k.high[n - 1])} over seeds)`));
    }
    put(figure, box.svg, used(cells), ["aligner", "first", "last", "lowest seed", "highest seed"], cells.map((c) => {
      const k = c.curves[state.quantity], n = k.mean.length - 1;
      return [setting().lines[c.l].name, short(k.mean[0]), short(k.mean[n]), short(k.low[n]), short(k.high[n])];
    }), cells.some((c) => !c.ok));
  }

  // ---------------------------------------------------------------------------------------- tiles

  function drawTiles() {
    const ranked = cellsAt(state.ratio).filter((c) => c.ok && c.v.gap);
    const worst = (c) => c.v.worst_group_win_rate;
    const label = (c) => el("p", null, swatch(setting().lines[c.l]), " ", name(setting().lines[c.l].name));
    const tile = (title, c, v, small) => el("div", { class: "tile" }, el("h3", null, title),
      el("div", { class: "big" }, two(v[0]), " ", el("span", { class: "small" }, `[${two(v[1])}, ${two(v[2])}]`)), label(c), el("p", { class: "small" }, small));
    const best = (cells) => cells.filter((c) => c.rank).reduce((a, c) => (!a || c.rank[0] < a.rank[0] ? c : a), null);
    const tiles = [];
    // An aligner that was told the groups is no rival of one that was not, so each has its own tile.
    const blind = best(ranked.filter((c) => !/group|oracle/.test(setting().lines[c.l].needs)));
    const told = best(ranked.filter((c) => /group|oracle/.test(setting().lines[c.l].needs)));
    if (blind) tiles.push(tile("Best for the worst-off group, groups unknown", blind, worst(blind), `needs ${setting().lines[blind.l].needs}; ${rank(blind)}`));
    if (told) tiles.push(tile("Best for the worst-off group, told the groups", told, worst(told), `needs ${setting().lines[told.l].needs}; ${rank(told)}`));
    const gap = ranked.reduce((a, c) => (!a || c.v.gap[0] > a.v.gap[0] ? c : a), null);
    if (gap) tiles.push(tile("Widest gap between groups", gap, gap.v.gap, `left behind: ${gap.worst}, which wins ${two(worst(gap)[0])}`));
    $("tiles").replaceChildren(...(tiles.length ? tiles : [el("p", { class: "note" }, "No complete row at this split: nothing is ranked.")]));
  }

  // --------------------------------------------------------------------------------------- groups

  function drawGroups() {
    const cells = visible(cellsAt(state.ratio)).filter((c) => c.groups.length);
    const head = ["aligner", "group", "share", "win rate", "won / tied / lost", "utility", "reference's", "unit", "reward accuracy"];
    const wordy = new Set([0, 1, 7]);
    const body = cells.flatMap((c) => c.groups.map((g, i) => {
      const line = setting().lines[c.l];
      const cellOf = [
        el("td", null, name(g.name), g.minority ? el("span", { class: "tag" }, " minority") : ""),
        el("td", { class: "number" }, pct(g.share)),
        el("td", { class: "number" }, two(g.rate), el("span", { class: "ci" }, `${two(g.low)} to ${two(g.high)}`)),
        el("td", { class: "number" }, `${g.won} / ${g.tied} / ${g.lost}`),
        el("td", { class: "number" }, short(g.utility)), el("td", { class: "number" }, short(g.reference)),
        el("td", { class: "wordy" }, name(g.unit)), el("td", { class: "number" }, short(g.accuracy)),
      ];
      const first = i ? null : el("th", { scope: "rowgroup", rowspan: c.groups.length }, swatch(line), " ", name(line.name), c.ok ? "" : el("span", { class: "tag" }, " incomplete"));
      return el("tr", null, first, cellOf);
    }));
    $("groups").replaceChildren(body.length
      ? el("table", null, el("caption", null, `${setting().label}, ${ratioName().label}: the aligners shown`),
        el("thead", null, el("tr", null, head.map((h, i) => el("th", { scope: "col", class: wordy.has(i) ? null : "number" }, h)))), el("tbody", null, body))
      : el("p", { class: "note" }, "Nothing to show: choose aligners or another split above."));
  }

  // --------------------------------------------------------------------------------------- reader

  function drawReader() {
    const shelves = setting().reader[state.ratio] || [];
    $("reader").hidden = !data.settings.some((s) => s.reader.some((r) => r.length));
    const how = $("reader-how"), out = $("responses");
    if (!shelves.length) {
      fill($("seed"), [], ""); fill($("prompt"), [], "");
      how.textContent = "No responses to read at this split.";
      return out.replaceChildren();
    }
    state.seed = Math.min(state.seed, shelves.length - 1);
    const shelf = shelves[state.seed];
    state.prompt = Math.min(state.prompt, shelf.prompts.length - 1);
    fill($("seed"), shelves.map((s, i) => [i, String(s.seed)]), state.seed);
    fill($("prompt"), shelf.prompts.map((p, i) => [i, `${i + 1}. ${clip(p.text, 90)}`]), state.prompt);
    how.textContent = `${shelf.prompts.length} of ${shelf.of} test prompts, spaced evenly and chosen without a look at the results` +
      (shelf.samples > 1 ? `; the first of ${shelf.samples} samples each` : "") +
      ". A few responses are examples, not evidence: the rates above count all of them.";
    const prompt = shelf.prompts[state.prompt], groups = shelf.groups;
    // A response often starts with the blank that joins it to its prompt.
    const said = (text) => el("p", { class: text.trim() ? "text" : "text empty", dir: "auto" }, text.trim() ? text.replace(/^ /, "") : "(empty: counted as a loss)");
    const VERDICT = { 1: ["won", "\u25b2 won"], 0.5: ["tied", "= tied"], 0: ["lost", "\u25bc lost"] };
    const scores = (u, ru, o) => el("ul", { class: "scores" }, groups.map((g, i) => el("li", null, name(g.name), ": ", el("b", null, short(u[i])),
      o ? [` against ${short(ru[i])} `, el("b", { class: VERDICT[o[i]][0] }, VERDICT[o[i]][1])] : ` ${g.unit}`)));
    const answers = prompt.answers.filter((a) => state.shown.has(setting().lines[a.l].name));
    out.replaceChildren(
      el("div", { class: "prompt" }, el("h3", null, "Prompt"), said(prompt.text), el("h3", null, "Reference policy"), said(prompt.reference), scores(prompt.ru)),
      el("div", { class: "answers" }, answers.map((a) => {
        const line = setting().lines[a.l];
        return el("article", { class: "answer" }, el("h3", null, swatch(line), name(line.name), el("span", { class: "tag" }, `needs ${line.needs}`)),
          said(a.text), scores(a.u, a.ru || prompt.ru, a.o), a.reference ? el("p", { class: "small" }, "compared with: ", name(a.reference)) : "");
      })),
      answers.length ? "" : el("p", { class: "note" }, "No aligner chosen above has responses here."));
  }

  // ------------------------------------------------------------------------------------- controls

  function fill(select, options, chosen) {
    select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
    select.value = String(chosen);
    select.disabled = options.length < 2;
  }
  function drawPicker() {
    $("lines").replaceChildren(...setting().lines.map((line, i) => {
      const box = el("input", { type: "checkbox", id: `line-${i}`, onchange: (event) => {
        if (event.target.checked) state.shown.add(line.name); else state.shown.delete(line.name);
        picked(); draw();
      } });
      box.checked = state.shown.has(line.name);
      return el("li", null, el("label", { for: `line-${i}` }, box, swatch(line), name(line.name), el("span", { class: "tag" }, line.needs)));
    }));
    picked();
  }
  function picked() {
    const all = setting().lines, n = all.filter((line) => state.shown.has(line.name)).length;
    $("picked").textContent = `${n} of ${all.length} shown`;
  }
  function pick(how) {
    const s = setting();
    for (const line of s.lines) state.shown.delete(line.name);
    s.lines.forEach((line, i) => { if (how === "all" || (how === "first" && s.first.includes(i))) state.shown.add(line.name); });
    drawPicker(); draw();
  }
  function enter(index) {
    state.setting = index;
    const s = setting();
    state.ratio = s.ratios.length - 1;
    state.seed = state.prompt = 0;
    fill($("ratio"), s.ratios.map((r, i) => [i, r.label]), state.ratio);
    pick("first");
  }
  function draw() {
    for (const at of document.querySelectorAll(".at")) at.textContent = ratioName().label;
    for (const part of [drawTiles, drawHeadline, drawScatter, drawGap, drawKl, drawTraining, drawGroups, drawReader]) part();
  }

  // ---------------------------------------------------------------------------------------- table

  function makeTable() {
    const table = document.querySelector("#table table");
    const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
    const key = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent.trim();
    const numeric = heads.map((th) => th.classList.contains("number"));
    heads.forEach((th, i) => {
      const button = el("button", { type: "button" }, th.textContent);
      th.replaceChildren(button);
      button.addEventListener("click", () => {
        // Most rates are read from the best down; names, ranks and sizes from the first up.
        const first = th.dataset.first || "ascending";
        const now = th.getAttribute("aria-sort");
        const next = now ? (now === "ascending" ? "descending" : "ascending") : first;
        for (const other of heads) other.removeAttribute("aria-sort");
        th.setAttribute("aria-sort", next);
        const sign = next === "ascending" ? 1 : -1;
        const keyed = rows.map((row, n) => [key(row, i), n, row]);
        keyed.sort(([a, m], [b, n]) => {
          if (a === "" || b === "") return (a === "") - (b === "") || m - n; // what is missing comes last
          const order = numeric[i] ? Number(a) - Number(b) : a.localeCompare(b);
          return sign * order || m - n;
        });
        body.append(...keyed.map(([, , row]) => row));
      });
    });

    const filters = $("filters"), chosen = {};
    const search = el("input", { type: "search", placeholder: "any text", id: "search" });
    filters.append(el("label", null, "Find", search));
    for (const f of data.filters) {
      const values = [...new Set(rows.map((row) => row.dataset[f.key]))];
      if (values.length < 2) continue;
      const select = el("select", { "data-filter": f.key }, el("option", { value: "" }, "all"), values.map((v, i) => el("option", { value: `v${i}` }, (f.names || {})[v] || v)));
      select.addEventListener("change", () => {
        chosen[f.key] = select.value ? values[Number(select.value.slice(1))] : undefined;
        apply();
      });
      filters.append(el("label", null, f.label, select));
    }
    search.addEventListener("input", apply);
    filters.append(el("button", { type: "button", id: "clear", onclick: () => {
      search.value = "";
      for (const select of filters.querySelectorAll("select")) select.value = "";
      for (const k of Object.keys(chosen)) delete chosen[k];
      apply();
    } }, "Clear"));
    filters.hidden = false;
    function apply() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let n = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((w) => text.includes(w)) || Object.entries(chosen).some(([k, v]) => v !== undefined && row.dataset[k] !== v);
        n += !row.hidden;
      }
      $("count").textContent = n === rows.length ? `${n} row${n === 1 ? "" : "s"}` : `${n} of ${rows.length} rows`;
    }
    apply();
  }

  // ---------------------------------------------------------------------------------------- start

  makeTable();
  if (!data.settings.length) {
    for (const part of document.querySelectorAll(".drawn")) part.hidden = true;
    return;
  }
  const choose = (id, then) => $(id).addEventListener("change", (event) => then(event.target.value));
  fill($("setting"), data.settings.map((s, i) => [i, s.label]), 0);
  $("setting-box").hidden = data.settings.length < 2;
  fill($("measure"), Object.entries(data.measures), state.measure);
  choose("setting", (v) => enter(Number(v)));
  choose("ratio", (v) => { state.ratio = Number(v); draw(); });
  choose("measure", (v) => { state.measure = v; drawHeadline(); drawKl(); });
  choose("quantity", (v) => { state.quantity = v; drawTraining(); });
  choose("seed", (v) => { state.seed = Number(v); drawReader(); });
  choose("prompt", (v) => { state.prompt = Number(v); drawReader(); });
  const turn = (by) => () => {
    const shelf = (setting().reader[state.ratio] || [])[state.seed];
    if (shelf) { state.prompt = (state.prompt + by + shelf.prompts.length) % shelf.prompts.length; drawReader(); }
  };
  $("previous").addEventListener("click", turn(-1));
  $("next").addEventListener("click", turn(1));
  for (const button of document.querySelectorAll("[data-pick]")) button.addEventListener("click", () => pick(button.dataset.pick));
  addEventListener("keydown", (event) => { if (event.key === "Escape") { tip.hidden = true; $("picker").open = false; } });
  $("controls").hidden = false;
  enter(0);
  let width = document.documentElement.clientWidth;
  addEventListener("resize", () => {
    // A phone's address bar changes the height only: nothing has to be drawn again for that.
    if (document.documentElement.clientWidth !== width) { width = document.documentElement.clientWidth; draw(); }
  });
})();
