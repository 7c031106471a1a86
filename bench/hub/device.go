// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"

	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// ready is what a process of another role says when it serves.
const ready = "ready\n"

// hubGarbagePercent is the hub's own: see cmd/oasis6.
const hubGarbagePercent = 20

// bareDevice is the hub's WireGuard device with all its peers, each with a lease, and nothing else: what the device takes of
// the hub's memory.
func bareDevice(keyFile, peersFile string) error {
	debug.SetGCPercent(hubGarbagePercent)
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	key, err := wgkey.ParsePrivate(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	h, err := tun.OpenHub(tun.HubConfig{Name: iface, PrivateKey: key, ListenPort: port}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }() // always nil
	if text, err = os.ReadFile(peersFile); err != nil {
		return err
	}
	var sites []tun.Site
	lease := netip.MustParsePrefix(pool).Addr().As16()
	for i, word := range strings.Fields(string(text)) {
		public, err := wgkey.ParsePublic(word)
		if err != nil {
			return err
		}
		lease[6], lease[7] = byte(i>>8), byte(i)
		sites = append(sites, tun.Site{Public: public, AllowedIPs: []netip.Prefix{
			netip.PrefixFrom(public.LinkLocal(), 128), netip.PrefixFrom(netip.AddrFrom16(lease), 64),
		}})
	}
	if err := h.SetSites(sites); err != nil {
		return err
	}
	fmt.Print(ready)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	for {
		select {
		case <-h.Events():
		case <-stop:
			return nil
		}
	}
}
