// SPDX-License-Identifier: MIT

//go:build !small

package status

// Hub is what concerns all sites of a hub.
type Hub struct {
	Pools        []Pool            `json:"pools"`
	FormerPools  []FormerPool      `json:"former_pools"` // that leases are still out of
	SitesUp      int               `json:"sites_up"`     // sites with a handshake that is not older than a session lasts
	Leases       int               `json:"leases"`       // prefixes that are routed to sites
	Invitations  []Invitation      `json:"invitations"`  // that nobody has used yet
	Received     uint64            `json:"received"`     // DHCPv6 messages
	Sent         uint64            `json:"sent"`
	Dropped      map[string]uint64 `json:"dropped"` // packets of sites refused, by reason
	StoreError   string            `json:"store_error"`
	NDAnswered   uint64            `json:"nd_answered"` // neighbor solicitations answered for sites
	SiteToSite   bool              `json:"site_to_site"`
	FirewallOpen bool              `json:"firewall_open"`
}

// Pool is a prefix that sites get theirs from.
type Pool struct {
	Prefix string `json:"prefix"`
	Leases int    `json:"leases"` // prefixes out of it that are routed to sites
}

// FormerPool is a pool of a configuration before this one. Its route is needed until its last lease is over.
type FormerPool struct {
	Prefix string  `json:"prefix"`
	Leases int     `json:"leases"`
	ValidS float64 `json:"valid_s"` // the longest valid lifetime of them
}

// Invitation waits for a box.
type Invitation struct {
	Name     string  `json:"name"`
	ExpiresS float64 `json:"expires_s"`
}

// Site is one R1 as the hub sees it.
type Site struct {
	Name          string      `json:"name"`
	PublicKey     string      `json:"public_key"`
	LinkLocal     string      `json:"link_local"`
	Origin        string      `json:"origin"` // file | joined
	State         string      `json:"state"`  // up | silent | never
	Endpoint      string      `json:"endpoint"`
	HandshakeAgeS float64     `json:"handshake_age_s"` // -1: none since the hub was started
	RxBytes       uint64      `json:"rx_bytes"`
	TxBytes       uint64      `json:"tx_bytes"`
	Flapping      bool        `json:"flapping"` // its endpoint goes to and fro, as if two boxes had one key
	Leases        []SiteLease `json:"leases"`
}

// SiteLease is one prefix of a site.
type SiteLease struct {
	Prefix     string  `json:"prefix"`
	IAID       uint32  `json:"iaid"`
	DUID       string  `json:"duid"`
	State      string  `json:"state"` // bound | stale | released
	PreferredS float64 `json:"preferred_s"`
	ValidS     float64 `json:"valid_s"`
	AtMost     bool    `json:"at_most"` // both are, since the site has not asked yet after the hub was started
}
