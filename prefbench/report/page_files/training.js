// ----------------------------------------------------------------------------------------- training

// A drawing of curves over iterations: `curves` have steps, low, mean and high, a line's look and a text.
function drawCurves(figure, curves, title, height) {
  const yt = nice(Math.min(...curves.flatMap((k) => k.low)), Math.max(...curves.flatMap((k) => k.high)), 5);
  const xt = nice(1, Math.max(...curves.flatMap((k) => k.steps)), 5).filter((t) => t >= 0);
  const box = axes(figure, { title: `${title} in training`, height, x: scale(xt, "iteration"), y: scale(yt, title) });
  for (const k of curves) {
    const n = k.steps.length, indices = k.steps.map((_, i) => i);
    const at = (i, v) => `${box.x(k.steps[i]).toFixed(1)} ${box.y(v[i]).toFixed(1)}`;
    const band = k.low === k.high ? null
      : sv("path", { class: "band", d: `M${indices.map((i) => at(i, k.high)).join("L")}L${indices.map((i) => at(i, k.low)).reverse().join("L")}Z` });
    const group = sv("g", { class: `series c${k.line.c}` }, band,
      sv("path", { class: "line", "stroke-dasharray": k.dash, d: `M${indices.map((i) => at(i, k.mean)).join("L")}` }),
      tipped(shape(k.marker, box.x(k.steps[n - 1]), box.y(k.mean[n - 1]), k.partial), k.said));
    box.svg.append(focusable(group, box.svg));
  }
  return box.svg;
}

function drawTraining() {
  const figure = $("training");
  const known = new Set(setting().cells.flatMap((c) => Object.keys(c.curves)));
  $("training-section").hidden = known.size === 0;
  if (!known.size) return;
  const names = Object.keys(data.curves).filter((q) => known.has(q));
  if (!known.has(state.quantity)) state.quantity = names[0];
  const quantity = state.quantity;
  fill($("quantity"), names.map((q) => [q, data.curves[q]]), quantity);
  const cells = visible(cellsAt(state.ratio)).filter((c) => c.curves[quantity]);
  if (!cells.length) {
    put(figure, null, [], [], []);
    figure.querySelector(".note").textContent = "None of the aligners shown has a known training history at this split.";
    return;
  }
  const curves = cells.map((c) => {
    const line = lineOf(c), k = c.curves[quantity], n = k.mean.length - 1;
    const said = `${line.name}\n${quantity} ends at ${short(k.mean[n])} (${short(k.low[n])} to ${short(k.high[n])} over seeds)`;
    return { ...k, line, dash: line.d, marker: line.m, partial: !c.ok, said };
  });
  const svg = drawCurves(figure, curves, quantity, (w) => Math.min(380, w * 0.6));
  put(figure, svg, used(cells), ["aligner", "first", "last", "lowest seed", "highest seed"], curves.map((k) => {
    const n = k.mean.length - 1;
    return [k.line.name, short(k.mean[0]), short(k.mean[n]), short(k.low[n]), short(k.high[n])];
  }), partly(cells));
}

// -------------------------------------------------------------------------------------- run by run

function drawRuns() {
  const cells = cellsAt(state.ratio);
  let cell = cells.find((c) => c.l === state.whose);
  if (!cell) cell = visible(cells)[0] || cells[0];
  $("runs-section").hidden = !cell;
  if (!cell) return;
  state.whose = cell.l;
  fill($("whose"), cells.map((c) => [c.l, lineOf(c).name]), cell.l);
  const groups = setting().groups, some = (key) => cell.runs.some((r) => r[key] !== null);
  const columns = [
    ["seed", (r) => String(r.seed)], ...groups.map((g, i) => [g, (r) => short(r.rates[i])]),
    ["KL", (r) => short(r.kl)], ["words", (r) => short(r.words)], ["empty", (r) => short(r.empty)],
    ...(some("clusters") ? [["Rand index", (r) => short(r.clusters)]] : []),
    ["seconds", (r) => short(r.seconds)], ["status", (r) => r.status, 1],
    ["made (UTC)", (r) => `${r.started} by prefbench ${r.by} on ${r.on}`, 1], ["folder", (r) => r.name, 1],
  ];
  $("runs").replaceChildren(el("table", null, el("caption", null, `${lineOf(cell).name}, ${setting().label}, ${ratioName().label}; win rates by group`),
    el("thead", null, el("tr", null, columns.map(([head, , words], i) => el("th", { scope: "col", class: i && !words ? "number" : null }, i && !words && groups.includes(head) ? name(head) : head)))),
    el("tbody", null, cell.runs.flatMap((r) => [
      el("tr", { class: r.status === "ok" ? null : "unranked" }, columns.map(([, value, words], i) => (i ? el("td", { class: words ? "wordy" : "number" }, words ? el("bdi", null, value(r)) : value(r)) : el("th", { scope: "row" }, value(r))))),
      ...r.said.map((text) => el("tr", null, el("td", { colspan: columns.length, class: "small" }, `seed ${r.seed}: `, el("bdi", null, text)))),
    ]))));
  drawCourses(cell);
}
// A panel for each quantity, a line for each seed.
function drawCourses(cell) {
  const known = cell.runs.filter((r) => r.curves.values);
  const names = [...new Set(known.flatMap((r) => Object.keys(r.curves.values)))];
  const out = $("courses"), dashes = [null, "6 3", "2 3", "9 3 2 3"];
  if (!names.length) {
    return out.replaceChildren(el("p", { class: "note" }, "No training history was kept of these runs: some optimisers keep none, and a packed board has none."));
  }
  const panels = names.map((quantity) => el("figure", { "data-quantity": quantity }));
  out.replaceChildren(...panels);
  for (const figure of panels) {
    const quantity = figure.dataset.quantity;
    const own = known.filter((r) => r.curves.values[quantity]);
    const curves = own.map((r) => {
      const values = r.curves.values[quantity], i = cell.runs.indexOf(r);
      const said = `seed ${r.seed}\n${quantity} from ${short(values[0])} to ${short(values[values.length - 1])}`;
      return { steps: r.curves.steps, low: values, mean: values, high: values, line: { c: i % 7 }, dash: dashes[Math.floor(i / 7) % 4], marker: GROUP_SHAPES[i % 7], partial: false, said };
    });
    const svg = drawCurves(figure, curves, quantity, (w) => Math.min(260, w * 0.7));
    figure.append(reachable(svg), el("ul", { class: "legend" }, own.map((r, i) =>
      el("li", null, swatch({ c: curves[i].line.c, d: curves[i].dash, m: curves[i].marker }), `seed ${r.seed}`))));
  }
}
