// SPDX-License-Identifier: MIT

package forward

import (
	"math/bits"
	"sync"
	"time"
)

// key is a flow as the inside sees it, or an address seen.
type key struct {
	in, out         u128
	inPort, outPort uint16
	proto           uint8
}

// hash is keyed, so that nobody outside can aim at one chain.
func (k *key) hash(seed [2]uint64) uint64 {
	h := mix(k.in.hi^seed[0], k.in.lo^seed[1])
	h = mix(h^k.out.hi, k.out.lo^seed[0])
	return mix(h^(uint64(k.inPort)<<32|uint64(k.outPort)<<16|uint64(k.proto)), seed[1]|1)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// class is how long an entry lives without a packet, and in which order entries give way when there is no room: the lowest
// class first, of one class the one that was idle longest.
type class uint8

// maxClasses is the most that a store may have.
const maxClasses = 8

// entry is one in a part. Its place is its number, so that lists cost no allocation.
type entry struct {
	key
	class        class
	state        uint8
	at           int64 // when it was last used, to the grain
	chain        int32 // the next with the same hash, or the next that is free
	newer, older int32 // in the list of the class
}

// storeParts is how many locks there are. Two packets in the same part at the same time are rare with two directions.
const storeParts = 16

// store is a bounded table that forgets: what the flows and the addresses seen are kept in. It grows as it is filled, and
// an entry that is there is found and renewed without an allocation.
type store struct {
	seed  [2]uint64
	lives [maxClasses]int64 // by class
	// grain is how old an entry must be to be renewed: most packets of a flow only read. Entries live as much longer.
	grain int64
	parts [storeParts]part
}

// part is what one lock is for.
type part struct {
	sync.Mutex
	store   *store
	most    int
	entries []entry
	chains  []int32 // by hash; a power of two of them
	free    int32   // first entry that is free
	count   int
	lists   [maxClasses]struct{ oldest, newest int32 }
	_       [64]byte // no two locks in one line of the cache
}

func newStore(seed [2]uint64, most int, grain time.Duration, lives ...time.Duration) *store {
	s := &store{seed: seed, grain: int64(grain)}
	for i, l := range lives {
		s.lives[i] = int64(l)
	}
	for i := range s.parts {
		p := &s.parts[i]
		p.store, p.most, p.free = s, max(1, most/storeParts), none
		for c := range p.lists {
			p.lists[c].oldest, p.lists[c].newest = none, none
		}
	}
	return s
}

// lock gives the part in which k belongs, locked, and its hash there.
func (s *store) lock(k *key) (*part, uint64) {
	h := k.hash(s.seed)
	p := &s.parts[h%storeParts]
	p.Lock()
	return p, h / storeParts
}

func (s *store) size() (n int) {
	for i := range s.parts {
		p := &s.parts[i]
		p.Lock()
		n += p.count
		p.Unlock()
	}
	return n
}

// get finds an entry that has not run out, nil if there is none. It is good until the part is unlocked or something is
// put into it.
func (p *part) get(k *key, h uint64, now int64) *entry {
	if len(p.chains) == 0 {
		return nil
	}
	for n := p.chains[h&uint64(len(p.chains)-1)]; n != none; n = p.entries[n].chain {
		e := &p.entries[n]
		if e.key != *k {
			continue
		}
		if now-e.at >= p.store.lives[e.class]+p.store.grain {
			p.remove(n)
			return nil
		}
		return e
	}
	return nil
}

// renew says that the entry is in use, and of a class from now on.
func (p *part) renew(e *entry, now int64, c class) {
	if e.class == c && now-e.at < p.store.grain {
		return
	}
	n := p.number(e)
	p.unlist(n)
	e.at, e.class = now, c
	p.list(n)
}

// number is the place of an entry that get has found.
func (p *part) number(e *entry) int32 {
	// The older neighbor of the newer one, or the newest: a pointer does not know its index.
	if e.newer != none {
		return p.entries[e.newer].older
	}
	return p.lists[e.class].newest
}

// put makes an entry that is not there yet. If there is no room one of a class up to give goes; nil if there is none.
func (p *part) put(k *key, h uint64, now int64, c, give class) *entry {
	for i := range p.lists { // what has run out goes while others come
		if n := p.lists[i].oldest; n != none && now-p.entries[n].at >= p.store.lives[i]+p.store.grain {
			p.remove(n)
		}
	}
	if p.count == p.most && !p.evict(give) {
		return nil
	}
	n := p.free
	if n == none {
		p.entries = append(p.entries, entry{})
		n = int32(len(p.entries) - 1)
	} else {
		p.free = p.entries[n].chain
	}
	p.count++
	if p.count > len(p.chains) {
		p.grow()
	}
	e := &p.entries[n]
	chain := &p.chains[h&uint64(len(p.chains)-1)]
	*e = entry{key: *k, class: c, at: now, chain: *chain}
	*chain = n
	p.list(n)
	return e
}

func (p *part) evict(give class) bool {
	for c := range p.lists[:give+1] {
		if n := p.lists[c].oldest; n != none {
			p.remove(n)
			return true
		}
	}
	return false
}

// grow doubles the chains. There are never more entries than most.
func (p *part) grow() {
	p.chains = make([]int32, max(16, 2*len(p.chains)))
	for i := range p.chains {
		p.chains[i] = none
	}
	for c := range p.lists {
		for n := p.lists[c].oldest; n != none; n = p.entries[n].newer {
			e := &p.entries[n]
			h := e.hash(p.store.seed) / storeParts
			chain := &p.chains[h&uint64(len(p.chains)-1)]
			e.chain, *chain = *chain, n
		}
	}
}

func (p *part) remove(n int32) {
	e := &p.entries[n]
	h := e.hash(p.store.seed) / storeParts
	at := &p.chains[h&uint64(len(p.chains)-1)]
	for *at != n {
		at = &p.entries[*at].chain
	}
	*at = e.chain
	p.unlist(n)
	e.chain, p.free = p.free, n
	p.count--
}

// list puts an entry at the new end of the list of its class, so that each list is in the order of at.
func (p *part) list(n int32) {
	e := &p.entries[n]
	l := &p.lists[e.class]
	e.newer, e.older = none, l.newest
	if l.newest != none {
		p.entries[l.newest].newer = n
	} else {
		l.oldest = n
	}
	l.newest = n
}

func (p *part) unlist(n int32) {
	e := &p.entries[n]
	l := &p.lists[e.class]
	if e.newer != none {
		p.entries[e.newer].older = e.older
	} else {
		l.newest = e.older
	}
	if e.older != none {
		p.entries[e.older].newer = e.newer
	} else {
		l.oldest = e.newer
	}
}
