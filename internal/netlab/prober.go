// SPDX-License-Identifier: MIT

package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	probeEvery = 50 * time.Millisecond
	// probeTimeout is when a connection counts as hanging: the kernel has sent its SYN three times by then.
	probeTimeout = 5 * time.Second
)

// Connection is one attempt of a Prober to connect.
type Connection struct {
	At     time.Time
	Source netip.Addr // which the kernel chose; not valid if there was none
	Took   time.Duration
	Err    error // nil: connected
}

// hangs is the error of a connection that came to no end: neither an answer nor an error within probeTimeout.
type hangs struct{}

func (hangs) Error() string { return "hanging" }

// Hangs says whether the connection came to no end by itself.
func (c Connection) Hangs() bool { return c.Err == hangs{} }

// Refused says whether the network ended the connection at once, as by ICMPv6 unreachable code 5 (EACCES).
func (c Connection) Refused() bool { return c.Err != nil && !c.Hangs() }

// String is a line for failure texts.
func (c Connection) String() string {
	return fmt.Sprintf("%s from %s after %v: %v", c.At.Format("15:04:05.000"), c.Source, c.Took.Round(time.Millisecond), c.Err)
}

// Prober opens a new TCP connection every 50 ms, whatever happened to those before.
type Prober struct {
	mu   sync.Mutex
	done []Connection
	stop chan struct{} // nil once it was closed; of the test's goroutine alone
	end  chan error
}

// Probe starts to connect from the node. Stop ends it.
func (n *Node) Probe(to netip.AddrPort) *Prober {
	n.lab.T.Helper()
	p := &Prober{stop: make(chan struct{}), end: make(chan error, 1)}
	stop := p.stop
	go func() { p.end <- n.Do(func() error { return p.run(to, stop) }) }()
	n.lab.T.Cleanup(func() { p.halt() })
	return p
}

// Stop waits for the last connections to end and returns all.
func (p *Prober) Stop() ([]Connection, error) {
	err := p.halt()
	return p.All(), err
}

func (p *Prober) halt() error {
	if p.stop == nil {
		return nil
	}
	close(p.stop)
	p.stop = nil
	return <-p.end
}

// All are the connections that have come to an end so far.
func (p *Prober) All() []Connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Connection(nil), p.done...)
}

type pending struct {
	Connection
	fd int
}

// run is the loop, on a thread in the node.
func (p *Prober) run(to netip.AddrPort, stop <-chan struct{}) error {
	var open []pending
	next := time.Now()
	for stop != nil || len(open) > 0 {
		select {
		case <-stop:
			stop = nil
		default:
		}
		if now := time.Now(); stop != nil && !now.Before(next) {
			next = next.Add(probeEvery)
			c := connect(to)
			if c.fd < 0 {
				p.add(c.Connection)
			} else {
				open = append(open, c)
			}
		}
		var err error
		if open, err = p.poll(open); err != nil {
			return err
		}
	}
	return nil
}

func (p *Prober) add(c Connection) { p.mu.Lock(); p.done = append(p.done, c); p.mu.Unlock() }

// connect begins. The descriptor is -1 where the kernel refuses at once.
func connect(to netip.AddrPort) pending {
	c := pending{Connection: Connection{At: time.Now()}, fd: -1}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
		if sa, e := unix.Getsockname(fd); e == nil {
			if sa6, ok := sa.(*unix.SockaddrInet6); ok {
				c.Source = netip.AddrFrom16(sa6.Addr)
			}
		}
		if err == nil || errors.Is(err, unix.EINPROGRESS) {
			c.fd = fd
			return c
		}
		_ = unix.Close(fd) // it never was a connection
	}
	c.Err = err
	return c
}

// poll waits a few milliseconds and takes out what has come to an end.
func (p *Prober) poll(open []pending) ([]pending, error) {
	const wait = 5 // milliseconds
	fds := make([]unix.PollFd, len(open))
	for i, c := range open {
		fds[i] = unix.PollFd{Fd: int32(c.fd), Events: unix.POLLOUT}
	}
	if _, err := unix.Poll(fds, wait); err != nil && !errors.Is(err, unix.EINTR) {
		return open, err
	}
	var left []pending
	for i, c := range open {
		c.Took = time.Since(c.At)
		switch {
		case fds[i].Revents != 0:
			if n, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil {
				c.Err = err
			} else if n != 0 {
				c.Err = unix.Errno(n)
			}
		case c.Took > probeTimeout:
			c.Err = hangs{}
		default:
			left = append(left, c)
			continue
		}
		_ = unix.Close(c.fd) // nothing was sent
		p.add(c.Connection)
	}
	return left, nil
}

// Summary counts connections for people: "180 connected, 3 permission denied".
func Summary(all []Connection) string {
	var kinds []string
	counts := map[string]int{}
	for _, c := range all {
		kind := "connected"
		if c.Err != nil {
			kind = c.Err.Error()
		}
		if counts[kind] == 0 {
			kinds = append(kinds, kind)
		}
		counts[kind]++
	}
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%d %s", counts[k], k)
	}
	return strings.Join(kinds, ", ")
}
