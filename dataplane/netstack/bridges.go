// SPDX-License-Identifier: MIT

package netstack

import (
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// bridges watches the bridges that have a tap of ours, and their ports. Each message of the kernel is no more than a sign
// to look at all.
type bridges struct {
	portUp func(bridge string)
	read   func() ([]kernelLink, error) // readLinks

	f  *os.File
	wg sync.WaitGroup

	looking sync.Mutex // a look is whole before the next begins: what is older must not be told later

	mu    sync.Mutex
	taps  []*tap
	ports map[string][]int // of each bridge, those with carrier
}

func openBridges(portUp func(bridge string)) (*bridges, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink events: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_LINK - 1)}); err != nil {
		_ = unix.Close(fd) // nothing was read
		return nil, fmt.Errorf("netlink events: %w", err)
	}
	b := &bridges{portUp: portUp, read: readLinks, f: os.NewFile(uintptr(fd), "bridges"), ports: map[string][]int{}}
	b.wg.Add(1)
	go b.run()
	return b, nil
}

func (b *bridges) run() {
	defer b.wg.Done()
	buf := make([]byte, os.Getpagesize())
	for {
		// An error other than that of Close is an overrun: something has changed.
		if _, err := b.f.Read(buf); err != nil && !overrun(err) {
			return
		}
		b.look()
	}
}

func overrun(err error) bool {
	pe, ok := err.(*os.PathError)
	return ok && (pe.Err == unix.ENOBUFS || pe.Err == unix.EINTR)
}

func (b *bridges) close() {
	_ = b.f.Close() // it was only read
	b.wg.Wait()
}

// add begins to tell a tap of its bridge.
func (b *bridges) add(t *tap) error {
	b.mu.Lock()
	b.taps = append(b.taps, t)
	b.mu.Unlock()
	b.look()
	if t.Gone() {
		b.remove(t)
		return fmt.Errorf("%s vanished", t.bridge)
	}
	return nil
}

func (b *bridges) remove(t *tap) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taps = slices.DeleteFunc(b.taps, func(o *tap) bool { return o == t })
}

// look reads all interfaces and tells who has changed.
func (b *bridges) look() {
	b.looking.Lock()
	defer b.looking.Unlock()
	all, err := b.read()
	if err != nil {
		return // the next message comes with the next change; none was lost for good
	}
	b.mu.Lock()
	taps := slices.Clone(b.taps)
	news := map[string]bool{}
	for _, t := range taps {
		running := runningPorts(all, t)
		was, known := b.ports[t.bridge]
		news[t.bridge] = known && slices.ContainsFunc(running, func(i int) bool { return !slices.Contains(was, i) })
		b.ports[t.bridge] = running
	}
	b.mu.Unlock()
	for _, t := range taps {
		t.moved(stateOf(all, t))
	}
	for _, t := range taps {
		if news[t.bridge] {
			b.portUp(t.bridge)
		}
	}
}

// runningPorts are the ports of a tap's bridge that have carrier, but for the tap.
func runningPorts(all []kernelLink, t *tap) (out []int) {
	bridge := byName(all, t.bridge)
	for _, l := range all {
		if bridge.index != 0 && l.master == bridge.index && l.name != t.name && l.running {
			out = append(out, l.index)
		}
	}
	return out
}

func stateOf(all []kernelLink, t *tap) tapState {
	bridge, own := byName(all, t.bridge), byName(all, t.name)
	s := tapState{mtu: bridge.mtu, ports: portsMTU(all, t, bridge)}
	s.gone = bridge.index == 0 || bridge.kind != "bridge" || own.index == 0 || own.master != bridge.index
	s.down = !s.gone && !own.up
	s.up = !s.gone && bridge.up && own.up && len(runningPorts(all, t)) > 0 && own.forwards
	return s
}

// portsMTU is the smallest of the bridge's ports but the tap; without any, the bridge's.
func portsMTU(all []kernelLink, t *tap, bridge kernelLink) int {
	mtu := 0
	for _, l := range all {
		if bridge.index != 0 && l.master == bridge.index && l.name != t.name && (mtu == 0 || l.mtu < mtu) {
			mtu = l.mtu
		}
	}
	if mtu == 0 {
		return bridge.mtu
	}
	return mtu
}

func byName(all []kernelLink, name string) kernelLink {
	i := slices.IndexFunc(all, func(l kernelLink) bool { return l.name == name })
	if i < 0 {
		return kernelLink{}
	}
	return all[i]
}
