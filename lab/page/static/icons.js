// SPDX-License-Identifier: MIT

// Glyphs of nodes (on 32 × 32, strokes) and marks of packets (around 0,0), put into the page once and used by name.

import { s } from "./dom.js";

const glyphs = {
  palm: ["M16 12c1.2 4 1.2 8 0 12.5", "M16 12c-1.8-4-5.8-5.2-9-3", "M16 12c-4-1.2-7.2.8-8 5", "M16 12c1.8-4 5.8-5.2 9-3", "M16 12c4-1.2 7.2.8 8 5", "M6 26.5c3.4-2 6.4-2 10-1s6.600 1 10-.5"],
  host: ["M6 8h20v13H6z", "M3.500 25h25"],
  server: ["M7 5h18v9H7z", "M7 18h18v9H7z", "M11 9.500h.1", "M11 22.500h.1", "M16 9.500h5", "M16 22.500h5"],
  switch: ["M4 10h24v12H4z", "M9 19v-3", "M14 19v-3", "M18 19v-3", "M23 19v-3"],
  nat: ["M4 7h24v18H4z", "M4 13h24", "M4 19h24", "M12 7v6", "M20 7v6", "M8 13v6", "M16 13v6", "M24 13v6", "M12 19v6", "M20 19v6"],
  internet: ["M16 4a12 12 0 1 0 0 24a12 12 0 1 0 0-24z", "M4 16h24", "M16 4c-7 7.500-7 16.500 0 24", "M16 4c7 7.500 7 16.500 0 24"],
  hub: ["M16 16L7 7", "M16 16L25 7", "M16 16L7 25", "M16 16L25 25", "M16 11.500a4.500 4.500 0 1 0 0 9a4.500 4.500 0 1 0 0-9z", "M7 7h.1", "M25 7h.1", "M7 25h.1", "M25 25h.1"],
  site: ["M5 15L16 6l11 9", "M8 13v13h16V13", "M13.500 26v-7h5v7"],
  pause: ["M11.500 8v16", "M20.500 8v16"],
  play: ["M11 7.500l13 8.500-13 8.500z"],
  step: ["M8 8l10 8-10 8z", "M23 8v16"],
  sun: ["M16 11a5 5 0 1 0 0 10a5 5 0 1 0 0-10z", "M16 4v2.500", "M16 25.500V28", "M4 16h2.500", "M25.500 16H28", "M7.500 7.500l1.800 1.800", "M22.700 22.700l1.800 1.800", "M24.500 7.500l-1.800 1.800", "M9.300 22.700l-1.800 1.800"],
  moon: ["M25 19.500A10 10 0 1 1 13 6.500a8 8 0 0 0 12 13z"],
  auto: ["M16 5a11 11 0 1 0 0 22z", "M16 5a11 11 0 0 1 0 22"],
  down: ["M16 6v14", "M10 14.500l6 6 6-6", "M7 26h18"],
};
glyphs.router = glyphs.palm;

const marks = {
  ra: () => s("path", { d: "M0-9 2.600-2.900 9-2.300 4.200 2 5.600 8.300 0 5-5.600 8.300-4.200 2-9-2.300-2.600-2.900z" }),
  nd: () => s("path", { d: "M0-8.500 8.500 6.500H-8.500z" }),
  dhcpv6: () => s("rect", { x: -7, y: -7, width: 14, height: 14, rx: 1.5 }),
  wg: () => s("circle", { r: 7.5 }),
  echo: () => s("circle", { r: 5.8, class: "ring" }),
  error: () => s("path", { class: "cross", d: "M-6-6 6 6M6-6-6 6" }),
  tcp: () => s("path", { d: "M0-9 8-4.500V4.500L0 9-8 4.500V-4.500z" }),
  dns: () => s("path", { d: "M0-9 8 0 0 9-8 0z" }),
  other: () => s("path", { class: "cross", d: "M-6.500 0H6.500M0-6.500V6.500" }),
};

// install puts all of them at the end of the page, unseen.
export function install() {
  const defs = s("defs", null,
    Object.entries(glyphs).map(([name, paths]) => s("g", { id: "g-" + name, class: "strokes" }, paths.map((d) => s("path", { d })))),
    Object.entries(marks).map(([name, draw]) => s("g", { id: "m-" + name }, draw())));
  document.body.append(s("svg", { class: "store", width: 0, height: 0, "aria-hidden": "true" }, defs));
}
