// ------------------------------------------------------------------------------------------ figures

const rank = (c) => (c.rank ? `rank ${c.rank[0]} of the learners, not ruled out ${c.rank[1]} to ${c.rank[2]}` : `${c.role}, not ranked`);
const about = (c) => (c.ok ? `${rank(c)}; ` : `${c.status}; `) + `${c.seeds} seed${c.seeds === 1 ? "" : "s"}, ${c.prompts} prompts, differences under ${two(c.mde)} may go unseen${c.near ? `; ${c.near}` : ""}`;
const partly = (cells) => cells.some((c) => !c.ok);

function drawHeadline() {
  const figure = $("headline"), ratios = setting().ratios, measure = state.measure, title = measureName(measure);
  const cells = visible(setting().cells).filter((c) => valueOf(c, measure));
  $("caveat").textContent = "";
  if (!cells.length) return put(figure, null, [], [], []);
  const logs = ratios.map((r) => -Math.log(r.value));
  const low = Math.min(...logs), high = Math.max(...logs), pad = high > low ? 0.06 * (high - low) : 1;
  const wide = figure.clientWidth > 720 && ratios.length > 1;
  const lines = used(cells);
  const box = axes(figure, {
    title: `${title} against the minority's share; the numbers are below`,
    height: (w) => Math.max(300, Math.min(ratios.length > 1 ? 440 : 340, w * 0.5), wide ? 15 * lines.length + 74 : 0),
    margins: { right: wide ? 200 : 14 },
    x: { at: (i) => (logs[i] - low + pad) / (high - low + 2 * pad), ticks: ratios.map((r, i) => [i, r.label]), title: "majority : minority" },
    y: { ...RATE, title },
  });
  halfLine(box, measure);
  box.svg.classList.toggle("many", lines.length > 8); // else bands pile up to a fog
  const ends = [];
  lines.forEach((line, k) => {
    const own = cells.filter((c) => lineOf(c) === line).sort((a, b) => a.r - b.r).map((c) => ({ c, v: valueOf(c, measure) }));
    // With one split there is no line to follow, and points side by side are easier to tell apart.
    const shift = ratios.length > 1 ? 0 : (k - (lines.length - 1) / 2) * Math.min(70, (box.width - box.m.left - box.m.right) / (lines.length + 1));
    const x = (one) => box.x(one.c.r) + shift;
    const group = sv("g", { class: `series c${line.c}` });
    if (own.length > 1) {
      const upper = own.map((one) => `${x(one)} ${box.y(one.v[2])}`), lower = own.map((one) => `${x(one)} ${box.y(one.v[1])}`).reverse();
      group.append(sv("path", { class: "band", d: `M${[...upper, ...lower].join("L")}Z` }),
        sv("path", { class: "line", "stroke-dasharray": line.d, d: `M${own.map((one) => `${x(one)} ${box.y(one.v[0])}`).join("L")}` }));
    }
    for (const one of own) {
      if (own.length === 1) group.append(sv("line", { class: "whisker", x1: x(one), x2: x(one), y1: box.y(one.v[1]), y2: box.y(one.v[2]) }));
      group.append(tipped(mark(line, x(one), box.y(one.v[0]), !one.c.ok), `${line.name}, ${ratios[one.c.r].label}\n${title} ${ci(one.v)}\n${about(one.c)}`));
    }
    box.svg.append(focusable(group, box.svg));
    const last = own[own.length - 1];
    ends.push({ line, y: box.y(last.v[0]), x: x(last) });
  });
  if (wide) nameEnds(box, ends);
  const rows = lines.map((line) => [line.name, ...ratios.map((_, i) => {
    const c = cells.find((one) => one.r === i && lineOf(one) === line);
    return c ? ci(valueOf(c, measure)) + (c.ok ? "" : " (incomplete)") : "";
  })]);
  put(figure, box.svg, wide ? [] : lines, ["aligner", ...ratios.map((r) => r.label)], rows, partly(cells));
  const seeds = cells.map((c) => c.seeds), few = Math.min(...seeds), many = Math.max(...seeds);
  $("caveat").textContent = `${few === many ? few : `${few} to ${many}`} seed${many === 1 ? "" : "s"} per point` +
    (few < 5 ? ", too few to say much about a method" : "") + (setting().few ? `; ${setting().few}` : "") +
    `. Differences under ${two(Math.max(...cells.map((c) => c.mde)))} between two aligners may go unseen where their seeds disagree most.`;
}
// Names at the ends of lines, with what the line looks like, moved apart where they would touch.
function nameEnds(box, ends) {
  ends.sort((a, b) => a.y - b.y);
  const top = box.m.top + 4, bottom = box.height - box.m.bottom;
  ends.forEach((e, i) => { e.to = Math.max(e.y, i ? ends[i - 1].to + 15 : top); });
  for (let i = ends.length - 1, floor = bottom; i >= 0; i--) { ends[i].to = Math.min(ends[i].to, floor); floor = ends[i].to - 15; }
  const at = box.width - box.m.right + 12;
  for (const e of ends) {
    box.svg.append(sv("path", { class: "grid", fill: "none", d: `M${e.x + 7} ${e.y}L${at - 3} ${e.to}` }),
      sv("g", { class: `c${e.line.c}` }, sv("path", { class: "line", "stroke-dasharray": e.line.d, d: `M${at} ${e.to}h26` }), mark(e.line, at + 13, e.to)),
      sv("text", { class: "label", x: at + 32, y: e.to + 4 }, clip(e.line.name, 23)));
  }
}

// Marks of groups: the minority's are filled, the others' hollow and of different shapes.
const GROUP_SHAPES = ["circle", "square", "triangle", "diamond", "down", "plus", "cross"];
const groupMark = (group, x, y) => shape(GROUP_SHAPES[setting().groups.indexOf(group.name) % GROUP_SHAPES.length], x, y, !group.minority);

function drawGap() {
  const figure = $("gap");
  const cells = visible(cellsAt(state.ratio)).filter((c) => c.v.gap && c.groups.every((g) => g.ci)).sort((a, b) => a.v.gap[0] - b.v.gap[0]);
  if (!cells.length) return put(figure, null, [], [], []);
  const wide = figure.clientWidth > 620, step = wide ? 30 : 44, names = wide ? 190 : 14, top = wide ? 12 : 26;
  const box = axes(figure, {
    title: "every group's win rate, and the gap between them; the numbers are below",
    height: () => step * cells.length + 46 + top, margins: { left: names, right: wide ? 140 : 14, top },
    x: { ...RATE, title: "win rate against the reference policy" }, y: { low: 0, high: 1, ticks: [] },
  });
  box.svg.append(sv("line", { class: "half", x1: box.x(0.5), x2: box.x(0.5), y1: 4, y2: box.height - box.m.bottom }));
  cells.forEach((c, i) => {
    const line = lineOf(c), y = top + (i + 0.5) * step, above = wide ? y + 4 : y - 13;
    const rates = c.groups.map((g) => g.ci[0]);
    box.svg.append(
      sv("text", { class: "label", x: wide ? names - 14 : 2, y: above, "text-anchor": wide ? "end" : "start" }, clip(line.name, 28)),
      sv("text", { class: "value", x: box.width - 4, y: above, "text-anchor": "end" }, ci(c.v.gap)));
    const group = sv("g", { class: `series c${line.c}` },
      sv("line", { class: "bar" + (c.ok ? "" : " partial"), x1: box.x(Math.min(...rates)), x2: box.x(Math.max(...rates)), y1: y, y2: y }));
    for (const g of c.groups) {
      group.append(sv("line", { class: "whisker", x1: box.x(g.ci[1]), x2: box.x(g.ci[2]), y1: y, y2: y }),
        tipped(groupMark(g, box.x(g.ci[0]), y), `${line.name}\n${g.name}${g.minority ? ", the minority" : ""}: ${ci(g.ci)}\ngap ${ci(c.v.gap)}; worst off: ${c.worst}\n${about(c)}`));
    }
    box.svg.append(focusable(group, box.svg));
  });
  const known = cells[0].groups;
  put(figure, box.svg, [], ["aligner", ...setting().groups, "gap", "worst off"],
    cells.map((c) => [lineOf(c).name, ...setting().groups.map((n) => { const g = c.groups.find((one) => one.name === n); return g ? ci(g.ci) : ""; }), ci(c.v.gap), c.worst]), false);
  figure.querySelector("svg").after(el("ul", { class: "legend" }, known.map((g) =>
    el("li", null, sv("svg", { class: "swatch", width: 14, height: 14, viewBox: "0 0 14 14", "aria-hidden": "true" }, groupMark(g, 7, 7)), name(g.name), g.minority ? el("span", { class: "tag" }, "minority") : ""))),
    partly(cells) ? el("p", { class: "small" }, "A dashed bar: incomplete over seeds, and not ranked.") : "");
}

function drawScatter() {
  const figure = $("scatter"), across = state.across, up = state.up;
  const [xName, yName] = [across, up].map(measureName);
  const bare = (text) => text.replace(/ win rate$|^win rate of /, "");
  $("scatter-what").textContent = `${bare(xName)[0].toUpperCase()}${bare(xName).slice(1)} against ${bare(yName)}`;
  const cells = visible(cellsAt(state.ratio)).filter((c) => valueOf(c, across) && valueOf(c, up));
  if (!cells.length) return put(figure, null, [], [], []);
  const at = (c) => [valueOf(c, across), valueOf(c, up)];
  const box = axes(figure, {
    title: `${yName} against ${xName}; the numbers are below`,
    height: (w) => Math.min(460, w * 0.82), x: { ...RATE, title: xName }, y: { ...RATE, title: yName },
  });
  box.svg.append(sv("line", { class: "half", x1: box.x(0), y1: box.y(0), x2: box.x(1), y2: box.y(1) }));
  const front = [];
  for (const c of cells.filter((one) => one.ok).sort((a, b) => at(b)[0][0] - at(a)[0][0] || at(b)[1][0] - at(a)[1][0])) {
    if (!front.length || at(c)[1][0] > at(front[0])[1][0]) front.unshift(c);
  }
  if (front.length) {
    let d = `M${box.x(0)} ${box.y(at(front[0])[1][0])}`;
    for (const c of front) d += `V${box.y(at(c)[1][0])}H${box.x(at(c)[0][0])}`;
    box.svg.append(sv("path", { class: "front", d: `${d}V${box.y(0)}` }));
  }
  const bars = [];
  for (const c of cells) {
    const line = lineOf(c), [x, y] = at(c), group = sv("g", { class: `series c${line.c}` });
    group.append(sv("line", { class: "whisker", x1: box.x(x[1]), x2: box.x(x[2]), y1: box.y(y[0]), y2: box.y(y[0]) }),
      sv("line", { class: "whisker", x1: box.x(x[0]), x2: box.x(x[0]), y1: box.y(y[1]), y2: box.y(y[2]) }),
      tipped(mark(line, box.x(x[0]), box.y(y[0]), !c.ok), `${line.name}\n${xName} ${ci(x)}\n${yName} ${ci(y)}\n${about(c)}`));
    bars.push(level(box.y(y[0]), box.x(x[1]), box.x(x[2])), upright(box.x(x[0]), box.y(y[1]), box.y(y[2])));
    box.svg.append(focusable(group, box.svg));
  }
  placeLabels(box.svg, box, cells.map((c) => ({ x: box.x(at(c)[0][0]), y: box.y(at(c)[1][0]), text: lineOf(c).name })), bars);
  put(figure, box.svg, used(cells), ["aligner", xName, yName, "on the front"],
    cells.map((c) => [lineOf(c).name, ...at(c).map(ci), front.includes(c) ? "yes" : c.ok ? "no" : "incomplete"]), partly(cells));
}

function drawKl() {
  const figure = $("kl"), measure = state.cost, title = measureName(measure);
  const cells = visible(cellsAt(state.ratio)).filter((c) => valueOf(c, measure) && c.kl !== null);
  if (!cells.length) return put(figure, null, [], [], []);
  const ticks = nice(Math.min(0, ...cells.map((c) => c.kl)), Math.max(...cells.map((c) => c.kl), 0.1), 5);
  const box = axes(figure, {
    title: `${title} against KL; the numbers are below`,
    height: (w) => Math.min(460, w * 0.82),
    x: scale(ticks, "KL from the reference policy (nats per response)"), y: { ...RATE, title },
  });
  halfLine(box, measure);
  const bars = [];
  for (const c of cells) {
    const line = lineOf(c), y = valueOf(c, measure), group = sv("g", { class: `series c${line.c}` });
    group.append(sv("line", { class: "whisker", x1: box.x(c.kl), x2: box.x(c.kl), y1: box.y(y[1]), y2: box.y(y[2]) }),
      tipped(mark(line, box.x(c.kl), box.y(y[0]), !c.ok), `${line.name}\nKL ${two(c.kl)}\n${title} ${ci(y)}\n${about(c)}`));
    bars.push(upright(box.x(c.kl), box.y(y[1]), box.y(y[2])));
    box.svg.append(focusable(group, box.svg));
  }
  placeLabels(box.svg, box, cells.map((c) => ({ x: box.x(c.kl), y: box.y(valueOf(c, measure)[0]), text: lineOf(c).name })), bars);
  put(figure, box.svg, used(cells), ["aligner", "KL", title], cells.map((c) => [lineOf(c).name, two(c.kl), ci(valueOf(c, measure))]), partly(cells));
}
