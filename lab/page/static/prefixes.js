// SPDX-License-Identifier: MIT

// The address plan: /48 → /56 → /64 as a tree. What a prefix has from the one above it is pale, what it adds is not.

import { $, h } from "./dom.js";
import { app, name, on } from "./feed.js";
import { prefixParts, seconds } from "./format.js";

let last = "";

export function start() {
  on("state", (state) => {
    const text = JSON.stringify(state.prefixes);
    if (text === last) return;
    last = text;
    $("prefixes").replaceChildren(tree(state.prefixes, undefined));
  });
}

function tree(list, parent) {
  return h("ul", { class: "tree" }, list.map((p) => {
    const [given, own, rest] = prefixParts(p.prefix, parent);
    return h("li", { class: "x-" + p.kind },
      h("div", { class: "prefix" },
        h("code", { "aria-label": p.prefix }, h("span", { class: "given" }, given), h("span", { class: "own" }, own), h("span", { class: "rest" }, rest)),
        h("span", { class: "owner" }, app.nodes.has(p.owner) ? name(p.owner) : p.owner),
        h("span", { class: "chip" }, p.kind),
        p.until ? h("span", { class: "life" }, h("span", { data: { until: seconds(p.until) } }, "")) : null),
      p.since && p.until ? h("span", { class: "bar-left", "aria-hidden": "true", data: { begin: seconds(p.since), end: seconds(p.until) } }) : null,
      p.children?.length ? tree(p.children, p.prefix) : null);
  }));
}
