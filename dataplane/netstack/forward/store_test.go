// SPDX-License-Identifier: MIT

package forward

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// slowEntry is one in a part of a store as a list would have it.
type slowEntry struct {
	key   key
	class class
	at    int64
}

// slowStore is a store of one part: a list, sorted when something must go.
type slowStore struct {
	lives []time.Duration
	most  int
	list  []slowEntry
}

const storeGrain = time.Second

func (s *slowStore) over(e slowEntry, now int64) bool {
	return now-e.at >= int64(s.lives[e.class]+storeGrain)
}

func (s *slowStore) get(k key, now int64) *slowEntry {
	s.list = slices.DeleteFunc(s.list, func(e slowEntry) bool { return e.key == k && s.over(e, now) })
	for i := range s.list {
		if s.list[i].key == k {
			return &s.list[i]
		}
	}
	return nil
}

// renew moves to the end what is renewed, so that of two with the same time the later is the newer.
func (s *slowStore) renew(e *slowEntry, now int64, c class) {
	if e.class == c && now-e.at < int64(storeGrain) {
		return
	}
	n := *e
	s.list = slices.DeleteFunc(s.list, func(o slowEntry) bool { return o.key == n.key })
	s.list = append(s.list, slowEntry{n.key, c, now})
}

func (s *slowStore) put(k key, now int64, c, give class) bool {
	for i := range s.lives { // of each class the oldest, if it is over
		n := slices.IndexFunc(s.list, func(e slowEntry) bool { return e.class == class(i) })
		if n >= 0 && s.over(s.list[n], now) {
			s.list = slices.Delete(s.list, n, n+1)
		}
	}
	if len(s.list) == s.most {
		order := slices.Clone(s.list)
		slices.SortStableFunc(order, func(a, b slowEntry) int { return cmp.Compare(a.class, b.class) })
		if order[0].class > give {
			return false
		}
		s.list = slices.DeleteFunc(s.list, func(e slowEntry) bool { return e.key == order[0].key })
	}
	s.list = append(s.list, slowEntry{k, c, now})
	return true
}

// A part of a store does what a list does, and no lock, chain or list breaks over it.
func TestStoreAgreesWithASlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lives := []time.Duration{3 * time.Second, 10 * time.Second, 2 * time.Second}
		slow := &slowStore{lives: lives, most: 20}
		s := newStore([2]uint64{1 << 60, 2 << 50}, 20*storeParts, storeGrain, lives...)
		p := &s.parts[0] // all go there, whatever their hash
		now := int64(1000)
		classes := rapid.IntRange(0, 2)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now += rapid.SampledFrom([]int64{0, 0, 1, int64(storeGrain) - 1, int64(storeGrain), int64(3 * time.Second)}).Draw(t, "time")
			k := key{in: u128{lo: rapid.Uint64Range(0, 30).Draw(t, "key")}, proto: protoUDP}
			c, give := class(classes.Draw(t, "class")), class(classes.Draw(t, "give"))
			h := k.hash(s.seed) / storeParts
			p.Lock()
			e, slowE := p.get(&k, h, now), slow.get(k, now)
			if (e == nil) != (slowE == nil) {
				t.Fatalf("get(%v) = %v, want %v", k.in.lo, e, slowE)
			}
			switch {
			case e == nil:
				if got, want := p.put(&k, h, now, c, give) != nil, slow.put(k, now, c, give); got != want {
					t.Fatalf("put(%v, class %d, give %d) = %v, want %v", k.in.lo, c, give, got, want)
				}
			case e.class != slowE.class || e.at != slowE.at:
				t.Fatalf("get(%v) = %+v, want %+v", k.in.lo, e, slowE)
			default:
				p.renew(e, now, c)
				slow.renew(slowE, now, c)
			}
			p.Unlock()
			if p.count != len(slow.list) {
				t.Fatalf("%d entries, want %d", p.count, len(slow.list))
			}
		}
		if len(p.entries) > slow.most {
			t.Errorf("room for %d entries, want %d at most", len(p.entries), slow.most)
		}
	})
}

// Keys spread over parts and chains, also those that an attacker can choose in a row.
func TestKeysSpread(t *testing.T) {
	s := New(Options{Seed: [2]uint64{3, 4}}).flows
	for i := range DefaultFlows / 2 {
		k := key{in: number(ip(lanHost)), out: number(ip(farHost)), inPort: uint16(i), outPort: 53, proto: protoUDP}
		p, h := s.lock(&k)
		p.put(&k, h, 0, flowTrying, flowTrying)
		p.Unlock()
	}
	for i := range s.parts {
		p := &s.parts[i]
		if want := DefaultFlows / 2 / storeParts; p.count < want*3/4 || p.count > want*5/4 {
			t.Errorf("part %d has %d entries, want about %d", i, p.count, want)
		}
		for _, n := range p.chains {
			length := 0
			for ; n != none; n = p.entries[n].chain {
				length++
			}
			if length > 12 {
				t.Errorf("a chain of %d entries", length)
			}
		}
	}
}
