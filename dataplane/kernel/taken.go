// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/internal/ip6pkt"
)

const (
	ndNS = 135
	ndNA = 136

	// takenRetry is the least time between two questions who has a link-local address of ours.
	takenRetry = time.Minute
	// takenWait is how long an answer is waited for, takenPoll how often the end of the process is looked for.
	takenWait = time.Second
	takenPoll = 100 * time.Millisecond

	sizeofIPv6 = 40
	sizeofNS   = 24 // without options (RFC 4861 section 4.3); an advertisement is as long
)

// taking is what is known of a link-local address that another node has.
type taking struct {
	by    string // its MAC, empty while nobody has said so
	tried time.Time
}

// askTaken asks who has the link-local addresses of ours that failed duplicate address detection, in the background. It
// is called with p.mu.
func (w *watcher) askTaken(s *snapshot, names []string) {
	now, taken := w.p.now(), map[addrID]taking{}
	for _, a := range s.addrs {
		if !a.takenLinkLocal() || !slices.Contains(names, s.ifname(a.index)) {
			continue
		}
		id := addrID{a.index, a.prefix.Addr()}
		t := w.p.taken[id]
		if t.by == "" && now.Sub(t.tried) >= takenRetry {
			t.tried = now
			w.wg.Add(1)
			go w.findTaker(id)
		}
		taken[id] = t
	}
	w.p.taken = taken
}

// askAgain is the time for those whose question nobody has answered.
func (p *Plane) askAgain() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for _, t := range p.taken {
		if t.by == "" && now.Sub(t.tried) >= takenRetry {
			return true
		}
	}
	return false
}

func (w *watcher) findTaker(id addrID) {
	defer w.wg.Done()
	by, err := w.solicit(id)
	if err != nil {
		w.p.log.Debug("who has our link-local address is not known", "addr", id.ip, "err", err)
		return
	}
	w.p.mu.Lock()
	taken := maps.Clone(w.p.taken) // snapshots share it
	if t, ok := taken[id]; ok {
		t.by = by
		taken[id] = t
	}
	w.p.taken = taken
	w.p.mu.Unlock()
	w.change(func() { w.look = true })
}

// solicit asks as duplicate address detection does, from the unspecified address: whoever has the address answers to
// all nodes and learns nothing wrong (RFC 4862 section 5.4.2, RFC 4861 section 7.2.4).
func (w *watcher) solicit(id addrID) (mac string, err error) {
	order := binary.BigEndian.AppendUint16(nil, unix.ETH_P_IPV6)
	fd := -1
	if err = w.p.ns.do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) // hears nothing before Bind
		return err
	}); err != nil {
		return "", err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(order), Ifindex: id.index, Halen: 6}
	ip := id.ip.As16()
	copy(to.Addr[:], []byte{0x33, 0x33, 0xff, ip[13], ip[14], ip[15]})
	tv := unix.NsecToTimeval(takenPoll.Nanoseconds())
	if err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: to.Protocol, Ifindex: id.index}),
		unix.Sendto(fd, solicitation(id.ip), 0, to)); err != nil {
		return "", err
	}
	buf := make([]byte, 256)
	for end := time.Now().Add(takenWait); time.Now().Before(end); {
		select {
		case <-w.done:
			return "", net.ErrClosed
		default:
		}
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return "", err
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Halen == 6 && ll.Pkttype != unix.PACKET_OUTGOING && advertises(buf[:n], id.ip) {
			return net.HardwareAddr(ll.Addr[:6]).String(), nil
		}
	}
	return "", errors.New("no answer")
}

// solicitation is a Neighbor Solicitation from the unspecified address.
func solicitation(target netip.Addr) []byte {
	ip := target.As16()
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: ip[13], 14: ip[14], 15: ip[15]})
	b := make([]byte, sizeofIPv6+sizeofNS)
	b[0], b[5], b[6], b[7] = 6<<4, sizeofNS, unix.IPPROTO_ICMPV6, ndHopLimit
	g := group.As16()
	copy(b[24:], g[:])
	ns := b[sizeofIPv6:]
	ns[0] = ndNS
	copy(ns[8:], ip[:])
	binary.BigEndian.PutUint16(ns[2:], ip6pkt.Checksum(netip.IPv6Unspecified(), group, unix.IPPROTO_ICMPV6, ns))
	return b
}

// advertises says whether the packet is a Neighbor Advertisement for the address. Its sender is who has it, or a proxy:
// the frame says so as well as the option does.
func advertises(b []byte, target netip.Addr) bool {
	if len(b) < sizeofIPv6+sizeofNS || b[6] != unix.IPPROTO_ICMPV6 || b[7] != ndHopLimit {
		return false
	}
	na := b[sizeofIPv6:]
	return na[0] == ndNA && na[1] == 0 && netip.AddrFrom16([16]byte(na[8:24])) == target
}
