// SPDX-License-Identifier: MIT

// Package trouble is what nobody wants on a LAN, to see what comes of it. A router that has no business there is an
// inet6.Router that advertises.
//
// Start at NewClaimant.
package trouble

import (
	"encoding/binary"
	"net/netip"

	"oasis6/internal/ip6pkt"
	"oasis6/lab/engine"
	"oasis6/lab/wire"
)

// Claimant says of addresses that they are its own, when somebody looks whether they are free (RFC 4862 section 5.4). Only
// the engine's goroutine may call it.
type Claimant struct {
	e     *engine.Engine
	port  wire.End
	claim func(netip.Addr) bool
	took  []netip.Addr
}

// NewClaimant takes the port; nothing is claimed yet.
func NewClaimant(e *engine.Engine, port wire.End) *Claimant {
	c := &Claimant{e: e, port: port}
	port.Attach(c.receive, nil)
	return c
}

// Claim claims addresses for which f holds from now on; nil: none.
func (c *Claimant) Claim(f func(netip.Addr) bool) { c.claim = f }

// Took are the addresses that were claimed, in their order.
func (c *Claimant) Took() []netip.Addr { return c.took }

// Of Neighbor Discovery (RFC 4861 sections 4.3 and 4.4).
const (
	etherType     = 0x86dd
	typeNS        = 135
	typeNA        = 136
	ndHopLimit    = 255
	nsLength      = 24
	overrideFlag  = 0x20
	optTargetLink = 2
)

func (c *Claimant) receive(frame []byte) {
	if c.claim == nil || binary.BigEndian.Uint16(frame[12:]) != etherType {
		return
	}
	m, err := ip6pkt.ParseICMPv6(frame[wire.Header:])
	if err != nil || m.HopLimit != ndHopLimit || len(m.Body) < nsLength || m.Body[0] != typeNS || !m.Src.IsUnspecified() {
		return
	}
	target := netip.AddrFrom16([16]byte(m.Body[8:]))
	if !c.claim(target) {
		return
	}
	c.took = append(c.took, target)
	own, t := c.port.MAC(), target.As16()
	na := append([]byte{typeNA, 0, 0, 0, overrideFlag, 0, 0, 0}, t[:]...)
	na = append(append(na, optTargetLink, 1), own[:]...)
	f := append([]byte{0x33, 0x33, 0, 0, 0, 1}, own[:]...) // RFC 2464 section 7
	f = binary.BigEndian.AppendUint16(f, etherType)
	_ = c.port.Send(append(f, ip6pkt.ICMPv6(target, netip.IPv6LinkLocalAllNodes(), ndHopLimit, na)...)) // it is attached
}
