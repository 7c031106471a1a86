// SPDX-License-Identifier: MIT

package router

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/dataplane"
	"oasis6/dhcpv6"
	"oasis6/dhcpv6/server"
)

// Changes of bindings that are written at once, and then one for each refill: a class that comes into the room is
// written name by name, a client that asks and gives back for ever does not wear the flash out.
const (
	bindingsBurst  = 64
	bindingsRefill = 30 * time.Second
)

// lanServer is the DHCPv6 server of all LANs with what the machine is connected to.
type lanServer struct {
	*server.Server
	content server.Content // what it has been told
	wake    time.Time
	unsent  []server.Datagram
	// Clients whose prefixes are not in the kernel as they are here: what they are told waits for it.
	unapplied []lanClientID
	planned   time.Time // the last plan that the server wanted
	planAt    time.Time // the next, put off; zero: none
	file      stateFile
	wear      wear
	pending   *server.State // to be written at saveAt
	saveAt    time.Time
	failed    string // the last failure to write, for reportSave
}

// startServer makes the server with what an earlier process kept. Its identity follows from the key, so that clients find
// the same server also after its state was lost.
func (r *Router) startServer(now time.Time) {
	key := r.cfg.Interface.PrivateKey
	s := &lanServer{
		Server: server.New(server.Config{DUID: dhcpv6.DUIDFromPublicKey(key.Public()), Secret: key.Derive("oasis6 dhcpv6 server")}, r.opt.Rand),
		file:   stateFile{r.opt.Files, "bindings.json"},
		wear:   newWear(bindingsBurst, bindingsRefill),
	}
	r.server = s
	data, err := s.file.read()
	var state server.State
	if data != nil {
		if state, err = server.DecodeState(data, now, r.opt.BootID); err != nil {
			err = s.file.setAside(err)
		}
	}
	if err != nil {
		r.journal.Warn("file of DHCPv6 bindings unusable, starting without it", "err", err.Error())
		return
	}
	if data != nil {
		r.stepServer(now, server.Restored{State: state})
	}
}

// onDHCPv6 takes a message from a LAN.
func (r *Router) onDHCPv6(now time.Time, l *lan, m dataplane.Received) {
	r.stepServer(now, server.Received{Link: l.name, Src: m.Src, Data: m.Data})
}

func (r *Router) stepServer(now time.Time, ev server.Event) {
	s := r.server
	a := s.Step(now, ev)
	s.wake = a.Wake
	if a.Changed {
		r.serverChanged(now, ev)
	}
	s.unsent = append(s.unsent, a.Send...)
	r.journal.Notes(a.Notes)
	if a.Persist == nil {
		return
	}
	s.pending = a.Persist
	if at := s.wear.atOnce(now); s.saveAt.IsZero() || at.Before(s.saveAt) {
		s.saveAt = at
	}
	if !s.saveAt.After(now) {
		r.saveBindings(now)
	}
}

// serverPlanEvery is the least time between two plans that clients of the server cause: each is some work for the kernel, and
// clients cost a forger nothing.
const serverPlanEvery = 200 * time.Millisecond

// lanClientID is a client of the server, by its link and address.
type lanClientID struct {
	link string
	addr netip.Addr
}

// serverChanged makes the plan follow the bindings, at once or a moment after the last time.
func (r *Router) serverChanged(now time.Time, ev server.Event) {
	s := r.server
	m, asked := ev.(server.Received)
	if asked {
		s.unapplied = append(s.unapplied, lanClientID{m.Link, m.Src})
	}
	if next := s.planned.Add(serverPlanEvery); asked && next.After(now) {
		s.planAt = next
		return
	}
	s.planned, r.replan = now, true
}

// saveBindings writes what is pending. On a full disk clients are answered all the same: a router that has lost its
// prefix by a crash asks again, one that was refused has none now.
func (r *Router) saveBindings(now time.Time) {
	s := r.server
	if s.pending == nil {
		s.saveAt = time.Time{}
		return
	}
	data, err := server.EncodeState(*s.pending, now, r.opt.Wall(), r.opt.BootID)
	if err == nil {
		err = s.file.write(data)
	}
	r.reportSave(&s.failed, err, "DHCPv6 bindings not saved: a crash may lose them")
	if err != nil {
		s.saveAt = now.Add(retrySave)
		return
	}
	s.pending, s.saveAt = nil, time.Time{}
	r.stepServer(now, server.Saved{OK: true})
}

// tellServer gives the server what is true after an Apply.
func (r *Router) tellServer(now time.Time, p Plan, applyErr error) {
	c := server.Content{Pools: p.Pools}
	for _, l := range p.LANs {
		if l.Silent {
			return // as hosts are told nothing yet
		}
		if l.Server.Name != "" {
			c.Links = append(c.Links, l.Server)
		}
	}
	if applyErr != nil {
		c = grantNothing(r.server.content, c)
	}
	r.server.content = c
	r.stepServer(now, server.SetContent{Content: c})
}

// sendServer sends what the server's steps gave. The route to a prefix stands before its router hears of it: what goes to such a
// router waits for the plan. Where the kernel refuses that, the answer does not leave, and the router asks again.
func (r *Router) sendServer() {
	s := r.server
	waiting := keep(s.unsent, func(d server.Datagram) bool { return slices.Contains(s.unapplied, lanClientID{d.Link, d.To}) })
	for _, d := range s.unsent {
		if slices.Contains(s.unapplied, lanClientID{d.Link, d.To}) {
			continue
		}
		for _, l := range r.lans {
			if l.name == d.Link {
				r.send(l, &l.sockets[serviceDHCPv6], d.To, d.Data)
			}
		}
	}
	if s.unsent = waiting; r.applyErr != nil {
		s.unsent = nil
	}
	// A flood of clients while the kernel refuses everything: those of before have long asked again.
	s.unapplied = s.unapplied[max(0, len(s.unapplied)-maxUnapplied):]
}

// maxUnapplied bounds the clients that wait for the kernel: as many as the server takes within some seconds.
const maxUnapplied = 256
