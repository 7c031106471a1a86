// SPDX-License-Identifier: MIT

package lab

import (
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
	"oasis6/internal/ip6pkt"
	"oasis6/lab/engine"
	"oasis6/lab/host/inet6"
	"oasis6/lab/nat"
	"oasis6/lab/wire"
	"oasis6/ra"
)

// The ports of a downstream router.
const (
	upPort = iota
	downPort
)

// wantedLength is what a router behind the LAN wishes. The box gives it what is left.
const wantedLength = "::/62"

// downstream is a router behind the LAN, as RFC 7084 has it: it takes its default route from the box's advertisements, asks
// the box for a prefix by DHCPv6, and serves a LAN of its own. Client, advertisements and codec are the product's; the
// forwarding is the lab's. Only the engine's goroutine may call it.
type downstream struct {
	w      *World
	router *inet6.Router
	client *client.Client
	timer  *engine.Timer
	up     *uplinkEnd
	self   netip.Addr // link-local, upstream
	told   bool       // its LAN has been told of a prefix

	leading bool          // it has a default route
	via     netip.Addr    // of that
	until   time.Time     // of that
	expiry  *engine.Timer // of that
}

// uplinkEnd is the upstream port. It shows the router's own programs what is for them, before the router forwards the rest.
type uplinkEnd struct {
	wire.End
	look func(pkt []byte)
}

// Attach is wire.End's.
func (u *uplinkEnd) Attach(deliver func([]byte), state func(bool)) {
	if deliver == nil {
		u.End.Attach(nil, nil)
		return
	}
	u.End.Attach(func(f []byte) {
		if len(f) > wire.Header && !isIPv4(f) {
			u.look(f[wire.Header:])
		}
		deliver(f)
	}, state)
}

func (w *World) buildDownstream() error {
	d := &downstream{w: w, up: &uplinkEnd{End: w.port("lan-r3", nodeR3)}}
	d.up.look, d.self = d.look, inet6.LinkLocal(d.up.MAC())
	var err error
	d.router, err = inet6.New(w.Engine, inet6.Config{
		Name: nodeR3, Explain: func(x inet6.Decision) { w.rec.explain(nat.Decision(x)) },
		Ports: []inet6.PortConfig{{Wire: d.up}, {Wire: w.port("r3-h3", nodeR3)}},
	})
	if err != nil {
		return err
	}
	var id [16]byte
	_, _ = w.Engine.Source(nodeR3 + " identity").Read(id[:]) // never fails
	d.client = client.New(client.Config{
		DUID: dhcpv6.NewDUIDUUID(id),
		IAs:  []client.Wanted{{Type: dhcpv6.PD, IAID: dhcpv6.DefaultIAID, Hint: netip.MustParsePrefix(wantedLength)}},
	}, w.Engine.Rand(nodeR3+" client").Float64)
	w.r3 = d
	w.Engine.Post(d.solicit)
	return nil
}

// solicitEvery and dhcpHops are RFC 4861's and RFC 9915's.
const (
	solicitEvery = 4 * time.Second
	ndHops       = 255
	dhcpHops     = 1
)

// solicit asks for routers until one has answered.
func (d *downstream) solicit() {
	if d.told || d.client.Status().State != client.Stopped {
		return
	}
	b, err := ra.RouterSolicitation{}.Append(nil)
	d.w.check(err)
	to := netip.MustParseAddr("ff02::2")
	d.send([6]byte{0x33, 0x33, 0, 0, 0, 2}, ip6pkt.ICMPv6(d.self, to, ndHops, b))
	d.w.Engine.AfterFunc(solicitEvery, d.solicit)
}

func (d *downstream) send(to [6]byte, pkt []byte) {
	mac := d.up.MAC()
	f := append(append(append([]byte(nil), to[:]...), mac[:]...), typeIPv6>>8, typeIPv6&0xff)
	_ = d.up.Send(append(f, pkt...)) // as lost as on any wire
}

// look takes advertisements of the box, and answers of its DHCPv6 server.
func (d *downstream) look(pkt []byte) {
	if m, err := ip6pkt.ParseICMPv6(pkt); err == nil && m.Body[0] == ra.TypeRouterAdvertisement {
		adv, _, drop := ra.ParseRA(m.Src, int(m.HopLimit), m.Body)
		if drop != 0 {
			return
		}
		d.leads(m.Src, time.Duration(adv.RouterLifetime)*time.Second)
		if adv.RouterLifetime == 0 {
			return
		}
		if d.client.Status().State == client.Stopped {
			d.step(client.LinkUp{})
		}
		return
	}
	if u, err := ip6pkt.ParseUDP(pkt); err == nil && u.Dst.Port() == dhcpv6.ClientPort && u.Dst.Addr() == d.self {
		d.step(client.Received{From: u.Src.Addr(), To: u.Dst.Addr(), Data: u.Payload})
	}
}

// leads takes the default route over, for as long as its router says; then hosts are told that there is none (RFC 7084
// section 4.1 G-4, G-5).
func (d *downstream) leads(via netip.Addr, lifetime time.Duration) {
	had := d.leading
	if d.expiry != nil {
		d.expiry.Stop()
	}
	if d.leading = lifetime > 0; d.leading {
		d.via, d.until = via, d.w.Engine.Now().Add(lifetime)
		d.router.SetRoutes([]inet6.Route{{Dst: netip.MustParsePrefix("::/0"), Via: via, Port: upPort}})
		d.expiry = d.w.Engine.AfterFunc(lifetime, func() { d.leads(via, 0) })
	} else {
		d.router.SetRoutes(nil)
	}
	if had != d.leading && d.told {
		d.serve()
	}
}

func (d *downstream) step(ev client.Event) {
	e := d.w.Engine
	a := d.client.Step(e.Now(), ev)
	for _, m := range a.Send {
		d.send([6]byte{0x33, 0x33, 0, 1, 0, 2}, ip6pkt.UDP(d.self, client.AllServers, dhcpv6.ClientPort, dhcpv6.ServerPort, dhcpHops, m))
	}
	if a.Changed {
		d.serve()
	}
	if d.timer != nil {
		d.timer.Stop()
	}
	if !a.Wake.IsZero() {
		d.timer = e.AfterFunc(a.Wake.Sub(e.Now()), func() { d.step(client.Tick{}) })
	}
}

// serve puts the first /64 of each delegation on the LAN.
func (d *downstream) serve() {
	content := ra.Content{DefaultRouter: d.leading, RDNSS: []netip.Addr{netip.MustParsePrefix(dnsAddr6).Addr()}}
	var own []netip.Prefix
	for _, p := range d.client.Lease().Prefixes() {
		lan := netip.PrefixFrom(p.Prefix.Addr(), 64)
		own = append(own, netip.PrefixFrom(lan.Addr().Next(), 64))
		content.Prefixes = append(content.Prefixes, ra.Prefix{Prefix: lan, OnLink: true, Autonomous: true, Preferred: p.Preferred, Valid: p.Valid})
	}
	d.router.SetAddresses(downPort, own)
	if len(own) > 0 || d.told {
		d.told = true
		d.router.Advertise(downPort, ra.Config{}, content)
	}
}

// delegated is what the box has given; not valid while it has given nothing.
func (d *downstream) delegated() netip.Prefix {
	for _, p := range d.client.Lease().Prefixes() {
		return p.Prefix
	}
	return netip.Prefix{}
}
