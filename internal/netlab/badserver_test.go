// SPDX-License-Identifier: MIT

package netlab

import (
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// The program on the wire, asked by a client of another library.
func TestBadServerIsGoodUntilTold(t *testing.T) {
	w := NewWorld(t, WorldConfig{NoDHCPv6: true})
	w.StartR2()
	b := w.StartBadServer("good", "-t1=10", "-valid=90")
	c := newTestClient(t, w)
	m := c.Must(dhcpv6.MessageTypeSolicit, nil, iapd(1))
	server := m.Options.ServerID()
	const want = "2001:db8:ebbd:9900::/64 1m0s/1m30s"
	if got := prefixes(m, 1); m.MessageType != dhcpv6.MessageTypeAdvertise || !slices.Equal(got, []string{want}) {
		t.Errorf("Solicit: %s %v, want an Advertise of %s", m.MessageType, got, want)
	}
	accept := &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionReconfAccept}
	if got := prefixes(c.Must(dhcpv6.MessageTypeRequest, server, iapd(1), accept), 1); !slices.Equal(got, []string{want}) {
		t.Errorf("Request: %v, want %s", got, want)
	}
	b.Mode("renew:pd=NoBinding,thrice")
	m = c.Must(dhcpv6.MessageTypeRenew, server, iapd(1, "2001:db8:ebbd:9900::/64"))
	if s := m.Options.IAPD()[0].Options.Status(); s == nil || s.StatusCode != 3 {
		t.Errorf("Renew: %s, want NoBinding", m.Summary())
	}
	if !Poll(5*time.Second, func() bool { return b.Got("RENEW ") == 1 }) { // the output comes by another way
		t.Errorf("%d Renews were counted, want 1:\n%s", b.Got("RENEW "), b.Output())
	}
	b.Reconfigure("renew")
	if err := c.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	for { // the two copies of the Reply come before
		n, err := c.conn.Read(buf)
		if err != nil {
			t.Fatalf("no Reconfigure: %v\n%s", err, b.Output())
		}
		if m, err := dhcpv6.MessageFromBytes(buf[:n]); err == nil && m.MessageType == dhcpv6.MessageTypeReconfigure {
			break
		}
	}
}
