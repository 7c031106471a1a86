// SPDX-License-Identifier: MIT

//go:build small

package kernel

import (
	"strings"
	"testing"

	"oasis6/dataplane"
)

func TestHubIsRefusedInTheSmallBuild(t *testing.T) {
	w := newWorld(t)
	w.open()
	for _, d := range []dataplane.Desired{
		{Forward: true, Hub: dataplane.HubFirewall{Tunnel: "oasis0"}},
		{Proxy: []dataplane.NDProxy{{Iface: "eth0"}}},
	} {
		if err := w.plane.Apply(t.Context(), d); err == nil || !strings.Contains(err.Error(), "not in this build") {
			t.Errorf("Apply of\n%s= %v", d, err)
		}
	}
	if got := w.box.SysctlGet("net.ipv6.conf.all.forwarding"); got != "0" {
		t.Errorf("forwarding = %s", got)
	}
}
