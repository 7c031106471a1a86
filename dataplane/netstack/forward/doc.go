// SPDX-License-Identifier: MIT

// Package forward decides for each IPv6 packet that crosses the userspace router what becomes of it: given to the stack,
// sent on, dropped with a reason, or answered with an ICMPv6 error. It does what the Linux kernel and our table `ip6
// oasis6` do together (dataplane/kernel), in their order.
//
// It holds the routes, the firewall with its flows, the addresses seen on the LANs (RFC 6583), the MACs of routers behind
// them (RFC 8987) and the limits of errors. It must not know the stack, devices, sockets or the clock: a packet, the time
// and where it came in are arguments. What is local (addresses, neighbor discovery, echo, reassembly) is the stack's.
//
// Limits: one packet in, at most one verdict; nothing is queued and nothing reassembled, so fragments but the first are
// judged by their addresses. Checksums are not looked at.
//
// Any number of goroutines may call a Forwarder. The path of a packet reads an immutable table through an atomic pointer
// and takes the lock of one of many parts of the flows; what is limited takes one lock for all, but only then.
//
// Start at Compile and Forwarder.Packet.
package forward
