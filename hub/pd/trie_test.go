// SPDX-License-Identifier: MIT

package pd

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// slow is what the trie is judged by: claims in a list, and every block looked at.
type slow []*claim

func (s slow) blocked(p netip.Prefix, loose bool) bool {
	return slices.ContainsFunc(s, func(c *claim) bool { return c.prefix.Overlaps(p) && !(loose && c.kind == wished) })
}

// sub is block number i of the length in a prefix.
func sub(p netip.Prefix, length, i int) netip.Prefix {
	b := p.Masked().Addr().As16()
	hi := binary.BigEndian.Uint64(b[:8])
	binary.BigEndian.PutUint64(b[:8], hi+uint64(i)<<(64-length))
	return netip.PrefixFrom(netip.AddrFrom16(b), length)
}

// greatest are the free blocks that are part of no greater one, in order.
func (s slow) greatest(p netip.Prefix, loose bool) (all []netip.Prefix) {
	if !s.blocked(p, loose) {
		return []netip.Prefix{p}
	}
	if p.Bits() == 64 {
		return nil
	}
	for i := range 2 {
		all = append(all, s.greatest(sub(p, p.Bits()+1, i), loose)...)
	}
	return all
}

func (s slow) find(block netip.Prefix, length int, how way) (got netip.Prefix) {
	for _, p := range s.greatest(block, how == anyhow) {
		switch {
		case p.Bits() > length:
		case how == far:
			if !got.IsValid() || p.Bits() <= got.Bits() {
				got = p
			}
		case !got.IsValid() || p.Bits() > got.Bits():
			got = p
		}
	}
	switch {
	case !got.IsValid():
	case how == far:
		got = sub(got, length, 1<<(length-got.Bits())-1)
	default:
		got = sub(got, length, 0)
	}
	return got
}

// random is a prefix in a /56 or beside it, seldom longer than /64 or larger than the /56.
func random(t *rapid.T) netip.Prefix {
	length := rapid.SampledFrom([]int{64, 64, 64, 64, 63, 62, 61, 60, 59, 58, 57, 56, 55, 52, 66, 80, 128}).Draw(t, "length")
	base := rapid.SampledFrom([]string{"2001:db8:0:100::", "2001:db8:0:100::", "2001:db8:0:100::", "2001:db8:0:200::", "2001:db8:ffff::"}).Draw(t, "base")
	b := netip.MustParseAddr(base).As16()
	b[7] |= byte(rapid.IntRange(0, 255).Draw(t, "subnet"))
	b[8], b[15] = byte(rapid.IntRange(0, 3).Draw(t, "host")), byte(rapid.IntRange(0, 1).Draw(t, "low"))
	return netip.PrefixFrom(netip.AddrFrom16(b), length).Masked()
}

// The trie finds what looking at each block finds, and the same claims overlap.
func TestTrieAgainstTheSlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fast trie
		var model slow
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(model) > 0 && rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				i := rapid.IntRange(0, len(model)-1).Draw(t, "which")
				fast.remove(model[i])
				model = slices.Delete(model, i, i+1)
			} else {
				c := &claim{prefix: random(t), kind: rapid.SampledFrom([]kind{taken, held, held, wished, wished}).Draw(t, "kind")}
				fast.insert(c)
				model = append(model, c)
			}
			block := rapid.SampledFrom(prefixes("2001:db8:0:100::/56 2001:db8:0:100::/58 2001:db8:0:180::/57 2001:db8:0:1ff::/64 2001:db8::/54")).Draw(t, "block")
			length := rapid.IntRange(50, 64).Draw(t, "wish")
			for _, how := range []way{snug, anyhow, far} {
				want := netip.Prefix{}
				if length >= block.Bits() {
					want = model.find(block, length, how)
				}
				if got := fast.find(block, length, how); got != want {
					t.Fatalf("a /%d in %s (%d): %s, want %s", length, block, how, got, want)
				}
			}
			p := random(t)
			want, got := map[*claim]bool{}, map[*claim]bool{}
			for _, c := range model {
				if c.prefix.Overlaps(p) {
					want[c] = true
				}
			}
			fast.overlapping(p, func(c *claim) bool {
				if got[c] || !want[c] {
					t.Fatalf("%s overlaps %s, twice or not at all", c.prefix, p)
				}
				got[c] = true
				return true
			})
			if len(got) != len(want) {
				t.Fatalf("%d claims overlap %s, want %d", len(got), p, len(want))
			}
			checkTrie(t, &fast, len(model))
		}
	})
}

// checkTrie: no node is there for nothing, and all gives the claims in order.
func checkTrie(t *rapid.T, fast *trie, claims int) {
	var nodes func(n *node) int
	nodes = func(n *node) int {
		if n == nil {
			return 0
		}
		if n.claims == nil && (n.child[0] == nil || n.child[1] == nil) || n.key != n.key.first(int(n.bits)) {
			t.Fatalf("node %x/%d is idle or has more bits", n.key, n.bits)
		}
		return 1 + nodes(n.child[0]) + nodes(n.child[1])
	}
	if n := nodes(fast.root); n > 2*claims {
		t.Fatalf("%d nodes for %d claims", n, claims)
	}
	var last netip.Prefix
	n := 0
	fast.root.all(func(c *claim) bool {
		if n++; n > 1 && c.prefix.Compare(last) < 0 {
			t.Fatalf("%s after %s", c.prefix, last)
		}
		last = c.prefix
		return true
	})
	if n != claims {
		t.Fatalf("%d claims of %d", n, claims)
	}
}

// Best fit: a /60 is still there after 240 /64 of a /56, wherever they were.
func TestLargeBlocksStayWhole(t *testing.T) {
	var tr trie
	pool := netip.MustParsePrefix("2001:db8:0:100::/56")
	var all []*claim
	for i := range 240 {
		p := tr.find(pool, 64, snug)
		if p != sub(pool, 64, i) {
			t.Fatalf("/64 number %d is %s, which is not the lowest", i, p)
		}
		all = append(all, &claim{prefix: p, kind: held})
		tr.insert(all[i])
	}
	if got := tr.find(pool, 60, snug); got != netip.MustParsePrefix("2001:db8:0:1f0::/60") {
		t.Errorf("the last /60 is %s", got)
	}
	for i := 0; i < 32; i++ {
		tr.remove(all[i*2]) // holes of one /64 each
	}
	tr.remove(all[101])
	if got := tr.find(pool, 64, snug); got != sub(pool, 64, 0) {
		t.Errorf("%s, not the lowest hole", got)
	}
	tr.remove(all[1])
	if got := tr.find(pool, 64, snug); got != sub(pool, 64, 2) {
		t.Errorf("%s, not the lowest of the smallest holes", got)
	}
	if got := tr.find(pool, 62, far); got != netip.MustParsePrefix("2001:db8:0:1fc::/62") {
		t.Errorf("%s is not the far end of the largest block", got)
	}
}

// A lease costs two nodes.
func TestTrieNodeIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(node{}); size > 64 {
		t.Errorf("a node has %d octets", size)
	}
}

func TestKeys(t *testing.T) {
	a, b := keyOf(netip.MustParseAddr("2001:db8::1")), keyOf(netip.MustParseAddr("2001:db8::8000:0:0:1"))
	for _, tc := range []struct{ got, want int }{{a.common(b), 64}, {a.common(a), 128}, {a.common(keyOf(netip.IPv6Unspecified())), 2}, {a.bit(2), 1}, {a.bit(127), 1}, {b.bit(64), 1}, {a.bit(126), 0}} {
		if tc.got != tc.want {
			t.Errorf("%d, want %d", tc.got, tc.want)
		}
	}
	ones := key{^uint64(0), ^uint64(0)}
	for n := range 129 {
		f := ones.first(n)
		if bits.OnesCount64(f.hi)+bits.OnesCount64(f.lo) != n || f.common(ones) != n {
			t.Errorf("the first %d bits: %x", n, f)
		}
	}
	if got := fmt.Sprintf("%x %x", lengths(60, 64), lengths(0, 1)); got != strings.Join([]string{"f800000000000000", "1"}, " ") || lengths(65, 70) != 0 || lengths(1, 64) != ^uint64(0) {
		t.Error(got)
	}
}
