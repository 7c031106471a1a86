// SPDX-License-Identifier: MIT

package hub

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"oasis6/config"
	"oasis6/dataplane"
)

// previewMTU is what a hub's tunnel has unless the file says otherwise: it must do for all sites, however they come.
const previewMTU = 1420

// Here is what there is on the machine where Preview is asked.
type Here struct {
	Links  []string       // names of its interfaces
	OnLink []netip.Prefix // what they have, but for the tunnel, host bits kept
}

// Preview says what a hub with this configuration would do here, without touching anything: the text of `oasis6 check`. Sites
// with a reservation are taken to have it; what others will have nobody knows.
func Preview(cfg *config.HubConfig, here Here) string {
	var b strings.Builder
	f := Facts{Config: cfg, LinkLocal: cfg.Interface.LinkLocal, MTU: cfg.Interface.MTU}
	if !f.LinkLocal.IsValid() && !cfg.Interface.PrivateKey.IsZero() {
		f.LinkLocal = cfg.Interface.PrivateKey.Public().LinkLocal()
	}
	if f.MTU == 0 {
		f.MTU = previewMTU
	}
	for _, s := range cfg.Sites {
		f.Routed = append(f.Routed, s.Prefixes...)
	}
	slices.SortFunc(f.Routed, netip.Prefix.Compare)
	fmt.Fprintf(&b, "listen on udp port %d for %s\n", cfg.Interface.ListenPort, number(len(cfg.Sites), "site"))
	if len(f.Routed) > 0 {
		b.WriteString("once the sites with a reservation have it:\n")
	}
	d := Make(f)
	b.WriteString(strings.Replace(d.String(), d.Hub.String()+"\n", hubWords(d.Hub), 1))
	for _, p := range cfg.Hub.Pools {
		fmt.Fprintf(&b, "delegate /%d, down to /%d for sites that ask, out of %s: preferred %v, valid %v\n",
			cfg.Hub.SiteLength, cfg.Hub.MaxSiteLength, p, cfg.Hub.Preferred, cfg.Hub.Valid)
	}
	for _, a := range cfg.Hub.DNS {
		fmt.Fprintf(&b, "tell sites of dns %s\n", a)
	}
	for _, n := range cfg.Hub.Search {
		fmt.Fprintf(&b, "tell sites of search %s\n", n)
	}
	if u := cfg.Hub.Uplink; u != "" && !slices.Contains(here.Links, u) {
		fmt.Fprintf(&b, "problem: uplink %s does not exist on this machine\n", u)
	}
	own, _ := ownOf(cfg, here.OnLink)
	for _, p := range cfg.Hub.Pools {
		if filled(p, own) {
			fmt.Fprintf(&b, "problem: %s\n", poolOnLink(p))
		}
	}
	if cfg.Hub.OnLink {
		fmt.Fprintf(&b, "problem: %s\n", onLinkWarning)
	}
	return b.String()
}

// hubWords are the rules of forwarding in words.
func hubWords(f dataplane.HubFirewall) string {
	outside, between := "answers to their own flows alone", "refused"
	if f.Open {
		outside = "also flows that begin there"
	}
	if f.SiteToSite {
		between = "allowed"
	}
	return fmt.Sprintf("forward through %s: from each site what comes from its own prefixes; from outside to sites %s; from site to site %s\n", f.Tunnel, outside, between)
}

// onLinkWarning is said wherever OnLink is on.
const onLinkWarning = "OnLink: the hub answers neighbor solicitations for its sites, which costs the provider's router an entry for each host; ask the provider to route a prefix to the hub instead"
