// SPDX-License-Identifier: MIT

//go:build !small

package status

import "fmt"

// Build is what only the build with everything has to say.
type Build struct {
	// Dataplane is what forwards the packets: kernel or userspace.
	Dataplane string `json:"dataplane,omitempty"`
	// Forwarding is of the userspace data plane, nil with the kernel's.
	Forwarding *Forwarding `json:"forwarding,omitempty"`
}

// Forwarding is what the userspace data plane did not send on since the start, by reason in words; a reason without packets
// may be missing. Of the kernel's data plane the same is in the counters of table ip6 oasis6.
type Forwarding struct {
	Flows   int               `json:"flows"`   // that the firewall knows
	Refused map[string]uint64 `json:"refused"` // by the table and the firewall, whether the sender was told or not
	Lost    map[string]uint64 `json:"lost"`    // there was no room, or nobody to take it
	Silent  uint64            `json:"silent"`  // ICMPv6 errors that were over the limit
}

const hasBuild = true

func (b Build) dataplane() string { return b.Dataplane }

func forwards(b Build) bool { return b.Forwarding != nil }

func (p *printer) forwarding(b Build) {
	f := b.Forwarding
	p.head("forwarding: %d flows through the firewall", f.Flows)
	p.field("refused", counts(f.Refused))
	p.field("lost", counts(f.Lost))
	if f.Silent > 0 {
		p.field("silent", fmt.Sprintf("%d errors not sent, too many at once (RFC 4443 section 2.4)", f.Silent))
	}
}
