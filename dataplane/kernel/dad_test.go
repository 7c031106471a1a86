// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

// An address that another node has: named at once, named by Apply, no endless Drift; tried again not more
// often than every 30 s; usable when the other is gone.
func TestDuplicateAddressIsNamedAndComesBack(t *testing.T) {
	w := newWorld(t)
	const ip = "2001:db8:ebbd:990a::5"
	const text = "address " + ip + "/64 dev br-lan: another node on the link uses it"
	w.h1.Run("ip", "-6", "address", "add", ip+"/64", "dev", "eth0", "nodad")
	start := time.Now()
	var later atomic.Int64
	w.clock = func() time.Time { return start.Add(time.Duration(later.Load())) }
	w.open()
	w.apply(w.desired())
	w.lanReady()
	d := w.desired()
	d.Addresses = append(d.Addresses, dataplane.Address{Iface: "br-lan", Prefix: netip.MustParsePrefix(ip + "/64")})
	state := func() string { return w.box.Run("ip", "-6", "-o", "address", "show", "dev", "br-lan", "to", ip) }
	failed := func() bool { return strings.Contains(state(), "dadfailed") }
	fails := func(when string) {
		t.Helper()
		if err := w.plane.Apply(t.Context(), d); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Apply %s = %v, want %q", when, err, text)
		}
	}
	w.apply(d)
	w.drift(5*time.Second, text)
	// How soon the kernel finds out again is chance: from at once to a second. That it was asked to is in the news.
	news := w.box.Start("ip", "-6", "-o", "monitor", "address")
	w.box.WaitFor(3*time.Second, "the monitor to listen", func() bool {
		w.box.Run("ip", "-6", "address", "replace", "fe80::77/64", "dev", "lo")
		return news.Output() != ""
	})
	fails("after the Drift")
	if !news.WaitOutput(5*time.Second, "Deleted") {
		t.Errorf("not tried again: %s", state())
	}
	news.Kill()
	w.box.WaitFor(5*time.Second, "DAD to fail again", failed)
	w.quiet(500 * time.Millisecond)
	w.h1.Run("ip", "-6", "address", "del", ip+"/64", "dev", "eth0")
	later.Store(int64(dadRetry - time.Nanosecond))
	fails("just before 30 s")
	if !failed() {
		t.Errorf("tried again before 30 s: %s", state())
	}
	later.Store(int64(dadRetry))
	fails("after 30 s")
	w.drift(5*time.Second, "address "+ip+"/64 dev br-lan is usable again")
	w.apply(d)
	w.pingFromH1(ip)
	w.quiet(150 * time.Millisecond)
	w.apply(w.desired())
	if got := state(); got != "" {
		t.Errorf("it was not ours any more, so it stayed: %s", got)
	}
}

// A duplicate that is about to be removed is no reason for Restore to fail.
func TestRestoreWithADuplicateAddress(t *testing.T) {
	w := newWorld(t)
	const ip = "2001:db8:ebbd:990a::6/64"
	w.h1.Run("ip", "-6", "address", "add", ip, "dev", "eth0", "nodad")
	w.open()
	w.apply(w.desired())
	w.lanReady()
	d := w.desired()
	d.Addresses = append(d.Addresses, dataplane.Address{Iface: "br-lan", Prefix: netip.MustParsePrefix(ip)})
	w.apply(d)
	w.drift(5*time.Second, "another node")
	w.restore()
	w.box.Run("ip", "link", "del", "oasis0")
	w.mustBe("net.ipv6.conf", w.sysctls(), w.before)
	if _, err := os.Stat(w.runDir + "/kernel.json"); err == nil {
		t.Error("kernel.json is still there")
	}
}

func TestRestoreWithoutAWritableRun(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"a file in its place": func(t *testing.T, dir string) {
			if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		},
		"full": func(t *testing.T, dir string) {
			b := make([]byte, 1<<20)
			if err := os.WriteFile(dir+"/filler", b, 0o600); !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("filling: %v, want no space", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.runDir += "/run"
			if err := os.Mkdir(w.runDir, 0o755); err != nil {
				t.Fatal(err)
			}
			if name == "full" {
				if err := unix.Mount("tmpfs", w.runDir, "tmpfs", 0, "size=64k"); err != nil {
					t.Fatalf("mount a tmpfs: %v", err)
				}
				t.Cleanup(func() { _ = unix.Unmount(w.runDir, unix.MNT_DETACH) })
			}
			w.open()
			w.apply(w.desired())
			spoil(t, w.runDir)
			// What vanished meanwhile makes the memory another, which cannot be written.
			w.box.Run("ip", "-6", "address", "del", testBoxAddr, "dev", "br-lan")
			if err := w.plane.Restore(t.Context()); err != nil {
				t.Errorf("Restore: %v", err)
			}
			w.plane.Close()
			w.box.Run("ip", "link", "del", "oasis0")
			w.mustBe("net.ipv6.conf", w.sysctls(), w.before)
			if got := w.box.Run("nft", "list", "tables", "ip6") + w.box.Run("ip", "-6", "route", "show", "proto", "66"); got != "" {
				t.Errorf("left after Restore: %s", got)
			}
			if _, err := os.Stat(w.runDir + "/kernel.json"); err == nil {
				t.Error("kernel.json is still there")
			}
		})
	}
}

func TestSecondBoxInTheNamespaceIsRefused(t *testing.T) {
	w := newWorld(t)
	first := w.open()
	open := func() (p *Plane, err error) {
		err = w.box.Do(func() (err error) {
			p, err = Open(Options{RunDir: t.TempDir(), BootID: "boot-1"})
			return err
		})
		return p, err
	}
	if p, err := open(); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open = %v, %v, want ErrInUse", p, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	_ = w.open().Close() // with patience: see there
}
