// SPDX-License-Identifier: MIT

// Where the texts of the map stand: not on a pipe, not on a node, not on each other, as far as there is room. Each text
// has a few places, the usual one first, and takes the one that costs least; what is placed is in the way of the next.

const costs = { beyond: 500, text: 60, pipe: 40, foreign: 25, wire: 2, place: 2 };

let context; // measures texts

function measure(text, font) {
  context ??= document.createElement("canvas").getContext("2d");
  context.font = font;
  return context.measureText(text).width;
}

// labels gives places relative to nodes (names, tables) and on the map (grounds, pipes): x, y, anchor; and freest, by
// which what comes and goes finds a place beside them. em is one rem.
export function labels(world, plan, em) {
  const style = getComputedStyle(document.documentElement);
  const sans = style.getPropertyValue("--sans"), mono = style.getPropertyValue("--mono");
  const room = new Room(plan, world, em);
  const names = new Map(), tables = new Map();
  for (const n of [...world.nodes].sort((a, b) => room.tightness(b.id) - room.tightness(a.id))) {
    const sub = ["switch", "nat"].includes(n.kind) ? 0 : measure("0".repeat(plan.tall ? 6 : n.kind === "host" ? 14 : 15), 0.66 * em + "px " + mono);
    const size = { w: Math.max(measure(n.name, "620 " + 0.8 * em + "px " + sans), sub), h: (sub ? 2.1 : 1.1) * em };
    names.set(n.id, room.choose(plan.nodes.get(n.id), namePlaces(half(n, em), size, em)));
  }
  const captions = plan.grounds.map((g) => room.choose({ x: 0, y: 0 }, captionPlaces(g, { w: measure(g.name.toUpperCase(), "650 " + 0.68 * em + "px " + sans) + g.name.length * 0.05 * em, h: 0.8 * em }, em),
    (b) => (plan.grounds.some((x) => x !== g && overlap(b, x)) ? costs.foreign : 0)));
  const translates = (n) => n.kind === "nat" || n.kind === "router" && world.wires.some((w) => w.kind === "ipv4" && [w.a, w.b].includes(n.id));
  for (const n of world.nodes.filter(translates)) {
    tables.set(n.id, room.choose(plan.nodes.get(n.id), tablePlaces(half(n, em), names.get(n.id), em)));
  }
  const pipes = new Map();
  if (!plan.tall) {
    for (const t of world.tunnels) {
      const size = { w: measure(t.name + ": connecting", "600 " + 0.72 * em + "px " + sans), h: 2.1 * em };
      pipes.set(t.id, room.choose({ x: 0, y: 0 }, pipePlaces(plan.pipes.get(t.id) ?? [], size, em)));
    }
  }
  return { names, tables, captions, pipes, freest: (places, boxOf) => room.freest(places, boxOf) };
}

export const half = (n, em) => (n.kind === "switch" ? 1.1 : 1.45) * em;

// A place: where the text begins (x, y of its first line, anchor), and its box.
const place = (x, y, anchor, size, em) => {
  const left = anchor === "middle" ? x - size.w / 2 : anchor === "end" ? x - size.w : x;
  return { x, y, anchor, box: { x: left, y: y - 0.75 * em, w: size.w, h: size.h } };
};

function namePlaces(half, size, em) {
  const side = half + 0.5 * em, up = -half - size.h + 0.35 * em, mid = 0.75 * em - size.h / 2;
  const out = [place(0, half + 1.15 * em, "middle", size, em), place(0, up, "middle", size, em)];
  for (const y of [mid, half + 1.15 * em, up]) {
    const x = y === mid ? side : 0.95 * em;
    out.push(place(x, y, "start", size, em), place(-x, y, "end", size, em));
  }
  return out;
}

// The table of a NAT: two lines, and one for what else there is.
export const table = { w: 9.6, line: 1.35, lines: 2 };

function tablePlaces(half, name, em) {
  const size = { w: table.w * em, h: (table.lines * table.line + 0.9) * em };
  const below = half + 0.35 * em, beside = half + 0.7 * em;
  const under = name.y > half ? name.box.y + name.box.h + 0.2 * em : below;
  const over = -half - size.h - 0.2 * em - (name.y < -half ? name.box.h : 0);
  const out = [];
  for (const farther of [0, 1.4 * em, 2.8 * em]) {
    for (const x of [-size.w / 2, -size.w + half, -half]) out.push([x, under + farther], [x, over - farther]);
  }
  out.push([beside, -half], [-beside - size.w, -half]);
  // Over its node a table stands on the ground of its place, else it hangs from the top.
  return out.map(([x, y]) => ({ x, y, stands: y < -half && x < half && x > -size.w - half, box: { x, y, ...size } }));
}

function captionPlaces(g, size, em) {
  const left = g.x + 0.8 * em, right = g.x + g.w - 0.8 * em;
  const top = g.y + 1.3 * em, bottom = g.y + g.h - 0.6 * em;
  const lines = [top, bottom, g.y - 0.4 * em, g.y + g.h + 1.1 * em, g.y + g.h + 2.4 * em];
  const out = lines.flatMap((y) => [place(left, y, "start", size, em), place(right, y, "end", size, em), place((left + right) / 2, y, "middle", size, em)]);
  for (const y of [top, (top + bottom) / 2, bottom, top + 2 * em, bottom - 2 * em]) {
    out.push(place(g.x + g.w + 0.4 * em, y, "start", size, em), place(g.x - 0.4 * em, y, "end", size, em));
  }
  return out;
}

// A pipe's name stands beside it, near the hub first.
function pipePlaces(line, size, em) {
  const out = [];
  for (let i = line.length - 1; i > 0; i--) {
    for (const f of [0.5, 0.35, 0.65, 0.2, 0.8]) {
      const x = line[i].x + (line[i - 1].x - line[i].x) * f, y = line[i].y + (line[i - 1].y - line[i].y) * f;
      out.push(place(x + 1.4 * em, y, "start", size, em), place(x - 1.4 * em, y, "end", size, em),
        place(x, y + 2 * em, "middle", size, em), place(x, y - 2.4 * em, "middle", size, em));
    }
  }
  return out;
}

// Room knows what is in the way.
class Room {
  constructor(plan, world, em) {
    this.plan = plan;
    this.wall = (plan.tall ? 10 : 13) + 2;
    this.taken = world.nodes.map((n) => {
      const p = plan.nodes.get(n.id), r = half(n, em) + 2;
      return { x: p.x - r, y: p.y - r, w: 2 * r, h: 2 * r };
    });
    const parts = (line) => line.slice(1).map((p, i) => [line[i], p]);
    this.pipes = [...plan.pipes.values()].flatMap(parts);
    this.wires = [...plan.wires.values()].flatMap(parts);
  }

  // tightness is how many lines end at a node: pipes count more.
  tightness(id) {
    const p = this.plan.nodes.get(id);
    const at = ([a, b]) => a === p || b === p;
    return 4 * this.pipes.filter(at).length + this.wires.filter(at).length;
  }

  // choose takes the place that costs least; also is what a box costs besides.
  choose(origin, places, also = () => 0) {
    let best, least = Infinity;
    places.forEach((x, i) => {
      const box = { x: origin.x + x.box.x, y: origin.y + x.box.y, w: x.box.w, h: x.box.h };
      const c = this.cost(box) + also(box) + i * costs.place;
      if (c < least) [best, least] = [x, c];
    });
    if (best) this.taken.push({ x: origin.x + best.box.x, y: origin.y + best.box.y, w: best.box.w, h: best.box.h });
    return best;
  }

  // freest is the place whose box hides least of what is there, the first ones first; nothing keeps clear of it.
  freest(places, boxOf) {
    const sums = places.map((p, i) => {
      const b = boxOf(p);
      return this.beyond(b) + this.taken.reduce((sum, t) => sum + overlap(b, t), 0) / (b.w * b.h) + i * 0.002;
    });
    return places[sums.indexOf(Math.min(...sums))];
  }

  beyond(b) {
    return b.x < 2 || b.y < 2 || b.x + b.w > this.plan.width - 2 || b.y + b.h > this.plan.height - 2 ? costs.beyond : 0;
  }

  cost(b) {
    let sum = this.beyond(b);
    for (const t of this.taken) {
      const part = overlap(b, t);
      if (part) sum += costs.text * (1 + part / (b.w * b.h));
    }
    for (const [p, q] of this.pipes) if (crosses(p, q, b, this.wall)) sum += costs.pipe;
    for (const [p, q] of this.wires) if (crosses(p, q, b, 1)) sum += costs.wire;
    return sum;
  }
}

// overlap is the area that two boxes share.
function overlap(a, b) {
  const w = Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x), h = Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y);
  return w > 0 && h > 0 ? w * h : 0;
}

// crosses says whether the line from p to q, so wide to each side, comes over a box.
function crosses(p, q, b, wide) {
  let from = 0, to = 1;
  for (const [at, d, low, high] of [[p.x, q.x - p.x, b.x - wide, b.x + b.w + wide], [p.y, q.y - p.y, b.y - wide, b.y + b.h + wide]]) {
    if (Math.abs(d) < 1e-9) {
      if (at < low || at > high) return false;
      continue;
    }
    const [t0, t1] = d > 0 ? [(low - at) / d, (high - at) / d] : [(high - at) / d, (low - at) / d];
    from = Math.max(from, t0);
    to = Math.min(to, t1);
    if (from > to) return false;
  }
  return true;
}
