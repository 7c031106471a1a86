// SPDX-License-Identifier: MIT

// Package ip6pkt builds and parses single IPv6 packets.
package ip6pkt
