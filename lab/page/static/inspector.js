// SPDX-License-Identifier: MIT

// The panel "Look closer": a node, or the walk of a packet. Opening it moves the focus to its heading; closing gives
// the focus back.

import { $, h, say } from "./dom.js";
import { app, emit, get, on } from "./feed.js";
import { nodeView } from "./node.js";
import { walkView } from "./walk.js";

let view; // {title, el, update?, key?, show?}
let opener;

export function start() {
  $("inspectorclose").addEventListener("click", close);
  on("open-node", openNode);
  on("open-packet", openPacket);
  on("state", (st) => view?.update?.(st));
  rest();
}

function rest() {
  view = undefined;
  $("h-inspector").textContent = "Look closer";
  $("inspectorclose").hidden = true;
  const scenario = app.world.scenarios.find((x) => x.name === app.world.scenario);
  $("inspectorbody").replaceChildren(h("div", { class: "intro" },
    scenario ? h("p", { class: "lead" }, scenario.about) : null,
    h("p", null, "Choose a node of the map: its addresses and who gave them, its routes, its name servers, a NAT’s table."),
    h("p", null, "Choose a moving dot or a line of the packet list: the packet’s way from hop to hop, header by header, with what each node decided and where the RFC says so."),
    h("p", { class: "quiet" }, h("kbd", null, "?"), " shows all keys.")));
  emit("show", {});
}

function open(v) {
  if (!view || !$("inspector").contains(document.activeElement)) opener = document.activeElement;
  view = v;
  $("h-inspector").textContent = v.title;
  $("inspectorclose").hidden = false;
  $("inspectorbody").replaceChildren(v.el);
  $("inspectorbody").scrollTop = 0;
  $("h-inspector").focus({ preventScroll: true });
  const box = $("inspector").getBoundingClientRect();
  if (box.top > innerHeight * 0.7 || box.bottom < 60) $("inspector").scrollIntoView({ block: "start" });
}

function openNode(id) {
  const v = nodeView(id);
  if (!v) return;
  open(v);
  emit("show", { node: id });
}

async function openPacket(id) {
  let walk;
  try {
    walk = await get("/api/packet/" + id);
    for (const hop of walk.hops) for (const layer of hop.layers ??= []) layer.fields ??= [];
  } catch (e) {
    emit("trouble", e.message);
    return;
  }
  open(walkView(walk, id));
  say("Walk of a packet, " + walk.hops.length + " hops: " + walk.summary);
}

// close goes back to where the panel was opened from; false: it was closed already.
export function close() {
  if (!view) return false;
  rest();
  if (opener?.isConnected && opener !== document.body) opener.focus();
  else $("map").querySelector('.node[tabindex="0"]')?.focus();
  return true;
}

// key gives a key to what is open: the arrows step through a walk.
export const key = (e) => view?.key?.(e) ?? false;
