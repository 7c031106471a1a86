// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

const (
	// eventQueue is room for what happens while the consumer is in Apply.
	eventQueue = 64
	// lostBuffer is the receive buffer asked for: some thousand route messages.
	lostBuffer = 1 << 20
	// recheckSysctls is how often the sysctls are read: the kernel tells nobody of a change of most.
	recheckSysctls = 15 * time.Second
)

// watcher turns kernel messages into events. Two readers only mark what may have changed; run looks.
type watcher struct {
	p      *Plane
	route  *nl.NetlinkSocket
	nft    *nl.NetlinkSocket // nil where the kernel has no nfnetlink
	neigh  *neighborEvents
	events chan dataplane.Event
	done   chan struct{}
	kick   chan struct{}

	recheck time.Duration // set before start

	wg sync.WaitGroup

	known map[string]dataplane.Link // what the consumer was told; run's alone
	blind bool                      // the kernel could not be read the last time; run's alone
	ports map[int]link              // the readers' view, for PortUp; the route reader's alone

	mu        sync.Mutex
	signs     uint64   // how often something may have changed
	names     []string // by Watch
	wanted    []string // by Desired
	lans      []string // by Desired
	dsts      map[netip.Prefix]bool
	fresh     bool // tell the state of all, also if nothing changed
	queue     []dataplane.Event
	look      bool
	lookTable bool
	lost      bool   // messages were lost
	drift     string // told since the last Apply
	pace      pace
}

func openWatcher(p *Plane) (*watcher, error) {
	w := &watcher{
		p: p, events: make(chan dataplane.Event, eventQueue), done: make(chan struct{}),
		kick: make(chan struct{}, 1), known: map[string]dataplane.Link{}, ports: map[int]link{},
	}
	var err error
	w.route, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_NETCONF)
	if err != nil {
		return nil, fmt.Errorf("netlink events: %w", err)
	}
	if w.neigh, err = openNeighborEvents(); err != nil {
		return nil, fmt.Errorf("neighbor events: %w", err)
	}
	w.nft, err = nl.Subscribe(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if err != nil {
		w.nft = nil // no nfnetlink: then there is no table to watch, and Apply says so
	}
	for _, s := range []*nl.NetlinkSocket{w.route, w.nft} {
		if s == nil {
			continue
		}
		if s.SetReceiveBufferSize(lostBuffer, true) != nil {
			_ = s.SetReceiveBufferSize(lostBuffer, false) // without CAP_NET_ADMIN: what rmem_max allows
		}
	}
	return w, nil
}

func (w *watcher) start() {
	w.loadPorts()
	w.wg.Add(3)
	go w.read(w.route, w.routeMessage)
	go w.neighbors()
	go w.run()
	if w.nft != nil {
		w.wg.Add(1)
		go w.read(w.nft, w.nftMessage)
	}
}

func (w *watcher) stop() {
	close(w.done)
	w.route.Close()
	_ = w.neigh.f.Close()
	if w.nft != nil {
		w.nft.Close()
	}
	w.wg.Wait()
	close(w.events)
}

// setNames is Watch.
func (w *watcher) setNames(names []string) {
	w.change(func() { w.names, w.fresh, w.look = slices.Clone(names), true, true })
}

// setWanted tells the readers what an Apply is about.
func (w *watcher) setWanted(d dataplane.Desired, dsts map[netip.Prefix]bool) {
	names := slices.Clone(d.LANs)
	if d.Tunnel.Name != "" {
		names = append(names, d.Tunnel.Name)
	}
	w.change(func() {
		if !slices.Equal(w.wanted, names) {
			w.look = true
		}
		w.wanted, w.lans, w.dsts = names, d.LANs, dsts
	})
}

// settled: Apply is through; what is still wrong from now on is news.
func (w *watcher) settled() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drift = ""
}

func (w *watcher) change(f func()) {
	w.mu.Lock()
	f()
	if w.look {
		w.signs++
	}
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// read hands each message to handle until the socket is closed.
func (w *watcher) read(s interface {
	Receive() ([]syscall.NetlinkMessage, *unix.SockaddrNetlink, error)
}, handle func(syscall.NetlinkMessage)) {
	defer w.wg.Done()
	for {
		msgs, from, err := s.Receive()
		select {
		case <-w.done:
			return
		default:
		}
		if err != nil {
			if !errors.Is(err, unix.ENOBUFS) { // a lost message comes alone, anything else may repeat
				w.p.log.Warn("kernel events unreadable", "err", err)
				select {
				case <-w.done:
					return
				case <-time.After(time.Second):
				}
			}
			w.overrun()
			continue
		}
		if from.Pid != 0 {
			continue // not from the kernel
		}
		for _, m := range msgs {
			handle(m)
		}
	}
}

// overrun: the kernel threw messages away, so anything may have happened.
func (w *watcher) overrun() {
	w.change(func() { w.lost, w.look, w.lookTable = true, true, true })
}

func (w *watcher) loadPorts() {
	links, err := w.p.rt.links()
	if err != nil {
		w.p.log.Warn("interfaces unreadable", "err", err)
		return
	}
	for _, l := range links {
		w.ports[l.index] = l
	}
}

func (w *watcher) routeMessage(m syscall.NetlinkMessage) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l, ok := decodeLink(m.Data)
		if !ok {
			return
		}
		port := w.port(l, m.Header.Type == unix.RTM_DELLINK)
		w.change(func() {
			w.look = true
			if port != "" && (slices.Contains(w.lans, port) || slices.Contains(w.names, port)) {
				w.queue = append(w.queue, dataplane.PortUp{Iface: port})
			}
		})
	case unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_NEWNETCONF:
		w.change(func() { w.look = true })
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		r, ok := decodeRoute(m.Data)
		if !ok {
			return
		}
		w.mu.Lock()
		ours := r.proto == mark || w.dsts[r.dst]
		w.mu.Unlock()
		if ours {
			w.change(func() { w.look = true })
		}
	}
}

// port keeps the view of the ports and names the bridge of one that has just got its carrier.
func (w *watcher) port(l link, gone bool) string {
	was := w.ports[l.index]
	if gone {
		delete(w.ports, l.index)
		return ""
	}
	w.ports[l.index] = l
	if l.master == 0 || !l.running || was.running && was.master == l.master {
		return ""
	}
	return w.ports[l.master].name
}

// nftMessage looks at struct nfgenmsg and at attribute 1, which names the table in every kind of message. What is in the
// set of addresses seen is no part of what we made; attribute 2 names the set of an element.
func (w *watcher) nftMessage(m syscall.NetlinkMessage) {
	const nfgenmsg = 4
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || m.Header.Type&0xff == unix.NFT_MSG_NEWGEN ||
		len(m.Data) < nfgenmsg || m.Data[0] != unix.NFPROTO_IPV6 {
		return
	}
	name, second := "", ""
	attrs(m.Data[nfgenmsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.NFTA_TABLE_NAME:
			name = text(v)
		case unix.NFTA_SET_ELEM_LIST_SET:
			second = text(v)
		}
	})
	kind := m.Header.Type & 0xff
	if second == setSeen && (kind == unix.NFT_MSG_NEWSETELEM || kind == unix.NFT_MSG_DELSETELEM) {
		return
	}
	if name == tableName {
		w.change(func() { w.look, w.lookTable = true, true })
	}
}

// run emits. It looks debounce after the first sign, and not more often than gap.
func (w *watcher) run() {
	defer w.wg.Done()
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	recheck := time.NewTicker(w.recheck)
	defer recheck.Stop()
	armed := false
	var next time.Time // of the next look
	for {
		select {
		case <-w.done:
			return
		case <-w.kick:
			w.mu.Lock()
			queue, look := w.queue, w.look
			w.queue = nil
			w.mu.Unlock()
			w.emit(queue...)
			if look && !armed {
				armed = true
				timer.Reset(max(debounce, time.Until(next)))
			}
		case <-recheck.C:
			w.p.lookForNeighbors() // also those whose time in the set is over
			if w.p.sysctlsMoved() || w.p.askAgain() {
				w.change(func() { w.look = true })
			}
		case <-timer.C:
			armed = false
			next = time.Now().Add(w.check())
		}
	}
}

func (w *watcher) emit(events ...dataplane.Event) {
	for _, ev := range events {
		select {
		case w.events <- ev:
		case <-w.done:
			return
		}
	}
}

// check looks at the kernel, emits what is different from what it should be and from what was told,
// and answers how long to wait before the next look.
func (w *watcher) check() time.Duration {
	w.p.mu.Lock()
	if w.p.closed {
		w.p.mu.Unlock()
		return gap
	}
	w.mu.Lock()
	table, lost, fresh, signs := w.lookTable, w.lost, w.fresh, w.signs
	w.look, w.lookTable, w.lost, w.fresh = false, false, false, false
	names := append(slices.Clone(w.names), w.wanted...)
	w.mu.Unlock()
	s, drifts, err := w.p.difference(table)
	if err == nil {
		w.askTaken(s, names)
		if err := w.p.proxies.follow(w.p, s); err != nil {
			w.p.log.Debug("neighbor solicitations are not answered", "err", err) // Apply reports it
		}
	}
	wait := gap
	var what string
	if err == nil && w.p.active {
		what, wait = w.news(drifts, lost)
		if len(drifts) == 0 {
			w.p.kept.hold(w.p, signs, nil, nil)
		}
	}
	w.p.mu.Unlock()
	if err != nil {
		if !w.blind {
			w.p.log.Warn("kernel state unreadable", "err", err)
		}
		w.blind = true
		w.change(func() { w.look, w.lookTable, w.lost, w.fresh = true, table, lost, fresh })
		return time.Second
	}
	w.blind = false
	w.emit(w.linkNews(s, names, fresh)...)
	if what != "" {
		w.emit(dataplane.Drift{What: what})
	}
	return wait
}

// news is the text of a Drift, empty if there is none or it was told already.
func (w *watcher) news(drifts []string, lost bool) (string, time.Duration) {
	const most = 3 // the log line shall be readable
	var parts []string
	if lost {
		parts = append(parts, "kernel events lost")
	}
	parts = append(parts, drifts...)
	if len(parts) > most {
		parts = append(parts[:most], fmt.Sprintf("and %d more", len(parts)-most))
	}
	what := strings.Join(parts, "; ")
	w.mu.Lock()
	defer w.mu.Unlock()
	if what == w.drift {
		return "", gap
	}
	w.drift = what
	if what == "" {
		return "", gap
	}
	return what, w.pace.drift(time.Now())
}

// linkNews are the interfaces that are not as the consumer was told.
func (w *watcher) linkNews(s *snapshot, names []string, all bool) []dataplane.Event {
	var out []dataplane.Event
	now := map[string]dataplane.Link{}
	for _, name := range names {
		if _, done := now[name]; done {
			continue
		}
		was, told := w.known[name]
		l := s.describe(name, was.LinkLocal)
		now[name] = l
		if all || !told || l != was {
			out = append(out, dataplane.LinkChanged{Link: l})
		}
	}
	w.known = now
	return out
}

// difference says what Apply would find wrong now, without what it could not mend the last time.
func (p *Plane) difference(table bool) (s *snapshot, drifts []string, err error) {
	s, err = p.snapshot()
	if err != nil || !p.active {
		return s, nil, err
	}
	s.table = tableState{present: p.rules != nil, sum: p.sum()}
	if table {
		s.table, _ = p.nft.read(p.rules) // unreadable is as good as missing
	}
	for _, st := range makePlan(s, p.memory, p.want, p.sum()).steps {
		if len(p.residual) == 0 || !p.residual[st.String()] {
			drifts = append(drifts, st.trouble())
		}
	}
	return s, append(drifts, p.dadNews(s)...), nil
}

// wantedDsts are the destinations whose routes matter: ours, and others' to the same, or to all that
// covers one that is only wanted if there is no other.
func wantedDsts(d dataplane.Desired) map[netip.Prefix]bool {
	dsts := make(map[netip.Prefix]bool, len(d.Routes)+len(d.Addresses)+1)
	dsts[linkLocalPrefix()] = true
	for _, r := range d.Routes {
		dsts[r.Dst.Masked()] = true
		for bits := 0; r.IfNoOther && bits < r.Dst.Bits(); bits++ {
			dsts[netip.PrefixFrom(r.Dst.Addr(), bits).Masked()] = true
		}
	}
	for _, a := range d.Addresses {
		dsts[a.Prefix.Masked()] = true
	}
	return dsts
}
