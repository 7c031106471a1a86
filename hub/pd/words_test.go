// SPDX-License-Identifier: MIT

package pd

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
)

func duidOf(name string) dhcpv6.DUID { return dhcpv6.DUID("\x00\x03\x00\x01" + name) }

// query makes the message that words describe: a type, then options. site= says who sends it (a), duid= with whose DUID.
// pd1 or na1 begins an IA, and what looks like a prefix goes into it.
func (w *world) query(words string) (ev Received, m dhcpv6.Message) {
	w.t.Helper()
	f := strings.Fields(words)
	w.xid++
	m.XID = w.xid
	for m.Type = dhcpv6.Solicit; strings.ToLower(m.Type.String()) != f[0]; m.Type++ {
		if m.Type > dhcpv6.RelayReply {
			w.t.Fatalf("no message %q", f[0])
		}
	}
	switch m.Type {
	case dhcpv6.Request, dhcpv6.Renew, dhcpv6.Release, dhcpv6.Decline:
		m.ServerID = ourDUID
	}
	name, duid := "a", ""
	for _, x := range f[1:] {
		key, val, _ := strings.Cut(x, "=")
		switch {
		case key == "site":
			name = val
		case key == "duid":
			duid = val
		case key == "server":
			m.ServerID = map[string]dhcpv6.DUID{"us": ourDUID, "other": ourDUID + "x"}[val]
		case key == "rapid":
			m.RapidCommit = true
		case key == "accept":
			m.ReconfigureAccept = true
		case key == "oro":
			for c := range strings.SplitSeq(val, ",") {
				n, _ := strconv.Atoi(c)
				m.ORO = append(m.ORO, dhcpv6.OptionCode(n))
			}
		case strings.Contains(x, ":"):
			ia := &m.IAs[len(m.IAs)-1]
			if !strings.Contains(x, "/") {
				x += "/128"
			}
			ia.Prefixes = append(ia.Prefixes, dhcpv6.IAPrefix{Prefix: netip.MustParsePrefix(x)})
		default:
			n, err := strconv.Atoi(x[2:])
			if err != nil {
				w.t.Fatalf("bad word %q", x)
			}
			m.IAs = append(m.IAs, dhcpv6.IA{Type: map[string]dhcpv6.IAType{"na": dhcpv6.NA}[x[:2]], IAID: dhcpv6.IAID(n)})
		}
	}
	if duid == "" {
		duid = name
	}
	if duid != "none" {
		m.ClientID = duidOf(duid)
	}
	return Received{Site: keyOfSite(name), Data: m.Append(nil)}, m
}

// ask sends a message and gives the answer, as text and as it is; there is none if it was dropped.
func (w *world) ask(words string) (string, dhcpv6.Message) {
	w.t.Helper()
	ev, q := w.query(words)
	before := w.dropped()
	act := w.step(w.now, ev)
	if len(act.Send) == 0 {
		if !act.MustSave() && w.dropped() != before+1 {
			w.t.Fatalf("%s: no answer, and nothing is counted", words)
		}
		return "", dhcpv6.Message{}
	}
	d := act.Send[0]
	m, _, _ := dhcpv6.ParseMessage(d.Data)
	if len(act.Send) != 1 || d.Site != ev.Site || m.XID != q.XID || m.ClientID != q.ClientID {
		w.t.Fatalf("%s: answered by %s to %s, %d messages", words, text(m), d.Site, len(act.Send))
	}
	return text(m), m
}

// want asks and compares.
func (w *world) want(words, want string) dhcpv6.Message {
	w.t.Helper()
	got, m := w.ask(words)
	if got != want {
		w.t.Errorf("%v %s\n got %s\nwant %s", w.now.Sub(t0), words, got, want)
	}
	return m
}

func (w *world) dropped() (n uint64) {
	for _, d := range w.m.counters.dropped {
		n += d
	}
	return n
}

// text is a message in the words of a script: its type, flags, and for each IA its leases with lifetimes, its status.
func text(m dhcpv6.Message) string {
	f := []string{strings.ToLower(m.Type.String())}
	if m.RapidCommit {
		f = append(f, "rapid")
	}
	if m.ReconfigureAccept {
		f = append(f, "accept")
	}
	if m.Auth != nil {
		f = append(f, "auth")
	}
	if m.Status.Code != dhcpv6.Success || m.Status.Text != "" {
		f = append(f, m.Status.Code.String())
	}
	for _, ia := range m.IAs {
		f = append(f, strings.ToLower(ia.Type.String()[3:])+strconv.Itoa(int(ia.IAID)))
		for _, p := range ia.Prefixes {
			f = append(f, fmt.Sprintf("%s=%d/%d", p.Prefix, p.Preferred, p.Valid))
		}
		if ia.Status.Code != dhcpv6.Success {
			f = append(f, ia.Status.Code.String())
		}
	}
	return strings.Join(f, " ")
}

// dump is all that the machine has, as text.
func (w *world) dump() string {
	var f []string
	for b := range w.m.AllBindings() {
		f = append(f, "\n"+strings.TrimRight(string(b.Site[:]), "\x00"), "pd"+strconv.Itoa(int(b.IAID)))
		for _, l := range b.Leases {
			s := l.Prefix.String()
			switch {
			case l.Ended == 0:
				s += fmt.Sprintf("=%d/%d", l.Preferred.Seconds(w.now), l.Valid.Seconds(w.now))
			case !l.Rests.Over(w.now):
				s += fmt.Sprintf("=rests/%d", l.Rests.Seconds(w.now))
			default:
				s += "=over"
			}
			if l.Stale {
				s += "/stale"
			}
			if l.Released {
				s += "/released"
			}
			f = append(f, s)
		}
	}
	return strings.TrimSpace(strings.Join(f, " "))
}

func (w *world) wantAll(want string) {
	w.t.Helper()
	if got := strings.ReplaceAll(w.dump(), " \n", "| "); got != want {
		w.t.Errorf("%v bindings\n got %s\nwant %s", w.now.Sub(t0), got, want)
	}
}

// wantRouted compares what is routed to a site.
func (w *world) wantRouted(name, want string) {
	w.t.Helper()
	if got := w.m.Routed(keyOfSite(name)); !slices.Equal(got, prefixes(want)) {
		w.t.Errorf("%v: routed to %s are %v, want %s", w.now.Sub(t0), name, got, want)
	}
}

// did says what else the last step did.
func (w *world) did(saved, changed bool) {
	w.t.Helper()
	if w.act.MustSave() != saved || (len(w.act.Changed) > 0) != changed {
		w.t.Errorf("%v: saved %v changed %v, want %v %v", w.now.Sub(t0), w.act.MustSave(), w.act.Changed, saved, changed)
	}
}

// noted counts the notes of the last step.
func (w *world) noted(msg string) (n int) {
	for _, x := range w.act.Notes {
		if x.Msg == msg {
			n++
		}
	}
	return n
}

func at(d time.Duration) lifetime.Until { return lifetime.At(t0.Add(d)) }
