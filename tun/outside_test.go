// SPDX-License-Identifier: MIT

package tun

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"

	"golang.zx2c4.com/wireguard/conn/bindtest"

	"oasis6/internal/ip6pkt"
)

// A box and a hub that touch nothing of the machine: devices, sockets, names and paths are given.
func TestTunnelOnWhatIsGiven(t *testing.T) {
	noLeaks(t)
	binds := bindtest.NewChannelBinds()
	hubHost := NewMemory("hub", 1420)
	hub, err := OpenHubOn(HubConfig{Name: "hub", PrivateKey: testHub}, hubHost, Outside{Bind: binds[0]}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	from, to := testBox.Public().LinkLocal(), testHub.Public().LinkLocal()
	if err := hub.SetSites([]Site{{Public: testBox.Public(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(from, 128)}}}); err != nil {
		t.Fatal(err)
	}

	asked := ""
	boxHost := NewMemory("box", 1500)
	box, err := OpenOn(Config{Name: "box", PrivateKey: testBox, Peer: Peer{Public: testHub.Public(), Endpoint: "hub.example:4"}}, boxHost, Outside{
		Bind: binds[1],
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			asked = host
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		},
		PathMTU: func(netip.AddrPort) (int, error) { return 1400, nil },
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	if got := event[MTUChanged](t, box.Events()).MTU; got != 1320 {
		t.Errorf("MTU %d, want 1320: what is left of the path's 1400", got)
	}
	if asked != "hub.example" {
		t.Errorf("looked up %q, want hub.example", asked)
	}
	there := ip6pkt.UDP(from, to, 1, 9, 64, []byte("there"))
	if err := boxHost.Send(there); err != nil {
		t.Fatal(err)
	}
	if p := next(t, hubHost.Packets()); !bytes.Equal(p, there) {
		t.Errorf("the hub's host gets %x, want %x", p, there)
	}
}

// What fails closes the device, which the caller has given away.
func TestOpenOnClosesTheDevice(t *testing.T) {
	noLeaks(t)
	m := NewMemory("box", 1420)
	if _, err := OpenOn(Config{Name: "box"}, m, Outside{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a tunnel without a key")
	}
	<-m.Done()
	m = NewMemory("hub", 1420)
	if _, err := OpenHubOn(HubConfig{Name: "hub"}, m, Outside{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a hub without a key")
	}
	<-m.Done()
}

func TestGivenPathSaysWhatIsUsable(t *testing.T) {
	ep := netip.MustParseAddrPort("192.0.2.1:1")
	var err error
	w := Outside{PathMTU: func(netip.AddrPort) (int, error) { return 1500, err }}.way()
	if !w.usable("box", 0, ep) {
		t.Error("a way out is not usable")
	}
	if err = errors.New("no way"); w.usable("box", 0, ep) {
		t.Error("no way out is usable")
	}
}
