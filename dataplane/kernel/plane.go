// SPDX-License-Identifier: MIT

package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

// Options is what Open needs to know.
type Options struct {
	RunDir string // kernel.json lies there; made when missing
	Log    *slog.Logger
	BootID string // tells a kernel.json of this boot from an older one

	now     func() time.Time // nil: time.Now
	recheck time.Duration    // see recheckSysctls; shorter in tests
}

// Plane is the Linux kernel of one network namespace.
type Plane struct {
	log   *slog.Logger
	store store
	ns    *netns
	rt    *rtnl
	conf  *sysctls
	nft   nft
	watch *watcher

	mu       sync.Mutex // one reader or changer of the kernel at a time: Apply, or the watcher's check
	memory   memory
	want     dataplane.Desired
	dsts     map[netip.Prefix]bool // wantedDsts of want; the watcher has the same, and changes are made with its lock too
	rules    *ruleset
	active   bool            // between the first Apply and Restore
	residual map[string]bool // steps that failed in the last Apply: not drift
	last     *snapshot       // the last one
	kept     kept
	proxies  proxies
	now      func() time.Time
	dups     map[addrID]string        // addresses that the last Apply found with another node, as text
	dadTried map[addrID]time.Time     // when such an address was last made anew
	seen     map[netip.Addr]time.Time // neighbors that we have put into the set of addresses seen, and when
	taken    map[addrID]taking        // never changed, only replaced
	routers  []router                 // behind the LANs, in the table
	crowded  bool                     // there are more routers than are checked, and that has been said
	noRanges bool                     // the kernel refuses what the check of their MACs needs
	closed   bool
	tookOver bool
	owner    *net.UnixListener // keeps another box out of the network namespace
}

var _ dataplane.Plane = (*Plane)(nil)

// Open opens the sockets in the network namespace of the calling thread and stays there whatever
// thread calls later. It changes nothing.
func Open(o Options) (*Plane, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	p := &Plane{log: o.Log, now: o.now, dadTried: map[addrID]time.Time{}, seen: map[netip.Addr]time.Time{}}
	if err := p.open(); err != nil {
		p.closeSockets()
		return nil, fmt.Errorf("kernel data plane: %w", err)
	}
	p.store = store{
		path:   filepath.Join(o.RunDir, "kernel.json"),
		bootID: o.BootID, netns: p.ns.id(p.rt.fd()), log: o.Log,
	}
	p.memory = p.store.load()
	p.tookOver = len(p.memory.conf) > 0
	p.nft.in = p.ns.do
	p.watch.recheck = cmp.Or(o.recheck, recheckSysctls)
	p.watch.start()
	return p, nil
}

// ErrInUse says that another box has this network namespace.
var ErrInUse = errors.New("another oasis6 is running in this network namespace: stop it first")

// own takes a name that exists once in each network namespace and goes with the process: an abstract
// socket. Two boxes with files of their own would else undo each other's work for ever.
func (p *Plane) own() (err error) {
	p.owner, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: "@oasis6-kernel"})
	if errors.Is(err, unix.EADDRINUSE) {
		return ErrInUse
	}
	return err
}

func (p *Plane) open() (err error) {
	if err := p.own(); err != nil {
		return err
	}
	if p.ns, err = openNetns(); err != nil {
		return err
	}
	if p.rt, err = openRtnl(); err != nil {
		return err
	}
	if p.conf, err = openSysctls(); err != nil {
		return err
	}
	p.watch, err = openWatcher(p)
	return err
}

func (p *Plane) closeSockets() {
	if p.rt != nil {
		_ = p.rt.Close()
	}
	if p.conf != nil {
		_ = p.conf.Close()
	}
	_ = p.nft.Close()
	if p.owner != nil {
		_ = p.owner.Close()
	}
	if p.ns != nil {
		_ = p.ns.Close()
	}
}

// TookOver says that a predecessor of this boot and network namespace left its kernel state to us.
func (p *Plane) TookOver() bool { return p.tookOver }

// Close leaves everything as it is, for a successor.
func (p *Plane) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	p.watch.stop() // waits; its check may be about to take the lock
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proxies.close()
	p.closeSockets()
	return nil
}

// Events is the watcher's.
func (p *Plane) Events() <-chan dataplane.Event { return p.watch.events }

// Watch replaces the list of the last call.
func (p *Plane) Watch(ifaces []string) error {
	p.watch.setNames(ifaces)
	return nil
}

// Apply is dataplane.Plane's. Missing interfaces are no error: when they come, that is an event.
func (p *Plane) Apply(ctx context.Context, want dataplane.Desired) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("kernel data plane: apply: %w", net.ErrClosed)
	}
	if err := hubInBuild(want); err != nil {
		return err
	}
	old := p.want
	p.want, p.active = dataplane.Clone(want), true
	if done, err := p.kept.change(ctx, p, old); done {
		return err
	}
	p.routers = routersOf(p.want, p.routers)
	p.rules = p.ruleset()
	p.dsts = wantedDsts(p.want)
	p.watch.setWanted(p.want, p.dsts)
	return p.converge(ctx)
}

// Restore removes all that is ours and puts the sysctls back. If any of it fails the memory stays.
func (p *Plane) Restore(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("kernel data plane: restore: %w", net.ErrClosed)
	}
	p.want, p.rules, p.routers, p.active = dataplane.Desired{}, nil, nil, false
	p.dsts = wantedDsts(p.want)
	p.watch.setWanted(p.want, p.dsts)
	if err := p.converge(ctx); err != nil {
		return err
	}
	p.memory = newMemory()
	return p.store.remove()
}

// sum is the fingerprint of the wanted table, empty for none.
func (p *Plane) sum() string {
	if p.rules == nil {
		return ""
	}
	return p.rules.sum
}

// snapshot reads what a plan for p.want needs, but for the table.
func (p *Plane) snapshot() (*snapshot, error) {
	s := &snapshot{conf: confMap{}, taken: p.taken, read: p.now()}
	var err error
	if s.links, err = p.rt.links(); err != nil {
		return nil, err
	}
	if s.addrs, err = p.rt.addrs(); err != nil {
		return nil, err
	}
	for _, a := range s.addrs {
		// The kernel itself marks ::1 and its link-local addresses, so any address tells.
		s.marked = s.marked || a.proto != 0
	}
	if s.routes, err = p.rt.routes(func(r route) bool { return r.proto == mark || p.dsts[r.dst] }); err != nil {
		return nil, err
	}
	for _, id := range confIDs(s.links, p.memory, p.want) {
		if err := p.readConf(s, id); err != nil {
			return nil, err
		}
	}
	p.last = s
	return s, nil
}

// sysctlsMoved says whether a value is another than in the last snapshot. It is much cheaper than a new one
// where the routing table is large.
func (p *Plane) sysctlsMoved() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !p.active || p.last == nil {
		return false
	}
	now := &snapshot{links: p.last.links, conf: confMap{}}
	for _, id := range confIDs(now.links, p.memory, p.want) {
		if err := p.readConf(now, id); err != nil {
			return true // the look says what is wrong
		}
	}
	return !maps.Equal(now.conf, p.last.conf)
}

func (p *Plane) readConf(s *snapshot, id confID) error {
	iface, ok := confScope(s, id.index)
	if !ok {
		return nil
	}
	v, ok, err := p.conf.read(iface, id.name)
	if ok {
		s.conf[id] = v
	}
	return err
}

// confScope is the directory under net.ipv6.conf.
func confScope(s *snapshot, index int) (string, bool) {
	switch index {
	case confAll:
		return "all", true
	case confDefault:
		return "default", true
	}
	l, ok := s.linkByIndex(index)
	return l.name, ok
}

// converge makes the kernel equal to p.want. It does as much as it can.
func (p *Plane) converge(ctx context.Context) error {
	p.residual = map[string]bool{}
	signs := p.kept.begin(p)
	s, err := p.snapshot()
	if err != nil {
		return err
	}
	if p.learnRouters(s) {
		p.rules = p.ruleset()
	}
	// A table that cannot be read counts as missing: if one is wanted, making it says why.
	s.table, _ = p.nft.read(p.rules)
	p.dups = nil
	if p.active { // else they are removed
		p.dups = duplicates(s, p.memory)
	}
	s.anew = p.anew()
	pl := makePlan(s, p.memory, p.want, p.sum())
	if err := p.remember(s, pl.memory); err != nil {
		if p.active {
			return fmt.Errorf("%w: nothing was changed, since it could not be put back", err)
		}
		p.memory = pl.memory // when everything is put back, this is no reason not to
	}
	defer p.watch.settled()
	err = p.carryOut(ctx, s, pl)
	p.kept.hold(p, signs, pl.steps, err)
	p.refreshSeen()
	return errors.Join(err, p.proxies.follow(p, s), p.dupError())
}

// remember writes before anything is changed.
func (p *Plane) remember(s *snapshot, m memory) error {
	if m.equal(p.memory) {
		return nil
	}
	name := func(index int) string { n, _ := confScope(s, index); return n }
	if err := p.store.save(m, name); err != nil {
		return fmt.Errorf("%s: %w", p.store.path, err)
	}
	p.memory = m
	return nil
}

// carryOut does the steps. Without the firewall in place nothing is opened.
func (p *Plane) carryOut(ctx context.Context, s *snapshot, pl plan) error {
	var errs []error
	after := p.memory.clone()
	guarded, restored := true, true
	debug := p.log.Enabled(ctx, slog.LevelDebug)
	done, ahead := make([]bool, len(pl.steps)), 0
	for i, st := range pl.steps {
		err := ctx.Err()
		if err == nil && st.opens && !guarded {
			err = errors.New("not done while the firewall is not in place")
		}
		if err == nil && i >= ahead && guarded {
			ahead = i + p.ahead(pl.steps[i:], done[i:])
		}
		if err == nil && !done[i] {
			err = p.do(st)
		}
		if err != nil {
			p.log.Debug("kernel change failed", "what", st.String(), "err", err)
			errs = append(errs, fmt.Errorf("%s: %w", st, err))
			p.residual[st.String()] = true
			guarded = guarded && st.op != setTable
			restored = restored && !st.forget
			continue
		}
		if debug {
			p.log.Debug("kernel changed", "what", st.String())
		}
		switch {
		case st.forget:
			delete(after.conf, st.conf)
		case st.op == delAddr:
			delete(after.addrs, addrID{st.addr.index, st.addr.prefix.Addr()})
		case st.op == putAddr: // perhaps after its deletion
			after.addrs[addrID{st.addr.index, st.addr.prefix.Addr()}] = true
		}
	}
	if restored { // else what all.forwarding should have written was not
		for _, id := range pl.forget {
			delete(after.conf, id)
		}
	}
	if !p.active && len(after.conf)+len(after.addrs) == 0 {
		p.memory = after // Restore removes the file
	} else if err := p.remember(s, after); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// do carries out one step. What vanished meanwhile needs no change any more.
func (p *Plane) do(st step) error {
	var err error
	switch st.op {
	case setConf:
		err = p.conf.write(st.iface, st.conf.name, st.value)
		return ignore(err, unix.ENOENT, unix.ENODEV)
	case setLink:
		err = p.rt.setLink(st.link.index, st.link.mtu)
		return ignore(err, unix.ENODEV)
	case setTable:
		return p.putTable(p.nft.replace)
	case delTable:
		return p.nft.remove()
	case putAddr:
		return ignore(p.rt.putAddr(st.addr), unix.ENODEV)
	case delAddr:
		return ignore(p.rt.delAddr(st.addr), unix.ENODEV, unix.EADDRNOTAVAIL)
	case addRoute:
		err = ignore(p.rt.do(p.rt.newRoute(st.route)), unix.EEXIST, unix.ENODEV)
		if errors.Is(err, unix.EINVAL) && st.route.from.IsValid() {
			err = fmt.Errorf("%w: source-specific routes need a kernel with CONFIG_IPV6_SUBTREES", err)
		}
		return err
	case delRoute:
		return ignore(p.rt.do(p.rt.oldRoute(st.route)), unix.ESRCH, unix.ENODEV)
	}
	return fmt.Errorf("unknown step %d", st.op)
}

func ignore(err error, but ...unix.Errno) error {
	for _, b := range but {
		if errors.Is(err, b) {
			return nil
		}
	}
	return err
}
