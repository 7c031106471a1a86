// SPDX-License-Identifier: MIT

package netstack

import (
	"oasis6/dataplane"
	"oasis6/dataplane/netstack/forward"
	"oasis6/dataplane/netstack/neigh"
)

// Neighbors is dataplane.Plane's.
func (p *Plane) Neighbors(iface string) ([]dataplane.Neighbor, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed("neighbors")
	}
	r := p.ports[iface]
	if r == nil {
		return nil, nil // no interface, no neighbors
	}
	return r.known(p.o.Now()), nil
}

// NeighborStats is dataplane.Plane's. Each link has a limit of its own.
func (p *Plane) NeighborStats() (dataplane.NeighborStats, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return dataplane.NeighborStats{}, errClosed("neighbors")
	}
	s := dataplane.NeighborStats{Known: p.fwd.Stats().Known, Dropped: p.fwd.Refused(forward.NobodySeen)}
	for _, r := range p.ports {
		s.Entries += r.neighStats().Entries
		s.Most += neigh.MaxKnown
	}
	return s, nil
}
