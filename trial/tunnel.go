// SPDX-License-Identifier: MIT

package trial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"oasis6/tun/gauge"
)

// resolve finds where the hub is.
func (r *run) resolve(ctx context.Context) outcome {
	ep := r.tun.Peer.Endpoint
	if ep == "" {
		return failed("the file has no Endpoint: this end waits for the hub to come, and nothing can be tried from here",
			"write Endpoint = HOST:PORT into [Peer]")
	}
	host, port, err := net.SplitHostPort(ep)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil {
		return failed(fmt.Sprintf("endpoint %q: want host:port", ep)) // config has checked it
	}
	var addrs []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{a}
	} else {
		ctx, cancel := context.WithTimeout(ctx, r.Timeout)
		defer cancel()
		if addrs, err = r.Outside.Lookup(ctx, host); err != nil || len(addrs) == 0 {
			return failed(fmt.Sprintf("%s cannot be resolved: %v", host, lookupError(err)),
				"check the spelling of Endpoint, and the DNS of this machine: getent hosts "+host)
		}
	}
	return r.choose(host, uint16(n), addrs)
}

func lookupError(err error) string {
	var dns *net.DNSError
	switch {
	case err == nil:
		return "no address"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no such name"
	case errors.As(err, &dns) && dns.IsTimeout:
		return "the DNS server does not answer"
	}
	return err.Error()
}

// choose puts IPv4 first, as the box does, and leaves out what has no route.
func (r *run) choose(host string, port uint16, addrs []netip.Addr) outcome {
	var names []string
	var why error
	for _, v4 := range []bool{true, false} {
		for _, a := range addrs {
			a = a.Unmap()
			ep := netip.AddrPortFrom(a, port)
			if a.Is4() != v4 || slices.Contains(r.endpoints, ep) {
				continue
			}
			if _, err := r.Outside.MTU(ep); err != nil {
				if errors.Is(err, syscall.EPERM) {
					return r.cannotOpen(err)
				}
				why = err
				continue
			}
			r.endpoints = append(r.endpoints, ep)
			names = append(names, ep.String())
		}
	}
	if len(names) == 0 {
		return failed(fmt.Sprintf("no way to %s: %v", host, why), "bring the Internet access of this machine up: ip route get "+addrs[0].String())
	}
	text := strings.Join(names, ", ")
	if _, err := netip.ParseAddr(host); err != nil {
		text = host + " is " + text
	}
	if !r.endpoints[0].Addr().Is4() {
		text += ", by IPv6"
	}
	return passed(text)
}

// shake brings the tunnel up with the first endpoint that answers. Several share the patience.
func (r *run) shake(ctx context.Context) outcome {
	var tried []string // what became of the other addresses
	var last outcome
	each := max(r.Timeout/time.Duration(len(r.endpoints)), min(r.Timeout, gauge.Between))
	for _, ep := range r.endpoints {
		if r.tunnel != nil {
			r.close()
			r.tunnel = nil
		}
		if err := r.open(ep); err != nil {
			return r.cannotOpen(err)
		}
		if r.firstHandshake(ctx, each) {
			r.endpoint, r.report.Endpoint = ep, ep.String()
			o := passed(fmt.Sprintf("%s answers as %s, %s after the initiation", ep, r.report.Hub, short(r.shook[0])))
			o.notes = tried
			return o
		}
		if ctx.Err() != nil {
			last = failed("interrupted")
			break
		}
		last = r.silent(ctx, ep)
		last.notes = slices.Clone(tried)
		tried = append(tried, last.text)
	}
	r.close()
	r.tunnel = nil
	return last
}

const (
	signsEvery = 100 * time.Millisecond // the signs are looked at
	// lastWord is how long after a sign that all is lost a handshake is still waited for: anybody can forge one.
	lastWord = time.Second
)

// firstHandshake waits for it, but not much longer than it takes to see why none will come.
func (r *run) firstHandshake(ctx context.Context, patience time.Duration) bool {
	r.tunnel.Initiate()
	r.knockAt = time.Now().Add(gauge.Between)
	var lost time.Time
	_ = r.await(ctx, wait{ // what came of it is in shook
		until: time.Now().Add(patience),
		done: func() bool {
			return len(r.shook) > 0 || !lost.IsZero() && time.Since(lost) >= lastWord
		},
		tick: func(now time.Time) time.Time {
			if lost.IsZero() && decided(r.tunnel.Signs()) {
				lost = now
			}
			return now.Add(signsEvery)
		},
	})
	return len(r.shook) > 0
}

// decided says whether the wire has shown why there is no handshake.
func decided(s gauge.Signs) bool {
	return s.Responses > 0 || s.SendError != nil && s.Initiations == 0 ||
		slices.ContainsFunc(s.Faults, func(f gauge.Fault) bool { return f.From.IsValid() && f.MTU == 0 })
}

func (r *run) open(ep netip.AddrPort) error {
	cfg := gauge.Config{
		Private: r.tun.PrivateKey, Peer: r.tun.Peer.Public, Preshared: r.tun.Peer.Preshared, Endpoint: ep,
		AllowedIPs: r.allowed(), ListenPort: r.tun.ListenPort, Mark: r.tun.FwMark,
	}
	outer, err := r.Outside.MTU(ep)
	if err != nil {
		return err
	}
	r.outerMTU, r.report.PathMTU = outer, outer
	r.report.BoxMTU = r.boxMTU(outer)
	cfg.MTU = r.report.BoxMTU
	r.tunnel, err = r.Open(cfg)
	if err != nil {
		r.tunnel = nil
	}
	return err
}

// allowed are the file's allowed-ips with what the box adds: the hub's link-local address and multicast, where DHCPv6 goes.
func (r *run) allowed() []netip.Prefix {
	need := []netip.Prefix{netip.PrefixFrom(r.hub, r.hub.BitLen()), netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff, 0x02}), 16)}
	list := slices.Clone(r.tun.Peer.AllowedIPs)
	for _, p := range need {
		if !slices.ContainsFunc(list, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) }) {
			list = append(list, p)
		}
	}
	return list
}

func (r *run) cannotOpen(err error) outcome {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return failed(fmt.Sprintf("UDP port %d of this machine is in use: %v", r.tun.ListenPort, err),
			"the tunnel runs here already, by wg-quick or another program: stop that first", "or take ListenPort out of a copy of the file")
	case errors.Is(err, syscall.EPERM) && r.tun.FwMark != 0:
		return failed(fmt.Sprintf("FwMark needs root: %v", err), "try as root, or take FwMark out of a copy of the file")
	}
	return failed(err.Error())
}

// silent says what the wire shows where no handshake was completed, and asks the host what else it answers.
func (r *run) silent(ctx context.Context, ep netip.AddrPort) outcome {
	s := r.tunnel.Signs()
	keys := []string{
		"compare the keys: the hub must have this end's public key " + r.report.PublicKey + ", and this file the hub's, now " + r.report.Hub,
	}
	switch {
	case s.Responses > 0:
		return failed(ep.String()+" answers, but its response does not fit: the preshared keys differ",
			"compare PresharedKey at both ends; if only one end has one, the other needs the same")
	case s.Cookies > 0:
		return failed(ep.String()+" is under load: it knows the key that this file names, but asks for patience (a cookie reply)", "try again later")
	case s.SendError != nil && s.Initiations == 0:
		return failed(fmt.Sprintf("datagrams to %s do not leave: %v", ep, cause(s.SendError)),
			"look for a firewall on this machine, and at its route: ip route get "+ep.Addr().String())
	}
	if o, ok := r.rejected(ep, s.Faults); ok {
		return o
	}
	reach := r.Outside.Reach(ctx, ep)
	clock := "check the clock of this machine: a hub that has heard this key before refuses an initiation with an earlier time"
	other := "ask whether the hub runs, and whether its firewall lets UDP port " + strconv.Itoa(int(ep.Port())) + " in"
	echo := ""
	if reach.Echo > 0 {
		echo = " and ICMP echo in " + short(reach.Echo)
	}
	switch blocked := "try another network: this one may block UDP"; {
	case reach.ClosedPort != nil && reach.ClosedPort.From == ep.Addr():
		return failed(fmt.Sprintf("%s does not answer this key: UDP reaches the host (a closed port says so), so that WireGuard there does not know this end, or this file has the wrong key of the hub", ep),
			append(keys, clock, other)...)
	case reach.ClosedPort != nil:
		return failed(fmt.Sprintf("no answer from %s, and for another port %s: UDP is blocked on the way", ep, reach.ClosedPort), blocked)
	case reach.TCP:
		return failed(fmt.Sprintf("no answer from %s to any UDP, but the host answers TCP%s: most likely UDP is blocked on the way, or at the host; else the keys do not fit", ep, echo),
			append([]string{blocked, other}, keys...)...)
	case reach.Echo > 0:
		return failed(fmt.Sprintf("no answer from %s to any UDP, but the host answers ICMP echo in %s: UDP is blocked, or the keys do not fit", ep, short(reach.Echo)),
			append(append([]string{blocked}, keys...), other, clock)...)
	}
	return failed(fmt.Sprintf("no answer from %s: nothing comes back from that host, neither to WireGuard nor to other UDP, TCP or echo: UDP is blocked, the host is down, or the keys do not fit and a firewall hides the rest", ep),
		append([]string{"check Endpoint", other, "try another network: this one may block UDP"}, append(keys, clock)...)...)
}

// cause is the kernel's word without the names of calls and sockets around it.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// rejected tells the hub's own word from one of somebody on the way.
func (r *run) rejected(ep netip.AddrPort, faults []gauge.Fault) (outcome, bool) {
	for _, f := range faults {
		switch {
		case f.Refused && f.From == ep.Addr():
			return failed(fmt.Sprintf("%s: nobody listens on UDP port %d", f, ep.Port()),
				"start WireGuard at the hub, or correct the port in Endpoint",
				"if it runs there: its firewall rejects UDP port "+strconv.Itoa(int(ep.Port()))), true
		case f.From.IsValid() && f.From != ep.Addr() && (f.Refused || f.Forbidden):
			return failed(fmt.Sprintf("%s, and that is not the hub: UDP is blocked on the way, by a firewall that rejects it", f),
				"try another network, or have UDP to "+ep.String()+" allowed there"), true
		case f.Forbidden:
			return failed(fmt.Sprintf("%s: its firewall rejects UDP port %d", f, ep.Port()), "have UDP port "+strconv.Itoa(int(ep.Port()))+" opened there"), true
		case f.From.IsValid() && f.MTU == 0:
			return failed(fmt.Sprintf("%s: there is no way to the hub", f), "check Endpoint: is this the hub's present address?"), true
		}
	}
	return outcome{}, false
}

// short is a time with as many places as can mean something.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
