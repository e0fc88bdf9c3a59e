// ----------------------------------------------------------------------------------- head to head

// How often a row's response beats a column's, by one group: a cell for every two policies shown.
function drawMatrix() {
  const found = setting().matrix[state.ratio], out = $("matrix");
  $("matrix-section").hidden = !setting().matrix.some(Boolean);
  fill($("judge"), (found ? found.groups : []).map((g, i) => [i, g]), state.judge);
  const picked = found ? found.lines.map((l, i) => [l, i]).filter(([l]) => state.shown.has(setting().lines[l].name)) : [];
  $("matrix-how").textContent = !found ? "" :
    `Percent of ${found.prompts} prompts over ${found.seeds} seed${found.seeds === 1 ? "" : "s"} on which a row's response beats a column's in the eyes of one group, ties one half; ` +
    "best for the worst-off group first. A star is surely not one half (5%, corrected by Holm over all pairs and groups); a win rate against the reference does not say who wins between two." +
    (found.out.length ? ` Left out: ${found.out.join("; ")}.` : "");
  if (picked.length < 2) {
    return out.replaceChildren(el("p", { class: "note pad" }, "Two aligners are needed that ran on the same prompts and seeds: choose more above."));
  }
  const group = Math.min(state.judge, found.groups.length - 1), n = found.lines.length;
  const rates = found.rates[group];
  const duel = (i, j) => {
    const [a, b] = i < j ? [i, j] : [j, i];
    const [rate, low, high, sure] = rates[(a * (2 * n - a - 1)) / 2 + b - a - 1];
    return i < j ? { rate, low, high, sure } : { rate: 1 - rate, low: 1 - high, high: 1 - low, sure };
  };
  const title = (l) => setting().lines[l].name;
  out.replaceChildren(el("table", { class: "matrix" },
    el("caption", null, `Judged by ${found.groups[group]}, ${ratioName().label}: percent won by the row`),
    el("thead", null, el("tr", null, el("th", { scope: "col" }, "against"), picked.map(([l]) => el("th", { scope: "col", class: "number" }, name(title(l)))))),
    el("tbody", null, picked.map(([l, i]) => el("tr", null, el("th", { scope: "row" }, swatch(setting().lines[l]), " ", name(title(l))),
      picked.map(([m, j]) => {
        if (i === j) return el("td", { class: "number same" }, "\u2013");
        const d = duel(i, j), tone = Math.min(4, Math.floor(Math.abs(d.rate - 0.5) * 10));
        const said = `${title(l)} against ${title(m)}: ${ci([d.rate, d.low, d.high])}`;
        return el("td", { class: `number ${d.rate > 0.5 ? "wins" : "loses"} tone${tone}`, title: said }, `${Math.round(100 * d.rate)}${d.sure ? "*" : ""}`);
      }))))));
}
