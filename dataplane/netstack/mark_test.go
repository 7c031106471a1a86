// SPDX-License-Identifier: MIT

package netstack

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// A box in userspace was killed, and one with the kernel's data plane follows: nothing of the first stays.
func TestSweepAfterAKill(t *testing.T) {
	newMachine(t)
	if err := writeConf("br-lan", "accept_ra", "2"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var killed mark
	killed.open(dir, "boot")
	if was, err := killed.deafen("br-lan"); err != nil || was != "2" {
		t.Errorf("accept_ra was %s", was)
		t.Fatal(err)
	}
	if err := killed.serve([]netip.Addr{netip.MustParseAddr("2001:db8::1")}); err != nil {
		t.Fatal(err)
	}
	if got, _ := readConf("br-lan", "accept_ra"); got != "0" {
		t.Fatalf("accept_ra is %s while the LAN is served", got)
	}
	if err := Sweep(dir, "boot"); err != nil {
		t.Fatal(err)
	}
	if got, _ := readConf("br-lan", "accept_ra"); got != "2" {
		t.Errorf("accept_ra is %s afterwards, was 2", got)
	}
	if _, err := os.Stat(filepath.Join(dir, markFile)); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", markFile, err)
	}
	var next mark
	if next.open(dir, "boot"); next.took {
		t.Error("the next one believes that the LAN is still served")
	}
	if err := Sweep(dir, "boot"); err != nil {
		t.Errorf("swept twice: %v", err)
	}
}

// What could not be written is tried again, and is no success meanwhile.
func TestServeFailsUntilItIsWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var m mark
	m.open(filepath.Join(file, "run"), "boot") // cannot be made
	addrs := []netip.Addr{netip.MustParseAddr("2001:db8::1")}
	for range 2 {
		if err := m.serve(addrs); err == nil {
			t.Error("no error")
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := m.serve(addrs); err != nil {
		t.Errorf("%v, though there is room now", err)
	}
}
