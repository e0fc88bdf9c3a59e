// ----------------------------------------------------------------------------------------- controls

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
function pick(names) {
  for (const line of setting().lines) state.shown.delete(line.name);
  for (const one of names) state.shown.add(one);
  drawPicker();
}
const picks = {
  first: () => setting().first.map((i) => setting().lines[i].name),
  all: () => setting().lines.map((line) => line.name),
  none: () => [],
};
const FIRST = { measure: "minority_win_rate", cost: "minority_win_rate", across: "majority_win_rate", up: "minority_win_rate" };

// A task's first view; what was chosen before and is still there stays.
function enter(index) {
  state.setting = index;
  const s = setting(), known = measures().map(([key]) => key);
  state.ratio = s.ratios.length - 1;
  Object.assign(state, { judge: 0, whose: s.first[0], prompt: 0, seed: "" });
  for (const [key, usual] of Object.entries(FIRST)) {
    if (!known.includes(state[key])) state[key] = usual;
  }
  pick(picks.first());
}
function drawControls() {
  fill($("setting"), data.settings.map((s, i) => [i, s.label]), state.setting);
  $("setting-box").hidden = data.settings.length < 2;
  fill($("ratio"), setting().ratios.map((r, i) => [i, r.label]), state.ratio);
  for (const key of Object.keys(FIRST)) fill($(key), measures().filter(([m]) => m !== "gap" || !["across", "up"].includes(key)), state[key]);
}
function draw() {
  drawControls();
  for (const at of document.querySelectorAll(".at")) at.textContent = ratioName().label;
  for (const part of [drawTiles, drawHeadline, drawGap, drawScatter, drawKl, drawTraining, drawMatrix, drawGroups, drawRuns, drawReader]) part();
  remember();
}

// ---------------------------------------------------------------------------------------- permalink

// The address after its # says what was chosen, by name, so that it holds for a page with more runs, too.
function remember() {
  const q = new URLSearchParams(), s = setting(), say = (key, value, usual) => { if (value !== usual && value !== "") q.append(key, value); };
  say("task", s.label, data.settings[0].label);
  say("split", ratioName().label, s.ratios[s.ratios.length - 1].label);
  for (const [key, usual] of Object.entries(FIRST)) say(key, state[key], usual);
  const shown = picks.all().filter((one) => state.shown.has(one)), first = picks.first();
  if (shown.join("\n") !== first.join("\n")) for (const one of shown.length ? shown : ["none"]) q.append("line", one);
  say("quantity", state.quantity, Object.keys(data.curves)[0]);
  say("judge", String(state.judge), "0");
  const usual = visible(cellsAt(state.ratio))[0] || cellsAt(state.ratio)[0];
  if (usual && state.whose !== usual.l && state.whose !== s.first[0]) say("run", s.lines[state.whose].name, "");
  for (const key of ["find", "fate", "seed"]) say(key, state[key], "");
  say("prompt", String(state.prompt + 1), "1");
  for (const [key, value] of Object.entries(table.chosen())) q.append(key, value);
  const hash = String(q) ? `#${q}` : "";
  $("link").setAttribute("href", hash || "#");
  // A frame without an address of its own has none to keep.
  try { history.replaceState(null, "", hash || location.pathname + location.search); } catch { /* nothing is lost */ }
}
function recall() {
  const q = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  enter(Math.max(0, data.settings.findIndex((s) => s.label === q.get("task"))));
  const s = setting(), known = measures().map(([key]) => key);
  const ratio = s.ratios.findIndex((r) => r.label === q.get("split"));
  if (ratio >= 0) state.ratio = ratio;
  for (const [key, usual] of Object.entries(FIRST)) state[key] = known.includes(q.get(key)) ? q.get(key) : usual;
  const lines = q.getAll("line").filter((one) => one === "none" || picks.all().includes(one));
  if (lines.length) pick(lines.filter((one) => one !== "none"));
  const whose = s.lines.findIndex((line) => line.name === q.get("run"));
  if (whose >= 0) state.whose = whose;
  Object.assign(state, {
    quantity: q.get("quantity") || "", judge: Number.parseInt(q.get("judge"), 10) || 0, find: q.get("find") || "",
    fate: q.get("fate") || "", seed: q.get("seed") || "", prompt: (Number.parseInt(q.get("prompt"), 10) || 1) - 1,
  });
  table.choose(q);
  draw();
}

// -------------------------------------------------------------------------------------------- start

const table = makeTable(() => { if (data.settings.length) remember(); });
for (const svg of document.querySelectorAll("main svg[role=img]")) { // drawings that need no script
  for (const point of svg.querySelectorAll(".mark")) {
    const title = point.querySelector("title");
    if (title) { tipped(point, title.textContent); title.remove(); }
  }
  reachable(svg);
}
function choose(id, then) {
  $(id).addEventListener("change", (event) => { then(event.target.value); draw(); });
}
choose("setting", (v) => enter(Number(v)));
choose("ratio", (v) => { state.ratio = Number(v); });
for (const key of [...Object.keys(FIRST), "quantity", "seed", "fate"]) choose(key, (v) => { state[key] = v; });
for (const key of ["judge", "whose", "prompt"]) choose(key, (v) => { state[key] = Number(v); });
$("find").addEventListener("input", (event) => { state.find = event.target.value; state.prompt = 0; drawReader(); remember(); });
const turn = (by) => () => {
  const n = $("prompt").options.length;
  if (n) { state.prompt = (state.prompt + by + n) % n; drawReader(); remember(); }
};
$("previous").addEventListener("click", turn(-1));
$("next").addEventListener("click", turn(1));
for (const button of document.querySelectorAll("[data-pick]")) {
  button.addEventListener("click", () => { pick(picks[button.dataset.pick]()); draw(); });
}
addEventListener("keydown", (event) => { if (event.key === "Escape") { hideTip(); $("picker").open = false; } });
addEventListener("hashchange", () => { if (location.hash.includes("=")) recall(); });
for (const part of document.querySelectorAll("#controls, .drawn")) part.hidden = false;
recall();
let width = document.documentElement.clientWidth;
addEventListener("resize", () => {
  // A phone's address bar changes the height only: nothing has to be drawn again for that.
  if (document.documentElement.clientWidth !== width) { width = document.documentElement.clientWidth; draw(); }
});
