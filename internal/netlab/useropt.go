// SPDX-License-Identifier: MIT

package netlab

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"
)

// rtnlgrpNDUserOpt is RTNLGRP_ND_USEROPT of linux/rtnetlink.h.
const rtnlgrpNDUserOpt = 20

// readUserOptions calls handle with each option that the kernel hands to rdnssd and its kind (ndisc_is_useropt in
// net/ipv6/ndisc.c: RDNSS, DNSSL, captive portal, PREF64, and prefixes): of valid RAs only, and only of those that the
// host accepts.
func (n *Node) readUserOptions(handle func(option []byte)) {
	n.lab.T.Helper()
	n.read("netlink ND_USEROPT", func() (int, error) {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		if err != nil {
			return -1, err
		}
		return fd, unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (rtnlgrpNDUserOpt - 1)})
	}, func(b []byte) {
		const headers = 16 + 16 // nlmsghdr, nduseroptmsg; the length of the options is at 16+2
		if len(b) < headers {
			return
		}
		n := int(binary.NativeEndian.Uint16(b[18:]))
		handle(b[headers:min(len(b), headers+n)])
	})
}

// UserOption is an ND option as the kernel of a host passed it to its programs.
type UserOption struct {
	At time.Time
	NDOption
}

// UserOptionWatch collects them.
type UserOptionWatch struct{ watch[UserOption] }

// WatchUserOptions collects all options that the kernel hands over.
func (n *Node) WatchUserOptions() *UserOptionWatch {
	n.lab.T.Helper()
	w := &UserOptionWatch{}
	n.readUserOptions(func(b []byte) {
		for _, o := range parseNDOptions(b) {
			w.add(UserOption{time.Now(), o})
		}
	})
	return w
}

// DNSOption is an RDNSS or DNSSL option that the kernel of a host passed to its programs.
type DNSOption struct {
	At       time.Time
	Lifetime time.Duration
	Servers  []netip.Addr // of RDNSS
	Search   []string     // of DNSSL
}

// DNSWatch collects the DNS options that a host accepts.
type DNSWatch struct{ watch[DNSOption] }

// WatchDNS collects those of WatchUserOptions that are about DNS, decoded.
func (n *Node) WatchDNS() *DNSWatch {
	n.lab.T.Helper()
	w := &DNSWatch{}
	n.readUserOptions(func(b []byte) {
		if o, ok := parseDNS(b); ok {
			w.add(o)
		}
	})
	return w
}

// parseDNS decodes one option through the RA decoder, which wants a whole message.
func parseDNS(opt []byte) (DNSOption, bool) {
	m, err := ndp.ParseMessage(append(append([]byte{134}, make([]byte, 15)...), opt...))
	if err != nil {
		return DNSOption{}, false
	}
	ra, ok := m.(*ndp.RouterAdvertisement)
	if !ok || len(ra.Options) != 1 {
		return DNSOption{}, false
	}
	switch o := ra.Options[0].(type) {
	case *ndp.RecursiveDNSServer:
		return DNSOption{At: time.Now(), Lifetime: o.Lifetime, Servers: o.Servers}, true
	case *ndp.DNSSearchList:
		return DNSOption{At: time.Now(), Lifetime: o.Lifetime, Search: o.DomainNames}, true
	}
	return DNSOption{}, false
}
