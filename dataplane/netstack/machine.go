// SPDX-License-Identifier: MIT

package netstack

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

// ErrInUse says that another box has this network namespace.
var ErrInUse = errors.New("another oasis6 is running in this network namespace: stop it first")

// openMachine makes the Plane one on the machine's bridges. The name is that of the kernel's data plane, too: two boxes
// on one bridge would each be a router there.
func (p *Plane) openMachine() (err error) {
	p.owner, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: "@oasis6-kernel"})
	if errors.Is(err, unix.EADDRINUSE) {
		return ErrInUse
	}
	if err != nil {
		return err
	}
	p.bridges, err = openBridges(func(bridge string) { p.events.put(dataplane.PortUp{Iface: bridge}) })
	if err != nil {
		p.closeMachine()
		return err
	}
	p.o.OpenLAN = p.openTap
	p.readMark()
	return nil
}

// markFile in RunDir says that LANs are served.
const markFile = "userspace"

// readMark says whether a predecessor of this boot has left LANs that count on us.
func (p *Plane) readMark() {
	if p.o.RunDir == "" {
		return
	}
	p.mark = filepath.Join(p.o.RunDir, markFile)
	b, err := os.ReadFile(p.mark)
	p.took = err == nil && strings.TrimSpace(string(b)) == p.o.BootID
}

// TookOver says that a predecessor of this boot left its LANs to us.
func (p *Plane) TookOver() bool { return p.took }

// keepMark is for a successor. It is written once.
func (p *Plane) keepMark() error {
	if p.mark == "" || p.marked || p.closed {
		return nil
	}
	if err := os.WriteFile(p.mark, []byte(p.o.BootID+"\n"), 0o600); err != nil {
		return fmt.Errorf("mark for a successor: %w", err)
	}
	p.marked = true
	return nil
}

func (p *Plane) dropMark() error {
	if p.mark == "" {
		return nil
	}
	p.marked = false
	if err := os.Remove(p.mark); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Serves says whether an interface of the machine is one of the LANs. It may be called from any goroutine.
func (p *Plane) Serves(iface string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.names, iface) || slices.Contains(p.want.LANs, iface)
}

func (p *Plane) closeMachine() {
	if p.bridges != nil {
		p.bridges.close()
	}
	if p.owner != nil {
		_ = p.owner.Close() // nobody can connect to it
	}
}
