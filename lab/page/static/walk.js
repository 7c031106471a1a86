// SPDX-License-Identifier: MIT

// The walk of a packet: hop after hop, its headers as nested boxes, what changed on the way, and the decision at its end.

import { h, mark } from "./dom.js";
import { emit, name, wireName } from "./feed.js";
import { clockText, duration, seconds } from "./format.js";
import { family } from "./kinds.js";

// What the user opened or closed, by layer; it stays from hop to hop and from packet to packet.
const folded = new Map();

export function walkView(walk, id) {
  let place = Math.max(0, walk.hops.findIndex((x) => x.id === id));
  const body = h("div", { class: "hop" });
  const go = (n) => {
    if (n < 0 || n >= walk.hops.length) return;
    place = n;
    show();
    emit("stepped");
  };
  const back = h("button", { type: "button", class: "round", title: "Hop before (←)", onclick: () => go(place - 1) }, h("span", { "aria-hidden": "true" }, "←"), h("span", { class: "sr" }, "Hop before"));
  const on = h("button", { type: "button", class: "round", title: "Next hop (→)", onclick: () => go(place + 1) }, h("span", { "aria-hidden": "true" }, "→"), h("span", { class: "sr" }, "Next hop"));
  const where = h("p", { class: "where", "aria-live": "polite" });
  const track = h("div", { class: "track", "aria-hidden": "true" }, walk.hops.map((hop, i) => h("span", { class: "stop" + (hop.dropped ? " dropped" : ""), title: name(hop.from) + " → " + name(hop.to), onclick: () => go(i) })));
  const show = () => {
    const hop = walk.hops[place];
    back.disabled = place === 0;
    on.disabled = place === walk.hops.length - 1;
    [...track.children].forEach((x, i) => x.classList.toggle("now", i === place));
    where.replaceChildren(h("strong", null, name(hop.from), " → ", name(hop.to)), h("span", null, `hop ${place + 1} of ${walk.hops.length}, ${wireName(hop.wire)}`));
    body.replaceChildren(...hopView(walk, place));
    emit("show", { hop: { ...hop, kind: hop.kind || walk.kind } });
  };
  const el = h("div", { class: "walk" },
    h("p", { class: "summary" }, mark(family(walk.kind).id), h("span", null, walk.summary)),
    h("div", { class: "hopbar" }, back, where, on), track, body);
  show();
  return { title: "Packet walk", el, key: (e) => arrows(e, place, go) };
}

function arrows(e, place, go) {
  if (e.key !== "ArrowLeft" && e.key !== "ArrowRight") return false;
  go(place + (e.key === "ArrowRight" ? 1 : -1));
  return true;
}

function* hopView(walk, place) {
  const hop = walk.hops[place];
  const t = seconds(hop.at);
  const since = t - seconds(walk.hops[0].at);
  yield h("p", { class: "under" }, h("span", { class: "num" }, clockText(t, 6)), place ? h("span", null, duration(since) + " after the first hop") : null);
  if (hop.decision?.text) {
    yield h("div", { class: "decision" + (hop.dropped ? " dropped" : "") },
      h("h3", null, name(hop.decision.node || hop.to), hop.dropped ? " drops it" : " decides"),
      h("p", null, hop.decision.text),
      hop.decision.rfc ? h("p", { class: "rfc" }, hop.decision.rfc) : null);
  }
  yield sizes(hop.layers);
  yield onion(hop, place ? walk.hops[place - 1] : undefined);
  if (hop.broken) yield h("p", { class: "broken" }, hop.broken);
}

const hue = (layer) => {
  const n = layer.name.toLowerCase();
  if (/wireguard/.test(n)) return "wg";
  if (/dhcpv6/.test(n)) return "dhcpv6";
  if (/ipv4|icmpv4|icmp for/.test(n)) return "v4";
  if (/ipv6|extension|fragment|hop-by-hop/.test(n)) return "v6";
  if (/icmpv6|neighbo|router|redirect|mld|multicast|echo/.test(n)) return "nd";
  if (/udp|tcp/.test(n)) return "port";
  if (/ethernet|arp/.test(n)) return "eth";
  return "data";
};

const length = (layer) => layer.octets[1] - layer.octets[0];

// sizes is a bar of what each layer takes of the frame: what the tunnel costs can be seen.
function sizes(layers) {
  const shown = layers.filter((l) => length(l) > 0 && !l.name.startsWith("Quoted "));
  const all = shown.reduce((a, l) => a + length(l), 0);
  return h("div", { class: "sizes", role: "img", "aria-label": shown.map((l) => l.name + " " + length(l)).join(", ") + " octets" }, shown.map((l) => {
    const part = h("span", { class: "part h-" + hue(l), title: `${l.name}: ${length(l)} octets` }, h("b", null, String(length(l))));
    part.style.flexGrow = Math.max(length(l), all / 40);
    return part;
  }));
}

// onion nests the layers from the outside in. The innermost one is open at first.
function onion(hop, before) {
  let inner;
  for (let i = hop.layers.length - 1; i >= 0; i--) {
    const layer = hop.layers[i];
    const changed = changes(hop, before, i);
    const key = layer.name + " " + (layer.buffer ?? 0);
    const open = folded.get(key) ?? (i === hop.layers.length - 1 || changed.size > 0 && length(layer) < 200);
    const box = h("details", { class: "layer h-" + hue(layer), open },
      h("summary", null,
        h("span", { class: "lname" }, layer.name), h("span", { class: "lshort" }, layer.short),
        changed.size ? h("span", { class: "chip changed" }, changed.size === 1 ? "1 changed" : changed.size + " changed") : null),
      h("div", { class: "inside" },
        layer.for ? h("p", { class: "for" }, layer.for) : null,
        layer.rfc ? h("p", { class: "rfc" }, layer.rfc) : null,
        fields(layer, changed)));
    box.querySelector("summary").addEventListener("click", () => folded.set(key, !box.open));
    inner = h("div", { class: "shell" }, box, inner ?? null);
  }
  return h("div", { class: "onion" }, inner ?? null);
}

// changes are the fields of a layer that had another value on the wire before, with that value. Layers are the same if
// they have the same name and are as deep in their buffer.
function changes(hop, before, i) {
  const out = new Map();
  const layer = hop.layers[i];
  const nth = hop.layers.slice(0, i).filter((l) => same(l, layer)).length;
  const old = before?.layers.filter((l) => same(l, layer))[nth];
  if (!old || layer.name.startsWith("Ethernet")) return out; // each wire has its own Ethernet header
  layer.fields.forEach((f, n) => {
    const was = old.fields[n];
    if (was && was.name === f.name && was.value !== f.value) out.set(n, was.value);
  });
  return out;
}

const same = (a, b) => a.name === b.name && (a.buffer ?? 0) === (b.buffer ?? 0);

function fields(layer, changed) {
  if (!layer.fields.length) return null;
  return h("dl", { class: "fields" }, layer.fields.map((f, i) => h("div", { class: "field d" + Math.min(f.depth ?? 0, 4) + (changed.has(i) ? " changed" : "") },
    h("dt", null, f.name),
    h("dd", null,
      changed.has(i) ? h("span", { class: "was" }, h("s", null, changed.get(i)), " ") : null,
      h("span", { class: "value" }, f.value),
      f.note ? h("span", { class: "notetext" }, f.note) : null,
      f.rfc ? h("span", { class: "rfc" }, f.rfc) : null))));
}
