// SPDX-License-Identifier: MIT

package netstack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelLink is an interface of the kernel, as far as we care.
type kernelLink struct {
	index, master int
	name, kind    string
	mtu           int
	up, running   bool
	// forwards: as a port of a bridge, the spanning tree lets it through. What duplicate address detection would hear
	// before then says nothing.
	forwards bool
}

// brForwarding is BR_STATE_FORWARDING (linux/if_bridge.h).
const brForwarding = 3

// findLink looks an interface up; of one that is not there the index is 0.
func findLink(name string) (kernelLink, error) {
	all, err := readLinks()
	return byName(all, name), err
}

// dumpTries is how often a list is asked for that changes while the kernel gives it.
const dumpTries = 5

var errInterrupted = errors.New("they change all the time")

// readLinks reads the interfaces of the network namespace.
func readLinks() ([]kernelLink, error) {
	return wholeDump(func() ([]syscall.NetlinkMessage, error) {
		rib, err := syscall.NetlinkRIB(syscall.RTM_GETLINK, syscall.AF_UNSPEC)
		if err != nil {
			return nil, err
		}
		return syscall.ParseNetlinkMessage(rib)
	})
}

// wholeDump asks again for a list that the kernel says may lack some, or have some twice (NLM_F_DUMP_INTR).
func wholeDump(read func() ([]syscall.NetlinkMessage, error)) ([]kernelLink, error) {
	for range dumpTries {
		msgs, err := read()
		if err != nil {
			return nil, fmt.Errorf("read interfaces: %w", err)
		}
		if out, whole := decodeLinks(msgs); whole {
			return out, nil
		}
	}
	return nil, fmt.Errorf("read interfaces: %w", errInterrupted)
}

func decodeLinks(msgs []syscall.NetlinkMessage) (out []kernelLink, whole bool) {
	for _, m := range msgs {
		if m.Header.Flags&unix.NLM_F_DUMP_INTR != 0 {
			return nil, false
		}
		if m.Header.Type == syscall.RTM_NEWLINK && len(m.Data) >= unix.SizeofIfInfomsg {
			out = append(out, decodeLink(m.Data))
		}
	}
	return out, true
}

func decodeLink(b []byte) kernelLink {
	flags := binary.NativeEndian.Uint32(b[8:])
	l := kernelLink{
		index: int(int32(binary.NativeEndian.Uint32(b[4:]))),
		up:    flags&unix.IFF_UP != 0, running: flags&unix.IFF_RUNNING != 0 && flags&unix.IFF_UP != 0,
	}
	attrs(b[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) {
		switch {
		case typ == unix.IFLA_IFNAME:
			l.name = ifname(v)
		case typ == unix.IFLA_MTU && len(v) >= 4:
			l.mtu = int(int32(binary.NativeEndian.Uint32(v)))
		case typ == unix.IFLA_MASTER && len(v) >= 4:
			l.master = int(int32(binary.NativeEndian.Uint32(v)))
		case typ == unix.IFLA_LINKINFO:
			attrs(v, l.info)
		}
	})
	return l
}

// info reads the attributes of one kind of interface, and of one kind of port.
func (l *kernelLink) info(typ uint16, v []byte) {
	switch typ {
	case unix.IFLA_INFO_KIND:
		l.kind = ifname(v)
	case unix.IFLA_INFO_SLAVE_DATA:
		attrs(v, func(typ uint16, v []byte) {
			if typ == unix.IFLA_BRPORT_STATE && len(v) > 0 {
				l.forwards = v[0] == brForwarding
			}
		})
	}
}

// attrs calls f for each attribute; what does not parse ends the message.
func attrs(b []byte, f func(typ uint16, val []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}

// linkAttr is an attribute of an interface.
type linkAttr struct {
	typ   uint16
	value []byte
}

func number(typ uint16, v int) linkAttr {
	return linkAttr{typ, binary.NativeEndian.AppendUint32(nil, uint32(v))}
}

// setLink changes an interface: flags that are to be set, and attributes.
func setLink(index int, flags uint32, list ...linkAttr) error {
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	order := binary.NativeEndian
	order.PutUint16(b[4:], unix.RTM_NEWLINK)
	order.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	info := b[unix.SizeofNlMsghdr:]
	order.PutUint32(info[4:], uint32(index))
	order.PutUint32(info[8:], flags)
	order.PutUint32(info[12:], flags) // the mask
	for _, a := range list {
		b = order.AppendUint16(b, uint16(unix.SizeofRtAttr+len(a.value)))
		b = append(order.AppendUint16(b, a.typ), a.value...)
		b = append(b, make([]byte, -len(b)&3)...)
	}
	order.PutUint32(b, uint32(len(b)))
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	if err := unix.Sendto(s, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(s, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 || order.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("netlink: no answer of the kernel")
	}
	if code := -int32(order.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
		return unix.Errno(code)
	}
	return nil
}
