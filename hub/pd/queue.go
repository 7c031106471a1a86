// SPDX-License-Identifier: MIT

package pd

import "container/heap"

// place is where something stands in a queue: its key, and its index plus one; 0 is nowhere.
type place struct {
	key int64
	at  int
}

// queue is a heap of what has a place, by key; what is in it can be taken out in the middle. Something is in one queue
// at most.
type queue[T interface{ where() *place }] struct{ items heaped[T] }

type heaped[T interface{ where() *place }] []T

func (h heaped[T]) Len() int           { return len(h) }
func (h heaped[T]) Less(i, j int) bool { return h[i].where().key < h[j].where().key }
func (h heaped[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].where().at, h[j].where().at = i+1, j+1
}

func (h *heaped[T]) Push(x any) {
	v := x.(T)
	v.where().at = len(*h) + 1
	*h = append(*h, v)
}

func (h *heaped[T]) Pop() any {
	last := len(*h) - 1
	v := (*h)[last]
	var none T
	(*h)[last] = none
	*h = (*h)[:last]
	v.where().at = 0
	return v
}

// set puts x in at a key, or moves it there.
func (q *queue[T]) set(x T, key int64) {
	p := x.where()
	p.key = key
	if p.at == 0 {
		heap.Push(&q.items, x)
		return
	}
	heap.Fix(&q.items, p.at-1)
}

// remove takes x out if it is in.
func (q *queue[T]) remove(x T) {
	if p := x.where(); p.at > 0 {
		heap.Remove(&q.items, p.at-1)
	}
}

// first is what has the least key.
func (q *queue[T]) first() (x T, ok bool) {
	if len(q.items) == 0 {
		return x, false
	}
	return q.items[0], true
}
