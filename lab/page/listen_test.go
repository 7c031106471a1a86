// SPDX-License-Identifier: MIT

package page

import (
	"net"
	"os"
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
