// Positions: a frame is laid out by itself, layer below layer, and is then a box of its frame.
const GAP = { x: 18, y: 34, pad: 14, head: 26, column: 40 };
const ROW = 1500;  // a layer wider than this is broken into rows

// items: [{w, h}], edges: [[from, to]] by index. Sets x and y of each item's corner; returns size
// and, by edge, the points it should pass between its ends.
function layered(items, edges) {
  if (!items.length) return { w: 0, h: 0, bends: [] };
  const forward = acyclic(items.length, edges);
  const rank = ranks(items.length, forward);
  const { cells, chains } = withDummies(items, forward, rank);
  const layers = [];
  cells.forEach((c, i) => (layers[c.rank] = layers[c.rank] || []).push(i));
  const next = cells.map(() => []), before = cells.map(() => []);
  chains.forEach(chain => chain.slice(1).forEach((b, i) => {
    next[chain[i]].push(b);
    before[b].push(chain[i]);
  }));
  order(layers, next, before);
  const rows = broken(layers, cells);
  horizontal(rows, cells, next, before);
  return placed(items, edges, rows, cells, chains);
}

// Edges that close a cycle are turned around.
function acyclic(count, edges) {
  const out = Array.from({ length: count }, () => []);
  edges.forEach(([a, b], e) => out[a].push([b, e]));
  const mark = new Uint8Array(count), turned = new Set();
  for (let start = 0; start < count; start++) {
    if (mark[start]) continue;
    const stack = [[start, 0]];
    mark[start] = 1;
    while (stack.length) {
      const top = stack[stack.length - 1];
      if (top[1] === out[top[0]].length) {
        mark[top[0]] = 2;
        stack.pop();
        continue;
      }
      const [b, e] = out[top[0]][top[1]++];
      if (mark[b] === 1) turned.add(e);
      else if (!mark[b]) {
        mark[b] = 1;
        stack.push([b, 0]);
      }
    }
  }
  return edges.map(([a, b], e) => turned.has(e) ? [b, a] : [a, b]);
}

// Longest paths from the sources; sources then sink to right above their first reader.
function ranks(count, edges) {
  const out = Array.from({ length: count }, () => []), waiting = new Int32Array(count);
  edges.forEach(([a, b]) => { out[a].push(b); waiting[b]++; });
  const rank = new Int32Array(count), source = Array.from(waiting, w => w === 0);
  const ready = [];
  for (let i = 0; i < count; i++) if (!waiting[i]) ready.push(i);
  for (let at = 0; at < ready.length; at++) {
    for (const b of out[ready[at]]) {
      rank[b] = Math.max(rank[b], rank[ready[at]] + 1);
      if (--waiting[b] === 0) ready.push(b);
    }
  }
  for (let i = 0; i < count; i++) {
    if (source[i] && out[i].length) rank[i] = Math.min(...out[i].map(b => rank[b])) - 1;
  }
  return rank;
}

// Edges over several layers become chains of cells, so that they have a way between the boxes.
function withDummies(items, edges, rank) {
  const cells = items.map((item, i) => ({ rank: rank[i], w: item.w, h: item.h }));
  const length = edges.reduce((sum, [a, b]) => sum + rank[b] - rank[a] - 1, 0);
  const many = length > 4 * items.length + 1500;
  const chains = edges.map(([a, b]) => {
    const chain = [a];
    for (let r = rank[a] + 1; !many && r < rank[b]; r++) {
      chain.push(cells.length);
      cells.push({ rank: r, w: 8, h: 0, dummy: true });
    }
    chain.push(b);
    return chain;
  });
  return { cells, chains };
}

// Barycentres, down and up: neighbours come to stand near each other.
function order(layers, next, before) {
  const place = [];
  const number = layer => layer.forEach((c, i) => { place[c] = i; });
  layers.forEach(number);
  for (let sweep = 0; sweep < 6; sweep++) {
    const down = sweep % 2 === 0, near = down ? before : next;
    const list = down ? layers : [...layers].reverse();
    for (const layer of list) {
      const wish = new Map(layer.map(c => [c, near[c].length
        ? near[c].reduce((sum, x) => sum + place[x], 0) / near[c].length : place[c]]));
      layer.sort((a, b) => wish.get(a) - wish.get(b) || place[a] - place[b]);
      number(layer);
    }
  }
}

function broken(layers, cells) {
  const rows = [];
  for (const layer of layers) {
    let row = [], width = 0;
    for (const c of layer) {
      if (row.length && width + cells[c].w > ROW) {
        rows.push(row);
        row = [];
        width = 0;
      }
      row.push(c);
      width += cells[c].w + GAP.x;
    }
    rows.push(row);
  }
  return rows;
}

// Each row as near to its neighbours as boxes side by side can be (least squares, exactly).
function horizontal(rows, cells, next, before) {
  for (const row of rows) {
    let x = 0;
    for (const c of row) { cells[c].x = x + cells[c].w / 2; x += cells[c].w + GAP.x; }
    row.forEach(c => { cells[c].x -= x / 2; });
  }
  for (let sweep = 0; sweep < 8; sweep++) {
    const down = sweep % 2 === 0;
    for (const row of down ? rows : [...rows].reverse()) {
      const wishes = row.map(c => {
        const near = sweep > 5 ? [...before[c], ...next[c]] : down ? before[c] : next[c];
        return near.length ? near.reduce((sum, x) => sum + cells[x].x, 0) / near.length : cells[c].x;
      });
      settle(row, wishes, cells);
    }
  }
}
function settle(row, wishes, cells) {
  const blocks = [];
  let offset = 0;
  row.forEach((c, i) => {
    if (i) offset += (cells[row[i - 1]].w + cells[c].w) / 2 + GAP.x;
    let block = { sum: wishes[i] - offset, count: 1, members: [[c, offset]] };
    while (blocks.length && blocks[blocks.length - 1].sum / blocks[blocks.length - 1].count >
        block.sum / block.count) {
      const left = blocks.pop();
      block = {
        sum: left.sum + block.sum, count: left.count + block.count,
        members: left.members.concat(block.members),
      };
    }
    blocks.push(block);
  });
  for (const b of blocks) for (const [c, at] of b.members) cells[c].x = b.sum / b.count + at;
}

function placed(items, edges, rows, cells, chains) {
  let y = 0, left = Infinity, right = -Infinity;
  for (const row of rows) {
    const height = Math.max(...row.map(c => cells[c].h));
    for (const c of row) {
      cells[c].y = y + height / 2;
      left = Math.min(left, cells[c].x - cells[c].w / 2);
      right = Math.max(right, cells[c].x + cells[c].w / 2);
    }
    y += height + (height ? GAP.y : 6);
  }
  items.forEach((item, i) => {
    item.x = cells[i].x - item.w / 2 - left;
    item.y = cells[i].y - item.h / 2;
  });
  const bends = chains.map((chain, e) => {
    const points = chain.slice(1, -1).map(c => ({ x: cells[c].x - left, y: cells[c].y }));
    return edges[e][0] === chain[0] ? points : points.reverse();
  });
  return { w: right - left, h: y - GAP.y, bends };
}

// ---- frames in frames -----------------------------------------------------------------------
// Boxes of everything visible: {id, group or node, x, y, w, h, open}; edges with their points.
function layoutTree(tree, folded, pairs, measure) {
  const rep = new Map();  // node -> visible box
  const boxes = new Map();
  const seen = (g, holder) => {
    for (const n of g.nodes) {
      const box = holder || measure(n, null);
      if (!holder) { box.parent = g; boxes.set(box.id, box); }
      rep.set(n, box);
    }
    for (const child of g.children) {
      if (holder) seen(child, holder);
      else if (folded.has(child.key)) {
        const box = measure(null, child);
        box.parent = g;
        boxes.set(box.id, box);
        seen(child, box);
      } else seen(child, null);
    }
  };
  seen(tree.root, null);
  const lifted = new Map();
  for (const [a, b] of pairs) {
    const from = rep.get(a), to = rep.get(b);
    if (!from || !to || from === to) continue;
    const key = `${from.id}>${to.id}`;
    if (!lifted.has(key)) lifted.set(key, { from, to, count: 0 });
    lifted.get(key).count++;
  }
  const edges = [...lifted.values()];
  const inside = new Map();  // frame -> edges between its children
  for (const edge of edges) {
    const way = g => { const found = []; for (; g; g = g.parent) found.unshift(g); return found; };
    const up = way(edge.from.parent), down = way(edge.to.parent);
    let i = 0;
    while (i < up.length && i < down.length && up[i] === down[i]) i++;
    edge.frame = up[i - 1];
    edge.ends = [up[i] || edge.from, down[i] || edge.to];
    if (!inside.has(edge.frame)) inside.set(edge.frame, []);
    inside.get(edge.frame).push(edge);
  }
  const frames = [];
  const size = arrange(tree.root, folded, boxes, inside, frames);
  shift(tree.root, 0, 0);
  return { boxes: [...boxes.values()], frames, edges, rep, ...size };
}

function arrange(g, folded, boxes, inside, frames) {
  const items = [], index = new Map();
  const add = (key, item) => { index.set(key, items.length); items.push(item); };
  for (const n of g.nodes) add(boxes.get(`n${n}`), boxes.get(`n${n}`));
  for (const child of g.children) {
    const box = boxes.get(`g${child.key}`);
    if (box) add(box, box);
    else {
      const frame = { group: child, open: true, ...arrange(child, folded, boxes, inside, frames) };
      frames.push(frame);
      add(child, frame);
    }
  }
  const edges = inside.get(g) || [];
  const columns = !g.parent && g.children.some(isPhase);
  const size = columns ? sideBySide(g, items) : stacked(items, index, edges);
  const head = g.parent ? GAP.head : 0, pad = g.parent ? GAP.pad : 0;
  if (g.parent && phaseOf(g) === "backward") upsideDown(items, edges, size);
  for (const item of items) { item.x += pad; item.y += pad + head; }
  for (const e of edges) for (const p of e.points || []) { p.x += pad; p.y += pad + head; }
  g.items = items;
  g.edges = edges;
  return { w: Math.max(size.w + 2 * pad, g.parent ? titleWidth(g) : 0), h: size.h + 2 * pad + head };
}
function stacked(items, index, edges) {
  const pairs = edges.map(e => e.ends.map(end => index.get(end)));
  const unique = new Map(pairs.map(p => [p.join(), p]));
  const list = [...unique.values()], size = layered(items, list);
  const bends = new Map(list.map((p, i) => [p.join(), size.bends[i]]));
  edges.forEach((e, i) => { e.points = bends.get(pairs[i].join()).map(p => ({ ...p })); });
  return size;
}
// Forward, backward and update stand beside each other, what belongs to none above them.
function sideBySide(g, items) {
  const apart = items.filter(i => !i.group || !isPhase(i.group));
  const phases = items.filter(i => i.group && isPhase(i.group))
    .sort((a, b) => PHASES.indexOf(a.group.label) - PHASES.indexOf(b.group.label));
  let x = 0, top = 0, width = 0;
  for (const item of apart) {
    if (x && x + item.w > ROW) { x = 0; top += 60; }
    Object.assign(item, { x, y: top });
    x += item.w + GAP.x;
    width = Math.max(width, x);
  }
  top += apart.length ? Math.max(...apart.map(i => i.h)) + GAP.y : 0;
  x = 0;
  for (const item of phases) { Object.assign(item, { x, y: top }); x += item.w + GAP.column; }
  return { w: Math.max(width, x - GAP.column), h: top + Math.max(...phases.map(i => i.h)) };
}
// Gradients climb beside the way that data came down.
function upsideDown(items, edges, size) {
  for (const item of items) item.y = size.h - item.y - item.h;
  for (const e of edges) for (const p of e.points || []) p.y = size.h - p.y;
}
function phaseOf(g) {
  while (g.depth > 1) g = g.parent;
  return g.label;
}
function shift(g, x, y) {
  for (const item of g.items) {
    item.x += x;
    item.y += y;
    if (item.open) shift(item.group, item.x, item.y);
  }
  for (const e of g.edges) for (const p of e.points || []) { p.x += x; p.y += y; }
}
