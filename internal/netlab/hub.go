// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"net/netip"
	"strings"
)

// HubConfig is the text of a configuration for the hub with R2's key, the world's pool and a [Peer] for each key that sites
// have, whose name is that of the node. The extra lines go to the end, where [Hub] is the open section; they may open others.
func (w *World) HubConfig(extra ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\nListenPort = %d\n", w.HubKey.Reveal(), R2Port)
	for i, s := range w.Sites() {
		if s.ByInvitation || i > 0 && s.BoxKey == w.BoxKey {
			continue
		}
		fmt.Fprintf(&b, "\n[Peer]\nName = %s\nPublicKey = %s\n", s.R1.Name, s.BoxKey.Public())
		if s.LinkLocal.IsValid() {
			fmt.Fprintf(&b, "LinkLocal = %s\n", s.LinkLocal)
		}
	}
	fmt.Fprintf(&b, "\n[Hub]\nPool = %s\nUplink = eth1\nEndpoint = %s:%d\nSiteLength = %d\nDNS = %s\nSearch = %s\nPreferredLifetime = %v\nValidLifetime = %v\n",
		w.Config.Pool, R2v4, R2Port, w.Config.DelegatedLen, DNSv6, SearchList, w.Config.Preferred, w.Config.Valid)
	return b.String() + strings.Join(append(extra, ""), "\n")
}

// HubFile is the hub's configuration; the test sees it at the same path.
func (w *World) HubFile() string { return w.confFile(w.R2) }

// WriteHubConfig puts a configuration where StartHub looks for it.
func (w *World) WriteHubConfig(text string) {
	w.T.Helper()
	w.R2.WriteFile(w.HubFile(), text, 0o600)
	w.hubConfigured = true
}

// HubArgs is BoxArgs for the hub in R2.
func (w *World) HubArgs(binary, sub string, extra ...string) []string {
	return w.args(w.R2, binary, sub, extra)
}

// HubState is the hub's STATE directory; the test sees it at the same path.
func (w *World) HubState() string { return w.stateDir(w.R2) }

// StartHub runs `oasis6 hub` in R2, in place of what StartR2 starts, with the last written configuration, by default
// HubConfig().
func (w *World) StartHub(binary string, extra ...string) *Proc {
	w.T.Helper()
	if !w.hubConfigured {
		w.WriteHubConfig(w.HubConfig())
	}
	return w.R2.StartWith(w.OnHubLine, w.HubArgs(binary, "hub", extra...)...)
}

// HubDelegated is the first prefix that the hub has given, as its list shows it; not valid while there is none.
func (w *World) HubDelegated(binary string) netip.Prefix {
	w.T.Helper()
	out, err := w.R2.Try(w.HubArgs(binary, "hub", "leases")...)
	if err != nil {
		return netip.Prefix{} // it does not run yet
	}
	for line := range strings.Lines(out) {
		first, _, _ := strings.Cut(line, " ")
		if p, err := netip.ParsePrefix(first); err == nil {
			return p
		}
	}
	return netip.Prefix{}
}
