// SPDX-License-Identifier: MIT

package router

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lib "github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/config"
	"oasis6/ra"
)

// Killed at the worst moment between two writes: also a lease of half an hour is still on the disk, and the first message
// of the next process names it.
func TestShortLeaseOutlivesAKill(t *testing.T) {
	state, killed := t.TempDir(), t.TempDir()
	run(t, delegated, func(b *boxTest) {
		b.opt.State, b.hub.preferred, b.hub.valid = state, 20*time.Minute, 30*time.Minute
	}, func(b *boxTest) {
		for b.after(46 * time.Minute); ; b.after(time.Minute) { // as old as the file gets
			data, err := os.ReadFile(filepath.Join(state, "lease.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(killed, "lease.json"), data, 0o600); err != nil {
				t.Fatal(err)
			}
			if !b.r.store.wake.IsZero() && b.r.store.wake.Sub(b.opt.Clock.Now()) <= time.Minute {
				break
			}
		}
		next := testBox(t, delegated)
		next.opt.State, next.opt.Takeover, next.hub.preferred, next.hub.valid = killed, true, 20*time.Minute, 30*time.Minute
		next.start()
		defer next.end()
		next.after(time.Second)
		if m := next.hub.got()[0]; m.MessageType != lib.MessageTypeRebind {
			t.Errorf("the first message is %s", m.MessageType)
		}
	})
}

// A restart keeps the address that came by the M flag, before any router has spoken again.
func TestRestartKeepsTheAssignedAddress(t *testing.T) {
	state := t.TempDir()
	setup := func(b *boxTest) {
		b.opt.State, b.hub.address = state, assignedAddr
		b.hub.ra = &ra.RouterAdvertisement{RouterLifetime: 1800, Managed: true}
	}
	run(t, delegated, setup, func(b *boxTest) { b.after(time.Minute) })
	run(t, delegated, func(b *boxTest) {
		setup(b)
		b.opt.Takeover, b.hub.answering = true, false
	}, func(b *boxTest) {
		for i, a := range b.plane.Applies() {
			if !strings.Contains(a, "address "+assignedAddr.String()+"/128 dev oasis0") {
				t.Errorf("apply %d lacks the address:\n%s", i, a)
			}
		}
		b.hub.answer(true)
		b.after(10 * time.Second)
		if first := b.hub.got()[0]; first.MessageType != lib.MessageTypeRebind || first.Options.OneIANA() == nil {
			t.Errorf("the first message is %s", first.Summary())
		}
		if !b.onTunnel(assignedAddr) {
			t.Error("the address is gone")
		}
	})
	// No router answers any more: it is used no longer.
	run(t, delegated, func(b *boxTest) {
		setup(b)
		b.hub.ra = nil
	}, func(b *boxTest) {
		b.after(time.Minute)
		if b.onTunnel(assignedAddr) {
			t.Error("the address is still there, although no router says M")
		}
	})
}

// Beside a static prefix an address of before is given back by leave, also before a router has spoken.
func TestLeaveGivesAnAddressOfBeforeBack(t *testing.T) {
	state := t.TempDir()
	setup := func(b *boxTest) {
		b.opt.State, b.hub.address, b.hub.prefix = state, assignedAddr, prefix(delegated)
		b.opt.Config.Prefix = config.Prefix{Source: config.Static, Static: prefix("2001:db8:ebbd:9900::/56")}
		b.hub.ra = &ra.RouterAdvertisement{RouterLifetime: 1800, Managed: true}
	}
	run(t, "", setup, func(b *boxTest) {
		b.after(time.Minute)
		if !b.onTunnel(assignedAddr) {
			t.Fatal("no address")
		}
	})
	run(t, "", func(b *boxTest) {
		setup(b)
		b.hub.ra = nil
	}, func(b *boxTest) {
		if l, err := b.r.Leave(context.Background()); err != nil || !l.Released || b.hub.count(lib.MessageTypeRelease) != 1 {
			t.Errorf("left %+v %v, sent %v", l, err, b.hub.sent)
		}
		if strings.Contains(b.leaseFile(), assignedAddr.String()) {
			t.Errorf("lease.json: %s", b.leaseFile())
		}
	})
}

// No state can be written: the DUID follows from the key, so that the next start is the same client.
func TestIdentityWithoutADisk(t *testing.T) {
	var first string
	for range 2 {
		run(t, delegated, func(b *boxTest) {
			file := filepath.Join(t.TempDir(), "a file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			b.opt.State = filepath.Join(file, "state") // cannot be made
		}, func(b *boxTest) {
			duid := b.status().DHCPv6.DUID
			if first == "" {
				first = duid
			}
			if duid != first || len(b.hub.got()) == 0 {
				t.Errorf("DUID %s, before %s", duid, first)
			}
			b.wantSummary("degraded: state cannot be saved")
		})
	}
}

// An assigned address that stands in the file for the tunnel as well is no duplicate.
func TestAssignedAddressThatIsConfigured(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		b.opt.Config.Prefix.RequestAddress = config.AddressYes
		b.opt.Config.Interface.Addresses = []netip.Prefix{netip.PrefixFrom(assignedAddr, 128)}
		b.hub.address = assignedAddr
	}, func(b *boxTest) {
		b.after(time.Second)
		if n := b.hub.count(lib.MessageTypeDecline); n != 0 || !b.onTunnel(assignedAddr) {
			t.Errorf("%d Declines, on the tunnel %v", n, b.onTunnel(assignedAddr))
		}
	})
}

// While the box leaves, the status says so.
func TestStatusWhileLeaving(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.hub.mu.Lock()
		b.hub.prefix = netip.Prefix{} // silent
		b.hub.mu.Unlock()
		done := make(chan struct{})
		go func() {
			defer close(done)
			if l, err := b.r.Leave(context.Background()); err != nil || l.Released {
				t.Errorf("left %+v %v", l, err)
			}
		}()
		b.after(time.Second)
		b.wantSummary("down: leaving: ")
		<-done
	})
}
