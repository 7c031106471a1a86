// SPDX-License-Identifier: MIT

// Virtual time in the browser: between two words of the server it runs on by itself, at the speed it was told.

import { $, glyph, say } from "./dom.js";
import { on, post, emit } from "./feed.js";
import { briefly, clockText, countdown, seconds } from "./format.js";

const speeds = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

let told = { at: 0, real: 0, speed: 1, paused: true, can: false };

// now is in seconds since the world's start.
export function now() {
  if (told.paused) return told.at;
  // The server speaks four times a second. If it falls silent, time stands still after two seconds.
  const passed = Math.min((performance.now() - told.real) / 1000, 2);
  return told.at + passed * told.speed;
}

export const speed = () => told.speed;

export function start() {
  on("clock", (c) => {
    told = { at: seconds(c.now), real: performance.now(), speed: c.speed, paused: c.paused, can: c.can_pause };
    showControls();
    tick();
  });
  $("pause").append(glyph("pause"));
  $("step").append(glyph("step"));
  $("step").setAttribute("aria-label", "One step (.)");
  $("step").title = "One step (.)";
  $("pause").addEventListener("click", toggle);
  $("step").addEventListener("click", step);
  $("speed").addEventListener("input", () => setSpeed(speeds[$("speed").value]));
  setInterval(tick, 100);
}

function showControls() {
  $("timecontrols").hidden = !told.can;
  $("realtime").hidden = told.can;
  const word = told.paused ? "Go on (space)" : "Pause (space)";
  const button = $("pause");
  if (button.title !== word) {
    button.title = word;
    button.setAttribute("aria-label", word);
    button.setAttribute("aria-pressed", String(told.paused));
    button.replaceChildren(glyph(told.paused ? "play" : "pause"));
  }
  $("step").disabled = !told.paused;
  let place = speeds.findIndex((x) => x >= told.speed - 1e-9);
  if (place < 0) place = speeds.length - 1;
  if (document.activeElement !== $("speed") || $("speed").value !== String(place)) $("speed").value = place;
  $("speedtext").textContent = "×" + told.speed;
  $("speed").setAttribute("aria-valuetext", told.speed + " times");
  document.body.classList.toggle("paused", told.paused);
}

// tick moves all that counts: the clock, elements with data-until (and since: a bar), with data-ago.
function tick() {
  const t = now();
  $("now").textContent = clockText(t);
  for (const el of document.querySelectorAll("[data-until]")) {
    const text = (el.dataset.brief ? briefly : countdown)(Number(el.dataset.until) - t);
    if (el.textContent !== text) el.textContent = text;
  }
  for (const el of document.querySelectorAll("[data-ago]")) {
    const text = countdown(t - Number(el.dataset.ago));
    if (el.textContent !== text) el.textContent = text;
  }
  for (const el of document.querySelectorAll("[data-end]")) {
    const begin = Number(el.dataset.begin), end = Number(el.dataset.end);
    const left = Math.max(0, Math.min(1, (end - t) / Math.max(end - begin, 1e-9)));
    el.style.setProperty("--left", left.toFixed(3));
  }
  emit("tick", t);
}

async function order(op, word) {
  try {
    await post("/api/time", op);
    if (word) say(word);
  } catch (e) {
    emit("trouble", e.message);
  }
}

export function toggle() {
  if (told.can) order({ op: told.paused ? "play" : "pause" }, told.paused ? "Goes on" : "Paused");
}

export function step() {
  if (told.can && told.paused) order({ op: "step" });
}

let asked; // the speed that the server was asked for last, as long as it may not have said so yet

function setSpeed(x) {
  asked = { speed: x, until: performance.now() + 1000 };
  order({ op: "speed", speed: x });
}

// faster goes n places up the list, or down: from what was asked for, where keys come quicker than answers.
export function faster(n) {
  if (!told.can) return;
  const from = asked && performance.now() < asked.until ? asked.speed : told.speed;
  let place = speeds.findIndex((x) => x >= from - 1e-9);
  if (place < 0) place = speeds.length - 1;
  const x = speeds[Math.max(0, Math.min(speeds.length - 1, place + n))];
  setSpeed(x);
  say(x + " times");
}
