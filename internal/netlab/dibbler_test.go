// SPDX-License-Identifier: MIT

package netlab

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// Dibbler delegates over the tunnel, hands out a key, and signs its Reconfigure with it.
func TestDibblerSignsReconfigure(t *testing.T) {
	w := NewWorld(t, WorldConfig{NoDHCPv6: true})
	w.StartR2()
	p := w.StartDibbler()
	c := newTestClient(t, w)
	accept := &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionReconfAccept}
	server := c.Must(dhcpv6.MessageTypeSolicit, nil, accept, iapd(1)).Options.ServerID()
	m := c.Must(dhcpv6.MessageTypeRequest, server, accept, iapd(1))
	if got := prefixes(m, 1); len(got) != 1 || !strings.HasPrefix(got[0], "2001:db8:ebbd:99") || !strings.HasSuffix(got[0], keaLifetimes) {
		t.Errorf("Request: %v", got)
	}
	// 3 is the protocol, 1 the algorithm, 0 the replay detection method; then 8 octets of replay detection, and a type.
	auth := m.GetOneOption(dhcpv6.OptionAuth)
	if auth == nil || len(auth.ToBytes()) != 28 || !bytes.HasPrefix(auth.ToBytes(), []byte{3, 1, 0}) || auth.ToBytes()[11] != 1 {
		t.Fatalf("no key in %s", m.Summary())
	}
	key := auth.ToBytes()[12:]

	p = w.DibblerRenumber(p, netip.MustParsePrefix("2001:db8:ebbd:bb00::/56"))
	buf := make([]byte, 2000)
	if err := c.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := c.conn.Read(buf)
	if err != nil {
		t.Fatalf("no Reconfigure: %v\n%s", err, p.Output())
	}
	buf = buf[:n]
	m, err = dhcpv6.MessageFromBytes(buf)
	if err != nil || m.MessageType != dhcpv6.MessageTypeReconfigure || m.GetOneOption(dhcpv6.OptionAuth) == nil {
		t.Fatalf("%v %s, want a Reconfigure with authentication", err, m)
	}
	digest := m.GetOneOption(dhcpv6.OptionAuth).ToBytes()[12:]
	mac := hmac.New(md5.New, key)
	mac.Write(bytes.Replace(buf, digest, make([]byte, md5.Size), 1))
	if !hmac.Equal(mac.Sum(nil), digest) {
		t.Errorf("digest %x is not that of the key %x over %x", digest, key, buf)
	}
}
