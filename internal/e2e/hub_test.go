// SPDX-License-Identifier: MIT

package e2e

import (
	"strings"
	"testing"
	"time"

	"oasis6/internal/netlab"
)

func TestPeerThatNeverAnswers(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.start() // R2 is not there
	b.waitSummary("starting: ", "")
	b.waitSummaryFor(30*time.Second, "down: ", "has never answered")
	b.wantNoDefaultRoute(b.H1)
	if g := b.H1.GUAs("eth0"); len(g) != 0 {
		t.Errorf("h1 has %v", g)
	}
	b.StartR2() // and it comes up by itself
	b.waitOnline(b.H1)
}

func TestHubWithoutDHCPv6(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{NoDHCPv6: true})
	b.StartR2()
	b.start()
	b.waitSummaryFor(30*time.Second, "degraded: ", "does not answer DHCPv6")
	b.wantNoDefaultRoute(b.H1)
}

func TestServerAnswersAfter30Seconds(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{NoDHCPv6: true})
	b.StartR2()
	b.start()
	time.Sleep(30 * time.Second)
	b.StartKea()
	// RFC 9915's Solicit is then at a retransmission time of about 32 s.
	if !netlab.Poll(60*time.Second, func() bool { return b.online(b.H1) }) {
		t.Fatalf("not on IPv6 a minute after the server came\n%s", b.text())
	}
}

func TestDelegationTooLongForALAN(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{DelegatedLen: 72})
	b.StartR2()
	b.start()
	b.waitSummary("degraded: ", "too long")
	b.wantNoDefaultRoute(b.H1)
}

// The tunnel dies under traffic: hosts hear of it, and of its return.
func TestTunnelDeadUnderTraffic(t *testing.T) {
	b := newLoneBox(t, netlab.WorldConfig{})
	ras := b.H1.WatchRA("eth0")
	b.up()
	ping := b.H1.Start("ping", "-n", "-i", "0.5", netlab.WWWv6)
	defer ping.Kill()
	cut := time.Now()
	b.CutTunnel()
	b.waitSummaryFor(20*time.Second, "down: ", "no answer from hub")
	if d := time.Since(cut); d > 15*time.Second+soon/10 { // the last status took a moment
		t.Errorf("the tunnel was called dead after %v, want at most 15s", d)
	}
	// Hosts that the box knows hear of it at once; the multicast may have to keep 3 s from the one before.
	dead, err := ras.First(soon, func(r netlab.RA) bool { return r.At.After(cut) && r.Msg.RouterLifetime == 0 })
	if err != nil {
		t.Fatalf("RA with router lifetime 0: %v\n%s", err, b.text())
	}
	if d := dead.At.Sub(cut); d > 15*time.Second+soon/10 {
		t.Errorf("h1 heard of the dead tunnel after %v, want at most 15s", d)
	}
	if !netlab.Poll(soon, func() bool { return !b.HostDefaultRoute(b.H1).IsValid() }) {
		t.Error("h1 still has its default route")
	}
	if p := dead.Prefix(delegated); p == nil || p.ValidLifetime == 0 {
		t.Errorf("prefix in that RA = %+v, want it unchanged: LAN sessions live on", p)
	}
	b.HealTunnel()
	if !netlab.Poll(enough, func() bool { return b.online(b.H1) }) {
		t.Fatalf("not on IPv6 after the tunnel came back\n%s", b.text())
	}
}

// Nobody uses the tunnel, and still its death is noticed within 40 s.
func TestTunnelDeadIdle(t *testing.T) {
	b := newLoneBox(t, netlab.WorldConfig{})
	ras := b.H1.WatchRA("eth0")
	b.up()
	cut := time.Now()
	b.CutTunnel()
	dead, err := ras.First(50*time.Second, func(r netlab.RA) bool { return r.At.After(cut) && r.Msg.RouterLifetime == 0 })
	if err != nil {
		t.Fatalf("RA with router lifetime 0: %v\n%s", err, b.text())
	}
	if d := dead.At.Sub(cut); d > 40*time.Second {
		t.Errorf("hosts heard of the dead tunnel after %v, want at most 40s", d)
	}
	// The box goes on initiating: one handshake every 5 s or so, also after wireguard-go alone would have
	// given up is shown in virtual time (tun/health). Here: an RA within 1 s of the next handshake.
	b.HealTunnel()
	ra, err := ras.First(15*time.Second, func(r netlab.RA) bool { return r.At.After(dead.At) && r.Msg.RouterLifetime > 0 })
	if err != nil {
		t.Fatalf("RA with router lifetime: %v\n%s", err, b.text())
	}
	age := time.Duration(b.status().Tunnel.Peers[0].HandshakeAgeS * float64(time.Second))
	d := ra.At.Sub(time.Now().Add(-age))
	t.Logf("RA %v after the handshake, %v after the RA that took the role away", d, ra.At.Sub(dead.At))
	if d > time.Second+200*time.Millisecond { // status rounds to tenths
		t.Errorf("RA came %v after the handshake, want at most 1s\n%s", d, b.R1.Run("ip", "-6", "neigh"))
	}
}

// The path survives a NAT that forgets: nobody on the LAN does anything.
func TestNATRebinds(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	b.RebindNAT()
	if !netlab.Poll(enough, func() bool { return b.H1.Ping(netlab.WWWv6) == nil }) {
		t.Errorf("no IPv6 after the NAT forgot its flows\n%s", b.text())
	}
}

// The status never shows a key.
func TestNoSecretInStatusOrLog(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.start("--log-level", "debug")
	b.StartR2()
	b.waitOnline(b.H1)
	js := b.R1.Run(b.BoxArgs(b.bin, "status", "--json")...)
	for _, text := range []string{js, b.text(), b.proc.Output()} {
		if strings.Contains(text, b.BoxKey.Reveal()) || strings.Contains(text, b.BoxKey.RevealHex()) {
			t.Errorf("the private key shows in\n%s", text)
		}
	}
}
