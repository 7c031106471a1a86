// SPDX-License-Identifier: MIT

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"oasis6/internal/wgkey"
)

// checkNotOwn refuses this end's own keys in the peer's place: the tunnel would lead nowhere, and a
// private key there would show in status and log.
func (c *checker) checkNotOwn(peer wgkey.Public, own wgkey.Private, ownPublic wgkey.Public) error {
	what := ""
	switch {
	case own.IsZero():
		return nil
	case peer == wgkey.Public(own):
		what = "private key: the peer's public key"
	case peer == ownPublic:
		what = "public key: the peer's"
	default:
		return nil
	}
	return fmt.Errorf("this is the %s's own %s belongs here", c.end, what)
}

func (c *checker) peers() {
	if len(c.raw.peers) == 0 {
		c.errorf(c.raw.last, "no [Peer] section: it holds PublicKey, Endpoint and AllowedIPs of the other end")
	}
	for i, raw := range c.raw.peers {
		if i == 1 {
			c.errorf(raw.line, "several peers: %s", notAvailable)
		}
		c.peer(raw)
	}
}

func (c *checker) peer(raw *rawPeer) {
	out := Peer{Name: c.peerName(raw.name), PublicKey: c.publicKey(raw.line, raw.publicKey), PresharedKey: c.presharedKey(raw.presharedKey)}
	if given(raw.publicKey) {
		if err := c.checkNotOwn(out.PublicKey, c.cfg.Interface.PrivateKey, c.ownPublic); err != nil {
			c.errorf(raw.publicKey.line, "PublicKey: %v", err)
		}
	}
	if v := raw.endpoint; given(v) {
		e, err := parseEndpoint(v.text)
		if err != nil {
			c.bad("Endpoint", *v, err)
		}
		out.Endpoint = e
	}
	out.AllowedIPs = c.allowedIPs(raw)
	unset := time.Duration(0)
	if raw.endpoint != nil {
		unset = defaultKeepalive
	}
	out.Keepalive = c.keepalive(raw.persistentKeepalive, unset)
	out.LinkLocal = c.linkLocal(raw.linkLocal)
	c.cfg.Peers = append(c.cfg.Peers, out)
}

func (c *checker) peerName(v *value) string {
	if !given(v) {
		return ""
	}
	if !printable(v.text) || len(v.text) > maxLabel {
		c.bad("Name", *v, "want at most 63 printable characters")
	}
	return v.text
}

// publicKey reads the one of the [Peer] on that line. It is zero where something is wrong with it.
func (c *checker) publicKey(section int, v *value) wgkey.Public {
	if v == nil {
		c.errorf(section, "[Peer] has no PublicKey")
	}
	if !given(v) {
		return wgkey.Public{}
	}
	k, err := wgkey.ParsePublic(v.text)
	if err == nil && k.IsZero() {
		err = errors.New(zeroKey)
	}
	if err != nil {
		c.errorf(v.line, "PublicKey: %v", err)
	}
	return k
}

func (c *checker) presharedKey(v *value) wgkey.Preshared {
	if !given(v) {
		return wgkey.Preshared{}
	}
	k, err := wgkey.ParsePreshared(v.text)
	if err != nil {
		c.errorf(v.line, "PresharedKey: %v", err)
	}
	return k
}

// linkLocal reads that of a peer, which is not the one in Address.
func (c *checker) linkLocal(v *value) netip.Addr {
	if !given(v) {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(v.text)
	switch {
	case err != nil || a.Zone() != "" || !linkLocalUnicast().Contains(a):
		c.bad("LinkLocal", *v, "want an address in fe80::/10, without %interface")
	case a == c.cfg.Interface.LinkLocal:
		c.bad("LinkLocal", *v, "the "+c.end+" has the same one in Address")
	}
	return a
}

func (c *checker) allowedIPs(raw *rawPeer) []netip.Prefix {
	var list []netip.Prefix
	seen := map[netip.Prefix]bool{}
	line, wrong := raw.line, false
	for _, v := range raw.allowedIPs {
		var ipv4 []string
		line = v.line
		wrong = wrong || v.text == ""
		for _, s := range items(v.text) {
			p, err := parseAddrPrefix(s)
			switch {
			case err != nil:
				c.errorf(v.line, "AllowedIPs %s: %v", quote(s), err)
				wrong = true
			case p.Addr().Is4():
				ipv4 = append(ipv4, s)
			case p.Addr().Is4In6():
				c.errorf(v.line, "AllowedIPs %s: IPv4-mapped addresses are never on the wire", s)
				wrong = true
			case !seen[p.Masked()]:
				seen[p.Masked()] = true
				list = append(list, p.Masked())
			}
		}
		c.dropped("AllowedIPs", v.line, ipv4)
	}
	switch {
	case len(list) > 0 || wrong:
	case len(raw.allowedIPs) > 0:
		c.errorf(line, "AllowedIPs: nothing is left without IPv4: does this provider give IPv6? if so, write AllowedIPs = ::/0")
	default:
		c.errorf(line, "[Peer] has no AllowedIPs: write AllowedIPs = ::/0 for the whole IPv6 Internet")
	}
	return list
}

// keepalive reads the interval, which is unset where the file has none.
func (c *checker) keepalive(v *value, unset time.Duration) time.Duration {
	if v == nil {
		return unset
	}
	if v.text == "" || strings.EqualFold(v.text, "off") {
		return 0
	}
	n, err := strconv.ParseUint(v.text, 10, 16)
	if err != nil {
		c.bad("PersistentKeepalive", *v, "want off, or seconds from 0 (off) to 65535")
	}
	return time.Duration(n) * time.Second
}
