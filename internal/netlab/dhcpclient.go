// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// DHCPClient is dhcpcd or dhclient in a node. Each time that it has something to say it runs a script, and what the
// script was told is kept instead of being done: no file of the machine is written, no resolver is set.
type DHCPClient struct {
	*Proc
	events string // file with the environments of the script, one after the other
}

// DHCPEvent is one run of the script: its environment. reason says why, as "BOUND6".
type DHCPEvent map[string]string

const endOfEvent = "--end--"

// newEvents begins with no events, whatever an earlier client of the node left.
func (n *Node) newEvents(name string) *DHCPClient {
	c := &DHCPClient{events: n.Path(name)}
	_ = os.Remove(c.events) // most often there is none
	return c
}

// dumpEnvironment is that script, as lines of sh.
func dumpEnvironment(file string) string { return "{ env; echo " + endOfEvent + "; } >>" + file + "\n" }

// Events are the runs of the script so far.
func (c *DHCPClient) Events() (out []DHCPEvent) {
	text, err := os.ReadFile(c.events)
	if err != nil {
		return nil // it has not run yet
	}
	e := DHCPEvent{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == endOfEvent {
			out, e = append(out, e), DHCPEvent{}
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok {
			e[key] = value
		}
	}
	return out
}

// First waits for an event that ok accepts.
func (c *DHCPClient) First(timeout time.Duration, ok func(DHCPEvent) bool) (found DHCPEvent, err error) {
	if !Poll(timeout, func() bool {
		for _, e := range c.Events() {
			if ok(e) {
				found = e
				return true
			}
		}
		return false
	}) {
		return nil, fmt.Errorf("no such event within %v, %d others:\n%s", timeout, len(c.Events()), c.text())
	}
	return found, nil
}

func (c *DHCPClient) text() string {
	text, err := os.ReadFile(c.events)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Has makes a condition for First: that reason, and that value of a variable.
func Has(reason, key, value string) func(DHCPEvent) bool {
	return func(e DHCPEvent) bool { return e["reason"] == reason && e[key] == value }
}

// StartDHCPcd runs dhcpcd for IPv6 alone on the named interfaces. config are lines of dhcpcd.conf(5); a host that takes
// what the RA says, by SLAAC as by the M and O flags, needs none.
func (n *Node) StartDHCPcd(config string, ifaces ...string) *DHCPClient {
	n.lab.T.Helper()
	Need(n.lab.T, "dhcpcd")
	n.Tmpfs("/var/lib/dhcpcd") // its DUID and leases lie at a fixed place
	// Without its user dhcpcd does not split itself into processes that drop privileges: as a plain user the lab has
	// one user id only.
	if err := n.withoutUser("_dhcpcd"); err != nil {
		n.lab.T.Fatalf("node %s: %v", n.Name, err)
	}
	script, conf := n.Path("dhcpcd.sh"), n.Path("dhcpcd.conf")
	c := n.newEvents("dhcpcd.events")
	n.WriteFile(script, "#!/bin/sh\n"+dumpEnvironment(c.events), 0o755)
	n.WriteFile(conf, "ipv6only\nnodev\nduid\npersistent\nnohook *\noption dhcp6_name_servers, dhcp6_domain_search, dhcp6_ntp_server, dhcp6_info_refresh_time\n"+
		"script "+script+"\n"+config, 0o644)
	c.Proc = n.Start(append([]string{"dhcpcd", "-B", "-d", "-f", conf}, ifaces...)...)
	return c
}

// withoutUser hides a user from the node's programs.
func (n *Node) withoutUser(name string) error {
	return n.Inside(func() error {
		text, err := os.ReadFile("/etc/passwd")
		if err != nil {
			return err
		}
		var keep strings.Builder
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, name+":") {
				keep.WriteString(line)
			}
		}
		if err := os.WriteFile(n.Path("passwd"), []byte(keep.String()), 0o644); err != nil {
			return err
		}
		return unix.Mount(n.Path("passwd"), "/etc/passwd", "", unix.MS_BIND, "")
	})
}

// dhclientConfig asks for DNS, and for NTP servers by the option of RFC 5908, which dhclient 4.4.3 does not know. See
// NTPServerIs.
const dhclientConfig = `option dhcp6.ntp-server code 56 = string;
request;
also request dhcp6.name-servers, dhcp6.domain-search, dhcp6.ntp-server;
`

// StartDHClient runs dhclient -6 on an interface: -S as flag is stateless, -N an address, -P a prefix.
// Its files are where Debian's AppArmor profile wants them.
func (n *Node) StartDHClient(iface string, flags ...string) *DHCPClient {
	n.lab.T.Helper()
	Need(n.lab.T, "dhclient")
	n.WaitFor(10*time.Second, "link-local address of "+iface+" not past DAD, without which dhclient ends", func() bool {
		return len(n.addresses(iface, netip.Addr.IsLinkLocalUnicast)) > 0
	})
	n.Tmpfs("/etc/dhcp")
	n.Tmpfs("/var/lib/dhcp")
	c := n.newEvents("dhclient.events")
	// dhclient-script reads this first. It then still sets the address, but no resolver.
	n.WriteFile("/etc/dhcp/dhclient-enter-hooks.d/lab", "make_resolv_conf() { :; }\n"+dumpEnvironment(c.events), 0o644)
	n.WriteFile("/etc/dhcp/dhclient.conf", dhclientConfig, 0o644)
	args := append([]string{"dhclient", "-6", "-d"}, flags...)
	c.Proc = n.Start(append(args, "-cf", "/etc/dhcp/dhclient.conf", "-lf", "/var/lib/dhcp/dhclient6.leases", "-pf", "/run/dhclient6.pid", iface)...)
	return c
}

// StartRDNSSd runs rdnssd and returns the file that it keeps: lines of resolv.conf(5).
func (n *Node) StartRDNSSd() (file string) {
	n.lab.T.Helper()
	Need(n.lab.T, "rdnssd")
	file = n.Path("rdnssd.conf")
	n.Start("rdnssd", "-f", "-u", "root", "-r", file, "-p", "/run/rdnssd.pid")
	return file
}

// NTPServerIs says whether an event of dhclient carries that address as its one NTP server: suboption 1 of RFC 5908,
// which dhclient shows octet by octet.
func NTPServerIs(e DHCPEvent, addr string) bool {
	want := "0:1:0:10" // the suboption and its length
	for _, b := range netip.MustParseAddr(addr).AsSlice() {
		want += fmt.Sprintf(":%x", b)
	}
	return e["new_dhcp6_ntp_server"] == want
}
