// SPDX-License-Identifier: MIT

// Puts the page together: first the world, then the parts, then the stream that moves them.

import { $ } from "./dom.js";
import { app, follow, load, on } from "./feed.js";
import { setStart } from "./format.js";
import * as icons from "./icons.js";
import * as actions from "./actions.js";
import * as clock from "./clock.js";
import * as dots from "./dots.js";
import * as inspector from "./inspector.js";
import * as keys from "./keys.js";
import * as lessons from "./lessons.js";
import * as map from "./map.js";
import * as packets from "./packets.js";
import * as prefixes from "./prefixes.js";
import * as timeline from "./timeline.js";

function lost(text) {
  $("lost").textContent = text;
  $("lost").hidden = !text;
}

async function main() {
  icons.install();
  await load();
  const w = app.world;
  setStart(w.start);
  document.title = "oasis6 demo: " + w.title;
  $("title").textContent = w.title;
  $("link").textContent = w.link === "wg" ? "wireguard-go, real time" : "simulated link";
  $("link").title = w.link === "wg"
    ? "The tunnel is wireguard-go itself, in real time."
    : "WireGuard’s messages, sizes and timers without its cryptography, in virtual time.";
  $("seed").textContent = w.link === "wg" ? "" : "seed " + w.seed; // in real time no seed decides what happens
  for (const part of [clock, map, dots, inspector, actions, packets, timeline, prefixes, lessons, keys]) part.start();
  on("connected", (yes) => lost(yes ? "" : "The demo does not answer. The page goes on by itself when it is there again."));
  follow();
  document.body.dataset.ready = "yes"; // for tests
}

main().catch((e) => lost(e.message));
