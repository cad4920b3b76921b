// What stands beside the graph: the chosen node, kernels, what a pass changed, memory, guards.
function el(name, attrs = {}, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attrs)) {
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v); else e.setAttribute(k, v);
  }
  e.append(...children.filter(c => c !== null && c !== ""));
  return e;
}
const TABS = { node: nodePanel, kernels: kernelsPanel, changes: changesPanel, memory: memoryPanel, guards: guardsPanel };
const TAB_NAMES = { node: "Node", kernels: "Kernels", changes: "Changes", memory: "Memory", guards: "Guards" };
let tab = "node";

function showTab(name) {
  tab = name;
  for (const b of $("tabs").children) {
    const on = b.dataset.tab === name;
    b.setAttribute("aria-selected", on);
    b.tabIndex = on ? 0 : -1;
  }
  $("content").replaceChildren(...TABS[name]());
  const line = $("content").querySelector("li.lit");
  if (line) line.parentElement.scrollTop = Math.max(0, line.offsetTop - 60);
}
function makeTabs() {
  const names = Object.keys(TABS);
  names.forEach((name, i) => {
    const b = el("button", { role: "tab", "data-tab": name, onclick: () => showTab(name) }, TAB_NAMES[name]);
    b.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const to = names[(i + step + names.length) % names.length];
      showTab(to);
      $("tabs").children[names.indexOf(to)].focus();
    });
    $("tabs").append(b);
  });
}

// ---- pieces -----------------------------------------------------------------------------------
function nameOf(n) {
  return `${get(n, "title")}${n < 0 ? "" : ` #${n}`}`;
}
function link(n) {
  return el("button", { class: "link", onclick: () => select(n, true) }, nameOf(n),
    el("small", {}, ` ${get(n, "shape")}`));
}
function kernelLink(k) {
  return el("button", { class: "link", onclick: () => chooseKernel(k) }, `${k} · ${DATA.kernels[k].name}`);
}
function links(numbers, none = "none", most = 40) {
  if (!numbers.length) return el("span", { class: "muted" }, none);
  const shown = numbers.slice(0, most).map(link);
  if (numbers.length > most) shown.push(el("span", { class: "muted" }, `and ${numbers.length - most} more`));
  return el("span", { class: "links" }, ...shown);
}
function facts(...rows) {
  const list = el("dl");
  for (const [name, value] of rows) {
    if (value === "" || value === null) continue;
    list.append(el("dt", {}, name), el("dd", {}, value));
  }
  return list;
}
function section(title, ...children) {
  return el("section", {}, el("h3", {}, title), ...children);
}

// ---- a node -----------------------------------------------------------------------------------
function nodePanel() {
  if (state.selected === null) return introduction();
  if (typeof state.selected === "string") return groupPanel(groupOf(state.selected, view.tree.root));
  const n = state.selected;
  const stage = STAGES[state.stage].operands.has(n) || n < 0 ? state.stage : lastStage(n);
  const kernels = kernelsOf(n);
  const lines = n < 0 ? "" : get(n, "line");
  const parts = [
    el("h2", {}, nameOf(n)),
    facts(
      ["type", el("code", {}, get(n, "type"))],
      ["attributes", n < 0 ? "" : get(n, "detail")],
      ["pass", get(n, "phase")],
      ["module", n < 0 ? "" : [get(n, "composite"), get(n, "module")].filter(Boolean).join(" in ")],
      ["bytes", get(n, "bytes") ? bytesText(get(n, "bytes")) : ""],
      ["FLOPs", get(n, "flops") ? countText(get(n, "flops")) : ""],
    ),
    lines ? section("Written at", ...lines.split("\n").map(t => el("code", { class: "line" }, t))) : null,
    section("Reads", links(operandsOf(stage, n), "nothing")),
    section("Read by", links(usersOf(stage).get(n) || [], "nobody")),
    section("What became of it", fateList(n)),
  ];
  const partners = n < 0 ? [] : partnersOf(n);
  if (partners.length) {
    parts.push(section(get(n, "phase") === "backward" ? "Forward, at the same line" : "Its gradient", links(partners)));
  }
  parts.push(...kernelParts(n, kernels));
  return parts.filter(Boolean);
}
function lastStage(n) {
  for (let i = LAST; i >= 0; i--) if (STAGES[i].operands.has(n)) return i;
  return 0;
}
function kernelParts(n, kernels) {
  if (!kernels.length) return [section("Kernel", el("p", { class: "muted" }, "None: nothing of it is left to compute."))];
  const k = kernels.includes(state.kernel) ? state.kernel : kernels[0];
  const others = kernels.filter(x => x !== k);
  const head = el("p", {}, kernelLink(k));
  if (others.length) head.append(el("small", { class: "muted" }, ` and in ${others.length} more: `), ...others.slice(0, 8).map(kernelLink));
  return [section("Kernel", head, kernelFacts(k), ...code(k, finalOf(n)))];
}
function introduction() {
  const ops = STAGES[0].operands.size, left = STAGES[LAST].operands.size;
  return [
    el("h2", {}, DATA.title),
    el("p", {}, `${ops} nodes traced, ${left} after the passes, computed in ${DATA.kernels.length} regions.`),
    el("p", {}, "Choose a box to see its line, what became of it, and the generated code that computes it. Move the slider to walk through the passes."),
    section("Program", el("pre", { class: "facts" }, DATA.facts.join("\n"))),
    DATA.machine ? section("Measured on", el("p", {}, DATA.machine)) : null,
  ].filter(Boolean);
}
function groupPanel(g) {
  const nodes = [...g.all()].filter(n => n >= 0), kernels = new Set();
  nodes.forEach(n => kernelsOf(n).forEach(k => kernels.add(k)));
  const tally = new Map();
  nodes.forEach(n => tally.set(get(n, "op"), (tally.get(get(n, "op")) || 0) + 1));
  const sum = field => nodes.reduce((total, n) => total + get(n, field), 0);
  const open = !folds(view.tree.root).has(g.key);
  return [
    el("h2", {}, g.key.split("\n").join(" › ") || DATA.title),
    el("p", {}, el("button", { onclick: () => toggle(g.key) }, open ? "Fold" : "Unfold")),
    facts(
      ["operations", String(nodes.length)], ["FLOPs", sum("flops") ? countText(sum("flops")) : ""],
      ["made of", [...tally].sort((a, b) => b[1] - a[1]).slice(0, 12).map(([op, c]) => `${c} × ${op}`).join(", ")],
    ),
    section("Kernels", el("span", { class: "links" }, ...[...kernels].slice(0, 60).map(kernelLink))),
    section("Nodes", links(nodes, "none", 80)),
  ];
}
const VERBS = {
  removed: "removed", merged: "merged into", rewritten: "rewritten to", kept: "kept", moved: "continues as",
  changed: "got other operands",
};
function fateList(n) {
  if (n < 0) return el("p", { class: "muted" }, "An output of the program.");
  const list = el("ol", { class: "fates" });
  const first = firstStage(n), sources = originsOf(n);
  list.append(el("li", {}, first ? `made by ${stageText(first)}` : "traced", sources.length ? " from " : "", sources.length ? links(sources, "", 8) : ""));
  const { way, end } = journey(n, first);
  for (const row of way.slice(0, 40)) {
    const by = row.rules.length && row.rules.join() !== stageText(row.stage) ? ` (${row.rules.join(", ")})` : "";
    const item = el("li", {}, row.n === n ? "" : `#${row.n} `, VERBS[row.kind] || row.kind, " by ",
      el("button", { class: "link", onclick: () => setStage(row.stage) }, stageText(row.stage)), by);
    if (row.into.length && row.kind !== "changed") item.append(" ", links(row.into, "", 8));
    list.append(item);
  }
  const kernels = kernelsOf(n);
  list.append(el("li", {}, !end.length ? "ended here" : kernels.length
    ? `computed in kernel ${kernels.slice(0, 5).join(", ")}${kernels.length > 5 ? " …" : ""}` : "an argument of kernels"));
  return list;
}

// ---- kernels ----------------------------------------------------------------------------------
function chooseKernel(k) {
  state.kernel = k;
  showTab("kernels");
  const first = DATA.kernels[k].writes[0];
  if (first !== undefined) select(first, false);
}
function kernelFacts(k) {
  const kernel = DATA.kernels[k], s = kernel.seconds;
  return facts(
    ["kind", `${kernel.kind}, ${kernel.nodes.length} nodes`],
    ["time", s === null ? "" : timeText(s)],
    ["work", [kernel.flops ? `${countText(kernel.flops)}FLOP` : "", kernel.bytes ? bytesText(kernel.bytes) : ""].filter(Boolean).join(", ")],
    ["rate", s ? `${(kernel.flops / s / 1e9).toFixed(1)} GFLOP/s, ${(kernel.bytes / s / 1e9).toFixed(1)} GB/s` : ""],
    ["rows", kernel.rows.join(", ")],
    ["NumPy", kernel.reason],
  );
}
// The generated source, with the lines of some nodes lit.
function code(k, numbers) {
  const wanted = new Set(numbers);
  return DATA.kernels[k].code.map(source => {
    const owners = new Map(), lit = new Set();
    for (const [n, ...lines] of source.lines) {
      for (const line of lines) {
        owners.has(line) ? owners.get(line).push(n) : owners.set(line, [n]);
        if (wanted.has(n)) lit.add(line);
      }
    }
    const list = el("ol", { class: "code", tabindex: 0, "aria-label": `Source of ${source.name}` });
    DATA.sources[source.text].replace(/\n$/, "").split("\n").forEach((text, i) => {
      const nodes = owners.get(i + 1);
      const item = el("li", lit.has(i + 1) ? { class: "lit" } : {}, text || " ");
      if (nodes) {
        item.classList.add("owned");
        item.title = nodes.map(nameOf).join(", ");
        item.addEventListener("click", () => { state.kernel = k; select(nodes[0], true); });
      }
      list.append(item);
    });
    const path = source.path ? source.path.split("/").slice(-2).join("/") : "generated";
    return el("figure", {}, el("figcaption", {}, source.name, el("small", { class: "muted" }, ` ${path}`)), list);
  });
}
function kernelsPanel() {
  if (state.kernel !== null) {
    const k = state.kernel, kernel = DATA.kernels[k];
    const chosen = typeof state.selected === "number" ? finalOf(state.selected) : [];
    return [
      el("p", {}, el("button", { id: "all-kernels", onclick: () => { state.kernel = null; showTab("kernels"); } }, "‹ all kernels")),
      el("h2", {}, `${k} · ${kernel.name}`), kernelFacts(k),
      section("Writes", links(kernel.writes)), section("Reads", links(kernel.reads)),
      section("Nodes", links(kernel.nodes)), ...code(k, chosen),
    ];
  }
  const total = DATA.kernels.reduce((sum, k) => sum + (k.seconds || 0), 0);
  const order = DATA.kernels.map((_, k) => k);
  const weight = k => MEASURED ? DATA.kernels[k].seconds || 0 : DATA.kernels[k].flops * 1e3 + DATA.kernels[k].bytes;
  order.sort((a, b) => weight(b) - weight(a));
  const heads = ["kernel", ...(MEASURED ? ["time", "share"] : []), "FLOP", "bytes"];
  const body = order.map(k => {
    const kernel = DATA.kernels[k], cells = [kernelLink(k)];
    if (MEASURED) cells.push(timeText(kernel.seconds || 0), `${(100 * (kernel.seconds || 0) / total).toFixed(1)}%`);
    cells.push(kernel.flops ? countText(kernel.flops) : "–", bytesText(kernel.bytes));
    return el("tr", {}, ...cells.map(c => el("td", {}, c)));
  });
  const note = MEASURED ? `${timeText(total)} in ${DATA.kernels.length} regions` : "Heaviest first; times come with profile=gg.profile(…).";
  return [el("h2", {}, "Kernels"), el("p", { class: "muted" }, note), el("div", { class: "scroll" },
    el("table", {}, el("thead", {}, el("tr", {}, ...heads.map(h => el("th", {}, h)))), el("tbody", {}, ...body)))];
}

// ---- what a pass changed ----------------------------------------------------------------------
function changesPanel() {
  const i = state.stage, stage = STAGES[i];
  if (!i) return [el("h2", {}, "traced"), el("p", {}, `${stage.operands.size} nodes, as the program was traced.`)];
  const gone = [...stage.gone].map(([n, fate]) => el("li", {}, link(n), ` ${VERBS[fate.kind] || fate.kind}`,
    fate.into.length ? links(fate.into, "", 4) : "", el("small", { class: "muted" }, ` ${fate.rules.join(", ")}`)));
  const added = [...stage.added].map(n => el("li", {}, link(n), (stage.made.get(n) || []).length ? " from " : "",
    (stage.made.get(n) || []).length ? links(stage.made.get(n), "", 4) : ""));
  const changed = [...stage.changed].map(n => el("li", {}, link(n)));
  const list = (title, items) => section(`${items.length} ${title}`,
    el("ul", { class: "plain" }, ...items.slice(0, 300)),
    items.length > 300 ? el("p", { class: "muted" }, `and ${items.length - 300} more`) : null);
  return [
    el("h2", {}, stageText(i)),
    el("p", {}, `${STAGES[i - 1].operands.size} nodes before, ${stage.operands.size} after.`),
    list("removed −", gone), list("added +", added), list("with other operands ~", changed),
  ];
}

// ---- memory -----------------------------------------------------------------------------------
function memoryPanel() {
  const { live, peak, bars } = DATA.memory;
  const most = Math.max(...live, 1), end = Math.max(1, ...bars.map(b => b[2] + b[3]));
  if (!bars.length) return [el("h2", {}, "Memory"), el("p", {}, "The program keeps no intermediate values.")];
  const W = 400, H = 90, B = 240, wide = W / live.length;
  const curve = live.map((v, i) => `${i ? "" : "M0 " + H}L${i * wide} ${H - v / most * H}L${(i + 1) * wide} ${H - v / most * H}`).join("");
  const top = svg("svg", { viewBox: `0 -16 ${W} ${H + 18}`, class: "chart", role: "img", "aria-label": `Live bytes by step; peak ${bytesText(most)} at step ${peak + 1}` },
    svg("path", { d: `${curve}L${W} ${H}z`, class: "live" }),
    svg("line", { x1: (peak + 0.5) * wide, x2: (peak + 0.5) * wide, y1: 0, y2: H, class: "peak" }));
  const at = (peak + 0.5) * wide, label = svg("text", { x: at > W / 2 ? at - 6 : at + 6, y: -4, "text-anchor": at > W / 2 ? "end" : "start" });
  label.textContent = `peak ${bytesText(most)}, step ${peak + 1}`;
  top.append(label);
  const plan = svg("svg", { viewBox: `0 0 ${W} ${B}`, class: "chart", role: "img", "aria-label": "Places in the arena by step" });
  bars.forEach(([start, stop, offset, bytes, label, ...nodes]) => {
    const r = svg("rect", {
      x: start * wide, width: Math.max((stop - start + 1) * wide - 0.4, 0.8),
      y: B - (offset + bytes) / end * B, height: Math.max(bytes / end * B - 0.4, 0.6), class: "bar",
    }, svg("title", {}, `${nodes.length ? nameOf(nodes[nodes.length - 1]) : label} ${bytesText(bytes)}, steps ${start + 1}–${stop + 1}`));
    if (start <= peak && peak <= stop) r.classList.add("atpeak");
    if (nodes.includes(state.selected)) r.classList.add("mine");
    if (nodes.length) r.addEventListener("click", () => { select(nodes[nodes.length - 1], true); showTab("memory"); });
    plan.append(r);
  });
  plan.append(svg("line", { x1: at, x2: at, y1: 0, y2: B, class: "peak" }));
  const alive = bars.filter(b => b[0] <= peak && peak <= b[1]).sort((a, b) => b[3] - a[3]);
  return [
    el("h2", {}, "Memory"),
    el("p", {}, `${bytesText(end)} of arena for ${bars.length} values over ${live.length} steps. Most is alive at step ${peak + 1}: ${bytesText(most)}.`),
    section("Alive at each step", top), section("Places in the arena, step by step", plan),
    section("At the peak", el("ul", { class: "plain" }, ...alive.slice(0, 60).map(([, , , bytes, label, ...nodes]) =>
      el("li", {}, el("b", {}, bytesText(bytes)), " ", nodes.length ? link(nodes[nodes.length - 1]) : label)))),
  ];
}

function guardsPanel() {
  const list = (items, none) => {
    const tally = new Map();
    items.forEach(t => tally.set(t, (tally.get(t) || 0) + 1));
    const rows = [...tally].map(([t, n]) => el("li", {}, t, n > 1 ? el("small", {}, ` ×${n}`) : ""));
    return rows.length ? el("ol", { class: "guards" }, ...rows) : el("p", { class: "muted" }, none);
  };
  return [
    el("h2", {}, "Guards"),
    section("Traced again, because this changed", list(DATA.retraces, "Never: one trace has served every call so far.")),
    section(`${DATA.guards.length} guards: compared at each call`, list(DATA.guards, "none")),
  ];
}
