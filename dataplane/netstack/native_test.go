// SPDX-License-Identifier: MIT

package netstack

import (
	"net/netip"
	"slices"
	"testing"
)

func TestAdvertisedRouters(t *testing.T) {
	const (
		all  = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
		end  = " 00000400 00000001 00000000 "
		text = all + "fe800000000000000000000000000099" + end + "00450003   br-lan\n" +
			all + "fe800000000000000000000000000098" + end + "00450003     eth0\n" + // elsewhere
			all + "fe800000000000000000000000000097" + end + "00000003   br-lan\n" + // by hand
			all + "00000000000000000000000000000000" + end + "00040001   br-lan\n" + // a prefix on the link
			all + "fe80" + end + "00450003   br-lan\n" + all + "fe800000000000000000000000000096" + end + "x   br-lan\nnonsense\n"
	)
	want := []netip.Addr{netip.MustParseAddr("fe80::99")}
	if got := advertisedRouters(text, "br-lan"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func FuzzAdvertisedRouters(f *testing.F) {
	f.Add("00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000099 00000400 00000001 00000000 00450003 br-lan\n")
	f.Fuzz(func(t *testing.T, text string) {
		if n := len(advertisedRouters(text, "br-lan")); n > len(text)/50 {
			t.Errorf("%d routers in %d octets", n, len(text))
		}
	})
}
