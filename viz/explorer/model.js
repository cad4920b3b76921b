// The data as the page uses it: nodes by number, stages with what changed, groups that fold.
const DATA = JSON.parse(document.getElementById("data").textContent);
const FIELD = Object.fromEntries(DATA.fields.map((name, i) => [name, i]));
const NUMBERS = new Set(["bytes", "flops", "pair", "literal"]);
const LAST = DATA.stages.length - 1;
const MOST_SHOWN = 3000, FIRST_SHOWN = 60, LONGEST_FRAME = 250;

// A field of a node; outputs of the program are nodes with negative numbers.
function get(n, field) {
  if (n < 0) return OUTPUT_FIELDS[field] ? OUTPUT_FIELDS[field](DATA.outputs[-n - 1]) : "";
  const value = DATA.nodes[n][FIELD[field]];
  return NUMBERS.has(field) ? value : DATA.words[value];
}
const OUTPUT_FIELDS = {
  op: () => "output", kind: () => "output", title: row => row[0],
  shape: row => get(row[1], "shape"), type: row => get(row[1], "type"),
  phase: row => get(row[1], "phase"), group: row => get(row[1], "group"),
  bytes: row => get(row[1], "bytes"), flops: () => 0, pair: () => 0, literal: () => 0,
};

// Each stage: {name, operands: Map, gone: Map, made: Map, added: Set, changed: Set}
const STAGES = [];
DATA.stages.forEach((row, i) => {
  const before = i ? STAGES[i - 1].operands : new Map();
  const operands = new Map(before), added = new Set(), changed = new Set();
  const gone = new Map((row.gone || []).map(([n, kind, rules, into]) => [n, { kind, rules, into }]));
  for (const n of gone.keys()) operands.delete(n);
  for (const [n, ...inputs] of row.set) {
    (before.has(n) ? changed : added).add(n);
    operands.set(n, inputs);
  }
  const made = new Map((row.made || []).map(([n, sources]) => [n, sources]));
  if (!i) added.clear();
  STAGES.push({ name: row.name, operands, gone, made, added, changed });
});

const OUTPUTS = DATA.outputs.map((_, i) => -i - 1);
function operandsOf(stage, n) {
  if (n < 0) return [DATA.outputs[-n - 1][stage === LAST ? 2 : outputColumn(stage, n)]];
  return STAGES[stage].operands.get(n) || [];
}
// What an output is in a stage between: the traced node, or what stands for it by then.
function outputColumn(stage, n) {
  const row = DATA.outputs[-n - 1];
  return STAGES[stage].operands.has(row[1]) ? 1 : 2;
}

const usersCache = new Map();
function usersOf(stage) {
  if (!usersCache.has(stage)) {
    const users = new Map();
    const note = (i, n) => users.has(i) ? users.get(i).push(n) : users.set(i, [n]);
    for (const [n, inputs] of STAGES[stage].operands) for (const i of new Set(inputs)) note(i, n);
    for (const n of OUTPUTS) for (const i of operandsOf(stage, n)) note(i, n);
    usersCache.set(stage, users);
  }
  return usersCache.get(stage);
}

// ---- what became of a node ------------------------------------------------------------------
// The numbers that stand for n after stage `from`, and the way there: [{stage, n, kind, rules, into}]
function journey(n, from = 0) {
  const way = [];
  let now = new Set([n]);
  for (let i = from + 1; i <= LAST && now.size; i++) {
    const next = new Set();
    for (const m of now) {
      const end = STAGES[i].gone.get(m);
      if (end) {
        way.push({ stage: i, n: m, ...end });
        end.into.forEach(x => next.add(x));
      } else {
        if (STAGES[i].changed.has(m)) way.push({ stage: i, n: m, kind: "changed", rules: [], into: [m] });
        next.add(m);
      }
    }
    now = next;
  }
  return { way, end: [...now].filter(m => STAGES[LAST].operands.has(m)) };
}
const finalCache = new Map();
function finalOf(n) {
  if (n < 0) return [DATA.outputs[-n - 1][2]];
  if (!finalCache.has(n)) finalCache.set(n, journey(n, firstStage(n)).end);
  return finalCache.get(n);
}
function firstStage(n) {
  for (let i = 0; i <= LAST; i++) if (STAGES[i].operands.has(n)) return i;
  return 0;
}
function originsOf(n) {
  const first = firstStage(n);
  return first ? STAGES[first].made.get(n) || [] : [];
}

// ---- kernels ------------------------------------------------------------------------------------
const HOMES = new Map(DATA.homes.map(([n, ...kernels]) => [n, kernels]));
const kernelsCache = new Map();
function kernelsOf(n) {
  if (!kernelsCache.has(n)) {
    const found = new Set();
    for (const m of finalOf(n)) for (const k of HOMES.get(m) || []) found.add(k);
    kernelsCache.set(n, [...found]);
  }
  return kernelsCache.get(n);
}
const MEASURED = DATA.kernels.some(k => k.seconds !== null);

const PAIRS = new Map();
DATA.nodes.forEach((_, n) => {
  const pair = get(n, "pair");
  if (pair) PAIRS.has(pair) ? PAIRS.get(pair).push(n) : PAIRS.set(pair, [n]);
});
// Operations of the other pass that belong to the same call in the program.
function partnersOf(n) {
  const phase = get(n, "phase");
  return (PAIRS.get(get(n, "pair")) || []).filter(
    m => get(m, "phase") !== phase && get(m, "phase") !== "update" && !get(m, "literal"));
}

// ---- groups -------------------------------------------------------------------------------------
const PHASES = ["forward", "backward", "update"];
const state = {
  stage: LAST, frames: "module", heat: "", selected: null, kernel: null,
  folded: new Map(),  // by frames: Set of keys
};

function pathOf(n) {
  if (state.frames === "kernel" && state.stage === LAST && n >= 0) {
    const kernels = HOMES.get(n);
    const inside = kernels && get(n, "op") !== "input";
    const phase = inside ? phaseOfKernel(kernels[0]) : get(n, "phase");
    const head = phase ? [phase] : [];
    if (!inside) return head;
    return [...head, `kernel ${kernels[0]} · ${DATA.kernels[kernels[0]].name}`];
  }
  const text = get(n, "group");
  return text ? text.split("\n") : [];
}

// The pass that most of a kernel's results belong to.
function phaseOfKernel(k) {
  const tally = {};
  for (const n of DATA.kernels[k].writes) tally[get(n, "phase")] = (tally[get(n, "phase")] || 0) + 1;
  return Object.keys(tally).sort((a, b) => tally[b] - tally[a])[0] || "";
}

// A module is called by its name and its class.
function labelOf(path, i) {
  const modules = path.slice(skipped(path), i + 1).map(name => name.replace(/#\d+$/, ""));
  const type = DATA.types[modules.join(".")];
  return type && type !== path[i] ? `${path[i]} · ${type}` : path[i];
}
const skipped = path => PHASES.includes(path[0]) ? 1 : 0;

class Group {
  constructor(key, label, parent) {
    Object.assign(this, { key, label, parent, groups: new Map(), nodes: [], size: 0 });
  }
  get depth() { return this.parent ? this.parent.depth + 1 : 0; }
  get children() { return [...this.groups.values()]; }
  *all() { yield* this.nodes; for (const g of this.children) yield* g.all(); }
}

// All that is shown in the current stage, as a tree: its nodes, those that just went, outputs.
function groupTree() {
  const root = new Group("", "", null), home = new Map();
  const stage = STAGES[state.stage];
  const shown = [...stage.operands.keys(), ...stage.gone.keys(), ...OUTPUTS];
  for (const n of shown) {
    if (get(n, "literal")) continue;
    let group = root;
    const path = pathOf(n);
    path.forEach((name, i) => {
      if (!group.groups.has(name)) {
        group.groups.set(name, new Group(path.slice(0, i + 1).join("\n"), labelOf(path, i), group));
      }
      group = group.groups.get(name);
    });
    group.nodes.push(n);
    home.set(n, group);
  }
  cutLongFrames(root, home);
  return { root, home };
}
// A frame with very many nodes of its own gets parts that can be folded.
function cutLongFrames(group, home) {
  group.children.forEach(g => cutLongFrames(g, home));
  if (group.nodes.length > LONGEST_FRAME) {
    const nodes = group.nodes.splice(0);
    for (let at = 0; at < nodes.length; at += LONGEST_FRAME) {
      const part = nodes.slice(at, at + LONGEST_FRAME);
      const name = `operations ${at + 1}–${at + part.length}`;
      const inner = new Group(`${group.key}\n${name}`, name, group);
      inner.nodes = part;
      part.forEach(n => home.set(n, inner));
      group.groups.set(name, inner);
    }
  }
  if (group.groups.size > LONGEST_FRAME) {
    const groups = group.children;
    group.groups.clear();
    for (let at = 0; at < groups.length; at += LONGEST_FRAME) {
      const part = groups.slice(at, at + LONGEST_FRAME);
      const name = `modules ${at + 1}–${at + part.length}`;
      const inner = new Group(`${group.key}\n${name}`, name, group);
      part.forEach(g => { g.parent = inner; inner.groups.set(g.label, g); });
      inner.size = part.reduce((sum, g) => sum + g.size, 0);
      group.groups.set(name, inner);
    }
  }
  group.size = group.nodes.length + group.children.reduce((sum, g) => sum + g.size, 0);
}
const isPhase = g => g.depth === 1 && PHASES.includes(g.label);

// At first: passes are open, then modules from the outside in while few boxes are shown.
function firstFolds(root, limit = FIRST_SHOWN) {
  const folded = new Set();
  const open = [root];
  let count = root.nodes.length;
  const fold = g => { folded.add(g.key); g.children.forEach(fold); };
  root.children.forEach(fold);
  count += root.children.length;
  const first = (a, b) => isPhase(b) - isPhase(a) || b.groups.size - a.groups.size || b.size - a.size;
  const queue = root.children.sort(first);
  while (queue.length) {
    const g = queue.shift();
    if (isPhase(g) && g.label === "update" && g.groups.size > 16 && limit === FIRST_SHOWN) continue;
    const more = g.nodes.length + g.groups.size - 1;
    if (phaseOf(g) === "update" && !isPhase(g) && limit === FIRST_SHOWN) continue;
    if (count + more > limit && !(isPhase(g) && count + more <= MOST_SHOWN)) continue;
    count += more;
    folded.delete(g.key);
    queue.push(...g.children.sort(first));
  }
  return folded;
}
function folds(root) {
  if (!state.folded.has(state.frames)) state.folded.set(state.frames, firstFolds(root));
  return state.folded.get(state.frames);
}
function groupOf(key, root) {
  let found = root;
  const walk = g => { if (g.key === key) found = g; g.children.forEach(walk); };
  walk(root);
  return found;
}

// ---- words --------------------------------------------------------------------------------------
function bytesText(n) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (n >= size) return `${(n / size).toFixed(n < 10 * size ? 1 : 0)} ${unit}`;
  }
  return `${n} B`;
}
function countText(n) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (n >= size) return `${(n / size).toFixed(n < 10 * size ? 1 : 0)} ${unit}`;
  }
  return `${n} `;
}
function timeText(s) {
  if (s >= 1) return `${s.toFixed(2)} s`;
  if (s >= 1e-3) return `${(s * 1e3).toFixed(2)} ms`;
  return `${(s * 1e6).toFixed(1)} µs`;
}
function stageText(i) {
  return i ? STAGES[i].name : "traced";
}
