// SPDX-License-Identifier: MIT

package config

import (
	"io"
	"strconv"
	"strings"
	"time"
)

// WriteEffectiveHub is WriteEffective for a hub.
func WriteEffectiveHub(w io.Writer, c *HubConfig) error {
	_, err := io.WriteString(w, effectiveHub(c, secret.String))
	return err
}

func effectiveHub(c *HubConfig, show func(secret) string) string {
	w := &writer{secret: show}
	w.iface(&c.Interface)
	w.hub(&c.Hub)
	if len(c.Sites) == 0 {
		w.WriteString("\n# [Peer]: none, sites come by invitation\n")
	}
	for i := range c.Sites {
		w.site(&c.Sites[i])
	}
	w.router(Router{FirewallOpen: c.FirewallOpen, Dataplane: DataplaneKernel})
	return w.String()
}

func (w *writer) hub(h *Hub) {
	w.section("Hub")
	w.set("Pool", list(h.Pools), "")
	w.set("Uplink", h.Uplink, "none")
	w.set("SiteLength", strconv.Itoa(h.SiteLength), "")
	w.set("MaxSiteLength", strconv.Itoa(h.MaxSiteLength), "")
	w.set("PreferredLifetime", lifetimeText(h.Preferred), "")
	w.set("ValidLifetime", lifetimeText(h.Valid), "")
	w.set("DNS", list(h.DNS), "none")
	w.set("Search", strings.Join(h.Search, ", "), "none")
	w.set("SiteToSite", yesOrNo(h.SiteToSite), "")
	w.set("OnLink", yesOrNo(h.OnLink), "")
	w.set("Endpoint", h.Endpoint, "none, oasis6 invite --endpoint names one")
	w.absent(new(rawHub).keys())
}

func (w *writer) site(s *Site) {
	w.section("Peer")
	w.set("Name", s.Name, "none")
	w.set("PublicKey", s.PublicKey.String(), "")
	w.preshared(s.PresharedKey)
	w.set("Prefix", list(s.Prefixes), "none reserved")
	w.linkLocal(s.LinkLocal, s.PublicKey)
	w.set("PersistentKeepalive", orWord(int(s.Keepalive/time.Second), "off"), "")
}
