// SPDX-License-Identifier: MIT

// Elements in short. Texts are always set as text, never as HTML: what the world says can contain anything.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

function fill(el, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(el.dataset, value);
    else if (value === true) el.setAttribute(name, "");
    else el.setAttribute(name, value);
  }
  el.append(...children.flat().filter((c) => c !== undefined && c !== null && c !== false));
  return el;
}

// put makes children all that an element holds. One that is not there is left out, as h leaves it out.
export function put(el, ...children) {
  el.replaceChildren();
  return fill(el, undefined, children);
}

// h("button", {type: "button", onclick: f}, "text", other)
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

// s is h for SVG.
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

// glyph is an icon of icons.js.
export const glyph = (name, cls) => s("svg", { class: cls ?? "glyph", viewBox: "0 0 32 32", "aria-hidden": "true" }, s("use", { href: "#g-" + name }));

// mark is a packet's shape, as in the legend.
export const mark = (family) => s("svg", { class: "mark f-" + family, viewBox: "-10 -10 20 20", "aria-hidden": "true" }, s("use", { href: "#m-" + family }));

// addrs is a text whose IPv6 addresses may go on in the next line after their colons, and nowhere else: a length stays
// with the digits before it.
export function addrs(text) {
  const parts = text.split(/([0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*(?:\/\d+)?)/i);
  return parts.map((part, i) => (i % 2 ? h("span", { class: "addr" }, part.split(/(?<=:)(?![:/])/).flatMap((x, n) => (n ? [h("wbr"), x] : [x]))) : part));
}

let saying;

// say tells those who do not see it, politely.
export function say(text) {
  const live = $("live");
  live.textContent = "";
  clearTimeout(saying);
  saying = setTimeout(() => { live.textContent = text; }, 60); // a change, also if the text is the same
}

// roving makes a group of elements one tab stop: move(el, key) names the element an arrow leads to.
export function roving(group, selector, move) {
  const all = () => [...group.querySelectorAll(selector)];
  const current = () => all().find((el) => el.tabIndex === 0);
  const settle = (el) => {
    for (const x of all()) x.setAttribute("tabindex", x === el ? "0" : "-1");
  };
  group.addEventListener("focusin", (e) => {
    const el = e.target.closest(selector);
    if (el) settle(el);
  });
  group.addEventListener("keydown", (e) => {
    if (!e.key.startsWith("Arrow") && e.key !== "Home" && e.key !== "End") return;
    const el = e.target.closest(selector);
    if (!el) return;
    const list = all();
    const to = e.key === "Home" ? list[0] : e.key === "End" ? list.at(-1) : move(el, e.key, list);
    if (!to) return;
    e.preventDefault();
    settle(to);
    to.focus();
  });
  return { refresh: () => settle(current() ?? all()[0]) };
}

// inRow is a move for roving: left and up go back, right and down go on, around the ends.
export function inRow(el, key, list) {
  const step = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
  return list[(list.indexOf(el) + step + list.length) % list.length];
}
