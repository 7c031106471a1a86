// SPDX-License-Identifier: MIT

package config

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The sweep over sorted prefixes refuses exactly what the comparison of each with each does.
func TestOverlapsAgainstASlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
			var a [16]byte
			binary.BigEndian.PutUint32(a[:], 0x20010db8)
			a[7] = rapid.Uint8Range(0, 63).Draw(t, "subnet") // of a /58
			return netip.PrefixFrom(netip.AddrFrom16(a), rapid.IntRange(60, 64).Draw(t, "length")).Masked()
		})
		pools := rapid.SliceOfN(prefix, 1, 4).Draw(t, "pools")
		reserved := rapid.SliceOfN(prefix, 0, 4).Draw(t, "reserved")
		addresses := rapid.SliceOfN(prefix, 0, 2).Draw(t, "addresses")

		text := iface
		for i, a := range addresses {
			text += fmt.Sprintf("Address = %s/%d\n", a.Addr().Next(), 128-64*i)
		}
		text += "[Hub]\nPool = " + strings.Trim(fmt.Sprint(pools), "[]") + "\n"
		if len(reserved) > 0 {
			text += site(publicText, "Prefix = "+strings.Trim(fmt.Sprint(reserved), "[]"))
		}
		wrong := false
		var bound []netip.Prefix // of the tunnel
		for i, a := range addresses {
			p := netip.PrefixFrom(a.Addr().Next(), 128-64*i)
			wrong = wrong || i > 0 && addresses[0].Addr() == a.Addr() // one address, two lengths
			bound = append(bound, p)
		}
		each := func(list []netip.Prefix) {
			for i, p := range list {
				for _, q := range list[:i] {
					wrong = wrong || p.Overlaps(q)
				}
			}
		}
		each(pools)
		each(reserved)
		for _, a := range bound {
			for _, p := range pools {
				wrong = wrong || a.Bits() <= p.Bits() && a.Overlaps(p)
			}
			for _, r := range reserved {
				wrong = wrong || a.Overlaps(r)
			}
		}
		for _, r := range reserved {
			for _, p := range pools {
				wrong = wrong || r.Bits() <= p.Bits() && r.Overlaps(p)
			}
		}
		_, _, err := ParseHub("f", strings.NewReader(text))
		if (err != nil) != wrong {
			t.Fatalf("ParseHub(%q) = %v, want an error: %v", text, err, wrong)
		}
	})
}
