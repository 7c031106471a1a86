// SPDX-License-Identifier: MIT

package tun

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/internal/wgkey"
)

// Config is one tunnel to one peer. Zero values mean: any port, no mark, MTU from the path, link-local
// addresses derived from the keys.
type Config struct {
	Name       string
	PrivateKey wgkey.Private
	ListenPort uint16
	FwMark     uint32
	MTU        int        // of the tunnel interface, 1280 to 65455
	LinkLocal  netip.Addr // ours on the tunnel
	Peer       Peer
}

// Peer is the other end.
type Peer struct {
	Public     wgkey.Public
	Preshared  wgkey.Preshared
	Endpoint   string // host:port; the host is a name or an address, IPv6 in brackets
	AllowedIPs []netip.Prefix
	Keepalive  time.Duration // whole seconds; zero: off
	LinkLocal  netip.Addr
}

// ErrRestart says that a change cannot be applied to a running tunnel.
var ErrRestart = errors.New("needs a restart")

// MTU bounds. The overhead is that of WireGuard in IPv6 (40 + 8 + 32), taken for IPv4 as well, so that a change of
// the outer family does not change the LAN's MTU.
const (
	overhead   = 80
	minMTU     = 1280 // RFC 8200 section 5
	maxMTU     = 65535 - overhead
	defaultMTU = 1500 - overhead
)

// maxKeepalive is WireGuard's: seconds in 16 bits.
const maxKeepalive = 65535 * time.Second

// normalize fills in what is derived and says everything that is wrong.
func (c Config) normalize() (Config, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := checkName(c.Name); err != nil {
		errs = append(errs, err)
	}
	if c.PrivateKey.IsZero() {
		bad("tunnel %s: no private key", c.Name)
	}
	if c.Peer.Public.IsZero() {
		bad("tunnel %s: no public key of the peer", c.Name)
	}
	if !c.PrivateKey.IsZero() && c.PrivateKey.Public() == c.Peer.Public {
		bad("tunnel %s: the peer's public key is our own", c.Name)
	}
	if c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU) {
		bad("tunnel %s: mtu %d: want %d to %d", c.Name, c.MTU, minMTU, maxMTU)
	}
	if c.Peer.Keepalive < 0 || c.Peer.Keepalive > maxKeepalive {
		bad("tunnel %s: keepalive %v: want 0 to %v", c.Name, c.Peer.Keepalive, maxKeepalive)
	}
	if c.Peer.Endpoint != "" {
		if _, err := parseTarget(c.Peer.Endpoint); err != nil {
			errs = append(errs, err)
		}
	}
	c.LinkLocal = linkLocal(c.LinkLocal, c.PrivateKey.Public(), &errs)
	c.Peer.LinkLocal = linkLocal(c.Peer.LinkLocal, c.Peer.Public, &errs)
	c.Peer.AllowedIPs = allowed(c.Peer)
	return c, errors.Join(errs...)
}

func linkLocal(a netip.Addr, key wgkey.Public, errs *[]error) netip.Addr {
	if !a.IsValid() {
		return key.LinkLocal()
	}
	a = a.WithZone("")
	if !a.Is6() || !a.IsLinkLocalUnicast() {
		*errs = append(*errs, fmt.Errorf("link-local address %s: not in fe80::/10", a))
	}
	return a
}

// allowed are the peer's allowed-ips and what the tunnel itself cannot do without: the peer's
// link-local address and link-scope multicast, where DHCPv6 goes.
func allowed(p Peer) []netip.Prefix {
	var list []netip.Prefix
	for _, ip := range p.AllowedIPs {
		if ip = ip.Masked(); ip.IsValid() && !slices.Contains(list, ip) {
			list = append(list, ip)
		}
	}
	for _, need := range []netip.Prefix{netip.PrefixFrom(p.LinkLocal, 128), netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff, 0x02}), 16)} {
		if !slices.ContainsFunc(list, func(have netip.Prefix) bool {
			return have.Bits() <= need.Bits() && have.Contains(need.Addr())
		}) {
			list = append(list, need)
		}
	}
	return list
}

// checkName refuses what the kernel refuses, and "%", which it takes for a pattern.
func checkName(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ || name == "." || name == ".." || strings.ContainsAny(name, "/:% \t\n\v\f\r\x00") {
		return fmt.Errorf("interface name %q: want 1 to %d characters without / : %% and spaces", name, unix.IFNAMSIZ-1)
	}
	return nil
}

// target is where the peer is said to be: an address, or a name to look up.
type target struct {
	name string // empty if addr is set
	addr netip.Addr
	port uint16
}

func parseTarget(s string) (target, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return target{}, fmt.Errorf("endpoint %q: want host:port, or [address]:port for IPv6", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return target{}, fmt.Errorf("endpoint %q: port %q: want 1 to 65535", s, port)
	}
	if host == "" {
		return target{}, fmt.Errorf("endpoint %q: no host", s)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return target{addr: a.Unmap(), port: uint16(n)}, nil
	}
	return target{name: host, port: uint16(n)}, nil
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64(d/time.Second), 10)
}

// outer is what concerns the sockets.
type outer struct {
	port uint16
	mark uint32
}

func (c Config) outer() outer { return outer{c.ListenPort, c.FwMark} }

// deviceSettings is the configuration protocol's text for a new device. The endpoint and the keepalive
// follow when the endpoint is known: an initiation into nowhere would block the next one for 5 s.
func deviceSettings(c Config) string {
	return interfaceSettings(c.PrivateKey, c.outer()) + peerSettings(c.Peer)
}

// interfaceSettings is the part of a new device's text that is not about peers.
func interfaceSettings(key wgkey.Private, o outer) string {
	return "private_key=" + key.RevealHex() + "\n" + "listen_port=" + strconv.Itoa(int(o.port)) + "\n" + outer{}.markTo(o)
}

// to is the text that changes was to now.
func (was outer) to(now outer) string {
	if was.port != now.port {
		return "listen_port=" + strconv.Itoa(int(now.port)) + "\n" + was.markTo(now)
	}
	return was.markTo(now)
}

func (was outer) markTo(now outer) string {
	if was.mark == now.mark {
		return ""
	}
	return "fwmark=" + strconv.FormatUint(uint64(now.mark), 10) + "\n"
}

// back are the texts that turn what a change from was to now may have left back into was, one for each part that can
// fail by itself. port is the one that was in use.
func (was outer) back(now outer, port uint16) []string {
	var parts []string
	if was.port != now.port {
		if port == 0 {
			port = was.port
		}
		parts = append(parts, "listen_port="+strconv.Itoa(int(port))+"\n")
	}
	if mark := now.markTo(was); mark != "" {
		parts = append(parts, mark)
	}
	return parts
}

func peerSettings(p Peer) string {
	var b strings.Builder
	line := func(k, v string) { b.WriteString(k + "=" + v + "\n") }
	line("public_key", p.Public.Hex())
	if !p.Preshared.IsZero() {
		line("preshared_key", p.Preshared.RevealHex())
	}
	line("replace_allowed_ips", "true")
	for _, ip := range p.AllowedIPs {
		line("allowed_ip", ip.String())
	}
	return b.String()
}

// changeSettings is the text that turns old into new without touching the session. A new public key is
// another peer: the old one goes, and its session with it.
func changeSettings(was, now Config) string {
	device := was.outer().to(now.outer())
	var peer strings.Builder
	if was.Peer.Public != now.Peer.Public {
		return device + "public_key=" + was.Peer.Public.Hex() + "\nremove=true\n" + peerSettings(now.Peer)
	}
	if was.Peer.Preshared != now.Peer.Preshared {
		peer.WriteString("preshared_key=" + now.Peer.Preshared.RevealHex() + "\n")
	}
	if was.Peer.Keepalive != now.Peer.Keepalive {
		peer.WriteString("persistent_keepalive_interval=" + seconds(now.Peer.Keepalive) + "\n")
	}
	for _, ip := range now.Peer.AllowedIPs { // first what comes, then what goes: no gap
		if !slices.Contains(was.Peer.AllowedIPs, ip) {
			peer.WriteString("allowed_ip=" + ip.String() + "\n")
		}
	}
	for _, ip := range was.Peer.AllowedIPs {
		if !slices.Contains(now.Peer.AllowedIPs, ip) {
			peer.WriteString("allowed_ip=-" + ip.String() + "\n")
		}
	}
	if peer.Len() == 0 {
		return device
	}
	return device + "public_key=" + now.Peer.Public.Hex() + "\nupdate_only=true\n" + peer.String()
}
