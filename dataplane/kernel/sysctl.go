// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// confID names net.ipv6.conf.IFACE.NAME. Interfaces go by index: names change hands.
type confID struct {
	index int // confAll, confDefault or an interface's
	name  string
}

const (
	confAll     = -1
	confDefault = 0

	indexLo = 1 // LOOPBACK_IFINDEX
)

// The values we read or change.
const (
	confForwarding        = "forwarding"
	confAcceptRA          = "accept_ra"
	confAcceptRedirects   = "accept_redirects"
	confAcceptUntrackedNA = "accept_untracked_na" // since Linux 5.19
	confAddrGenMode       = "addr_gen_mode"
	confAutoconf          = "autoconf"
	confDisableIPv6       = "disable_ipv6"
)

// allConf is every name that may stand in the memory.
func allConf() []string {
	return []string{
		confForwarding, confAcceptRA, confAcceptRedirects, confAcceptUntrackedNA,
		confAddrGenMode, confAutoconf, confDisableIPv6,
	}
}

// confMap holds values as the kernel prints them, without the newline. A value that does not exist is absent.
type confMap map[confID]string

// ids is in an order that does not change: all, default, then by index.
func (m confMap) ids() []confID {
	out := make([]confID, 0, len(m))
	for id := range m {
		out = append(out, id)
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].index != out[j].index {
			return out[i].index < out[j].index
		}
		return out[i].name < out[j].name
	})
	return out
}

func confPath(iface string, name string) string {
	return "/proc/sys/net/ipv6/conf/" + iface + "/" + name
}

// sysctls is /proc/sys/net/ipv6/conf of the network namespace it was opened in.
type sysctls struct{ dir *os.File }

func openSysctls() (*sysctls, error) {
	d, err := os.Open("/proc/sys/net/ipv6/conf")
	if err != nil {
		return nil, fmt.Errorf("no IPv6 in this kernel: %w", err)
	}
	return &sysctls{dir: d}, nil
}

func (s *sysctls) Close() error { return s.dir.Close() }

func (s *sysctls) open(iface, name string, flags int) (*os.File, error) {
	// An interface's name may hold a dot but no slash, so this cannot leave the directory.
	fd, err := unix.Openat(int(s.dir.Fd()), iface+"/"+name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: confPath(iface, name), Err: err}
	}
	return os.NewFile(uintptr(fd), confPath(iface, name)), nil
}

// read says false if there is no such value: an older kernel, or an interface without IPv6.
func (s *sysctls) read(iface, name string) (string, bool, error) {
	f, err := s.open(iface, name, unix.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 256))
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return "", false, nil // went away meanwhile
	}
	return strings.TrimSuffix(string(b), "\n"), err == nil, err
}

func (s *sysctls) write(iface, name, value string) error {
	f, err := s.open(iface, name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value + "\n")
	return err
}

// neighborLimit is gc_thresh3, 0 where it cannot be read.
func (s *sysctls) neighborLimit() int {
	fd, err := unix.Openat(int(s.dir.Fd()), "../neigh/default/gc_thresh3", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var b [16]byte
	k, _ := unix.Read(fd, b[:]) // -1 is nothing, too
	most, _ := strconv.Atoi(strings.TrimSpace(string(b[:max(k, 0)])))
	return most
}
