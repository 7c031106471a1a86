// SPDX-License-Identifier: MIT

package lab

import (
	"errors"
	"net/netip"
	"time"

	"oasis6/hub/store"
	"oasis6/internal/hostmodel"
	"oasis6/lab/host"
	"oasis6/lab/host/inet6"
	"oasis6/lab/host/trouble"
	"oasis6/lab/nat"
	"oasis6/lab/wire"
)

// lay makes the wires. Both ends get a MAC by the wire's place in the plan.
func (w *World) lay() {
	for i, l := range w.links {
		x := wire.New(w.Engine, wire.Config{ID: l.id, Delay: l.delay}, [2]string{l.a, l.b}, [2][6]byte{mac(byte(2 * i)), mac(byte(2*i + 1))})
		x.Tap(w.rec.add)
		w.wires[l.id] = x
	}
}

// end of a wire at a node.
func (w *World) port(id, node string) *wire.Port {
	x := w.wires[id]
	if x.Port(0).Node() == node {
		return x.Port(0)
	}
	return x.Port(1)
}

// build makes the nodes and switches them on.
func (w *World) build() error {
	w.hub = &hubNode{
		w: w, key: w.newKey(nodeR2), up: w.port("r2-net6", nodeR2), store: store.NewMemory(), pool: firstPool,
		preferred: 45 * time.Minute, valid: 90 * time.Minute,
	}
	lan := []*wire.Port{}
	for _, l := range w.links {
		if l.a == nodeLAN || l.b == nodeLAN {
			lan = append(lan, w.port(l.id, nodeLAN))
		}
	}
	wire.NewSwitch(w.Engine, lan...)
	first := site{nodeR1, "lan-r1", r1LAN4, "wan", r1WAN4, nat1In4}
	second := site{nodeR1B, "lan-b", r1bLAN4, "wan-b", r1bWAN4, natbIn4}
	errs := []error{w.buildIPv4(), w.buildIPv6(), w.buildHosts()}
	for _, x := range []site{first, second} {
		if w.wires[x.wan] != nil {
			errs = append(errs, w.buildBox(x))
		}
	}
	// One after the other: they have goroutines that would race.
	w.Engine.Post(func() { w.check(w.hub.start()) })
	for _, b := range w.boxes {
		w.Engine.Post(func() { w.check(b.start()) })
	}
	return errors.Join(errs...)
}

// site is where a box stands: the wires of its LAN and WAN, its IPv4 addresses on them, and its gateway.
type site struct{ name, lan, lan4, wan, wan4, gateway4 string }

// buildBox makes a box with its IPv4 half, which shares its LAN.
func (w *World) buildBox(x site) error {
	rest, v6 := wire.Split(w.port(x.lan, x.name))
	v4, err := nat.NewNode(w.Engine, nat.NodeConfig{
		Name: x.name, NAT: &nat.Config{}, Explain: w.rec.explain,
		Ports: []nat.PortConfig{
			{Wire: rest, Address: netip.MustParsePrefix(x.lan4), Inside: true},
			{Wire: w.port(x.wan, x.name), Address: netip.MustParsePrefix(x.wan4)},
		},
		Routes: []nat.Route{{Dst: everything4, Via: addr4(x.gateway4)}},
	})
	w.ipv4[x.name] = v4
	w.boxes = append(w.boxes, &box{
		w: w, name: x.name, key: w.newKey(x.name), files: newMemoryFiles(), v4: v4, lans: map[string]wire.End{"br-lan": v6},
		extra: w.opt.boxExtra(),
	})
	return err
}

var everything4 = netip.MustParsePrefix("0.0.0.0/0")

// buildIPv4 makes the NATs, the IPv4 Internet and the hub's IPv4.
func (w *World) buildIPv4() error {
	type leg struct {
		wire, address string
		inside        bool
	}
	var errs []error
	node := func(name string, translate *nat.Config, via string, legs ...leg) *nat.Node {
		c := nat.NodeConfig{Name: name, NAT: translate, Explain: w.rec.explain}
		for _, l := range legs {
			if w.wires[l.wire] != nil {
				c.Ports = append(c.Ports, nat.PortConfig{Wire: w.port(l.wire, name), Address: netip.MustParsePrefix(l.address), Inside: l.inside})
			}
		}
		if via != "" {
			c.Routes = []nat.Route{{Dst: everything4, Via: addr4(via)}}
		}
		n, err := nat.NewNode(w.Engine, c)
		errs = append(errs, err)
		w.ipv4[name] = n
		return n
	}
	node(nodeNAT1, &nat.Config{}, nat2In4, leg{"wan", nat1In4, true}, leg{"nats", nat1Out4, false})
	node(nodeNAT2, &nat.Config{Filtering: nat.AddressAndPortDependent, RandomPorts: true}, inetNAT4, leg{"nats", nat2In4, true}, leg{"carrier", nat2Out4, false})
	node(nodeInet, nil, "", leg{"carrier", inetNAT4, false}, leg{"r2-inet", inetR2, false}, leg{"www-inet", inetWWW4, false}, leg{"carrier-b", inetNATB4, false})
	if w.wires["carrier-b"] != nil {
		node(nodeNATB, &nat.Config{}, inetNATB4, leg{"wan-b", natbIn4, true}, leg{"carrier-b", natbOut4, false})
	}
	w.hub.v4 = node(nodeR2, nil, inetR2, leg{"r2-inet", r2Addr4, false})
	return errors.Join(errs...)
}

// buildIPv6 makes the IPv6 Internet: one router that knows the way to the provider's prefix.
func (w *World) buildIPv6() error {
	c := inet6.Config{Name: nodeNet6, Explain: func(d inet6.Decision) { w.rec.explain(nat.Decision(d)) }}
	for _, l := range []struct{ wire, address string }{
		{"r2-net6", net6R2}, {"www-net6", net6WWW}, {"dns-net6", net6DNS}, {"only-net6", net6Only}, {"scan-net6", net6Scan},
	} {
		c.Ports = append(c.Ports, inet6.PortConfig{Wire: w.port(l.wire, nodeNet6), Addresses: []netip.Prefix{netip.MustParsePrefix(l.address)}})
	}
	c.Routes = []inet6.Route{{Dst: netip.MustParsePrefix(providerPrefix), Via: netip.MustParsePrefix(r2Net6).Addr()}}
	var err error
	w.net6, err = inet6.New(w.Engine, c)
	return err
}

// lanHost is a host that configures itself, as most do.
func (w *World) lanHost(name, wire, ipv4, gateway4 string) error {
	return w.addHost(name, host.Config{
		Name: name, Port: w.port(wire, name), Autoconf: true, Model: hostmodel.Config{TypeC: true},
		IPv4: netip.MustParsePrefix(ipv4), Gateway4: addr4(gateway4),
	})
}

// server is a host that is configured by hand, with IPv6.
func (w *World) server(name, wire, address, gateway string) error {
	return w.addHost(name, host.Config{
		Name: name, Port: w.port(wire, name), IPv6: []netip.Prefix{netip.MustParsePrefix(address)}, Gateway6: netip.MustParsePrefix(gateway).Addr(),
		DNS: []netip.Addr{netip.MustParsePrefix(dnsAddr6).Addr()},
	})
}

func (w *World) addHost(name string, c host.Config) error {
	c.Explain = func(d host.Decision) { w.rec.explain(nat.Decision(d)) }
	h, err := host.New(w.Engine, c)
	if err != nil {
		return err
	}
	w.hosts[name] = h
	return nil
}

// wwwIPv4 is www's other half: a host has one port, and www has a wire to each Internet.
const wwwIPv4 = nodeWWW + " IPv4"

// buildHosts makes all that is not a router.
func (w *World) buildHosts() error {
	err := errors.Join(
		w.lanHost(nodeH1, "lan-h1", h1Addr4, r1LAN4), w.lanHost(nodeH2, "lan-h2", h2Addr4, r1LAN4),
		w.server(nodeWWW, "www-net6", wwwAddr6, net6WWW), w.server(nodeDNS, "dns-net6", dnsAddr6, net6DNS),
		w.server(nodeOnly, "only-net6", onlyAddr6, net6Only), w.server(nodeScan, "scan-net6", scanAddr6, net6Scan),
		w.addHost(wwwIPv4, host.Config{Name: wwwIPv4, Port: w.port("www-inet", nodeWWW), IPv4: netip.MustParsePrefix(wwwAddr4), Gateway4: addr4(inetWWW4)}),
	)
	if err != nil {
		return err
	}
	if w.wires["lan-b"] != nil {
		if err := w.lanHost(nodeH1B, "lan-b", h1bAddr4, r1bLAN4); err != nil {
			return err
		}
	}
	if w.wires["lan-r3"] != nil {
		err := errors.Join(w.buildDownstream(), w.addHost(nodeH3, host.Config{
			Name: nodeH3, Port: w.port("r3-h3", nodeH3), Autoconf: true, Model: hostmodel.Config{TypeC: true},
		}))
		if err != nil {
			return err
		}
	}
	zone := host.Zone{
		wwwName:  {netip.MustParsePrefix(wwwAddr6).Addr(), addr4(wwwAddr4)},
		onlyName: {netip.MustParsePrefix(onlyAddr6).Addr()},
	}
	err = errors.Join(
		w.serveWeb(nodeWWW), w.serveWeb(wwwIPv4), w.serveWeb(nodeOnly), w.hosts[nodeDNS].ServeDNS(zone),
	)
	if err != nil {
		return err
	}
	w.rogue, err = inet6.New(w.Engine, inet6.Config{Name: nodeRogue, Ports: []inet6.PortConfig{{Wire: w.port("lan-rogue", nodeRogue)}}})
	w.clone = trouble.NewClaimant(w.Engine, w.port("lan-clone", nodeClone))
	return err
}

// serveWeb lets a host serve its greeting, and notes who came last.
func (w *World) serveWeb(name string) error {
	h := w.hosts[name]
	return h.ServeWeb(func(r host.Request) (int, []byte) {
		w.visitor = r.From.Addr()
		return h.Greeting(r)
	})
}
