// SPDX-License-Identifier: MIT

package netlab

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestWirePings(t *testing.T) {
	l := New(t)
	a, b := l.Node("a"), l.Node("b")
	l.Wire(a, "eth0", b, "eth0")
	a.Addr("eth0", "2001:db8::1/64")
	b.Addr("eth0", "2001:db8::2/64")
	a.Run("ping", "-c1", "-W2", "2001:db8::2")
	l.Cut(b, "eth0")
	if out, err := a.Try("ping", "-c1", "-W1", "2001:db8::2"); err == nil {
		t.Errorf("ping over a cut wire = %q, want an error", out)
	}
}

func TestNodesHaveTheirOwnRun(t *testing.T) {
	l := New(t)
	a, b := l.Node("a"), l.Node("b")
	a.WriteFile("/run/wireguard/x", "a\n", 0o600)
	if got := a.Run("cat", "/var/run/wireguard/x"); got != "a\n" {
		t.Errorf("a reads %q, want its own file", got)
	}
	var ce *CmdError
	if _, err := b.Try("cat", "/run/wireguard/x"); !errors.As(err, &ce) || ce.Code != 1 || !strings.Contains(ce.Stderr, "No such file") {
		t.Errorf("b reads a's file: %v, want a CmdError with code 1", err)
	}
	a.WriteFile(a.Path("f"), "shared\n", 0o644)
	if got := a.Run("cat", a.Path("f")); got != "shared\n" {
		t.Errorf("a reads %q", got)
	}
	if got, err := os.ReadFile(a.Path("f")); err != nil || string(got) != "shared\n" {
		t.Errorf("the test reads %q, %v", got, err)
	}
}

// What is typed in a node must not change the machine.
func TestNodesHaveTheirOwnEtc(t *testing.T) {
	l := New(t)
	a, b := l.Node("a"), l.Node("b")
	if err := a.Shares(); err != nil {
		refuse(t, "%v", err)
	}
	for _, dir := range []string{"/etc", "/var/lib"} {
		path := filepath.Join(dir, filepath.Base(l.dir), "x")
		a.WriteFile(path, "a\n", 0o600)
		if got := a.Run("cat", path); got != "a\n" {
			t.Errorf("a reads %q from %s", got, path)
		}
		if _, err := b.Try("cat", path); err == nil {
			t.Errorf("b reads a's %s", path)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s of the machine: %v, want that it does not exist", path, err)
		}
		a.Tmpfs(dir)
		if _, err := a.Try("cat", path); err == nil {
			t.Errorf("Tmpfs does not cover %s", dir)
		}
	}
}

func TestDoOpensSocketsInTheNode(t *testing.T) {
	l := New(t)
	a := l.Node("a")
	a.Addr("lo", "192.0.2.1/32")
	var ln net.Listener
	if err := a.Do(func() (err error) { ln, err = net.Listen("tcp", "192.0.2.1:80"); return err }); err != nil {
		t.Fatalf("listen in the node: %v", err)
	}
	defer ln.Close()
	if _, err := net.Listen("tcp", "192.0.2.1:80"); err == nil {
		t.Error("the node's address is here too")
	}
}

func TestProcLinesAndSignals(t *testing.T) {
	l := New(t)
	a := l.Node("a")
	lines := make(chan string, 10)
	p := a.StartWith(func(s string) { lines <- s }, "sh", "-c", `trap 'echo bye; exit 3' TERM; echo one; printf tw; echo o; while :; do sleep 0.1; done`)
	for _, want := range []string{"one", "two"} {
		if got := <-lines; got != want {
			t.Errorf("line %q, want %q", got, want)
		}
	}
	if code := p.Stop(syscall.SIGTERM); code != 3 || !p.WaitOutput(time.Second, "bye\n") {
		t.Errorf("exit code %d, output %q, want 3 and bye", code, p.Output())
	}
}

func TestKillTakesTheGroup(t *testing.T) {
	l := New(t)
	a := l.Node("a")
	p := a.Start("sh", "-c", `sleep 1000 & echo $!; wait`)
	if !p.WaitOutput(5*time.Second, "\n") {
		t.Fatal("no output")
	}
	child := strings.TrimSpace(p.Output())
	p.Kill()
	a.WaitFor(2*time.Second, "child still alive", func() bool {
		state, err := os.ReadFile(filepath.Join("/proc", child, "stat"))
		return err != nil || strings.Contains(string(state), ") Z ") // nobody waits for orphans here
	})
}

func TestSysctlIsTheNodes(t *testing.T) {
	l := New(t)
	a, b := l.Node("a"), l.Node("b")
	a.Forward()
	if got, other := a.SysctlGet("net/ipv6/conf/all/forwarding"), b.SysctlGet("net.ipv6.conf.all.forwarding"); got != "1" || other != "0" {
		t.Errorf("forwarding a=%s b=%s, want 1 and 0", got, other)
	}
}
