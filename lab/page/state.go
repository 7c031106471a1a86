// SPDX-License-Identifier: MIT

package page

import "time"

// State is how the world stands. A time that is zero is one that never comes (a lifetime without
// end) or has not come yet. Slices are in the order to be shown.
type State struct {
	// Clock travels in an event of its own: that time has passed is no new state.
	Clock   Clock                  `json:"-"`
	Nodes   map[string]NodeState   `json:"nodes"`
	Wires   map[string]WireState   `json:"wires"`
	Tunnels map[string]TunnelState `json:"tunnels"`
	// Actions may be missing for buttons that are always possible and leave nothing behind.
	Actions  map[string]ActionState `json:"actions,omitempty"`
	Prefixes []Prefix               `json:"prefixes"`
	Steps    []Step                 `json:"steps"`
	Lessons  []LessonState          `json:"lessons"`
}

// Clock is virtual time and how it runs.
type Clock struct {
	Now      time.Time `json:"now"`
	Speed    float64   `json:"speed"`
	Paused   bool      `json:"paused"`
	CanPause bool      `json:"can_pause"` // false: real time, and no button may change it
}

// NodeState is what a node knows.
type NodeState struct {
	Up        bool       `json:"up"`
	Badges    []string   `json:"badges,omitempty"` // a word or two each: "hop limit 64", "RA sender"
	Addresses []Address  `json:"addresses,omitempty"`
	Routes    []Route    `json:"routes,omitempty"`
	DNS       []DNS      `json:"dns,omitempty"`
	NAT       []Mapping  `json:"nat,omitempty"`
	Neighbors []Neighbor `json:"neighbors,omitempty"`
}

// States of an Address.
const (
	Tentative  = "tentative"
	Preferred  = "preferred"
	Deprecated = "deprecated"
	Duplicate  = "duplicate"
)

// Address is one on an interface. From says who gave it, in words: "RA of r1".
type Address struct {
	Iface          string    `json:"iface"`
	Addr           string    `json:"addr"`
	PrefixLen      int       `json:"prefix_len"`
	State          string    `json:"state"`
	Since          time.Time `json:"since,omitzero"` // last heard of: the lifetimes count from here
	PreferredUntil time.Time `json:"preferred_until,omitzero"`
	ValidUntil     time.Time `json:"valid_until,omitzero"`
	From           string    `json:"from"`
}

// Route leads to Dst by Via; no Via: Dst is on the interface.
type Route struct {
	Dst   string    `json:"dst"`
	Via   string    `json:"via,omitempty"`
	Iface string    `json:"iface"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	From  string    `json:"from"`
}

// DNS is a server to ask.
type DNS struct {
	Addr  string    `json:"addr"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	From  string    `json:"from"`
}

// Mapping is a line of a NAT's table.
type Mapping struct {
	Proto     string    `json:"proto"`
	Inside    string    `json:"inside"`
	Outside   string    `json:"outside"`
	Remote    string    `json:"remote,omitempty"` // none: any may answer
	Since     time.Time `json:"since,omitzero"`   // last packet
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Neighbor is a line of a neighbor cache.
type Neighbor struct {
	Addr  string `json:"addr"`
	MAC   string `json:"mac,omitempty"`
	State string `json:"state"`
}

// WireState is of one wire. Blocked says what does not pass: "UDP".
type WireState struct {
	Up      bool   `json:"up"`
	MTU     int    `json:"mtu"`
	Blocked string `json:"blocked,omitempty"`
}

// TunnelState is of one tunnel, seen from the box.
type TunnelState struct {
	State       string    `json:"state"` // down, connecting, up
	Endpoint    string    `json:"endpoint"`
	HandshakeAt time.Time `json:"handshake_at,omitzero"`
	Rx          uint64    `json:"rx"`
	Tx          uint64    `json:"tx"`
}

// ActionState is of a button: On, and a second press undoes it; Why not empty, and it cannot be
// pressed now.
type ActionState struct {
	On  bool   `json:"on,omitempty"`
	Why string `json:"why,omitempty"`
}

// Prefix is a part of the address plan; Children are cut from it.
type Prefix struct {
	Prefix   string    `json:"prefix"`
	Owner    string    `json:"owner"`
	Kind     string    `json:"kind"` // a word: "provider", "pool", "delegation", "LAN", "stale"
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Children []Prefix  `json:"children,omitempty"`
}

// Step states.
const (
	Waiting = "waiting"
	Running = "running"
	Passed  = "passed"
	Failed  = "failed"
)

// Step is one of the scenario's.
type Step struct {
	Name  string    `json:"name"`
	State string    `json:"state"`
	At    time.Time `json:"at,omitzero"`
	Text  string    `json:"text,omitempty"` // what was found
}

// LessonState is how far a lesson is.
type LessonState struct {
	ID      string `json:"id"`
	Started bool   `json:"started"`
	Passed  bool   `json:"passed"`
	Text    string `json:"text"` // paragraphs, parted by an empty line
	Task    string `json:"task"`
	// Progress says what the pass condition still waits for.
	Progress string `json:"progress,omitempty"`
}
