// SPDX-License-Identifier: MIT

package router

import (
	"fmt"
	"net"
	"slices"
	"time"

	"oasis6/config"
	"oasis6/dhcpv6"
	"oasis6/dhcpv6/server"
	"oasis6/ra"
	"oasis6/status"
)

// Bounds of the hosts table: a hostile LAN can show as many addresses as it likes.
const (
	maxHosts         = 256
	maxHostAddresses = 16 // as many as Linux gives an interface (max_addresses)
)

func (r *Router) lanStatus(now time.Time) []status.LAN {
	out := []status.LAN{}
	for i, l := range r.lans {
		told, stats := l.sender.Announced(now), l.sender.Stats()
		plan := r.planLAN(i)
		s := status.LAN{
			Interface: l.name, State: lanState(l.link), RouterLifetimeS: float64(told.RouterLifetime),
			Managed: told.Managed, OtherConfig: told.OtherConfig, RDNSS: texts(told.RDNSS), RDNSSSource: plan.DNSSource.String(),
			DNSSL: told.DNSSL, CaptivePortal: told.CaptivePortal, MTU: int(told.LinkMTU),
			RASent: stats.Sent, RSReceived: stats.RSReceived, Dropped: stats.Dropped,
			DHCPv6: r.serverStatus(now, l), Routers: routerStatus(now, l), Hosts: r.hosts(l.name),
		}
		for _, p := range told.Prefixes {
			lp := status.LANPrefix{
				Prefix: p.Prefix.String(), PreferredS: status.Seconds(p.Preferred), ValidS: status.Seconds(p.Valid), Stale: p.Stale, DHCPv6PD: p.DHCPv6PD,
			}
			for _, sub := range plan.Subnets {
				if sub.Prefix == p.Prefix {
					lp.Address = sub.Address.String()
				}
			}
			s.Prefixes = append(s.Prefixes, lp)
		}
		for _, p := range told.Routes {
			s.Routes = append(s.Routes, p.String())
		}
		if told.PREF64.IsValid() {
			s.PREF64 = told.PREF64.String()
		}
		for i := range l.sockets {
			if n := l.sockets[i].crowded.Load(); n > 0 {
				s.Dropped[l.sockets[i].service.String()+" messages too many at once"] += n
			}
		}
		if s.DHCPv6 != nil {
			for why, n := range r.server.Stats(l.name).Dropped {
				s.Dropped["DHCPv6: "+why] += n
			}
		}
		out = append(out, s)
	}
	return out
}

// serverStatus is the DHCPv6 server of a LAN, nil if it has none.
func (r *Router) serverStatus(now time.Time, l *lan) *status.LANServer {
	if !r.serves(l) {
		return nil
	}
	stats := r.server.Stats(l.name)
	s := &status.LANServer{Mode: config.DHCPv6Stateless.String(), Error: l.sockets[serviceDHCPv6].err, Received: stats.Received, Sent: stats.Sent}
	for _, c := range r.cfg.LANs {
		if c.Interface == l.name {
			s.Mode, s.Delegate = c.DHCPv6.String(), c.Delegate
		}
	}
	for _, b := range r.server.Bindings(now) {
		if b.Link == l.name {
			s.Bindings = append(s.Bindings, bindingStatus(now, b))
		}
	}
	return s
}

func bindingStatus(now time.Time, b server.Binding) status.Binding {
	out := status.Binding{Client: b.Client.String(), Address: b.Peer.String(), Type: b.Type.String(), IAID: uint32(b.IAID)}
	for _, l := range b.Leases {
		x := status.BindingLease{
			Prefix: l.Prefix.String(), PreferredS: status.Remaining(l.Preferred, now), ValidS: status.Remaining(l.Valid, now), Stale: l.Stale,
		}
		if b.Type == dhcpv6.NA {
			x.Prefix = l.Prefix.Addr().String()
		}
		out.Prefixes = append(out.Prefixes, x)
	}
	return out
}

func routerStatus(now time.Time, l *lan) (out []status.LANRouter) {
	for _, x := range l.sender.Routers(now) {
		s := status.LANRouter{
			Address: x.Addr.String(), RouterLifetimeS: float64(x.RouterLifetime), Preference: preferenceWord(x.Preference),
			SeenS: status.Seconds(now.Sub(x.Heard)), Conflicts: x.Conflicts,
		}
		if x.HasLinkLayer {
			s.MAC = macText(x.LinkLayer)
		}
		for _, p := range x.Prefixes {
			s.Prefixes = append(s.Prefixes, p.String())
		}
		out = append(out, s)
	}
	return out
}

func preferenceWord(p ra.Preference) string {
	switch p {
	case ra.High:
		return "high"
	case ra.Low:
		return "low"
	}
	return "medium"
}

func macText(mac [6]byte) string { return net.HardwareAddr(mac[:]).String() }

// hosts are those that the forwarding side has seen on a LAN, the last one first.
func (r *Router) hosts(iface string) []status.Host {
	list, err := r.opt.Plane.Neighbors(iface)
	if err != nil {
		r.log.Debug("neighbors unknown", "iface", iface, "err", err)
	}
	out := []status.Host{}
	for _, n := range list {
		mac := macText(n.MAC)
		i := slices.IndexFunc(out, func(h status.Host) bool { return h.MAC == mac })
		if i < 0 {
			if len(out) == maxHosts {
				continue
			}
			i = len(out)
			out = append(out, status.Host{MAC: mac, SeenS: status.Seconds(n.Seen)})
		}
		h := &out[i]
		h.SeenS = min(h.SeenS, status.Seconds(n.Seen))
		if len(h.Addresses) < maxHostAddresses {
			h.Addresses = append(h.Addresses, n.Addr.String())
		}
	}
	return out
}

func (r *Router) neighborStatus() status.Neighbors {
	n, err := r.opt.Plane.NeighborStats()
	if err != nil {
		r.log.Debug("neighbor table unknown", "err", err)
	}
	return status.Neighbors{Known: n.Known, Dropped: n.Dropped, Entries: n.Entries, Most: n.Most}
}

// lanProblems says what is wrong with a LAN.
func (r *Router) lanProblems(l *lan, add func(string, ...any)) {
	switch state := lanState(l.link); {
	case !l.seen: // the first look at the kernel is on its way
	case state == "missing":
		add("LAN %s does not exist: waiting for it; create the bridge, or correct [LAN] Interface", l.name)
	case state == "no carrier":
		add("LAN %s has no carrier: is it up, and is a cable or a port in it?", l.name)
	case state == "duplicate link-local":
		add("LAN %s is not served: another node%s has our link-local address %s; two routers on a LAN must not share one", l.name, by(l.link.TakenBy), l.link.Taken)
	case state == "no link-local":
		add("LAN %s has no link-local address yet: it comes when a port of the bridge is up, unless IPv6 is disabled on it", l.name)
	case l.sockets[serviceND].err != "":
		add("no Router Advertisements on LAN %s: %s", l.name, l.sockets[serviceND].err)
	case l.sender.Clash() != "":
		add("no Router Advertisements on LAN %s: %s", l.name, l.sender.Clash())
	}
	if err := l.sockets[serviceDHCPv6].err; err != "" {
		add("no DHCPv6 server on LAN %s: %s", l.name, err)
	}
}

func by(mac string) string {
	if mac == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", mac)
}
