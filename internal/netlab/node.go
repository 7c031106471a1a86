// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Lab is one network under test. Its methods fail the test instead of returning errors, and
// like those of Node are to be called from the test's goroutine.
type Lab struct {
	T    T
	dir  string
	macs int // how many interfaces got an address
	all  []*Node
}

// New makes an empty lab that ends with the test. It skips the test as Need does.
func New(t T) *Lab {
	t.Helper()
	Need(t)
	dir, err := os.MkdirTemp(labDir, "")
	if err != nil {
		t.Fatalf("lab directory: %v", err)
	}
	l := &Lab{T: t, dir: dir}
	t.Cleanup(l.close)
	return l
}

// close frees the namespaces. Programs are gone by then: each Proc has a later, so earlier run, cleanup.
func (l *Lab) close() {
	for _, n := range l.all {
		n.nl.Close()
		_ = unix.Close(n.net) // nothing to do about a failed close
		_ = unix.Close(n.mnt)
	}
	if err := os.RemoveAll(l.dir); err != nil {
		l.T.Logf("lab directory: %v", err)
	}
}

// Node is a machine: a network namespace and a mount namespace with an empty /run, and with an
// /etc and a /var/lib that start as the machine's and are its own to change; see Shares.
type Node struct {
	Name     string
	lab      *Lab
	net, mnt int             // namespace descriptors, they keep the namespaces alive
	nl       *netlink.Handle // of this node's network namespace
	shares   error           // see Shares
}

// Node makes a machine whose only interface is lo, up.
func (l *Lab) Node(name string) *Node {
	l.T.Helper()
	n := &Node{Name: name, lab: l, net: -1, mnt: -1}
	if err := os.MkdirAll(n.Path("."), 0o755); err != nil {
		l.T.Fatalf("node %s: %v", name, err)
	}
	if err := onThread(n.create); err != nil {
		l.T.Fatalf("node %s: %v", name, err)
	}
	var err error
	if n.nl, err = netlink.NewHandleAt(netns.NsHandle(n.net)); err != nil {
		l.T.Fatalf("node %s: netlink: %v", name, err)
	}
	l.all = append(l.all, n)
	n.up("lo")
	// A new namespace takes its IPv4 settings from the machine's; tests must not depend on them.
	n.Sysctl("net.ipv4.ip_forward", "0")
	n.Sysctl("net.ipv4.conf.all.rp_filter", "0")
	n.Sysctl("net.ipv4.conf.default.rp_filter", "0")
	return n
}

// ByName finds a node; nil if there is none of that name.
func (l *Lab) ByName(name string) *Node {
	for _, n := range l.all {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// create unshares the namespaces of the calling thread, which is thrown away afterwards.
func (n *Node) create() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := mountNodeRun(); err != nil {
		return err
	}
	n.shares = overlay("/etc", "/var/lib")
	// /sys shows the network namespace it was mounted in. Not allowed everywhere, and only some
	// tools look there.
	_ = unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	var err error
	if n.net, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	if n.mnt, err = unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open mount namespace: %w", err)
	}
	return nil
}

// mountNodeRun gives the node an empty /run, with the lab's directory still in it.
func mountNodeRun() error {
	shared, err := unix.Open(labDir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", labDir, err)
	}
	defer func() { _ = unix.Close(shared) }() // an O_PATH descriptor has nothing to lose
	if err := mountRun(); err != nil {
		return err
	}
	if err := os.Mkdir(labDir, 0o755); err != nil {
		return err
	}
	from := fmt.Sprintf("/proc/self/fd/%d", shared)
	if err := unix.Mount(from, labDir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", labDir, err)
	}
	return nil
}

// overlay lets the calling thread's mount namespace change directories without changing the
// machine's. The changes live on a tmpfs that only the overlays hold.
func overlay(dirs ...string) error {
	const changes = labDir + "/.changes"
	if err := os.MkdirAll(changes, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", changes, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	defer func() { _ = unix.Unmount(changes, unix.MNT_DETACH) }() // it was mounted just now
	for _, dir := range dirs {
		upper, work := changes+"/upper"+dir, changes+"/work"+dir
		for _, d := range []string{upper, work} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		data := "lowerdir=" + dir + ",upperdir=" + upper + ",workdir=" + work
		err := unix.Mount("overlay", dir, "overlay", unix.MS_NOSUID|unix.MS_NODEV, data+",userxattr")
		if err != nil { // the word is as old as overlays in user namespaces, Linux 5.11
			err = unix.Mount("overlay", dir, "overlay", unix.MS_NOSUID|unix.MS_NODEV, data)
		}
		if err != nil {
			return fmt.Errorf("mount overlay on %s: %w", dir, err)
		}
	}
	return nil
}

// Shares says why the node's /etc or /var/lib is the machine's own, so that what is written there
// stays after the lab; nil where they are the node's. Some containers refuse the overlay.
func (n *Node) Shares() error { return n.shares }

// onThread runs f on an OS thread that ends with it, so f may change namespaces.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ok := false
		defer func() {
			if !ok { // f panicked or called runtime.Goexit, as t.Fatalf does
				done <- fmt.Errorf("function did not return: t.Fatalf must be called from the test's goroutine")
			}
		}()
		err := f()
		ok = true
		done <- err
	}()
	return <-done
}

// Do runs f in the node's network namespace. Sockets that f itself opens belong to the node for
// as long as they live; goroutines that f starts do not run there.
func (n *Node) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(n.net, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("node %s: setns: %w", n.Name, err)
		}
		return f()
	})
}

// Inside is Do with the node's mounts too: its /run is f's /run.
func (n *Node) Inside(f func() error) error {
	return n.Do(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("node %s: unshare: %w", n.Name, err)
		}
		wd, err := os.Getwd()
		if err != nil {
			return err
		}
		if err := unix.Setns(n.mnt, unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("node %s: setns: %w", n.Name, err)
		}
		_ = unix.Chdir(wd) // setns went to the root directory; Tmpfs may have covered wd
		return f()
	})
}

// Path names a file of the node that it and the test see at the same place.
func (n *Node) Path(name string) string { return filepath.Join(n.lab.dir, n.Name, name) }

// WriteFile makes a file as the node sees it, with its directories.
func (n *Node) WriteFile(path, text string, mode os.FileMode) {
	n.lab.T.Helper()
	err := n.Inside(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			return err
		}
		return os.Chmod(path, mode) // whatever the umask and the mode it had
	})
	if err != nil {
		n.lab.T.Fatalf("node %s: %v", n.Name, err)
	}
}

// Tmpfs covers a directory of the node with an empty one of its own.
func (n *Node) Tmpfs(dir string) {
	n.lab.T.Helper()
	err := n.Inside(func() error {
		return unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755")
	})
	if err != nil {
		n.lab.T.Fatalf("node %s: mount tmpfs on %s: %v", n.Name, dir, err)
	}
}

// SmallDisk covers a directory of the node with an empty file system of that size, as mount(8) writes sizes.
func (n *Node) SmallDisk(dir, size string) {
	n.lab.T.Helper()
	n.Run("mkdir", "-p", dir)
	n.Run("mount", "-t", "tmpfs", "-o", "mode=0755,size="+size, "tmpfs", dir)
}

// sysctlPath takes both forms of sysctl(8): a.b.c and, for names with dots, a/b/c.
func sysctlPath(key string) string {
	if !strings.Contains(key, "/") {
		key = strings.ReplaceAll(key, ".", "/")
	}
	return "/proc/sys/" + key
}

// Sysctl sets a kernel value of the node.
func (n *Node) Sysctl(key, val string) {
	n.lab.T.Helper()
	err := n.Do(func() error { return os.WriteFile(sysctlPath(key), []byte(val), 0o644) })
	if err != nil {
		n.lab.T.Fatalf("node %s: sysctl %s=%s: %v", n.Name, key, val, err)
	}
}

// SysctlGet reads a kernel value of the node.
func (n *Node) SysctlGet(key string) string {
	n.lab.T.Helper()
	var text []byte
	err := n.Do(func() (err error) { text, err = os.ReadFile(sysctlPath(key)); return err })
	if err != nil {
		n.lab.T.Fatalf("node %s: sysctl %s: %v", n.Name, key, err)
	}
	return strings.TrimSuffix(string(text), "\n")
}

// pollEvery is how often a condition is looked at.
const pollEvery = 20 * time.Millisecond

// WaitFor fails the test unless cond holds within the time. what completes the sentence
// "h1: no GUA within 5s" as "no GUA".
func (n *Node) WaitFor(timeout time.Duration, what string, cond func() bool) {
	n.lab.T.Helper()
	if !Poll(timeout, cond) {
		n.lab.T.Fatalf("%s: %s within %v", n.Name, what, timeout)
	}
}

// Poll waits until cond holds and says whether it did.
func Poll(timeout time.Duration, cond func() bool) bool {
	for end := time.Now().Add(timeout); ; time.Sleep(pollEvery) {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
