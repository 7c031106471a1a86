// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

func TestApplyMakesTheWorldAndRestoreUnmakesIt(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	routes := w.box.Run("ip", "-6", "route", "show", "proto", "66")
	for _, want := range []string{
		"default from 2001:db8:ebbd:990a::/64 dev oasis0 metric 1024",
		"default dev oasis0 metric 4096",
		"2001:db8:ebbd:990a::/64 dev br-lan metric 256",
		"unreachable 2001:db8:ebbd:990a::/64 dev lo metric 1073741824",
		"fe80::/64 dev oasis0 metric 256",
	} {
		if !strings.Contains(routes, want) {
			t.Errorf("routes of ours lack %q:\n%s", want, routes)
		}
	}
	if got := w.box.Run("ip", "-6", "-br", "address", "show", "dev", "oasis0"); strings.Count(got, "fe80:") != 1 || !strings.Contains(got, "fe80::1/64") {
		t.Errorf("oasis0 has other link-local addresses than ours: %s", got)
	}
	w.pingFromH1(testFarAddr)
	w.quiet(200 * time.Millisecond)
	w.mustBe("IPv4", w.ipv4(), w.beforeIPv4)

	w.restore()
	w.box.Run("ip", "link", "del", "oasis0")
	w.mustBe("net.ipv6.conf", w.sysctls(), w.before)
	w.mustBe("IPv4", w.ipv4(), w.beforeIPv4)
	if got := w.box.Run("nft", "list", "tables", "ip6"); got != "" {
		t.Errorf("left after Restore: %s", got)
	}
	if got := w.box.Run("ip", "-6", "route", "show", "proto", "66"); got != "" {
		t.Errorf("left after Restore: %s", got)
	}
	if got := w.box.Run("ip", "-6", "address", "show", "dev", "br-lan", "scope", "global"); got != "" {
		t.Errorf("left after Restore: %s", got)
	}
}

// A tunnel device as the real one: no Ethernet, no MAC, one end only.
func TestTunnelHasOnlyOurLinkLocal(t *testing.T) {
	w := newWorld(t)
	w.box.Run("ip", "link", "del", "oasis0")
	w.box.Run("ip", "tuntap", "add", "oasis0", "mode", "tun")
	w.open()
	if err := w.plane.Watch([]string{"oasis0"}); err != nil {
		t.Fatal(err)
	}
	l := w.link("oasis0", func(dataplane.Link) bool { return true })
	if l.HasMAC || !l.Exists || l.Up {
		t.Errorf("tunnel before Apply: %+v", l)
	}
	if err := w.plane.Apply(t.Context(), w.desired()); err != nil {
		t.Fatal(err)
	}
	w.link("oasis0", func(l dataplane.Link) bool { return l.MTU == 1420 && l.LinkLocal == netip.MustParseAddr("fe80::1") })
	w.quiet(300 * time.Millisecond)
	if got := w.box.Run("ip", "-6", "-o", "address", "show", "dev", "oasis0"); strings.Count(got, "inet6") != 1 {
		t.Errorf("oasis0 has other addresses than ours: %s", got)
	}
	for name, want := range map[string]string{"accept_ra": "0", "addr_gen_mode": "1", "accept_redirects": "0", "autoconf": "0"} {
		if got := w.box.SysctlGet("net.ipv6.conf.oasis0." + name); got != want {
			t.Errorf("oasis0.%s = %s, want %s", name, got, want)
		}
	}
}

// An address that runs out is deprecated where it is: neither it nor its route goes for a moment.
func TestDeprecatedInPlace(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	w.lanReady()
	mon := w.box.Start("ip", "monitor", "address", "route")
	w.box.WaitFor(3*time.Second, "monitor ready", func() bool {
		w.box.Run("ip", "-6", "route", "replace", "blackhole", "2001:db8:aaaa::/64", "proto", "static")
		return mon.Output() != ""
	})
	show := func() string { return w.box.Run("ip", "-6", "address", "show", "dev", "br-lan", "scope", "global") }
	old := w.desired()
	old.Addresses[1].Deprecated = true
	w.apply(old)
	if !strings.Contains(show(), "deprecated") || !strings.Contains(show(), testBoxAddr) {
		t.Errorf("not deprecated: %s", show())
	}
	w.apply(w.desired())
	if strings.Contains(show(), "deprecated") || !strings.Contains(show(), testBoxAddr) {
		t.Errorf("still deprecated: %s", show())
	}
	w.quiet(200 * time.Millisecond)
	if strings.Contains(mon.Output(), "Deleted") {
		t.Errorf("something was deleted:\n%s", mon.Output())
	}
}

// lossy says that the kernel threw messages away, then nothing more.
type lossy struct {
	n    int
	done <-chan struct{}
}

func (l *lossy) Receive() ([]syscall.NetlinkMessage, *unix.SockaddrNetlink, error) {
	if l.n++; l.n == 1 {
		return nil, nil, unix.ENOBUFS
	}
	<-l.done
	return nil, nil, errors.New("closed")
}

func TestLostEventsAreDrift(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.apply(w.desired())
	w.lanReady()
	p.watch.wg.Add(1)
	go p.watch.read(&lossy{done: p.watch.done}, func(syscall.NetlinkMessage) {})
	w.drift(driftWithin, "kernel events lost")
	w.quiet(200 * time.Millisecond)
}
