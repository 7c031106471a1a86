// SPDX-License-Identifier: MIT

// Lessons: a text, a task, and a mark that the world sets when the task is done.

import { $, h, say } from "./dom.js";
import { app, on, post } from "./feed.js";

const rows = new Map();

export function start() {
  $("lessons").parentElement.hidden = !app.world.lessons.length;
  for (const l of app.world.lessons) {
    const sign = h("span", { class: "sign", "aria-hidden": "true" }, "○");
    const status = h("span", { class: "sr" });
    const body = h("div", { class: "text" });
    const task = h("p", { class: "task" });
    const progress = h("p", { class: "progress", "aria-live": "polite" });
    const came = h("p", { class: "came", role: "status" });
    const button = h("button", { type: "button", class: "plain", onclick: () => begin(l.id) }, "Start");
    const el = h("details", { class: "lesson", data: { lesson: l.id } },
      h("summary", null, sign, h("span", { class: "lessontitle" }, l.title), status),
      h("div", { class: "inside" }, l.article ? h("p", { class: "article" }, "After “" + l.article + "”") : null, body, task, progress, button, came));
    rows.set(l.id, { el, sign, status, body, task, progress, button, came, title: l.title, last: "" });
    $("lessons").append(el);
  }
  on("state", update);
}

// begin starts a lesson and says there, where it was pressed, what came of it.
async function begin(id) {
  const row = rows.get(id);
  let text = "Started: do the task, and the mark above is set when it is done.", cls = "";
  try {
    await post("/api/lesson/" + encodeURIComponent(id) + "/start");
  } catch (e) {
    [text, cls] = [e.message, " bad"];
  }
  row.came.className = "came" + cls;
  row.came.textContent = text;
}

function update(state) {
  let passed = 0;
  for (const st of state.lessons) {
    if (st.passed) passed++;
    const row = rows.get(st.id);
    if (row) show(row, st);
  }
  $("score").textContent = rows.size ? `${passed} of ${rows.size} passed` : "";
}

function show(row, st) {
  const text = JSON.stringify(st);
  if (text === row.last) return;
  const news = row.last !== "" && st.passed && !JSON.parse(row.last).passed;
  row.last = text;
  row.el.className = "lesson " + (st.passed ? "passed" : st.started ? "started" : "");
  row.sign.textContent = st.passed ? "✓" : st.started ? "◐" : "○";
  row.status.textContent = st.passed ? " passed" : st.started ? " started" : "";
  row.body.replaceChildren(...(st.text ?? "").split(/\n\s*\n/).map((p) => h("p", null, p)));
  row.task.replaceChildren(h("b", null, "Your task: "), st.task ?? "");
  row.progress.textContent = st.passed ? "Passed." : st.progress ?? "";
  row.button.textContent = st.started || st.passed ? "Start again" : "Start";
  if (news) {
    row.came.textContent = "";
    row.el.classList.add("news");
    say("Lesson passed: " + row.title);
  }
}
