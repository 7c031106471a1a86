// SPDX-License-Identifier: MIT

// What the server says: the world once, then events; and what the page tells it.

export const app = { world: undefined, state: undefined, nodes: new Map(), wires: new Map() };

const listeners = new Map();

export function on(event, f) {
  if (!listeners.has(event)) listeners.set(event, []);
  listeners.get(event).push(f);
}

export function emit(event, value) {
  for (const f of listeners.get(event) ?? []) f(value);
}

// get and post give the answer, or throw an Error whose message is for the user.
export async function get(path) { return read(fetch(path)); }

export async function post(path, body) {
  return read(fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) }));
}

async function read(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Error("The demo does not answer: is it still running?");
  }
  const answer = await response.json().catch(() => ({ error: "The demo's answer cannot be read." }));
  if (!response.ok) throw new Error(answer.error ?? "error " + response.status);
  return answer;
}

export async function load() {
  app.world = await get("/api/world");
  // Go writes a list without elements as null.
  for (const list of ["scenarios", "nodes", "wires", "tunnels", "actions", "lessons"]) app.world[list] ??= [];
  for (const n of app.world.nodes) app.nodes.set(n.id, n);
  for (const w of app.world.wires) app.wires.set(w.id, w);
}

// name is a node's name, or its id where the world does not know it.
export const name = (id) => app.nodes.get(id)?.name ?? id;
export const wireName = (id) => app.wires.get(id)?.name ?? id;

// follow opens the stream. The browser itself comes back after a loss, and says how far it had read.
export function follow() {
  const stream = new EventSource("/api/events");
  let run;
  stream.addEventListener("open", () => emit("connected", true));
  stream.addEventListener("error", () => emit("connected", false));
  stream.addEventListener("hello", (e) => {
    const now = JSON.parse(e.data).run;
    if (run && run !== now) location.reload(); // another demo on the same port: another world
    run = now;
  });
  for (const event of ["clock", "packets", "log"]) stream.addEventListener(event, (e) => emit(event, JSON.parse(e.data)));
  stream.addEventListener("state", (e) => {
    app.state = JSON.parse(e.data);
    for (const what of ["nodes", "wires", "tunnels", "actions"]) app.state[what] ??= {};
    for (const list of ["prefixes", "steps", "lessons"]) app.state[list] ??= [];
    emit("state", app.state);
  });
}
