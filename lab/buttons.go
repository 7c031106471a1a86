// SPDX-License-Identifier: MIT

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"oasis6/lab/host"
	"oasis6/lab/page"
)

// The page's buttons.
const (
	doRenumber  = "renumber"
	doCable     = "cable"
	doTunnel    = "tunnel"
	doRebind    = "rebind"
	doReboot    = "reboot"
	doICMPv6    = "icmpv6"
	doMTU       = "mtu"
	doRogue     = "rogue"
	doDuplicate = "duplicate"
	doScan      = "scan"
	doPing      = "ping"
	doFetch     = "fetch"
)

// Wires that buttons put filters on, see World.cut and World.dropICMPv6; and the one that gets narrow.
const (
	cutWire    = "carrier"
	icmpWire   = "r2-net6"
	narrowWire = "nats"
)

// powerOff is how long a box is without power when it is rebooted.
const powerOff = time.Second

// buttons are what this world offers.
func (w *World) buttons() []page.Button {
	var cables, hosts, boxes, nats []page.Choice
	for _, l := range w.links {
		cables = append(cables, page.Choice{ID: l.id, Name: l.name})
	}
	for _, n := range w.lanHosts() {
		hosts = append(hosts, page.Choice{ID: n, Name: n})
	}
	for _, b := range w.boxes {
		boxes = append(boxes, page.Choice{ID: b.name, Name: b.name})
	}
	for _, n := range w.nodes {
		if n.Kind == page.NAT {
			nats = append(nats, page.Choice{ID: n.ID, Name: n.Name})
		}
	}
	goals := []page.Choice{{ID: "v6", Name: "www, by IPv6"}, {ID: "v4", Name: "www, by IPv4"}, {ID: "ll", Name: "the box, by its link-local address"}}
	for _, n := range []string{nodeH3, nodeH1B} {
		if w.hosts[n] != nil {
			goals = append(goals, page.Choice{ID: n, Name: n})
		}
	}
	return []page.Button{
		{ID: doPing, Name: "Ping", About: "A host pings www, or the box next to it.", RFC: "RFC 4443 section 4.1", Key: "g", Targets: hosts, Args: goals},
		{ID: doFetch, Name: "Fetch a page", About: "A host fetches a page; the server tells whom it saw.", RFC: "RFC 6724", Key: "f", Targets: hosts, Args: []page.Choice{
			{ID: "www", Name: wwwName + ": the host chooses"}, {ID: "www4", Name: wwwName + " by IPv4"}, {ID: "only6", Name: onlyName + ": IPv6 alone"}}},
		{ID: doRenumber, Name: "Renumber", About: "The hub gets its other pool; every host has to follow.", RFC: "RFC 9096", Key: "r"},
		{ID: doCable, Name: "Pull a cable", About: "A cable is pulled, or plugged in again.", Key: "c", Targets: cables},
		{ID: doTunnel, Name: "Cut the tunnel", About: "The carrier swallows the tunnel's datagrams until you press again.", Key: "x"},
		{ID: doRebind, Name: "Rebind the NAT", About: "A NAT forgets its table, as one that restarts.", RFC: "RFC 4787", Key: "n", Targets: nats},
		{ID: doReboot, Name: "Reboot the box", About: "The power goes for a second; on disk is what was written.", Key: "b", Targets: boxes},
		{ID: doICMPv6, Name: "Drop all ICMPv6", About: "A firewall before the hub drops it all but Neighbor Discovery: see what breaks.", RFC: "RFC 4890", Key: "d"},
		{ID: doMTU, Name: "Shrink the path", About: fmt.Sprintf("The wire between the NATs carries %d octets, not %d.", narrowMTU, ethernetMTU), RFC: "RFC 1191", Key: "u"},
		{ID: doRogue, Name: "Rogue RA", About: "A laptop that shares its connection says that it is a router.", RFC: "RFC 6104", Key: "o"},
		{ID: doDuplicate, Name: "Duplicate address", About: "A clone has the address already that a host is about to take.", RFC: "RFC 4862 section 5.4", Key: "2", Targets: hosts},
		{ID: doScan, Name: "Scan the /64", About: fmt.Sprintf("Somebody looks for hosts: %d addresses in 5 s.", scanAddresses), RFC: "RFC 6583", Key: "s"},
	}
}

// actionStates say which buttons are pressed, and which cannot be.
func (s *Source) actionStates() map[string]page.ActionState {
	w := s.w
	out := map[string]page.ActionState{
		doTunnel: {On: w.isCut()}, doICMPv6: {On: w.wires[icmpWire].Filtered()},
		doMTU: {On: w.wires[narrowWire].MTU() != ethernetMTU}, doRogue: {On: w.roguing},
	}
	for _, x := range w.wires {
		if !x.Up() {
			out[doCable] = page.ActionState{On: true}
		}
	}
	if w.scanning != nil {
		out[doScan] = page.ActionState{Why: "a scan is under way"}
	}
	return out
}

// press is what a button does, on the engine's goroutine. A target that is not named is the first.
func (w *World) press(a page.Action) error {
	target := w.targetOf(a)
	switch a.Action {
	case doRenumber:
		w.renumber()
	case doCable:
		x, ok := w.wires[target]
		if !ok {
			return fmt.Errorf("there is no cable %q", target)
		}
		return w.plug(target, !x.Up())
	case doTunnel:
		w.cut(!w.isCut())
	case doRebind:
		return w.rebind(target)
	case doReboot:
		return w.rebootByName(target)
	case doICMPv6:
		w.dropICMPv6(!w.wires[icmpWire].Filtered())
	case doMTU:
		if w.wires[narrowWire].MTU() == ethernetMTU {
			w.shrink(narrowMTU)
		} else {
			w.shrink(ethernetMTU)
		}
	case doRogue:
		w.goRogue(!w.roguing)
	case doDuplicate:
		return w.duplicate(target)
	case doScan:
		return w.scan()
	case doPing:
		return w.pressPing(target, a.Arg)
	case doFetch:
		return w.pressFetch(target, a.Arg)
	default:
		return fmt.Errorf("there is no button %q", a.Action)
	}
	return nil
}

func (w *World) targetOf(a page.Action) string {
	for _, b := range w.buttons() {
		if b.ID == a.Action && a.Target == "" && len(b.Targets) > 0 {
			return b.Targets[0].ID
		}
	}
	return a.Target
}

// outcome is how a button that undoes what it did has left its thing; empty: its name says all.
func (w *World) outcome(a page.Action) string {
	either := func(on bool, yes, no string) string {
		if on {
			return yes
		}
		return no
	}
	switch a.Action {
	case doCable:
		id := w.targetOf(a)
		for _, l := range w.links {
			if l.id == id {
				return l.name + either(w.wires[id].Up(), " is plugged in again", " is pulled")
			}
		}
	case doTunnel:
		return either(w.isCut(), "the tunnel is cut", "the tunnel is mended")
	case doICMPv6:
		return either(w.wires[icmpWire].Filtered(), "ICMPv6 is dropped", "ICMPv6 passes again")
	case doMTU:
		return fmt.Sprintf("the path carries %d octets", w.wires[narrowWire].MTU())
	case doRogue:
		return either(w.roguing, "the laptop says that it is a router", "the laptop takes it back")
	}
	return ""
}

func (w *World) rebootByName(name string) error {
	for _, b := range w.boxes {
		if b.name == name {
			return w.reboot(b, powerOff)
		}
	}
	return fmt.Errorf("there is no box %q", name)
}

var errNoRouter = errors.New("the host knows no router: it has heard no Router Advertisement with a lifetime")

// pressPing lets a host ping once and says in the timeline what came of it.
func (w *World) pressPing(name, arg string) error {
	h, ok := w.hosts[name]
	if !ok {
		return fmt.Errorf("there is no host %q", name)
	}
	to, what := wwwAt, "www by IPv6"
	switch arg {
	case "v4":
		to, what = addr4(wwwAddr4), "www by IPv4"
	case "ll":
		if to = w.routerOf(name); !to.IsValid() {
			return errNoRouter
		}
		what = "the box at " + to.String()
	case nodeH3, nodeH1B:
		if w.hosts[arg] == nil || !w.address(arg).IsValid() {
			return fmt.Errorf("%s has no address that can be reached", arg)
		}
		to, what = w.address(arg), arg
	}
	w.sayUser("%s pings %s", name, what)
	h.Ping(to, host.PingOptions{}, func(p host.Pong) {
		if p.Err != nil {
			w.sayAs("warn", name, fmt.Sprintf("ping of %s: %v", what, p.Err), "")
			return
		}
		w.sayAs("info", name, fmt.Sprintf("ping of %s: answered in %v, from %s", what, p.RTT.Round(100*time.Microsecond), p.Source), "")
	})
	return nil
}

// routerOf is the link-local address of the router by which a host has its addresses, also when that is no default router
// now.
func (w *World) routerOf(name string) netip.Addr {
	for _, a := range w.hosts[name].View().Addresses {
		if len(a.From) > 0 && a.From[0].Router.IsValid() && a.From[0].MAC != w.rogueMAC() {
			return a.From[0].Router
		}
	}
	return netip.Addr{}
}

func (w *World) rogueMAC() [6]byte { return w.port("lan-rogue", nodeRogue).MAC() }

// pressFetch lets a host fetch a page and says in the timeline whom the server saw.
func (w *World) pressFetch(name, arg string) error {
	h, ok := w.hosts[name]
	if !ok {
		return fmt.Errorf("there is no host %q", name)
	}
	url := "http://" + wwwName + "/"
	switch arg {
	case "www4":
		url = "http://" + addr4(wwwAddr4).String() + "/"
	case "only6":
		url = "http://" + onlyName + "/"
	}
	w.sayUser("%s fetches %s", name, url)
	h.Fetch(url, host.FetchOptions{}, func(p host.Page) {
		if p.Err != nil {
			w.sayAs("warn", name, fmt.Sprintf("%s: %v", url, p.Err), "")
			return
		}
		last := p.Attempts[len(p.Attempts)-1]
		text := fmt.Sprintf("%s: %d octets in %v, from %s to %s", url, p.Octets, p.Took.Round(time.Millisecond), last.Source, last.Server)
		if w.visitor.IsValid() {
			text += "; the server saw " + w.visitor.Unmap().String()
		}
		w.sayAs("info", name, text, "")
	})
	return nil
}
