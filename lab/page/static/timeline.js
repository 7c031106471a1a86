// SPDX-License-Identifier: MIT

// The scenario's steps, and the timeline of what was worth a line.

import { $, addrs, h, say } from "./dom.js";
import { name, on } from "./feed.js";
import { briefClock, seconds } from "./format.js";

const maxLines = 300;
const signs = { waiting: "○", running: "◐", passed: "✓", failed: "✕" };

let told = new Map(); // step: state that was said
let last = "";

export function start() {
  on("state", steps);
  on("log", (entries) => {
    const list = $("timeline");
    for (const e of entries) list.prepend(line(e));
    while (list.childElementCount > maxLines) list.lastElementChild.remove();
    // What was said before the page came is not read out.
    setTimeout(() => { list.setAttribute("aria-live", "polite"); }, 1000);
  });
}

function line(e) {
  return h("li", { class: "l-" + e.level },
    h("span", { class: "at num" }, briefClock(seconds(e.at), 1)),
    h("span", { class: "text" }, e.node ? h("b", null, name(e.node), " ") : null, addrs(e.text), e.rfc ? h("span", { class: "rfc" }, e.rfc) : null));
}

function steps(state) {
  const list = state.steps;
  const text = JSON.stringify(list);
  if (text === last) return;
  last = text;
  $("steps").replaceChildren(...list.map((x) => h("li", { class: "step s-" + x.state, "aria-current": x.state === "running" ? "step" : undefined },
    h("span", { class: "sign", "aria-hidden": "true" }, signs[x.state] ?? "○"),
    h("span", { class: "stepname" }, x.name, h("span", { class: "sr" }, ": " + x.state)),
    h("span", { class: "found" }, x.at ? h("span", { class: "num" }, briefClock(seconds(x.at), 1)) : null, x.text ? h("span", null, addrs(x.text)) : null))));
  for (const x of list) {
    // What was so when the page came is not news.
    if (told.has(x.name) && told.get(x.name) !== x.state && (x.state === "passed" || x.state === "failed")) {
      say(`${x.name}: ${x.state}. ${x.text ?? ""}`);
    }
    told.set(x.name, x.state);
  }
}
