// SPDX-License-Identifier: MIT

package kernel

import (
	"strings"
	"testing"
	"time"

	"oasis6/dataplane"
)

// Another node has the link-local address of the LAN: the address and the node are named; and no longer when it is over.
func TestDuplicateLinkLocalIsNamed(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	w.lanUp()
	var own string
	for _, f := range strings.Fields(w.box.Run("ip", "-6", "-o", "address", "show", "dev", "br-lan", "scope", "link")) {
		if strings.HasPrefix(f, "fe80::") {
			own = f
		}
	}
	ip, _, _ := strings.Cut(own, "/")
	w.h1.Run("ip", "-6", "address", "add", ip+"/64", "dev", "eth0", "nodad")
	mac := strings.TrimSpace(w.h1.Run("cat", "/sys/class/net/eth0/address"))
	w.box.Run("ip", "-6", "address", "del", own, "dev", "br-lan")
	w.box.Run("ip", "-6", "address", "add", own, "dev", "br-lan")
	start := time.Now()
	l := w.link("br-lan", func(l dataplane.Link) bool { return l.TakenBy != "" })
	if l.Taken.String() != ip || l.TakenBy != mac || l.LinkLocal.IsValid() {
		t.Errorf("Link = %+v, want %s taken by %s", l, ip, mac)
	}
	t.Logf("named after %v", time.Since(start))
	if got := w.box.Run("ip", "-6", "-o", "address", "show", "dev", "br-lan", "to", ip); !strings.Contains(got, "dadfailed") {
		t.Errorf("asking has changed the address: %s", got)
	}
	w.h1.Run("ip", "-6", "address", "del", ip+"/64", "dev", "eth0")
	w.box.Run("ip", "-6", "address", "del", own, "dev", "br-lan")
	w.box.Run("ip", "-6", "address", "add", own, "dev", "br-lan")
	w.link("br-lan", func(l dataplane.Link) bool {
		return l.LinkLocal.String() == ip && !l.Taken.IsValid() && l.TakenBy == ""
	})
}

func TestAdvertisesLooksAtTheWholePacket(t *testing.T) {
	w := solicitation(linkLocalPrefix().Addr().Next())
	good := append([]byte(nil), w...)
	good[sizeofIPv6] = ndNA
	for name, c := range map[string]struct {
		spoil func(b []byte) []byte
		want  bool
	}{
		"as it should be": {func(b []byte) []byte { return b }, true},
		"a solicitation":  {func(b []byte) []byte { b[sizeofIPv6] = ndNS; return b }, false},
		"hop limit":       {func(b []byte) []byte { b[7] = 64; return b }, false},
		"code":            {func(b []byte) []byte { b[sizeofIPv6+1] = 1; return b }, false},
		"another target":  {func(b []byte) []byte { b[len(b)-1]++; return b }, false},
		"not ICMPv6":      {func(b []byte) []byte { b[6] = 17; return b }, false},
		"short":           {func(b []byte) []byte { return b[:len(b)-1] }, false},
	} {
		b := c.spoil(append([]byte(nil), good...))
		if got := advertises(b, linkLocalPrefix().Addr().Next()); got != c.want {
			t.Errorf("%s: advertises = %v, want %v", name, got, c.want)
		}
	}
}
