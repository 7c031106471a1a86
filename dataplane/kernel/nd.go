// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

const (
	ndHopLimit = 255  // RFC 4861 section 6.1
	ndMaxData  = 9216 // a jumbo frame; what is longer was reassembled from fragments (RFC 6980) and is dropped
	ndRS       = 133
	ndRA       = 134
)

// OpenND is dataplane.Plane's. The socket sends from the link-local address that the interface has
// now: open another one when LinkChanged shows another index or link-local address.
func (p *Plane) OpenND(iface string) (dataplane.Conn, error) {
	c := &lanConn{buf: make([]byte, ndMaxData), accepted: func(b []byte) bool { return b[0] == ndRS || b[0] == ndRA }}
	return p.openLAN(iface, "neighbor discovery socket", c, openND)
}

// openND opens a raw ICMPv6 socket.
func openND(c *lanConn) (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return -1, fmt.Errorf("raw socket: %w", err)
	}
	if err := setupND(fd, c); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("neighbor discovery socket: %w", err)
	}
	return fd, nil
}

func setupND(fd int, c *lanConn) error {
	var filter unix.ICMPv6Filter // a set bit blocks a type
	for i := range filter.Data {
		filter.Data[i] = ^uint32(0)
	}
	for _, typ := range []uint{ndRS, ndRA} {
		filter.Data[typ/32] &^= 1 << (typ % 32)
	}
	// The filter comes first: until it is there everything is heard.
	if err := unix.SetsockoptICMPv6Filter(fd, unix.SOL_ICMPV6, unix.ICMPV6_FILTER, &filter); err != nil {
		return fmt.Errorf("ICMP6_FILTER: %w", err)
	}
	return c.bind(fd, netip.IPv6LinkLocalAllRouters(),
		socketOption{"IPV6_RECVHOPLIMIT", unix.IPV6_RECVHOPLIMIT, 1},
		socketOption{"IPV6_RECVPKTINFO", unix.IPV6_RECVPKTINFO, 1},
		socketOption{"IPV6_UNICAST_HOPS", unix.IPV6_UNICAST_HOPS, ndHopLimit},
		socketOption{"IPV6_MULTICAST_HOPS", unix.IPV6_MULTICAST_HOPS, ndHopLimit})
}
