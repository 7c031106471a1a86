// SPDX-License-Identifier: MIT

package router

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/internal/note"
	"oasis6/ra"
)

// lan is one LAN: its interface as last seen, its sockets, its sender.
type lan struct {
	name    string
	link    dataplane.Link
	seen    bool // link is the kernel's word, not our ignorance
	sender  *ra.Sender
	wake    time.Time
	sockets [numServices]socket
	told    ra.Content // what the sender has
	dns     dnsProbe
	kept    ra.Announced // what hosts were told by an earlier process
}

// Final RAs are sent to LANs that the box leaves for good only.
type ending bool

const (
	forGood      ending = true
	forSuccessor ending = false
)

// setLANs makes r.lans follow the configuration: what stays is kept with all its state.
func (r *Router) setLANs(now time.Time) {
	var lans []*lan
	for _, c := range r.cfg.LANs {
		i := slices.IndexFunc(r.lans, func(l *lan) bool { return l.name == c.Interface })
		if i >= 0 {
			lans = append(lans, r.lans[i])
			continue
		}
		lans = append(lans, r.newLAN(now, c.Interface))
	}
	for _, l := range r.lans {
		if !slices.Contains(lans, l) {
			r.dropLAN(now, l)
		}
	}
	r.lans = lans
}

// newLAN makes the LAN with what hosts were told by an earlier process.
func (r *Router) newLAN(now time.Time, name string) *lan {
	l := &lan{name: name, sender: ra.NewSender(ra.Config{Resumed: r.resuming}, r.opt.Rand)}
	for i := range l.sockets {
		l.sockets[i].service = service(i)
	}
	if records := r.memory.lans[name]; len(records) > 0 {
		r.stepLAN(now, l, ra.Restored{Records: records})
		l.kept = l.sender.Announced(now)
		l.told = r.asTold(l.kept)
		l.dns.answers = slices.ContainsFunc(l.kept.RDNSS, l.own)
	}
	return l
}

// asTold is the content behind what hosts hold, as far as withdrawOnly looks at it: while the kernel refuses the first plan of a
// process, nothing is taken from them that is still true.
func (r *Router) asTold(a ra.Announced) ra.Content {
	c := ra.Content{
		DefaultRouter: r.resuming, Managed: r.resuming, OtherConfig: r.resuming,
		RDNSS: a.RDNSS, DNSSL: a.DNSSL, PREF64: a.PREF64, CaptivePortal: a.CaptivePortal,
	}
	for _, p := range a.Prefixes {
		if !p.Stale {
			c.Prefixes = append(c.Prefixes, ra.Prefix{Prefix: p.Prefix})
		}
	}
	for _, p := range a.Routes {
		c.Routes = append(c.Routes, ra.Route{Prefix: p})
	}
	for _, name := range a.EncryptedDNS {
		c.EncryptedDNS = append(c.EncryptedDNS, ra.EncryptedDNS{Name: name})
	}
	return c
}

// own says whether an address that hosts were told of is the box's.
func (l *lan) own(a netip.Addr) bool {
	return slices.ContainsFunc(l.kept.Prefixes, func(p ra.AnnouncedPrefix) bool { return firstOf(p.Prefix) == a })
}

// watched names the interfaces whose changes the loop must hear of.
func (r *Router) watched() []string {
	w := []string{r.cfg.Interface.Name}
	for _, l := range r.lans {
		w = append(w, l.name)
	}
	return w
}

func (r *Router) onPlane(now time.Time, ev dataplane.Event) error {
	switch ev := ev.(type) {
	case dataplane.LinkChanged:
		if ev.Link.Name == r.cfg.Interface.Name {
			return r.onTunnelLink(ev.Link)
		}
		r.onLink(now, ev.Link)
	case dataplane.PortUp:
		for _, l := range r.lans {
			if l.name == ev.Iface {
				r.stepLAN(now, l, ra.PortUp{})
			}
		}
	case dataplane.Drift:
		// What an interface that has just come or gone lacks is nobody's doing.
		if r.applied && now.Sub(r.linkAt) >= linkSettles && r.drift.Count(now) {
			r.journal.Info("kernel state changed by somebody else, put right", "what", ev.What)
		}
		r.reapply = true
		r.apply.Reset()
	}
	return nil
}

// onTunnelLink ends the box when its interface was renamed or removed: a new start makes a new one.
func (r *Router) onTunnelLink(link dataplane.Link) error {
	was := r.tunLink
	r.tunLink = link
	if was.Exists && !link.Exists {
		return fmt.Errorf("%w: somebody renamed or removed interface %s", ErrTunnelFailed, link.Name)
	}
	return nil
}

// linkSettles is how long after a change of a LAN's link the kernel may differ from the plan by itself.
const linkSettles = 2 * time.Second

func (r *Router) onLink(now time.Time, link dataplane.Link) {
	for _, l := range r.lans {
		if l.name != link.Name {
			continue
		}
		old := l.link
		l.link, l.seen = link, true
		if was, is := lanState(old), lanState(link); was != is {
			r.linkAt = now
			r.journal.Info("LAN "+is, "iface", l.name)
		}
		if old.Index != link.Index || old.LinkLocal != link.LinkLocal {
			l.close() // they belong to the interface and the source address of before
		}
		if old.Exists != link.Exists || old.MTU != link.MTU || old.Index != link.Index {
			r.replan = true
		}
		for i := range l.sockets {
			l.sockets[i].retry.Reset()
		}
		r.serveLAN(now, l)
	}
}

// lanState is the state of a LAN's link in words, as the status shows it.
func lanState(l dataplane.Link) string {
	switch {
	case !l.Exists:
		return "missing"
	case !l.Up:
		return "no carrier"
	case l.Taken.IsValid() && !l.LinkLocal.IsValid():
		return "duplicate link-local"
	case !l.LinkLocal.IsValid():
		return "no link-local"
	}
	return "up"
}

// serveLAN opens the sockets when the link allows it and tells the sender how the link is.
func (r *Router) serveLAN(now time.Time, l *lan) {
	if lanState(l.link) != "up" {
		r.stepLAN(now, l, ra.LinkDown{})
		return
	}
	if dhcp := &l.sockets[serviceDHCPv6]; r.serves(l) {
		r.openSocket(now, l, dhcp)
	} else {
		dhcp.close()
		dhcp.err = ""
		dhcp.retry.Reset()
	}
	nd := &l.sockets[serviceND]
	if r.openSocket(now, l, nd); nd.conn != nil {
		r.stepLAN(now, l, ra.LinkUp{MAC: l.link.MAC, HasMAC: l.link.HasMAC, LinkLocal: l.link.LinkLocal})
	}
}

// serves says whether a LAN is to have a DHCPv6 server.
func (r *Router) serves(l *lan) bool {
	return slices.ContainsFunc(r.cfg.LANs, func(c config.LAN) bool {
		return c.Interface == l.name && c.DHCPv6 != config.DHCPv6Off
	})
}

func (r *Router) onND(now time.Time, l *lan, m dataplane.Received) {
	r.stepLAN(now, l, ra.Received{Src: m.Src, HopLimit: m.HopLimit, Data: m.Data})
}

func (r *Router) tickLAN(now time.Time, l *lan) {
	if !l.wake.IsZero() && !l.wake.After(now) {
		r.stepLAN(now, l, ra.Tick{})
	}
	for i := range l.sockets {
		if l.sockets[i].retry.Again(now) {
			r.serveLAN(now, l)
		}
	}
}

// tellLAN gives the sender what is true after an Apply.
func (r *Router) tellLAN(now time.Time, l *lan, p LANPlan, applyErr error) {
	if p.Silent {
		return
	}
	c := p.Content
	if applyErr != nil {
		c = withdrawOnly(l.told, c)
	}
	l.told = c
	r.stepLAN(now, l, ra.SetContent{Content: c, Neighbors: r.neighbors(l.name)})
}

// neighbors are the hosts of a LAN that must hear at once of what cannot wait, one address for each MAC, its
// link-local one if known. Not to know them costs them some seconds, so an error is no more than a line in the log.
func (r *Router) neighbors(iface string) []netip.Addr {
	list, err := r.opt.Plane.Neighbors(iface)
	if err != nil {
		r.log.Debug("neighbors unknown", "iface", iface, "err", err)
	}
	at := map[[6]byte]int{}
	var out []netip.Addr
	for _, n := range list {
		i, ok := at[n.MAC]
		switch {
		case !ok:
			at[n.MAC] = len(out)
			out = append(out, n.Addr)
		case n.Addr.IsLinkLocalUnicast():
			out[i] = n.Addr
		}
	}
	return out
}

func (r *Router) stepLAN(now time.Time, l *lan, ev ra.Event) {
	a := l.sender.Step(now, ev)
	if a.Persist {
		r.memory.changed(now, l.name, l.sender.Records(now))
		if r.memory.due(now) {
			r.saveMemory(now)
		}
	}
	for _, d := range a.Send {
		r.send(l, &l.sockets[serviceND], d.To, d.Data)
	}
	l.wake = a.Wake
	r.journal.Notes(a.Notes, note.Attr{Key: "iface", Value: l.name})
}

// saveMemory writes what hosts have been told. Without it they are told all the same: it only matters after a crash.
func (r *Router) saveMemory(now time.Time) {
	r.reportSave(&r.memory.failed, r.memory.save(now), "advertised prefixes not saved: a crash may leave them to hosts")
}

// dropLAN takes a LAN out of service while the box goes on: its prefixes die with it.
func (r *Router) dropLAN(now time.Time, l *lan) {
	r.stepLAN(now, l, ra.SetContent{Neighbors: r.neighbors(l.name)})
	r.endLAN(now, l, forGood)
	r.memory.forget(now, func(name string) bool { return name != l.name })
	r.memory.changed(now, l.name, r.memory.lans[l.name])
}

// endLAN takes a LAN out of service.
func (r *Router) endLAN(now time.Time, l *lan, e ending) {
	r.stepLAN(now, l, ra.Stop{Final: bool(e)})
	l.close()
}

func (r *Router) closeLANs() {
	for _, l := range r.lans {
		l.close()
	}
}

// close closes the sockets.
func (l *lan) close() {
	for i := range l.sockets {
		l.sockets[i].close()
	}
}
