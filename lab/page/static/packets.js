// SPDX-License-Identifier: MIT

// The legend, which is the filter of map and list, and the list of packets: a list box with one tab stop.

import { $, h, inRow, mark, roving } from "./dom.js";
import { app, emit, name, on, wireName } from "./feed.js";
import { briefClock, seconds } from "./format.js";
import { families, family } from "./kinds.js";

const maxRows = 400;

const hide = new Set(); // families
let packets = []; // the newest last
let hiddenCount = 0;
let active; // packet id
let waiting = false;

export function start() {
  legend();
  const pick = $("packetwire");
  pick.append(...app.world.wires.map((w) => h("option", { value: w.id }, w.name)));
  pick.addEventListener("change", redraw);
  on("wire", (id) => {
    pick.value = id;
    redraw();
  });
  on("packets", (b) => {
    packets.push(...b.packets);
    hiddenCount += b.hidden;
    if (packets.length > maxRows) packets = packets.slice(-maxRows);
    if (!waiting) {
      waiting = true;
      setTimeout(append, 120);
    }
  });
  const list = $("packetlist");
  list.addEventListener("keydown", keys);
  list.addEventListener("focus", () => { if (!current()) choose(list.lastElementChild); });
  list.addEventListener("click", (e) => {
    const row = e.target.closest(".row");
    if (!row) return;
    choose(row);
    emit("open-packet", Number(row.dataset.id));
  });
  note();
}

function legend() {
  const box = $("legend");
  box.append(...families.map((f) => h("button", { type: "button", class: "kind", "aria-pressed": "true", tabindex: "-1", title: f.name, data: { family: f.id }, onclick: (e) => {
    const off = !hide.delete(f.id);
    if (off) hide.add(f.id);
    e.currentTarget.setAttribute("aria-pressed", String(!off));
    emit("hide", hide);
    redraw();
  } }, mark(f.id), h("span", null, f.short))));
  roving(box, ".kind", inRow).refresh();
}

const wanted = (p) => !hide.has(family(p.kind).id) && (!$("packetwire").value || p.wire === $("packetwire").value);

function row(p) {
  return h("li", { class: "row" + (p.dropped ? " dropped" : ""), role: "option", id: "p" + p.id, "aria-selected": "false", data: { id: p.id } },
    h("span", { class: "at num" }, briefClock(seconds(p.at), 3)),
    mark(family(p.kind).id),
    h("span", { class: "sum" }, p.summary, p.dropped ? h("b", { class: "drop" }, " dropped") : null),
    h("span", { class: "way", title: wireName(p.wire) }, name(p.from) + " → " + name(p.to)),
    h("span", { class: "len num" }, String(p.length)));
}

let newest = 0; // id of the last packet that was looked at for the list

function append() {
  waiting = false;
  const list = $("packetlist");
  const follows = list.scrollTop + list.clientHeight > list.scrollHeight - 40;
  const rows = packets.filter((p) => p.id > newest && wanted(p)).map(row);
  newest = packets.at(-1)?.id ?? newest;
  list.append(...rows);
  while (list.childElementCount > maxRows) list.firstElementChild.remove();
  if (follows) list.scrollTop = list.scrollHeight;
  if (document.activeElement === list && !current()) choose(list.lastElementChild);
  note();
}

function redraw() {
  newest = 0;
  $("packetlist").replaceChildren();
  append();
  const row = current();
  if (row) choose(row);
  $("packetlist").scrollTop = $("packetlist").scrollHeight;
}

function note() {
  const parts = [];
  if (!$("packetlist").childElementCount) parts.push("Nothing yet.");
  if (hiddenCount) parts.push(hiddenCount + " more went by too quickly to show; a capture has the last 2048 frames of its wire.");
  $("packetnote").textContent = parts.join(" ");
}

const current = () => active && document.getElementById("p" + active);

function choose(row) {
  for (const x of $("packetlist").querySelectorAll('[aria-selected="true"]')) x.setAttribute("aria-selected", "false");
  if (!row) return;
  active = row.dataset.id;
  row.setAttribute("aria-selected", "true");
  $("packetlist").setAttribute("aria-activedescendant", row.id);
  const list = $("packetlist"); // scrollIntoView would move the page, too
  const top = row.offsetTop - list.offsetTop;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + row.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top + row.offsetHeight - list.clientHeight;
}

function keys(e) {
  const list = $("packetlist");
  const at = current();
  const to = { ArrowDown: at?.nextElementSibling, ArrowUp: at?.previousElementSibling, Home: list.firstElementChild, End: list.lastElementChild }[e.key];
  if (e.key === "Enter" && at) emit("open-packet", Number(at.dataset.id));
  else if (to) choose(to);
  else return;
  e.preventDefault();
}
