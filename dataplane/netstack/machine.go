// SPDX-License-Identifier: MIT

package netstack

import (
	"errors"
	"net"
	"net/netip"
	"slices"

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
	p.mark.open(p.o.RunDir, p.o.BootID)
	return nil
}

// TookOver says that a predecessor of this boot left its LANs to us.
func (p *Plane) TookOver() bool { return p.mark.took }

// IsRouter says whether the router that the machine has at an address on one of its interfaces is this one, which forwards
// into the tunnel. It may be called from any goroutine.
func (p *Plane) IsRouter(iface string, a netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	a = a.WithZone("")
	lan := slices.Contains(p.names, iface) || slices.Contains(p.want.LANs, iface)
	if lan && a == linkLocal(stationMAC(p.o.Identity, iface)) {
		return true // also while the station is not there yet
	}
	return slices.ContainsFunc(p.want.Addresses, func(w dataplane.Address) bool { return w.Prefix.Addr() == a })
}

func (p *Plane) closeMachine() {
	if p.bridges != nil {
		p.bridges.close()
	}
	if p.owner != nil {
		_ = p.owner.Close() // nobody can connect to it
	}
}
