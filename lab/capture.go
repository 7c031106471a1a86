// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"io"
	"strings"

	"oasis6/internal/wgkey"
	"oasis6/lab/packet"
	"oasis6/lab/pcapng"
	"oasis6/lab/simseal"
)

// Pcap is page.Views'. A wire's capture holds its frames and, beside each, what the node at the end did with it. The wire
// of a tunnel holds what it carries. With keys, Wireshark opens the tunnel's messages on a wire: those of a simulated
// tunnel, which has no cryptography, are made true for that.
func (s *Source) Pcap(out io.Writer, wireID string, keys bool) error {
	about := fmt.Sprintf("scenario %s, link %s", s.w.opt.Scenario, s.w.opt.Link)
	if s.w.opt.Link == Sim { // in real time no seed decides what happens
		about += fmt.Sprintf(", seed %d", s.w.opt.Seed)
	}
	p, err := pcapng.NewWriter(out, "oasis6 demo", about)
	if err != nil {
		return err
	}
	for box, path := range paths() {
		if wireID == pipeOf(box) {
			return s.inside(p, path[0], pipeOf(box), "what the tunnel of "+box+" carries, at the box's end")
		}
	}
	records := s.w.rec.all(0, func(r *record) bool { return r.Wire == wireID })
	i, err := p.AddInterface(pcapng.Interface{Name: wireID, Description: s.nameOf(wireID), Link: pcapng.Ethernet})
	if err != nil {
		return err
	}
	frames := make([][]byte, len(records))
	for i, r := range records {
		frames[i] = r.Frame
	}
	if keys {
		secrets := s.w.keys.secrets()
		if s.w.opt.Link == Sim {
			secrets = s.w.seal(frames)
		}
		if err := p.WriteSecrets(secrets); err != nil {
			return err
		}
	}
	for n, r := range records {
		if err := p.WritePacket(pcapng.Packet{Interface: i, At: r.At, Data: frames[n], Comments: s.comments(r)}); err != nil {
			return err
		}
	}
	return nil
}

// seal makes true WireGuard messages of the simulated ones in frames, in place, and gives the keys that open them.
func (w *World) seal(frames [][]byte) []pcapng.Secrets {
	keys := []wgkey.Private{w.hub.key}
	for _, b := range w.boxes {
		keys = append(keys, b.key)
	}
	sealer := simseal.New(simseal.Config{Keys: keys, Seed: w.newKey("captures")})
	for i, f := range frames {
		frames[i] = sealer.Frame(f)
	}
	return sealer.Secrets()
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
