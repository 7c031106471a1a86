// SPDX-License-Identifier: MIT

package store

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a Store that lasts as long as the process. What is lazy is done at once.
type Memory struct {
	mu       sync.Mutex
	records  map[string]Record
	revision Revision
	refusal  error // of all commits; nil: none
	closed   bool
	history  *history
}

// NewMemory is an empty one.
func NewMemory() *Memory {
	return &Memory{records: map[string]Record{}, history: newHistory(0)}
}

// Refuse makes all commits fail with err from now on, as a full disk does; nil ends that.
func (m *Memory) Refuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusal = err
}

// Load implements Store.
func (m *Memory) Load(ctx context.Context) ([]Record, Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return nil, 0, err
	}
	all := slices.SortedFunc(maps.Values(m.records), func(a, b Record) int { return strings.Compare(a.Key, b.Key) })
	for i := range all {
		all[i].Value = bytes.Clone(all[i].Value)
	}
	return all, m.revision, nil
}

func (m *Memory) usable(ctx context.Context) error {
	if m.closed {
		return fs.ErrClosed
	}
	return ctx.Err()
}

// Commit implements Store.
func (m *Memory) Commit(ctx context.Context, changes []Change) (Revision, error) {
	if err := valid(changes); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.usable(ctx)
	if err == nil {
		err = conflict(changes, func(key string) (Revision, error) { return m.records[key].Revision, nil })
	}
	if err == nil && len(changes) > 0 {
		err = m.refusal
	}
	if err != nil {
		return 0, err
	}
	m.do(changes)
	return m.revision, nil
}

func (m *Memory) do(changes []Change) {
	var done []Record
	for _, c := range changes {
		if _, there := m.records[c.Key]; !there && c.Value == nil {
			continue
		}
		r := Record{Key: c.Key, Revision: m.revision + 1}
		if c.Value == nil {
			delete(m.records, c.Key)
		} else {
			r.Value = bytes.Clone(c.Value)
			m.records[c.Key] = r
		}
		done = append(done, r)
	}
	if len(done) > 0 {
		m.revision++
		m.history.add([][]Record{done})
	}
}

// CommitLazy implements Store.
func (m *Memory) CommitLazy(changes []Change) error {
	if err := validLazy(changes); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return fs.ErrClosed
	case m.refusal == nil:
		m.do(changes)
	}
	return nil
}

// Watch implements Store.
func (m *Memory) Watch(ctx context.Context, after Revision) (<-chan []Record, error) {
	return m.history.watch(ctx, after)
}

// Close implements Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	again := m.closed
	m.closed = true
	m.mu.Unlock()
	m.history.close()
	if again {
		return fs.ErrClosed
	}
	return nil
}
