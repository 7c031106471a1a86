// SPDX-License-Identifier: MIT

// Package swarm is many WireGuard sites in one process, as light as can be: a load for a hub.
//
// Each site has a key, an IPv4 address and the timers of WireGuard's paper and of a DHCPv6 client; it makes true handshakes,
// honours cookies and asks for a prefix through the tunnel. It is an initiator only, has no preshared key, no replay window
// and no user of its tunnel: not a WireGuard to use. Start at New, then at Begin.
package swarm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/internal/wgkey"
)

// Goal is what each site is to reach.
type Goal uint8

const (
	Sessions Goal = iota // a handshake, and a keepalive that confirms it
	Leases               // a prefix, by Solicit and Reply with Rapid Commit
)

// Site is who one is.
type Site struct {
	Key    wgkey.Private
	Source netip.Addr // IPv4, of this machine: every site is seen at its own
}

// Config says whom the sites are to reach.
type Config struct {
	Hub    wgkey.Public
	Remote netip.AddrPort
	Sites  []Site
	Goal   Goal
	Conn   *net.UDPConn // not connected, on the unspecified IPv4 address; Close closes it
}

// Counts are what all sites together have sent, and what they have got.
type Counts struct {
	Initiations, Cookies, Solicits uint64
	Refused                        uint64 // what the hub sent and nobody could use
}

// Swarm is a set of sites. Its methods are for one goroutine.
type Swarm struct {
	conn    *net.UDPConn
	workers []*worker
	waiting sync.WaitGroup // sites that have not reached the goal
	running sync.WaitGroup
	stop    chan struct{}
	failed  chan error
	start   time.Time
	ended   sync.Once
}

// worker has every so-manieth site, and is the only goroutine that touches them.
type worker struct {
	hub     *hub
	conn    *net.UDPConn
	remote  netip.AddrPort
	goal    Goal
	sites   []*site
	in      chan []byte
	stop    chan struct{}
	failed  chan error
	counts  Counts
	dropped atomic.Uint64
	waiting *sync.WaitGroup
	stride  int
	from    int // where the next look for what is due begins
}

// queue is how many datagrams wait for a worker at most.
const queue = 1 << 15

// receiveBuffer is that of the socket: the answers to all sites at once.
const receiveBuffer = 32 << 20

// New makes the sites and their first initiations, so that the machine has that work behind it when they begin.
func New(c Config) (*Swarm, error) {
	h, err := newHub(c.Hub)
	if err != nil {
		return nil, fmt.Errorf("public key of the hub: %w", err)
	}
	s := &Swarm{conn: c.Conn, stop: make(chan struct{}), failed: make(chan error, 1)}
	for range runtime.GOMAXPROCS(0) {
		s.workers = append(s.workers, &worker{
			hub: h, conn: c.Conn, remote: c.Remote, goal: c.Goal, in: make(chan []byte, queue), stop: s.stop, failed: s.failed, waiting: &s.waiting,
		})
	}
	errs := make([]error, len(s.workers))
	var made sync.WaitGroup
	for n, w := range s.workers {
		w.stride = len(s.workers)
		made.Go(func() { errs[n] = w.make(c.Sites, n) })
	}
	made.Wait()
	return s, errors.Join(errs...)
}

func (w *worker) make(all []Site, first int) error {
	for i := first; i < len(all); i += w.stride {
		x, err := newSite(w.hub, all[i].Key, i)
		if err == nil {
			err = w.prepare(x, time.Now())
		}
		if err != nil {
			return fmt.Errorf("site %d: %w", i, err)
		}
		x.oob = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: all[i].Source.As4()})
		w.sites = append(w.sites, x)
	}
	return nil
}

// Begin starts all sites, each at a moment of its own within the spread: zero is all in one instant.
func (s *Swarm) Begin(spread time.Duration) {
	enlarge(s.conn)
	s.start = time.Now()
	for _, w := range s.workers {
		s.waiting.Add(len(w.sites))
		for _, x := range w.sites {
			x.handshakeAt = s.start
			if spread > 0 {
				x.handshakeAt = s.start.Add(rand.N(spread))
			}
		}
		s.running.Go(w.run)
	}
	s.running.Go(s.read)
}

// enlarge lets what arrives wait in the kernel; where that is refused, the sites try again.
func enlarge(c *net.UDPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
	})
}

// Wait returns when all sites have reached the goal, or with an error.
func (s *Swarm) Wait(ctx context.Context) error {
	all := make(chan struct{})
	go func() { s.waiting.Wait(); close(all) }()
	select {
	case <-all:
		return nil
	case err := <-s.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Report is what there is to say of a swarm that was closed.
type Report struct {
	Counts
	Took   []time.Duration // from Begin to the goal of each site that reached it, sorted
	Leases []netip.Prefix  // of those sites
}

// Close ends all sites at once; the hub is not told. It may be called again.
func (s *Swarm) Close() (r Report) {
	s.ended.Do(func() {
		close(s.stop)
		_ = s.conn.Close() // ends read
		s.running.Wait()
	})
	for _, w := range s.workers {
		r.Initiations += w.counts.Initiations
		r.Cookies += w.counts.Cookies
		r.Solicits += w.counts.Solicits
		r.Refused += w.counts.Refused + w.dropped.Load()
		for _, x := range w.sites {
			if x.done.IsZero() {
				continue
			}
			r.Took = append(r.Took, x.done.Sub(s.start))
			r.Leases = append(r.Leases, x.prefix)
		}
	}
	slices.Sort(r.Took)
	return r
}

// read gives each datagram to the worker of the site that its receiver index names. A hub that begins handshakes itself
// names none.
func (s *Swarm) read() {
	b := make([]byte, 1<<16)
	for {
		n, _, err := s.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		var index uint32
		switch {
		case n >= responseLen && b[0] == typeResponse:
			index = binary.LittleEndian.Uint32(b[8:])
		case n >= headerLen && (b[0] == typeTransport || b[0] == typeCookie):
			index = binary.LittleEndian.Uint32(b[4:])
		}
		if index < attempts {
			continue
		}
		w := s.workers[int(index/attempts-1)%len(s.workers)]
		select {
		case w.in <- append([]byte(nil), b[:n]...):
		default:
			w.dropped.Add(1)
		}
	}
}
