// SPDX-License-Identifier: MIT

package pagetest

import "fmt"

// Fits checks that the page is no wider than its window.
func (b *Tab) Fits(what string) {
	b.t.Helper()
	const wide = `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest("svg, .sr, .skip")).map((e) => e.tagName + "." + e.className).slice(0, 5).join(" ")`
	type size struct{ Page, Window int }
	got := Eval[size](b, `({Page: document.documentElement.scrollWidth, Window: innerWidth})`)
	if got.Page > got.Window {
		b.t.Errorf("%s: the page is %d wide in a window of %d: %s", what, got.Page, got.Window, Eval[string](b, wide))
	}
}

// LeastContrast is WCAG 2's for text of usual size (success criterion 1.4.3).
const LeastContrast = 4.5

// Legible checks that each text that is seen stands out from what is behind it, as far as colors of styles tell: a
// gradient counts as the color below it. What is switched off need not be legible.
func (b *Tab) Legible(what string) {
	b.t.Helper()
	type text struct {
		Text     string
		Contrast float64
	}
	b.Wait(`document.getAnimations().every((a) => !(a instanceof CSSTransition))`)
	for _, x := range Eval[[]text](b, fmt.Sprintf("(%s)(%g)", faint, LeastContrast)) {
		b.t.Errorf("%s: contrast %.2f of %q", what, x.Contrast, x.Text)
	}
}

// faint finds the texts with too little contrast, each kind once. Colors come from Chromium as rgb() or as color(srgb …).
const faint = `(least) => {
  const read = (c) => {
    const n = (c.match(/-?[\d.]+(e-?\d+)?/g) ?? []).map(Number);
    return c.startsWith("color(") ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const linear = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = (c) => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
  const ground = (e) => {
    const layers = [];
    for (let x = e; x; x = x.parentElement) layers.push(read(getComputedStyle(x).backgroundColor));
    return layers.reverse().reduce((under, top) => (top[3] > 0 ? over(top, under) : under), [255, 255, 255, 1]);
  };
  const out = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), e = walker.currentNode.parentElement;
    if (!text || e.closest("script, style, noscript, title, .sr, .skip, dialog:not([open]), :disabled, [aria-disabled=true], .dot")) continue;
    if (!e.checkVisibility({ visibilityProperty: true }) || !e.getClientRects().length) continue;
    const style = getComputedStyle(e), drawn = e.closest("svg");
    // A text of the map has a rim of the map's color, so that is behind it; but in boxes of its own.
    let under = ground(drawn ? drawn.parentElement : e);
    const box = drawn && e.closest(".wirenote, .table > g")?.querySelector("rect");
    if (box) under = over(read(getComputedStyle(box).fill), under);
    const color = over(read(drawn ? style.fill : style.color), under);
    const a = light(color), b = light(under);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const key = e.tagName + "." + (e.getAttribute("class") ?? "") + " " + e.parentElement.className;
    if (contrast < least && !out.has(key)) out.set(key, { Text: key + ": " + text.slice(0, 40), Contrast: contrast });
  }
  return [...out.values()];
}`

// Uncovered checks that the texts of the map lie neither upon each other nor on nodes, and names of grounds and pipes not
// on a pipe.
func (b *Tab) Uncovered(what string) {
	b.t.Helper()
	for _, x := range Eval[[]string](b, covered) {
		b.t.Errorf("%s: %s", what, x)
	}
}

const covered = `(() => {
  const svg = document.querySelector(".world"), at = svg.getBoundingClientRect(), out = [];
  const inside = (r) => ({ x0: r.left - at.left, x1: r.right - at.left, y0: r.top - at.top + r.height * 0.2, y1: r.bottom - at.top - r.height * 0.2 });
  const meet = (a, b) => Math.min(a.x1, b.x1) - Math.max(a.x0, b.x0) > 1 && Math.min(a.y1, b.y1) - Math.max(a.y0, b.y0) > 1;
  const texts = [...svg.querySelectorAll("text")].filter((e) => e.textContent.trim() && !e.closest(".dot, .spot"))
    .map((e) => ({ e, text: e.textContent, ...inside(e.getBoundingClientRect()) }));
  const boxes = [...svg.querySelectorAll(".node .box, .cell, .wirenote rect")].map((e) => ({ e, ...inside(e.getBoundingClientRect()) }));
  const owner = (e) => e.closest(".table > g, .wirenote") ?? e.closest(".node");
  texts.forEach((a, i) => {
    for (const b of texts.slice(i + 1)) if (meet(a, b) && a.e.closest("text") !== b.e.closest("text")) out.push("“" + a.text + "” and “" + b.text + "” lie on each other");
    for (const b of boxes) if (owner(a.e) !== owner(b.e) && meet(a, b)) out.push("“" + a.text + "” lies on the box of " + (owner(b.e).dataset?.node ?? owner(b.e).textContent));
    if (a.x0 < 0 || a.x1 > at.width || a.y0 < 0 || a.y1 > at.height) out.push("“" + a.text + "” is beyond the map");
    for (const wall of svg.querySelectorAll(".wall")) {
      const points = [0, 0.25, 0.5, 0.75, 1].map((f) => new DOMPoint(a.x0 + f * (a.x1 - a.x0), (a.y0 + a.y1) / 2));
      if (a.e.matches(".groundname, .pipename, .name, .sub") && points.some((p) => wall.isPointInStroke(p))) out.push("“" + a.text + "” lies on a pipe");
    }
  });
  return out;
})()`
