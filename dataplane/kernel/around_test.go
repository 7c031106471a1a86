// SPDX-License-Identifier: MIT

package kernel

import (
	"strings"
	"testing"
	"time"
)

const testBox = "2001:db8:ebbd:990a::1"

// The box's own packets with a source of a delegation go by the tunnel or not at all, also when the
// tunnel is no more and a native default would take them.
func TestOwnPacketsNeverAroundTheTunnel(t *testing.T) {
	w := newWorld(t)
	const native = "2001:db8:1::1"
	w.nativeWAN(testBox, native)
	w.box.Run("ip", "-6", "address", "add", native+"/64", "dev", "eth0", "nodad")
	w.open()
	w.apply(w.desired())
	w.lanReady()
	w.box.Run("ip", "-6", "neigh", "replace", testFarAddr, "lladdr", strings.TrimSpace(w.far.Run("cat", "/sys/class/net/oasis0/address")), "dev", "oasis0")
	w.far.Run("ip", "-6", "neigh", "replace", testBox, "lladdr", w.mac("oasis0"), "dev", "oasis0")
	ping := func(src, to string) error {
		_, err := w.box.Try("ping", "-c1", "-W1", "-I", src, to)
		return err
	}
	for name, to := range map[string]string{"tunnel": testFarAddr, "LAN": testHostAddr, "lo": testBox} {
		w.box.WaitFor(5*time.Second, "own packets by "+name, func() bool { return ping(testBox, to) == nil })
	}
	w.box.Run("ip", "link", "del", "oasis0")
	w.box.WaitFor(5*time.Second, "own packets by the WAN with the WAN's source", func() bool {
		_ = ping(native, testFarAddr)
		return !strings.Contains(w.byWAN(native), "packets 0 ")
	})
	if err := ping(testBox, testFarAddr); err == nil {
		t.Error("answered without a tunnel")
	}
	if got := w.byWAN(testBox); !strings.Contains(got, "packets 0 ") {
		t.Errorf("left by the WAN: %s", got)
	}
	if got := w.counter("own, only by the tunnel"); strings.Contains(got, "packets 0 ") || strings.HasPrefix(got, "no rule") {
		t.Errorf("not counted: %s", got)
	}
	if err := ping(testBox, testHostAddr); err != nil {
		t.Errorf("to the LAN without a tunnel: %v", err)
	}
}

// A source of the LAN that comes in by the WAN is forged.
func TestForgedLANSourceFromTheWAN(t *testing.T) {
	w := newWorld(t)
	const native = "2001:db8:1::1"
	w.box.Run("ip", "-6", "address", "add", native+"/64", "dev", "eth0", "nodad")
	w.wan.Run("ip", "-6", "address", "add", "2001:db8:1::9/64", "dev", "eth0", "nodad")
	w.wan.Run("ip", "-6", "address", "add", "2001:db8:ebbd:990a::66/128", "dev", "lo", "nodad")
	w.open()
	w.apply(w.desired())
	w.wan.WaitFor(5*time.Second, "answer to a true source", func() bool {
		_, err := w.wan.Try("ping", "-c1", "-W1", native)
		return err == nil
	})
	_, _ = w.wan.Try("ping", "-c1", "-W1", "-I", "2001:db8:ebbd:990a::66", native)
	if got := w.counter("forged"); strings.Contains(got, "packets 0 ") || strings.HasPrefix(got, "no rule") {
		t.Errorf("not dropped and counted: %s", got)
	}
	w.pingFromH1(testBox)
}
