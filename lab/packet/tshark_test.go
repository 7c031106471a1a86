// SPDX-License-Identifier: MIT

package packet

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"oasis6/dhcpv6"
)

// tshark runs the foreign decoder.
func tshark(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("OASIS6_REQUIRE_NETNS") == "1" {
			t.Fatal("needs tshark:", err)
		}
		t.Skip("needs tshark (apt install tshark):", err)
	}
	out, err := exec.Command(path, args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	return string(out)
}

// match is a field of tshark and where the same stands in an onion: layer, a colon, and the names on the way to the
// field. Quoted layers count as their kind, which tshark does too.
type match struct {
	theirs, ours string
	conv         func(string) string
}

// first is the value without its name or unit: 58 of "58 (ICMPv6)".
func first(s string) string {
	s, _, _ = strings.Cut(s, " ")
	return s
}

// hexNumber drops zeros that one side prints and the other does not.
func hexNumber(s string) string {
	n, err := strconv.ParseUint(first(s), 0, 64)
	if err != nil {
		return s
	}
	return strconv.FormatUint(n, 10)
}

// plain drops 0x, and bare does it with the separators of a UUID.
func plain(s string) string { return strings.TrimPrefix(s, "0x") }
func bare(s string) string  { return strings.ReplaceAll(s, "-", "") }

func prefixAddr(s string) string { return s[:strings.IndexByte(s, '/')] }
func prefixLen(s string) string  { return s[strings.IndexByte(s, '/')+1:] }
func life(s string) string {
	if s == "infinity" {
		return "4294967295"
	}
	return first(s)
}

func number(s string) string {
	if s == "unspecified" {
		return "0"
	}
	return first(s)
}

func tcpBits(s string) string {
	n := uint(0)
	for _, f := range tcpFlags() {
		for w := range strings.FieldsSeq(s) {
			if w == f.name {
				n |= f.bit
			}
		}
	}
	return "0x" + strconv.FormatUint(uint64(n)|0x10000, 16)[1:]
}

func prf(s string) string {
	return map[string]string{"medium": "0", "high": "1", "reserved (counts as medium)": "2", "low": "3"}[s]
}

func eighths(s string) string {
	n, _ := strconv.Atoi(first(s))
	return strconv.Itoa(n / 8)
}

func thousandths(s string) string {
	f, _ := strconv.ParseFloat(first(s), 64)
	return strconv.Itoa(int(f*1000 + 0.5))
}

func same(s string) string { return s }

func linkMatches() []match {
	return []match{
		{"eth.dst", "Ethernet:Destination", same}, {"eth.src", "Ethernet:Source", same}, {"eth.type", "Ethernet:Type", first},
		{"arp.opcode", "ARP:Operation", first}, {"arp.src.hw_mac", "ARP:Sender MAC", same}, {"arp.dst.hw_mac", "ARP:Target MAC", same},
		{"arp.src.proto_ipv4", "ARP:Sender address", same}, {"arp.dst.proto_ipv4", "ARP:Target address", same},
		{"ip.src", "IPv4:Source", same}, {"ip.dst", "IPv4:Destination", same}, {"ip.ttl", "IPv4:Time to live", same}, {"ip.len", "IPv4:Total length", same},
		{"ip.hdr_len", "IPv4:Header length", same}, {"ip.id", "IPv4:Identification", same}, {"ip.proto", "IPv4:Protocol", first}, {"ip.checksum", "IPv4:Header checksum", same},
		{"ipv6.src", "IPv6:Source", same}, {"ipv6.dst", "IPv6:Destination", same}, {"ipv6.plen", "IPv6:Payload length", same},
		{"ipv6.nxt", "IPv6:Next header", first}, {"ipv6.hlim", "IPv6:Hop limit", same}, {"ipv6.flow", "IPv6:Flow label", same},
		{"ipv6.fraghdr.offset", "Fragment Header:Fragment offset", eighths}, {"ipv6.fraghdr.more", "Fragment Header:More fragments", same},
		{"ipv6.fraghdr.ident", "Fragment Header:Identification", same}, {"ipv6.opt.router_alert", "Hop-by-Hop Options:Router Alert", first},
		{"tcp.srcport", "TCP:Source port", first}, {"tcp.dstport", "TCP:Destination port", first}, {"tcp.seq_raw", "TCP:Sequence number", same},
		{"tcp.ack_raw", "TCP:Acknowledgment number", same}, {"tcp.hdr_len", "TCP:Header length", same}, {"tcp.window_size_value", "TCP:Window", same},
		{"tcp.flags", "TCP:Flags", tcpBits}, {"tcp.options.mss_val", "TCP:Maximum segment size", same}, {"tcp.options.wscale.shift", "TCP:Window scale", same},
		{"tcp.options.timestamp.tsval", "TCP:Timestamps", func(s string) string { return strings.TrimSuffix(first(s), ",") }},
		{"udp.srcport", "UDP:Source port", first}, {"udp.dstport", "UDP:Destination port", first}, {"udp.length", "UDP:Length", same}, {"udp.checksum", "UDP:Checksum", same},
		{"icmp.type", "ICMP:Type", first}, {"icmp.code", "ICMP:Code", first}, {"icmp.mtu", "ICMP:Next-hop MTU", same}, {"icmp.seq", "ICMP:Sequence number", same},
	}
}

func neighbourMatches() []match {
	pio, rdnss, dnssl, route, pref := ":Prefix Information/", ":Recursive DNS Server/", ":DNS Search List/", ":Route Information/", ":PREF64/"
	const adv = "Router Advertisement:"
	return []match{
		{"icmpv6.type", "ICMPv6:Type", first}, {"icmpv6.code", "ICMPv6:Code", first},
		{"icmpv6.echo.identifier", "Echo Request:Identifier", same}, {"icmpv6.echo.sequence_number", "Echo Request:Sequence number", same},
		{"icmpv6.mtu", "Packet Too Big:MTU", same}, {"icmpv6.pointer", "Parameter Problem:Pointer", same},
		{"icmpv6.nd.ra.cur_hop_limit", adv + "Current hop limit", same}, {"icmpv6.nd.ra.flag.m", adv + "M flag", same}, {"icmpv6.nd.ra.flag.o", adv + "O flag", same},
		{"icmpv6.nd.ra.flag.h", adv + "H flag", same}, {"icmpv6.nd.ra.flag.prf", adv + "Preference", prf}, {"icmpv6.nd.ra.router_lifetime", adv + "Router lifetime", life},
		{"icmpv6.nd.ra.reachable_time", adv + "Reachable time", number}, {"icmpv6.nd.ra.retrans_timer", adv + "Retrans timer", number},
		{"icmpv6.nd.ns.target_address", "Neighbor Solicitation:Target address", same}, {"icmpv6.nd.na.target_address", "Neighbor Advertisement:Target address", same},
		{"icmpv6.nd.na.flag.r", "Neighbor Advertisement:R flag", same}, {"icmpv6.nd.na.flag.s", "Neighbor Advertisement:S flag", same}, {"icmpv6.nd.na.flag.o", "Neighbor Advertisement:O flag", same},
		{"icmpv6.nd.rd.target_address", "Redirect:Target address", same}, {"icmpv6.rd.na.destination_address", "Redirect:Destination address", same},
		{"icmpv6.opt.src_linkaddr", ":Source Link-Layer Address/Address", same}, {"icmpv6.opt.target_linkaddr", ":Target Link-Layer Address/Address", same},
		{"icmpv6.opt.nonce", ":Nonce/Nonce", same}, {"icmpv6.opt.mtu", ":MTU/MTU", same},
		{"icmpv6.opt.prefix.length", pio + "Prefix|Route Information/Prefix", prefixLen}, {"icmpv6.opt.prefix.flag.l", pio + "L flag", same}, {"icmpv6.opt.prefix.flag.a", pio + "A flag", same},
		{"icmpv6.opt.prefix.flag.r", pio + "R flag", same}, {"icmpv6.opt.prefix.valid_lifetime", pio + "Valid lifetime", life}, {"icmpv6.opt.prefix.preferred_lifetime", pio + "Preferred lifetime", life},
		{"icmpv6.opt.rdnss", rdnss + "Server", same}, {"icmpv6.opt.rdnss.lifetime", rdnss + "Lifetime", life}, {"icmpv6.opt.dnssl", dnssl + "Domain", same}, {"icmpv6.opt.dnssl.lifetime", dnssl + "Lifetime", life},
		{"icmpv6.opt.route_info.flag.route_preference", route + "Preference", prf}, {"icmpv6.opt.route_lifetime", route + "Route lifetime", life},
		{"icmpv6.opt.pref64.scaled_lifetime", pref + "Lifetime", eighths}, {"icmpv6.opt.pref64.prefix", pref + "Prefix", prefixAddr}, {"icmpv6.opt.captive_portal", adv + "Captive Portal/URI", same},
		{"icmpv6.mld.maximum_response_code", "Multicast Listener Query:Maximum response code", same}, {"icmpv6.mld.flag.qrv", "Multicast Listener Query:Robustness", same}, {"icmpv6.mld.qqi", "Multicast Listener Query:Query interval code", same},
		{"icmpv6.mldr.nb_mcast_records", "Multicast Listener Report v2:Records", same}, {"icmpv6.mldr.mar.multicast_address", "Multicast Listener Report v2:Group", same},
		{"icmpv6.mldr.mar.record_type", "Multicast Listener Report v2:Group/Record type", first}, {"icmpv6.mldr.mar.source_address", "Multicast Listener Report v2:Group/Source", same},
	}
}

func applicationMatches() []match {
	const na, pd, reply, auth = "DHCPv6:IA_NA/", "DHCPv6:IA_PD/", "DHCPv6:", "DHCPv6:Authentication/"
	return []match{
		{"dhcpv6.msgtype", "DHCPv6:Message type|Relay Message/Message type", first}, {"dhcpv6.xid", "DHCPv6:*Transaction ID", same}, {"dhcpv6.linkaddr", "DHCPv6:Link address", same}, {"dhcpv6.peeraddr", "DHCPv6:Peer address", same},
		{"dhcpv6.duid.type", "DHCPv6:*DUID type", first}, {"dhcpv6.duiduuid.bytes", "DHCPv6:*UUID", bare},
		{"dhcpv6.iaid", "DHCPv6:*IAID", plain}, {"dhcpv6.iaid.t1", "DHCPv6:*T1", life}, {"dhcpv6.iaid.t2", "DHCPv6:*T2", life},
		{"dhcpv6.iaaddr.ip", na + "IA Address/Address", same}, {"dhcpv6.iaaddr.pref_lifetime", na + "IA Address/Preferred lifetime", life}, {"dhcpv6.iaaddr.valid_lifetime", na + "IA Address/Valid lifetime", life},
		{"dhcpv6.iaprefix.pref_addr", "DHCPv6:*IA_PD/IA Prefix/Prefix", prefixAddr}, {"dhcpv6.iaprefix.pref_len", "DHCPv6:*IA_PD/IA Prefix/Prefix", prefixLen},
		{"dhcpv6.iaprefix.pref_lifetime", "DHCPv6:*IA_PD/IA Prefix/Preferred lifetime", life}, {"dhcpv6.iaprefix.valid_lifetime", "DHCPv6:*IA_PD/IA Prefix/Valid lifetime", life},
		{"dhcpv6.pd_exclude.pref_len", pd + "IA Prefix/Prefix Exclude/Prefix length", same}, {"dhcpv6.pd_exclude.subnet_id", pd + "IA Prefix/Prefix Exclude/Subnet ID", same},
		{"dhcpv6.requested_option_code", "DHCPv6:*Option Request/Wanted", first}, {"dhcpv6.option_preference", reply + "Preference/Value", same}, {"dhcpv6.elapsed_time", "DHCPv6:*Elapsed Time/Time", thousandths},
		{"dhcpv6.status_code", "DHCPv6:*Status Code/Status", first}, {"dhcpv6.status_msg", "DHCPv6:*Status Code/Message", same},
		{"dhcpv6.auth.protocol", auth + "Protocol", first}, {"dhcpv6.auth.algorithm", auth + "Algorithm", first}, {"dhcpv6.auth.rdm", auth + "Replay detection method", first}, {"dhcpv6.auth.replay_detection", auth + "Replay detection", plain},
		{"dhcpv6.reconf_msg", reply + "Reconfigure Message/Message type", first}, {"dhcpv6.dns_server", reply + "DNS Recursive Name Server/Server", same}, {"dhcpv6.search_list_entry", reply + "Domain Search List/Domain", func(s string) string { return s + "." }},
		{"dhcpv6.ntpserver.fqdn", reply + "NTP Server/Name", func(s string) string { return s + "." }}, {"dhcpv6.ntpserver.addr", reply + "NTP Server/Server", same}, {"dhcpv6.ntpserver.mc_addr", reply + "NTP Server/Multicast group", same},
		{"dhcpv6.captive_portal", reply + "Captive Portal/URI", same}, {"dhcpv6.lifetime", reply + "Information Refresh Time/Time", life},
		{"dns.id", "DNS:ID", same}, {"dns.aaaa", "DNS:Answer", func(s string) string { return s[strings.LastIndexByte(s, ' ')+1:] }}, {"dns.qry.name", "DNS:Question", first},
		{"http.host", "HTTP:Host", same}, {"wg.type", "WireGuard:Type", first}, {"wg.sender", "WireGuard:Sender", same}, {"wg.receiver", "WireGuard:Receiver", same}, {"wg.counter", "WireGuard:Counter", same},
		{"wg.mac1", "WireGuard:MAC1", same}, {"wg.mac2", "WireGuard:MAC2", same}, {"wg.nonce", "WireGuard:Nonce", same}, {"wg.encrypted_cookie", "WireGuard:Encrypted cookie", same},
	}
}

// found are our values for a match, in the order of the frame.
func (m match) found(o Onion) string {
	var out []string
	layer, want, _ := strings.Cut(m.ours, ":")
	end, anywhere := strings.CutPrefix(want, "*")
	for _, l := range o.Layers {
		name := strings.TrimPrefix(l.Name, "Quoted ")
		if strings.HasPrefix(name, "WireGuard") {
			name = "WireGuard"
		}
		if layer != "" && layer != name {
			continue
		}
		var path []string
		for _, f := range l.Fields {
			path = append(path[:f.Depth], f.Name)
			at := strings.Join(path, "/")
			if slices.Contains(strings.Split(want, "|"), at) || anywhere && strings.HasSuffix("/"+at, "/"+end) {
				out = append(out, m.conv(f.Value))
			}
		}
	}
	return strings.Join(out, ",")
}

// A foreign decoder finds the same values in the same places.
func TestTsharkReadsTheSame(t *testing.T) {
	t.Parallel()
	list := samples(t)
	b := []byte{0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 1}
	for _, s := range list {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(len(s.frame)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(s.frame)))
		b = append(b, s.frame...)
	}
	file := filepath.Join(t.TempDir(), "samples.pcap")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	matches := append(append(linkMatches(), neighbourMatches()...), applicationMatches()...)
	args := []string{"-r", file, "-T", "fields", "-E", "separator=|", "-o", "ipv6.defragment:FALSE"}
	for _, m := range matches {
		args = append(args, "-e", m.theirs)
	}
	lines := strings.Split(strings.TrimSuffix(tshark(t, args...), "\n"), "\n")
	if len(lines) != len(list) {
		t.Fatalf("tshark reads %d frames, want %d", len(lines), len(list))
	}
	compared := map[string]bool{}
	for i, s := range list {
		o := Explain(s.frame, nil)
		for j, theirs := range strings.Split(lines[i], "|") {
			m := matches[j]
			if s.name == "redirect" && strings.HasPrefix(m.theirs, "ipv6.") {
				continue // tshark counts the packet in the option, too
			}
			if ours := m.found(o); !equalValues(ours, theirs) {
				t.Errorf("%s: %s: tshark reads %q, we show %q at %s", s.name, m.theirs, theirs, ours, m.ours)
			} else if ours != "" {
				compared[m.theirs] = true
			}
		}
	}
	for _, m := range matches {
		if !compared[m.theirs] {
			t.Errorf("%s is in no sample: nothing was compared with it", m.theirs)
		}
	}
}

func equalValues(a, b string) bool {
	if a == b {
		return true
	}
	x, y := strings.Split(a, ","), strings.Split(b, ",")
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if hexNumber(x[i]) != hexNumber(y[i]) && !strings.EqualFold(x[i], y[i]) {
			return false
		}
	}
	return true
}

// The numbers of messages and options have the names that a foreign decoder gives them.
func TestTsharkNamesTheSame(t *testing.T) {
	t.Parallel()
	otherwise := map[string]string{
		"IA_NA": "Identity Association for Non-temporary Address", "IA_PD": "Identity Association for Prefix Delegation", "IA_TA": "Identity Association for Temporary Address",
		"Echo Request": "Echo (ping) request", "Echo Reply": "Echo (ping) reply", "Multicast Listener Report v2": "Multicast Listener Report Message v2",
		"NoAddrsAvail": "NoAddrAvail", // RFC 9915 section 21.13 has the s
		"Client FQDN":  "Client Fully Qualified Domain Name", "Information Refresh Time": "Lifetime", "Relay-forward": "Relay-forw",
	}
	ours := map[string]func(n int) string{
		"icmpv6.type":        func(n int) string { return icmpTypeName(uint8(n)) },
		"dhcpv6.msgtype":     func(n int) string { return numbered(n <= 13, dhcpv6.MessageType(n).String()) },
		"dhcpv6.status_code": func(n int) string { return numbered(n <= 6, dhcpv6.StatusCode(n).String()) },
		"dhcpv6.option.type": func(n int) string {
			name, rfc, _ := dhcpOption(dhcpv6.OptionCode(n))
			return numbered(rfc != "", name)
		},
	}
	compared := 0
	for line := range strings.Lines(tshark(t, "-G", "values")) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) < 4 || f[0] != "V" || ours[f[1]] == nil {
			continue
		}
		n, err := strconv.Atoi(f[2])
		name := ""
		if err == nil {
			name = ours[f[1]](n)
		}
		if name == "" {
			continue
		}
		compared++
		if want := f[3]; !strings.EqualFold(name, want) && otherwise[name] != want {
			t.Errorf("%s %d: we say %q, tshark %q", f[1], n, name, want)
		}
	}
	if compared < 40 {
		t.Errorf("%d names compared: has tshark's output changed?", compared)
	}
}

func numbered(ok bool, name string) string {
	if ok {
		return name
	}
	return ""
}
