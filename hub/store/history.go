// SPDX-License-Identifier: MIT

package store

import (
	"context"
	"io/fs"
	"slices"
	"sort"
	"sync"
)

// remembered is how many records the history keeps for who watches from a while ago or receives slowly: more than
// anybody commits between a Load and its Watch. The newest commit is kept whatever its size.
const remembered = 1024

// history is what was committed lately, for those who watch.
type history struct {
	mu      sync.Mutex
	news    sync.Cond // of mu: there are more commits, or a watch may be over
	after   Revision  // commits are all that came after it
	commits [][]Record
	records int // in commits

	life    context.Context // ends with the store
	end     context.CancelFunc
	watches sync.WaitGroup
}

func newHistory(after Revision) *history {
	h := &history{after: after}
	h.news.L = &h.mu
	h.life, h.end = context.WithCancel(context.Background())
	return h
}

// add appends commits, in the order of their revisions.
func (h *history) add(commits [][]Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range commits {
		h.commits = append(h.commits, c)
		h.records += len(c)
	}
	old := 0
	for ; h.records > remembered && old < len(h.commits)-1; old++ {
		h.records -= len(h.commits[old])
		h.after = h.commits[old][0].Revision
	}
	h.commits = slices.Delete(h.commits, 0, old)
	h.news.Broadcast()
}

// close ends all watches and waits for their ends.
func (h *history) close() {
	h.mu.Lock()
	h.end()
	h.mu.Unlock()
	h.watches.Wait()
}

// watch is Store.Watch.
func (h *history) watch(ctx context.Context, after Revision) (<-chan []Record, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.life.Err() != nil:
		return nil, fs.ErrClosed
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case after < h.after:
		return nil, ErrForgotten
	}
	out := make(chan []Record)
	h.watches.Go(func() { h.send(ctx, after, out) })
	return out, nil
}

func (h *history) send(ctx context.Context, after Revision, out chan<- []Record) {
	defer close(out)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.life, cancel)()
	defer context.AfterFunc(ctx, func() {
		h.mu.Lock() // or next might look before and wait after the broadcast
		defer h.mu.Unlock()
		h.news.Broadcast()
	})()
	for {
		commit := h.next(ctx, after)
		if commit == nil {
			return
		}
		select {
		case out <- commit:
			after = commit[0].Revision
		case <-ctx.Done():
			return
		}
	}
}

// next waits for the commit that came after that revision. It is nil when the watch is over.
func (h *history) next(ctx context.Context, after Revision) []Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ctx.Err() == nil && after >= h.after {
		i := sort.Search(len(h.commits), func(i int) bool { return h.commits[i][0].Revision > after })
		if i < len(h.commits) {
			return h.commits[i]
		}
		h.news.Wait()
	}
	return nil
}
