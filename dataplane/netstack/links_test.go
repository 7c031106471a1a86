// SPDX-License-Identifier: MIT

package netstack

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

// linkMessage is the kernel's message of an interface.
func linkMessage(index uint32, name string, flags uint16) syscall.NetlinkMessage {
	b := make([]byte, unix.SizeofIfInfomsg, 64)
	binary.NativeEndian.PutUint32(b[4:], index)
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(name)+1))
	b = binary.NativeEndian.AppendUint16(b, unix.IFLA_IFNAME)
	b = append(append(b, name...), 0)
	return syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: syscall.RTM_NEWLINK, Flags: flags}, Data: b}
}

// A list during which something changed is asked for again: it may lack an interface that is there.
func TestInterruptedDumpIsAskedForAgain(t *testing.T) {
	asked := 0
	read := func(most int) func() ([]syscall.NetlinkMessage, error) {
		asked = 0
		return func() ([]syscall.NetlinkMessage, error) {
			if asked++; asked <= most {
				return []syscall.NetlinkMessage{linkMessage(1, "lo", 0), linkMessage(3, "eth1", unix.NLM_F_DUMP_INTR)}, nil
			}
			return []syscall.NetlinkMessage{linkMessage(1, "lo", 0), linkMessage(2, "br-lan", 0), linkMessage(3, "eth1", 0)}, nil
		}
	}
	all, err := wholeDump(read(2))
	if err != nil || byName(all, "br-lan").index != 2 || asked != 3 {
		t.Errorf("wholeDump = %+v, %v after %d questions, want br-lan after 3", all, err, asked)
	}
	if all, err = wholeDump(read(100)); !errors.Is(err, errInterrupted) || all != nil || asked != dumpTries {
		t.Errorf("wholeDump = %+v, %v after %d questions, want an error after %d", all, err, asked, dumpTries)
	}
	bad := errors.New("no socket")
	if _, err = wholeDump(func() ([]syscall.NetlinkMessage, error) { return nil, bad }); !errors.Is(err, bad) || !strings.Contains(err.Error(), "read interfaces") {
		t.Errorf("wholeDump: %v", err)
	}
}

// restless changes just before it is attached.
type restless struct {
	memoryLink
	gone bool
	want func(l *restless)
}

func (l *restless) Attach(deliver func([]byte), state func(bool)) {
	l.want(l)
	l.memoryLink.Attach(deliver, state)
}

// Gone is what a tap has.
func (l *restless) Gone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// What changes while a link is opened is not lost.
func TestLinkThatChangesBeforeItIsAttached(t *testing.T) {
	for _, c := range []struct {
		name string
		up   bool
		want func(l *restless)
		ok   func(l dataplane.Link) bool
	}{
		{"comes up", false, func(l *restless) { l.up = true }, func(l dataplane.Link) bool { return l.Up && l.LinkLocal.IsValid() }},
		{"goes down", true, func(l *restless) { l.up = false }, func(l dataplane.Link) bool { return l.Exists && !l.Up }},
		{"goes away", true, func(l *restless) { l.gone = true }, func(l dataplane.Link) bool { return !l.Exists }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Given{})
			opened := 0
			w.p.mu.Lock()
			w.p.o.OpenLAN = func(string) (Link, error) {
				if opened++; opened > 1 {
					return nil, ErrNoInterface
				}
				return &restless{memoryLink: memoryLink{mac: hostMAC, up: c.up}, want: c.want}, nil
			}
			w.p.mu.Unlock()
			if err := w.p.Watch([]string{"br-guest"}); err != nil {
				t.Fatal(err)
			}
			w.pass(3 * time.Second)
			if l := w.link("br-guest"); !c.ok(l) {
				t.Errorf("%+v", l)
			}
		})
	}
}

// Two looks at once: what is older is not told after what is newer.
func TestLooksDoNotOvertakeEachOther(t *testing.T) {
	state := func(up bool) []kernelLink {
		return []kernelLink{
			{index: 1, name: "br-lan", kind: "bridge", mtu: 1500, up: true},
			{index: 2, name: "lan1", master: 1, mtu: 1500, up: true, running: up},
			{index: 3, name: "oasis6lan0", master: 1, mtu: 1500, up: true, forwards: true},
		}
	}
	x := &tap{bridge: "br-lan", name: "oasis6lan0"}
	x.now.Store(&tapState{mtu: 1500, ports: 1500})
	begun, release := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	b := &bridges{portUp: func(string) {}, taps: []*tap{x}, ports: map[string][]int{}}
	b.read = func() ([]kernelLink, error) {
		if first.CompareAndSwap(false, true) {
			close(begun)
			<-release
			return state(false), nil
		}
		return state(true), nil
	}
	older, newer := make(chan struct{}), make(chan struct{})
	go func() { b.look(); close(older) }()
	<-begun
	go func() { b.look(); close(newer) }()
	select {
	case <-newer: // it did not wait for the older one
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	<-older
	<-newer
	if !x.Up() {
		t.Error("down, though the newer look has seen it up")
	}
}
