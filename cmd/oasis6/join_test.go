// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"oasis6/internal/invite"
	"oasis6/internal/wgkey"
	"oasis6/tun/join"
)

func TestJoinRefusesWhatIsNoInvitation(t *testing.T) {
	for _, c := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"", nil, "oasis6 join: want the invitation, in quotes"},
		{"", []string{"library"}, "this is no invitation: want the line that begins with oasis6:"},
		{"", []string{someInvitation[:60] + "x" + someInvitation[61:]}, "oasis6 join: the invitation has a typo, or a part is missing: copy the whole line again\nsee: oasis6 help join\n"},
		{"", []string{"-"}, "this is no invitation"},
		{someInvitation[:70] + "\n", []string{"-"}, "has a typo"},
	} {
		r := oasis6(t, c.stdin, append([]string{"join"}, c.args...)...)
		if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: %+v, want exit code 2 and %q", c.args, r, c.want)
		}
		if len(c.args) > 0 && len(c.args[0]) > 50 && strings.Contains(r.stderr, c.args[0][20:40]) {
			t.Errorf("the error shows the invitation: %s", r.stderr)
		}
	}
}

func TestReadInvitation(t *testing.T) {
	want, err := invite.Parse(someInvitation)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{someInvitation}},
		{"", []string{someInvitation[:50], someInvitation[50:]}},
		{someInvitation + "\n", []string{"-"}},
		{strings.ToUpper(someInvitation), []string{"-"}},
	} {
		if got, err := readInvitation(strings.NewReader(c.stdin), c.args); err != nil || got != want {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}

func TestJoinRefusesAWrongLAN(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oasis6.conf")
	r := oasis6(t, "", "join", someInvitation, "-c", path, "--lan", "br lan")
	if r.code != exitUsage || !strings.Contains(r.stderr, "what would be the configuration is wrong") {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the configuration: %v", err)
	}
	if r := oasis6(t, "", "join", someInvitation, "-c", path, "--lan", ""); r.code != exitUsage || !strings.Contains(r.stderr, "--lan: want the name of an interface") {
		t.Errorf("--lan without a name: %+v", r)
	}
}

func TestJoinWithAnotherConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oasis6.conf")
	if err := os.WriteFile(path, []byte("[Interface]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := oasis6(t, "", "join", someInvitation, "-c", path)
	if want := "oasis6 join: " + path + " exists and is not of this hub: give --replace to set it aside\n"; r != (result{exitFailed, "", want}) {
		t.Errorf("%+v, want %q", r, want)
	}
}

// What is printed at the end, of a box that runs and of one that does not.
func TestJoinSaysWhatIsNext(t *testing.T) {
	opt := join.Options{Config: "/etc/oasis6/oasis6.conf"}
	res := join.Result{Name: "library", KeyFile: "private-307f1b87fdaa2c42.key"}
	for _, c := range []struct {
		running bool
		res     join.Result
		opt     join.Options
		want    string
	}{
		{false, res, opt, "joined: the hub calls this box library\nwrote /etc/oasis6/oasis6.conf and beside it private-307f1b87fdaa2c42.key\n" +
			"next: oasis6 check, then oasis6 run or its service"},
		{true, join.Result{Name: "x", KeyFile: "k", Backup: "f.bak"}, join.Options{Config: "f"}, "joined: the hub calls this box x\nwrote f and beside it k\n" +
			"the old configuration is f.bak: look there for sections to take over\n" +
			"next: restart the running box, it has the old key: systemctl restart oasis6, or stop it and oasis6 run -c f"},
		{true, join.Result{Already: true}, opt, "this box has joined this hub already: /etc/oasis6/oasis6.conf: oasis6 status says whether the hub answers it\nto join anew by another invitation: --replace"},
		{false, join.Result{Already: true, Asked: true}, join.Options{Config: "f", Replace: true}, "this box has joined this hub already, and the hub knows it: f"},
	} {
		c.opt.Running = c.running
		if got := strings.Join(outcome(c.res, c.opt), "\n"); got != c.want {
			t.Errorf("outcome(%+v) = %s, want %s", c.res, got, c.want)
		}
	}
}

// Ctrl-C, and a hub that is silent: the next try is said to go on.
func TestJoinInterrupted(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	i := invite.Invitation{Hub: wgkey.Private{0: 8, 31: 0x45}.Public(), Endpoint: silent.LocalAddr().String(), Secret: invite.Secret{1}, Expires: time.Now().Add(time.Hour)}
	line, err := i.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		var b [256]byte
		_, _, _ = silent.ReadFrom(b[:]) // the handshake has begun
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Signal(os.Interrupt)
	}()
	path := filepath.Join(t.TempDir(), "oasis6.conf")
	r := oasis6(t, "", "join", line, "-c", path, "--run", t.TempDir())
	if r.code != exitFailed || !strings.HasSuffix(r.stderr, "oasis6 join: interrupted: run the same command again to go on\n") {
		t.Errorf("%+v", r)
	}
}
