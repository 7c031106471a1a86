// SPDX-License-Identifier: MIT

package forward

import (
	"time"
)

// Limits of neighbor discovery on behalf of the tunnel (RFC 6583), with the numbers of dataplane/kernel: only addresses
// seen on a LAN are reached freely, those that packets came from and those that the stack has resolved or heard of. A
// packet to another one needs a token.
//
// A LAN that forges its sources can fill the set. Then those that only packets have shown give way to others of the kind,
// never who has answered the stack.
const (
	seenSize    = 4096
	seenTimeout = 4 * time.Hour
	seenGrain   = time.Minute
)

const (
	seenSource   class = iota // a packet came from there
	seenNeighbor              // it has answered the stack
)

type seen struct{ *store }

func newSeen(seed [2]uint64) seen {
	return seen{newStore(seed, seenSize, seenGrain, seenTimeout, seenTimeout)}
}

func (s seen) note(now time.Time, a u128, c class) {
	k, at := key{in: a}, now.UnixNano()
	p, h := s.lock(&k)
	if e := p.get(&k, h, at); e != nil {
		p.renew(e, at, max(c, e.class))
	} else {
		p.put(&k, h, at, c, c)
	}
	p.Unlock()
}

func (s seen) has(now time.Time, a u128) bool {
	k := key{in: a}
	p, h := s.lock(&k)
	defer p.Unlock()
	return p.get(&k, h, now.UnixNano()) != nil
}
