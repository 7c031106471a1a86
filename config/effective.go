// SPDX-License-Identifier: MIT

package config

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"oasis6/internal/wgkey"
)

// WriteEffective writes the value of every key as it counts now, in the form of the file, with
// secrets as (hidden). Where a key has no value, a comment says what happens instead.
func WriteEffective(w io.Writer, c *Config) error {
	_, err := io.WriteString(w, effective(c, secret.String))
	return err
}

// secret is a key that hides in String and shows in Reveal.
type secret interface {
	String() string
	Reveal() string
}

// writer builds the text; unset lines are comments, so that the text is a file that means the same.
type writer struct {
	strings.Builder
	secret func(secret) string
}

func (w *writer) section(name string) {
	if w.Len() > 0 {
		w.WriteString("\n")
	}
	w.WriteString("[" + name + "]\n")
}

// set writes a key, or with an empty value what its absence means.
func (w *writer) set(name, value, unset string) {
	if value == "" {
		w.WriteString("# " + name + ": " + unset + "\n")
		return
	}
	w.WriteString(name + " = " + value + "\n")
}

// absent writes the keys of a section that have no feature here yet.
func (w *writer) absent(keys []key) {
	for _, k := range keys {
		if !k.absent {
			continue
		}
		value := ""
		if len(k.only) > 0 {
			value = k.only[0]
		}
		w.set(k.name, value, notAvailable)
	}
}

func effective(c *Config, show func(secret) string) string {
	w := &writer{secret: show}
	w.iface(&c.Interface)
	for i := range c.Peers {
		w.peer(&c.Peers[i])
	}
	w.section("Prefix")
	w.set("Source", c.Prefix.Source.String(), "")
	w.set("Prefix", prefixText(c.Prefix.Static), "asked for by DHCPv6")
	w.set("Hint", list(c.Prefix.Hints), "none")
	w.set("RequestAddress", c.Prefix.RequestAddress.String(), "")
	w.set("ULA", c.Prefix.ula(), "")
	if len(c.LANs) == 0 {
		w.WriteString("\n# [LAN]: none, add one or give --lan BRIDGE\n")
	}
	for i := range c.LANs {
		w.lan(&c.LANs[i])
	}
	w.router(c.Router)
	return w.String()
}

func (w *writer) router(r Router) {
	w.section("Router")
	firewall := "closed"
	if r.FirewallOpen {
		firewall = "open"
	}
	if !onlyKernel {
		w.set("Dataplane", r.Dataplane.Name(), "")
	}
	w.set("Firewall", firewall, "")
	w.absent(new(rawRouter).keys())
}

func (w *writer) iface(i *Interface) {
	w.section("Interface")
	private := ""
	if i.PrivateKeyFile == "" {
		private = w.secret(i.PrivateKey)
	}
	w.set("PrivateKey", private, "in PrivateKeyFile")
	w.set("PrivateKeyFile", i.PrivateKeyFile, "none")
	if !i.PrivateKey.IsZero() {
		w.WriteString("# its public key: " + i.PrivateKey.Public().String() + "\n")
	}
	w.set("Name", i.Name, "")
	addresses := i.Addresses
	if i.LinkLocal.IsValid() {
		addresses = append(addresses[:len(addresses):len(addresses)], netip.PrefixFrom(i.LinkLocal, 64))
	}
	w.set("Address", list(addresses), "none")
	if !i.LinkLocal.IsValid() && !i.PrivateKey.IsZero() {
		w.WriteString("# its link-local address, from the key: " + i.PrivateKey.Public().LinkLocal().String() + "\n")
	}
	w.set("ListenPort", strconv.Itoa(int(i.ListenPort)), "")
	mark := "off"
	if i.FwMark != 0 {
		mark = fmt.Sprintf("0x%x", i.FwMark)
	}
	w.set("FwMark", mark, "")
	w.set("MTU", orWord(i.MTU, "auto"), "")
	dns := list(i.DNS)
	if len(i.Search) > 0 {
		dns = strings.TrimPrefix(dns+", "+strings.Join(i.Search, ", "), ", ")
	}
	w.set("DNS", dns, "none")
}

func (w *writer) peer(p *Peer) {
	w.section("Peer")
	w.set("Name", p.Name, "none")
	w.set("PublicKey", p.PublicKey.String(), "")
	w.preshared(p.PresharedKey)
	w.set("Endpoint", p.Endpoint, "none, the peer must come to us")
	w.set("AllowedIPs", list(p.AllowedIPs), "")
	w.set("PersistentKeepalive", orWord(int(p.Keepalive/time.Second), "off"), "")
	w.linkLocal(p.LinkLocal, p.PublicKey)
	w.absent(new(rawPeer).keys())
}

func (w *writer) preshared(k wgkey.Preshared) {
	text := ""
	if !k.IsZero() {
		text = w.secret(k)
	}
	w.set("PresharedKey", text, "none")
}

func (w *writer) linkLocal(a netip.Addr, key wgkey.Public) {
	text := ""
	if a.IsValid() {
		text = a.String()
	}
	w.set("LinkLocal", text, key.LinkLocal().String()+", from the key")
}

func (w *writer) lan(l *LAN) {
	w.section("LAN")
	w.set("Interface", l.Interface, "")
	w.set("Subnet", strconv.FormatUint(l.Subnet, 16), "")
	rdnss := list(l.RDNSS)
	switch l.RDNSSMode {
	case RDNSSAuto:
		rdnss = "auto"
	case RDNSSSelf:
		rdnss = "self"
	case RDNSSOff:
		rdnss = "off"
	case RDNSSAddresses:
	}
	w.set("RDNSS", rdnss, "")
	w.set("DNSSL", strings.Join(l.DNSSL, ", "), "the names in DNS, else those learned")
	w.set("Preference", l.Preference, "")
	w.set("DHCPv6", l.DHCPv6.String(), "")
	for _, s := range []struct {
		name string
		on   bool
	}{{"Delegate", l.Delegate}, {"OnLink", l.OnLink}, {"Autonomous", l.Autonomous}} {
		w.set(s.name, yesOrNo(s.on), "")
	}
	w.set("PREF64", prefixText(l.PREF64), "none")
	w.set("CaptivePortal", l.CaptivePortal, "none")
}

func yesOrNo(on bool) string {
	if on {
		return "yes"
	}
	return "no"
}

// ula is the value of ULA.
func (p *Prefix) ula() string {
	switch p.ULA {
	case ULAAuto:
		return "auto"
	case ULAStatic:
		return p.ULAPrefix.String()
	case ULAOff:
	}
	return "off"
}

// orWord writes a number, and zero as the word that it stands for.
func orWord(n int, zero string) string {
	if n == 0 {
		return zero
	}
	return strconv.Itoa(n)
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func list[T interface{ String() string }](l []T) string {
	text := make([]string, len(l))
	for i, v := range l {
		text[i] = v.String()
	}
	return strings.Join(text, ", ")
}
