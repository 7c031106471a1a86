// SPDX-License-Identifier: MIT

package note

import "testing"

func TestDetail(t *testing.T) {
	for _, tc := range []struct {
		kv   []string
		want string
	}{
		{nil, ""},
		{[]string{"prefix", "2001:db8::/64", "iface", "br-lan"}, "prefix=2001:db8::/64 iface=br-lan"},
		{[]string{"err"}, "err="},
	} {
		if got := New(Info, "x", tc.kv...).Detail(); got != tc.want {
			t.Errorf("Detail of %q = %q, want %q", tc.kv, got, tc.want)
		}
	}
}
