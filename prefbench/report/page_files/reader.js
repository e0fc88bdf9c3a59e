// ------------------------------------------------------------------------------------------- reader

const VERDICT = { 1: ["won", "\u25b2 won"], 0.5: ["tied", "= tied"], 0: ["lost", "\u25bc lost"] };

// What a response has to have come to, so that it is shown: its key, a name, and a test of a group's outcomes.
function fates(groups) {
  const minority = new Set(setting().cells.flatMap((c) => c.groups.filter((g) => g.minority).map((g) => g.name)));
  return [
    ["", "all responses", () => true],
    ...groups.map((g, i) => [`lost by ${g.name}`, `lost by ${g.name}${minority.has(g.name) ? ", the minority" : ""}`, (o) => o[i] === 0]),
    ["lost by all", "lost by every group", (o) => o.every((one) => one === 0)],
    ["won by all", "won by every group", (o) => o.every((one) => one === 1)],
    ["split", "won by some, lost by others", (o) => o.includes(1) && o.includes(0)],
  ];
}
// Text whose hits are marked.
function hits(text, words) {
  if (!words) return [text];
  const parts = [], low = text.toLowerCase();
  let from = 0;
  for (let at = low.indexOf(words); at >= 0; at = low.indexOf(words, from)) {
    parts.push(text.slice(from, at), el("mark", null, text.slice(at, at + words.length)));
    from = at + words.length;
  }
  return [...parts, text.slice(from)];
}
// Prompts with those of their responses that were asked for.
function readings() {
  const shelves = setting().reader[state.ratio] || [], words = state.find.trim().toLowerCase();
  const has = (text) => text.toLowerCase().includes(words);
  return shelves.filter((s) => state.seed === "" || String(s.seed) === state.seed).flatMap((shelf) => {
    const [, , fits] = fates(shelf.groups).find(([key]) => key === state.fate) || fates(shelf.groups)[0];
    return shelf.prompts.map((prompt) => {
      const whole = has(prompt.text) || has(prompt.reference);
      const answers = prompt.answers.filter((a) => state.shown.has(setting().lines[a.l].name) && fits(a.o) && (whole || has(a.text)));
      return { shelf, prompt, answers };
    }).filter((r) => r.answers.length || (!state.fate && has(r.prompt.text)));
  });
}

function drawReader() {
  const shelves = setting().reader[state.ratio] || [];
  $("reader").hidden = !data.settings.some((s) => s.reader.some((r) => r.length));
  const how = $("reader-how"), out = $("responses");
  $("found").textContent = "";
  if (!shelves.length) {
    for (const id of ["seed", "prompt", "fate"]) fill($(id), [], "");
    how.textContent = "No responses to read at this split.";
    return out.replaceChildren();
  }
  const options = fates(shelves[0].groups), seeds = shelves.map((s) => String(s.seed));
  if (!options.some(([key]) => key === state.fate)) state.fate = "";
  if (!seeds.includes(state.seed)) state.seed = "";
  fill($("fate"), options, state.fate);
  fill($("seed"), [["", "all"], ...seeds.map((s) => [s, s])], state.seed);
  $("find").value = state.find;
  const found = readings();
  state.prompt = Math.max(0, Math.min(state.prompt, found.length - 1));
  fill($("prompt"), found.map((r, i) => [i, `${i + 1}. ${clip(r.prompt.text.trim(), 90)}${state.seed === "" && seeds.length > 1 ? ` (seed ${r.shelf.seed})` : ""}`]), state.prompt);
  const shelf = (found[state.prompt] || {}).shelf || shelves[0];
  how.textContent = `${shelf.prompts.length} of ${shelf.of} test prompts of each seed, spaced evenly and chosen without a look at the results` +
    (shelf.samples > 1 ? `; the first of ${shelf.samples} samples each` : "") +
    ". A few responses are examples, not evidence: the rates above count all of them.";
  const all = shelves.filter((s) => state.seed === "" || String(s.seed) === state.seed).reduce((n, s) => n + s.prompts.length, 0);
  $("found").textContent = found.length === all && !state.fate ? "" : `${found.length} of ${all} prompts, ${found.reduce((n, r) => n + r.answers.length, 0)} responses of the aligners shown`;
  if (!found.length) return out.replaceChildren(el("p", { class: "note" }, "Nothing fits: choose other words, another fate or more aligners."));
  drawReading(out, found[state.prompt]);
}

function drawReading(out, { shelf, prompt, answers }) {
  const groups = shelf.groups, words = state.find.trim().toLowerCase();
  // A response often starts with the blank that joins it to its prompt.
  const said = (text) => el("p", { class: text.trim() ? "text" : "text empty", dir: "auto" }, text.trim() ? hits(text.replace(/^ /, ""), words) : "(empty: counted as a loss)");
  const scores = (u, ru, o) => el("ul", { class: "scores" }, groups.map((g, i) => el("li", null, name(g.name), ": ", el("b", null, short(u[i])),
    o ? [` against ${short(ru[i])} `, el("b", { class: VERDICT[o[i]][0] }, VERDICT[o[i]][1])] : ` ${g.unit}`)));
  out.replaceChildren(
    el("div", { class: "prompt" }, el("h3", null, "Prompt", el("span", { class: "tag" }, `seed ${shelf.seed}`)), said(prompt.text), el("h3", null, "Reference policy"), said(prompt.reference), scores(prompt.ru)),
    el("div", { class: "answers" }, answers.map((a) => {
      const line = setting().lines[a.l];
      return el("article", { class: "answer" }, el("h3", null, swatch(line), name(line.name), el("span", { class: "tag" }, `needs ${line.needs}`)),
        said(a.text), scores(a.u, a.ru || prompt.ru, a.o), a.reference ? el("p", { class: "small" }, "compared with: ", name(a.reference)) : "");
    })),
    answers.length ? "" : el("p", { class: "note" }, "No aligner chosen above has responses here."));
}
