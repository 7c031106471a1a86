// SPDX-License-Identifier: MIT

package pd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
	"oasis6/internal/lifetime"
)

// query makes the message that words describe (dhcpv6test). site= says who sends it (a), duid= with whose DUID.
func (w *world) query(words string) (Received, dhcpv6.Message) {
	w.t.Helper()
	name, duid := "a", ""
	m, err := dhcpv6test.Query(words, ourDUID, func(key, val string) bool {
		switch key {
		case "site":
			name = val
		case "duid":
			duid = val
		default:
			return false
		}
		return true
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.xid++
	m.XID = w.xid
	if duid == "" {
		duid = name
	}
	if duid != "none" {
		m.ClientID = dhcpv6test.DUID(duid)
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
		w.t.Fatalf("%s: answered by %s to %s, %d messages", words, dhcpv6test.Text(m), d.Site, len(act.Send))
	}
	return dhcpv6test.Text(m), m
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
