// SPDX-License-Identifier: MIT

//go:build !small && !mips && !mipsle

package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDemoOnce(t *testing.T) {
	r := oasis6(t, "", "demo", "--once")
	lines := regexp.MustCompile(`(?m)^ \d/\d passed +\d+\.\d{3} s  `).FindAllString(r.stdout, -1)
	if r.code != exitDone || len(lines) < 6 || !strings.Contains(r.stdout, "link wg") || !strings.Contains(r.stdout, "steps passed, in ") {
		t.Errorf("%d lines of steps: %+v", len(lines), r)
	}
}

func TestDemoIsRefused(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--scenario", "ipv6-only"}, exitUsage, "scenario ipv6-only is not available: NAT64 is not in this version"},
		{[]string{"--once", "--scenario", "roam"}, exitUsage, "scenario roam is not available"},
		{[]string{"--scenario", "nonsense"}, exitUsage, `no scenario "nonsense": there are split-tunnel, `},
		{[]string{"--seed", "x"}, exitUsage, "--seed x: want a number"},
		{[]string{"--link", "ipsec"}, exitUsage, "want sim or wg"},
		{[]string{"--once", "--listen", "localhost:1"}, exitUsage, "no page to listen for"},
		{[]string{"--listen", "192.0.2.1:8066"}, exitFailed, "not on this machine alone"},
		{[]string{"x"}, exitUsage, "takes no words"},
	} {
		r := oasis6(t, "", append([]string{"demo"}, c.args...)...)
		if r.code != c.code || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: %+v, want exit code %d and %q", c.args, r, c.code, c.want)
		}
	}
}

func TestDemoListsScenarios(t *testing.T) {
	r := oasis6(t, "", "demo", "--list")
	for _, want := range []string{"split-tunnel ", "renumber ", "(not available: NAT64"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in %+v", want, r)
		}
	}
}

// demoBinary is the program as a user who is not root can start it.
func demoBinary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "oasis6-demo") // t.TempDir is root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "oasis6")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// asNobody starts the command without root, where the test has root to give up.
func asNobody(cmd *exec.Cmd) *exec.Cmd {
	const nobody = 65534
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	cmd.Dir = "/"
	return cmd
}

// What a demo may cost.
const (
	maxDemoRSS = 150 << 20
	maxDemoCPU = 0.10 // of a core
)

// Any user can run it: the page answers, memory and time stay within their bounds, and an interrupt ends it at once.
func TestDemoRunsAsNobody(t *testing.T) {
	path := demoBinary(t)
	t.Run("once", func(t *testing.T) {
		if out, err := asNobody(exec.Command(path, "demo", "--once", "--link", "sim")).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	var stderr bytes.Buffer
	cmd := asNobody(exec.Command(path, "demo", "--listen", "127.0.0.1:0"))
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended unless the test failed
		_ = cmd.Wait()         // as above
		if t.Failed() {
			t.Logf("%s", stderr.String())
		}
	})
	line := make([]byte, 200)
	n, err := stdout.Read(line)
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(string(line[:n]))
	if err != nil || url == "" {
		t.Fatalf("%v: no address of the page in %q, %q", err, line[:n], stderr.String())
	}
	lookOn(t, url, 5*time.Second)
	before, begun := cpuTime(t, cmd.Process.Pid), time.Now()
	lookOn(t, url, 5*time.Second)
	share := (cpuTime(t, cmd.Process.Pid) - before).Seconds() / time.Since(begun).Seconds()
	rss := residentSet(t, cmd.Process.Pid)
	t.Logf("%.1f MB resident, %.1f %% of a core while a page looks on", float64(rss)/(1<<20), share*100)
	if rss > maxDemoRSS || share > maxDemoCPU {
		t.Errorf("more than %d MB or %.0f %%", maxDemoRSS>>20, maxDemoCPU*100)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	if err := cmd.Wait(); err != nil || time.Since(asked) > 3*time.Second {
		t.Errorf("after an interrupt it ended within %v: %v, %s", time.Since(asked), err, stderr.String())
	}
}

// lookOn reads the page's events, as a browser does.
func lookOn(t *testing.T, url string, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // only read
	got, _ := io.ReadAll(resp.Body)          // until ctx ends
	for _, want := range []string{"event: state", "event: packets", `"h1"`} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("no %q among %d octets of events", want, len(got))
		}
	}
}

// cpuTime is what a process has used: fields 14 and 15 of /proc/PID/stat, in hundredths of a second.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	total := 0
	for _, s := range f[11:13] {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return time.Duration(total) * 10 * time.Millisecond
}

// residentSet is the second field of /proc/PID/statm, in pages.
func residentSet(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return n * os.Getpagesize()
}
