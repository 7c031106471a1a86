// SPDX-License-Identifier: MIT

package netstack

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"oasis6/dataplane/netstack/neigh"
	"oasis6/dataplane/netstack/offload"
)

const cloneDevice = "/dev/net/tun"

// tapPattern is the name of the taps; the kernel puts in the first number that is free.
const tapPattern = "oasis6lan%d"

// Offload flags of TUNSETOFFLOAD (linux/if_tun.h) that golang.org/x/sys/unix lacks.
const (
	tunUSO4 = 0x20
	tunUSO6 = 0x40
)

// tap is a port of a bridge whose other end is this process. The interface in the kernel and our station have a MAC each,
// as with a virtual machine: a bridge takes the lowest one of its ports for its own.
type tap struct {
	bridge string
	name   string
	index  int
	mac    neigh.MAC
	file   *os.File
	raw    syscall.RawConn
	uso    bool
	links  *bridges
	deafen func() (changed string, err error) // mark.deafen of the bridge

	now   atomic.Pointer[tapState]
	state atomic.Pointer[func(bool)]

	writers sync.Pool
	reading sync.WaitGroup
	once    sync.Once
	err     error
}

// tapState is what the kernel says of the bridge.
type tapState struct {
	up, gone bool
	down     bool // the tap itself, which is not gone
	mtu      int  // of the bridge
	ports    int  // the smallest of its other ports; without any, the bridge's
}

var (
	_ Link     = (*tap)(nil)
	_ fastLink = (*tap)(nil)
)

// openTap makes a port of a bridge.
func (p *Plane) openTap(bridge string) (Link, error) {
	l, err := findLink(bridge)
	if err != nil {
		return nil, err
	}
	switch {
	case l.index == 0:
		return nil, ErrNoInterface
	case l.kind != "bridge":
		return nil, fmt.Errorf("%s is no bridge, and the userspace data plane needs one: make a bridge with %s as a port and name it instead: "+
			"ip link add br-lan type bridge; ip link set %s master br-lan", bridge, bridge, bridge)
	}
	t := &tap{bridge: bridge, mac: stationMAC(p.o.Identity, bridge), links: p.bridges}
	t.writers.New = func() any { return newTapWriter() }
	if err := t.make(); err != nil {
		return nil, fmt.Errorf("tap for %s: %w", bridge, err)
	}
	if err := t.plug(l); err != nil {
		return nil, errors.Join(fmt.Errorf("tap for %s: %w", bridge, err), t.file.Close())
	}
	t.deafen = func() (string, error) { return p.mark.deafen(bridge) }
	changed, err := t.deafen()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tap for %s: %w", bridge, err), t.file.Close())
	}
	if changed != "" {
		p.warnOfNative(bridge)
	}
	if err := p.bridges.add(t); err != nil {
		return nil, errors.Join(err, t.file.Close())
	}
	return t, nil
}

// stationMAC is the address of our station on a bridge: always the same for a box and a bridge, locally administered.
func stationMAC(identity []byte, bridge string) (m neigh.MAC) {
	h := sha256.New()
	h.Write([]byte("oasis6 station\x00" + bridge + "\x00"))
	h.Write(identity)
	copy(m[:], h.Sum(nil))
	m[0] = m[0]&^1 | 2
	if m[0] == 0xfe { // that is the kernel's side
		m[0] = 0x02
	}
	return m
}

// make makes the interface, with all that the kernel can leave to us.
func (t *tap) make() error {
	fd, err := unix.Open(cloneDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return explainTap(err)
	}
	if err := t.configure(fd); err != nil {
		_ = unix.Close(fd) // takes the interface with it
		return err
	}
	// The file is non-blocking, so os.NewFile gives it to the poller: Close ends a Read.
	t.file = os.NewFile(uintptr(fd), cloneDevice)
	t.raw, err = t.file.SyscallConn()
	if err != nil {
		_ = t.file.Close()
	}
	return err
}

func explainTap(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%s: %w: the kernel has no TUN driver: modprobe tun, on OpenWrt install kmod-tun; a container needs the device passed in", cloneDevice, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: %w: run as root or with CAP_NET_ADMIN", cloneDevice, err)
	}
	return fmt.Errorf("%s: %w", cloneDevice, err)
}

func (t *tap) configure(fd int) error {
	ifr, err := unix.NewIfreq(tapPattern)
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return explainTap(err)
	}
	t.name = ifr.Name()
	const tso = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	// UDP since Linux 6.2; without any of it each packet comes by itself.
	t.uso = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tso|tunUSO4|tunUSO6) == nil
	if !t.uso {
		_ = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tso)
	}
	filter := onlyIPv6()
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Without it more frames come than we look at.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNATTACHFILTER, uintptr(unsafe.Pointer(&prog)))
	return nil
}

// plug makes the interface a port of the bridge. It gets the bridge's MTU first: a smaller one would become all ports'. The
// kernel's side gets a high address, that no bridge takes for its own while it has another port.
func (t *tap) plug(bridge kernelLink) error {
	// Our station speaks IPv6 there, not the kernel. Where that cannot be said, the kernel only talks to itself.
	_ = writeConf(t.name, "disable_ipv6", "1")
	own, err := findLink(t.name)
	if err != nil {
		return err
	}
	t.index = own.index
	mac := t.mac
	mac[0] = 0xfe
	if err := setLink(t.index, 0, linkAttr{unix.IFLA_ADDRESS, mac[:]}, number(unix.IFLA_MTU, bridge.mtu)); err != nil {
		return fmt.Errorf("%s: address and mtu: %w", t.name, err)
	}
	if err := setLink(t.index, unix.IFF_UP, number(unix.IFLA_MASTER, bridge.index)); err != nil {
		return fmt.Errorf("%s: port of %s: %w", t.name, t.bridge, err)
	}
	t.now.Store(&tapState{mtu: bridge.mtu, ports: bridge.mtu})
	return nil
}

// MAC is Link's, as is what follows.
func (t *tap) MAC() [6]byte { return t.mac }

// MTU is the bridge's.
func (t *tap) MTU() int { return t.now.Load().mtu }

// Up says whether the bridge is up, with another port that has carrier.
func (t *tap) Up() bool { return t.now.Load().up }

// Gone says whether the bridge or the tap is not there any more, or not together.
func (t *tap) Gone() bool { return t.now.Load().gone }

// Attach is for the state alone: frames come by run.
func (t *tap) Attach(_ func([]byte), state func(up bool)) { t.state.Store(&state) }

// moved takes the kernel's news.
func (t *tap) moved(s tapState) {
	was := t.now.Swap(&s)
	if *was == s {
		return
	}
	if s.down && !was.down {
		// Another program's doing. If it insists, each of its orders has one answer.
		_ = setLink(t.index, unix.IFF_UP) // it fails where the tap has gone meanwhile, which is an event
	}
	if was.ports != s.ports && !s.gone {
		// A bridge has the smallest of its ports. The tap must never be what keeps it small, and where this fails the bridge
		// becomes what the tap is, which is an event.
		_ = setLink(t.index, 0, number(unix.IFLA_MTU, s.ports))
	}
	if f := t.state.Load(); f != nil {
		(*f)(s.up)
	}
}

// run is fastLink's.
func (t *tap) run(deliver func(frame []byte, off offload.Info)) {
	t.reading.Add(1)
	go func() {
		defer t.reading.Done()
		buf := make([]byte, vnetHeader+largeBuffer)
		for {
			n, err := t.file.Read(buf)
			if err != nil {
				if errors.Is(err, os.ErrClosed) || !passing(err) {
					return // if nobody closed it, the bridges say that the tap is gone
				}
				continue
			}
			if n <= vnetHeader {
				continue
			}
			if off, ok := readVnet(buf); ok {
				deliver(buf[vnetHeader:n], off)
			}
		}
	}()
}

// passing are errors of one frame or one moment.
func passing(err error) bool {
	return errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EINVAL)
}

func (t *tap) udp() bool { return t.uso }

// announced is called before a Router Advertisement of ours leaves: accept_ra may have been changed since, of which the
// kernel says nothing.
func (t *tap) announced() (drift string, err error) {
	_ = writeConf(t.name, "disable_ipv6", "1") // a write to conf/all changes the tap's, too
	was, err := t.deafen()
	if err != nil || was == "" {
		return "", err
	}
	return fmt.Sprintf("accept_ra of %s set to %s", t.bridge, was), nil
}

// Send takes a frame without anything left to be done.
func (t *tap) Send(frame []byte) error {
	if len(frame) < etherHeader {
		return errors.New("frame is shorter than an Ethernet header")
	}
	return t.send(offload.Info{}, frame[:etherHeader], [][]byte{frame[etherHeader:]})
}

// tapWriter is what one write needs, kept for reuse.
type tapWriter struct {
	head [vnetHeader]byte
	iov  []unix.Iovec
	err  unix.Errno // of the write; 0: none
	try  func(fd uintptr) bool
}

func newTapWriter() *tapWriter {
	w := &tapWriter{}
	w.try = func(fd uintptr) bool {
		// A tap never makes a writer wait; what it cannot take is lost, as on any link.
		_, _, w.err = unix.Syscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.iov[0])), uintptr(len(w.iov)))
		return true
	}
	return w
}

func (w *tapWriter) add(b []byte) {
	if len(b) > 0 {
		v := unix.Iovec{Base: &b[0]}
		v.SetLen(len(b))
		w.iov = append(w.iov, v)
	}
}

// send is fastLink's.
func (t *tap) send(off offload.Info, head []byte, parts [][]byte) error {
	w := t.writers.Get().(*tapWriter)
	writeVnet(w.head[:], off)
	w.iov = w.iov[:0]
	w.add(w.head[:])
	w.add(head)
	for _, b := range parts {
		w.add(b)
	}
	err := t.raw.Write(w.try) // it fails when the tap is closed
	if err == nil && w.err != 0 {
		err = w.err
	}
	clear(w.iov)
	t.writers.Put(w)
	return err
}

// Close removes the interface.
func (t *tap) Close() error {
	t.once.Do(func() {
		t.links.remove(t)
		none := func(bool) {}
		t.state.Store(&none)
		t.err = t.file.Close()
		t.reading.Wait()
	})
	return t.err
}

// ifname is the text of an attribute.
func ifname(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}
