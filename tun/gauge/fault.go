// SPDX-License-Identifier: MIT

package gauge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Fault is one ICMP error about a datagram of ours. Anybody on the path can send one.
type Fault struct {
	From netip.Addr // who says so; invalid: this host's kernel
	What string     // in the words of the RFC: "port unreachable"
	MTU  int        // of "fragmentation needed" and "packet too big"; else 0
	// Refused: nobody listens at that port, or a firewall that rejects pretends so.
	Refused bool
	// Forbidden: a firewall says that it is one.
	Forbidden bool
}

func (f Fault) String() string {
	if !f.From.IsValid() {
		return "this host's kernel says: " + f.What
	}
	return f.From.String() + " says: " + f.What
}

// family is what differs between the outer address families.
type family struct {
	udp            string // for package net
	level          int
	receiveErrors  int // the socket option, and the type of the control message
	discover       int // the socket option
	dont, probe    int // its values: the kernel may cut; it neither cuts nor believes in what it knows of the path
	mtu            int // the socket option
	icmpOrigin     byte
	describe       func(typ, code byte) Fault
	offenderOffset int // of the address in the sockaddr of who has sent the ICMP
	offenderLen    int
	offenderFamily uint16
}

func familyOf(a netip.Addr) family {
	if a.Unmap().Is4() {
		return family{
			udp: "udp4", level: unix.IPPROTO_IP, receiveErrors: unix.IP_RECVERR, discover: unix.IP_MTU_DISCOVER,
			dont: unix.IP_PMTUDISC_DONT, probe: unix.IP_PMTUDISC_PROBE, mtu: unix.IP_MTU,
			icmpOrigin: originICMP, describe: icmp4, offenderOffset: 4, offenderLen: 4, offenderFamily: unix.AF_INET,
		}
	}
	return family{
		udp: "udp6", level: unix.IPPROTO_IPV6, receiveErrors: unix.IPV6_RECVERR, discover: unix.IPV6_MTU_DISCOVER,
		dont: unix.IPV6_PMTUDISC_DONT, probe: unix.IPV6_PMTUDISC_PROBE, mtu: unix.IPV6_MTU,
		icmpOrigin: originICMP6, describe: icmp6, offenderOffset: 8, offenderLen: 16, offenderFamily: unix.AF_INET6,
	}
}

// prepare makes a socket that hears of ICMP and cuts nothing.
func (f family) prepare(fd int) error {
	return errors.Join(unix.SetsockoptInt(fd, f.level, f.receiveErrors, 1), unix.SetsockoptInt(fd, f.level, f.discover, f.probe))
}

func (f family) mayFragment(fd int) error {
	return unix.SetsockoptInt(fd, f.level, f.discover, f.dont)
}

// reported says whether an error of a socket may be one that ICMP has left there.
func reported(err error) bool {
	for _, e := range []error{unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EMSGSIZE, unix.EACCES, unix.EPROTO, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// reports empties the error queue of a socket (ip(7), IP_RECVERR).
func (f family) reports(sock *net.UDPConn) (list []Fault) {
	raw, err := sock.SyscallConn()
	if err != nil {
		return nil
	}
	payload, oob := make([]byte, 64), make([]byte, 512)
	_ = control(raw, func(fd int) error { // closed: then there are none
		for {
			_, n, _, _, err := unix.Recvmsg(fd, payload, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err != nil {
				return err // EAGAIN: that was all
			}
			if fault, ok := f.parse(oob[:n]); ok {
				list = append(list, fault)
			}
		}
	})
	return list
}

// Origins of struct sock_extended_err (linux/errqueue.h), and its length.
const (
	originLocal    = 1
	originICMP     = 2
	originICMP6    = 3
	extendedErrLen = 16
)

// parse finds struct sock_extended_err and the address behind it among control messages.
func (f family) parse(oob []byte) (Fault, bool) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return Fault{}, false
	}
	for _, m := range messages {
		if int(m.Header.Level) != f.level || int(m.Header.Type) != f.receiveErrors || len(m.Data) < extendedErrLen {
			continue
		}
		errno := syscall.Errno(binary.NativeEndian.Uint32(m.Data))
		origin, typ, code := m.Data[4], m.Data[5], m.Data[6]
		fault := Fault{What: errno.Error()}
		if origin == f.icmpOrigin {
			fault = f.describe(typ, code)
			fault.From = f.offender(m.Data[extendedErrLen:])
		} else if origin != originLocal {
			continue
		}
		if errno == unix.EMSGSIZE {
			fault.MTU = int(min(binary.NativeEndian.Uint32(m.Data[8:]), 1<<16))
		}
		return fault, true
	}
	return Fault{}, false
}

func (f family) offender(sockaddr []byte) netip.Addr {
	end := f.offenderOffset + f.offenderLen
	if len(sockaddr) < end || binary.NativeEndian.Uint16(sockaddr) != f.offenderFamily {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(sockaddr[f.offenderOffset:end]) // 4 or 16 octets
	return a
}

// icmp4 names ICMP (RFC 792, RFC 1812 section 5.2.7.1).
func icmp4(typ, code byte) Fault {
	names := map[byte]string{
		0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable",
		4: "fragmentation needed", 9: "network administratively prohibited", 10: "host administratively prohibited",
		13: "communication administratively prohibited",
	}
	switch {
	case typ == 3 && names[code] != "":
		return Fault{What: names[code], Refused: code == 3, Forbidden: code == 9 || code == 10 || code == 13}
	case typ == 11:
		return Fault{What: "time exceeded: a routing loop"}
	}
	return Fault{What: fmt.Sprintf("ICMP type %d code %d", typ, code)}
}

// icmp6 names ICMPv6 (RFC 4443 section 3).
func icmp6(typ, code byte) Fault {
	names := map[byte]string{
		0: "no route to destination", 1: "communication administratively prohibited", 2: "beyond scope of source address",
		3: "address unreachable", 4: "port unreachable", 5: "source address failed ingress/egress policy", 6: "reject route to destination",
	}
	switch {
	case typ == 1 && names[code] != "":
		return Fault{What: names[code], Refused: code == 4, Forbidden: code == 1 || code == 5 || code == 6}
	case typ == 2:
		return Fault{What: "packet too big"}
	case typ == 3:
		return Fault{What: "time exceeded: a routing loop"}
	}
	return Fault{What: fmt.Sprintf("ICMPv6 type %d code %d", typ, code)}
}
