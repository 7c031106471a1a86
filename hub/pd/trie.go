// SPDX-License-Identifier: MIT

package pd

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// kind says for what a prefix is claimed.
type kind uint8

const (
	taken    kind = iota // by the hub itself
	reserved             // for a site
	held                 // by a lease that is not over
	offered              // by the message that is being answered
	rests                // by a lease that is over, for a while
	wished               // by one that is remembered: it gives way if nothing else is free
)

// claim is that a prefix is not free, or not quite. Claims may overlap.
type claim struct {
	prefix netip.Prefix
	next   *claim // of the same prefix
	site   *site  // whose it is; nil for taken
	lease  *lease // of held, rests and wished
	kind   kind
}

// trie has all claims in the address space, path-compressed: a node is a claimed prefix, or the place where two of them
// part. Each node knows which sizes of free blocks are below it, so that the best one is found in one descent.
type trie struct{ root *node }

type node struct {
	key    key
	child  [2]*node
	claims *claim
	// The lengths of the greatest free blocks within the node, bit n-1 for length n; loose: where what is wished counts as
	// free. Blocks longer than /64 are of no use.
	free, loose uint64
	bits        uint8
	whole       bool // nothing but wishes are in it, so that loosely all of it is free
}

// key is an address as a number.
type key struct{ hi, lo uint64 }

func keyOf(a netip.Addr) key {
	b := a.As16()
	return key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// bit is the bit after the first i ones.
func (k key) bit(i int) int {
	if i < 64 {
		return int(k.hi >> (63 - i) & 1)
	}
	return int(k.lo >> (127 - i) & 1)
}

// common is how many first bits are equal.
func (k key) common(o key) int {
	if x := k.hi ^ o.hi; x != 0 {
		return bits.LeadingZeros64(x)
	}
	return 64 + bits.LeadingZeros64(k.lo^o.lo)
}

// first is the block of the first n bits.
func (k key) first(n int) key {
	if n <= 64 {
		return key{hi: k.hi &^ (1<<(64-n) - 1)}
	}
	return key{k.hi, k.lo &^ (1<<(128-n) - 1)}
}

// insert adds a claim.
func (t *trie) insert(c *claim) { t.root = t.root.insert(keyOf(c.prefix.Addr()), c.prefix.Bits(), c) }

func (n *node) insert(k key, length int, c *claim) *node {
	if n == nil {
		n = &node{key: k, bits: uint8(length)}
	}
	switch common := min(k.common(n.key), length, int(n.bits)); {
	case common == int(n.bits) && common == length:
		c.next, n.claims = n.claims, c
	case common == int(n.bits):
		side := k.bit(common)
		n.child[side] = n.child[side].insert(k, length, c)
	default: // a node above this one, for the claim or where the two part
		up := &node{key: k.first(common), bits: uint8(common)}
		up.child[n.key.bit(common)] = n
		return up.insert(k, length, c)
	}
	n.sum()
	return n
}

// remove takes a claim away that is there.
func (t *trie) remove(c *claim) {
	t.root = t.root.remove(keyOf(c.prefix.Addr()), c.prefix.Bits(), c)
	c.next = nil
}

func (n *node) remove(k key, length int, c *claim) *node {
	if int(n.bits) < length {
		side := k.bit(int(n.bits))
		n.child[side] = n.child[side].remove(k, length, c)
	} else {
		at := &n.claims
		for *at != c {
			at = &(*at).next
		}
		*at = c.next
	}
	if n.claims == nil {
		if n.child[0] == nil {
			return n.child[1]
		}
		if n.child[1] == nil {
			return n.child[0]
		}
	}
	n.sum()
	return n
}

// hard says that the node itself is claimed by more than wishes.
func (n *node) hard() bool {
	for c := n.claims; c != nil; c = c.next {
		if c.kind != wished {
			return true
		}
	}
	return false
}

// sum is what the node knows of what is below it.
func (n *node) sum() {
	hard := n.hard()
	half := [2]region{n.half(0), n.half(1)}
	n.whole = !hard && half[0].isFree(true) && half[1].isFree(true)
	n.free, n.loose = 0, 0
	if n.claims == nil {
		n.free = half[0].mask(false) | half[1].mask(false)
	}
	switch {
	case n.whole:
		n.loose = lengths(int(n.bits), int(n.bits))
	case !hard:
		n.loose = half[0].mask(true) | half[1].mask(true)
	}
}

// lengths is the mask of the lengths from..to.
func lengths(from, to int) uint64 {
	from, to = max(from, 1), min(to, 64)
	if from > to {
		return 0
	}
	return ^uint64(0) >> (63 - (to - from)) << (from - 1)
}

// region is a block and the first node in it, or nil.
type region struct {
	n    *node
	key  key
	bits int
}

func (n *node) half(side int) region {
	k, at := n.key, int(n.bits)
	switch {
	case side == 0 || at > 127:
	case at < 64:
		k.hi |= 1 << (63 - at)
	default:
		k.lo |= 1 << (127 - at)
	}
	return region{n.child[side], k, at + 1}
}

// isFree says that nothing is in the region.
func (r region) isFree(loose bool) bool { return r.n == nil || loose && r.n.whole }

// mask is which lengths the greatest free blocks in the region have. Those beside the path to its first node are free.
func (r region) mask(loose bool) uint64 {
	if r.isFree(loose) {
		return lengths(r.bits, r.bits)
	}
	m := r.n.free
	if loose {
		m = r.n.loose
	}
	return m | lengths(r.bits+1, int(r.n.bits))
}

// block is the free block of exactly that length, which must be one of the mask: the lowest of them, or the highest.
func (r region) block(length int, loose, highest bool) key {
	first := 0
	if highest {
		first = 1
	}
	for !r.isFree(loose) && length > int(r.n.bits) {
		half := r.n.half(first)
		if half.mask(loose)&lengths(length, length) == 0 {
			half = r.n.half(1 - first)
		}
		r = half
	}
	if r.isFree(loose) {
		return r.key
	}
	return r.n.key.flipped(length)
}

// flipped is the block of the length beside the one that k is in. The length is at most 64.
func (k key) flipped(length int) key {
	k.hi ^= 1 << (64 - length)
	return k.first(length)
}

// way is how find looks for a free block.
type way uint8

const (
	snug   way = iota // in the smallest free block that is large enough, so that large ones stay whole; of those in the lowest
	anyhow            // the same, where what is wished counts as free
	far               // at the end of the largest free block; of those of the highest
)

// find gives a free block of the length within a block, both at most 64 bits long. The zero value: there is none.
func (t *trie) find(block netip.Prefix, length int, how way) netip.Prefix {
	loose := how == anyhow
	r := region{t.root, keyOf(block.Addr()), block.Bits()}
	for r.n != nil && int(r.n.bits) < r.bits && r.key.common(r.n.key) >= int(r.n.bits) {
		if r.n.hard() || !loose && r.n.claims != nil {
			return netip.Prefix{}
		}
		r.n = r.n.child[r.key.bit(int(r.n.bits))]
	}
	if r.n != nil && r.key.common(r.n.key) < r.bits {
		r.n = nil // what is there is beside the block
	}
	fit := r.mask(loose) & lengths(1, length)
	if fit == 0 {
		return netip.Prefix{}
	}
	var k key
	if how == far {
		n := bits.TrailingZeros64(fit) + 1
		k = r.block(n, loose, true)
		k.hi |= (1<<(64-n) - 1) &^ (1<<(64-length) - 1)
	} else {
		k = r.block(bits.Len64(fit), loose, false)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.hi)
	return netip.PrefixFrom(netip.AddrFrom16(b), length)
}

// overlapping calls f for each claim that has a part of the prefix, until it says no. The trie must not change
// meanwhile.
func (t *trie) overlapping(p netip.Prefix, f func(*claim) bool) {
	k, n := keyOf(p.Addr()), t.root
	for n != nil && int(n.bits) < p.Bits() {
		if k.common(n.key) < int(n.bits) {
			return
		}
		for c := n.claims; c != nil; c = c.next {
			if !f(c) {
				return
			}
		}
		n = n.child[k.bit(int(n.bits))]
	}
	if n != nil && k.common(n.key) >= p.Bits() {
		n.all(f)
	}
}

// all calls f for each claim in order of addresses, a block before what is in it, until it says no.
func (n *node) all(f func(*claim) bool) bool {
	if n == nil {
		return true
	}
	for c := n.claims; c != nil; c = c.next {
		if !f(c) {
			return false
		}
	}
	return n.child[0].all(f) && n.child[1].all(f)
}
