// SPDX-License-Identifier: MIT

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/lifetime"
	"oasis6/lab/host"
	"oasis6/lab/wire"
	"oasis6/ra"
)

// What happens to the world when a scenario or somebody with a button wants it. All run on the engine's goroutine.

// roguePrefix is what the laptop advertises that shares its connection.
const roguePrefix = "2001:db8:bad::/64"

// typeRedirect is the last message of Neighbor Discovery, RFC 4861 section 4.5.
const typeRedirect = 137

// narrowMTU is what the provider's path carries when it has shrunk.
const narrowMTU = 1400

// rogueFarewell is how long the laptop goes on saying that it is none.
const rogueFarewell = 8 * time.Second

// scanned addresses, and the time between two: RFC 6583 is about many more.
const (
	scanAddresses = 10_000
	scanEvery     = time.Second / 2000
)

// renumber gives the hub its other pool, as SIGHUP with another Pool does.
func (w *World) renumber() {
	if w.hub.pool == firstPool {
		w.hub.pool = secondPool
	} else {
		w.hub.pool = firstPool
	}
	w.sayUser("the hub's pool is %s now", w.hub.pool)
	w.hub.reload()
}

// plug plugs a cable in or pulls it.
func (w *World) plug(id string, up bool) error {
	x, ok := w.wires[id]
	if !ok {
		return fmt.Errorf("there is no wire %q", id)
	}
	w.sayUser("the cable %q is %s", id, map[bool]string{true: "plugged in", false: "pulled"}[up])
	x.SetUp(up)
	return nil
}

// cut lets no datagram of the tunnel through the carrier's network, or all again.
func (w *World) cut(on bool) {
	x := w.wires["carrier"]
	if !on {
		w.sayUser("the carrier's network lets the tunnel through again")
		x.SetFilter(nil)
		return
	}
	w.sayUser("the carrier's network swallows the tunnel's datagrams")
	x.SetFilter(func(_ *wire.Port, frame []byte) string {
		if proto, _, body := splitIPv4(frame[wire.Header:]); isIPv4(frame) && proto == protoUDP && len(body) >= 4 &&
			(binary.BigEndian.Uint16(body) == hubPort || binary.BigEndian.Uint16(body[2:]) == hubPort) {
			return "the carrier's network swallows UDP from and to the hub's port"
		}
		return ""
	})
}

// isCut says whether cut is on.
func (w *World) isCut() bool { return w.wires["carrier"].Filtered() }

// rebind lets a NAT forget its table, as one that restarts.
func (w *World) rebind(node string) error {
	n, ok := w.ipv4[node]
	if !ok || node != nodeNAT1 && node != nodeNAT2 && node != nodeNATB {
		return fmt.Errorf("%s is no NAT", node)
	}
	w.sayUser("%s forgets its table", node)
	n.Rebind()
	return nil
}

// reboot cuts a box's power for a while.
func (w *World) reboot(b *box, off time.Duration) error {
	if !b.on() {
		return errors.New("the box is off already")
	}
	w.sayUser("%s has no power for %v", b.name, off)
	b.cutPower()
	b.v4.SetUp(false)
	w.Engine.AfterFunc(off, func() {
		if w.closing {
			return
		}
		b.v4.SetUp(true)
		w.check(b.start())
	})
	return nil
}

// dropICMPv6 is a firewall between the hub and the IPv6 Internet whose administrator thinks that ICMP is dangerous.
// Neighbor Discovery passes, else nothing would.
func (w *World) dropICMPv6(on bool) {
	x := w.wires["r2-net6"]
	if !on {
		w.sayUser("ICMPv6 passes again between the hub and the IPv6 Internet")
		x.SetFilter(nil)
		return
	}
	w.sayUser("a firewall drops all ICMPv6 between the hub and the IPv6 Internet")
	x.SetFilter(func(_ *wire.Port, frame []byte) string {
		p := frame[wire.Header:]
		if isIPv4(frame) || len(p) <= ip6pkt.HeaderLen || p[6] != ip6pkt.ProtoICMPv6 {
			return ""
		}
		if t := p[ip6pkt.HeaderLen]; t >= ra.TypeRouterSolicitation && t <= typeRedirect {
			return ""
		}
		return "a firewall drops all ICMPv6, which RFC 4890 warns of"
	})
}

// shrink changes what fits between the NATs. They tell senders, as routers do.
func (w *World) shrink(mtu int) {
	w.sayUser("the path between the NATs carries %d octets now", mtu)
	w.wires["nats"].SetMTU(mtu)
}

// goRogue makes the laptop a second router on the LAN, or lets it take that back.
func (w *World) goRogue(on bool) {
	w.roguing = on
	now := w.Engine.Now()
	until := lifetime.At(now.Add(time.Hour))
	if w.farewell != nil {
		w.farewell.Stop()
	}
	if !on {
		w.sayUser("the laptop takes back what it has said, and leaves")
		until = lifetime.At(now)
		w.farewell = w.Engine.AfterFunc(rogueFarewell, func() { w.rogue.Silence(0, ra.Stop{Final: true}) })
	} else {
		w.sayUser("a laptop shares its connection: it advertises a prefix of its own")
	}
	p := netip.MustParsePrefix(roguePrefix)
	w.rogue.Advertise(0, ra.Config{MinInterval: 3 * time.Second, MaxInterval: 4 * time.Second}, ra.Content{
		DefaultRouter: on, Preference: ra.High,
		Prefixes: []ra.Prefix{{Prefix: p, OnLink: true, Autonomous: true, Preferred: until, Valid: until}},
	})
}

// duplicate makes the clone claim the next address that a host wants, and lets the host want one: its cable is pulled for
// a moment.
func (w *World) duplicate(name string) error {
	h, id := w.hosts[name], w.cableOf(name)
	if id == "" || !w.besideClone(id) {
		return fmt.Errorf("%s is no host on the clone's LAN", name)
	}
	w.sayUser("a clone says that the address is its own which %s is about to take", name)
	w.clone.Claim(func(a netip.Addr) bool {
		if a.IsLinkLocalUnicast() || !slices.ContainsFunc(h.View().Addresses, func(x host.Address) bool { return x.Prefix.Addr() == a }) {
			return false
		}
		w.Engine.Post(func() { w.clone.Claim(nil) })
		return true
	})
	if w.wires[id].Up() { // else it was pulled already, and whoever did it plugs it in
		w.wires[id].SetUp(false)
		w.Engine.AfterFunc(time.Second, func() { w.wires[id].SetUp(true) })
	}
	return nil
}

// besideClone says whether a cable leads to the switch that the clone is on.
func (w *World) besideClone(id string) bool {
	x := w.wires[id]
	return x.Port(0).Node() == nodeLAN || x.Port(1).Node() == nodeLAN
}

// cableOf is the wire of a host on a LAN.
func (w *World) cableOf(name string) string {
	for _, l := range w.links {
		if l.kind == "lan" && (l.a == name || l.b == name) && w.hosts[name] != nil {
			return l.id
		}
	}
	return ""
}

// scan looks for hosts on the box's LAN from the Internet.
func (w *World) scan() error {
	a := w.address(nodeH1)
	if !a.IsValid() {
		return errors.New("the LAN has no prefix yet")
	}
	if w.scanning != nil {
		return errors.New("a scan is under way")
	}
	p, err := a.Prefix(64)
	if err != nil {
		return err
	}
	w.sayUser("somebody looks for hosts in %s: %d addresses, %d a second", p, scanAddresses, int(time.Second/scanEvery))
	w.scanning, err = w.hosts[nodeScan].Scan(p, scanAddresses, scanEvery, func() { w.scanning = nil })
	return err
}

// sayUser writes what somebody did into the timeline.
func (w *World) sayUser(format string, args ...any) {
	w.sayAs("user", "", fmt.Sprintf(format, args...), "")
}
