// SPDX-License-Identifier: MIT

package config

import (
	"fmt"
	"slices"
	"strings"
)

// value is the text behind a key. The pointer to an absent one is nil.
type value struct {
	text string // empty: reported already
	line int
}

// The text form of the file: one struct per section, one field per key.
type (
	rawInterface struct {
		line                                         int
		privateKey, privateKeyFile, name, listenPort *value
		fwMark, mtu                                  *value
		address, dns                                 []value
	}
	rawPeer struct {
		line                                    int
		name, publicKey, presharedKey, endpoint *value
		persistentKeepalive, linkLocal          *value
		allowedIPs                              []value
	}
	rawPrefix struct {
		line                           int
		source, prefix, requestAddress *value
		ula                            *value
		hint                           []value
	}
	rawLAN struct {
		line                      int
		iface, subnet, preference *value
		dhcpv6, delegate          *value
		onLink, autonomous        *value
		pref64, captivePortal     *value
		rdnss, dnssl              []value
	}
	rawRouter struct {
		line                int
		firewall, dataplane *value
	}
	rawFile struct {
		last   int // number of the last line, at least 1; 0: nothing has been read
		iface  *rawInterface
		peers  []*rawPeer
		prefix *rawPrefix
		lans   []*rawLAN
		router *rawRouter

		hub   *rawHub // these two only in a hub's file
		sites []*rawSite
	}
)

// key is one row of a section's table: its name, and what becomes of its value. Exactly one of
// one, list, absent, ignored and refused is set, but that absent may depend on the build.
type key struct {
	name    string
	one     **value
	list    *[]value
	absent  bool     // its feature is not in this version
	only    []string // with absent: the values that leave the feature off, the effective one first
	ignored string   // why it does nothing here
	refused string   // why it cannot be
}

const (
	whyNoHooks   = `nothing from a file is ever executed; "oasis6 import" comments it out`
	whyNoTable   = "no effect: the routes are made as needed, and IPv4 routes are left alone"
	whyNoSave    = "no effect: nothing ever writes this file"
	whyNoReserve = "a reservation stands in the file of the hub; a box writes its wish as Hint in [Prefix]"
	notAvailable = "not available in this version"
)

func (r *rawInterface) keys() []key {
	return []key{
		{name: "PrivateKey", one: &r.privateKey},
		{name: "PrivateKeyFile", one: &r.privateKeyFile},
		{name: "Name", one: &r.name},
		{name: "Address", list: &r.address},
		{name: "ListenPort", one: &r.listenPort},
		{name: "FwMark", one: &r.fwMark},
		{name: "MTU", one: &r.mtu},
		{name: "DNS", list: &r.dns},
		{name: "Table", ignored: whyNoTable},
		{name: "SaveConfig", ignored: whyNoSave},
		{name: "PreUp", refused: whyNoHooks},
		{name: "PostUp", refused: whyNoHooks},
		{name: "PreDown", refused: whyNoHooks},
		{name: "PostDown", refused: whyNoHooks},
	}
}

func (r *rawPeer) keys() []key {
	return []key{
		{name: "Name", one: &r.name},
		{name: "PublicKey", one: &r.publicKey},
		{name: "PresharedKey", one: &r.presharedKey},
		{name: "Endpoint", one: &r.endpoint},
		{name: "Fallback", absent: true},
		{name: "AllowedIPs", list: &r.allowedIPs},
		{name: "PersistentKeepalive", one: &r.persistentKeepalive},
		{name: "LinkLocal", one: &r.linkLocal},
		{name: "Prefix", refused: whyNoReserve},
	}
}

func (r *rawPrefix) keys() []key {
	return []key{
		{name: "Source", one: &r.source},
		{name: "Prefix", one: &r.prefix},
		{name: "Hint", list: &r.hint},
		{name: "RequestAddress", one: &r.requestAddress},
		{name: "ULA", one: &r.ula},
	}
}

func (r *rawLAN) keys() []key {
	return []key{
		{name: "Interface", one: &r.iface},
		{name: "Subnet", one: &r.subnet},
		{name: "RDNSS", list: &r.rdnss},
		{name: "DNSSL", list: &r.dnssl},
		{name: "Preference", one: &r.preference},
		{name: "DHCPv6", one: &r.dhcpv6},
		{name: "Delegate", one: &r.delegate},
		{name: "OnLink", one: &r.onLink},
		{name: "Autonomous", one: &r.autonomous},
		{name: "PREF64", one: &r.pref64},
		{name: "CaptivePortal", one: &r.captivePortal},
	}
}

func (r *rawRouter) keys() []key {
	return []key{
		{name: "Dataplane", one: &r.dataplane, absent: onlyKernel, only: []string{"kernel", "auto"}},
		{name: "Firewall", one: &r.firewall},
		{name: "Web", absent: true, only: []string{"off"}},
		{name: "Metrics", absent: true, only: []string{"off"}},
	}
}

// section is one kind of section. [Hub] has no keys here: its are those of another kind of file, see hubSections.
type section struct {
	name string
	keys []key
}

// sections lists all of a box's file, with keys that store nowhere: for hints, import and tests.
func sections() []section {
	return []section{
		{"Interface", new(rawInterface).keys()},
		{"Peer", new(rawPeer).keys()},
		{"Prefix", new(rawPrefix).keys()},
		{"LAN", new(rawLAN).keys()},
		{"Router", new(rawRouter).keys()},
		{"Hub", nil},
	}
}

// keyOf finds a key of a section without regard to case.
func keyOf(keys []key, name string) (key, bool) {
	i := slices.IndexFunc(keys, func(k key) bool { return strings.EqualFold(k.name, name) })
	if i < 0 {
		return key{}, false
	}
	return keys[i], true
}

// reader turns lines into the text form.
type reader struct {
	*report
	file    rawFile
	known   []section
	open    opener
	section section // the current one
	mode    mode
	first   map[string]int // line of each single-valued key of the current section
	single  map[string]int // line of each section that stands once
}

// mode is what to do with a key line.
type mode uint8

const (
	outside mode = iota // no section yet
	inside              // a known section
	skip                // a section that is refused: its keys say nothing more
)

// opener begins the section of that name, in small letters, in the text form. Without a section the second result is what
// is wrong with it, empty: there is no such section.
type opener func(f *rawFile, id string, line int) (section, string)

func readRaw(rep *report, lines []string, known []section, open opener) rawFile {
	r := &reader{report: rep, known: known, open: open, single: map[string]int{}, file: rawFile{last: max(1, len(lines))}}
	for i, text := range lines {
		if len(r.errors) >= maxReports {
			break // hints cost time, and nobody would see them
		}
		s := scan(text)
		switch s.kind {
		case blank:
		case header:
			r.header(i+1, s.name)
		case pair:
			r.pair(i+1, s)
		case junk:
			r.errorf(i+1, "%s", s.problem)
		}
	}
	return r.file
}

func (r *reader) header(line int, name string) {
	r.first = map[string]int{}
	id := strings.ToLower(name)
	if first, again := r.single[id]; again {
		r.mode = skip
		r.errorf(line, "[%s] stands twice, first on line %d: put its keys together", name, first)
		return
	}
	s, problem := r.open(&r.file, id, line)
	switch {
	case problem != "":
		r.mode = skip
		r.errorf(line, "%s", problem)
		return
	case s.name == "":
		r.mode = skip
		r.errorf(line, "unknown section %s%s", sectionName(name), hintSection(name, r.known))
		return
	}
	r.mode, r.section = inside, s
	if id != "peer" && id != "lan" {
		r.single[id] = line
	}
}

// openBox is the opener of a box's file.
func openBox(f *rawFile, id string, line int) (section, string) {
	switch id {
	case "peer":
		p := &rawPeer{line: line}
		f.peers = append(f.peers, p)
		return section{"Peer", p.keys()}, ""
	case "prefix":
		f.prefix = &rawPrefix{line: line}
		return section{"Prefix", f.prefix.keys()}, ""
	case "lan":
		l := &rawLAN{line: line}
		f.lans = append(f.lans, l)
		return section{"LAN", l.keys()}, ""
	}
	return openCommon(f, id, line), ""
}

// openCommon begins what the files of a box and of a hub have in common.
func openCommon(f *rawFile, id string, line int) section {
	switch id {
	case "interface":
		f.iface = &rawInterface{line: line}
		return section{"Interface", f.iface.keys()}
	case "router":
		f.router = &rawRouter{line: line}
		return section{"Router", f.router.keys()}
	}
	return section{}
}

func (r *reader) pair(line int, s scanned) {
	switch r.mode {
	case skip:
		return
	case outside:
		r.errorf(line, "key %s outside a section: a line with [Interface], or another section, belongs above it", keyName(s.name))
		return
	case inside:
	}
	k, ok := keyOf(r.section.keys, s.name)
	switch {
	case !ok:
		r.errorf(line, "unknown key %s in [%s]%s", keyName(s.name), r.section.name, hintKey(s.name, r.section, r.known))
	case k.refused != "":
		r.errorf(line, "%s: refused: %s", k.name, k.refused)
	case k.ignored != "":
		r.noticef(line, "%s: %s", k.name, k.ignored)
	case k.absent:
		if !slices.ContainsFunc(k.only, func(v string) bool { return strings.EqualFold(v, s.value) }) {
			r.errorf(line, "%s: %s%s", k.name, notAvailable, onlyOff(k.only))
		}
	case s.value == "":
		r.errorf(line, "%s: no value: write %s = VALUE, or leave the line out", k.name, k.name)
		r.store(k, value{line: line})
	default:
		r.store(k, value{text: s.value, line: line})
	}
}

func onlyOff(only []string) string {
	if len(only) == 0 {
		return ""
	}
	return fmt.Sprintf(": leave the line out, or write %s", strings.Join(only, " or "))
}

func (r *reader) store(k key, v value) {
	if k.list != nil {
		*k.list = append(*k.list, v)
		return
	}
	if first, again := r.first[k.name]; again {
		r.errorf(v.line, "%s stands twice in this section, first on line %d", k.name, first)
		return
	}
	r.first[k.name] = v.line
	*k.one = &v
}
