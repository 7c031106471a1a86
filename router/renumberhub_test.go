// SPDX-License-Identifier: MIT

package router

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/ip6pkt"
	"oasis6/tun"
	"oasis6/tun/health"
)

// farewell is how a hub lets go of a prefix.
type farewell uint8

const (
	namedZero  farewell = iota // in the Reply with lifetimes 0; packets from it die at the hub at once
	deprecated                 // in the Reply with preferred lifetime 0 and valid farewellValid: it is carried so long
	unnamed                    // left out of the Reply; it is carried to the end of its valid lifetime
	noBinding                  // the hub knows nothing of the IA and says so; it carries the new prefix only
	farewells
)

func (f farewell) String() string {
	return [...]string{"old named with 0/0", "old deprecated, carried", "old left out, carried", "NoBinding"}[f]
}

// carried says whether the hub goes on carrying the old prefix for as long as the box may use it.
func (f farewell) carried() bool { return f == deprecated || f == unnamed }

// farewellValid is longer than any host needs for duplicate address detection.
const farewellValid = 10 * time.Minute

// renumberingHub is the model hub with what it takes to renumber: it forwards what it carries only, says farewell in
// several ways and sends a Reconfigure. It outlives the processes of the box; each has a hub of its own below.
type renumberingHub struct {
	*hub
	routed   map[netip.Prefix]time.Time // until when packets from it pass; the present prefix always does
	old      netip.Prefix               // of the last renumbering
	how      farewell
	ends     time.Time // of a deprecated one, as the box was told; zero: it was not
	refuse   bool      // the next Renew or Rebind is answered NoBinding
	boxID    dhcpv6.DUID
	serverID dhcpv6.DUID
	replay   uint64
	watching bool // for data that leaves (health.Actions.Watch)
}

var reconfigureKey = dhcpv6.ReconfigureKey([]byte("0123456789abcdef"))

func (h *renumberingHub) Perform(a health.Actions, s health.Sample) {
	h.watching = a.Watch
	h.hub.Perform(a, s)
}

// Send answers DHCPv6 itself and leaves the rest to the model hub.
func (h *renumberingHub) Send(p []byte) error {
	u, err := ip6pkt.ParseUDP(p)
	if err != nil || !h.answering {
		return h.hub.Send(p)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sample.DataSent++
	h.sample.Life += 100
	m, _, err := dhcpv6.ParseMessage(u.Payload)
	if err != nil {
		return err
	}
	h.boxID = m.ClientID
	h.events <- tun.Received{Packet: ip6pkt.UDP(netip.MustParseAddr("fe80::1"), boxLL, dhcpv6.ServerPort, dhcpv6.ClientPort, 64, h.reply(m).Append(nil))}
	return nil
}

// reply is the answer to any message: all that ask get the present prefix.
func (h *renumberingHub) reply(m dhcpv6.Message) dhcpv6.Message {
	h.serverID = dhcpv6.DUID("\x00\x02\x00\x00\x7e\xd9\x01")
	r := dhcpv6.Message{Type: dhcpv6.Reply, XID: m.XID, ClientID: m.ClientID, ServerID: h.serverID, RapidCommit: m.RapidCommit}
	if m.ReconfigureAccept {
		r.ReconfigureAccept, r.Auth = true, rkap(h.replay, 1, reconfigureKey[:])
	}
	for _, ia := range m.IAs {
		r.IAs = append(r.IAs, h.grant(m.Type, ia))
	}
	if m.Type == dhcpv6.Renew || m.Type == dhcpv6.Rebind {
		h.refuse = false
	}
	return r
}

func (h *renumberingHub) grant(asked dhcpv6.MessageType, ia dhcpv6.IA) dhcpv6.IA {
	out := dhcpv6.IA{Type: ia.Type, IAID: ia.IAID}
	if h.refuse && (asked == dhcpv6.Renew || asked == dhcpv6.Rebind) {
		out.Status = dhcpv6.Status{Code: dhcpv6.NoBinding}
		return out
	}
	out.Prefixes = []dhcpv6.IAPrefix{{Prefix: h.prefix, Preferred: uint32(h.preferred / time.Second), Valid: uint32(h.valid / time.Second)}}
	switch {
	case !h.old.IsValid() || h.old == h.prefix:
	case h.how == namedZero:
		out.Prefixes = append(out.Prefixes, dhcpv6.IAPrefix{Prefix: h.old})
	case h.how == deprecated:
		if h.ends.IsZero() {
			h.ends = time.Now().Add(farewellValid)
		}
		left := time.Until(h.ends) / time.Second
		out.Prefixes = append(out.Prefixes, dhcpv6.IAPrefix{Prefix: h.old, Valid: uint32(max(left, 0))})
	}
	return out
}

// rkap is an Authentication option of the Reconfiguration Key Authentication Protocol (RFC 9915 section 20.4.1).
func rkap(replay uint64, typ byte, value []byte) *dhcpv6.Auth {
	return &dhcpv6.Auth{Protocol: 3, Algorithm: 1, Replay: replay, Info: append([]byte{typ}, value...)}
}

// renumber gives the box another prefix with its next message.
func (h *renumberingHub) renumber(to netip.Prefix, how farewell) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.old, h.how, h.prefix, h.refuse = h.prefix, how, to, how == noBinding
	delete(h.routed, to)
	h.ends = time.Time{}
	if how.carried() { // for longer than the box may use it
		h.routed[h.old] = time.Now().Add(2 * h.valid)
	}
}

// reconfigure makes the box ask at once (RFC 9915 section 18.3.11).
func (h *renumberingHub) reconfigure(wants dhcpv6.MessageType) {
	h.replay++
	m := dhcpv6.Message{Type: dhcpv6.Reconfigure, ClientID: h.boxID, ServerID: h.serverID,
		ReconfigureMessage: wants, Auth: rkap(h.replay, 2, make([]byte, 16))}
	b := m.Append(nil)
	marker := append(binary.BigEndian.AppendUint64([]byte{3, 1, 0}, h.replay), 2)
	at := bytes.Index(b, marker) + len(marker)
	mac := hmac.New(md5.New, reconfigureKey[:])
	_, _ = mac.Write(b) // a hash takes everything
	copy(b[at:], mac.Sum(nil))
	h.events <- tun.Received{Packet: ip6pkt.UDP(netip.MustParseAddr("fe80::1"), boxLL, dhcpv6.ServerPort, dhcpv6.ClientPort, 64, b)}
}

// carries says whether packets from a source pass the hub.
func (h *renumberingHub) carries(src netip.Addr) bool {
	if h.prefix.Contains(src) {
		return true
	}
	for p, until := range h.routed {
		if p.Contains(src) && until.After(time.Now()) {
			return true
		}
	}
	return false
}

// traffic is what the tunnel's counters show of the LAN's packets.
func (h *renumberingHub) traffic() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sample.DataSent++
	if h.answering {
		h.sample.Life += 100
	}
	if h.watching {
		h.watching = false
		h.events <- tun.Activity{}
	}
}
