// SPDX-License-Identifier: MIT

package page

import "time"

// World is what stands for a whole run.
type World struct {
	Title string `json:"title"`
	// Link is the kind of the tunnel's link: "sim" (messages, sizes and timers of WireGuard without
	// cryptography, virtual time) or "wg" (wireguard-go, real time). The page says which.
	Link      string     `json:"link"`
	Seed      uint64     `json:"seed,string"` // a string, because JavaScript's numbers end at 2^53
	Start     time.Time  `json:"start"`       // where virtual time began
	Scenario  string     `json:"scenario"`
	Scenarios []Scenario `json:"scenarios"`
	Nodes     []Node     `json:"nodes"`
	Wires     []Wire     `json:"wires"`
	Tunnels   []Pipe     `json:"tunnels"`
	Actions   []Button   `json:"actions"`
	Lessons   []Lesson   `json:"lessons"`
}

// Scenario is one that --scenario takes.
type Scenario struct {
	Name  string `json:"name"`
	About string `json:"about"`
}

// Node kinds.
const (
	Host     = "host"
	Router   = "router"
	NAT      = "nat"
	Hub      = "hub"
	Internet = "internet"
	Server   = "server"
	Switch   = "switch"
	Site     = "site"
)

// Node is a box of the map. X and Y are 0 to 100, from the LAN on the left to the IPv6 Internet on
// the right; a narrow page draws X downwards.
type Node struct {
	ID    string  `json:"id"`
	Name  string  `json:"name"`
	Kind  string  `json:"kind"`
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
	Site  string  `json:"site,omitempty"` // nodes of one site stand on common ground
	About string  `json:"about"`
}

// Wire kinds.
const (
	LAN  = "lan"
	IPv4 = "ipv4"
	IPv6 = "ipv6"
	// Tunnel is the inside of a pipe: it is not drawn by itself, and its packets run in the Pipe of
	// the same id.
	Tunnel = "tunnel"
)

// Wire joins two nodes.
type Wire struct {
	ID   string `json:"id"`
	A    string `json:"a"`
	B    string `json:"b"`
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// Pipe is a tunnel's way through the wires, from the box to the hub.
type Pipe struct {
	ID   string   `json:"id"`
	Name string   `json:"name"`
	Path []string `json:"path"` // wires
}

// PageKeys are the keys that the page keeps for itself, beside arrows, Enter and Esc.
const PageKeys = " .+-=?mpaitl"

// Button is an action that the user may take.
type Button struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	About   string   `json:"about"`
	RFC     string   `json:"rfc,omitempty"`
	Key     string   `json:"key,omitempty"` // one letter or digit, none of PageKeys
	Targets []Choice `json:"targets,omitempty"`
	Args    []Choice `json:"args,omitempty"`
}

// Choice is a value of Action.Target or Action.Arg.
type Choice struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Lesson is the part of a lesson that stands; LessonState has the rest.
type Lesson struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Article string `json:"article"` // what to read: title and place, no address
}
