// SPDX-License-Identifier: MIT

package tun

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// way knows the outer path to an endpoint.
type way struct {
	// mtu is what fits, in octets with the IP header; an error: there is no way out.
	mtu func(ep netip.AddrPort, mark uint32) (int, error)
	// usable says whether there is a way out that does not lead into the tunnel iface.
	usable func(iface string, mark uint32, ep netip.AddrPort) bool
}

// kernelWay is the machine's own routing.
func kernelWay() way { return way{pathMTU, usable} }

// pathMTU asks the kernel what fits on the way to ep: the MTU of the route's interface, or what ICMP
// has taught since. The error is the kernel's when there is no route.
func pathMTU(ep netip.AddrPort, mark uint32) (int, error) {
	family, level, option := unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU
	var to unix.Sockaddr = &unix.SockaddrInet6{Port: int(ep.Port()), Addr: ep.Addr().As16()}
	if ep.Addr().Is4() {
		family, level, option = unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU
		to = &unix.SockaddrInet4{Port: int(ep.Port()), Addr: ep.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("path to %s: socket: %w", ep, err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	if mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
			return 0, fmt.Errorf("path to %s: mark: %w", ep, err)
		}
	}
	// Connecting a datagram socket looks up the route and sends nothing.
	if err := unix.Connect(fd, to); err != nil {
		return 0, fmt.Errorf("path to %s: %w", ep, err)
	}
	mtu, err := unix.GetsockoptInt(fd, level, option)
	if err != nil {
		return 0, fmt.Errorf("path to %s: mtu: %w", ep, err)
	}
	return mtu, nil
}

// tunnelMTU is what is left of an outer MTU, and whether less than IPv6's minimum would be.
func tunnelMTU(outer int) (mtu int, tooSmall bool) {
	mtu = outer - overhead
	return min(max(mtu, minMTU), maxMTU), mtu < minMTU
}

// usable says whether datagrams to ep have a way out that is not this tunnel: with IPv6 the LAN's own
// default route may be the only one, and a tunnel through itself goes nowhere.
func usable(iface string, mark uint32, ep netip.AddrPort) bool {
	if _, err := pathMTU(ep, mark); err != nil {
		return false
	}
	if ep.Addr().Is4() {
		return true // the tunnel never carries IPv4
	}
	own, err := net.InterfaceByName(iface)
	if err != nil {
		return true
	}
	out, _, err := routeTo(ep.Addr(), mark)
	return err != nil || out != own.Index // on an error: pathMTU has found a way
}

// routeTo asks the kernel for the index of the interface that packets to dst leave by, and for the router there; the zero
// address: dst is on the link. The whole netlink library for this one question would cost 130 kB.
func routeTo(dst netip.Addr, mark uint32) (out int, via netip.Addr, err error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	msg := nl.NewRtMsg()
	*msg = nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET6, Dst_len: 128}}
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_DST, dst.AsSlice()))
	if mark != 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_MARK, binary.NativeEndian.AppendUint32(nil, mark)))
	}
	answers, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err != nil {
		return 0, via, fmt.Errorf("route to %s: %w", dst, err)
	}
	for _, m := range answers {
		if len(m) < unix.SizeofRtMsg {
			continue
		}
		attrs, err := nl.ParseRouteAttr(m[unix.SizeofRtMsg:])
		if err != nil {
			return 0, via, fmt.Errorf("route to %s: %w", dst, err)
		}
		for _, a := range attrs {
			switch {
			case a.Attr.Type == unix.RTA_OIF && len(a.Value) >= 4:
				out = int(binary.NativeEndian.Uint32(a.Value))
			case a.Attr.Type == unix.RTA_GATEWAY:
				via, _ = netip.AddrFromSlice(a.Value)
			}
		}
	}
	if out == 0 {
		err = fmt.Errorf("route to %s: no interface", dst)
	}
	return out, via, err
}
