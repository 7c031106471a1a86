// SPDX-License-Identifier: MIT

package config

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"oasis6/internal/wgkey"
)

// checkNotOwn refuses the box's own keys in the peer's place: the tunnel would lead nowhere, and a
// private key there would show in status and log.
func checkNotOwn(peer wgkey.Public, own wgkey.Private, ownPublic wgkey.Public) error {
	switch {
	case own.IsZero():
		return nil
	case peer == wgkey.Public(own):
		return errors.New("this is the box's own private key: the peer's public key belongs here")
	case peer == ownPublic:
		return errors.New("this is the box's own public key: the peer's belongs here")
	}
	return nil
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
	var out Peer
	if given(raw.name) {
		out.Name = raw.name.text
		if !printable(out.Name) || len(out.Name) > maxLabel {
			c.bad("Name", *raw.name, "want at most 63 printable characters")
		}
	}
	switch {
	case raw.publicKey == nil:
		c.errorf(raw.line, "[Peer] has no PublicKey")
	case given(raw.publicKey):
		out.PublicKey = c.publicKey(*raw.publicKey)
	}
	if v := raw.presharedKey; given(v) {
		k, err := wgkey.ParsePreshared(v.text)
		if err != nil {
			c.errorf(v.line, "PresharedKey: %v", err)
		}
		out.PresharedKey = k
	}
	if v := raw.endpoint; given(v) {
		e, err := parseEndpoint(v.text)
		if err != nil {
			c.bad("Endpoint", *v, err)
		}
		out.Endpoint = e
	}
	out.AllowedIPs = c.allowedIPs(raw)
	out.Keepalive = c.keepalive(raw)
	if v := raw.linkLocal; given(v) {
		a, err := netip.ParseAddr(v.text)
		if err != nil || a.Zone() != "" || !linkLocalUnicast().Contains(a) {
			c.bad("LinkLocal", *v, "want an address in fe80::/10, without %interface")
		}
		out.LinkLocal = a
		if a.IsValid() && a == c.cfg.Interface.LinkLocal {
			c.bad("LinkLocal", *v, "the box has the same one in Address")
		}
	}
	c.cfg.Peers = append(c.cfg.Peers, out)
}

func (c *checker) publicKey(v value) wgkey.Public {
	k, err := wgkey.ParsePublic(v.text)
	switch {
	case err != nil:
	case k.IsZero():
		err = errors.New(zeroKey)
	default:
		err = checkNotOwn(k, c.cfg.Interface.PrivateKey, c.ownPublic)
	}
	if err != nil {
		c.errorf(v.line, "PublicKey: %v", err)
	}
	return k
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

func (c *checker) keepalive(raw *rawPeer) time.Duration {
	v := raw.persistentKeepalive
	if v == nil {
		if raw.endpoint == nil {
			return 0
		}
		return defaultKeepalive
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
