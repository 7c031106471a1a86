// SPDX-License-Identifier: MIT

// What a node knows, and from whom: addresses with lifetimes running down, routes, name servers, a NAT's table, neighbors.

import { glyph, h } from "./dom.js";
import { app } from "./feed.js";
import { byUse, octets, seconds } from "./format.js";

const kinds = { host: "Host", router: "Router", nat: "NAT", hub: "Hub", internet: "Internet", server: "Server", switch: "Switch", site: "Site" };

export function nodeView(id) {
  const n = app.nodes.get(id);
  if (!n) return undefined;
  const body = h("div", { class: "nodebody" });
  const el = h("div", { class: "node-view" },
    h("p", { class: "what" }, glyph(n.kind), h("span", null, [kinds[n.kind] ?? n.kind, n.site].filter(Boolean).join(", "))),
    n.about ? h("p", null, n.about) : null, body);
  let last = "";
  const update = (state) => {
    const st = state?.nodes[id] ?? { up: true };
    const tunnels = app.world.tunnels.filter((t) => ends(t).includes(id)).map((t) => [t, state?.tunnels[t.id]]).filter(([, x]) => x);
    const text = JSON.stringify([st, tunnels]);
    if (text === last) return;
    last = text;
    body.replaceChildren(...sections(st, tunnels));
  };
  update(app.state);
  return { title: n.name, el, update };
}

// ends are the first and the last node of a pipe.
function ends(t) {
  const wires = t.path.map((w) => app.wires.get(w)).filter(Boolean);
  const count = new Map();
  for (const n of wires.flatMap((w) => [w.a, w.b])) count.set(n, (count.get(n) ?? 0) + 1);
  return [...count].filter(([, c]) => c === 1).map(([n]) => n);
}

function* sections(st, tunnels) {
  const badges = [...(st.up ? [] : ["down"]), ...(st.badges ?? [])];
  if (badges.length) yield h("p", { class: "badges" }, badges.map((b) => h("span", { class: "chip" + (b === "down" ? " bad" : "") }, b)));
  for (const [t, x] of tunnels) yield tunnel(t, x);
  if (st.addresses?.length) yield section("Addresses", byUse(st.addresses).map(address));
  if (st.routes?.length) yield section("Routes", st.routes.map(route));
  if (st.dns?.length) yield section("Name servers", st.dns.map(dns));
  if (st.nat) yield section("Mappings", st.nat.length ? st.nat.map(mapping) : [h("li", { class: "quiet" }, "None: nothing from outside comes in.")]);
  if (st.neighbors?.length) yield section("Neighbors", st.neighbors.map(neighbor));
}

const section = (title, items) => h("section", null, h("h3", null, title), h("ul", { class: "facts" }, items));

// left is "44 min 12 s" counting down, or what there is instead.
const left = (until) => (until === undefined ? h("span", null, "no end") : h("span", { data: { until } }, ""));

// bar runs down from begin to end; what counts stands beside it as text, too.
const bar = (begin, end, cls) => (begin === undefined || end === undefined ? null : h("span", { class: "bar-left " + (cls ?? ""), "aria-hidden": "true", data: { begin, end } }));

const gave = (from) => (from ? h("span", { class: "from" }, "from ", from) : null);

function address(a) {
  const since = seconds(a.since), preferred = seconds(a.preferred_until), valid = seconds(a.valid_until);
  const counts = a.preferred_until || a.valid_until;
  return h("li", { class: "address" },
    h("div", { class: "line" }, h("code", null, a.addr, h("span", { class: "len" }, "/" + a.prefix_len)), h("span", { class: "chip a-" + a.state }, a.state)),
    counts ? h("div", { class: "bars" }, a.state === "deprecated" ? null : bar(since, preferred, "preferred"), bar(since, valid, "valid")) : null,
    h("div", { class: "under" },
      counts ? h("span", null, a.state === "deprecated" ? "valid " : "preferred ", left(a.state === "deprecated" ? valid : preferred), a.state === "deprecated" ? "" : ", valid ", a.state === "deprecated" ? null : left(valid)) : null,
      h("span", { class: "iface" }, a.iface), gave(a.from)));
}

function route(r) {
  return h("li", null,
    h("div", { class: "line" }, h("code", null, r.dst === "::/0" || r.dst === "0.0.0.0/0" ? "default" : r.dst), h("span", { class: "via" }, r.via ? h("span", null, "via ", h("code", null, r.via)) : "on the link")),
    bar(seconds(r.since), seconds(r.until)),
    h("div", { class: "under" }, r.until ? h("span", null, "for ", left(seconds(r.until))) : null, h("span", { class: "iface" }, r.iface), gave(r.from)));
}

function dns(d) {
  return h("li", null,
    h("div", { class: "line" }, h("code", null, d.addr)),
    bar(seconds(d.since), seconds(d.until)),
    h("div", { class: "under" }, d.until ? h("span", null, "for ", left(seconds(d.until))) : null, gave(d.from)));
}

function mapping(m) {
  return h("li", null,
    h("div", { class: "line" }, h("span", { class: "proto" }, m.proto), h("code", null, m.inside), h("span", { class: "arrow" }, "→"), h("code", null, m.outside)),
    bar(seconds(m.since), seconds(m.expires_at)),
    h("div", { class: "under" }, m.expires_at ? h("span", null, "forgotten in ", left(seconds(m.expires_at))) : null, h("span", null, m.remote ? "to " + m.remote : "to anybody")));
}

function neighbor(n) {
  return h("li", null, h("div", { class: "line" }, h("code", null, n.addr), h("span", { class: "quiet" }, [n.mac, n.state].filter(Boolean).join(", "))));
}

function tunnel(t, x) {
  return h("section", { class: "tunnel-facts s-" + x.state },
    h("h3", null, t.name),
    h("p", { class: "line" }, h("span", { class: "chip t-" + x.state }, x.state), h("span", null, "to ", h("code", null, x.endpoint || "no endpoint"))),
    h("p", { class: "under" },
      h("span", null, "handshake ", x.handshake_at ? h("span", { data: { ago: seconds(x.handshake_at) } }, "") : "never", x.handshake_at ? " ago" : ""),
      h("span", null, octets(x.tx) + " sent, " + octets(x.rx) + " received")));
}
