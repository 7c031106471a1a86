// SPDX-License-Identifier: MIT

package tun

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	wgtun "golang.zx2c4.com/wireguard/tun"
)

// Outside is what a tunnel on a given device has around it. Each zero value stands for the machine's own.
type Outside struct {
	// Bind carries WireGuard's datagrams. It belongs to the tunnel afterwards; nil: UDP sockets.
	Bind conn.Bind
	// Lookup turns the endpoint's name into addresses; nil: Go's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// PathMTU says what fits on the way to an endpoint, in octets with the IP header, and fails where there is no way;
	// nil: the kernel is asked.
	PathMTU func(ep netip.AddrPort) (int, error)
	// Inside says whether a way out by an interface of the machine and a router there would lead back into the tunnel; nil:
	// none does. It is not asked if there is a PathMTU, nor for what is on the link itself.
	Inside func(iface string, via netip.Addr) bool
	// Control lets wg see the tunnel.
	Control bool
	// Made is shown wireguard-go's device when it is configured, before it sends anything; nil: nobody is.
	Made func(*device.Device)
}

// OpenOn is Open on a device that is there already, in place of a kernel TUN. The Tunnel closes the device, also if
// OpenOn fails. The device must know SetReadDeadline, as Memory does, or have a file that does.
func OpenOn(cfg Config, dev wgtun.Device, out Outside, log *slog.Logger) (*Tunnel, error) {
	look := lookup(goLookup)
	if out.Lookup != nil {
		look = out.Lookup
	}
	t, err := newTunnel(cfg, log, look, out.bind(), out.way())
	if err != nil {
		_ = dev.Close() // err is why
		return nil, err
	}
	t.made = out.Made
	if err := t.open(dev); err != nil {
		return nil, err
	}
	if out.Control {
		t.serveControl()
	}
	return t, nil
}

// OpenHubOn is OpenHub on a device that is there already. Of out it takes Bind, Control and Made: a hub looks nothing up and
// measures no path.
func OpenHubOn(cfg HubConfig, dev wgtun.Device, out Outside, log *slog.Logger) (*Hub, error) {
	h, err := newHub(cfg, log, out.bind())
	if err != nil {
		_ = dev.Close() // err is why
		return nil, err
	}
	h.made = out.Made
	if err := h.open(dev); err != nil {
		return nil, err
	}
	if out.Control {
		h.serveControl()
	}
	return h, nil
}

func (o Outside) bind() conn.Bind {
	if o.Bind != nil {
		return o.Bind
	}
	return conn.NewStdNetBind()
}

func (o Outside) way() way {
	switch {
	case o.PathMTU != nil:
		return way{
			mtu:    func(ep netip.AddrPort, _ uint32) (int, error) { return o.PathMTU(ep) },
			usable: func(_ string, _ uint32, ep netip.AddrPort) bool { _, err := o.PathMTU(ep); return err == nil },
		}
	case o.Inside != nil:
		return way{
			mtu:    pathMTU,
			usable: func(_ string, mark uint32, ep netip.AddrPort) bool { return outward(ep, mark, o.Inside) },
		}
	}
	return kernelWay()
}

// outward says whether the machine's own routing has a way out that is not through the box: where the box is a node of its
// own on the machine's LANs, the machine may have its IPv6 from the box, or from another router there.
func outward(ep netip.AddrPort, mark uint32, inside func(iface string, via netip.Addr) bool) bool {
	if _, err := pathMTU(ep, mark); err != nil {
		return false
	}
	if ep.Addr().Is4() {
		return true // the tunnel never carries IPv4
	}
	index, via, err := routeTo(ep.Addr(), mark)
	if err != nil || !via.IsValid() {
		return true // pathMTU has found a way
	}
	out, err := net.InterfaceByIndex(index)
	return err != nil || !inside(out.Name, via)
}
