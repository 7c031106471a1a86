// SPDX-License-Identifier: MIT

package gauge

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// report is what the kernel puts into the error queue.
func report(level, option int, errno unix.Errno, origin, typ, code byte, info uint32, offender []byte) []byte {
	data := binary.NativeEndian.AppendUint32(nil, uint32(errno))
	data = append(data, origin, typ, code, 0)
	data = binary.NativeEndian.AppendUint32(data, info)
	data = append(append(data, 0, 0, 0, 0), offender...)
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := unix.Cmsghdr{Level: int32(level), Type: int32(option)}
	h.SetLen(unix.CmsgLen(len(data)))
	n, err := binary.Encode(b, binary.NativeEndian, h)
	if err != nil {
		panic(err)
	}
	copy(b[n:], data)
	return b
}

func offender(a string) []byte {
	addr := netip.MustParseAddr(a)
	if addr.Is4() {
		b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
		return append(append(b, 0, 0), addr.AsSlice()...)
	}
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET6)
	return append(append(b, 0, 0, 0, 0, 0, 0), addr.AsSlice()...)
}

func TestParseFault(t *testing.T) {
	v4, v6 := "192.0.2.1", "2001:db8::1"
	for _, c := range []struct {
		name string
		oob  []byte
		to   string
		want Fault
	}{
		{"port unreachable", report(unix.IPPROTO_IP, unix.IP_RECVERR, unix.ECONNREFUSED, 2, 3, 3, 0, offender(v4)), v4,
			Fault{From: netip.MustParseAddr(v4), What: "port unreachable", Refused: true}},
		{"prohibited", report(unix.IPPROTO_IP, unix.IP_RECVERR, unix.EHOSTUNREACH, 2, 3, 13, 0, offender(v4)), v4,
			Fault{From: netip.MustParseAddr(v4), What: "communication administratively prohibited", Forbidden: true}},
		{"too long for the way", report(unix.IPPROTO_IP, unix.IP_RECVERR, unix.EMSGSIZE, 2, 3, 4, 1400, offender(v4)), v4,
			Fault{From: netip.MustParseAddr(v4), What: "fragmentation needed", MTU: 1400}},
		{"too long for the interface", report(unix.IPPROTO_IP, unix.IP_RECVERR, unix.EMSGSIZE, 1, 0, 0, 1500, nil), v4,
			Fault{What: "message too long", MTU: 1500}},
		{"packet too big", report(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, unix.EMSGSIZE, 3, 2, 0, 1280, offender(v6)), v6,
			Fault{From: netip.MustParseAddr(v6), What: "packet too big", MTU: 1280}},
		{"refused by IPv6", report(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, unix.ECONNREFUSED, 3, 1, 4, 0, offender(v6)), v6,
			Fault{From: netip.MustParseAddr(v6), What: "port unreachable", Refused: true}},
		{"of a new kind", report(unix.IPPROTO_IP, unix.IP_RECVERR, unix.EPROTO, 2, 12, 1, 0, nil), v4, Fault{What: "ICMP type 12 code 1"}},
	} {
		got, ok := familyOf(netip.MustParseAddr(c.to)).parse(c.oob)
		if !ok || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, ok, c.want)
		}
	}
	timestamp := report(unix.IPPROTO_IP, unix.IP_RECVERR, 0, 4, 0, 0, 0, nil)
	if f, ok := familyOf(netip.MustParseAddr(v4)).parse(timestamp); ok {
		t.Errorf("a timestamp is the fault %v", f)
	}
}

func FuzzParseFault(f *testing.F) {
	f.Add(report(unix.IPPROTO_IP, unix.IP_RECVERR, unix.ECONNREFUSED, 2, 3, 3, 0, offender("192.0.2.1")))
	f.Add(report(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, unix.EMSGSIZE, 3, 2, 0, 1280, offender("2001:db8::1")))
	f.Fuzz(func(t *testing.T, oob []byte) {
		for _, a := range []string{"192.0.2.1", "2001:db8::1"} {
			if got, ok := familyOf(netip.MustParseAddr(a)).parse(oob); ok && (got.What == "" || got.MTU < 0 || got.String() == "") {
				t.Errorf("%+v", got)
			}
		}
	})
}
