// SPDX-License-Identifier: MIT

// Package status is what a running box says of itself: snapshot types, their JSON and text form,
// and the list of recent events.
//
// It must not know how things are done, nor ask anybody: the loop that owns the state fills a
// Snapshot and publishes it. Start at Snapshot, Text and EventLog.
package status

import "time"

// Snapshot is the answer to `oasis6 status --json`; docs/status.schema.json describes it.
// Times are remaining seconds; -1 stands for "never" (infinite). Nil slices and maps are
// published as empty ones, so a reader need not know null.
type Snapshot struct {
	Version  string   `json:"version"`
	Role     string   `json:"role"` // run | hub
	UptimeS  float64  `json:"uptime_s"`
	Ready    bool     `json:"ready"`
	Summary  string   `json:"summary"` // begins with "up: ", "starting: ", "degraded: " or "down: "
	Tunnel   Tunnel   `json:"tunnel"`
	Prefixes []Prefix `json:"prefixes"`
	DHCPv6   *DHCPv6  `json:"dhcpv6,omitempty"`
	LANs     []LAN    `json:"lans"`
	// Neighbors is the forwarding side's protection against scans (RFC 6583).
	Neighbors Neighbors `json:"neighbors"`
	Build
	Hub      *Hub     `json:"hub,omitempty"`
	Sites    []Site   `json:"sites"`    // of a hub: those of its file first, then those that have joined
	Problems []string `json:"problems"` // what is wrong now, in words, with what to do
	Events   []Event  `json:"events"`
}

// Tunnel is the WireGuard side.
type Tunnel struct {
	Interface string `json:"interface"`
	PublicKey string `json:"public_key"`
	LinkLocal string `json:"link_local"`
	MTU       int    `json:"mtu"`
	State     string `json:"state"` // down | connecting | up
	Peers     []Peer `json:"peers"`
}

// Peer is one WireGuard peer.
type Peer struct {
	Name          string  `json:"name"`
	PublicKey     string  `json:"public_key"`
	Endpoint      string  `json:"endpoint"`
	Carrier       string  `json:"carrier"`         // udp
	HandshakeAgeS float64 `json:"handshake_age_s"` // -1: never
	RxBytes       uint64  `json:"rx_bytes"`
	TxBytes       uint64  `json:"tx_bytes"`
}

// Prefix is one delegation.
type Prefix struct {
	Prefix     string  `json:"prefix"`
	Source     string  `json:"source"` // dhcpv6 | static
	State      string  `json:"state"`  // soliciting | requesting | bound | renewing | rebinding | static | stale
	PreferredS float64 `json:"preferred_s"`
	ValidS     float64 `json:"valid_s"`
	T1S        float64 `json:"t1_s"`
	T2S        float64 `json:"t2_s"`
	Server     string  `json:"server"`
}

// DHCPv6 is the client machine.
type DHCPv6 struct {
	State         string   `json:"state"` // as dhcpv6/client names it: "bound"
	DUID          string   `json:"duid"`
	Server        string   `json:"server"` // DUID of the server of the lease; empty: there is none
	ServerAddress string   `json:"server_address"`
	Next          string   `json:"next"`
	NextS         float64  `json:"next_s"` // -1: nothing is planned
	LastError     string   `json:"last_error"`
	LastRefused   string   `json:"last_refused"` // why the last message that was refused was
	Confirmed     bool     `json:"confirmed"`    // false: the lease is older than this boot, and no server has confirmed it yet
	Reconfigure   bool     `json:"reconfigure"`  // the server has given us a key and may tell us to ask again
	IAs           []IA     `json:"ias"`
	DNS           []string `json:"dns"`
	Search        []string `json:"search"`
	NTP           []string `json:"ntp"`
	EncryptedDNS  []string `json:"encrypted_dns"` // names of the resolvers
	Sent          uint64   `json:"sent"`
	Received      uint64   `json:"received"`
	Dropped       uint64   `json:"dropped"`
}

// IA is one identity association that the client asks for.
type IA struct {
	Type      string     `json:"type"` // IA_PD | IA_NA
	IAID      uint32     `json:"iaid"`
	State     string     `json:"state"` // none, or as the client's
	Wish      string     `json:"wish"`  // a prefix, or ::/LENGTH; empty: nothing is wished
	Server    string     `json:"server"`
	Prefixes  []IAPrefix `json:"prefixes"`
	T1S       float64    `json:"t1_s"` // -1: never
	T2S       float64    `json:"t2_s"`
	Next      string     `json:"next"`
	NextS     float64    `json:"next_s"`
	LastError string     `json:"last_error"`
}

// IAPrefix is a prefix, or an address, that an IA holds.
type IAPrefix struct {
	Prefix     string  `json:"prefix"`
	Exclude    string  `json:"exclude"` // the part that no LAN may have (RFC 6603); empty: none
	PreferredS float64 `json:"preferred_s"`
	ValidS     float64 `json:"valid_s"`
}

// LAN is one interface on which we are the router.
type LAN struct {
	Interface       string            `json:"interface"`
	State           string            `json:"state"` // missing | no carrier | no link-local | duplicate link-local | up
	Prefixes        []LANPrefix       `json:"prefixes"`
	RouterLifetimeS float64           `json:"router_lifetime_s"`
	Managed         bool              `json:"managed"`      // M flag
	OtherConfig     bool              `json:"other_config"` // O flag
	Routes          []string          `json:"routes"`       // route information options (RFC 4191)
	RDNSS           []string          `json:"rdnss"`
	RDNSSSource     string            `json:"rdnss_source"` // configured | dhcpv6 | ra | self | off
	DNSSL           []string          `json:"dnssl"`
	PREF64          string            `json:"pref64"`         // empty: none
	CaptivePortal   string            `json:"captive_portal"` // empty: none
	MTU             int               `json:"mtu"`
	RASent          uint64            `json:"ra_sent"`
	RSReceived      uint64            `json:"rs_received"`
	Dropped         map[string]uint64 `json:"dropped"` // ND and DHCPv6 messages refused, by reason
	DHCPv6          *LANServer        `json:"dhcpv6,omitempty"`
	Routers         []LANRouter       `json:"routers"` // other routers on the link
	Hosts           []Host            `json:"hosts"`
}

// LANPrefix is a subnet on a LAN.
type LANPrefix struct {
	Prefix     string  `json:"prefix"`
	Address    string  `json:"address"`
	PreferredS float64 `json:"preferred_s"`
	ValidS     float64 `json:"valid_s"`
	Stale      bool    `json:"stale"`
	DHCPv6PD   bool    `json:"dhcpv6_pd"` // P flag (RFC 9762)
}

// LANServer is the DHCPv6 server of a LAN.
type LANServer struct {
	Mode     string    `json:"mode"` // stateless | stateful
	Delegate bool      `json:"delegate"`
	Error    string    `json:"error"` // why it does not serve; empty: it does
	Received uint64    `json:"received"`
	Sent     uint64    `json:"sent"`
	Bindings []Binding `json:"bindings"`
}

// Binding is what a client of a LAN's DHCPv6 server has.
type Binding struct {
	Client   string         `json:"client"`  // its DUID
	Address  string         `json:"address"` // its link-local address
	Type     string         `json:"type"`    // IA_PD | IA_NA
	IAID     uint32         `json:"iaid"`
	Prefixes []BindingLease `json:"prefixes"`
}

// BindingLease is one prefix or address of a Binding.
type BindingLease struct {
	Prefix     string  `json:"prefix"`
	PreferredS float64 `json:"preferred_s"`
	ValidS     float64 `json:"valid_s"`
	Stale      bool    `json:"stale"` // taken back; the client may still hold it
}

// LANRouter is another router that advertises on a LAN.
type LANRouter struct {
	Address         string   `json:"address"` // link-local
	MAC             string   `json:"mac"`     // empty: it did not say
	RouterLifetimeS float64  `json:"router_lifetime_s"`
	Preference      string   `json:"preference"` // low | medium | high
	Prefixes        []string `json:"prefixes"`
	SeenS           float64  `json:"seen_s"`    // since its last advertisement
	Conflicts       []string `json:"conflicts"` // in what it contradicts us (RFC 4861 section 6.2.7)
}

// Host is a host seen on a LAN.
type Host struct {
	MAC       string   `json:"mac"`
	Addresses []string `json:"addresses"`
	SeenS     float64  `json:"seen_s"` // since it was last known to be there
}

// Neighbors says how the LANs are kept from being scanned to death.
type Neighbors struct {
	Known   int    `json:"known"`   // addresses of hosts that packets from the tunnel reach without limit
	Dropped uint64 `json:"dropped"` // packets to other addresses that were over the limit
	Entries int    `json:"entries"` // of the neighbor table
	Most    int    `json:"most"`    // of the kernel's table gc_thresh3, one for the whole machine; 0: unknown
}

// Event is one thing a user may have noticed. At is wall-clock time, for people only.
type Event struct {
	At     time.Time `json:"at"`
	Level  string    `json:"level"`
	What   string    `json:"what"`
	Detail string    `json:"detail"`
	// Count is how often it happened within the list; At is the last time.
	Count uint64 `json:"count"`
}
