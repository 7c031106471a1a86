// SPDX-License-Identifier: MIT

package page

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// The demo needs no root: for a port of root's there are others.
func TestListenNeedsNoRoot(t *testing.T) {
	for cause, want := range map[error]string{
		syscall.EACCES:     "ports below 1024 can be had as root only: name another",
		syscall.EADDRINUSE: "is another demo running, or does it need another port?",
	} {
		if got := toListen(&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", cause)}); got != want {
			t.Errorf("%v: %q, want %q", cause, got, want)
		}
	}
}

func TestListenTakesLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"localhost:0", "127.0.0.1:0", "[::1]:0"} {
		l, err := Listen(addr)
		if err != nil && addr == "[::1]:0" {
			continue // a machine without IPv6
		}
		if err != nil {
			t.Errorf("Listen(%q): %v", addr, err)
			continue
		}
		_ = l.Close() // was only to be opened
	}
	for addr, want := range map[string]string{":8666": "not on this machine alone", "0.0.0.0:0": "not on this machine alone", "[::]:0": "not on this machine alone", "192.0.2.1:0": "ssh -L", "localhost": "give HOST:PORT, such as localhost:8066"} {
		if l, err := Listen(addr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q): %v %v, want an error with %q", addr, l, err, want)
		}
	}
}
