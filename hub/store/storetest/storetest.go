// SPDX-License-Identifier: MIT

// Package storetest is the contract of store.Store as tests: all forms of it must pass them.
//
// They see a store from outside; crashes, full disks and damaged files are each form's own affair. Start at Run.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"oasis6/hub/store"
)

// Form is one kind of store.
type Form struct {
	// New gives a place for a store, with nothing in it; open opens that, and can be called again after Close.
	New func(t *testing.T) (open func() store.Store)
	// Lasts says that what was in a store is there when it is opened again.
	Lasts bool
}

// Run tests that form.
func Run(t *testing.T, form Form) {
	for name, test := range map[string]func(*world){
		"commits compare revisions":        commitsCompare,
		"a commit is done as a whole":      commitIsWhole,
		"what changes nothing is nothing":  nothingIsNothing,
		"changes that are refused":         refusedChanges,
		"values are nobody else's":         valuesAreOwn,
		"a watch misses nothing":           watchMissesNothing,
		"a watch ends":                     watchEnds,
		"a slow receiver":                  slowReceiver,
		"what is long ago":                 watchLongAgo,
		"lazy commits":                     lazyCommits,
		"many at once":                     manyAtOnce,
		"nothing goes on after the close":  afterClose,
		"nothing is done for who is gone":  afterContext,
		"it is like a map, with revisions": func(w *world) { likeAMap(w.T, form) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{T: t, form: form, open: form.New(t)}
			w.Store = w.open()
			t.Cleanup(func() {
				if err := w.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
					t.Errorf("Close = %v", err)
				}
			})
			test(w)
		})
	}
}

// world is a store under test.
type world struct {
	*testing.T
	store.Store
	form Form
	open func() store.Store
}

func put(key, value string, cond store.Revision) store.Change {
	return store.Change{Key: key, Value: []byte(value), If: cond}
}

func del(key string, cond store.Revision) store.Change { return store.Change{Key: key, If: cond} }

// commits says that a Commit succeeds and what its revision is.
func (w *world) commits(want store.Revision, changes ...store.Change) {
	w.Helper()
	if got, err := w.Commit(w.Context(), changes); err != nil || got != want {
		w.Fatalf("Commit(%s) = %d, %v, want %d", text(changes), got, err, want)
	}
}

// conflicts says that a Commit fails.
func (w *world) conflicts(changes ...store.Change) {
	w.Helper()
	if got, err := w.Commit(w.Context(), changes); !errors.Is(err, store.ErrConflict) {
		w.Errorf("Commit(%s) = %d, %v, want a conflict", text(changes), got, err)
	}
}

// holds says what Load returns: the revision, then key=value@revision for each record.
func (w *world) holds(want string) {
	w.Helper()
	if got := w.load(); got != want {
		w.Errorf("Load: %s\nwant  %s", got, want)
	}
}

func (w *world) load() string {
	w.Helper()
	all, revision, err := w.Load(w.Context())
	if err != nil {
		w.Fatalf("Load: %v", err)
	}
	return fmt.Sprintf("%d: %s", revision, records(all))
}

func records(all []store.Record) string {
	var b []string
	for _, r := range all {
		if r.Value == nil {
			b = append(b, fmt.Sprintf("-%s@%d", r.Key, r.Revision))
			continue
		}
		b = append(b, fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Revision))
	}
	return strings.Join(b, " ")
}

func text(changes []store.Change) string {
	var b []string
	for _, c := range changes {
		cond := fmt.Sprint(c.If)
		if c.If == store.Any {
			cond = "any"
		}
		if c.Value == nil {
			b = append(b, fmt.Sprintf("-%.40s if %s", c.Key, cond))
			continue
		}
		b = append(b, fmt.Sprintf("%.40s=%.40s if %s", c.Key, c.Value, cond))
	}
	return strings.Join(b, ", ")
}

// gets says what the next revisions are that a watch sends.
func (w *world) gets(watch <-chan []store.Record, want ...string) {
	w.Helper()
	for _, want := range want {
		select {
		case all, open := <-watch:
			if got := records(all); got != want || !open {
				w.Fatalf("watch: %q (open: %t), want %q", got, open, want)
			}
		case <-time.After(10 * time.Second):
			w.Fatalf("watch: nothing after 10s, want %q", want)
		}
	}
}

// ends says that a watch sends nothing more.
func (w *world) ends(watch <-chan []store.Record) {
	w.Helper()
	select {
	case all, open := <-watch:
		if open {
			w.Fatalf("watch: %q, want its end", records(all))
		}
	case <-time.After(10 * time.Second):
		w.Fatal("watch: open after 10s, want its end")
	}
}

func (w *world) watch(ctx context.Context, after store.Revision) <-chan []store.Record {
	w.Helper()
	watch, err := w.Watch(ctx, after)
	if err != nil {
		w.Fatalf("Watch(%d): %v", after, err)
	}
	return watch
}

func commitsCompare(w *world) {
	w.holds("0: ")
	w.commits(1, put("b", "1", 0))
	w.commits(2, put("a", "2", 0), put("c", "", store.Any))
	w.holds("2: a=2@2 b=1@1 c=@2")
	w.conflicts(put("a", "x", 0))
	w.conflicts(put("a", "x", 1))
	w.conflicts(put("a", "x", 3))
	w.conflicts(put("d", "x", 2))
	w.conflicts(del("a", 0))
	w.conflicts(del("a", 1))
	w.holds("2: a=2@2 b=1@1 c=@2")
	w.commits(3, put("a", "3", 2))
	w.commits(4, put("a", "4", store.Any))
	w.commits(5, del("b", 1))
	w.conflicts(put("b", "x", 1))
	w.commits(6, put("b", "6", 0))
	w.commits(7, put("b", "6", 6)) // the same again is a change all the same
	w.holds("7: a=4@4 b=6@7 c=@2")
	w.commits(8, del("a", store.Any), del("b", 7), del("c", 2))
	w.holds("8: ")
}

func commitIsWhole(w *world) {
	w.commits(1, put("a", "1", 0), put("b", "1", 0))
	w.conflicts(put("a", "2", 1), del("b", store.Any), put("c", "2", 1))
	w.conflicts(put("c", "2", 1), put("a", "2", 1))
	w.holds("1: a=1@1 b=1@1")
	var many []store.Change
	for n := range 3000 {
		many = append(many, put(fmt.Sprintf("many/%04d", n), strings.Repeat("x", 100), 0))
	}
	w.commits(2, many...)
	w.conflicts(append(many[:10:10], put("a", "2", 2))...)
	if all, _, err := w.Load(w.Context()); err != nil || len(all) != 3002 {
		w.Errorf("Load: %d records, %v, want 3002", len(all), err)
	}
}

func nothingIsNothing(w *world) {
	w.commits(0)
	w.commits(0, del("a", store.Any), del("b", 0))
	w.commits(1, put("a", "1", 0))
	watch := w.watch(w.Context(), 1)
	w.commits(1)
	w.commits(1, del("b", 0))
	w.commits(2, del("a", 1), del("b", 0))
	w.gets(watch, "-a@2")
}

func refusedChanges(w *world) {
	w.commits(1, put("a", "1", 0))
	long := strings.Repeat("k", store.MaxKey+1)
	for _, bad := range [][]store.Change{
		{put("", "x", store.Any)},
		{put(long, "x", store.Any)},
		{del(long, store.Any)},
		{put("b", "x", store.Any), put("v", strings.Repeat("x", store.MaxValue+1), store.Any)},
		{put("b", "x", store.Any), del("b", store.Any)},
	} {
		if got, err := w.Commit(w.Context(), bad); err == nil || errors.Is(err, store.ErrConflict) {
			w.Errorf("Commit(%s) = %d, %v, want another error", text(bad), got, err)
		}
		if err := w.CommitLazy(bad); err == nil {
			w.Errorf("CommitLazy(%s) succeeds", text(bad))
		}
	}
	if err := w.CommitLazy([]store.Change{put("a", "2", 1)}); err == nil {
		w.Error("CommitLazy of a change with a revision succeeds")
	}
	w.holds("1: a=1@1")
	w.commits(2, put(long[1:], "x", 0), del("a", 1))
	w.commits(3, put("v", strings.Repeat("x", store.MaxValue), 0), del(long[1:], 2))
}

func valuesAreOwn(w *world) {
	value := []byte("one")
	w.commits(1, store.Change{Key: "a", Value: value})
	copy(value, "two")
	lazy := []byte("one")
	if err := w.CommitLazy([]store.Change{{Key: "b", Value: lazy, If: store.Any}}); err != nil {
		w.Fatal(err)
	}
	copy(lazy, "two")
	if _, err := w.Commit(w.Context(), []store.Change{put("c", "one", 0)}); err != nil {
		w.Fatal(err)
	}
	all, _, err := w.Load(w.Context())
	if err != nil || len(all) != 3 {
		w.Fatalf("Load: %s, %v", records(all), err)
	}
	for _, r := range all {
		if string(r.Value) != "one" {
			w.Errorf("%s is %q, want what it was when it was committed", r.Key, r.Value)
		}
		copy(r.Value, "two")
		_ = append(r.Value, "and more"...)
	}
	if got := w.load(); strings.Contains(got, "two") || strings.Count(got, "one") != 3 {
		w.Errorf("Load after its values were changed: %s", got)
	}
}

func watchMissesNothing(w *world) {
	early := w.watch(w.Context(), 0)
	w.commits(1, put("b", "1", 0), put("a", "1", 0))
	w.commits(2, put("a", "", 1))
	w.commits(3, del("b", 1), put("c", "3", 0))
	late := w.watch(w.Context(), 1)
	ahead := w.watch(w.Context(), 4)
	w.commits(4, del("a", 2))
	w.commits(5, put("a", "5", 0))
	all := []string{"b=1@1 a=1@1", "a=@2", "-b@3 c=3@3", "-a@4", "a=5@5"}
	w.gets(early, all...)
	w.gets(late, all[1:]...)
	w.gets(ahead, all[4:]...)
	w.gets(w.watch(w.Context(), 0), all...)
}

func watchEnds(w *world) {
	ctx, cancel := context.WithCancel(w.Context())
	waits, sends := w.watch(ctx, 1), w.watch(ctx, 0)
	w.commits(1, put("a", "1", 0))
	cancel()
	w.ends(waits)
	select {
	case <-sends: // it may have sent, or not
	case <-time.After(10 * time.Second):
		w.Fatal("the watch that sends does not end with its context")
	}
	if _, err := w.Watch(ctx, 0); !errors.Is(err, context.Canceled) {
		w.Errorf("Watch with a context that is done = %v", err)
	}
	waits, sends = w.watch(w.Context(), 1), w.watch(w.Context(), 0)
	if err := w.Close(); err != nil {
		w.Fatal(err)
	}
	w.ends(waits)
	for range sends { // that it ends is the test
	}
}

// A receiver that does not receive keeps nobody up. It gets everything or the end.
func slowReceiver(w *world) {
	slow, fast := w.watch(w.Context(), 0), w.watch(w.Context(), 0)
	const n = 40
	for i := range store.Revision(n) {
		w.commits(i+1, hundred()...)
		if got := <-fast; len(got) != 100 || got[0].Revision != i+1 {
			w.Fatalf("who receives gets %s after %d", records(got), i)
		}
	}
	var last store.Revision
	for all := range slow {
		if all[0].Revision != last+1 {
			w.Fatalf("after revision %d comes %d", last, all[0].Revision)
		}
		if last = all[0].Revision; last == n {
			return
		}
	}
}

func hundred() []store.Change {
	var all []store.Change
	for k := range 100 {
		all = append(all, put(fmt.Sprint(k), "x", store.Any))
	}
	return all
}

// A watch from the beginning gets everything, or is told that it cannot.
func watchLongAgo(w *world) {
	const n = 40
	for i := range store.Revision(n) {
		w.commits(i+1, hundred()...)
	}
	watch, err := w.Watch(w.Context(), 0)
	switch {
	case errors.Is(err, store.ErrForgotten):
		watch = w.watch(w.Context(), n)
		w.commits(n+1, put("a", "x", 0))
		w.gets(watch, fmt.Sprintf("a=x@%d", n+1))
	case err != nil:
		w.Errorf("Watch(0) = %v", err)
	default:
		for i := range store.Revision(n) {
			if got := <-watch; len(got) != 100 || got[0].Revision != i+1 {
				w.Fatalf("watch: %s after %d", records(got), i)
			}
		}
	}
}

func lazyCommits(w *world) {
	lazy := func(changes ...store.Change) {
		w.Helper()
		if err := w.CommitLazy(changes); err != nil {
			w.Fatalf("CommitLazy(%s) = %v", text(changes), err)
		}
	}
	values := func() map[string]string {
		all, _, err := w.Load(w.Context())
		if err != nil {
			w.Fatal(err)
		}
		m := map[string]string{}
		for _, r := range all {
			m[r.Key] = string(r.Value)
		}
		return m
	}
	watch := w.watch(w.Context(), 0)
	lazy(put("at/a", "1", store.Any), put("at/b", "1", store.Any))
	lazy(put("at/a", "2", store.Any), put("at/c", "2", store.Any), del("at/none", store.Any))
	if _, err := w.Commit(w.Context(), []store.Change{put("lease", "3", 0), put("at/c", "3", store.Any)}); err != nil {
		w.Fatal(err)
	}
	if got, want := values(), map[string]string{"at/a": "2", "at/b": "1", "at/c": "3", "lease": "3"}; !maps.Equal(got, want) {
		w.Errorf("after the next Commit: %v, want %v", got, want)
	}
	seen := map[string]string{}
	for last := store.Revision(0); !maps.Equal(seen, values()); {
		select {
		case all := <-watch:
			if all[0].Revision != last+1 {
				w.Fatalf("after revision %d comes %s", last, records(all))
			}
			last++
			for _, r := range all {
				seen[r.Key] = string(r.Value)
			}
		case <-time.After(10 * time.Second):
			w.Fatalf("the watch has seen %v, the store holds %v", seen, values())
		}
	}
	lazy(del("at/b", store.Any), put("at/a", "4", store.Any))
	if err := w.Close(); err != nil || !w.form.Lasts {
		return
	}
	w.Store = w.open()
	if got, want := values(), map[string]string{"at/a": "4", "at/c": "3", "lease": "3"}; !maps.Equal(got, want) {
		w.Errorf("after Close: %v, want %v", got, want)
	}
}

// Many count one record up, each as often: none gets lost, and the watch sees each number once.
func manyAtOnce(w *world) {
	const workers, each = 16, 25
	var wg sync.WaitGroup
	watch := w.watch(w.Context(), 0)
	for n := range workers {
		wg.Go(func() {
			for i := range each {
				if err := w.countUp(fmt.Sprintf("own/%d", n), fmt.Sprint(i)); err != nil {
					w.Error(err)
					return
				}
			}
		})
	}
	for i := range store.Revision(workers * each) {
		all := <-watch
		if len(all) != 2 || all[0].Key != "count" || string(all[0].Value) != fmt.Sprint(i+1) || all[0].Revision != i+1 {
			w.Fatalf("watch: %s, want count=%d@%d", records(all), i+1, i+1)
		}
	}
	wg.Wait()
	all, revision, err := w.Load(w.Context())
	if err != nil || revision != workers*each || len(all) != workers+1 {
		w.Fatalf("Load: %d, %s, %v", revision, records(all), err)
	}
	for _, r := range all[1:] {
		if string(r.Value) != fmt.Sprint(each-1) {
			w.Errorf("%s, want %d", records([]store.Record{r}), each-1)
		}
	}
}

// countUp adds one to the record count, and in the same commit writes another.
func (w *world) countUp(key, value string) error {
	for {
		all, _, err := w.Load(w.Context())
		if err != nil {
			return err
		}
		var n int
		var is store.Revision
		if i := slices.IndexFunc(all, func(r store.Record) bool { return r.Key == "count" }); i >= 0 {
			is = all[i].Revision
			if _, err := fmt.Sscan(string(all[i].Value), &n); err != nil {
				return err
			}
		}
		_, err = w.Commit(w.Context(), []store.Change{put("count", fmt.Sprint(n+1), is), put(key, value, store.Any)})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func afterClose(w *world) {
	w.commits(1, put("a", "1", 0))
	if err := w.Close(); err != nil {
		w.Fatalf("Close = %v", err)
	}
	_, _, load := w.Load(w.Context())
	_, commit := w.Commit(w.Context(), []store.Change{put("a", "2", 1)})
	_, nothing := w.Commit(w.Context(), nil)
	lazy := w.CommitLazy([]store.Change{put("a", "2", store.Any)})
	_, watch := w.Watch(w.Context(), 0)
	for what, err := range map[string]error{
		"Load": load, "Commit": commit, "Commit of nothing": nothing, "CommitLazy": lazy, "Watch": watch, "Close": w.Close(),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			w.Errorf("%s after Close = %v, want %v", what, err, fs.ErrClosed)
		}
	}
	if w.form.Lasts {
		w.Store = w.open()
		w.holds("1: a=1@1")
		w.commits(2, put("a", "2", 1))
	}
}

func afterContext(w *world) {
	ctx, cancel := context.WithCancel(w.Context())
	cancel()
	if _, err := w.Commit(ctx, []store.Change{put("a", "1", 0)}); !errors.Is(err, context.Canceled) {
		w.Errorf("Commit = %v, want %v", err, context.Canceled)
	}
	if _, _, err := w.Load(ctx); !errors.Is(err, context.Canceled) {
		w.Errorf("Load = %v, want %v", err, context.Canceled)
	}
	w.holds("0: ")
}
