// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"oasis6/lab/packet"
	"oasis6/lab/pcapng"
)

// Pcap is page.Views'. A wire's capture holds its frames and, beside each, what the node at the end did with it. The wire
// of a tunnel holds what it carries. With keys, a wire with a simulated tunnel on it gets a second interface with the
// packets that are inside: there is nothing to decrypt.
func (s *Source) Pcap(out io.Writer, wireID string, keys bool) error {
	about := fmt.Sprintf("scenario %s, link %s, seed %d", s.w.opt.Scenario, s.w.opt.Link, s.w.opt.Seed)
	p, err := pcapng.NewWriter(out, "oasis6 demo", about)
	if err != nil {
		return err
	}
	for box, path := range paths() {
		if wireID == pipeOf(box) {
			return s.inside(p, path[0], pipeOf(box), "what the tunnel of "+box+" carries, at the box's end")
		}
	}
	frames := s.w.rec.all(0, func(r *record) bool { return r.Wire == wireID })
	i, err := p.AddInterface(pcapng.Interface{Name: wireID, Description: s.nameOf(wireID), Link: pcapng.Ethernet})
	if err != nil {
		return err
	}
	inner := -1
	if keys && slices.ContainsFunc(frames, func(r *record) bool { return len(r.inner) > 0 }) {
		if inner, err = p.AddInterface(pcapng.Interface{Name: wireID + "-inside", Description: "what is in the tunnel's messages on " + wireID, Link: pcapng.RawIP}); err != nil {
			return err
		}
	}
	for _, r := range frames {
		if err := p.WritePacket(pcapng.Packet{Interface: i, At: r.At, Data: r.Frame, Comments: s.comments(r)}); err != nil {
			return err
		}
		if inner >= 0 && len(r.inner) > 0 {
			if err := p.WritePacket(pcapng.Packet{Interface: inner, At: r.At, Data: r.inner, Comments: []string{packet.SummaryIP(r.inner, nil)}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// inside writes what the messages on a wire carry.
func (s *Source) inside(p *pcapng.Writer, wireID, name, about string) error {
	i, err := p.AddInterface(pcapng.Interface{Name: name, Description: about, Link: pcapng.RawIP})
	if err != nil {
		return err
	}
	for _, r := range s.w.rec.all(0, func(r *record) bool { return r.Wire == wireID && len(r.inner) > 0 }) {
		if err := p.WritePacket(pcapng.Packet{Interface: i, At: r.At, Data: r.inner, Comments: s.comments(r)}); err != nil {
			return err
		}
	}
	return nil
}

// comments are what stands beside a frame: who sent it to whom, and what became of it.
func (s *Source) comments(r *record) []string {
	out := []string{r.From + " → " + r.To + ": " + packet.Summary(r.Frame, s.w.rec.opener(r))}
	if r.Dropped != "" {
		out = append(out, "lost on the wire: "+r.Dropped)
	}
	if text, rfc := s.w.rec.said(r); text != "" {
		out = append(out, strings.TrimSpace(r.To+": "+text+" "+rfc))
	}
	return out
}

func (s *Source) nameOf(wireID string) string {
	for _, l := range s.w.links {
		if l.id == wireID {
			return l.name
		}
	}
	return ""
}
