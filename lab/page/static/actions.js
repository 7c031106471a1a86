// SPDX-License-Identifier: MIT

// The buttons that do something to the world, and the captures.

import { $, glyph, h, inRow, put, roving, say } from "./dom.js";
import { app, on, post } from "./feed.js";

let fading;

export function start() {
  const bar = $("actions");
  for (const [i, a] of app.world.actions.entries()) {
    bar.append(h("button", { type: "button", class: "action", tabindex: i ? "-1" : "0", title: [a.about, a.rfc].filter(Boolean).join(" "), data: { action: a.id }, onclick: () => press(a.id) },
      h("span", null, a.name), a.key ? h("kbd", { "aria-hidden": "true" }, a.key) : null));
  }
  roving(bar, ".action", inRow);
  on("state", update);
  on("trouble", (text) => tell(text, "bad"));
  captures();
}

function update(state) {
  for (const el of $("actions").children) {
    const st = state.actions?.[el.dataset.action] ?? {};
    el.classList.toggle("on", Boolean(st.on));
    // Only what has been on is a switch; that it is off is not said by the server.
    if (st.on || el.hasAttribute("aria-pressed")) el.setAttribute("aria-pressed", String(Boolean(st.on)));
    el.setAttribute("aria-disabled", String(Boolean(st.why)));
  }
}

// press does the action at once, or asks first where there is something to choose.
export function press(id) {
  const a = app.world.actions.find((x) => x.id === id);
  const why = app.state?.actions?.[id]?.why;
  if (why) {
    tell(why, "bad");
    return;
  }
  const targets = a.targets ?? [], args = a.args ?? [];
  if (targets.length > 1 || args.length > 1) ask(a, targets, args);
  else act(a, targets[0]?.id, args[0]?.id);
}

async function act(a, target, arg) {
  try {
    const { done } = await post("/api/do", { action: a.id, target: target ?? "", arg: arg ?? "" });
    const where = a.targets?.find((x) => x.id === target)?.name;
    tell("Done: " + (done || a.name + (where ? ", " + where : "")), "");
  } catch (e) {
    tell(e.message, "bad");
  }
}

function tell(text, cls) {
  const line = $("doneline");
  line.textContent = text;
  line.className = "doneline " + cls;
  clearTimeout(fading);
  fading = setTimeout(() => { line.textContent = ""; }, 8000);
  if (cls) say(text);
}

// pulled says whether a target is a wire that is not plugged in: the question shows what a press comes to.
const pulled = (id) => app.state?.wires[id]?.up === false;

function ask(a, targets, args) {
  const group = (title, field, list) => (list.length > 1 ? h("fieldset", null, h("legend", null, title), list.map((c, i) =>
    h("label", null, h("input", { type: "radio", name: field, value: c.id, checked: i === 0 }), " ", c.name, pulled(c.id) ? h("span", { class: "chip bad" }, "pulled") : null))) : null);
  const form = $("askform");
  put(form,
    h("h2", { id: "h-ask" }, a.name), h("p", null, a.about), a.rfc ? h("p", { class: "rfc" }, a.rfc) : null,
    group("Where", "target", targets), group("How", "arg", args),
    h("p", { class: "answers" }, h("button", { class: "main", value: "yes" }, a.name), h("button", { class: "plain", value: "", formnovalidate: true }, "Cancel")));
  const dialog = $("ask");
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (dialog.returnValue !== "yes") return;
    const chosen = new FormData(form);
    act(a, chosen.get("target") ?? targets[0]?.id, chosen.get("arg") ?? args[0]?.id);
  };
  dialog.showModal();
}

function captures() {
  const links = app.world.wires.map((w) => h("li", null, h("a", { download: "", data: { wire: w.id } }, glyph("down"), h("span", null, w.name))));
  $("captures").append(...links);
  const aim = () => {
    for (const link of $("captures").querySelectorAll("a")) {
      link.href = "/api/pcap?wire=" + encodeURIComponent(link.dataset.wire) + "&keys=" + ($("withkeys").checked ? 1 : 0);
    }
  };
  $("withkeys").addEventListener("change", aim);
  aim();
}

export const actionKeys = () => app.world.actions.filter((a) => a.key).map((a) => [a.key, a.name]);
export const byKey = (key) => app.world.actions.find((a) => a.key && a.key.toLowerCase() === key.toLowerCase());
