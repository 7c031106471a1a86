// SPDX-License-Identifier: MIT

package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Probe is a packet for Scan.
type Probe int

const (
	ProbeEcho Probe = iota // ICMPv6 echo request
	ProbeSYN               // TCP SYN to port 22
)

func (p Probe) String() string { return [...]string{"echo requests", "SYNs"}[p] }

// Scan sends one packet to each of so many addresses of a /64, as a scanner of the Internet does, and returns how long
// that took. No host gives itself such an address.
func (n *Node) Scan(p netip.Prefix, addresses, perSecond int, kind Probe) (took time.Duration) {
	n.lab.T.Helper()
	err := n.Do(func() error {
		proto, packet, sumAt := unix.IPPROTO_ICMPV6, []byte{128, 0, 0, 0, 0x5c, 0xa4, 0, 1}, -1
		if kind == ProbeSYN {
			// source and destination port, sequence, acknowledgment, header length and SYN, window, checksum, urgent
			proto, sumAt = unix.IPPROTO_TCP, 16
			packet = []byte{0x9c, 0x40, 0, 22, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0x20, 0, 0, 0, 0, 0}
		}
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }() // nothing is buffered
		if sumAt >= 0 {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM, sumAt); err != nil {
				return fmt.Errorf("checksum: %w", err)
			}
		}
		dst := p.Addr().As16()
		dst[9] = 1
		next := uint32(0)
		all := time.Duration(addresses) * time.Second / time.Duration(perSecond)
		var sent int
		sent, took, err = paced(perSecond, all+time.Second, func() error {
			if next == uint32(addresses) {
				return io.EOF
			}
			next++
			binary.BigEndian.PutUint32(dst[12:], next)
			return unix.Sendto(fd, packet, 0, &unix.SockaddrInet6{Addr: dst})
		})
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if err == nil && sent < addresses {
			err = fmt.Errorf("%d of %d packets sent within %v", sent, addresses, took)
		}
		return err
	})
	if err != nil {
		n.lab.T.Fatalf("node %s: scan of %s: %v", n.Name, p, err)
	}
	return took
}
