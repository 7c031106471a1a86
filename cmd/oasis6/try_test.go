// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"oasis6/config"
	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
	"oasis6/internal/bootclock"
	"oasis6/internal/control"
	"oasis6/internal/lifetime"
	"oasis6/internal/wgkey"
	"oasis6/status"
	"oasis6/trial"
)

// tryText is a file whose hub is at a port of this machine where nobody listens.
func tryText(t *testing.T, key wgkey.Private) string {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := pc.LocalAddr().String()
	if err := pc.Close(); err != nil {
		t.Fatal(err)
	}
	return "[Interface]\nPrivateKey = " + key.Reveal() + "\n\n[Peer]\nPublicKey = " + wgkey.GeneratePrivate().Public().String() +
		"\nEndpoint = " + at + "\nAllowedIPs = ::/0\n"
}

func writeTry(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "broker.conf")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTryUsage(t *testing.T) {
	good := writeTry(t, tryText(t, wgkey.GeneratePrivate()), 0o600)
	hub := writeTry(t, "[Interface]\nPrivateKey = "+wgkey.GeneratePrivate().Reveal()+"\n[Hub]\nPool = 2001:db8:1::/56\n", 0o600)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "it takes one FILE"},
		{[]string{good, good}, 2, "it takes one FILE"},
		{[]string{"--url", "https://www.example/", good}, 2, "--url https://www.example/: want http, not https"},
		{[]string{"--dns", "192.0.2.1", good}, 2, "--dns 192.0.2.1: want an IPv6 address"},
		{[]string{"--dns", "fe80::1%eth0", good}, 2, "want an IPv6 address"},
		{[]string{"--timeout", "10", good}, 2, "--timeout 10: want a time from 1s to 5m0s"},
		{[]string{"--timeout", "1h", good}, 2, "--timeout 1h: want a time"},
		{[]string{filepath.Join(t.TempDir(), "none.conf")}, 1, "none.conf: no such file or directory: name a broker's wg-quick file or a configuration, such as /etc/oasis6/oasis6.conf\n"},
		{[]string{writeTry(t, "[Interface]\nNonsense = 1\n", 0o600)}, 2, "broker.conf:2: "},
		{[]string{hub}, 2, "this is the file of a hub"},
		{[]string{writeTry(t, tryText(t, wgkey.GeneratePrivate())+"[LAN]\nInterface = br-lan\n", 0o644)}, 2, "chmod 600"},
	} {
		r := oasis6(t, "", append([]string{"try"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("%q: %+v, want exit code %d and %q", c.args, r, c.code, c.want)
		}
	}
}

// The whole command against a closed port of this machine.
func TestTryFails(t *testing.T) {
	t.Parallel() // it waits a second for what does not come
	key := wgkey.GeneratePrivate()
	path := writeTry(t, tryText(t, key), 0o600)
	dir := t.TempDir()
	r := oasis6(t, "", "try", "--run", dir, "--state", dir, path)
	if r.code != exitFailed || !strings.HasPrefix(r.stdout, "trying "+path+": this end's public key is "+key.Public().String()) ||
		!strings.Contains(r.stdout, "2. handshake  FAILED") || !strings.Contains(r.stdout, "      1) start WireGuard at the hub") {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(r.stderr, "oasis6 try: 6 of 7 steps did not pass: handshake, prefix, mtu, rtt, dns, fetch\n") {
		t.Errorf("standard error: %q", r.stderr)
	}
	r = oasis6(t, "", "try", "--json", "--run", dir, "--state", dir, path)
	var got struct {
		File string
		trial.Report
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != exitFailed || got.File != path || got.Passed || len(got.Steps) != 7 {
		t.Errorf("%v, %+v", err, r)
	}
	if secret := key.Reveal(); strings.Contains(r.stdout+r.stderr, secret) {
		t.Error("the private key is printed")
	}
}

// A broker's file with hooks is taken as import takes it, whoever else can read it; one of ours keeps its rule.
func TestTryTakesWhatImportTakes(t *testing.T) {
	hook := strings.Replace(tryText(t, wgkey.GeneratePrivate()), "[Peer]", "PostUp = touch /never\nAddress = 2001:db8:1::2/128\n# routed prefix: 2001:db8:1:100::/56\n\n[Peer]", 1)
	plain := strings.Replace(hook, "PostUp", "# PostUp", 1)
	const lan, never, chmod = "[LAN]\nInterface = br-lan\n", "nothing from a file is ever executed", "chmod 600"
	for _, c := range []struct {
		text    string
		mode    os.FileMode
		notices []string
		errors  []string
	}{
		{hook, 0o600, []string{never}, nil},
		{hook, 0o644, []string{never, chmod}, nil},
		{plain, 0o644, []string{chmod}, nil},
		{plain, 0o600, nil, nil},
		{hook + lan, 0o600, []string{never}, nil},
		{hook + lan + "CaptivePortal = https://192.0.2.1/\n", 0o600, []string{never, "should not contain an IP address"}, nil},
		{hook + lan, 0o644, []string{never}, []string{chmod}},
		{plain + "[Router]\n", 0o644, nil, []string{chmod}},
		{hook + "Jc = 4\n", 0o644, []string{never, chmod}, []string{`unknown key "Jc"`}},
	} {
		cfg, notices, err := loadForeign(writeTry(t, c.text, c.mode), nil)
		var wrong config.Errors
		if errors.As(err, &wrong); (err == nil) != (c.errors == nil) || (err == nil) != (cfg != nil) {
			t.Errorf("%s\nmode %o: %v, %v", c.text, c.mode, cfg, err)
		}
		var said, refused []string
		if err == nil {
			said = told(notices)
		} else {
			for _, line := range told(wrong) {
				if strings.Contains(line, ": notice: ") {
					said = append(said, line)
				} else {
					refused = append(refused, line)
				}
			}
		}
		if !sameParts(said, c.notices) || !sameParts(refused, c.errors) {
			t.Errorf("%s\nmode %o: notices %q, errors %q, want %q, %q", c.text, c.mode, said, refused, c.notices, c.errors)
		}
	}
}

// told are lines about a file, without those of its prefix, which comment and Address have here.
func told(ns []config.Notice) (lines []string) {
	for _, n := range ns {
		if !strings.Contains(n.Message, "Prefix: ") && !strings.Contains(n.Message, "no routed prefix") {
			lines = append(lines, n.String())
		}
	}
	return lines
}

// sameParts says whether each line holds one of the parts, and each part is in one.
func sameParts(lines, parts []string) bool {
	for _, p := range parts {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, p) }) {
			return false
		}
	}
	return len(lines) == len(parts)
}

func TestTryFindsThePrefixThatImportFinds(t *testing.T) {
	text := strings.Replace(tryText(t, wgkey.GeneratePrivate()), "[Peer]", "PostUp = touch /never\n# routed prefix: 2001:db8:1:100::/56\n\n[Peer]", 1)
	cfg, _, err := loadForeign("-", strings.NewReader(text))
	if err != nil || cfg.Prefix.Static != netip.MustParsePrefix("2001:db8:1:100::/56") {
		t.Fatalf("%+v, %v", cfg, err)
	}
}

// Standard input is a file like another, and the words about it name it.
func TestTryOfStandardInput(t *testing.T) {
	r := oasis6(t, "[Interface]\nNonsense = 1\n", "try", "-")
	if r.code != exitUsage || !strings.HasPrefix(r.stderr, "standard input:") || strings.Contains(r.stderr, "[LAN]") {
		t.Errorf("%+v", r)
	}
}

// A file that this user may not read is the only thing of a trial that root is for.
func TestTryOfAFileThatCannotBeRead(t *testing.T) {
	path := writeTry(t, "", 0o600)
	refused := &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES}
	want := fmt.Sprintf("open %s: permission denied: its mode is 0600, its owner UID %d: run try as its owner, or as root", path, os.Getuid())
	if got := unread(path, refused); got.Error() != want || !errors.Is(got, fs.ErrPermission) {
		t.Errorf("%v, want %s", got, want)
	}
	got := unread(filepath.Join(path, "x"), refused)
	if want := "this user may not enter its folder: run try as its owner, or as root"; !strings.HasSuffix(got.Error(), want) {
		t.Errorf("%v, want %s", got, want)
	}
}

// boxThatRuns is a box that answers on a control socket in a folder.
func boxThatRuns(t *testing.T, answer func() (any, error)) (dir string) {
	t.Helper()
	dir = t.TempDir()
	srv, err := control.Listen(socketPath(dir), control.Methods{Answer: map[string]control.Handler{
		"status": func(context.Context, json.RawMessage) (any, error) { return answer() },
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	return dir
}

func TestTryBesideABox(t *testing.T) {
	key := wgkey.GeneratePrivate()
	cfg := &config.Config{Interface: config.Interface{PrivateKey: key}}
	snapshot := func(k wgkey.Private) func() (any, error) {
		return func() (any, error) {
			return status.Snapshot{Tunnel: status.Tunnel{PublicKey: k.Public().String()}, Prefixes: []status.Prefix{{Prefix: "2001:db8:1::/64"}}}, nil
		}
	}
	mute := func() (any, error) { return nil, errors.New("too many clients") }
	held := []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/64")}
	for _, c := range []struct {
		name, dir string
		force     bool
		held      []netip.Prefix
		want      string
	}{
		{"none", t.TempDir(), false, nil, ""},
		{"another key", boxThatRuns(t, snapshot(wgkey.GeneratePrivate())), false, held, ""},
		{"the same key", boxThatRuns(t, snapshot(key)), false, nil, "has the key of this file"},
		{"the same key by force", boxThatRuns(t, snapshot(key)), true, held, ""},
		{"one that says nothing", boxThatRuns(t, mute), false, nil, "its key cannot be learned (too many clients)"},
		{"one that says nothing, by force", boxThatRuns(t, mute), true, nil, ""},
	} {
		got, err := (&attempt{run: c.dir, force: c.force}).boxHere(t.Context(), cfg)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || !slices.Equal(got, c.held) {
			t.Errorf("%s: %v, %v, want %v, %q", c.name, got, err, c.held, c.want)
		}
	}
}

func TestTryKnowsTheLeaseOfABoxThatDoesNotRun(t *testing.T) {
	dir, now := t.TempDir(), bootclock.Now()
	until := lifetime.At(now.Add(time.Hour))
	p := netip.MustParsePrefix("2001:db8:1::/64")
	lease := client.Lease{Server: "\x00\x03\x00\x01server", IAs: []client.IA{{
		Type: dhcpv6.PD, IAID: 1, Prefixes: []client.Prefix{{Prefix: p, Preferred: until, Valid: until}},
	}}}
	data, err := client.EncodeLease(lease, dhcpv6.NewDUIDUUID([16]byte{1}), 1, now, time.Now(), bootclock.BootID())
	if err != nil {
		t.Fatal(err)
	}
	t1 := &attempt{state: dir}
	if got := t1.kept(); got != nil {
		t.Errorf("without a lease: %v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "lease.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := t1.kept(); !slices.Equal(got, []netip.Prefix{p}) {
		t.Errorf("%v, want %s", got, p)
	}
	if err := os.WriteFile(filepath.Join(dir, "lease.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := t1.kept(); got != nil {
		t.Errorf("of a damaged lease: %v", got)
	}
}
