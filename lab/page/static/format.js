// SPDX-License-Identifier: MIT

// Times, lengths of time, sizes and addresses as people read them.

let start = 0;

// setStart is the world's beginning; seconds() counts from it.
export function setStart(text) { start = Date.parse(text) / 1000; }

// seconds turns an RFC 3339 time into seconds since the world's start, with all its decimals, which
// Date would lose. undefined stays so: a time that never comes.
export function seconds(text) {
  if (!text) return undefined;
  const m = /^(.*?)(\.\d+)?(Z|[+-]\d\d:\d\d)$/.exec(text);
  return m ? Date.parse(m[1] + m[3]) / 1000 - start + Number(m[2] ?? 0) : undefined;
}

const two = (n) => String(n).padStart(2, "0");

// clockText: 00:12:03.4, with days in front where there are any.
export function clockText(t, digits = 1) {
  const unit = 10 ** digits;
  const ticks = Math.max(0, Math.floor(t * unit + 1e-6));
  const all = Math.floor(ticks / unit);
  const days = Math.floor(all / 86400);
  const text = [Math.floor(all / 3600) % 24, Math.floor(all / 60) % 60, all % 60].map(two).join(":");
  const rest = digits ? "." + String(ticks % unit).padStart(digits, "0") : "";
  return (days ? days + " d " : "") + text + rest;
}

// briefClock is clockText for lists: without hours while there are none.
export function briefClock(t, digits = 1) {
  const text = clockText(t, digits);
  return text.startsWith("00:") ? text.slice(3) : text;
}

// duration: 27 s, 44 min 12 s, 1 h 29 min, 2 d 3 h.
export function duration(t) {
  if (t === undefined || t === Infinity) return "no end";
  if (t < 0) t = 0;
  if (t < 0.0005) return Math.round(t * 1e6) + " µs";
  if (t < 1) return (t < 0.01 ? (t * 1000).toFixed(1).replace(/\.0$/, "") : Math.round(t * 1000)) + " ms";
  if (t < 60) return (t < 10 ? t.toFixed(1) : String(Math.floor(t))) + " s";
  const m = Math.floor(t / 60);
  if (m < 60) return m + " min " + two(Math.floor(t % 60)) + " s";
  const hours = Math.floor(m / 60);
  if (hours < 48) return hours + " h " + two(m % 60) + " min";
  return Math.floor(hours / 24) + " d " + (hours % 24) + " h";
}

// countdown is a duration of whole seconds, which does not flicker.
export const countdown = (t) => (t === undefined ? "no end" : t <= 0 ? "0 s" : t < 60 ? Math.ceil(t) + " s" : duration(Math.ceil(t)));

// briefly is a countdown for a narrow place: 27 s, 5 min, 2 h.
export function briefly(t) {
  if (t < 100) return Math.max(0, Math.ceil(t)) + " s";
  return t < 6000 ? Math.round(t / 60) + " min" : Math.round(t / 3600) + " h";
}

export function octets(n) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (n >= size) return (n / size).toPrecision(3) + " " + unit;
  }
  return n + " octets";
}

// words expands an IPv6 address to its eight groups of four digits.
function words(addr) {
  const [head, tail] = addr.split("::");
  const left = head ? head.split(":") : [];
  const right = tail ? tail.split(":") : [];
  const gap = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...Array(Math.max(0, gap)).fill("0"), ...right].map((w) => w.padStart(4, "0"));
}

// prefixParts splits a prefix's text for the eye: what it has from its parent, what is its own, the rest.
// Digits count in fours, as the text has them.
export function prefixParts(prefix, parent) {
  const [addr, len] = prefix.split("/");
  if (!addr.includes(":")) return ["", addr, "/" + len];
  const nibbles = Math.ceil(Number(len) / 4);
  const before = parent ? Math.min(nibbles, Math.floor(Number(parent.split("/")[1]) / 4)) : 0;
  const groups = words(addr);
  const text = (from, to) => {
    let out = "";
    for (let i = from; i < to; i++) {
      const group = groups[Math.floor(i / 4)];
      if (i % 4 === 0 && i > 0) out += ":";
      if (i % 4 === 3 || /[^0]/.test(group.slice(0, i % 4 + 1))) out += group[i % 4]; // no zeros in front
    }
    return out;
  };
  // Octets of the last group that the prefix does not have are written as 0: 99 of a /56 is 9900.
  const end = Math.ceil(nibbles / 4) * 4;
  return [text(0, before), text(before, nibbles), text(nibbles, end) + (end < 32 ? "::" : "") + "/" + len];
}

// scope sorts addresses: the ones that lead to the Internet first.
export function scope(addr) {
  if (!addr.includes(":")) return 3;
  if (/^fe[89ab]/i.test(addr)) return 4;
  return /^f[cd]/i.test(addr) ? 2 : 1;
}

const rank = (a) => ["preferred", "tentative", "deprecated", "duplicate"].indexOf(a.state);

// byUse sorts a node's addresses: the one it would use towards the Internet first.
export const byUse = (list) => [...(list ?? [])].sort((a, b) => scope(a.addr) - scope(b.addr) || rank(a) - rank(b));

// endOfAddr is what of an address fits under a node of a phone's map.
export function endOfAddr(addr) {
  return addr.includes(":") ? "…:" + words(addr)[7].replace(/^0+(?=.)/, "") : addr.replace(/^.*\.(?=\d+$)/, "….");
}

// shortAddr is a long address by what tells it from others: the /64 and the end.
export function shortAddr(addr) {
  if (addr.length <= 16 || !addr.includes(":")) return addr;
  const groups = words(addr).map((w) => w.replace(/^0+(?=.)/, ""));
  return "…:" + groups[3] + ":…:" + groups[7];
}
