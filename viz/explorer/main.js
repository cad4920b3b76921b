// The page put together: what is chosen, which stage is shown, search, and the keys.
function select(n, show) {
  state.selected = n;
  if (typeof n === "number" && show) unfoldTo(n);
  const b = view.layout && [...chosenBoxes()].map(id => view.byId.get(id))[0];
  if (b && show) reveal(b, false); else draw();
  showTab(show || tab === "node" ? "node" : tab);
}
// Open the frames around a node that is shown in this stage.
function unfoldTo(n) {
  const g = view.tree.home.get(n) || finalOf(n).map(m => view.tree.home.get(m)).find(Boolean);
  const folded = folds(view.tree.root);
  let opened = false;
  for (let at = g; at && at.parent; at = at.parent) opened = folded.delete(at.key) || opened;
  if (opened) relayout();
}
function toggle(key) {
  const folded = folds(view.tree.root), g = groupOf(key, view.tree.root);
  if (folded.has(key)) {
    if (view.layout.boxes.length + g.nodes.length + g.groups.size > MOST_SHOWN) {
      return notice(`More than ${MOST_SHOWN} boxes would be shown: fold something first.`);
    }
    folded.delete(key);
    for (const child of g.children) folded.add(child.key);
  } else folded.add(key);
  const before = view.byId.get(`g${key}`) || view.layout.frames.find(f => f.group.key === key);
  relayout();
  const after = view.byId.get(`g${key}`) || view.layout.frames.find(f => f.group.key === key);
  if (before && after) {  // what was clicked stays under the pointer
    view.x += (before.x - after.x) * view.scale;
    view.y += (before.y - after.y) * view.scale;
  }
  state.selected = key;
  showTab(tab);
  draw();
}
function foldAll(fold) {
  const { root } = groupTree(), keys = new Set();
  if (fold) {
    const walk = g => { if (g.parent && !isPhase(g)) keys.add(g.key); g.children.forEach(walk); };
    walk(root);
    state.folded.set(state.frames, keys);
  } else state.folded.set(state.frames, firstFolds(root, MOST_SHOWN));
  relayout();
  fit();
  showTab(tab);
}
function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = false;
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => { $("notice").hidden = true; }, 4000);
}
function setStage(i) {
  state.stage = Math.min(LAST, Math.max(0, i));
  $("slider").value = state.stage;
  const stage = STAGES[state.stage];
  const marks = state.stage ? ` −${stage.gone.size} +${stage.added.size} ~${stage.changed.size}` : ` ${stage.operands.size}`;
  $("stage").replaceChildren(el("b", {}, `${state.stage} ${stageText(state.stage)}`), el("small", {}, marks));
  $("slider").setAttribute("aria-valuetext", `${stageText(state.stage)}:${marks}`);
  $("back").disabled = !state.stage;
  $("forth").disabled = state.stage === LAST;
  if (state.stage !== LAST && state.frames === "kernel") {
    state.frames = "module";
    $("frames").value = "module";
  }
  $("frames").options[1].disabled = state.stage !== LAST;
  relayout();
  legend();
  showTab(state.stage && tab === "node" && state.selected === null ? "changes" : tab);
}
function legend() {
  const row = $("legend");
  row.replaceChildren();
  if (view.heat) {
    row.append(el("span", { class: "scale" }), `0 – ${heatText(view.heat.most)} ${state.heat === "time" ? "in its kernel" : ""}`);
    return;
  }
  const stage = STAGES[state.stage];
  const entries = { added: "+ added", changed: "~ changed", gone: "− removed" };
  for (const [name, text] of Object.entries(entries)) {
    if (stage[name].size) row.append(el("span", { class: `key ${name}` }, text));
  }
}

// ---- search -----------------------------------------------------------------------------------
let hits = [], hit = -1;
function search() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  hits = [];
  hit = -1;
  if (words.length) {
    const here = STAGES[state.stage].operands, elsewhere = [];
    const match = n => {
      const fields = ["title", "op", "type", "module", "line", "composite"].map(f => get(n, f));
      const text = [...fields, DATA.types[get(n, "module")] || ""].join(" ").toLowerCase();
      return words.every(w => text.includes(w) || w === `#${n}`);
    };
    for (let n = 0; n < DATA.nodes.length && hits.length < 60; n++) {
      if (match(n)) (here.has(n) ? hits : elsewhere).push(n);
    }
    hits = hits.concat(elsewhere).slice(0, 60);
  }
  const rows = hits.map((n, i) => el("div", { role: "option", id: `hit${i}`, onmousedown: event => { event.preventDefault(); take(i); } },
    el("b", {}, nameOf(n)), ` ${get(n, "shape")} `, el("small", {}, [get(n, "phase"), get(n, "module"), get(n, "line").split("  ")[0]].filter(Boolean).join(" · "))));
  if (words.length && !rows.length) rows.push(el("div", { class: "muted" }, "nothing found"));
  $("hits").replaceChildren(...rows);
  $("hits").hidden = !rows.length;
  $("search").setAttribute("aria-expanded", String(rows.length > 0));
}
function point(i) {
  hit = hits.length ? (i + hits.length) % hits.length : -1;
  [...$("hits").children].forEach((row, j) => row.setAttribute("aria-selected", j === hit));
  if (hit >= 0) {
    $("search").setAttribute("aria-activedescendant", `hit${hit}`);
    $("hits").children[hit].scrollIntoView({ block: "nearest" });
  }
}
function take(i) {
  $("hits").hidden = true;
  $("search").setAttribute("aria-expanded", "false");
  const n = hits[i];
  if (!STAGES[state.stage].operands.has(n)) setStage(lastStage(n));
  select(n, true);
  $("graph").focus();
}

// ---- keys and pointers ----------------------------------------------------------------------
const KEYS = [
  ["arrows", "to the next box"], ["Enter", "open or fold a module; to the details of a node"], ["Esc", "let go"],
  ["/", "search"], ["[ and ]", "stage before, next stage"], ["+ − 0", "zoom in, out, fit"], ["f", "fold the module around the box"],
  ["Tab", "on to the controls and the details"],
];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function walk(dx, dy) {
  const from = [...chosenBoxes()].map(id => view.byId.get(id)).find(Boolean);
  const to = from ? neighbour(from, dx, dy) : view.layout.boxes[0];
  if (!to) return;
  select(to.group ? to.group.key : to.node, false);
  reveal(to, false);
}
function enter() {
  if (typeof state.selected === "string") toggle(state.selected);
  else if (state.selected !== null) { showTab("node"); $("content").focus(); }
}
function graphKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = ARROWS[event.key];
  const act = arrow ? () => walk(...arrow) : {
    Enter: enter, Escape: () => select(null, false), f: foldAround,
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: fit,
  }[event.key];
  if (act) { event.preventDefault(); act(); }
}
function foldAround() {
  const n = state.selected;
  const g = typeof n === "number" ? view.tree.home.get(n) : n && groupOf(n, view.tree.root).parent;
  if (g && g.parent) toggle(g.key);
}
function pageKey(event) {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "Escape" && event.target === $("search")) {
    $("search").value = "";
    search();
    $("graph").focus();
  } else if (!typing && event.key === "/") { event.preventDefault(); $("search").focus(); }
  else if (!typing && event.key === "[") setStage(state.stage - 1);
  else if (!typing && event.key === "]") setStage(state.stage + 1);
}
function searchKey(event) {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    point(hit + (event.key === "ArrowDown" ? 1 : -1));
  } else if (event.key === "Enter" && hits.length) take(Math.max(hit, 0));
}
function pointers() {
  const canvas = $("graph"), held = new Map();
  canvas.addEventListener("pointerdown", event => {
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
    view.moved = false;
  });
  canvas.addEventListener("pointermove", event => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const dx = now.x - before.x, dy = now.y - before.y;
    if (held.size === 1) {
      if (!view.moved && Math.hypot(dx, dy) < 4) return;
      view.x += dx;
      view.y += dy;
    } else {
      const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
      const box = canvas.getBoundingClientRect();
      const apart = p => Math.hypot(p.x - other.x, p.y - other.y) || 1;
      zoom(apart(now) / apart(before), (now.x + other.x) / 2 - box.left, (now.y + other.y) / 2 - box.top);
    }
    view.moved = true;
    if (!canvas.hasPointerCapture(event.pointerId)) canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, now);
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, event => held.delete(event.pointerId));
  }
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 500), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  canvas.addEventListener("click", event => {
    if (view.moved) return;
    const e = event.target.closest(".box");
    if (!e) return;
    const b = view.byId.get(e.dataset.id);
    if (b.group) toggle(b.group.key); else select(b.node, false);
    if (!b.group) showTab("node");
  });
}
function option(select, value, text, disabled) {
  const o = el("option", { value }, text);
  o.disabled = Boolean(disabled);
  select.append(o);
}
function controls() {
  $("title").textContent = DATA.title;
  $("slider").max = LAST;
  option($("heat"), "", "by kind");
  option($("heat"), "time", MEASURED ? "by time" : "by time (not measured)", !MEASURED);
  option($("heat"), "bytes", "by bytes");
  option($("heat"), "flops", "by FLOPs");
  option($("frames"), "module", "modules");
  option($("frames"), "kernel", "kernels");
  $("slider").addEventListener("input", () => setStage(Number($("slider").value)));
  $("back").onclick = () => setStage(state.stage - 1);
  $("forth").onclick = () => setStage(state.stage + 1);
  $("heat").onchange = () => { state.heat = $("heat").value; relayout(); legend(); };
  $("frames").onchange = () => { state.frames = $("frames").value; relayout(); fit(); };
  $("fold").onclick = () => foldAll(true);
  $("unfold").onclick = () => foldAll(false);
  $("fit").onclick = fit;
  $("help").onclick = () => $("keys").showModal();
  $("keys").append(el("h2", {}, "Keys"), facts(...KEYS), el("form", { method: "dialog" }, el("button", {}, "Close")));
  $("search").addEventListener("input", search);
  $("search").addEventListener("keydown", searchKey);
  $("search").addEventListener("focus", search);
  $("search").addEventListener("blur", () => { $("hits").hidden = true; });
  $("graph").addEventListener("keydown", graphKey);
  document.addEventListener("keydown", pageKey);
  new ResizeObserver(draw).observe($("canvas"));
}

makeTabs();
controls();
pointers();
setStage(LAST);
showTab("node");
fit();
// For whoever drives the page from outside.
window.explorer = { data: DATA, state, view, check, select, setStage, toggle, foldAll, get, finalOf, kernelsOf };
