// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// netns is the network namespace in which Open was called.
type netns struct {
	f     *os.File
	inode uint64
}

const ownNetns = "/proc/thread-self/ns/net"

func openNetns() (*netns, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f, err := os.Open(ownNetns)
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	return &netns{f: f, inode: st.Ino}, nil
}

func (n *netns) Close() error { return n.f.Close() }

// id names the namespace for as long as the machine runs. The cookie, since Linux 5.14, is never
// used twice; an inode may be.
func (n *netns) id(socket int) string {
	if c, err := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err == nil {
		return fmt.Sprintf("net:[%d] cookie %d", n.inode, c)
	}
	return fmt.Sprintf("net:[%d]", n.inode)
}

// do runs f on a thread in the namespace. In a program that never changes its namespace that is any.
func (n *netns) do(f func() error) error {
	runtime.LockOSThread()
	var st unix.Stat_t
	if err := unix.Stat(ownNetns, &st); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("network namespace: %w", err)
	}
	if st.Ino == n.inode {
		defer runtime.UnlockOSThread()
		return f()
	}
	home, err := os.Open(ownNetns)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("network namespace: %w", err)
	}
	defer home.Close()
	if err := unix.Setns(int(n.f.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("network namespace: %w", err)
	}
	err = f()
	if e := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); e != nil {
		return fmt.Errorf("network namespace: %w", e) // the thread stays locked, so it ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}
