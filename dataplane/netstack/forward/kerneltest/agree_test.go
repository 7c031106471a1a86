// SPDX-License-Identifier: MIT

//go:build !386

package kerneltest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
	"oasis6/dataplane/kernel"
	"oasis6/dataplane/netstack/forward"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

const (
	site       = "2001:db8:ebbd:9900::/56"
	lanBox     = "2001:db8:ebbd:990a::1"
	lanHost    = "2001:db8:ebbd:990a::10"
	lanOther   = "2001:db8:ebbd:990a::77"
	guestHost  = "2001:db8:ebbd:990b::20"
	routed     = "2001:db8:ebbd:9910::/60"
	routedHost = "2001:db8:ebbd:9910::1"
	routerAddr = "fe80::10"
	linkLocal  = "fe80::77"
	localHost  = "fd00:db8:1:a::10"
	staleNet   = "2001:db8:ebbd:8809::/64"
	staleHost  = "2001:db8:ebbd:8809::10"
	farHost    = "2001:db8:ffff::1"
	foreign    = "2001:db8:7777::10"
	nowhere    = "2001:db8:ebbd:99aa::1"
	otherLocal = "fd00:db8:1:ff::1"
	otherULA   = "fd00:db8:2::1"
	wanBox     = "2001:db8:1::2"
	wanHost    = "2001:db8:1::9"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func pfx(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// aSite is a box with all that a firewall can be asked for.
func aSite() dataplane.Desired {
	address := func(iface, p string) dataplane.Address {
		return dataplane.Address{Iface: iface, Prefix: netip.MustParsePrefix(p), NoDAD: true}
	}
	lans := []string{"br-lan", "br-guest"}
	return dataplane.Desired{
		Tunnel: dataplane.Tunnel{Name: "oasis0", MTU: 1420},
		LANs:   lans,
		Addresses: []dataplane.Address{
			address("oasis0", "fe80::1/64"), address("br-lan", lanBox+"/64"), address("br-lan", "fd00:db8:1:a::1/64"),
			address("br-guest", "2001:db8:ebbd:990b::1/64"), address("eth0", wanBox+"/64"),
		},
		Routes: []dataplane.Route{
			{Kind: dataplane.Unreachable, Dst: pfx(site)[0]},
			{Dst: pfx("::/0")[0], From: pfx(site)[0], Iface: "oasis0"},
			{Dst: pfx(routed)[0], Via: ip(routerAddr), Iface: "br-lan"},
			{Dst: pfx(staleNet)[0], Iface: "br-lan", Metric: 1024},
			{Dst: pfx("::/0")[0], Iface: "oasis0", Metric: 4096},
		},
		Forward: true,
		Firewall: dataplane.Firewall{
			Tunnel: "oasis0", LANs: lans, Delegations: pfx(site), Local: pfx("fd00:db8:1::/48"), Stale: pfx(staleNet),
			Sources: []dataplane.LANSources{
				{Iface: "br-lan", OnLink: pfx("2001:db8:ebbd:990a::/64", "fd00:db8:1:a::/64"), Routed: pfx(routed)},
				{Iface: "br-guest", OnLink: pfx("2001:db8:ebbd:990b::/64")},
			},
		},
	}
}

func aHub() dataplane.Desired {
	d := aSite()
	d.LANs = nil
	d.Firewall = dataplane.Firewall{}
	d.Addresses = []dataplane.Address{d.Addresses[0], d.Addresses[4]}
	d.Routes = []dataplane.Route{
		{Dst: pfx("2001:db8:ebbd:990a::/64")[0], Iface: "oasis0"},
		{Dst: pfx("2001:db8:ebbd:990b::/64")[0], Iface: "oasis0"},
		{Kind: dataplane.Unreachable, Dst: pfx(site)[0]},
		{Dst: pfx("::/0")[0], Iface: "eth0", Metric: 4096},
	}
	d.Hub = dataplane.HubFirewall{Tunnel: "oasis0", Pools: pfx(site), Taken: pfx(staleHost+"/128", lanOther+"/128")}
	return d
}

// variants are what is wanted of the kernel and of the Forwarder. An open firewall goes last: Linux notes flows there too.
func variants() (names []string, out []dataplane.Desired) {
	add := func(name string, d dataplane.Desired, change func(*dataplane.Desired)) {
		change(&d)
		names, out = append(names, name), append(out, d)
	}
	around := func(d *dataplane.Desired) {
		d.Routes = append(d.Routes[:4:4], dataplane.Route{Dst: pfx("::/0")[0], Iface: "eth0", Metric: 4096})
	}
	add("closed", aSite(), func(*dataplane.Desired) {})
	add("no ULA, dead", aSite(), func(d *dataplane.Desired) { d.Firewall.NoULA, d.Firewall.Dead = true, true })
	add("another's default", aSite(), around)
	add("around the tunnel", aSite(), func(d *dataplane.Desired) { around(d); d.Routes = slices.Delete(d.Routes, 1, 2) })
	add("nothing local", aSite(), func(d *dataplane.Desired) { d.Firewall.Local, d.Firewall.Sources = nil, nil })
	add("open", aSite(), func(d *dataplane.Desired) { d.Firewall.Open, d.Firewall.NoULA = true, true })
	add("no table", aSite(), func(d *dataplane.Desired) { d.Firewall = dataplane.Firewall{} })
	add("hub", aHub(), func(*dataplane.Desired) {})
	add("hub, open, site to site", aHub(), func(d *dataplane.Desired) { d.Hub.Open, d.Hub.SiteToSite = true, true })
	return names, out
}

var (
	ifaces    = []string{"br-lan", "br-guest", "oasis0", "eth0"} // forward.Index is the place
	hostMAC   = [6]byte{0, 0, 0x5e, 0, 0x53, 0x10}
	routerMAC = [6]byte{0, 0, 0x5e, 0, 0x53, 0x11}
)

// world is a box whose wires all end in nodes of their own, which only send and look.
type world struct {
	*netlab.Lab
	t     *testing.T
	box   *netlab.Node
	sends [4]*os.File
	macs  [4][]byte

	mu    sync.Mutex
	fates map[uint32][]string // by marker
}

func newWorld(t *testing.T) *world {
	netlab.Need(t, "ip", "nft")
	l := netlab.New(t)
	w := &world{Lab: l, t: t, fates: map[uint32][]string{}}
	w.box = l.Node("box")
	w.box.Sysctl("net.ipv6.conf.default.accept_dad", "0") // link-local addresses are there at once
	for i, name := range ifaces {
		n := l.Node("n" + fmt.Sprint(i))
		n.Sysctl("net.ipv6.conf.all.disable_ipv6", "1")
		l.Wire(w.box, name, n, "eth0")
		w.macs[i] = w.box.MAC(name)
		w.listen(i, n)
	}
	w.box.Sysctl("net.ipv6.icmp.ratelimit", "0")
	return w
}

// listen opens a socket on the far end of a wire, to send by and to see what comes.
func (w *world) listen(i int, n *netlab.Node) {
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(unix.ETH_P_IPV6<<8&0xff00|unix.ETH_P_IPV6>>8))
		if err != nil {
			return err
		}
		w.sends[i] = os.NewFile(uintptr(fd), "packets")
		_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var link *net.Interface
	if err := n.Do(func() (err error) { link, err = net.InterfaceByName("eth0"); return err }); err != nil {
		w.t.Fatal(err)
	}
	raw, err := w.sends[i].SyscallConn()
	if err != nil {
		w.t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		err = unix.Bind(int(fd), &unix.SockaddrLinklayer{Protocol: unix.ETH_P_IPV6<<8&0xff00 | unix.ETH_P_IPV6>>8, Ifindex: link.Index})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			k, err := w.sends[i].Read(buf)
			if err != nil {
				return
			}
			w.saw(ifaces[i], buf[:k])
		}
	}()
	w.t.Cleanup(func() { _ = w.sends[i].Close(); <-done })
}

// marker is in the flow label of what we send, and in the acknowledgment of what TCP is reset with.
func marker(pkt []byte) uint32 { return binary.BigEndian.Uint32(pkt) & 0xfffff }

// saw notes what came out of the box.
func (w *world) saw(iface string, frame []byte) {
	if len(frame) < 14+40+4 {
		return
	}
	pkt := frame[14:]
	n, fate := marker(pkt), "forward "+iface
	switch {
	case pkt[6] == 58 && pkt[40] < 128 && len(pkt) > 88:
		if inner := marker(pkt[48:]); inner > 0 {
			n, fate = inner, fmt.Sprintf("answer %d/%d", pkt[40], pkt[41])
		}
	case pkt[6] == 6 && pkt[53]&4 != 0 && len(pkt) >= 60 && n == 0:
		n, fate = binary.BigEndian.Uint32(pkt[48:])-1, "reset"
	}
	if n == 0 { // the box's own: Redirects, and what it does by itself
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fates[n] = append(w.fates[n], fate)
}

// apply makes the kernel do what is wanted, with neighbors that need no solicitation, and all of them seen.
func (w *world) apply(d dataplane.Desired) {
	w.t.Helper()
	p, err := kernel.Open(kernel.Options{RunDir: w.t.TempDir(), BootID: "boot-1"})
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range p.Events() {
		}
	}()
	w.t.Cleanup(func() { _ = p.Close(); <-done })
	for _, dev := range ifaces {
		for _, a := range append(addresses(), routerAddr, linkLocal) {
			mac := hostMAC
			if a == routerAddr {
				mac = routerMAC
			}
			w.box.Run("ip", "-6", "neigh", "replace", a, "lladdr", fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]), "dev", dev)
		}
	}
	if err := p.Apply(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
	if d.Firewall.Tunnel != "" {
		w.box.Run("nft", "add element ip6 oasis6 seen { "+strings.Join([]string{lanHost, lanOther, guestHost, localHost}, ", ")+" }")
	}
}

// addresses are those that packets come from and go to; none is the box's.
func addresses() []string {
	return []string{lanHost, lanOther, guestHost, routedHost, localHost, staleHost, farHost, foreign, nowhere, otherLocal, otherULA, wanHost}
}

func ourWorld(d dataplane.Desired, now time.Time) *forward.Forwarder {
	f := forward.New(forward.Options{})
	links := map[string]forward.Iface{}
	for i, name := range ifaces {
		l := forward.Iface{Index: forward.Index(i), MTU: 1500, Ether: true, Up: true, Addrs: []netip.Addr{ip(fmt.Sprintf("fe80::5e:%x", i))}}
		for _, a := range d.Addresses {
			if a.Iface == name {
				l.Addrs = append(l.Addrs, a.Prefix.Addr())
			}
		}
		links[name] = l
	}
	f.Set(forward.Compile(d, links))
	f.Neighbor(now, 0, ip(routerAddr), routerMAC)
	for i, list := range [][]string{{lanHost, lanOther, localHost}, {guestHost}} {
		for _, a := range list {
			f.Neighbor(now, forward.Index(i), ip(a), hostMAC)
		}
	}
	return f
}

// packet is a random one, with its marker.
func packet(r *rand.Rand, n uint32) (in int, mac [6]byte, pkt []byte) {
	all := append(addresses(), linkLocal)
	src, dst := all[r.IntN(len(all))], all[r.IntN(len(all)-1)]
	in = r.IntN(4)
	switch r.IntN(4) { // half of them make sense
	case 0:
		src, dst, in = lanHost, farHost, 0
	case 1:
		src, dst, in = farHost, lanHost, 2
	}
	mac = [][6]byte{hostMAC, routerMAC}[r.IntN(2)]
	size, port := 0, uint16(1000+r.IntN(3))
	if r.IntN(6) == 0 {
		if size = []int{1372, 1373, 1400, 1452}[r.IntN(4)]; in == 2 {
			size = 1372 // its wire takes no more
		}
	}
	s, d := ip(src), ip(dst)
	switch r.IntN(6) {
	case 0, 1:
		sport, dport := port, uint16(53)
		if in == 2 {
			sport, dport = dport, sport
		}
		pkt = ip6pkt.UDP(s, d, sport, dport, 64, make([]byte, size))
	case 2:
		seg := make([]byte, 20)
		binary.BigEndian.PutUint16(seg, uint16(n)) // no second packet of a flow: Linux knows its window
		binary.BigEndian.PutUint16(seg[2:], 443)
		binary.BigEndian.PutUint32(seg[4:], n)
		seg[12], seg[13], seg[14] = 5<<4, 2, 16
		binary.BigEndian.PutUint16(seg[16:], ip6pkt.Checksum(s, d, 6, seg))
		pkt = ip6pkt.Packet(s, d, 6, 64, seg)
	case 3:
		kind := []byte{1, 2, 3, 4, 133, 135, 137, 139, 140, 200}[r.IntN(10)]
		pkt = ip6pkt.ICMPv6(s, d, 64, append([]byte{kind, 0, 0, 0, 0, 1, 0, 1}, make([]byte, 16)...))
	case 4:
		pkt = ip6pkt.ICMPv6(s, d, 64, append([]byte{128 + byte(r.IntN(2)), 0, 0, 0, 0, 1, 0, 1}, make([]byte, size)...))
	default:
		pkt = ip6pkt.Packet(s, d, 50, 64, []byte("12345678"))
	}
	if r.IntN(20) == 0 {
		pkt[7] = byte(r.IntN(3))
	}
	binary.BigEndian.PutUint32(pkt, 6<<28|n)
	return in, mac, pkt
}

// text is a verdict in the words of saw, empty for a drop.
func text(v forward.Verdict) string {
	switch v.Action {
	case forward.Forward:
		return "forward " + ifaces[v.Out]
	case forward.Answer:
		if v.Packet[6] == 6 {
			return "reset"
		}
		return fmt.Sprintf("answer %d/%d", v.Packet[40], v.Packet[41])
	}
	return ""
}

func isError(fate string) bool { return fate == "reset" || strings.HasPrefix(fate, "answer") }

// The userspace data plane does what the kernel's does: here both get the same packets.
func TestForwarderAgreesWithLinux(t *testing.T) {
	names, wants := variants()
	for i, d := range wants {
		t.Run(names[i], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if err := w.box.Do(func() error { w.apply(d); return nil }); err != nil {
				t.Fatal(err)
			}
			w.compare(d, rand.New(rand.NewPCG(6, uint64(i))))
		})
	}
}

func (w *world) compare(d dataplane.Desired, r *rand.Rand) {
	const count = 800
	now := time.Unix(1000, 0)
	f := ourWorld(d, now)
	type sent struct {
		in   int
		mac  [6]byte
		pkt  []byte
		ours forward.Verdict
	}
	var all []sent
	for n := range uint32(count) {
		in, mac, pkt := packet(r, n+1)
		if _, err := w.sends[in].Write(slices.Concat(w.macs[in], mac[:], []byte{0x86, 0xdd}, pkt)); err != nil {
			w.t.Fatal(err)
		}
		now = now.Add(20 * time.Millisecond) // flows live, and errors are not many
		s := sent{in: in, mac: mac, pkt: slices.Clone(pkt)}
		s.ours = f.Packet(now, forward.Index(in), mac, pkt, 0)
		all = append(all, s)
		time.Sleep(200 * time.Microsecond)
	}
	time.Sleep(300 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	tally := map[string]int{}
	elsewhere := map[string]bool{} // what has come in by another interface than the tunnel
	for n, s := range all {
		flow := string(s.pkt[6]) + string(s.pkt[8:40])
		elsewhere[flow] = elsewhere[flow] || ifaces[s.in] != "oasis0"
		linux, src := strings.Join(w.fates[uint32(n+1)], " and "), netip.AddrFrom16([16]byte(s.pkt[8:24]))
		fate := text(s.ours)
		tally[fmt.Sprintf("%s: %s", linux, s.ours.Reason)]++
		switch {
		case fate == linux:
			continue
		case s.pkt[6] == 6 && isError(fate) && isError(linux): // which of both depends on how many there were
			continue
		case f.Stats().Silent > 0 && fate == "" && strings.HasPrefix(linux, "answer") && due(s.ours.Reason):
			continue
		case s.pkt[6] == 58 && s.pkt[40] == 137 && fate == "" && isError(linux): // RFC 4443 section 2.4 e.2, which Linux forgets
			continue
		case src == ip(otherULA) && linux == "" && isError(fate): // Linux takes a local address to answer a local one, and then drops it
			continue
		case elsewhere[flow] && s.ours.Reason == forward.Unsolicited && strings.HasPrefix(linux, "forward"):
			continue // Linux notes flows between LANs too, and forgets where they came in
		}
		// Linux routes errors: a forged source brings them to somebody else, or nowhere. Ours go where the packet came from.
		way, _, ok := f.Route(netip.IPv6Unspecified(), src)
		if forged := !src.IsLinkLocalUnicast() && (!ok || int(way) != s.in); forged && (fate == "" || isError(fate)) && (linux == "" || isError(linux)) {
			continue
		}
		w.t.Errorf("packet %d, %s -> %s, protocol %d, type %d, hop limit %d, %d octets, from %s by %x: Linux: %q, we: %q (%s)", n+1,
			src, netip.AddrFrom16([16]byte(s.pkt[24:40])), s.pkt[6], s.pkt[40], s.pkt[7], len(s.pkt), ifaces[s.in], s.mac,
			linux, fate, s.ours.Reason)
	}
	for what, n := range tally {
		w.t.Logf("%5d %s", n, what)
	}
}

// due says whether a packet refused for a reason gets an error, unless there were too many.
func due(r forward.Reason) bool {
	return !slices.Contains([]forward.Reason{forward.Unsolicited, forward.AnothersSource, forward.OursFromOutside, forward.NoTransit, forward.NotFromLAN}, r)
}
