// SPDX-License-Identifier: MIT

// Keys, the help, and how the page looks: theme and type size.

import { $, glyph, h, put, say } from "./dom.js";
import { app, emit } from "./feed.js";
import { actionKeys, byKey, press } from "./actions.js";
import * as clock from "./clock.js";
import * as inspector from "./inspector.js";

const themes = ["auto", "light", "dark"];

function remember(what, value) {
  if (value) document.documentElement.dataset[what] = value;
  else delete document.documentElement.dataset[what];
  try {
    if (value) localStorage.setItem("oasis6-" + what, value);
    else localStorage.removeItem("oasis6-" + what);
  } catch {
    // Storage is forbidden: it holds until the page is closed.
  }
}

export function start() {
  $("theme").addEventListener("click", () => setTheme(themes[(themes.indexOf(theme()) + 1) % 3]));
  $("size").addEventListener("click", () => setSize(document.documentElement.dataset.size !== "large"));
  $("helpbutton").addEventListener("click", help);
  setTheme(theme());
  setSize(document.documentElement.dataset.size === "large");
  document.addEventListener("keydown", onKey);
}

const theme = () => document.documentElement.dataset.theme ?? "auto";

function setTheme(t) {
  remember("theme", t === "auto" ? "" : t);
  const text = { auto: "Colors: as the system has them", light: "Colors: light", dark: "Colors: dark" }[t] + " (t)";
  $("theme").replaceChildren(glyph({ auto: "auto", light: "sun", dark: "moon" }[t]), h("span", { class: "sr" }, text));
  $("theme").title = text;
}

function setSize(large) {
  remember("size", large ? "large" : "");
  $("size").setAttribute("aria-pressed", String(large));
  emit("size", large);
}

const pageKeys = [
  ["space", "pause, go on"], [".", "one step, while paused"], ["+ −", "faster, slower"],
  ["← →", "in a packet walk: hop before, next hop; on the map: next node"],
  ["m", "to the map"], ["p", "to the packets"], ["a", "to the buttons"], ["i", "to “Look closer”"],
  ["t", "colors"], ["l", "large type"], ["Esc", "close"], ["?", "this help"],
];

function help() {
  const rows = [...pageKeys, ...actionKeys()];
  $("keylist").replaceChildren(...rows.map(([k, what]) => h("div", null, h("dt", null, k.split(" ").map((x) => h("kbd", null, x))), h("dd", null, what))));
  const w = app.world;
  put($("about"),
    h("p", { class: "quiet" }, w.link === "wg"
      ? "The tunnel is wireguard-go itself, in real time: time cannot be stopped."
      : "The tunnel has WireGuard’s messages, sizes and timers, without its cryptography; so time may be stopped, and a seed repeats everything."),
    h("p", { class: "quiet" }, "A dot inside the pipe is a packet in the tunnel; on the wires around it the same packet runs as WireGuard."),
    w.scenarios.length > 1 ? h("p", { class: "quiet" }, "Other scenarios: " + w.scenarios.filter((x) => x.name !== w.scenario).map((x) => x.name).join(", ") + ". Start one with ", h("code", null, "oasis6 demo --scenario NAME"), ".") : null);
  $("help").showModal();
}

function toMap() { $("map").querySelector('.node[tabindex="0"]')?.focus(); }

const commands = {
  " ": clock.toggle, ".": clock.step, "+": () => clock.faster(1), "-": () => clock.faster(-1), "=": () => clock.faster(1), "−": () => clock.faster(-1),
  "?": help, m: toMap, p: () => $("packetlist").focus(), i: () => $("h-inspector").focus(),
  a: () => $("actions").querySelector('[tabindex="0"]')?.focus(),
  t: () => $("theme").click(), l: () => $("size").click(),
};

function onKey(e) {
  if (e.ctrlKey || e.metaKey || e.altKey || e.isComposing || document.querySelector("dialog[open]")) return;
  const at = e.target;
  if (e.key === "Escape") {
    if (inspector.close()) e.preventDefault();
    return;
  }
  if (at.closest("select, textarea, input:not([type=checkbox])")) return;
  // Arrows belong to the group they are in, else to the walk that is open.
  if (!e.defaultPrevented && !at.closest(".node, [role=listbox], [role=toolbar], .legend") && inspector.key(e)) {
    e.preventDefault();
    return;
  }
  if (!$("keyson").checked || e.defaultPrevented) return;
  if (e.key === " " && at.closest("button, summary, a, input")) return; // space presses what has the focus
  const action = byKey(e.key);
  const command = commands[e.key] ?? (action && (() => { say(action.name); press(action.id); }));
  if (!command) return;
  e.preventDefault();
  command();
}

