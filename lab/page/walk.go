// SPDX-License-Identifier: MIT

package page

import (
	"time"

	"oasis6/lab/packet"
)

// Walk is the way of one packet from its sender to where it ended.
type Walk struct {
	ID      uint64      `json:"id"`
	Kind    packet.Kind `json:"kind"`
	Summary string      `json:"summary"`
	Hops    []Hop       `json:"hops"`
}

// Hop is the packet on one wire, and what the node at its end did with it.
type Hop struct {
	ID       uint64         `json:"id"` // of the Packet
	At       time.Time      `json:"at"`
	Wire     string         `json:"wire"`
	From     string         `json:"from"`
	To       string         `json:"to"`
	Kind     packet.Kind    `json:"kind,omitempty"` // on this wire; none: as the walk's
	Layers   []packet.Layer `json:"layers"`         // of packet.Explain
	Broken   string         `json:"broken,omitempty"`
	Dropped  bool           `json:"dropped,omitempty"`
	Decision Decision       `json:"decision"`
}

// Decision says in words what Node did and why: "hop limit 64 → 63, route ::/0 by the tunnel". No
// text: nothing is known of it.
type Decision struct {
	Node string `json:"node,omitempty"`
	Text string `json:"text,omitempty"`
	RFC  string `json:"rfc,omitempty"`
}
