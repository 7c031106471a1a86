// SPDX-License-Identifier: MIT

// The map: grounds, pipes, wires, nodes, and what State says of them. Packets are in dots.js.

import { $, s, roving } from "./dom.js";
import { app, emit, name, on } from "./feed.js";
import { byUse, endOfAddr, scope, seconds, shortAddr } from "./format.js";
import { family } from "./kinds.js";
import { half, labels, table } from "./labels.js";
import { layout, pointOn, svgPath } from "./layout.js";
import * as dots from "./dots.js";

let plan;
let drawn; // elements by id
let rover;
let shown = ""; // node in the panel
let shownHop; // hop of the walk in the panel

export function start() {
  on("state", update);
  on("show", ({ node, hop }) => {
    shown = node ?? "";
    shownHop = hop;
    mark();
  });
  new ResizeObserver(draw).observe($("map"));
  on("size", draw);
  on("stepped", () => {
    // Who steps through a walk looks at panel and map, if both fit beside each other.
    if (getComputedStyle($("inspector").parentElement).position === "sticky") scrollTo({ top: 0 });
  });
  draw();
}

const em = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

function draw() {
  const width = $("map").clientWidth;
  if (!width || !app.world) return;
  const focused = document.activeElement?.dataset?.node;
  plan = layout(app.world, width, em());
  plan.labels = labels(app.world, plan, em());
  drawn = { nodes: new Map(), wires: new Map(), pipes: new Map() };
  const svg = s("svg", { class: "world" + (plan.tall ? " tall" : ""), width: plan.width, height: plan.height, viewBox: `0 0 ${plan.width} ${plan.height}`, role: "group", "aria-label": "Nodes of the world. Arrow keys go to the next node, Enter opens it." });
  svg.append(
    s("g", { class: "grounds" }, plan.grounds.map(drawGround)),
    s("g", { class: "pipes" }, app.world.tunnels.filter((t) => plan.pipes.get(t.id).length > 1).map(drawPipe)),
    s("g", { class: "wires" }, app.world.wires.filter((w) => w.kind !== "tunnel").map(drawWire)),
    dots.layer(plan), // under the nodes, which a packet enters and leaves
    s("g", { class: "nodes" }, app.world.nodes.map(drawNode)),
    s("g", null, [...drawn.wires.values()].map((d) => d.note)),
    drawn.spot = s("g", { class: "spot" }),
  );
  $("map").replaceChildren(svg);
  rover = roving(svg, ".node", nearest);
  rover.refresh();
  if (focused) drawn.nodes.get(focused)?.el.focus({ preventScroll: true });
  if (app.state) update(app.state);
  mark();
}

function drawGround(g, i) {
  const r = em();
  const at = plan.labels.captions[i];
  return s("g", null,
    s("rect", { class: "ground", x: g.x, y: g.y, width: g.w, height: g.h, rx: 1.1 * r }),
    s("text", { class: "groundname at-" + at.anchor, x: at.x, y: at.y }, g.name));
}

function drawPipe(t) {
  const line = plan.pipes.get(t.id);
  const d = svgPath(line);
  const at = plan.labels.pipes.get(t.id); // none on a phone
  const since = s("tspan", { class: "quietline", x: at?.x ?? 0, dy: "1.3em" });
  const state = s("tspan", { x: at?.x ?? 0 });
  const el = s("g", { class: "pipe" },
    s("path", { class: "wall", d }),
    s("path", { class: "bore", d }),
    at ? s("text", { class: "pipename at-" + at.anchor, y: at.y }, state, since) : null);
  drawn.pipes.set(t.id, { el, state, since, name: t.name });
  return el;
}

function drawWire(w) {
  const [a, b] = plan.wires.get(w.id);
  const mid = pointOn([a, b], 0.5);
  const line = s("line", { class: "line", x1: a.x, y1: a.y, x2: b.x, y2: b.y });
  const note = s("g", { class: "wirenote" });
  const hit = s("line", { class: "hit", x1: a.x, y1: a.y, x2: b.x, y2: b.y, onclick: () => emit("wire", w.id) }, s("title", null, w.name + ": show its packets"));
  const el = s("g", { class: "wire k-" + w.kind }, line, hit);
  drawn.wires.set(w.id, { el, note, mid, text: undefined });
  return el;
}

function drawNode(n) {
  const r = em();
  const p = plan.nodes.get(n.id);
  const side = half(n, r);
  const at = plan.labels.names.get(n.id);
  const sub = s("text", { class: "sub at-" + at.anchor, x: at.x, y: at.y + r });
  const pips = s("g", { class: "pips", transform: `translate(${side} ${-side})` });
  const table = s("g", { class: "table" });
  const size = 1.7 * r * (n.kind === "switch" ? 0.8 : 1);
  const el = s("g", { class: "node n-" + n.kind, transform: `translate(${p.x.toFixed(1)} ${p.y.toFixed(1)})`, role: "button", tabindex: "-1", "data-node": n.id, "aria-label": n.name,
    onclick: () => open(n.id), onkeydown: (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); e.stopPropagation(); open(n.id); } } },
    s("rect", { class: "focus", x: -side - 5, y: -side - 5, width: 2 * side + 10, height: 2 * side + 10, rx: 0.9 * r }),
    s("rect", { class: "box", x: -side, y: -side, width: 2 * side, height: 2 * side, rx: n.kind === "internet" ? side : 0.65 * r }),
    s("use", { class: "glyph", href: "#g-" + n.kind, transform: `translate(${-size / 2} ${-size / 2}) scale(${size / 32})` }),
    s("text", { class: "name at-" + at.anchor, x: at.x, y: at.y }, n.name), sub, pips, table);
  drawn.nodes.set(n.id, { el, sub, pips, table, last: "" });
  return el;
}

const open = (id) => emit("open-node", id);

// nearest is the next node in the direction of an arrow, nearer the straight line first.
function nearest(el, key, list) {
  const from = plan.nodes.get(el.dataset.node);
  const dir = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  let best, least = Infinity;
  for (const other of list) {
    if (other === el) continue;
    const p = plan.nodes.get(other.dataset.node);
    const ahead = (p.x - from.x) * dir[0] + (p.y - from.y) * dir[1];
    const aside = Math.abs((p.x - from.x) * dir[1]) + Math.abs((p.y - from.y) * dir[0]);
    if (ahead < 4) continue;
    const cost = ahead + 2.2 * aside;
    if (cost < least) [best, least] = [other, cost];
  }
  return best;
}

function update(state) {
  if (!drawn) return;
  for (const [id, d] of drawn.nodes) updateNode(id, d, state.nodes[id] ?? { up: true });
  for (const [id, d] of drawn.wires) updateWire(d, state.wires[id] ?? { up: true });
  for (const [id, d] of drawn.pipes) updatePipe(d, state.tunnels[id] ?? { state: "down" });
}

function updatePipe(d, st) {
  d.el.setAttribute("class", "pipe s-" + st.state);
  d.state.textContent = d.name + ": " + st.state;
  const at = seconds(st.handshake_at);
  if (String(at) === d.since.dataset.at) return;
  d.since.dataset.at = at;
  d.since.replaceChildren(...(at === undefined ? ["no handshake yet"] : ["handshake ", s("tspan", { data: { ago: at } }), " ago"]));
}

function updateNode(id, d, st) {
  d.el.classList.toggle("down", !st.up);
  d.el.classList.toggle("shown", id === shown);
  const key = JSON.stringify([st.up, st.addresses, st.nat]);
  if (key === d.last) return;
  d.last = key;
  const global = (st.addresses ?? []).filter((a) => scope(a.addr) === 1);
  const best = byUse(st.addresses)[0];
  const nat = st.nat ?? [];
  const named = best && scope(best.addr) < 4 && !["nat", "switch"].includes(app.nodes.get(id).kind);
  d.sub.textContent = !named ? "" : plan.tall ? endOfAddr(best.addr) : shortAddr(best.addr);
  const gap = 0.75 * em();
  d.pips.replaceChildren(...(app.nodes.get(id).kind === "host" ? global : []).slice(0, 8).map((a, i, all) =>
    s("circle", { class: "pip a-" + a.state, cx: (i + 1 - all.length) * gap, r: 0.34 * em() }, s("title", null, a.addr + ", " + a.state))));
  drawTable(id, d, nat);
  const said = [name(id), st.up ? "" : "down", global.map((a) => a.addr + " " + a.state).join(", "), nat.length ? nat.length + " mappings" : ""];
  d.el.setAttribute("aria-label", said.filter(Boolean).join(", "));
}

// port is what a NAT changes that fits beside a map: the last part of an address with port.
const port = (text) => text.slice(text.lastIndexOf(":"));

// drawTable puts the table of a NAT beside it, where there is room.
function drawTable(id, d, nat) {
  const at = plan.labels.tables.get(id);
  if (!at) return;
  const r = em();
  const high = table.line * r, w = table.w * r;
  const lines = nat.slice(0, table.lines);
  const more = nat.length > lines.length;
  const spare = at.stands ? at.box.h - lines.length * high - (more ? 0.9 * r : 0) : 0;
  d.table.setAttribute("transform", `translate(${at.x} ${at.y + spare})`);
  d.table.replaceChildren(...lines.map((m, i) => s("g", { transform: `translate(0 ${i * high})` },
    s("rect", { class: "cell", width: w, height: high - 2, rx: 3 }),
    s("text", { class: "ports", x: 0.4 * r, y: 0.92 * r }, port(m.inside) + " → " + port(m.outside)),
    s("text", { class: "left", x: w - 0.4 * r, y: 0.92 * r, data: m.expires_at ? { until: seconds(m.expires_at), brief: "yes" } : {} }),
    s("title", null, `${m.proto} ${m.inside} → ${m.outside}` + (m.remote ? ` to ${m.remote}` : "")))));
  if (more) {
    d.table.append(s("text", { class: "more", x: w / 2, y: lines.length * high + 0.75 * r }, "+" + (nat.length - lines.length) + " more"));
  }
}

function updateWire(d, st) {
  d.el.classList.toggle("down", !st.up);
  d.el.classList.toggle("blocked", Boolean(st.blocked));
  const text = !st.up ? "unplugged" : st.blocked ? (st.blocked === "tunnel" ? "tunnel cut" : "no " + st.blocked) : st.mtu && st.mtu !== 1500 ? "MTU " + st.mtu : "";
  if (text === d.text) return;
  d.text = text;
  d.note.replaceChildren();
  if (!text) return;
  const w = (text.length * 0.46 + 0.9) * em();
  const [x, y] = notePlace(d.mid, w);
  d.note.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
  d.note.setAttribute("class", "wirenote" + (!st.up || st.blocked ? " bad" : ""));
  d.note.append(s("rect", { x: -w / 2, y: -0.65 * em(), width: w, height: 1.3 * em(), rx: 0.65 * em() }), s("text", { y: 0.27 * em() }, text));
}

// notePlace is where a note so wide hides least of what is to be read: on its wire, else near it. On a phone wires are
// short and run down, so there it is beside.
function notePlace(mid, w) {
  const r = em(), high = 1.3 * r, side = mid.x > plan.width / 2 ? -1 : 1;
  const aside = plan.tall ? [side, -side].map((f) => f * (w / 2 + 0.9 * r)) : [0, 0.3, -0.3, 0.6, -0.6].map((f) => f * w);
  const places = [0, -1.5, 1.5, -2.2, 2.2, -3, 3].flatMap((f) => aside.map((x) => [mid.x + x, mid.y + f * r]));
  return plan.labels.freest(places, ([x, y]) => ({ x: x - w / 2, y: y - high / 2, w, h: high }));
}

// mark shows which node the panel speaks of, or where the packet of its walk is, and where it goes.
function mark() {
  if (!drawn) return;
  const wire = shownHop?.wire;
  for (const [id, d] of drawn.nodes) d.el.classList.toggle("shown", id === shown);
  for (const [id, d] of drawn.wires) d.el.classList.toggle("shown", id === wire);
  for (const [id, d] of drawn.pipes) d.el.classList.toggle("shown", id === wire);
  drawn.spot.replaceChildren();
  const line = shownHop && lineOf(plan, wire, shownHop.from);
  if (!line) return;
  const p = pointOn(line, 0.5), ahead = pointOn(line, 0.52);
  const turn = Math.atan2(ahead.y - p.y, ahead.x - p.x) * 180 / Math.PI;
  const f = family(shownHop.kind).id;
  drawn.spot.setAttribute("transform", `translate(${p.x.toFixed(1)} ${p.y.toFixed(1)})`);
  drawn.spot.append(
    s("path", { class: "arrow", d: "M17-7 28 0 17 7z", transform: `rotate(${turn.toFixed(1)})` }),
    s("circle", { class: "halo", r: 14 }), s("use", { class: "mark f-" + f, href: "#m-" + f }));
}

// lineOf is the way of a packet on a wire, in its direction.
export function lineOf(plan, wire, from) {
  const w = app.wires.get(wire);
  if (!w) return undefined;
  const line = w.kind === "tunnel" ? plan.pipes.get(wire) : plan.wires.get(wire);
  if (!line || line.length < 2 || line.includes(undefined)) return undefined;
  const begin = plan.nodes.get(from);
  if (w.kind === "tunnel") {
    const distance = (p) => Math.hypot(p.x - begin.x, p.y - begin.y);
    return begin && distance(line.at(-1)) < distance(line[0]) ? [...line].reverse() : line;
  }
  return w.a === from ? line : [line[1], line[0]];
}
