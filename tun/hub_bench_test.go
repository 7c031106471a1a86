// SPDX-License-Identifier: MIT

package tun

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"oasis6/internal/wgkey"
)

// manySites is what the hub is built for.
const manySites = 10_000

func siteList(n int) []Site {
	list := make([]Site, n)
	for i := range list {
		list[i] = testSiteConfig(i + 1)
	}
	return list
}

// settled is the resident memory and the heap in use after the garbage is gone, in KiB.
func settled(b *testing.B) (rss, heap float64) {
	b.Helper()
	runtime.GC()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmRSS:") {
			_, _ = fmt.Sscanf(line, "VmRSS: %f", &rss)
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return rss, float64(m.HeapAlloc) / 1024
}

// All sites at once, as at the start of a hub.
func BenchmarkHubStart10000(b *testing.B) {
	list := siteList(manySites)
	for b.Loop() {
		h, _ := openHub(b)
		if err := h.SetSites(list); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		rss, _ := settled(b)
		b.ReportMetric(rss, "KiB-RSS")
		// What is ours: without it the device is as before.
		_, with := settled(b)
		h.sites, h.owner = map[wgkey.Public]*site{}, nil
		h.peers.set(nil)
		_, without := settled(b)
		b.ReportMetric((with-without)*1024/manySites, "B/site")
		_ = h.Close()
		b.StartTimer()
	}
}

func manyHub(b *testing.B) (*Hub, []Site) {
	b.Helper()
	h, _ := openHub(b)
	list := siteList(manySites)
	setSites(b, h, list...)
	b.ReportAllocs()
	return h, list
}

func BenchmarkHubSetSites10000Unchanged(b *testing.B) {
	h, list := manyHub(b)
	for b.Loop() {
		setSites(b, h, list...)
	}
}

func BenchmarkHubSites10000(b *testing.B) {
	h, _ := manyHub(b)
	for b.Loop() {
		if all, err := h.Sites(); err != nil || len(all) != manySites {
			b.Fatal(len(all), err)
		}
	}
}

// One lease comes and goes.
func BenchmarkHubSetAllowedIPs10000(b *testing.B) {
	h, list := manyHub(b)
	one := list[7]
	for on := false; b.Loop(); on = !on {
		ips := one.AllowedIPs
		if on {
			ips = append(slices.Clone(ips), testLease(manySites+1))
		}
		if err := h.SetAllowedIPs(one.Public, ips); err != nil {
			b.Fatal(err)
		}
	}
}

// The leases of a thousand sites come at once.
func BenchmarkHubSetAllowed1000Of10000(b *testing.B) {
	h, list := manyHub(b)
	with, without := make([]Allowed, 1000), make([]Allowed, 1000)
	for i := range with {
		with[i], without[i] = Allowed{list[i].Public, list[i].AllowedIPs}, Allowed{list[i].Public, list[i].AllowedIPs[:1]}
	}
	for on := false; b.Loop(); on = !on {
		change := without
		if on {
			change = with
		}
		if err := h.SetAllowed(change); err != nil {
			b.Fatal(err)
		}
	}
}
