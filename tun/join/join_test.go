// SPDX-License-Identifier: MIT

package join

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"oasis6/config"
	"oasis6/internal/invite"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/netlab"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// machine is a box: its disk, and what it said.
type machine struct {
	Options
	said []string
}

func newMachine(t *testing.T) *machine {
	m := &machine{Options: Options{Config: filepath.Join(t.TempDir(), "etc", "oasis6.conf"), LAN: "br-lan", Host: "box", Log: slog.New(slog.DiscardHandler)}}
	m.Say = func(line string) { m.said = append(m.said, line) }
	return m
}

// files are the names in the folder of the configuration.
func (m *machine) files(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(m.Config))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func (m *machine) load(t *testing.T) *config.Config {
	t.Helper()
	cfg, notices, err := config.Load(m.Config, config.RequireLAN)
	if err != nil || len(notices) > 0 {
		t.Fatalf("Load() = %v, notices %v", err, notices)
	}
	return cfg
}

// The whole of it, through WireGuard on both sides.
func TestJoinsThroughWireGuard(t *testing.T) {
	idle := runtime.NumGoroutine()
	h := newRealHub(t)
	inv := h.invite(t, "library")
	m := newMachine(t)
	res, err := Run(t.Context(), inv, m.Options)
	if err != nil {
		t.Fatalf("Run() = %v after %q", err, m.said)
	}
	if res != (Result{Name: "library", KeyFile: "private-" + inv.Keys().Fingerprint + ".key"}) {
		t.Errorf("Run() = %+v", res)
	}
	cfg := m.load(t)
	peer := cfg.Peers[0]
	if peer.PublicKey != hubKey.Public() || peer.Endpoint != inv.Endpoint || peer.Keepalive != 25*time.Second || cfg.LANs[0].Interface != "br-lan" || !peer.PresharedKey.IsZero() {
		t.Errorf("configuration %+v", cfg)
	}
	if !h.knows(cfg.Interface.PrivateKey.Public()) {
		t.Error("the hub does not know the key of the configuration")
	}
	// The new key was used once, so the invitation is gone.
	if got := h.peers(); len(got) != 1 || !got["library"] {
		t.Errorf("peers %v, want library", got)
	}
	if got := m.files(t); !slices.Equal(got, []string{"oasis6.conf", res.KeyFile}) {
		t.Errorf("files %q", got)
	}
	for _, name := range m.files(t) {
		if fi, err := os.Stat(filepath.Join(filepath.Dir(m.Config), name)); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
	for _, want := range []string{"asking the hub at " + inv.Endpoint, "the hub has taken this box as its site library", "checked: the hub knows the new key"} {
		if !slices.Contains(m.said, want) {
			t.Errorf("said %q, without %q", m.said, want)
		}
	}
	// Again: nothing is done.
	if res, err := Run(t.Context(), inv, m.Options); err != nil || !res.Already {
		t.Errorf("again: %+v, %v", res, err)
	}
	if !netlab.Poll(10*time.Second, func() bool { return runtime.NumGoroutine() <= idle+20 }) {
		t.Errorf("%d goroutines, %d at first: the temporary tunnels are left", runtime.NumGoroutine(), idle)
	}
}

// A hub with a link-local address of its own, and a second box that comes with the same invitation.
func TestSecondBoxHearsThatItIsUsed(t *testing.T) {
	h := newRealHub(t)
	inv := h.invite(t, "library")
	thief := wgkey.Private{0: 0x20, 31: 0x44}.Public()
	if got := h.receive(inv.Keys().Private.Public(), invite.Request{Key: thief}.Marshal()); len(got) != 1 {
		t.Fatalf("answers %v", got)
	}
	m := newMachine(t)
	_, err := Run(t.Context(), inv, m.Options)
	if err == nil || !strings.Contains(err.Error(), "another box has used this invitation: ask for a new invitation") {
		t.Errorf("Run() = %v", err)
	}
	if got := m.files(t); len(got) != 0 {
		t.Errorf("files %q are left", got)
	}
}

// fake is an end without WireGuard: packets go to the book in no time, if nothing is lost.
type fake struct {
	b       *book
	from    wgkey.Public
	own     netip.Addr
	packets chan []byte
	events  chan tun.Event
	snap    tun.Snapshot
	lose    func() bool // one datagram
	forge   func(answer []byte) [][]byte
}

func (f *fake) Send(p []byte) error {
	d, err := ip6pkt.ParseUDP(p)
	if err != nil || d.Dst.Port() != invite.Port || d.Src.Addr() != f.own {
		return fmt.Errorf("bad packet %x: %v", p, err)
	}
	if f.lose() {
		return nil
	}
	for _, a := range f.b.receive(f.from, d.Payload) {
		if f.lose() {
			continue
		}
		answer := ip6pkt.UDP(d.Dst.Addr(), f.own, invite.Port, invite.Port, hopLimit, a.Data)
		for _, p := range f.forge(answer) {
			f.packets <- p
		}
	}
	return nil
}

func (f *fake) Packets() <-chan []byte   { return f.packets }
func (f *fake) Events() <-chan tun.Event { return f.events }
func (f *fake) Snapshot() tun.Snapshot   { return f.snap }
func (f *fake) Close() error             { return nil }

// through makes the machine use fakes, which change may spoil.
func (m *machine) through(b *book, change func(*fake)) {
	m.open = func(cfg tun.Config, _ *slog.Logger) (end, error) {
		f := &fake{
			b: b, from: cfg.PrivateKey.Public(), own: cfg.PrivateKey.Public().LinkLocal(), packets: make(chan []byte, 100), events: make(chan tun.Event, 100),
			lose: func() bool { return false }, forge: func(p []byte) [][]byte { return [][]byte{p} },
			snap: tun.Snapshot{HandshakeAge: -1, Endpoint: netip.MustParseAddrPort("192.0.2.1:51820")},
		}
		change(f)
		return f, nil
	}
}

func nothing(*fake) {}

// What nobody answers, and why that may be.
func TestSilence(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(*fake)
		age    time.Duration // of the invitation
		want   string
	}{
		{"nothing", nothing, 0, "no answer from hub.example.net:51820 in 1m0s: the invitation (good until "},
		{"expired", nothing, 2 * time.Hour, "by the clock of this box the invitation expired on"},
		{"no name", func(f *fake) { f.snap = tun.Snapshot{HandshakeAge: -1, ResolveError: "no such host"} }, 0, "endpoint hub.example.net:51820: no such host: check the DNS"},
		{"no route", func(f *fake) { f.snap.SendError = "network is unreachable" }, 0, "nothing can be sent to hub.example.net:51820: network is unreachable: check the uplink"},
		{"no hub", func(f *fake) { f.snap.HandshakeAge = time.Second }, 0, "WireGuard at hub.example.net:51820 answers, but nobody answers the request: is it oasis6 hub"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBook("hub.example.net:51820")
			inv := b.invite(t, "library")
			m := newMachine(t)
			m.through(b, func(f *fake) { f.lose = func() bool { return true }; c.change(f) })
			time.Sleep(c.age)
			began := time.Now()
			_, err := Run(t.Context(), inv, m.Options)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: Run() = %v, want %q", c.what, err, c.want)
			}
			if took := time.Since(began); took != invite.MaxAsking {
				t.Errorf("%s: it took %v, want %v", c.what, took, invite.MaxAsking)
			}
			got := m.files(t)
			if c.what == "no name" { // nothing has left the box, so nothing is left in it
				if _, err := os.Stat(filepath.Dir(m.Config)); !errors.Is(err, os.ErrNotExist) || !slices.Contains(m.said, "hub.example.net:51820 is not found: no such host: trying again") {
					t.Errorf("%s: files %q, Stat of the folder: %v, said %q", c.what, got, err, m.said)
				}
			} else if len(got) != 1 || !strings.HasPrefix(got[0], "private-") {
				t.Errorf("%s: files %q, want the key for the next try", c.what, got)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	answer := func(a invite.Answer, version uint8) func(*fake) {
		return func(f *fake) {
			f.forge = func(p []byte) [][]byte {
				d, _ := ip6pkt.ParseUDP(p)
				was, _ := invite.ParseAnswer(d.Payload)
				a.Key = was.Key
				data := a.Marshal()
				data[4] = version
				return [][]byte{ip6pkt.UDP(d.Src.Addr(), d.Dst.Addr(), invite.Port, invite.Port, hopLimit, data)}
			}
		}
	}
	for _, c := range []struct {
		a       invite.Answer
		version uint8
		want    string
		key     bool // is left for the next try
	}{
		{invite.Answer{Code: invite.Used, Text: "too late"}, 1, "the hub refuses: too late: ask for a new invitation, and tell", false},
		{invite.Answer{Code: invite.Expired}, 1, "the hub refuses: expired: ask for a new invitation", false},
		{invite.Answer{Code: invite.Bad, Text: "this key is taken"}, 1, "this key is taken: ask for a new invitation", false},
		{invite.Answer{Code: invite.Full}, 1, "the hub refuses: full: ask its administrator", true},
		{invite.Answer{Code: invite.TooNew}, 3, "the hub speaks version 3 of the messages, this box version 1", true},
		{invite.Answer{Code: invite.Later, Text: "disk full"}, 1, "the hub cannot take this box now: disk full: run the same command again later", true},
		{invite.Answer{Code: 99, Text: "?"}, 1, `the hub answers "code 99": ?: update oasis6`, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBook("hub.example.net:51820")
			inv := b.invite(t, "library")
			m := newMachine(t)
			m.through(b, answer(c.a, c.version))
			_, err := Run(t.Context(), inv, m.Options)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: Run() = %v, want %q", c.a.Code, err, c.want)
			}
			if got := len(m.files(t)) > 0; got != c.key {
				t.Errorf("%v: the key is left: %v, want %v", c.a.Code, got, c.key)
			}
		})
	}
}

// Whoever can send into the tunnel can send other things.
func TestStrangePacketsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("hub.example.net:51820")
		inv := b.invite(t, "library")
		m := newMachine(t)
		m.through(b, func(f *fake) {
			f.forge = func(p []byte) [][]byte {
				d, _ := ip6pkt.ParseUDP(p)
				no := invite.Answer{Code: invite.Used, Key: wgkey.Public{1}}.Marshal()
				other := netip.MustParseAddr("fe80::1")
				return [][]byte{
					[]byte("junk"), ip6pkt.EchoRequest(d.Src.Addr(), d.Dst.Addr(), hopLimit, 1, 1),
					ip6pkt.UDP(d.Src.Addr(), d.Dst.Addr(), invite.Port, invite.Port, hopLimit, no),
					ip6pkt.UDP(other, d.Dst.Addr(), invite.Port, invite.Port, hopLimit, d.Payload),
					ip6pkt.UDP(d.Src.Addr(), other, invite.Port, invite.Port, hopLimit, d.Payload),
					ip6pkt.UDP(d.Src.Addr(), d.Dst.Addr(), 53, invite.Port, hopLimit, d.Payload),
					ip6pkt.UDP(d.Src.Addr(), d.Dst.Addr(), invite.Port, 53, hopLimit, d.Payload),
					p,
				}
			}
		})
		if res, err := Run(t.Context(), inv, m.Options); err != nil || res.Name != "library" || res.Warning != "" {
			t.Errorf("Run() = %+v, %v", res, err)
		}
	})
}

func TestHubWithAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("hub.example.net:51820")
		inv := b.invite(t, "library")
		b.full = true
		m := newMachine(t)
		m.through(b, nothing)
		go func() { time.Sleep(4 * time.Second); b.mu.Lock(); b.full = false; b.mu.Unlock() }()
		began := time.Now()
		if res, err := Run(t.Context(), inv, m.Options); err != nil || res.Warning != "" || time.Since(began) != 7*time.Second {
			t.Errorf("Run() = %+v, %v after %v", res, err, time.Since(began))
		}
	})
}

func TestExistingConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("hub.example.net:51820")
		inv := b.invite(t, "library")
		m := newMachine(t)
		m.through(b, nothing)
		if err := os.MkdirAll(filepath.Dir(m.Config), 0o755); err != nil {
			t.Fatal(err)
		}
		const old = "# somebody's own\n"
		if err := os.WriteFile(m.Config, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), inv, m.Options); err == nil || !strings.Contains(err.Error(), "give --replace") || len(m.files(t)) != 1 {
			t.Errorf("without --replace: %v, files %q", err, m.files(t))
		}
		m.Replace = true
		res, err := Run(t.Context(), inv, m.Options)
		if err != nil || res.Backup != m.Config+".bak" {
			t.Fatalf("with --replace: %+v, %v", res, err)
		}
		if kept, err := os.ReadFile(res.Backup); err != nil || string(kept) != old {
			t.Errorf("backup %q, %v", kept, err)
		}
		first := m.load(t).Interface.PrivateKey
		// Another invitation of the same hub: only if it is meant.
		again := b.invite(t, "library 2")
		m.Replace = false
		if res, err := Run(t.Context(), again, m.Options); err != nil || !res.Already || m.load(t).Interface.PrivateKey != first {
			t.Errorf("joined already: %+v, %v", res, err)
		}
		m.Replace = true
		res, err = Run(t.Context(), again, m.Options)
		if err != nil || res.Already || res.Backup != m.Config+".bak.1" || m.load(t).Interface.PrivateKey == first {
			t.Errorf("joined anew: %+v, %v", res, err)
		}
		if res, err := Run(t.Context(), again, m.Options); err != nil || !res.Already {
			t.Errorf("and again: %+v, %v", res, err)
		}
	})
}

func TestNobodyIsAskedForAConfigurationThatCannotBe(t *testing.T) {
	inv := newBook("hub.example.net:51820").invite(t, "library")
	for lan, want := range map[string]string{"": "Interface", "br lan": "wrong", "a-name-that-is-too-long": "wrong", "br\n[Router]": "no interface has such a name"} {
		m := newMachine(t)
		m.LAN = lan
		m.open = func(tun.Config, *slog.Logger) (end, error) {
			t.Error("the hub is asked")
			return nil, errors.New("no")
		}
		if _, err := Run(t.Context(), inv, m.Options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--lan %q: %v", lan, err)
		}
		if got := m.files(t); len(got) != 0 {
			t.Errorf("--lan %q: files %q are left", lan, got)
		}
	}
}

// A box whose clock is ahead must not let WireGuard remember it.
func TestClockAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("hub.example.net:51820")
		inv := b.invite(t, "library")
		b.wall = func() time.Time { return time.Now().Add(-30 * time.Minute) }
		m := newMachine(t)
		m.through(b, nothing)
		res, err := Run(t.Context(), inv, m.Options)
		if err != nil || !strings.Contains(res.Warning, "the clock of this box is 30m0s ahead of the hub's") {
			t.Errorf("Run() = %+v, %v", res, err)
		}
		if got := b.peers(); !got["[library]"] {
			t.Errorf("peers %v: the new key was used", got)
		}
	})
}

// The box is joined, but the check of its key finds nobody.
func TestHubIsSilentAfterItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("hub.example.net:51820")
		inv := b.invite(t, "library")
		m := newMachine(t)
		opened := 0
		m.through(b, func(f *fake) {
			opened++
			second := opened == 2
			f.lose = func() bool { return second }
		})
		began := time.Now()
		res, err := Run(t.Context(), inv, m.Options)
		if err != nil || !strings.Contains(res.Warning, "did not answer the new key yet") || time.Since(began) != verifyFor {
			t.Errorf("Run() = %+v, %v after %v", res, err, time.Since(began))
		}
		m.load(t)
	})
}

func TestInterruptedAndBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("hub.example.net:51820")
		inv := b.invite(t, "library")
		m := newMachine(t)
		m.through(b, func(f *fake) { f.lose = func() bool { return true } })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := Run(ctx, inv, m.Options); !errors.Is(err, errInterrupted) {
			t.Errorf("Run() = %v", err)
		}
		m.through(b, func(f *fake) {
			f.lose = func() bool { return true }
			f.events <- tun.EndpointChanged{AddrPort: netip.MustParseAddrPort("192.0.2.1:51820")}
			f.events <- tun.Handshake{}
			f.events <- tun.MTUChanged{MTU: 1420}
			f.events <- tun.Failed{Err: errors.New("gone")}
		})
		if _, err := Run(t.Context(), inv, m.Options); err == nil || err.Error() != "the temporary tunnel died: gone" {
			t.Errorf("Run() = %v", err)
		}
		for _, want := range []string{"hub.example.net resolves to 192.0.2.1", "the hub's WireGuard answers"} {
			if !slices.Contains(m.said, want) {
				t.Errorf("said %q, without %q", m.said, want)
			}
		}
	})
}

// The same line once more, at a box that has joined: the hub is asked by the box's own key whether it knows it still, but not
// while the box itself speaks with that key.
func TestJoinOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("hub.example.net:51820")
		inv := b.invite(t, "library")
		m := newMachine(t)
		m.through(b, nothing)
		if _, err := Run(t.Context(), inv, m.Options); err != nil {
			t.Fatal(err)
		}
		if res, err := Run(t.Context(), inv, m.Options); err != nil || res != (Result{Already: true, Asked: true}) {
			t.Errorf("known: %+v, %v", res, err)
		}
		m.through(b, func(f *fake) { f.lose = func() bool { return true }; f.snap.HandshakeAge = 0 })
		if res, err := Run(t.Context(), inv, m.Options); err != nil || res != (Result{Already: true, Asked: true}) {
			t.Errorf("in the hub's file: %+v, %v", res, err)
		}
		m.through(b, func(f *fake) { f.lose = func() bool { return true } }) // WireGuard knows the key no longer
		began := time.Now()
		if _, err := Run(t.Context(), inv, m.Options); err == nil || !strings.Contains(err.Error(), "it may have removed this box, then ask for a new invitation and join by that with --replace") {
			t.Errorf("removed: %v", err)
		}
		if took := time.Since(began); took != verifyFor {
			t.Errorf("removed: it took %v, want %v", took, verifyFor)
		}
		m.Running = true
		if res, err := Run(t.Context(), inv, m.Options); err != nil || res != (Result{Already: true}) {
			t.Errorf("running: %+v, %v", res, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		m.Running = false
		if _, err := Run(ctx, inv, m.Options); !errors.Is(err, errInterrupted) {
			t.Errorf("interrupted: %v", err)
		}
		m.load(t)
	})
}
