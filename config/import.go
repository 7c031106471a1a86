// SPDX-License-Identifier: MIT

package config

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// Import turns a wg-quick file into one of ours: what does nothing here or is refused becomes a
// comment with the reason, IPv4 entries too, a [LAN] is added, and a [Prefix] where the text names one. Line
// numbers stay. The result parses, or Import fails with what Parse says about it; the caller
// writes it with mode 0600, because it holds the keys.
func Import(name string, r io.Reader) (text string, notices []Notice, err error) {
	rep := &report{file: name}
	lines, problem, err := readLines(r, maxFile)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", name, err)
	}
	if problem != "" {
		rep.errorf(1, "%s", problem)
		notices, err := rep.done()
		return "", notices, err
	}
	im := &importer{report: rep, known: sections(), present: map[string]bool{}, last: len(lines), noIPv6: peersWithoutIPv6(lines)}
	for i, l := range lines {
		im.line(i+1, l)
	}
	im.addPrefix()
	im.addLAN()
	text = im.out.String()
	_, said, err := Parse(name, strings.NewReader(text))
	if err == nil && im.noPrefix != "" {
		im.noticef(im.last, "%s", im.noPrefix)
	}
	notices, _ = rep.done() // only Parse finds errors
	if err != nil {
		return "", notices, im.ofInput(err) // the notices tell why a line is missing
	}
	return text, append(notices, said...), nil
}

// ofInput gives what is wrong with our own lines, which follow the input's, the input's last line.
func (im *importer) ofInput(err error) error {
	var wrong Errors
	if !errors.As(err, &wrong) {
		return err
	}
	for i := range wrong {
		wrong[i].Line = min(wrong[i].Line, im.last)
	}
	return wrong
}

// peersWithoutIPv6 has the lines of AllowedIPs in peers that have IPv4 only. They stay as they are, so that
// Parse finds what is wrong with them: there is no IPv6 to have from such a file.
func peersWithoutIPv6(lines []string) map[int]bool {
	found := map[int]bool{}
	var peer []int // lines of AllowedIPs in this section
	only := true
	flush := func() {
		for _, n := range peer {
			found[n] = only
		}
		peer, only = nil, true
	}
	inPeer := false
	for i, l := range lines {
		switch s := scan(l); {
		case s.kind == header:
			flush()
			inPeer = strings.EqualFold(s.name, "Peer")
		case s.kind == pair && inPeer && strings.EqualFold(s.name, "AllowedIPs"):
			peer = append(peer, i+1)
			for _, item := range items(s.value) {
				p, err := parseAddrPrefix(item)
				only = only && err == nil && p.Addr().Is4()
			}
		}
	}
	flush()
	return found
}

type importer struct {
	*report
	out     strings.Builder
	known   []section
	section section
	present map[string]bool // sections of the file, and prefixExample
	last    int             // line of the input
	noIPv6  map[int]bool    // see peersWithoutIPv6

	addresses []hint // of [Interface], host bits kept
	hints     []hint // from comments, distinct, masked
	noPrefix  string // why the file has no [Prefix] now, empty: it has one
}

// hint is a prefix that the text names.
type hint struct {
	line   int
	prefix netip.Prefix
}

// maxHints bounds the work on a file that is all prefixes; with more, none is the one.
const maxHints = 16

// tag begins every remark of ours in the file.
const tag = "# oasis6: "

func (im *importer) line(n int, text string) {
	s := scan(text)
	im.comment(n, s.comment)
	switch s.kind {
	case header:
		im.section = section{}
		for _, k := range im.known {
			if strings.EqualFold(k.name, s.name) {
				im.section = k
			}
		}
		im.present[im.section.name] = true
	case pair:
		text = im.pair(n, text, s)
	case blank, junk:
	}
	im.out.WriteString(text)
	im.out.WriteString("\n")
}

func (im *importer) pair(n int, text string, s scanned) string {
	k, ok := keyOf(im.section.keys, s.name)
	switch {
	case !ok, im.noIPv6[n]:
		return text
	case k.refused != "":
		im.noticef(n, "%s: commented out: nothing from a file is ever executed", k.name)
		return "# " + strings.TrimSpace(text) + " " + tag + "nothing from a file is ever executed"
	case k.ignored != "":
		im.noticef(n, "%s: commented out: %s", k.name, k.ignored)
		return "# " + strings.TrimSpace(text) + " " + tag + k.ignored
	case im.section.name == "Interface" && (k.name == "Address" || k.name == "DNS"),
		im.section.name == "Peer" && k.name == "AllowedIPs":
		return im.list(n, text, k, s)
	}
	return text
}

// list takes out of a list what Parse would drop from it.
func (im *importer) list(n int, text string, k key, s scanned) string {
	var ipv4, local, rest []string
	for _, item := range items(s.value) {
		p, err := parseAddrPrefix(item)
		switch {
		case err == nil && p.Addr().Is4():
			ipv4 = append(ipv4, item)
			continue
		case k.name == "DNS" && linkLocalServer(item):
			local = append(local, item)
			continue
		case err == nil && k.name == "Address":
			im.addresses = append(im.addresses, hint{n, p})
		}
		rest = append(rest, item)
	}
	var why []string
	if len(ipv4) > 0 {
		im.noticef(n, "%s: IPv4 commented out, it stays on its native path: %s", k.name, strings.Join(ipv4, ", "))
		why = append(why, "IPv4 stays on its native path: "+strings.Join(ipv4, ", "))
	}
	if len(local) > 0 {
		im.noticef(n, "%s: link-local commented out, no host of a LAN can reach it: %s", k.name, strings.Join(local, ", "))
		why = append(why, "no host of a LAN can reach link-local: "+strings.Join(local, ", "))
	}
	switch {
	case len(why) == 0:
		return text
	case len(rest) == 0 && len(local) == 0:
		return "# " + strings.TrimSpace(text) + " " + tag + "IPv4 stays on its native path"
	case len(rest) == 0:
		return "# " + strings.TrimSpace(text) + " " + tag + strings.Join(why, "; ")
	}
	text = s.name + " = " + strings.Join(rest, ", ") + " " + tag + strings.Join(why, "; ")
	if s.comment != "" {
		text += " " + s.comment
	}
	return text
}

// namesPrefix looks for what providers call the prefix that they route to a customer.
func namesPrefix(s string) bool {
	for _, word := range []string{"prefix", "subnet", "routed", "delegat", "network", "block", "range"} {
		if strings.Contains(s, word) {
			return true
		}
	}
	return false
}

// comment looks for a routed prefix in the provider's own words.
func (im *importer) comment(n int, text string) {
	if text == prefixExample {
		im.present[prefixExample] = true
	}
	if !namesPrefix(strings.ToLower(text)) {
		return
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return isSpace(r) || strings.ContainsRune(`#,;()<>"'=`, r) })
	for _, word := range words {
		p, err := netip.ParsePrefix(strings.TrimRight(word, "."))
		if err != nil || checkDelegation(p.Masked()) != nil {
			continue
		}
		same := func(h hint) bool { return h.prefix == p.Masked() }
		if len(im.hints) <= maxHints && !slices.ContainsFunc(im.hints, same) {
			im.hints = append(im.hints, hint{n, p.Masked()})
		}
	}
}

const prefixExample = tag + "if your provider routes a fixed prefix to you, write it here:"

const askProvider = "the box will ask for one by DHCPv6; if your provider named a prefix, put it into [Prefix]"

// addPrefix adds [Prefix] if there is exactly one that a comment names, or that an address stands in
// which is too short for a link. Everything else is for the user to say.
func (im *importer) addPrefix() {
	if im.present["Prefix"] || im.present[prefixExample] {
		return
	}
	tooMany := len(im.hints) > maxHints
	if tooMany {
		im.hints = nil
	}
	im.hints = slices.DeleteFunc(im.hints, func(h hint) bool { // a /64 with our address in it is the link
		return h.prefix.Bits() == 64 && im.holdsAddress(h.prefix)
	})
	source := "comment"
	if len(im.hints) == 0 {
		source = "Address"
		for _, a := range im.addresses {
			if a.prefix.Bits() < 64 && checkDelegation(a.prefix.Masked()) == nil {
				im.hints = append(im.hints, hint{a.line, a.prefix.Masked()})
			}
		}
	}
	if len(im.hints) != 1 {
		im.noPrefix = "no routed prefix found in the file: " + askProvider
		if tooMany || len(im.hints) > 1 {
			im.noPrefix = "several prefixes could be the routed one: " + askProvider
		}
		im.out.WriteString("\n" + prefixExample + "\n# [Prefix]\n# Prefix = 2001:db8:ebbd:9900::/56\n")
		return
	}
	h := im.hints[0]
	source = fmt.Sprintf("found in the %s on line %d", source, h.line)
	im.noticef(h.line, "Prefix: %s, %s, is taken as the one routed to this box: check it", h.prefix, source)
	fmt.Fprintf(&im.out, "\n%s%s; for a prefix asked for by DHCPv6 remove this section\n[Prefix]\nPrefix = %s\n", tag, source, h.prefix)
}

// addLAN adds the LAN, beside the /64 that the tunnel's own address is in.
func (im *importer) addLAN() {
	if im.present["LAN"] {
		return
	}
	fmt.Fprintf(&im.out, "\n%sthe bridge whose hosts get IPv6\n[LAN]\nInterface = br-lan\n", tag)
	if im.present["Prefix"] || len(im.hints) != 1 {
		return
	}
	first := im.hints[0].prefix
	if first.Bits() < 64 && im.holdsAddress(netip.PrefixFrom(first.Addr(), 64)) {
		im.out.WriteString("Subnet = 1 " + tag + "the tunnel's own address is in subnet 0\n")
	}
}

func (im *importer) holdsAddress(p netip.Prefix) bool {
	return slices.ContainsFunc(im.addresses, func(a hint) bool { return p.Contains(a.prefix.Addr()) })
}
