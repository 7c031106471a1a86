// SPDX-License-Identifier: MIT

package config

// The text form of what only a hub's file has.
type (
	rawHub struct {
		line                              int
		uplink, siteLength, maxSiteLength *value
		preferredLifetime, validLifetime  *value
		siteToSite, onLink, endpoint      *value
		pool, dns, search                 []value
	}
	rawSite struct {
		line                           int
		name, publicKey, presharedKey  *value
		linkLocal, persistentKeepalive *value
		prefix                         []value
	}
)

const (
	whyNoAllowedIPs = "the hub makes them of the leases; to give a site a certain prefix write Prefix"
	whyNoEndpoint   = "a site is known by its key, and its address is learned"
	whyNoFallback   = "it is for the site to say, in its own file, how it comes to the hub"
)

func (r *rawHub) keys() []key {
	return []key{
		{name: "Pool", list: &r.pool},
		{name: "Uplink", one: &r.uplink},
		{name: "SiteLength", one: &r.siteLength},
		{name: "MaxSiteLength", one: &r.maxSiteLength},
		{name: "PreferredLifetime", one: &r.preferredLifetime},
		{name: "ValidLifetime", one: &r.validLifetime},
		{name: "DNS", list: &r.dns},
		{name: "Search", list: &r.search},
		{name: "SiteToSite", one: &r.siteToSite},
		{name: "OnLink", one: &r.onLink},
		{name: "Endpoint", one: &r.endpoint},
		{name: "Store", absent: true, only: []string{"file"}},
		{name: "CarrierListen", absent: true},
		{name: "CarrierCert", absent: true},
		{name: "CarrierKey", absent: true},
	}
}

func (r *rawSite) keys() []key {
	return []key{
		{name: "Name", one: &r.name},
		{name: "PublicKey", one: &r.publicKey},
		{name: "PresharedKey", one: &r.presharedKey},
		{name: "Prefix", list: &r.prefix},
		{name: "LinkLocal", one: &r.linkLocal},
		{name: "PersistentKeepalive", one: &r.persistentKeepalive},
		{name: "AllowedIPs", refused: whyNoAllowedIPs},
		{name: "Endpoint", refused: whyNoEndpoint},
		{name: "Fallback", refused: whyNoFallback},
	}
}

// hubSections lists all of a hub's file, as sections does of a box's.
func hubSections() []section {
	return []section{
		{"Interface", new(rawInterface).keys()},
		{"Hub", new(rawHub).keys()},
		{"Peer", new(rawSite).keys()},
		{"Router", new(rawRouter).keys()},
	}
}

// openHub is the opener of a hub's file.
func openHub(f *rawFile, id string, line int) (section, string) {
	switch id {
	case "hub":
		f.hub = &rawHub{line: line}
		return section{"Hub", f.hub.keys()}, ""
	case "peer":
		s := &rawSite{line: line}
		f.sites = append(f.sites, s)
		return section{"Peer", s.keys()}, ""
	case "lan", "prefix":
		name := map[string]string{"lan": "LAN", "prefix": "Prefix"}[id]
		return section{}, "[" + name + "] belongs to the file of a box: this is a hub's, because it has [Hub]"
	}
	return openCommon(f, id, line), ""
}
