// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"oasis6/config"
)

const goodHub = `[Interface]
PrivateKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=

[Hub]
Pool = 2001:db8:ebbd:9900::/56
OnLink = yes
Uplink = eth0

[Peer]
Name = library
PublicKey = E/2sXvSeg8cggZhJvDOn22z5HqV+eSDduOw46BwBzww=
PresharedKey = Dv6yY/Nj6V7pzpIA7hMb3wUQPhUrlPncjzTXZqVZxJk=
`

func TestCheckOfAHub(t *testing.T) {
	path := file(t, goodHub, 0o600)
	r := oasis6(t, "", "check", "-c", path)
	if r.code != exitDone {
		t.Fatalf("check: %+v", r)
	}
	for _, want := range []string{"# What counts in " + path, "\nPool = 2001:db8:ebbd:9900::/56\n", "\nMaxSiteLength = 60\n", "\nListenPort = 51820\n", "\nName = library\n"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("check prints no %q:\n%s", want, r.stdout)
		}
	}
	if strings.Contains(r.stdout+r.stderr, "dwdtCnMYpX08") || strings.Contains(r.stdout+r.stderr, "Dv6yY") {
		t.Errorf("check prints a secret: %+v", r)
	}
	if want := path + ":6: notice: OnLink = yes"; !strings.HasPrefix(r.stderr, want) {
		t.Errorf("check has no %q: %q", want, r.stderr)
	}
	for _, c := range []struct{ path, lan, want string }{
		{file(t, goodHub, 0o644), "", ":2: PrivateKey: group or others may read or write this file"},
		{file(t, goodHub+"Prefx = x\n", 0o600), "", `:13: unknown key "Prefx" in [Peer]: did you mean Prefix?`},
		{path, "eth1", "--lan: this is the file of a hub, which has no LANs"},
	} {
		if r := oasis6(t, "", "check", "-c", c.path, "--lan="+c.lan); r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("check: %+v, want exit code 2 and %q", r, c.want)
		}
	}
}

func TestCheckPrintsWhatAHubWouldDo(t *testing.T) {
	cfg, _, err := config.ParseHub("x.conf", strings.NewReader(goodHub))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	preview := func(c *config.HubConfig) string { return "delegate from " + c.Hub.Pools[0].String() + "\n" }
	if err := ofHub("x.conf", preview)(cfg, nil, nil).write(env{stdout: &b}); err != nil {
		t.Fatal(err)
	}
	if want := "\n# What oasis6 hub would do:\n# delegate from 2001:db8:ebbd:9900::/56\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("%s\nwant %q at its end", b.String(), want)
	}
	// What is printed is a configuration itself, but for the hidden keys.
	again := strings.ReplaceAll(b.String(), "(hidden)", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=")
	if _, _, err := config.ParseHub("again", strings.NewReader(again)); err != nil {
		t.Errorf("the output does not parse: %v", err)
	}
}

// With the userspace data plane the kernel has neither the tunnel nor the routes, and the text does not look as if.
func TestCheckTellsTheProcessFromTheMachine(t *testing.T) {
	const link, tunnel = "# link oasis0 mtu 1420 up\n", "# tunnel oasis0 mtu 1420\n"
	const tap = "# What oasis6 run would do:\n# tap in bridge br-lan, whose kernel takes no RA meanwhile (accept_ra 0)\n# the rest is in the process, ip and nft show nothing of it:\n"
	for plane, want := range map[string][]string{"kernel": {link, tap, tunnel}, "userspace": {tap, link}} {
		r := oasis6(t, "", "check", "-c", file(t, goodConfig+"[Router]\nDataplane = "+plane+"\n", 0o600))
		if r.code != exitDone || !strings.Contains(r.stdout, want[0]) || !strings.Contains(r.stdout, "\n# route default from 2001:db8:ebbd:9900::/56 dev oasis0 metric 512\n") {
			t.Errorf("%s: %+v, want %q", plane, r, want[0])
		}
		for _, other := range want[1:] {
			if strings.Contains(r.stdout, other) {
				t.Errorf("%s: %s\nhas %q", plane, r.stdout, other)
			}
		}
		if strings.Contains(r.stdout, tunnel) != (plane == "userspace") {
			t.Errorf("%s: %s\ntells of the tunnel: %q", plane, r.stdout, tunnel)
		}
	}
}

// A pipe can be read only once, whatever the file is for.
func TestCheckReadsAPipe(t *testing.T) {
	for text, want := range map[string]string{goodConfig: "AllowedIPs = ::/0\n", goodHub: "SiteLength = 64\n"} {
		path := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		wrote := make(chan error, 1)
		go func() { wrote <- os.WriteFile(path, []byte(text), 0o600) }()
		r := oasis6(t, "", "check", "-c", path)
		if err := <-wrote; err != nil || r.code != exitDone || !strings.Contains(r.stdout, want) {
			t.Errorf("check of a pipe: %+v, %v, want exit code 0 and %q", r, err, want)
		}
	}
}

// The box's command and the hub's do not take each other's file, and say so in one line.
func TestRunRefusesAHub(t *testing.T) {
	path := file(t, goodHub, 0o600)
	r := oasis6(t, "", "run", "-c", path, "--run", t.TempDir(), "--state", t.TempDir())
	if want := path + ":4: [Hub]: this is the file of a hub, not of a box: oasis6 hub -c " + path + "\n"; r.code != exitUsage || r.stderr != want {
		t.Errorf("run: %+v, want exit code 2 and %q", r, want)
	}
}
