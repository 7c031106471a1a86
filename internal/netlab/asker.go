// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// StartForeign brings up R1's end of a tunnel to R2 without the box, by upstream wireguard-go with the site's key.
func (s *Site) StartForeign() *Proc {
	s.world.T.Helper()
	return s.R1.startWireGuard(WireGuard{Interface: HandMadeTunnel, Key: s.BoxKey.Reveal(), LinkLocal: s.linkLocal(),
		PeerKey: s.world.HubKey.Public().String(), Endpoint: fmt.Sprintf("%s:%d", R2v4, R2Port), Keepalive: 25,
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("::/0")}})
}

// Asker is a DHCPv6 client that sends what a test puts together.
type Asker struct {
	DUID dhcpv6.DUID // may be changed between messages
	lab  *Lab
	conn *net.UDPConn
	xid  byte
}

// Ask makes an Asker on the foreign tunnel of R1, which sends from that address.
func (s *Site) Ask(from netip.Addr, duid dhcpv6.DUID) *Asker {
	s.world.T.Helper()
	a := &Asker{DUID: duid, lab: s.world.Lab}
	err := s.R1.Do(func() (err error) {
		a.conn, err = net.ListenUDP("udp6", &net.UDPAddr{IP: from.AsSlice(), Zone: HandMadeTunnel, Port: 546})
		return err
	})
	if err != nil {
		s.world.T.Fatalf("%s: %v", s.R1.Name, err)
	}
	s.world.T.Cleanup(func() { _ = a.conn.Close() })
	return a
}

// Message puts a message together; server may be nil.
func (a *Asker) Message(typ dhcpv6.MessageType, server dhcpv6.DUID, options ...dhcpv6.Option) *dhcpv6.Message {
	a.xid++
	m := &dhcpv6.Message{MessageType: typ, TransactionID: dhcpv6.TransactionID{byte(typ), a.xid, 1}}
	m.AddOption(dhcpv6.OptClientID(a.DUID))
	if server != nil {
		m.AddOption(dhcpv6.OptServerID(server))
	}
	m.AddOption(dhcpv6.OptElapsedTime(0))
	for _, o := range options {
		m.AddOption(o)
	}
	return m
}

// Send sends octets to all DHCPv6 servers.
func (a *Asker) Send(b []byte) error {
	_, err := a.conn.WriteTo(b, &net.UDPAddr{IP: net.ParseIP("ff02::1:2"), Zone: HandMadeTunnel, Port: 547})
	return err
}

// Once sends octets, and returns the answer that has the transaction id if it comes in time, else nil.
func (a *Asker) Once(b []byte, xid dhcpv6.TransactionID, wait time.Duration) (*dhcpv6.Message, error) {
	if err := a.Send(b); err != nil {
		return nil, err
	}
	if err := a.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	buf := make([]byte, 2000)
	for {
		n, err := a.conn.Read(buf)
		if err != nil {
			return nil, nil // nothing came in time
		}
		if m, err := dhcpv6.MessageFromBytes(buf[:n]); err == nil && m.TransactionID == xid {
			return m, nil
		}
	}
}

// Must sends a message, again each second, until its answer comes.
func (a *Asker) Must(typ dhcpv6.MessageType, server dhcpv6.DUID, options ...dhcpv6.Option) *dhcpv6.Message {
	a.lab.T.Helper()
	m := a.Message(typ, server, options...)
	for range 5 {
		answer, err := a.Once(m.ToBytes(), m.TransactionID, time.Second)
		if err != nil {
			a.lab.T.Fatalf("send %s: %v", typ, err)
		}
		if answer != nil {
			return answer
		}
	}
	a.lab.T.Fatalf("no answer to %s", m.Summary())
	return nil
}
