// SPDX-License-Identifier: MIT

package config

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"oasis6/internal/wgkey"
)

// Defaults and ranges of [Interface] and [Peer].
const (
	defaultName = "oasis0"
	// minMTU is the IPv6 minimum link MTU, RFC 8200 section 5.
	minMTU = 1280
	// maxMTU is the longest UDP payload over IPv6 less WireGuard's 32 octets and the UDP and IPv6 headers.
	maxMTU = 65455
	// minAddressLen of an address on the tunnel: everything under it counts as on that link. A site is given a /48
	// at most; a /32 is a whole provider.
	minAddressLen = 48
	// defaultKeepalive holds a NAT's mapping (RFC 4787 REQ-5: not shorter than 2 minutes, real ones from
	// 30 s). wg-quick's default is off; a box stands behind NAT, so here it is on.
	defaultKeepalive = 25 * time.Second
	// maxServers and maxSearchOctets keep a Router Advertisement within 1280 octets: it must not be
	// fragmented (RFC 6980 section 5).
	maxServers      = 16
	maxSearchOctets = 512
)

// Parse reads a file and fills in the defaults. It opens nothing: PrivateKeyFile stays a name.
// All that is wrong comes at once, as Errors; name is the file in their text. An error of r
// comes back wrapped instead. A file without a [LAN] is accepted, because the command line may name one: see WithLAN.
func Parse(name string, r io.Reader) (*Config, []Notice, error) {
	rep := &report{file: name}
	c, err := parse(rep, r)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	notices, err := rep.done()
	if err != nil {
		return nil, notices, err
	}
	return &c.cfg, notices, nil
}

// parse leaves what it finds wrong in rep; its error is only that of r.
func parse(rep *report, r io.Reader) (*checker, error) {
	lines, problem, err := readLines(r, maxFile)
	if err != nil {
		return nil, err
	}
	c := &checker{report: rep, end: "box"}
	if n := hubLine(lines); n != 0 {
		rep.errorf(n, "[Hub]: this is the file of a hub, not of a box: oasis6 hub -c %s", shellWord(rep.file))
		return c, nil
	}
	if problem != "" {
		rep.errorf(1, "%s", problem)
		return c, nil
	}
	c.raw = readRaw(rep, lines, sections(), openBox)
	c.iface()
	c.peers()
	c.prefix()
	c.lans()
	c.router()
	return c, nil
}

const zeroKey = "all octets are zero: this is no key"

// checker makes the validated form out of the text form.
type checker struct {
	*report
	end       string // "box" or "hub", whose file this is
	raw       rawFile
	cfg       Config
	ownPublic wgkey.Public // of the private key in the file
}

// bad reports a value with the key's name.
func (c *checker) bad(key string, v value, problem any) {
	c.errorf(v.line, "%s = %s: %v", key, quote(v.text), problem)
}

// given says whether there is a value that has not been reported yet.
func given(v *value) bool { return v != nil && v.text != "" }

func (c *checker) iface() {
	raw := c.raw.iface
	out := &c.cfg.Interface
	out.Name = defaultName
	if raw == nil {
		c.errorf(c.raw.last, "no [Interface] section: it holds the %s's PrivateKey or PrivateKeyFile", c.end)
		return
	}
	c.privateKey(raw, out)
	if given(raw.name) {
		out.Name = raw.name.text
		if err := checkInterfaceName(out.Name); err != nil {
			c.bad("Name", *raw.name, err)
		}
	}
	if v := raw.listenPort; given(v) {
		n, err := strconv.ParseUint(v.text, 10, 16)
		if err != nil {
			c.bad("ListenPort", *v, "range 0 to 65535, 0 is any free port")
		}
		out.ListenPort = uint16(n)
	}
	if v := raw.fwMark; given(v) && !strings.EqualFold(v.text, "off") {
		n, err := parseNumber(v.text, 32)
		if err != nil {
			c.bad("FwMark", *v, "want off, or a number from 0 to 4294967295, or 0x0 to 0xffffffff")
		}
		out.FwMark = uint32(n)
	}
	if v := raw.mtu; given(v) && !strings.EqualFold(v.text, "auto") {
		n, err := strconv.ParseUint(v.text, 10, 16)
		if err != nil || n < minMTU || n > maxMTU {
			c.bad("MTU", *v, fmt.Sprintf("want auto, or a number from %d (the least that IPv6 works with) to %d", minMTU, maxMTU))
		}
		out.MTU = int(n)
	}
	c.addresses(raw, out)
	c.dns(raw, out)
}

func (c *checker) privateKey(raw *rawInterface, out *Interface) {
	switch {
	case raw.privateKey != nil && raw.privateKeyFile != nil:
		c.errorf(max(raw.privateKey.line, raw.privateKeyFile.line), "PrivateKey and PrivateKeyFile: keep one of them")
	case given(raw.privateKey):
		k, err := wgkey.ParsePrivate(raw.privateKey.text)
		if err == nil && k.IsZero() {
			err = errors.New(zeroKey)
		}
		if err != nil {
			c.errorf(raw.privateKey.line, "PrivateKey: %v", err)
		}
		out.PrivateKey, c.ownPublic = k, k.Public()
	case given(raw.privateKeyFile):
		if _, err := wgkey.ParsePrivate(raw.privateKeyFile.text); err == nil {
			c.errorf(raw.privateKeyFile.line, "PrivateKeyFile holds a key, not the name of a file: use PrivateKey for it")
		}
		if !printable(raw.privateKeyFile.text) {
			c.bad("PrivateKeyFile", *raw.privateKeyFile, "not a possible file name")
		}
		out.PrivateKeyFile = raw.privateKeyFile.text
	case raw.privateKey == nil && raw.privateKeyFile == nil:
		c.errorf(raw.line, "[Interface] has no PrivateKey and no PrivateKeyFile: write PrivateKeyFile = /etc/oasis6/private.key, a missing file is made with a new key")
	}
}

// dropped says once per line which IPv4 entries of a pasted file are left out.
func (c *checker) dropped(key string, line int, entries []string) {
	if len(entries) > 0 {
		c.noticef(line, "%s: IPv4 dropped, it stays on its native path: %s", key, strings.Join(entries, ", "))
	}
}

func (c *checker) addresses(raw *rawInterface, out *Interface) {
	seen := map[netip.Addr]netip.Prefix{}
	for _, v := range raw.address {
		var ipv4 []string
		for _, s := range items(v.text) {
			p, err := parseAddrPrefix(s)
			switch {
			case err != nil:
				c.errorf(v.line, "Address %s: %v", quote(s), err)
			case p.Addr().Is4():
				ipv4 = append(ipv4, s)
			case unusable(p.Addr()):
				c.errorf(v.line, "Address %s: not an address that an interface can have", s)
			case linkLocalUnicast().Contains(p.Addr()):
				if out.LinkLocal.IsValid() && out.LinkLocal != p.Addr() {
					c.errorf(v.line, "Address %s: a second link-local address beside %s", s, out.LinkLocal)
				}
				out.LinkLocal = p.Addr()
			case p.Bits() < minAddressLen:
				c.errorf(v.line, "Address %s: a length below /%d is surely wrong, nobody is given so much: write the length that the provider told, or none", s, minAddressLen)
			case seen[p.Addr()].IsValid():
				if seen[p.Addr()] != p {
					c.errorf(v.line, "Address %s: the same address stands here as %s", s, seen[p.Addr()])
				}
			default:
				seen[p.Addr()] = p
				out.Addresses = append(out.Addresses, p)
			}
		}
		c.dropped("Address", v.line, ipv4)
	}
}

// dns sorts DNS into servers and search domains, by wg-quick's rule. A link-local server is one of the link to the
// hub; who has one on the LAN writes RDNSS.
func (c *checker) dns(raw *rawInterface, out *Interface) {
	servers, names := newServers(), newSearch()
	for _, v := range raw.dns {
		var ipv4, local []string
		for _, s := range items(v.text) {
			if !looksLikeAddress(s) {
				c.addName("DNS", v.line, s, names)
				continue
			}
			if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
				ipv4 = append(ipv4, s)
				continue
			}
			if linkLocalServer(s) {
				local = append(local, s)
				continue
			}
			c.addServer("DNS", v.line, s, servers)
		}
		c.dropped("DNS", v.line, ipv4)
		if len(local) > 0 {
			c.noticef(v.line, "DNS: link-local dropped, no host of a LAN can reach it: %s", strings.Join(local, ", "))
		}
	}
	out.DNS, out.Search = servers.list, names.list
}

// servers and search are lists without duplicates that report once when they get too long.
type (
	servers struct {
		list []netip.Addr
		seen map[netip.Addr]bool
	}
	search struct {
		list   []string
		seen   map[string]bool
		octets int // of the wire form, RFC 8106 section 5.2
	}
)

func newServers() *servers { return &servers{seen: map[netip.Addr]bool{}} }
func newSearch() *search   { return &search{seen: map[string]bool{}} }

func (c *checker) addServer(key string, line int, s string, to *servers) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil || a.Zone() != "" || !a.Is6():
		c.errorf(line, "%s %s: not an IPv6 address", key, quote(s))
	case unusable(a):
		c.errorf(line, "%s %s: not an address that a server can have", key, s)
	case to.seen[a]:
	case len(to.list) == maxServers:
		c.errorf(line, "%s %s: more than %d servers", key, s, maxServers)
	default:
		to.seen[a] = true
		to.list = append(to.list, a)
	}
}

func (c *checker) addName(key string, line int, s string, to *search) {
	name, err := parseDomainName(s)
	if err != nil {
		c.errorf(line, "%s: the name %s %v", key, quote(s), err)
		return
	}
	id := strings.ToLower(name)
	if to.seen[id] {
		return
	}
	if to.octets += len(name) + 2; to.octets > maxSearchOctets {
		c.errorf(line, "%s: all names together are longer than %d octets", key, maxSearchOctets)
		return
	}
	to.seen[id] = true
	to.list = append(to.list, name)
}
