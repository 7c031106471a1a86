// SPDX-License-Identifier: MIT

package netlab

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// DHCPv6 is a DHCPv6 message seen on a wire, decoded by another library than ours.
type DHCPv6 struct {
	At  time.Time
	Src netip.Addr
	Msg *dhcpv6.Message
}

// DHCPv6Watch collects the DHCPv6 messages of a client.
type DHCPv6Watch struct{ watch[DHCPv6] }

// WatchDHCPv6 listens at R2's end of the tunnel for what the box sends to a DHCPv6 server, whichever
// runs there. R2 must be running; StopR2 ends it.
func (w *World) WatchDHCPv6() *DHCPv6Watch {
	w.T.Helper()
	d := &DHCPv6Watch{}
	w.R2.readIPv6("wg0", func(b []byte) {
		if m, ok := parseDHCPv6(b); ok {
			d.add(m)
		}
	})
	return d
}

// parseDHCPv6 takes a packet to a DHCPv6 server's port.
func parseDHCPv6(b []byte) (m DHCPv6, ok bool) {
	const udp, headers, serverPort = 17, 40 + 8, 547
	if len(b) < headers || b[0]>>4 != 6 || b[6] != udp || binary.BigEndian.Uint16(b[42:]) != serverPort {
		return m, false
	}
	msg, err := dhcpv6.MessageFromBytes(b[headers:min(len(b), 40+int(binary.BigEndian.Uint16(b[4:])))])
	if err != nil {
		return m, false
	}
	m = DHCPv6{At: time.Now(), Msg: msg}
	m.Src, _ = netip.AddrFromSlice(b[8:24]) // 16 octets: cannot fail
	return m, true
}

// Count is how many messages of a type were seen.
func (w *DHCPv6Watch) Count(t dhcpv6.MessageType) (n int) {
	for _, m := range w.All() {
		if m.Msg.MessageType == t {
			n++
		}
	}
	return n
}

// Busiest is the greatest number of messages that came within any span of that length.
func (w *DHCPv6Watch) Busiest(span time.Duration) (most int) {
	all := w.All()
	for first, last := 0, 0; last < len(all); last++ {
		for all[last].At.Sub(all[first].At) > span {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}
