// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/hub/pd"
	"oasis6/hub/store"
	"oasis6/internal/bootclock"
	"oasis6/internal/lifetime"
	"oasis6/internal/wgkey"
)

// hubStore is the STATE folder of a hub that has stopped: a site of the file, one that joined, and one that was removed have a
// lease each.
func hubStore(t *testing.T) (state string, removed wgkey.Public) {
	t.Helper()
	state = t.TempDir()
	f, _, err := store.OpenFile(t.Context(), filepath.Join(state, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	library, err := wgkey.ParsePublic("E/2sXvSeg8cggZhJvDOn22z5HqV+eSDduOw46BwBzww=")
	if err != nil {
		t.Fatal(err)
	}
	joined, removed := wgkey.Private{1: 1}.Public(), wgkey.Private{1: 2}.Public()
	now, changes := bootclock.Now(), []store.Change{{Key: "peer/" + joined.Hex(), Value: []byte(`{"version":1,"name":"museum","joined":"2026-01-01T00:00:00Z"}`)}}
	for i, k := range []wgkey.Public{library, joined, removed} {
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 7: byte(i)}), 64)
		b := pd.Binding{Site: k, IAID: 1, DUID: dhcpv6.DUIDFromPublicKey(k), Leases: []pd.Lease{{
			Prefix: p, Preferred: lifetime.At(now.Add(time.Hour + time.Minute)), Valid: lifetime.At(now.Add(2*time.Hour + time.Minute)),
		}}}
		data, err := pd.Encode(b, now, time.Now(), bootclock.BootID())
		if err != nil {
			t.Fatal(err)
		}
		changes = append(changes, store.Change{Key: "lease/" + k.Hex() + "/1", Value: data})
	}
	if _, err := f.Commit(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return state, removed
}

// Of a hub that has stopped: names are in the file and in the store, lifetimes are the most that sites may count on, and what
// a site had that is none any more rests.
func TestLeasesOfAStoppedHub(t *testing.T) {
	state, removed := hubStore(t)
	conf, run := file(t, goodHub, 0o600), t.TempDir()
	fields := func(r result) (rows []string) {
		for line := range strings.Lines(r.stdout) {
			rows = append(rows, strings.Join(strings.Fields(line), " "))
		}
		return rows
	}
	r := oasis6(t, "", "hub", "leases", "-c", conf, "--state", state, "--run", run)
	want := "PREFIX SITE IAID STATE PREFERRED VALID|2001:db8::/64 library 1 bound at most 1h1m0s at most 2h1m0s|" +
		"2001:db8:0:1::/64 museum 1 bound at most 1h1m0s at most 2h1m0s|" +
		"2001:db8:0:2::/64 " + removed.String() + " 1 rests at most 1h1m0s at most 2h1m0s"
	rows := fields(r)
	for _, line := range strings.Split(want, "|") {
		if !strings.Contains(strings.Join(rows, "|")+"|", line+"|") {
			t.Errorf("no line %q in\n%s%s", line, r.stdout, r.stderr)
		}
	}
	if r.code != exitDone || r.stderr != "" || len(rows) != 4 {
		t.Errorf("hub leases: %+v", r)
	}

	r = oasis6(t, "", "hub", "--json", "leases", "-c", conf+".none", "--state", state, "--run", run)
	var a leasesAnswer
	if err := json.Unmarshal([]byte(r.stdout), &a); err != nil || len(a.Leases) != 3 || r.code != exitDone {
		t.Fatalf("without a configuration: %v %+v", err, r)
	}
	for _, l := range a.Leases {
		if !l.AtMost || l.State != "bound" || (l.Site == "museum") != (l.Prefix == "2001:db8:0:1::/64") || l.Site == "library" {
			t.Errorf("without a configuration: %+v", l)
		}
	}
	if !strings.Contains(r.stderr, "without the configuration (-c FILE) sites of the file have no names here") {
		t.Errorf("nothing is said of the names: %q", r.stderr)
	}
}

// Each command says what runs here, where it is for the other one.
func TestCommandsAtTheWrongRole(t *testing.T) {
	box, none := answering(t), t.TempDir()
	hub, _ := inviting(t, nil)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"hub", "leases", "--run", box}, "oasis6 hub: the oasis6 that runs here is a box: leases are listed at the hub"},
		{[]string{"hub", "remove", "x", "--run", box}, "oasis6 hub: the oasis6 that runs here is a box: sites are removed at the hub"},
		{[]string{"invite", "x", "--run", box}, "oasis6 invite: the oasis6 that runs here is a box: invitations are made at the hub"},
		{[]string{"leave", "--run", hub}, "oasis6 leave: the oasis6 that runs here is a hub: leave is for a box"},
		{[]string{"status", "--run", none}, ": start it with oasis6 run, or a hub with oasis6 hub, or name its folder with --run"},
	} {
		if r := oasis6(t, "", c.args...); r.code != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: %+v, want exit code 1 and %q", c.args, r, c.want)
		}
	}
}

// A hub that finds the store in use takes the folders with it that it has made.
func TestSecondHubLeavesNoFolders(t *testing.T) {
	state, _ := hubStore(t)
	f, _, err := store.OpenFile(t.Context(), filepath.Join(state, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	run := filepath.Join(t.TempDir(), "run")
	r := oasis6(t, "", "hub", "-c", file(t, goodHub, 0o600), "--state", state, "--run", run)
	if r.code != exitFailed || !strings.Contains(r.stderr, "another oasis6 hub has it: stop it first") {
		t.Errorf("a second hub: %+v", r)
	}
	if _, err := os.Stat(run); err == nil {
		t.Errorf("%s is left", run)
	}
	if _, err := os.Stat(filepath.Join(state, storeFile)); err != nil {
		t.Error(err)
	}
}

func TestHelpOfAPartOfACommand(t *testing.T) {
	want := oasis6(t, "", "help", "hub")
	for _, words := range [][]string{{"hub", "leases"}, {"hub", "remove"}} {
		if r := oasis6(t, "", append([]string{"help"}, words...)...); r != want {
			t.Errorf("help %v: %+v", words, r)
		}
	}
	if r := oasis6(t, "", "help", "hub", "lease"); r.code != exitUsage {
		t.Errorf("help of what there is not: %+v", r)
	}
}
