// SPDX-License-Identifier: MIT

package netlab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// GUAs are the node's global IPv6 addresses on an interface that are ready for use: past DAD
// (or optimistic) and not deprecated.
func (n *Node) GUAs(iface string) []netip.Addr {
	n.lab.T.Helper()
	return n.addresses(iface, netip.Addr.IsGlobalUnicast)
}

func (n *Node) addresses(iface string, want func(netip.Addr) bool) []netip.Addr {
	n.lab.T.Helper()
	list, err := n.nl.AddrList(n.link(iface), unix.AF_INET6)
	if err != nil {
		n.lab.T.Fatalf("node %s: addresses of %s: %v", n.Name, iface, err)
	}
	var out []netip.Addr
	for _, a := range list {
		addr, _ := netip.AddrFromSlice(a.IP)
		tentative := a.Flags&unix.IFA_F_TENTATIVE != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0
		if want(addr) && !tentative && a.Flags&(unix.IFA_F_DADFAILED|unix.IFA_F_DEPRECATED) == 0 {
			out = append(out, addr)
		}
	}
	return out
}

// HostHasGUA says whether a host has an address ready for use out of the prefix.
func (w *World) HostHasGUA(h *Node, p netip.Prefix) bool {
	w.T.Helper()
	for _, a := range h.GUAs("eth0") {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// HostDefaultRoute is the next hop of the host's IPv6 default route with the lowest metric; not
// valid when it has none.
func (w *World) HostDefaultRoute(h *Node) netip.Addr {
	w.T.Helper()
	routes, err := h.nl.RouteList(h.link("eth0"), unix.AF_INET6)
	if err != nil {
		w.T.Fatalf("node %s: routes: %v", h.Name, err)
	}
	var via netip.Addr
	metric := 0
	for _, r := range routes {
		if !isDefault(r) {
			continue
		}
		if gw, ok := netip.AddrFromSlice(r.Gw); ok && (!via.IsValid() || r.Priority < metric) {
			via, metric = gw, r.Priority
		}
	}
	return via
}

func isDefault(r netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

// Ping sends one echo request and waits a second for the reply.
func (n *Node) Ping(to string) error {
	_, err := n.Try("ping", "-n", "-c1", "-W1", to)
	return err
}

// fetchTimeout limits a whole Fetch.
const fetchTimeout = 5 * time.Second

// Fetch gets http://HOST/ with HOST an address literal, and returns the body.
func (n *Node) Fetch(addr string) (string, error) {
	var conn net.Conn
	// The dialer of package net stays on this thread for a single address literal.
	err := n.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", net.JoinHostPort(addr, "80"), fetchTimeout)
		return err
	})
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // all was read by then
	if err := conn.SetDeadline(time.Now().Add(fetchTimeout)); err != nil {
		return "", err
	}
	req := "GET / HTTP/1.0\r\nHost: " + addr + "\r\n\r\n"
	if _, err := io.WriteString(conn, req); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("fetch %s: %s", addr, resp.Status)
	}
	return string(body), err
}

// LinkLocals are the node's link-local addresses on an interface that are ready for use.
func (n *Node) LinkLocals(iface string) []netip.Addr {
	n.lab.T.Helper()
	return n.addresses(iface, netip.Addr.IsLinkLocalUnicast)
}

// MAC is the Ethernet address of an interface.
func (n *Node) MAC(iface string) net.HardwareAddr {
	n.lab.T.Helper()
	return n.link(iface).Attrs().HardwareAddr
}

// RSS is the resident memory of the program and of all others in its process group, in octets.
func (p *Proc) RSS() (sum int64) {
	p.node.lab.T.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		p.node.lab.T.Fatalf("%v", err) // a bad pattern: cannot be
	}
	for _, dir := range procs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if group, err := unix.Getpgid(pid); err == nil && group == p.Pid() {
			sum += vmRSS(dir)
		}
	}
	return sum
}

func vmRSS(dir string) int64 {
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0 // it has ended meanwhile
	}
	for line := range strings.Lines(string(text)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	return 0
}

// CPU is the processor time of the program so far, its own and the kernel's for it.
func (p *Proc) CPU() time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ is 100 everywhere
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return 0 // it has ended meanwhile
	}
	// The second field is the name, in parentheses; utime and stime are fields 14 and 15.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick
}
