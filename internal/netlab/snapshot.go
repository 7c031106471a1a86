// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// The interfaces that the box and the hand-made R1 make. Snapshots leave their own settings out,
// so that a snapshot from before may be compared with one from while they exist.
const (
	BoxTunnel      = "oasis0"
	HandMadeTunnel = "wg0"
	boxTaps        = "oasis6lan" // and a number, of the userspace data plane
)

// Snapshot4 is all IPv4 state of the node as text, for comparison byte by byte: addresses,
// routes of all tables, rules, nftables of the families that concern IPv4, and net.ipv4 values.
func (n *Node) Snapshot4() string {
	n.lab.T.Helper()
	return n.snapshot("ip -4 -o addr show", "ip -4 route show table all", "ip -4 rule show",
		"nft list ruleset ip", "nft list ruleset inet", "nft list ruleset arp") +
		n.sysctls("net/ipv4")
}

// Snapshot6 is all IPv6 state of the node that programs set, and Snapshot6Sysctls: addresses and
// routes without their remaining lifetimes, rules, nftables of all families.
func (n *Node) Snapshot6() string {
	n.lab.T.Helper()
	text := n.snapshot("ip -6 -o addr show", "ip -6 route show table all", "ip -6 rule show", "nft list ruleset")
	countsDown := regexp.MustCompile(`\b(valid_lft|preferred_lft|expires) [0-9]+sec`)
	return countsDown.ReplaceAllString(text, "$1 N") + n.Snapshot6Sysctls()
}

// Snapshot6Sysctls is all of net.ipv6.conf of the node, of all interfaces, all and default.
func (n *Node) Snapshot6Sysctls() string {
	n.lab.T.Helper()
	return n.sysctls("net/ipv6/conf")
}

func (n *Node) snapshot(commands ...string) string {
	n.lab.T.Helper()
	var b strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&b, "# %s\n%s", c, n.Run(strings.Fields(c)...))
	}
	return b.String()
}

// sysctls prints every value under a directory of /proc/sys, one per line.
func (n *Node) sysctls(dir string) string {
	n.lab.T.Helper()
	var b strings.Builder
	err := n.Do(func() error {
		root := filepath.Join("/proc/sys", dir)
		return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == BoxTunnel || d.Name() == HandMadeTunnel || strings.HasPrefix(d.Name(), boxTaps)):
				return fs.SkipDir
			case d.IsDir():
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil { // write-only ones, and stable_secret before it is set
				text = []byte("(not readable)")
			}
			fmt.Fprintf(&b, "%s = %s\n", strings.TrimPrefix(path, "/proc/sys/"), strings.TrimSuffix(string(text), "\n"))
			return nil
		})
	})
	if err != nil {
		n.lab.T.Fatalf("node %s: %v", n.Name, err)
	}
	return b.String()
}

// Diff is the lines that two snapshots do not share, for failure texts: "- " was, "+ " is.
func Diff(was, is string) string {
	a, b := lineSet(was), lineSet(is)
	var out strings.Builder
	for line := range strings.Lines(was) {
		if !b[line] {
			out.WriteString("- " + line)
		}
	}
	for line := range strings.Lines(is) {
		if !a[line] {
			out.WriteString("+ " + line)
		}
	}
	return out.String()
}

func lineSet(text string) map[string]bool {
	set := map[string]bool{}
	for line := range strings.Lines(text) {
		set[line] = true
	}
	return set
}
