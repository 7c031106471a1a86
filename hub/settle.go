// SPDX-License-Identifier: MIT

package hub

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"oasis6/hub/enroll"
	"oasis6/hub/pd"
	"oasis6/hub/store"
	"oasis6/internal/invite"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// outgoing is a packet that waits until what it tells of is true.
type outgoing struct {
	site   wgkey.Public
	packet []byte
	needs  need
}

// need is what must have been done before a packet leaves.
type need uint8

const (
	nothing need = iota
	lease        // what the site has is on disk and routed
	peer         // the book of invitations is on disk, and the device has its peers
)

// step gives the DHCPv6 machine an event and takes what is to be done. Nothing of it is done before settle.
func (h *Hub) step(now time.Time, ev pd.Event) {
	a := h.machine.Step(now, ev)
	for _, c := range a.Commit {
		if err := h.records.lease(c, h.encode); err != nil { // a wall clock outside of the years 0 to 9999
			h.journal.Error("lease cannot be written, so it is not told", "err", err.Error())
			a.Send = slices.DeleteFunc(a.Send, func(d pd.Datagram) bool { return d.Site == c.Key.Site })
		}
	}
	if a.Replay != 0 {
		h.records.changes[keyReplay] = strconv.AppendUint(nil, a.Replay, 10)
	}
	for _, k := range a.Changed {
		h.moved[k] = true
	}
	for _, d := range a.Send {
		h.send(d.Site, dhcpv6ServerPort, dhcpv6ClientPort, d.Data, lease)
	}
	h.machineWake = a.Wake
	h.journal.Notes(a.Notes)
}

// stepBook does the same for the book of invitations.
func (h *Hub) stepBook(now time.Time, ev enroll.Event) {
	h.takeBook(h.book.Step(h.instant(now), ev))
}

func (h *Hub) instant(now time.Time) enroll.Instant {
	return enroll.Instant{Boot: now, Wall: h.opt.Wall()}
}

// takeBook takes what is to be done for the book.
func (h *Hub) takeBook(a enroll.Actions) {
	for _, c := range a.Commit {
		h.records.changes[c.Key] = c.Value
	}
	h.newPeers = h.newPeers || a.Peers
	h.anew = append(h.anew, a.Anew...)
	for _, d := range a.Send {
		h.send(d.To, invite.Port, invite.Port, d.Data, peer)
	}
	h.bookWake = a.Wake
	h.journal.Notes(a.Notes)
}

// send puts a datagram for a site into the outbox.
func (h *Hub) send(to wgkey.Public, sport, dport uint16, data []byte, needs need) {
	if s := h.byKey[to]; s != nil {
		p := ip6pkt.UDP(h.linkLocal(), s.linkLocal, sport, dport, hopLimit, data)
		h.outbox = append(h.outbox, outgoing{site: to, packet: p, needs: needs})
	}
}

// settle carries out what the events of this turn have led to, in the one order that is safe: what is on disk is never
// less than what sites have, and what they are told stands already. Lease on disk, allowed-ips, route, Reply; at the end of
// a lease route, then allowed-ips.
func (h *Hub) settle(ctx context.Context, now time.Time) error {
	// What a commit lets in makes another one: a site that has joined may be given what it had.
	for range maxCommits {
		h.commit(ctx, now)
		if h.newPeers {
			if err := h.takePeers(now); err != nil {
				return err
			}
		}
		if len(h.records.changes) == 0 {
			break
		}
	}
	first, shrunk := h.allowed()
	if err := h.setAllowed(first); err != nil {
		return err
	}
	if len(h.moved) > 0 && h.applyErr == nil {
		h.reapply = true
		h.apply.Reset()
	}
	if h.reapply && h.apply.Due(now) {
		h.applyPlan(ctx, now)
	}
	if !h.reapply {
		if err := errors.Join(h.setAllowed(shrunk), h.dropGone()); err != nil {
			return err
		}
		clear(h.moved)
	}
	h.flush()
	if err := h.opt.Clock.Set(h.nextWake()); err != nil {
		return fmt.Errorf("boot-clock timer: %w", err)
	}
	return nil
}

// maxCommits bounds the rounds of one turn; what is left comes with the next.
const maxCommits = 4

// takePeers makes the device have the peers of the book.
func (h *Hub) takePeers(now time.Time) error {
	h.newPeers = false
	anew := h.anew
	h.anew = nil
	if err := h.setSites(now, anew); err != nil {
		return err
	}
	h.step(now, pd.SetContent{Content: h.content()})
	return nil
}

// commit writes what must be on disk. If that fails the machines forget what they have granted, and their answers do not
// leave.
func (h *Hub) commit(ctx context.Context, now time.Time) {
	r := &h.records
	if len(r.changes) == 0 {
		return
	}
	err := h.write(ctx)
	if err != nil {
		if r.failed == "" {
			h.journal.Error("leases cannot be saved, so none is given", "err", err.Error())
		}
		r.failed = err.Error()
		h.outbox = slices.DeleteFunc(h.outbox, func(o outgoing) bool { return o.needs != nothing })
		h.newPeers, h.anew = false, nil
	} else if r.failed != "" {
		r.failed = ""
		h.journal.Info("leases are saved again")
	}
	if _, ends := r.changes[store.KeyLost]; ends && err == nil {
		r.lost = false
		h.journal.Info("no lost lease can be in use any more")
	}
	clear(r.changes)
	h.step(now, pd.Saved{OK: err == nil})
	h.stepBook(now, enroll.Saved{OK: err == nil})
}

// allowed is what the allowed-ips of the sites that have changed must become before the routes, and shrink to after them.
// Before the routes nothing goes but what another site has now: a prefix of which the lease has ended, and that was
// reserved for that one, has a route already.
func (h *Hub) allowed() (first, shrunk []tun.Allowed) {
	want, taken := map[wgkey.Public][]netip.Prefix{}, map[netip.Prefix]wgkey.Public{}
	for k := range h.moved {
		s := h.byKey[k]
		if s == nil {
			continue // it has been removed, and its allowed-ips with it
		}
		want[k] = h.allowedIPs(s)
		for _, p := range want[k] {
			taken[p] = k
		}
	}
	for k, list := range want {
		have := h.byKey[k].AllowedIPs
		now := slices.DeleteFunc(slices.Clone(have), func(p netip.Prefix) bool { o, is := taken[p]; return is && o != k })
		for _, p := range list {
			if !slices.Contains(now, p) {
				now = append(now, p)
			}
		}
		if !slices.Equal(now, have) {
			first = append(first, tun.Allowed{Site: k, IPs: now})
		}
		if len(now) > len(list) {
			shrunk = append(shrunk, tun.Allowed{Site: k, IPs: list})
		}
	}
	return first, shrunk
}

// allowedIPs is what proves a site, and what it has.
func (h *Hub) allowedIPs(s *site) []netip.Prefix {
	ips := []netip.Prefix{netip.PrefixFrom(s.linkLocal, 128)}
	if s.origin != invited {
		ips = append(ips, h.machine.Routed(s.Public)...)
	}
	return ips
}

// setAllowed gives sites other allowed-ips. A device that does not take them does not have the sites that it was given:
// somebody has used wg, and the whole list puts that right.
func (h *Hub) setAllowed(list []tun.Allowed) error {
	if len(list) == 0 {
		return nil
	}
	err := h.opt.Tunnel.SetAllowed(list)
	for _, a := range list {
		h.byKey[a.Site].AllowedIPs = a.IPs
	}
	if err == nil {
		return nil
	}
	h.journal.Warn("somebody changed sites with wg, put right", "err", err.Error())
	if err := h.giveSites(h.deviceSites()); err != nil {
		return fmt.Errorf("%w: %w", ErrTunnelFailed, err) // the device takes what is well-formed
	}
	return nil
}

// facts gathers what Make decides from.
func (h *Hub) facts() Facts {
	snap := h.opt.Tunnel.Snapshot()
	f := Facts{Config: h.cfg, LinkLocal: snap.LinkLocal, MTU: snap.MTU, Own: h.mine}
	for _, p := range h.machine.AllRouted {
		f.Routed = append(f.Routed, p)
	}
	h.retired = slices.DeleteFunc(h.retired, func(pool netip.Prefix) bool {
		return slices.Contains(h.cfg.Hub.Pools, pool) || !slices.ContainsFunc(f.Routed, func(p netip.Prefix) bool { return covers(pool, p) })
	})
	f.Retired = h.retired
	return f
}

// applyPlan makes the kernel equal to what the leases want.
func (h *Hub) applyPlan(ctx context.Context, now time.Time) {
	h.desired = Make(h.facts())
	err := h.opt.Plane.Apply(ctx, h.desired)
	if err == nil {
		if h.applyErr != nil {
			h.journal.Info("kernel state applied again")
		}
		if !h.applied {
			h.sayUp()
		}
		h.reapply, h.applyErr, h.applied = false, nil, true
		h.apply.Reset()
		return
	}
	if h.applyErr == nil || h.applyErr.Error() != err.Error() {
		h.journal.Warn("kernel refuses what the hub needs", "err", err.Error())
	}
	h.applyErr = err
	h.apply.Failed(now, h.opt.Rand())
}

// sayUp logs once what the hub has begun with.
func (h *Hub) sayUp() {
	t := h.opt.Tunnel.Snapshot()
	var pools []string
	for _, p := range h.cfg.Hub.Pools {
		pools = append(pools, p.String())
	}
	sites, leases := 0, 0
	for _, s := range h.sites {
		if s.origin != invited {
			sites++
		}
	}
	for range h.machine.AllRouted {
		leases++
	}
	h.journal.Info("hub up", "iface", t.Interface, "port", strconv.Itoa(int(t.ListenPort)), "pool", strings.Join(pools, " "),
		"sites", strconv.Itoa(sites), "leases", strconv.Itoa(leases))
}

// flush sends what has waited. What tells of something that does not stand yet is dropped: the site asks again.
func (h *Hub) flush() {
	for _, o := range h.outbox {
		if o.needs == lease && h.reapply && h.moved[o.site] || o.needs != nothing && len(h.records.changes) > 0 {
			continue
		}
		if err := h.opt.Tunnel.Send(o.packet); err != nil {
			h.counters.unsent++
		}
	}
	clear(h.outbox)
	h.outbox = h.outbox[:0]
}
