// SPDX-License-Identifier: MIT

// Packets on the map. A frame leaves a node when the frame of its walk that brought the packet there has arrived,
// because a switch or a router passes a packet on in microseconds and nobody would see the order. Where motion is unwanted a mark stands in the
// middle of the wire for a moment instead.

import { s } from "./dom.js";
import { emit, on } from "./feed.js";
import { family, label } from "./kinds.js";
import { pointOn } from "./layout.js";
import { lineOf } from "./map.js";
import { speed } from "./clock.js";

const maxDots = 140; // alive at once; more than that nobody follows
const maxWait = 6000; // ms that a frame waits for the one before it in its walk

let group, plan;
const alive = new Map(); // packet id: dot
const arrivals = new Map(); // walk and node: when the walk's dot is there
const hidden = new Set(); // families that are not shown
let running = false;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export function start() {
  on("packets", (b) => {
    if (b.past || document.hidden) return;
    for (const p of b.packets) add(p);
  });
  on("hide", (families) => {
    hidden.clear();
    for (const f of families) hidden.add(f);
    for (const [id, d] of alive) if (hidden.has(d.family)) remove(id);
  });
}

// layer is the dots' part of a newly drawn map.
export function layer(newPlan) {
  plan = newPlan;
  group = s("g", { class: "dots" });
  for (const d of alive.values()) {
    d.line = lineOf(plan, d.packet.wire, d.packet.from);
    if (d.line) group.append(d.el);
  }
  return group;
}

function add(p) {
  const f = family(p.kind).id;
  if (!plan || hidden.has(f) || alive.size >= maxDots) return;
  const line = lineOf(plan, p.wire, p.from);
  if (!line) return;
  const t = performance.now();
  const walk = p.walk || p.id;
  const begin = Math.max(t, arrivals.get(walk + " " + p.from) ?? 0);
  if (begin - t > maxWait) return;
  // In flight as long as in the world, within what an eye follows; quicker where many are on their way.
  const flight = p.flight_ns / 1e6 / Math.max(speed(), 0.001);
  const hurry = alive.size > 40 ? 0.6 : 1;
  const time = still.matches ? 900 : Math.min(1500, Math.max(520, flight)) * hurry;
  arrivals.set(walk + " " + p.to, begin + time);
  if (arrivals.size > 400) for (const [key, end] of arrivals) if (end < t) arrivals.delete(key);
  const word = label(p.kind);
  const el = s("g", { class: "dot f-" + f + (p.dropped ? " dropped" : ""), onclick: (e) => { e.stopPropagation(); emit("open-packet", p.id); } },
    s("circle", { class: "hit", r: 15 }), s("circle", { class: "halo", r: 11 }), s("use", { class: "mark f-" + f, href: "#m-" + f }),
    word ? s("text", { class: "word", y: -12 }, word) : null, s("title", null, p.summary));
  el.setAttribute("visibility", "hidden");
  group.append(el);
  alive.set(p.id, { packet: p, family: f, el, line, begin, time });
  if (!running) {
    running = true;
    requestAnimationFrame(frame);
  }
}

function remove(id) {
  alive.get(id)?.el.remove();
  alive.delete(id);
}

function frame(t) {
  for (const [id, d] of alive) {
    const part = (t - d.begin) / d.time;
    if (part < 0) continue;
    // A dropped packet stays for a moment where it ended.
    if (part > (d.packet.dropped ? 1.9 : 1) || !d.line) {
      remove(id);
      continue;
    }
    place(d, Math.min(1, part));
  }
  group.classList.toggle("crowded", alive.size > 14);
  running = alive.size > 0;
  if (running) requestAnimationFrame(frame);
}

function place(d, part) {
  const end = d.packet.dropped ? 0.82 : 1;
  const smooth = part * part * (3 - 2 * part);
  const p = pointOn(d.line, still.matches ? 0.5 : smooth * end);
  d.el.setAttribute("transform", `translate(${p.x.toFixed(1)} ${p.y.toFixed(1)})`);
  d.el.setAttribute("visibility", "visible");
  if (d.packet.dropped) d.el.classList.toggle("gone", part >= 1);
}
