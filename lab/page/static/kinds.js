// SPDX-License-Identifier: MIT

// Families of packets: kinds of lab/packet that share a color and a shape. Shapes differ as colors do, for those
// who see the colors alike. A test checks that every kind of lab/packet is in one family.

export const families = [
  { id: "ra", name: "Router Advertisement, Solicitation", short: "RA, RS", kinds: { ra: "RA", rs: "RS" } },
  { id: "nd", name: "Neighbor Discovery, MLD", short: "ND", kinds: { ns: "NS", na: "NA", redirect: "Redirect", mld: "MLD" } },
  { id: "dhcpv6", name: "DHCPv6", short: "DHCPv6", kinds: { dhcpv6: "DHCPv6" } },
  { id: "wg", name: "WireGuard", short: "WireGuard", kinds: { "wg-handshake": "handshake", "wg-data": "WG", "wg-keepalive": "keepalive" } },
  { id: "echo", name: "ICMPv6 echo", short: "Echo", kinds: { "icmpv6-echo": "echo" } },
  { id: "error", name: "ICMPv6 error", short: "Error", kinds: { "icmpv6-error": "error" } },
  { id: "tcp", name: "TCP", short: "TCP", kinds: { tcp: "TCP" } },
  { id: "dns", name: "DNS and other UDP", short: "DNS, UDP", kinds: { dns: "DNS", udp: "UDP" } },
  { id: "other", name: "ARP, ICMP for IPv4, others", short: "Others", kinds: { arp: "ARP", icmpv4: "ICMP", other: "" } },
];

const byKind = new Map(families.flatMap((f) => Object.keys(f.kinds).map((k) => [k, f])));

export const family = (kind) => byKind.get(kind) ?? families.at(-1);

// label is a word beside a dot.
export const label = (kind) => family(kind).kinds[kind] ?? "";
