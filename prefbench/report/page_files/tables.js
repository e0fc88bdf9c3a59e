// -------------------------------------------------------------------------------------------- tiles

function drawTiles() {
  const ranked = cellsAt(state.ratio).filter((c) => c.ok && c.v.gap);
  const worst = (c) => c.v.worst_group_win_rate;
  const label = (c) => el("p", null, swatch(lineOf(c)), " ", name(lineOf(c).name));
  const groups = (c) => el("ul", { class: "scores" }, c.groups.filter((g) => g.ci).map((g) =>
    el("li", null, name(g.name), g.minority ? " (minority) " : " ", el("b", null, two(g.ci[0])))));
  const tile = (title, c, v, small) => el("div", { class: "tile" }, el("h3", null, title),
    el("div", { class: "big" }, two(v[0]), " ", el("span", { class: "small" }, `[${two(v[1])}, ${two(v[2])}]`)), label(c), groups(c), el("p", { class: "small" }, small));
  const best = (cells) => cells.filter((c) => c.rank).reduce((a, c) => (!a || c.rank[0] < a.rank[0] ? c : a), null);
  const tiles = [];
  // An aligner that was told the groups is no rival of one that was not, so each has its own tile.
  const told = (c) => /group|oracle|instruction/.test(lineOf(c).needs);
  const pairs = [["groups unknown", best(ranked.filter((c) => !told(c)))], ["told the groups", best(ranked.filter(told))]];
  for (const [who, c] of pairs) {
    if (c) tiles.push(tile(`Best for the worst-off group, ${who}`, c, worst(c), `needs ${lineOf(c).needs}; ${rank(c)}`));
  }
  const gap = ranked.reduce((a, c) => (!a || c.v.gap[0] > a.v.gap[0] ? c : a), null);
  if (gap) tiles.push(tile("Widest gap between groups", gap, gap.v.gap, `left behind: ${gap.worst}, which wins ${two(worst(gap)[0])}`));
  $("tiles").replaceChildren(...(tiles.length ? tiles : [el("p", { class: "note" }, "No complete row at this split: nothing is ranked.")]));
}

// ------------------------------------------------------------------------------------------- groups

function drawGroups() {
  const cells = visible(cellsAt(state.ratio)).filter((c) => c.groups.length);
  const head = ["aligner", "group", "share", "win rate", "won / tied / lost", "utility", "reference's", "unit", "reward accuracy"];
  const wordy = new Set([0, 1, 7]);
  const body = cells.map((c) => el("tbody", null, c.groups.map((g, i) => {
    const line = lineOf(c);
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
  })));
  $("groups").replaceChildren(body.length
    ? el("table", null, el("caption", null, `${setting().label}, ${ratioName().label}: the aligners shown`),
      el("thead", null, el("tr", null, head.map((h, i) => el("th", { scope: "col", class: wordy.has(i) ? null : "number" }, h)))), body)
    : el("p", { class: "note pad" }, "Nothing to show: choose aligners or another split above."));
}

// -------------------------------------------------------------------------------------------- table

// Sorts, filters, folds and saves the leaderboard. Gives back what was chosen, and how to choose it again.
function makeTable(changed) {
  const table = document.querySelector("#table table");
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const labels = heads.map((th) => th.textContent);
  const key = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent.trim();
  const numeric = heads.map((th) => th.classList.contains("number"));
  heads.forEach((th, i) => {
    if (th.dataset.more === undefined) return;
    for (const row of [table.tHead.rows[0], ...rows]) row.cells[i].classList.add("more");
  });
  function sort(i, direction) {
    for (const other of heads) other.removeAttribute("aria-sort");
    heads[i].setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const keyed = rows.map((row, n) => [key(row, i), n, row]);
    keyed.sort(([a, m], [b, n]) => {
      if (a === "" || b === "") return (a === "") - (b === "") || m - n; // what is missing comes last
      const order = numeric[i] ? Number(a) - Number(b) : a.localeCompare(b);
      return sign * order || m - n;
    });
    body.append(...keyed.map(([, , row]) => row));
  }
  heads.forEach((th, i) => {
    const button = el("button", { type: "button" }, labels[i]);
    th.replaceChildren(button);
    button.addEventListener("click", () => {
      // Most rates are read from the best down; names, ranks and sizes from the first up.
      const now = th.getAttribute("aria-sort");
      sort(i, now ? (now === "ascending" ? "descending" : "ascending") : th.dataset.first || "ascending");
      changed();
    });
  });

  const filters = $("filters"), chosen = {}, selects = {};
  const search = el("input", { type: "search", placeholder: "any text", id: "search" });
  filters.append(el("label", null, "Find", search));
  for (const f of data.filters) {
    const values = [...new Set(rows.map((row) => row.dataset[f.key]))];
    if (values.length < 2) continue;
    const select = el("select", { "data-filter": f.key }, el("option", { value: "" }, "all"), values.map((v, i) => el("option", { value: `v${i}` }, v)));
    select.addEventListener("change", () => {
      chosen[f.key] = select.value ? values[Number(select.value.slice(1))] : undefined;
      apply();
      changed();
    });
    selects[f.key] = (value) => { select.value = values.includes(value) ? `v${values.indexOf(value)}` : ""; chosen[f.key] = select.value ? value : undefined; };
    filters.append(el("label", null, f.label, select));
  }
  search.addEventListener("input", () => { apply(); changed(); });
  const columns = el("button", { type: "button", id: "columns", "aria-pressed": "false", onclick: () => { fold(!table.classList.contains("all")); changed(); } });
  function fold(all) {
    table.classList.toggle("all", all);
    columns.textContent = all ? "Fewer columns" : "All columns";
    columns.setAttribute("aria-pressed", String(all));
  }
  fold(false);
  filters.append(
    el("button", { type: "button", id: "clear", onclick: () => { choose(new URLSearchParams()); changed(); } }, "Clear"), columns,
    el("button", { type: "button", id: "save-table", onclick: () => save("prefbench-leaderboard.csv", "text/csv", saved()) }, "Rows as CSV"));
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
  // The rows that are shown, in their order, with all columns; an interval has columns of its own.
  function saved() {
    const bounds = heads.map((_, i) => rows.some((row) => row.cells[i].querySelector(".ci")));
    const cells = (row) => [...row.cells].flatMap((cell, i) => {
      if (!i) return [row.dataset.aligner, [...cell.querySelectorAll(".tag")].map((tag) => tag.textContent).join("; ")];
      const words = cell.dataset.v ? String(Number(cell.dataset.v)) : cell.textContent.trim();
      return bounds[i] ? [words, ...(cell.querySelector(".ci")?.textContent.match(/-?[\d.]+/g) || ["", ""])] : [words];
    });
    const head = labels.flatMap((label, i) => (!i ? ["aligner", "variant"] : bounds[i] ? [label, `${label} low`, `${label} high`] : [label]));
    return csv([head, ...[...body.rows].filter((row) => !row.hidden).map(cells)]);
  }
  function chosenNow() {
    const q = {}, sorted = heads.findIndex((th) => th.hasAttribute("aria-sort"));
    if (search.value) q["rows.find"] = search.value;
    for (const [k, v] of Object.entries(chosen)) if (v !== undefined) q[`rows.${k}`] = v;
    if (sorted >= 0) q["rows.sort"] = `${labels[sorted]} ${heads[sorted].getAttribute("aria-sort")}`;
    if (table.classList.contains("all")) q["rows.columns"] = "all";
    return q;
  }
  function choose(q) {
    search.value = q.get("rows.find") || "";
    for (const [k, set] of Object.entries(selects)) set(q.get(`rows.${k}`));
    fold(q.get("rows.columns") === "all");
    const [, label, direction] = /^(.*) (ascending|descending)$/.exec(q.get("rows.sort") || "") || [];
    if (labels.includes(label)) sort(labels.indexOf(label), direction);
    apply();
  }
  apply();
  return { chosen: chosenNow, choose };
}
