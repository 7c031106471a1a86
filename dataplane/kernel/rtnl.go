// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sort"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

// ifaProto is IFA_PROTO, since Linux 5.18; golang.org/x/sys/unix lacks it.
const ifaProto = 11

// iflaInfoKind and the like are nested or old enough to be missing in golang.org/x/sys/unix.
const (
	iflaInfoKind = 1
	lifeForever  = ^uint32(0) // INFINITY_LIFE_TIME
)

// rtnl is the request socket for links, addresses and routes. It stays in the network namespace it
// was opened in. The library's typed calls are not used: they know neither RTA_SRC of a route nor
// IFA_PROTO of an address.
type rtnl struct{ sockets map[int]*nl.SocketHandle }

func openRtnl() (*rtnl, error) {
	s, err := nl.GetNetlinkSocketAt(-1, -1, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	_ = s.SetExtAck(true) // only makes error texts better; before Linux 4.12 there is none
	// Strict checking lets the kernel filter dumps by table; before Linux 4.20 we filter alone.
	_ = unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return &rtnl{sockets: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}}, nil
}

func (c *rtnl) Close() error {
	c.sockets[unix.NETLINK_ROUTE].Socket.Close()
	return nil
}

func (c *rtnl) fd() int { return c.sockets[unix.NETLINK_ROUTE].Socket.GetFd() }

func (c *rtnl) request(typ, flags int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(typ, flags)
	r.Sockets = c.sockets
	return r
}

// do sends a request for which only success or failure comes back.
func (c *rtnl) do(r *nl.NetlinkRequest) error {
	r.Flags |= unix.NLM_F_ACK
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// dump reads the objects of a kind that decode wants. The others are not kept: there may be a million.
func dump[T any](c *rtnl, get, answer int, header nl.NetlinkRequestData, decode func(msg []byte) (T, bool)) ([]T, error) {
	return collect(decode, func(f func([]byte) bool) error {
		r := c.request(get, unix.NLM_F_DUMP)
		r.AddData(header)
		return r.ExecuteIter(unix.NETLINK_ROUTE, uint16(answer), f)
	})
}

// collect decodes while read goes on. What was interrupted by a change is read again, from the start.
func collect[T any](decode func(msg []byte) (T, bool), read func(f func(msg []byte) bool) error) ([]T, error) {
	const tries = 5 // a table that changes all the time: take what there is, the change makes an event
	for n := 1; ; n++ {
		var out []T
		err := read(func(m []byte) bool {
			if v, ok := decode(m); ok {
				out = append(out, v)
			}
			return true
		})
		if err != nil && !errors.Is(err, nl.ErrDumpInterrupted) {
			return nil, err
		}
		if err == nil || n == tries {
			return out, nil
		}
	}
}

func (c *rtnl) links() ([]link, error) {
	out, err := dump(c, unix.RTM_GETLINK, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC), decodeLink)
	if err != nil {
		return nil, fmt.Errorf("read interfaces: %w", err)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].index < out[j].index })
	return out, nil
}

func (c *rtnl) addrs() ([]addr, error) {
	out, err := dump(c, unix.RTM_GETADDR, unix.RTM_NEWADDR, nl.NewIfAddrmsg(unix.AF_INET6), decodeAddr)
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	return out, nil
}

// routes are those of the main table that keep wants. The kernel leaves out other tables; by protocol it
// must not, since others' routes matter too.
func (c *rtnl) routes(keep func(r route) bool) ([]route, error) {
	h := nl.NewRtMsg()
	h.Family, h.Protocol, h.Type, h.Scope = unix.AF_INET6, 0, 0, 0
	out, err := dump(c, unix.RTM_GETROUTE, unix.RTM_NEWROUTE, h, func(m []byte) (route, bool) {
		r, ok := decodeRoute(m)
		return r, ok && keep(r)
	})
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	return out, nil
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

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func text(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// decodeLink reads a struct ifinfomsg with its attributes.
func decodeLink(m []byte) (link, bool) {
	if len(m) < unix.SizeofIfInfomsg || m[0] != unix.AF_UNSPEC {
		return link{}, false // AF_BRIDGE and AF_INET6 say less
	}
	flags := u32(m[8:])
	l := link{
		index:   int(u32(m[4:])),
		up:      flags&unix.IFF_UP != 0,
		running: flags&unix.IFF_RUNNING != 0,
	}
	attrs(m[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.name = text(v)
		case unix.IFLA_MTU:
			l.mtu = int(u32(v))
		case unix.IFLA_MASTER:
			l.master = int(u32(v))
		case unix.IFLA_ADDRESS:
			if len(v) == len(l.mac) {
				l.mac, l.hasMAC = [6]byte(v), true
			}
		case unix.IFLA_LINKINFO:
			attrs(v, func(typ uint16, v []byte) {
				if typ == iflaInfoKind {
					l.kind = text(v)
				}
			})
		}
	})
	return l, l.name != ""
}

// decodeAddr reads a struct ifaddrmsg with its attributes.
func decodeAddr(m []byte) (addr, bool) {
	if len(m) < unix.SizeofIfAddrmsg || m[0] != unix.AF_INET6 {
		return addr{}, false
	}
	a := addr{flags: uint32(m[2]), index: int(u32(m[4:]))}
	var ip, local []byte
	attrs(m[unix.SizeofIfAddrmsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.IFA_ADDRESS:
			ip = v
		case unix.IFA_LOCAL: // with a peer address, IFA_ADDRESS is the peer
			local = v
		case unix.IFA_FLAGS:
			a.flags = u32(v)
		case unix.IFA_CACHEINFO:
			a.deprecated = u32(v) == 0 // ifa_prefered
		case ifaProto:
			if len(v) > 0 {
				a.proto = v[0]
			}
		}
	})
	if local != nil {
		ip = local
	}
	got, ok := netip.AddrFromSlice(ip)
	a.prefix = netip.PrefixFrom(got, int(m[1]))
	return a, ok && a.prefix.IsValid()
}

// decodeRoute reads a struct rtmsg with its attributes; routes of other tables and families are not ok.
func decodeRoute(m []byte) (route, bool) {
	if len(m) < unix.SizeofRtMsg || m[0] != unix.AF_INET6 {
		return route{}, false
	}
	const cloned = 0x200 // RTM_F_CLONED: a cache entry, not a route
	if u32(m[8:])&cloned != 0 {
		return route{}, false
	}
	r := route{proto: m[5], kind: otherKind}
	table := uint32(m[4])
	dst, src := netip.IPv6Unspecified(), netip.IPv6Unspecified()
	attrs(m[unix.SizeofRtMsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(v)
		case unix.RTA_SRC:
			src, _ = netip.AddrFromSlice(v)
		case unix.RTA_GATEWAY:
			r.via, _ = netip.AddrFromSlice(v)
		case unix.RTA_OIF:
			r.index = int(u32(v))
		case unix.RTA_PRIORITY:
			r.metric = u32(v)
		case unix.RTA_TABLE:
			table = u32(v)
		}
	})
	switch m[7] {
	case unix.RTN_UNICAST:
		r.kind = dataplane.Unicast
	case unix.RTN_UNREACHABLE:
		r.kind, r.index = dataplane.Unreachable, 0 // the kernel says lo
	}
	r.dst = netip.PrefixFrom(dst, int(m[1]))
	if m[2] > 0 {
		r.from = netip.PrefixFrom(src, int(m[2]))
	}
	return r, table == unix.RT_TABLE_MAIN && r.dst.IsValid()
}

func put32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// setLink sets the MTU if it is not 0 and brings the interface up.
func (c *rtnl) setLink(index, mtu int) error {
	r := c.request(unix.RTM_NEWLINK, 0)
	h := nl.NewIfInfomsg(unix.AF_UNSPEC)
	h.Index, h.Flags, h.Change = int32(index), unix.IFF_UP, unix.IFF_UP
	r.AddData(h)
	if mtu != 0 {
		r.AddData(nl.NewRtAttr(unix.IFLA_MTU, put32(uint32(mtu))))
	}
	return c.do(r)
}

func addrRequest(r *nl.NetlinkRequest, a addr) *nl.NetlinkRequest {
	h := nl.NewIfAddrmsg(unix.AF_INET6)
	h.Prefixlen, h.Index = uint8(a.prefix.Bits()), uint32(a.index)
	r.AddData(h)
	r.AddData(nl.NewRtAttr(unix.IFA_LOCAL, a.prefix.Addr().AsSlice()))
	return r
}

// putAddr adds the address, or changes the flags and lifetimes of the one that is there.
func (c *rtnl) putAddr(a addr) error {
	r := addrRequest(c.request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE), a)
	r.AddData(nl.NewRtAttr(unix.IFA_FLAGS, put32(a.flags)))
	preferred := lifeForever
	if a.deprecated {
		preferred = 0
	}
	life := binary.NativeEndian.AppendUint32(put32(preferred), lifeForever)
	r.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, append(life, make([]byte, 8)...)))
	r.AddData(nl.NewRtAttr(ifaProto, []byte{mark}))
	return c.do(r)
}

func (c *rtnl) delAddr(a addr) error {
	return c.do(addrRequest(c.request(unix.RTM_DELADDR, 0), a))
}

func routeRequest(r *nl.NetlinkRequest, rt route) *nl.NetlinkRequest {
	h := nl.NewRtMsg()
	h.Family, h.Protocol, h.Dst_len = unix.AF_INET6, mark, uint8(rt.dst.Bits())
	if rt.kind == dataplane.Unreachable {
		h.Type = unix.RTN_UNREACHABLE
	}
	if rt.from.IsValid() {
		h.Src_len = uint8(rt.from.Bits())
	}
	r.AddData(h)
	r.AddData(nl.NewRtAttr(unix.RTA_DST, rt.dst.Addr().AsSlice()))
	if rt.from.IsValid() {
		r.AddData(nl.NewRtAttr(unix.RTA_SRC, rt.from.Addr().AsSlice()))
	}
	if rt.via.IsValid() {
		r.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, rt.via.AsSlice()))
	}
	if rt.index != 0 {
		r.AddData(nl.NewRtAttr(unix.RTA_OIF, put32(uint32(rt.index))))
	}
	r.AddData(nl.NewRtAttr(unix.RTA_PRIORITY, put32(rt.metric)))
	return r
}

// newRoute is the request that adds beside what is there. With NLM_F_EXCL the kernel would refuse a second fe80::/64 of
// the same metric on another interface, which is normal.
func (c *rtnl) newRoute(rt route) *nl.NetlinkRequest {
	return routeRequest(c.request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND), rt)
}

// oldRoute is the request that deletes. It names the protocol, so the kernel deletes nobody else's twin.
func (c *rtnl) oldRoute(rt route) *nl.NetlinkRequest {
	return routeRequest(c.request(unix.RTM_DELROUTE, 0), rt)
}
