// SPDX-License-Identifier: MIT

package netlab

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Malformed is a kind of message for Flood.
type Malformed int

const (
	MalformedRS     Malformed = iota // Router Solicitations to all routers
	MalformedNS                      // Neighbor Solicitations for addresses that nobody has
	MalformedDHCPv6                  // to all DHCP relay agents and servers
)

func (m Malformed) String() string { return [...]string{"RS", "NS", "DHCPv6"}[m] }

// paced calls send so many times a second for that long, in bursts of a millisecond, and returns how often it did.
// It says how long that took: a busy machine may be slower than asked.
func paced(perSecond int, d time.Duration, send func() error) (sent int, took time.Duration, err error) {
	begin := time.Now()
	for {
		if took = time.Since(begin); took >= d {
			return sent, took, nil
		}
		for due := int(took.Seconds() * float64(perSecond)); sent < due; sent++ {
			if err := send(); err != nil {
				return sent, took, err
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// Flood sends broken messages from the node, from many addresses, and returns how many it sent. Their IPv6 header and
// most of their checksums are right, so they reach whoever parses them.
func (n *Node) Flood(iface string, kind Malformed, perSecond int, d time.Duration) (sent int, took time.Duration) {
	n.lab.T.Helper()
	index := n.link(iface).Attrs().Index
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }() // nothing is buffered
		to := &unix.SockaddrLinklayer{Ifindex: index, Halen: 6}
		f := flooder{rng: rand.New(rand.NewPCG(1, uint64(kind))), kind: kind}
		frames := make([][]byte, floodFrames)
		for i := range frames {
			frames[i] = append([]byte(nil), f.frame()...)
		}
		next := 0
		sent, took, err = paced(perSecond, d, func() error {
			next = (next + 1) % len(frames)
			err := unix.Sendto(fd, frames[next], 0, to)
			if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN) { // the queue is full, as it may be in a flood
				return nil
			}
			return err
		})
		return err
	})
	if err != nil {
		n.lab.T.Fatalf("node %s: flood of %s: %v", n.Name, kind, err)
	}
	return sent, took
}

// floodFrames is how many different messages a flood has. They are made before it, so that sending is all that it costs.
const floodFrames = 16384

type flooder struct {
	rng  *rand.Rand
	kind Malformed
	buf  [1514]byte
}

// frame makes the next Ethernet frame.
func (f *flooder) frame() []byte {
	body, proto, dst := f.body()
	b := f.buf[:frameHeaders+len(body)]
	copy(b[frameHeaders:], body)
	// Documentation has 256 MAC addresses, and the lab numbers its own from below: with theirs, a bridge would send what is
	// for a host to the flooder, and no router could help.
	host := byte(0x80 + f.rng.IntN(0x80))
	src := netip.AddrFrom16([16]byte{0xfe, 0x80, 14: byte(f.rng.IntN(256)), 15: host})
	if f.kind == MalformedRS && f.rng.IntN(4) == 0 {
		src = netip.IPv6Unspecified() // a host without an address may solicit
	}
	frameHeader(b, net.HardwareAddr{0x00, 0x00, 0x5e, 0x00, 0x53, host}, src, dst, proto)
	at := frameHeaders + map[byte]int{protoICMPv6: 2, protoUDP: 6}[proto]
	if f.rng.IntN(16) != 0 && len(b) >= at+2 { // one in sixteen keeps a wrong checksum
		b[at], b[at+1] = 0, 0
		binary.BigEndian.PutUint16(b[at:], checksum(b[14:], proto))
	}
	return b
}

// body is the next broken message.
func (f *flooder) body() (b []byte, proto byte, dst netip.Addr) {
	switch f.kind {
	case MalformedRS:
		b = append(f.buf[1000:1000], 133, 0, 0, 0, 0, 0, 0, 0)
		return f.spoil(b, 4, f.options(b, 1)), protoICMPv6, netip.MustParseAddr("ff02::2")
	case MalformedNS:
		b = append(f.buf[1000:1000], 135, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		b = append(b, byte(f.rng.IntN(256)), byte(f.rng.IntN(256)), byte(f.rng.IntN(256)))
		return f.spoil(b, 4, f.options(b, 1)), protoICMPv6, netip.MustParseAddr("ff02::1") // all nodes hear it
	}
	b = append(f.buf[1000:1000], 0x02, 0x22, 0x02, 0x23, 0, 0, 0, 0) // ports 546, 547
	b = append(b, byte(f.rng.IntN(16)), byte(f.rng.IntN(256)), byte(f.rng.IntN(256)), byte(f.rng.IntN(256)))
	b = f.spoil(b, 8, f.dhcpOptions(b))
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b, protoUDP, netip.MustParseAddr("ff02::1:2")
}

// options appends ND options whose length does not fit their contents, or is 0.
func (f *flooder) options(b []byte, typ byte) []byte {
	for range f.rng.IntN(5) {
		b = append(b, typ, byte(f.rng.IntN(4)), 0, 0, 0x5e, 0, 0x53, byte(f.rng.IntN(256)))
		typ = byte(f.rng.IntN(256))
	}
	return b
}

// dhcpOptions appends DHCPv6 options, nested ones among them, some of which end beyond the message.
func (f *flooder) dhcpOptions(b []byte) []byte {
	codes := [...]byte{1, 2, 3, 4, 5, 6, 8, 14, 16, 20, 25, 26, 32, 56, 103}
	for range f.rng.IntN(8) {
		n := f.rng.IntN(40)
		said := n
		if f.rng.IntN(3) == 0 {
			said = f.rng.IntN(65536)
		}
		b = append(b, 0, codes[f.rng.IntN(len(codes))], byte(said>>8), byte(said))
		for range n {
			b = append(b, byte(f.rng.Uint32()))
		}
	}
	return b
}

// spoil is the message with random octets from an offset on, or cut off, or as it is.
func (f *flooder) spoil(whole []byte, from int, b []byte) []byte {
	switch f.rng.IntN(4) {
	case 0:
		for i := from; i < len(b); i++ {
			b[i] = byte(f.rng.Uint32())
		}
	case 1:
		b = b[:max(from, f.rng.IntN(len(b)+1))]
	case 2:
		b = b[:max(len(whole), from)]
	}
	return b
}
