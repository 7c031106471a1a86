// SPDX-License-Identifier: MIT

//go:build !small

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

	"oasis6/internal/underrace"
)

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
	maxDemoPeak = 150 << 20
	maxDemoCPU  = 0.10 // of a core
	maxDemoOnce = 5 * time.Second
)

// Any user can run it: the page answers, memory and time stay within their bounds, and an interrupt ends it at once.
func TestDemoRunsAsNobody(t *testing.T) {
	if underrace.Is {
		t.Skip("what it costs is not what it costs the race detector beside all other tests: make lab-seeds runs it")
	}
	t.Parallel() // it looks on most of the time
	path := demoBinary(t)
	t.Run("once", func(t *testing.T) {
		out, err := asNobody(exec.Command(path, "demo", "--once", "--link", "sim")).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		wantSteps(t, string(out))
	})
	t.Run("once, on wireguard-go", func(t *testing.T) { onceIsQuick(t, path) })
	d := startDemo(t, path)
	lookOn(t, d.url, 5*time.Second) // the scenario is over
	for _, c := range []struct {
		what string
		do   func()
	}{
		{"a page looks on", func() { lookOn(t, d.url, 10*time.Second) }},
		{"nobody looks on", func() { time.Sleep(5 * time.Second) }},
	} {
		before, begun := cpuTime(t, d.Process.Pid), time.Now()
		c.do()
		share := (cpuTime(t, d.Process.Pid) - before).Seconds() / time.Since(begun).Seconds()
		if t.Logf("%s: %.1f %% of a core", c.what, share*100); share > maxDemoCPU {
			t.Errorf("%s: %.1f %% of a core, more than %.0f %%", c.what, share*100, maxDemoCPU*100)
		}
	}
	peak := peakMemory(t, d.Process.Pid)
	if t.Logf("%.1f MB at most", float64(peak)/(1<<20)); peak > maxDemoPeak {
		t.Errorf("more than %d MB", maxDemoPeak>>20)
	}
	if err := d.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	if err := d.Wait(); err != nil || time.Since(asked) > 3*time.Second {
		t.Errorf("after an interrupt it ended within %v: %v, %s", time.Since(asked), err, d.stderr.String())
	}
}

// onceIsQuick plays the whole story on wireguard-go, in the time that somebody looks at a terminal for: the best of three,
// since this machine may have something else to do.
func onceIsQuick(t *testing.T, path string) {
	best := time.Hour
	for try := 0; try < 3 && best > maxDemoOnce; try++ {
		begun := time.Now()
		out, err := asNobody(exec.Command(path, "demo", "--once")).CombinedOutput()
		took := time.Since(begun)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		wantSteps(t, string(out))
		best = min(best, took)
		t.Logf("%v", took.Round(time.Millisecond))
	}
	if best > maxDemoOnce {
		t.Errorf("demo --once takes %v, and may take %v", best, maxDemoOnce)
	}
}

// runningDemo is one that serves its page.
type runningDemo struct {
	*exec.Cmd
	stderr bytes.Buffer
	url    string
}

func startDemo(t *testing.T, path string) *runningDemo {
	t.Helper()
	d := &runningDemo{Cmd: asNobody(exec.Command(path, "demo", "--listen", "127.0.0.1:0"))}
	d.Stderr = &d.stderr
	stdout, err := d.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.Process.Kill() // it has ended unless the test failed
		_ = d.Wait()         // as above
		if t.Failed() {
			t.Logf("%s", d.stderr.String())
		}
	})
	line := make([]byte, 200)
	n, err := stdout.Read(line)
	d.url = regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(string(line[:n]))
	if err != nil || d.url == "" {
		t.Fatalf("%v: no address of the page in %q, %q", err, line[:n], d.stderr.String())
	}
	return d
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

// peakMemory is the most that was ever resident: VmHWM of /proc/PID/status, in kB.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no VmHWM in %s", b)
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}
