// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"time"
)

// splitTunnel is the story of this project.
func splitTunnel(*World) []step {
	return []step{
		{name: "The box shakes hands with the hub through both NATs", within: 10 * time.Second, done: func(w *World) (bool, string) {
			s, ok := w.boxes[0].status()
			if !ok || len(s.Tunnel.Peers) == 0 || s.Tunnel.Peers[0].HandshakeAgeS < 0 {
				return false, "no handshake yet"
			}
			return true, fmt.Sprintf("with %s", s.Tunnel.Peers[0].Endpoint)
		}},
		{name: "The hub delegates a prefix by DHCPv6", rfc: "RFC 9915 section 6.3", within: 10 * time.Second, done: func(w *World) (bool, string) {
			s, _ := w.boxes[0].status()
			if len(s.Prefixes) == 0 || s.Prefixes[0].State != "bound" {
				return false, "no prefix yet"
			}
			return true, s.Prefixes[0].Prefix
		}},
	}
}
