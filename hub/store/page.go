// SPDX-License-Identifier: MIT

package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// page is one page with those that follow as part of it. An inline one, in a bucket's value, has the id 0.
type page struct {
	id   uint64
	data []byte
}

func (p page) flags() uint16 { return binary.NativeEndian.Uint16(p.data[8:]) }
func (p page) count() int    { return int(binary.NativeEndian.Uint16(p.data[10:])) }

func (p page) wrong(format string, args ...any) error {
	return fmt.Errorf("page %d: %w", p.id, fmt.Errorf(format, args...))
}

// read reads a page that nothing else leads to.
func (t *tree) read(id uint64) (page, error) {
	p := page{id, make([]byte, t.pageSize)}
	if id < 2 || id >= t.pages {
		return p, p.wrong("not one of 2 to %d", t.pages)
	}
	if _, err := t.file.ReadAt(p.data, int64(id)*t.pageSize); err != nil {
		return p, p.wrong("%w", err)
	}
	if got := binary.NativeEndian.Uint64(p.data); got != id {
		return p, p.wrong("it says that it is %d", got)
	}
	more := uint64(binary.NativeEndian.Uint32(p.data[12:]))
	if more >= t.pages-id {
		return p, p.wrong("it and the %d that follow are more than there are", more)
	}
	for n := id; n <= id+more; n++ {
		if t.seen[n] {
			return p, p.wrong("%d is in use twice", n)
		}
		t.seen[n] = true
	}
	if more > 0 {
		p.data = make([]byte, int64(more+1)*t.pageSize)
		if _, err := t.file.ReadAt(p.data, int64(id)*t.pageSize); err != nil {
			return p, p.wrong("%w", err)
		}
	}
	return p, nil
}

// element is one of a page, and lies in it. Of a branch, child is the page that it leads to.
type element struct {
	flags      uint32
	key, value []byte
	child      uint64
}

// element is the i-th one, which must lie within the page.
func (p page) element(i int) (e element, ok bool) {
	at := pageHeader + i*elementSize
	if at+elementSize > len(p.data) {
		return e, false
	}
	b, order := p.data[at:], binary.NativeEndian
	var pos, keySize, valueSize uint64
	if p.flags() == branchPage {
		pos, keySize, e.child = uint64(order.Uint32(b)), uint64(order.Uint32(b[4:])), order.Uint64(b[8:])
	} else {
		e.flags = order.Uint32(b)
		pos, keySize, valueSize = uint64(order.Uint32(b[4:])), uint64(order.Uint32(b[8:])), uint64(order.Uint32(b[12:]))
	}
	if pos+keySize+valueSize > uint64(len(b)) {
		return e, false
	}
	e.key, e.value = b[pos:][:keySize], b[pos+keySize:][:valueSize]
	return e, true
}

// bounds are those of the keys below a branch: from low on, and below high, if that is not nil.
type bounds struct{ low, high []byte }

func (in bounds) hold(key []byte) bool {
	return bytes.Compare(in.low, key) <= 0 && (in.high == nil || bytes.Compare(key, in.high) < 0)
}

// walk calls each for the elements of all leaves from that page on, in order. What is damaged is left out.
func (t *tree) walk(id uint64, in bounds, depth int, each func(element)) {
	p, err := t.read(id)
	switch {
	case err != nil:
		t.bad(err)
	case p.flags() != branchPage && p.flags() != leafPage:
		t.bad(p.wrong("neither branch nor leaf"))
	case depth > maxDepth:
		t.bad(p.wrong("too deep"))
	default:
		t.elements(p, in, depth, each)
	}
}

func (t *tree) elements(p page, in bounds, depth int, each func(element)) {
	if len(p.data) < pageHeader || p.id == 0 && p.flags() != leafPage || p.flags() == branchPage && p.count() == 0 {
		t.bad(p.wrong("not a page of a tree"))
		return
	}
	all := make([]element, p.count())
	for i := range all {
		var ok bool
		if all[i], ok = p.element(i); !ok {
			t.bad(p.wrong("element %d is beyond it", i))
			all = all[:i]
			break
		}
	}
	for i, e := range all {
		if i > 0 && bytes.Compare(all[i-1].key, e.key) >= 0 || !in.hold(e.key) {
			t.bad(p.wrong("%.80q is not in its order", e.key))
			continue
		}
		if p.flags() == leafPage {
			each(e)
			continue
		}
		below := bounds{e.key, in.high}
		if i+1 < len(all) {
			below.high = all[i+1].key
		}
		t.walk(e.child, below, depth+1, each)
	}
}

// freelist looks at the list of free pages: bbolt would write over what is in it.
func (t *tree) freelist() {
	p, err := t.read(t.free)
	if err == nil && p.flags() != freelistPage {
		err = p.wrong("not a list of free pages")
	}
	if err != nil {
		t.bad(err)
		return
	}
	ids, n := p.data[pageHeader:], uint64(p.count())
	if n == 0xFFFF {
		n, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		t.bad(p.wrong("%d free pages are more than it can list", n))
		return
	}
	for ; n > 0; n, ids = n-1, ids[8:] {
		id := binary.NativeEndian.Uint64(ids)
		if id < 2 || id >= t.pages || t.seen[id] {
			t.bad(p.wrong("page %d is in use or not there, and not free", id))
			return
		}
		t.seen[id] = true
	}
}
