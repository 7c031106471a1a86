// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rsc.io/qr"

	"oasis6/internal/control"
)

const someInvitation = "oasis6:aej73lc66spihrzaqgmetpbtu7nwz6i6uv7hsig5xdwdr2a4ahhqyaabaibqibiga4eascqlbqgq4d3la3g4aaiwabuhkyromv4gc3lqnrss43tfoq5dkmjygiykra6mvq"

// inviting is a hub that answers "invite", and keeps what it was asked for.
func inviting(t *testing.T, answer error) (run string, asked *inviteParams) {
	t.Helper()
	run, asked = t.TempDir(), new(inviteParams)
	s, err := control.Listen(socketPath(run), control.Methods{Answer: map[string]control.Handler{
		"invite": func(_ context.Context, params json.RawMessage) (any, error) {
			if err := json.Unmarshal(params, asked); err != nil {
				return nil, err
			}
			return inviteAnswer{Invitation: someInvitation, Name: asked.Name, ExpiresAt: time.Unix(1795608000, 0).UTC()}, answer
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return run, asked
}

func TestInvite(t *testing.T) {
	run, asked := inviting(t, nil)
	r := oasis6(t, "", "invite", "library", "--run", run)
	if r.code != exitDone || r.stdout != someInvitation+"\n" || !strings.HasPrefix(r.stderr, "for one box, until 2026-11-") {
		t.Errorf("%+v", r)
	}
	if want := (inviteParams{Name: "library", ValidS: 86400}); *asked != want {
		t.Errorf("asked for %+v, want %+v", *asked, want)
	}
	r = oasis6(t, "", "invite", "old school", "--run", run, "--json", "--valid", "90m", "--endpoint", "192.0.2.1:51820")
	want := "{\n  \"invitation\": \"" + someInvitation + "\",\n  \"name\": \"old school\",\n  \"expires_at\": \"2026-11-25T12:00:00Z\"\n}\n"
	if r != (result{stdout: want}) {
		t.Errorf("--json: %+v, want %s", r, want)
	}
	if want := (inviteParams{Name: "old school", ValidS: 5400, Endpoint: "192.0.2.1:51820"}); *asked != want {
		t.Errorf("asked for %+v, want %+v", *asked, want)
	}
	if r := oasis6(t, "", "invite", "x", "--run", run, "--valid", "7d"); r.code != exitDone || asked.ValidS != 7*86400 {
		t.Errorf("--valid 7d: %+v, asked for %v s", r, asked.ValidS)
	}
}

func TestInviteFails(t *testing.T) {
	run, _ := inviting(t, errors.New("the hub does not know where boxes reach it: set Endpoint in [Hub], or give --endpoint HOST:PORT"))
	box := answering(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"x", "--run", run}, exitFailed, "oasis6 invite: the hub does not know where boxes reach it: set Endpoint in [Hub], or give --endpoint HOST:PORT\n"},
		{[]string{"x", "--run", t.TempDir()}, exitFailed, ": start the hub with oasis6 hub, or name its folder with --run\n"},
		{[]string{"x", "--run", box}, exitFailed, "oasis6 invite: the oasis6 that runs here is a box: invitations are made at the hub\n"},
		{nil, exitUsage, "oasis6 invite: want one NAME"},
		{[]string{"", "--run", run}, exitUsage, `oasis6 invite: name "": want 1 to`},
		{[]string{"x", "--valid", "60d", "--run", run}, exitUsage, "oasis6 invite: valid for 60d: want 1m to 30d\n"},
		{[]string{"x", "--valid", "90s", "--endpoint", "foo", "--run", run}, exitUsage, `oasis6 invite: endpoint "foo": want host:port`},
		{[]string{"old", "school"}, exitUsage, "oasis6 invite: want one NAME; in quotes"},
		{[]string{"x", "--json", "--qr"}, exitUsage, "--json and --qr exclude each other"},
		{[]string{"x", "--valid", "tomorrow"}, exitUsage, "oasis6 invite: --valid tomorrow: want a time such as 90m, 24h or 7d\n"},
		{[]string{"x", "--valid", "-1d"}, exitUsage, "want a time such as"},
		{[]string{"x", "--valid", "d"}, exitUsage, "want a time such as"},
		{[]string{"x", "--valid", "-1h"}, exitUsage, "want a time such as"},
	} {
		r := oasis6(t, "", append([]string{"invite"}, c.args...)...)
		if r.code != c.code || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: %+v, want exit code %d and %q", c.args, r, c.code, c.want)
		}
	}
}

func TestInviteWithBrokenOutput(t *testing.T) {
	run, _ := inviting(t, nil)
	for _, more := range []string{"--qr", "--json"} {
		var errs bytes.Buffer
		code := execute(t.Context(), env{stdout: broken{}, stderr: &errs}, commands(), []string{"invite", "x", "--run", run, more})
		if code != exitFailed || !strings.Contains(errs.String(), "closed pipe") {
			t.Errorf("%s: exit code %d, %q", more, code, errs.String())
		}
	}
}

// drawn reads the modules back out of what is on the screen, true is dark.
func drawn(t *testing.T, text string) [][]bool {
	t.Helper()
	var rows [][]bool
	for line := range strings.Lines(text) {
		line, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), qrColours)
		line, reset := strings.CutSuffix(line, qrReset)
		if !ok || !reset {
			t.Fatalf("line %q does not set and reset its colours", line)
		}
		var top, bottom []bool
		for _, r := range line {
			top = append(top, r == '█' || r == '▀')
			bottom = append(bottom, r == '█' || r == '▄')
		}
		rows = append(rows, top, bottom)
	}
	return rows
}

func TestInviteQR(t *testing.T) {
	run, _ := inviting(t, nil)
	r := oasis6(t, "", "invite", "library", "--run", run, "--qr")
	line, code, _ := strings.Cut(r.stdout, "\n")
	if line != someInvitation {
		t.Errorf("first line %q", line)
	}
	want, err := qr.Encode(strings.ToUpper(someInvitation), qr.L)
	if err != nil {
		t.Fatal(err)
	}
	rows := drawn(t, code)
	if n := strings.Count(code, "\n"); n > 23 || len(rows[0]) > 80 {
		t.Errorf("%d lines of %d columns: they do not fit 80x24 with the line below", n, len(rows[0]))
	}
	for y, row := range rows {
		for x, dark := range row {
			if dark != want.Black(x-qrQuiet, y-qrQuiet) {
				t.Fatalf("module %d, %d is wrong", x, y)
			}
		}
	}
	decodeQR(t, rows, strings.ToUpper(someInvitation))
}

// decodeQR lets other software judge, where it is.
func decodeQR(t *testing.T, rows [][]bool, want string) {
	t.Helper()
	zbar, err := exec.LookPath("zbarimg")
	if err != nil {
		t.Log("not decoded by zbarimg: apt-get install zbar-tools")
		return
	}
	const scale = 4
	var b bytes.Buffer
	fmt.Fprintf(&b, "P5 %d %d 255\n", len(rows[0])*scale, len(rows)*scale)
	for y := range len(rows) * scale {
		for x := range len(rows[0]) * scale {
			grey := byte(255)
			if rows[y/scale][x/scale] {
				grey = 0
			}
			b.WriteByte(grey)
		}
	}
	path := filepath.Join(t.TempDir(), "qr.pgm")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), zbar, "-q", "--raw", path).Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		t.Errorf("zbarimg reads %q, %v, want %q", got, err, want)
	}
}
