// SPDX-License-Identifier: MIT

package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"oasis6/hub/store"
)

// model is a store as simple as can be.
type model struct {
	records  map[string]store.Record
	revision store.Revision
	sent     []string // what a watch from the beginning sends
}

func (m *model) String() string {
	var all []store.Record
	for _, key := range slices.Sorted(maps.Keys(m.records)) {
		all = append(all, m.records[key])
	}
	return fmt.Sprintf("%d: %s", m.revision, records(all))
}

// commit says whether the changes are done.
func (m *model) commit(changes []store.Change) bool {
	for _, c := range changes {
		if c.If != store.Any && c.If != m.records[c.Key].Revision {
			return false
		}
	}
	var done []store.Record
	for _, c := range changes {
		r := store.Record{Key: c.Key, Value: c.Value, Revision: m.revision + 1}
		if _, there := m.records[c.Key]; c.Value != nil {
			m.records[c.Key] = r
		} else if !there {
			continue
		}
		if c.Value == nil {
			delete(m.records, c.Key)
		}
		done = append(done, r)
	}
	if len(done) > 0 {
		m.revision++
		m.sent = append(m.sent, records(done))
	}
	return true
}

// likeAMap runs random operations on a store and on the model.
func likeAMap(t *testing.T, form Form) {
	rapid.Check(t, func(rt *rapid.T) {
		open := form.New(t)
		r := &run{rt: rt, open: open, Store: open(), model: model{records: map[string]store.Record{}}}
		defer func() { _ = r.Close() }() // it may be closed, when a check has failed
		actions := map[string]func(*rapid.T){"": r.check, "commit": r.commit, "watch": r.watch}
		if form.Lasts {
			actions["reopen"] = r.reopen
		}
		rt.Repeat(actions)
	})
}

type run struct {
	store.Store
	model
	rt   *rapid.T
	open func() store.Store
	from store.Revision // when it was opened: history begins there
}

func (r *run) check(rt *rapid.T) {
	all, revision, err := r.Load(context.Background())
	if got := fmt.Sprintf("%d: %s", revision, records(all)); err != nil || got != r.model.String() {
		rt.Fatalf("Load: %s, %v\nwant  %s", got, err, r.model.String())
	}
}

func (r *run) commit(rt *rapid.T) {
	keys := rapid.SliceOfNDistinct(rapid.SampledFrom(strings.Split("a b c d e f g h i j k l", " ")), 0, 4, rapid.ID).Draw(rt, "keys")
	var changes []store.Change
	for _, key := range keys {
		is := r.records[key].Revision
		c := store.Change{Key: key, If: rapid.SampledFrom([]store.Revision{is, is, store.Any, store.Any, 0, r.revision}).Draw(rt, "if")}
		if rapid.IntRange(0, 3).Draw(rt, "delete") > 0 {
			c.Value = []byte(strings.Repeat("v", rapid.SampledFrom([]int{0, 1, 7, 300, 5000}).Draw(rt, "size")))
		}
		changes = append(changes, c)
	}
	done := r.model.commit(changes)
	got, err := r.Commit(context.Background(), changes)
	if done && (err != nil || got != r.revision) || !done && !errors.Is(err, store.ErrConflict) {
		rt.Fatalf("Commit(%s) = %d, %v; want done: %t, %d", text(changes), got, err, done, r.revision)
	}
}

func (r *run) watch(rt *rapid.T) {
	after := store.Revision(rapid.Uint64Range(uint64(r.from), uint64(r.revision)).Draw(rt, "after"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watch, err := r.Watch(ctx, after)
	if err != nil {
		rt.Fatalf("Watch(%d): %v", after, err)
	}
	for _, want := range r.sent[after:] {
		if got := records(<-watch); got != want {
			rt.Fatalf("Watch(%d): %s, want %s", after, got, want)
		}
	}
}

func (r *run) reopen(rt *rapid.T) {
	if err := r.Close(); err != nil {
		rt.Fatalf("Close: %v", err)
	}
	r.Store, r.from = r.open(), r.revision
}
