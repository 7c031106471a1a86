// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

const (
	dhcpClientPort = 546 // RFC 9915 section 7.2
	dhcpServerPort = 547
	// dhcpMaxData is more than any client needs, also with authentication and a few options of vendors; a datagram can
	// be 64 kB long, and each is parsed.
	dhcpMaxData = 4096
)

// allDHCPServers is All_DHCP_Relay_Agents_and_Servers (RFC 9915 section 7.1).
func allDHCPServers() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 13: 1, 15: 2}) }

// OpenDHCPv6 is dataplane.Plane's. The same holds as for OpenND.
func (p *Plane) OpenDHCPv6(iface string) (dataplane.Conn, error) {
	c := &lanConn{port: dhcpClientPort, buf: make([]byte, dhcpMaxData), accepted: func([]byte) bool { return true }}
	return p.openLAN(iface, "DHCPv6 socket", c, openDHCPv6)
}

func openDHCPv6(c *lanConn) (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return -1, fmt.Errorf("DHCPv6 socket: %w", err)
	}
	err = c.bind(fd, allDHCPServers(),
		socketOption{"IPV6_V6ONLY", unix.IPV6_V6ONLY, 1},
		socketOption{"IPV6_RECVPKTINFO", unix.IPV6_RECVPKTINFO, 1})
	if err == nil {
		// Without SO_REUSEADDR: with it the kernel would share the port with another server that has set it too, and
		// give unicast to one of the two.
		err = unix.Bind(fd, &unix.SockaddrInet6{Port: dhcpServerPort})
	}
	if err == nil {
		return fd, nil
	}
	_ = unix.Close(fd)
	if errors.Is(err, unix.EADDRINUSE) {
		return -1, fmt.Errorf("UDP port %d is in use by another program, another DHCPv6 server: "+
			"stop it (odhcpd, dnsmasq, kea), or set DHCPv6 = off for this LAN: %w", dhcpServerPort, err)
	}
	return -1, fmt.Errorf("DHCPv6 socket: %w", err)
}
