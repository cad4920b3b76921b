// The graph on the page: what is in sight is drawn, dragged, zoomed and walked with arrows.
const SVG = "http://www.w3.org/2000/svg";
const $ = id => document.getElementById(id);
function svg(name, attrs = {}, ...children) {
  const e = document.createElementNS(SVG, name);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

const LINE = 15, WIDEST = 230, NARROWEST = 64;
const pen = document.createElement("canvas").getContext("2d");
const FONT = "12px Helvetica, Arial, 'Liberation Sans', sans-serif";
function widthOf(text, bold) {
  pen.font = (bold ? "bold " : "") + FONT;
  return pen.measureText(text).width;
}
function fitted(text, bold, room = WIDEST - 24) {
  if (widthOf(text, bold) <= room) return text;
  let low = 0, high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (widthOf(`${text.slice(0, middle)}…`, bold) <= room) low = middle; else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}
const titleWidth = g => widthOf(fitted(g.label, true), true) + 40;

const view = { x: 0, y: 0, scale: 1, layout: null, tree: null, drawn: new Map(), heat: null };

// ---- boxes ------------------------------------------------------------------------------------
function measure(n, group) {
  const title = fitted(group ? group.label : get(n, "title"), true);
  const detail = fitted(group ? groupDetail(group) : nodeDetail(n), false);
  const w = Math.max(NARROWEST, widthOf(title, true), detail ? widthOf(detail, false) : 0) + 24;
  const h = 14 + LINE * (detail ? 2 : 1);
  const id = group ? `g${group.key}` : `n${n}`;
  return { id, node: n, group, title, detail, w: Math.ceil(w), h };
}
function groupDetail(g) {
  if (state.heat) return heatText(heatOfGroup(g));
  return `${g.size} ${g.size === 1 ? "operation" : "operations"}`;
}
function nodeDetail(n) {
  if (state.heat) return heatText(heatOf(n));
  const detail = get(n, "op") === "input" || n < 0 ? "" : get(n, "detail").split("  ")[0];
  const shape = get(n, "shape");
  return detail && widthOf(`${shape}  ${detail}`, false) < WIDEST - 24 ? `${shape}  ${detail}` : shape;
}

function heatOf(n) {
  if (n < 0) return 0;
  if (state.heat === "time") {
    return kernelsOf(n).reduce((sum, k) => sum + (DATA.kernels[k].seconds || 0), 0);
  }
  return get(n, "op") === "input" && state.heat === "flops" ? 0 : get(n, state.heat);
}
function heatOfGroup(g) {
  if (state.heat === "time") {
    const kernels = new Set();
    for (const n of g.all()) if (n >= 0) kernelsOf(n).forEach(k => kernels.add(k));
    return [...kernels].reduce((sum, k) => sum + (DATA.kernels[k].seconds || 0), 0);
  }
  let sum = 0;
  for (const n of g.all()) sum += heatOf(n);
  return sum;
}
function heatText(value) {
  if (!value) return "–";
  if (state.heat === "time") return timeText(value);
  return state.heat === "bytes" ? bytesText(value) : `${countText(value)}FLOP`;
}

// ---- layout -----------------------------------------------------------------------------------
function relayout() {
  view.tree = groupTree();
  const folded = folds(view.tree.root), pairs = [];
  for (const n of view.tree.home.keys()) {
    const stage = STAGES[state.stage].gone.has(n) ? state.stage - 1 : state.stage;
    // A result of a loop comes from its body, where that is shown, not from its head.
    const operands = operandsOf(stage, n);
    const from = get(n, "op") === "result" && operands.length > 1 ? operands.slice(1) : operands;
    for (const i of from) pairs.push([i, n]);
  }
  view.layout = layoutTree(view.tree, folded, pairs, measure);
  view.byId = new Map(view.layout.boxes.map(b => [b.id, b]));
  colourAll();
  $("graph").replaceChildren(world());
  view.drawn = new Map();
  draw();
}
function colourAll() {
  if (!state.heat) { view.heat = null; return; }
  const values = new Map();
  for (const b of view.layout.boxes) values.set(b.id, b.group ? heatOfGroup(b.group) : heatOf(b.node));
  view.heat = { values, most: Math.max(...values.values(), 0) };
}
function world() {
  view.parts = Object.fromEntries(
    ["frames", "edges", "labels", "boxes"].map(name => [name, svg("g", { class: name })]));
  for (const f of view.layout.frames.sort((a, b) => a.group.depth - b.group.depth)) {
    const [frame, label] = drawnFrame(f);
    view.parts.frames.append(frame);
    view.parts.labels.append(label);
  }
  view.parts.edges.append(
    svg("path", { class: "edge" }), svg("path", { class: "edge chosen" }));
  view.world = svg("g", {}, ...Object.values(view.parts));
  const arrow = svg("marker", {
    id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto",
  }, svg("path", { d: "M0 0L8 4L0 8z", class: "arrow" }));
  return svg("g", {}, svg("defs", {}, arrow), view.world);
}
function drawnFrame(f) {
  const kind = isPhase(f.group) ? `phase ${f.group.label}` : "module";
  // Its name stands above the lines that cross the frame.
  const frame = svg("g", { class: `frame ${kind}`, "data-key": f.group.key });
  frame.append(svg("rect", { x: f.x, y: f.y, width: f.w, height: f.h, rx: 8 }));
  const g = svg("g", { class: `frame label ${kind}` });
  const label = svg("text", { x: f.x + 24, y: f.y + 18 });
  label.textContent = fitted(f.group.label, true);
  const mark = svg("text", { x: f.x + 10, y: f.y + 18, class: "mark" });
  mark.textContent = "–";
  g.append(mark, label, svg("title", {}, `${f.group.key.split("\n").join(" › ")}: click to fold`));
  const fold = event => { if (!view.moved) { event.stopPropagation(); toggle(f.group.key); } };
  for (const part of [frame, g]) part.addEventListener("click", fold);
  return [frame, g];
}

// ---- drawing what is in sight -----------------------------------------------------------------
let waiting = false;
function draw() {
  if (!waiting) {
    waiting = true;
    requestAnimationFrame(() => { waiting = false; drawNow(); });
  }
}
function drawNow() {
  const { width, height } = $("canvas").getBoundingClientRect();
  view.world.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
  $("graph").classList.toggle("far", view.scale < 0.3);
  const left = -view.x / view.scale - 40, top = -view.y / view.scale - 40;
  const right = left + width / view.scale + 80, bottom = top + height / view.scale + 80;
  const seen = b => b.x < right && b.x + b.w > left && b.y < bottom && b.y + b.h > top;
  const wanted = new Set();
  for (const b of view.layout.boxes) {
    if (!seen(b)) continue;
    wanted.add(b.id);
    if (!view.drawn.has(b.id)) {
      const e = drawnBox(b);
      view.drawn.set(b.id, e);
      view.parts.boxes.append(e);
    }
  }
  for (const [id, e] of view.drawn) if (!wanted.has(id)) { e.remove(); view.drawn.delete(id); }
  markChosen();
  drawEdges(left, top, right, bottom);
}
function drawnBox(b) {
  const kind = b.group ? "folded" : get(b.node, "kind");
  const g = svg("g", {
    class: `box ${kind} ${b.group ? phaseOf(b.group) : get(b.node, "phase")}`,
    "data-id": b.id, transform: `translate(${b.x} ${b.y})`,
  });
  if (b.group) g.append(svg("path", { class: "behind", d: outline("op", b.w, b.h), transform: "translate(3 3)" }));
  const shape = svg("path", { class: "shape", d: outline(kind, b.w, b.h) });
  if (view.heat) {
    const share = view.heat.most ? Math.sqrt(view.heat.values.get(b.id) / view.heat.most) : 0;
    shape.style.fill = `color-mix(in srgb, var(--hot) ${Math.round(share * 100)}%, var(--cold))`;
    if (share > 0.6) g.classList.add("hot");
  }
  g.append(shape);
  const lines = b.detail ? [b.title, b.detail] : [b.title];
  lines.forEach((text, i) => {
    const t = svg("text", { x: b.w / 2, y: 18 + LINE * i, class: i ? "detail" : "name" });
    t.textContent = text;
    g.append(t);
  });
  const mark = changeOf(b);
  if (mark) {
    g.classList.add(mark);
    const t = svg("text", { x: b.w - 3, y: 5, class: "badge" });
    t.textContent = { added: "+", changed: "~", gone: "−" }[mark];
    g.append(svg("circle", { cx: b.w - 3, cy: 1, r: 7, class: "badge" }), t);
  }
  const full = b.group ? b.group.key.split("\n").join(" › ") : `${get(b.node, "title")} ${get(b.node, "type")}`;
  g.append(svg("title", {}, full));
  return g;
}
// A shape for each kind, so that pictures can be read without colours.
function outline(kind, w, h) {
  const r = 6;
  switch (kind) {
    case "input": case "output": return rounded(w, h, h / 2);
    case "parameter": return `M9 0H${w - 9}L${w} ${h / 2}L${w - 9} ${h}H9L0 ${h / 2}z`;
    case "state": return `M0 4Q${w / 2} -4 ${w} 4V${h - 4}Q${w / 2} ${h + 4} 0 ${h - 4}z`;
    case "reduce": return `M0 0H${w}L${w - 10} ${h}H10z`;
    case "constant": return `M0 0H${w - 9}L${w} 9V${h}H0z`;
    case "control": case "host": return `${rounded(w, h, 2)}M6 0V${h}M${w - 6} 0V${h}`;
    default: return rounded(w, h, r);
  }
}
function rounded(w, h, r) {
  return `M${r} 0H${w - r}a${r} ${r} 0 0 1 ${r} ${r}V${h - r}a${r} ${r} 0 0 1 ${-r} ${r}H${r}` +
    `a${r} ${r} 0 0 1 ${-r} ${-r}V${r}a${r} ${r} 0 0 1 ${r} ${-r}z`;
}
function changeOf(b) {
  const stage = STAGES[state.stage];
  const of = n => stage.gone.has(n) ? "gone" : stage.added.has(n) ? "added" : stage.changed.has(n) ? "changed" : "";
  if (!b.group) return of(b.node);
  for (const n of b.group.all()) if (of(n)) return "changed";
  return "";
}

function drawEdges(left, top, right, bottom) {
  const plain = [], chosen = [];
  const mine = chosenBoxes();
  for (const e of view.layout.edges) {
    const own = mine.has(e.from.id) || mine.has(e.to.id);
    // Between the passes there are hundreds of lines: those of the chosen box are enough.
    if (!own && (!e.points || isPhase(e.frame) && e.frame.label === "update")) continue;
    if (!own && (Math.min(e.from.y, e.to.y) > bottom || Math.max(e.from.y, e.to.y) + 60 < top)) continue;
    (own ? chosen : plain).push(route(e));
  }
  const [a, b] = view.parts.edges.children;
  a.setAttribute("d", plain.join(""));
  b.setAttribute("d", chosen.join(""));
}
function route(e) {
  const up = e.from.y > e.to.y;
  const start = { x: e.from.x + e.from.w / 2, y: up ? e.from.y : e.from.y + e.from.h };
  const end = { x: e.to.x + e.to.w / 2, y: up ? e.to.y + e.to.h : e.to.y };
  const beside = Math.abs(e.from.y - e.to.y) < 20;
  if (beside) {
    const right = e.from.x < e.to.x;
    start.x = right ? e.from.x + e.from.w : e.from.x;
    end.x = right ? e.to.x : e.to.x + e.to.w;
    start.y = e.from.y + e.from.h / 2;
    end.y = e.to.y + e.to.h / 2;
    return `M${start.x} ${start.y}L${end.x} ${end.y}`;
  }
  let d = `M${start.x} ${start.y}`, last = start;
  for (const p of [...(e.points || []), end]) {
    const half = (p.y - last.y) / 2;
    d += `C${last.x} ${last.y + half} ${p.x} ${p.y - half} ${p.x} ${p.y}`;
    last = p;
  }
  return d;
}

// ---- choosing ---------------------------------------------------------------------------------
function boxOf(n) { return view.layout.rep.get(n); }
function chosenBoxes() {
  const ids = new Set();
  if (typeof state.selected === "number") {
    for (const n of [state.selected, ...finalOf(state.selected)]) {
      const b = boxOf(n);
      if (b) { ids.add(b.id); break; }
    }
  } else if (state.selected) ids.add(`g${state.selected}`);
  return ids;
}
function markChosen() {
  const chosen = chosenBoxes();
  const related = new Set(), pairs = new Set();
  if (typeof state.selected === "number") {
    const at = new Set();
    kernelsOf(state.selected).forEach(k => DATA.kernels[k].nodes.forEach(n => at.add(n)));
    for (const n of at) { const b = boxOf(n); if (b && !b.group) related.add(b.id); }
    for (const n of partnersOf(state.selected)) { const b = boxOf(n); if (b) pairs.add(b.id); }
  }
  for (const [id, e] of view.drawn) {
    e.classList.toggle("chosen", chosen.has(id));
    e.classList.toggle("kernelmate", related.has(id) && !chosen.has(id));
    e.classList.toggle("pair", pairs.has(id));
  }
}

// ---- moving -----------------------------------------------------------------------------------
function fit() {
  const { width, height } = $("canvas").getBoundingClientRect();
  const { w, h } = view.layout;
  const whole = Math.min(width / (w + 40), height / (h + 40), 1.2);
  // Whole pictures that nobody could read start at the top instead.
  view.scale = whole >= 0.7 ? whole : Math.max(Math.min(width / (w + 40), 1), 0.7);
  view.x = Math.max((width - w * view.scale) / 2, 14);
  view.y = whole >= 0.7 ? Math.max((height - h * view.scale) / 2, 10) : 14;
  // Where the page is much wider than the window: where the graph begins.
  const forward = view.layout.boxes.filter(b => phaseOf(b.parent) === "forward");
  const first = (forward.length ? forward : view.layout.boxes)
    .reduce((a, b) => !a || b.y < a.y || (b.y === a.y && b.x < a.x) ? b : a, null);
  if (first && view.x + (first.x + first.w) * view.scale > 0.7 * width) view.x = width / 3 - first.x * view.scale;
  draw();
}
function zoom(factor, x, y) {
  const { width, height } = $("canvas").getBoundingClientRect();
  x ??= width / 2;
  y ??= height / 2;
  const scale = Math.min(4, Math.max(0.03, view.scale * factor));
  view.x = x - (x - view.x) * scale / view.scale;
  view.y = y - (y - view.y) * scale / view.scale;
  view.scale = scale;
  draw();
}
// Bring a box into sight, readable, without moving more than that takes.
function reveal(b, middle) {
  const { width, height } = $("canvas").getBoundingClientRect();
  if (view.scale < 0.5) view.scale = 0.9;
  const x = view.x + b.x * view.scale, y = view.y + b.y * view.scale;
  const inside = x > 10 && y > 10 && x + b.w * view.scale < width - 10 && y + b.h * view.scale < height - 10;
  if (!inside || middle) {
    view.x = width / 2 - (b.x + b.w / 2) * view.scale;
    view.y = height / 2 - (b.y + b.h / 2) * view.scale;
  }
  draw();
}
// The box nearest in a direction, those straight ahead first.
function neighbour(b, dx, dy) {
  let best = null, least = Infinity;
  for (const o of view.layout.boxes) {
    if (o === b) continue;
    const x = o.x + o.w / 2 - b.x - b.w / 2, y = o.y + o.h / 2 - b.y - b.h / 2;
    const ahead = x * dx + y * dy, aside = Math.abs(x * dy) + Math.abs(y * dx);
    if (ahead <= 4) continue;
    const cost = ahead + 2.5 * aside;
    if (cost < least) { least = cost; best = o; }
  }
  return best;
}

// What the tests ask: boxes that lie on each other, and text that leaves its box.
function check() {
  const problems = [];
  const boxes = [...view.layout.boxes].sort((a, b) => a.x - b.x);
  for (let i = 0; i < boxes.length; i++) {
    for (let j = i + 1; j < boxes.length && boxes[j].x < boxes[i].x + boxes[i].w; j++) {
      const a = boxes[i], b = boxes[j];
      if (a.y < b.y + b.h && b.y < a.y + a.h) problems.push(`${a.id} lies on ${b.id}`);
    }
  }
  for (const [id, e] of view.drawn) {
    const room = e.querySelector(".shape").getBBox().width;
    for (const t of e.querySelectorAll("text:not(.badge)")) {
      if (t.getBBox().width > room) problems.push(`the text of ${id} is cut off`);
    }
  }
  for (const f of view.layout.frames) {
    for (const item of f.group.items) {
      const out = item.x < f.x || item.y < f.y + GAP.head - 1 ||
        item.x + item.w > f.x + f.w + 1 || item.y + item.h > f.y + f.h + 1;
      if (out) problems.push(`${item.id || item.group.key} leaves ${f.group.key}`);
    }
  }
  return problems;
}
