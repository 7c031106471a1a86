// SPDX-License-Identifier: MIT

package netstack

import (
	"sync"

	"oasis6/dataplane"
)

// mailbox hands events to the consumer in their order, without making anybody wait who holds a lock or is in a callback. What
// is in it is bounded by what can happen: a LinkChanged replaces an older one of its interface that waits.
type mailbox struct {
	out  chan dataplane.Event
	kick chan struct{}
	done chan struct{}
	wg   sync.WaitGroup

	mu    sync.Mutex
	queue []dataplane.Event
}

func newMailbox() *mailbox {
	m := &mailbox{out: make(chan dataplane.Event), kick: make(chan struct{}, 1), done: make(chan struct{})}
	m.wg.Add(1)
	go m.run()
	return m
}

func (m *mailbox) put(ev dataplane.Event) {
	m.mu.Lock()
	m.queue = append(m.drop(ev), ev)
	m.mu.Unlock()
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// drop is the queue without what ev makes superfluous.
func (m *mailbox) drop(ev dataplane.Event) []dataplane.Event {
	kept := m.queue[:0]
	for _, old := range m.queue {
		same := old == ev
		if was, ok := old.(dataplane.LinkChanged); ok {
			now, ok := ev.(dataplane.LinkChanged)
			same = ok && was.Link.Name == now.Link.Name
		}
		if !same {
			kept = append(kept, old)
		}
	}
	return kept
}

func (m *mailbox) run() {
	defer m.wg.Done()
	defer close(m.out)
	for {
		m.mu.Lock()
		queue := m.queue
		m.queue = nil
		m.mu.Unlock()
		for _, ev := range queue {
			select {
			case m.out <- ev:
			case <-m.done:
				return
			}
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-m.kick:
		case <-m.done:
			return
		}
	}
}

func (m *mailbox) close() {
	close(m.done)
	m.wg.Wait()
}
