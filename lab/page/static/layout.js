// SPDX-License-Identifier: MIT

// Where things stand on the map, in pixels of its box: texts keep their size, whatever the width.

// layout gives places of nodes, grounds of sites, lines of wires and of pipes. em is one rem in pixels.
export function layout(world, width, em) {
  const tall = width < 40 * em; // a phone: from the LAN at the top down to the Internet
  const margin = tall ? { x: 3.2 * em, top: 4.2 * em, bottom: 5 * em } : { x: 4.2 * em, top: 4.4 * em, bottom: 6.6 * em };
  const part = (key) => {
    const values = world.nodes.map((n) => n[key]);
    const low = Math.min(...values), high = Math.max(...values);
    return values.map((v) => (high > low ? (v - low) / (high - low) : 0.5));
  };
  const sides = part(tall ? "y" : "x").map((f) => margin.x + f * (width - 2 * margin.x));
  const downs = part(tall ? "x" : "y");
  const wished = tall ? Math.max(42 * em, world.nodes.length * 3.8 * em) : Math.max(25 * em, Math.min(width * 0.52, 38 * em));
  const room = roomBetween(sides, downs, em) + margin.top + margin.bottom;
  const height = Math.max(wished, Math.min(room, (tall ? 70 : 46) * em));
  const nodes = new Map(world.nodes.map((n, i) => [n.id, { x: sides[i], y: margin.top + downs[i] * (height - margin.top - margin.bottom) }]));
  const wires = new Map(world.wires.filter((w) => w.kind !== "tunnel").map((w) => [w.id, [nodes.get(w.a), nodes.get(w.b)]]));
  const pipes = new Map(world.tunnels.map((t) => [t.id, pipeLine(world, t, nodes)]));
  return { tall, width, height, nodes, wires, pipes, grounds: grounds(world, nodes, width, height, em, tall) };
}

// roomBetween is the height at which no node stands on the texts under another one.
function roomBetween(sides, downs, em) {
  let most = 0;
  for (let a = 0; a < sides.length; a++) {
    for (let b = 0; b < sides.length; b++) {
      const apart = downs[b] - downs[a];
      if (apart > 0.02 && Math.abs(sides[a] - sides[b]) < 4.5 * em) most = Math.max(most, 5.7 * em / apart);
    }
  }
  return most;
}

// pipeLine are the corners of a pipe: the nodes along its wires.
function pipeLine(world, pipe, nodes) {
  const wires = pipe.path.map((id) => world.wires.find((w) => w.id === id)).filter(Boolean);
  if (!wires.length) return [];
  let at = wires.length > 1 && [wires[1].a, wires[1].b].includes(wires[0].a) ? wires[0].b : wires[0].a;
  const out = [nodes.get(at)];
  for (const w of wires) {
    at = w.a === at ? w.b : w.a;
    out.push(nodes.get(at));
  }
  return out;
}

// grounds are the boxes on which nodes of one site stand.
function grounds(world, nodes, width, height, em, tall) {
  const sites = new Map();
  for (const n of world.nodes) {
    if (!n.site) continue;
    const p = nodes.get(n.id);
    const g = sites.get(n.site) ?? { name: n.site, x0: p.x, x1: p.x, y0: p.y, y1: p.y };
    sites.set(n.site, { ...g, x0: Math.min(g.x0, p.x), x1: Math.max(g.x1, p.x), y0: Math.min(g.y0, p.y), y1: Math.max(g.y1, p.y) });
  }
  const side = (tall ? 2.9 : 3.6) * em;
  return apart([...sites.values()].map((g) => {
    const x = Math.max(0.25 * em, g.x0 - side), y = Math.max(0.25 * em, g.y0 - 3 * em);
    return { name: g.name, x, y, w: Math.min(width - 0.25 * em, g.x1 + side) - x, h: Math.min(height - 0.25 * em, g.y1 + 4.4 * em) - y };
  }), 0.4 * em);
}

// apart moves the borders of grounds that overlap a little away from each other.
function apart(list, gap) {
  for (const a of list) {
    for (const b of list) {
      const wide = a.x + a.w - b.x, high = a.y + a.h - b.y;
      const beside = Math.min(a.y + a.h, b.y + b.h) > Math.max(a.y, b.y), above = Math.min(a.x + a.w, b.x + b.w) > Math.max(a.x, b.x);
      if (a === b) continue;
      if (beside && a.x < b.x && wide > -gap && wide < b.w / 2) {
        a.w -= (wide + gap) / 2;
        b.x += (wide + gap) / 2;
        b.w -= (wide + gap) / 2;
      } else if (above && a.y < b.y && high > -gap && high < b.h / 2) {
        a.h -= (high + gap) / 2;
        b.y += (high + gap) / 2;
        b.h -= (high + gap) / 2;
      }
    }
  }
  return list;
}

// pointOn is the place at part f (0 to 1) of a line of corners.
export function pointOn(line, f) {
  const lengths = line.slice(1).map((p, i) => Math.hypot(p.x - line[i].x, p.y - line[i].y));
  let rest = f * lengths.reduce((a, b) => a + b, 0);
  for (let i = 0; i < lengths.length; i++) {
    if (rest <= lengths[i] || i === lengths.length - 1) {
      const part = lengths[i] ? rest / lengths[i] : 0;
      return { x: line[i].x + (line[i + 1].x - line[i].x) * part, y: line[i].y + (line[i + 1].y - line[i].y) * part };
    }
    rest -= lengths[i];
  }
  return line[0];
}

export const svgPath = (line) => line.map((p, i) => (i ? "L" : "M") + p.x.toFixed(1) + " " + p.y.toFixed(1)).join("");
