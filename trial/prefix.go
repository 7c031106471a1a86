// SPDX-License-Identifier: MIT

package trial

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"oasis6/config"
	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
)

// IAID of the first prefix that a trial asks for; the next ones follow. A box has 1 to 7: hubs of ours, which know a site by
// its key and the IAID, take the trial's bindings for others than the box's.
const IAID dhcpv6.IAID = 0x74727900 // "try"

// DUID is what a trial calls itself: always the same for a key, so that a trial that was killed leaves one lease behind and
// not one each time, and never the box's, so that a server that goes by the DUID keeps the two apart.
func DUID(key wgkey.Public) dhcpv6.DUID {
	return dhcpv6.DUIDFromPublicKey(sha256.Sum256(append([]byte("oasis6 try "), key[:]...)))
}

const (
	dhcpHopLimit = 64 // the hub is one hop away
	// afterRefusal is how long another server may still answer when one has refused.
	afterRefusal = 3 * time.Second
	// returning is how long a Release may take: three transmissions (RFC 9915 section 7.6, REL_TIMEOUT).
	returning = 4 * time.Second
)

// prefix gets the delegation and picks the address for the steps that follow.
func (r *run) prefix(ctx context.Context) outcome {
	if r.Config.Prefix.Source == config.Static {
		p := r.Config.Prefix.Static
		r.report.Prefixes = []string{p.String()}
		r.use(p, netip.Prefix{})
		return passed(p.String() + ", from the file; dns and fetch show whether the hub routes it here")
	}
	if as := r.Config.Interface.Addresses; len(as) > 0 { // the next steps need not do without
		r.setSource(as[0].Addr())
	}
	err := r.solicit(ctx)
	st := r.client.Status()
	if ps := st.Lease.Prefixes(); err == nil && len(ps) > 0 {
		return r.delegated(ps)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return failed("interrupted")
	case st.Received > 0 && st.LastError != "":
		return failed("the hub's DHCPv6 server answers, but gives no prefix: "+st.LastError,
			"have the server's pool enlarged, or a prefix reserved for this site: a box with this key may have the one that there is, and a trial asks for another",
			"take Hint out of [Prefix] if it wishes too much")
	case st.Dropped > 0 && st.Received == 0:
		return failed("answers come, but none that can be used: " + st.LastDrop)
	}
	return r.noDHCPv6(ctx, st.Sent)
}

// solicit runs the client until it has a prefix, or until no server has given one in time.
func (r *run) solicit(ctx context.Context) error {
	r.client = client.New(r.clientConfig(), r.Rand)
	r.stepClient(time.Now(), client.LinkUp{})
	var refused time.Time
	w := r.dhcp(r.Timeout)
	w.done = func() bool {
		s := r.client.Status()
		if refused.IsZero() && s.Received > 0 && s.LastError != "" {
			refused = time.Now()
		}
		return s.State == client.Bound && len(s.Lease.Prefixes()) > 0 || !refused.IsZero() && time.Since(refused) >= afterRefusal
	}
	return r.await(ctx, w)
}

// stepClient sends what a step of the client gives, and keeps how it has left.
func (r *run) stepClient(now time.Time, ev client.Event) {
	a := r.client.Step(now, ev)
	for _, m := range a.Send {
		// A full queue is a lost packet, which the client sends again.
		_ = r.tunnel.Send(ip6pkt.UDP(r.own, client.AllServers, dhcpv6.ClientPort, dhcpv6.ServerPort, dhcpHopLimit, m))
	}
	if a.Left != nil {
		r.left = a.Left
	}
	r.clientWake = a.Wake
}

// dhcp is a wait in which the client runs; done is still to be said.
func (r *run) dhcp(patience time.Duration) wait {
	return wait{
		until: time.Now().Add(patience),
		packet: func(now time.Time, pkt []byte) {
			if u, err := ip6pkt.ParseUDP(pkt); err == nil && u.Dst.Port() == dhcpv6.ClientPort {
				r.stepClient(now, client.Received{From: u.Src.Addr(), To: u.Dst.Addr(), Data: u.Payload})
			}
		},
		tick: func(now time.Time) time.Time {
			if !r.clientWake.IsZero() && !r.clientWake.After(now) {
				r.stepClient(now, client.Tick{})
			}
			return r.clientWake
		},
	}
}

// clientConfig asks for what the box would ask for, by other names.
func (r *run) clientConfig() client.Config {
	c := client.Config{DUID: DUID(r.tun.PrivateKey.Public()), PointToPoint: true, LossyLink: true}
	hints := r.Config.Prefix.Hints
	if len(hints) == 0 {
		hints = []netip.Prefix{{}}
	}
	for i, h := range hints {
		c.IAs = append(c.IAs, client.Wanted{Type: dhcpv6.PD, IAID: IAID + dhcpv6.IAID(i), Hint: h})
	}
	if r.Config.Prefix.RequestAddress == config.AddressYes {
		c.IAs = append(c.IAs, client.Wanted{Type: dhcpv6.NA, IAID: IAID})
	}
	return c
}

// delegated takes the lease over.
func (r *run) delegated(ps []client.Prefix) outcome {
	l := r.client.Lease()
	for _, p := range ps {
		r.report.Prefixes = append(r.report.Prefixes, p.Prefix.String())
	}
	r.use(ps[0].Prefix, ps[0].Exclude)
	for _, a := range l.Addresses() {
		if !r.source.IsValid() {
			r.setSource(a.Prefix.Addr())
		}
	}
	r.servers = l.Info.DNS
	now := time.Now()
	o := passed(fmt.Sprintf("%s by DHCPv6 from %s, valid for %s", strings.Join(r.report.Prefixes, " and "), l.ServerAddr, ps[0].Valid.Left(now).Round(time.Second)))
	if len(l.Info.DNS) > 0 {
		o.notes = append(o.notes, "with it came the DNS servers "+join(l.Info.DNS))
	}
	for _, ia := range r.client.Status().IAs {
		if len(ia.Prefixes) == 0 {
			o.notes = append(o.notes, fmt.Sprintf("for the wish %s the server gives nothing: %s", ia.Hint, ia.LastError))
		}
	}
	if p := ps[0].Prefix; p.Bits() > 64 {
		return failed(o.text+": a LAN needs a /64, this is less", "ask the hub's administrator for a shorter prefix, a /64 or a /56")
	}
	return o
}

// use takes an address out of the prefix that the box would give itself on its first LAN: subnet 0 or what the file says.
func (r *run) use(p, exclude netip.Prefix) {
	a := p.Masked().Addr().As16()
	if lans := r.Config.LANs; len(lans) > 0 && p.Bits() < 64 && lans[0].Subnet < 1<<(64-p.Bits()) {
		binary.BigEndian.PutUint64(a[:8], binary.BigEndian.Uint64(a[:8])|lans[0].Subnet)
	}
	a[15] |= 1
	addr := netip.AddrFrom16(a)
	if exclude.IsValid() && exclude.Contains(addr) {
		for addr = p.Masked().Addr().Next(); exclude.Contains(addr) && p.Contains(addr); addr = behind(exclude) {
		}
	}
	r.setSource(addr)
}

// behind is the first address after a prefix, and one more.
func behind(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As16()
	for i := p.Bits(); i < 128; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom16(a).Next().Next()
}

func (r *run) setSource(a netip.Addr) { r.source, r.report.Source = a, a.String() }

// noDHCPv6 finds out why there is no answer: whether the hub has heard anything at all, and what it says of the port.
func (r *run) noDHCPv6(ctx context.Context, sent uint64) outcome {
	closed := false
	echo := r.ask(r.own, r.hub, echoHeader)
	// To the hub alone, and it changes nothing there: of a multicast no host says that its port is closed.
	question := dhcpv6.Message{Type: dhcpv6.InformationRequest, XID: 1}.Append(nil)
	_ = r.tunnel.Send(ip6pkt.UDP(r.own, r.hub, dhcpv6.ClientPort, dhcpv6.ServerPort, dhcpHopLimit, question)) // lost is as good as unanswered
	err := r.await(ctx, wait{
		until:  time.Now().Add(2 * time.Second),
		done:   func() bool { return closed },
		packet: func(_ time.Time, pkt []byte) { closed = closed || portClosed(pkt, r.own, r.hub, dhcpv6.ServerPort) },
	})
	if errors.Is(err, context.Canceled) {
		return failed("interrupted")
	}
	static := "if the provider routes a fixed prefix to this site and runs no DHCPv6: write [Prefix] with Prefix = THAT/LENGTH"
	head := fmt.Sprintf("no answer to DHCPv6 (%d messages sent)", sent)
	switch {
	case closed:
		return failed(fmt.Sprintf("%s: no DHCPv6 server runs at the hub: %s says that its UDP port 547 is closed", head, r.hub),
			"start the DHCPv6 server at the hub, on the tunnel's interface", static)
	case r.echoes.reply(echo) != nil:
		return failed(fmt.Sprintf("%s, but the hub answers echo requests at %s: the server does not listen on the tunnel, or a firewall there keeps UDP port 547 shut", head, r.hub),
			"let the hub's DHCPv6 server listen on the tunnel's interface, and its firewall accept UDP port 547 there", static)
	}
	return failed(fmt.Sprintf("%s, and no echo reply from %s: the hub drops what comes from this end's link-local address, or has another one itself", head, r.hub),
		fmt.Sprintf("have %s/128 added to this site's allowed-ips at the hub", r.own),
		fmt.Sprintf("give the hub's tunnel interface the address %s/64, or write its own as LinkLocal into [Peer]", r.hub), static)
}

// portClosed says whether pkt is the word of a host that nobody listens at a port of it to which we sent.
func portClosed(pkt []byte, own, host netip.Addr, port uint16) bool {
	f, ok := unreachable(pkt, own, host)
	if !ok || f.from != host || f.code != codePort {
		return false
	}
	m, _ := ip6pkt.ParseICMPv6(pkt) // unreachable has parsed it
	quoted := m.Body[icmpErrorHeader:]
	return len(quoted) >= ip6pkt.HeaderLen+4 && quoted[6] == ip6pkt.ProtoUDP && binary.BigEndian.Uint16(quoted[ip6pkt.HeaderLen+2:]) == port
}

// giveBack releases the lease, also when the trial was interrupted. What a box of this machine has is left alone.
func (r *run) giveBack(ctx context.Context) {
	if r.client == nil || r.tunnel == nil || len(r.client.Lease().IAs) == 0 {
		return
	}
	released := false
	r.report.Released = &released
	for _, p := range r.client.Lease().Prefixes() {
		if slices.ContainsFunc(r.Held, p.Prefix.Overlaps) {
			r.report.Release = fmt.Sprintf("%s is not given back: a box of this machine has it", p.Prefix)
			return
		}
	}
	r.stepClient(time.Now(), client.Leave{})
	w := r.dhcp(returning)
	w.done = func() bool { return r.left != nil }
	_ = r.await(context.WithoutCancel(ctx), w) // what became of it is in left
	if r.left != nil {
		released, r.report.Release = r.left.Released, r.left.How
		return
	}
	r.report.Release = "the server does not confirm that it has the prefix back: it keeps it until the valid lifetime is over"
}

func join(addrs []netip.Addr) string {
	var words []string
	for _, a := range addrs {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}
