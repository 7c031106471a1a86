// SPDX-License-Identifier: MIT

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strings"
)

// bbolt believes its file: pages that are not as it wrote them make it panic in goroutines of its own, run in circles or
// read what is not there, and none of that can be caught. So each file is read here first, and bbolt sees those alone in
// which every page is what it must be.
//
// The format (version 2, of 2013): pages of one size, in the byte order of the machine. Pages 0 and 1 are the last two
// states, each with a checksum; of the one with the higher transaction number the root bucket's tree and the list of free
// pages lead to all others. A page is an id, flags, a count, the number of pages that follow as part of it, and then
// elements with the places of their keys and values.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader  = 8 + 2 + 2 + 4
	metaSize    = 64
	elementSize = 16
	bucketSize  = 16 // a bucket's value: root page (0: a page follows), sequence

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01 // of an element of a leaf

	minPage, maxPage = 1 << 10, 1 << 24
	maxDepth         = 32 // a tree of pages with two elements each would hold 2^32
)

// content is what a file holds.
type content struct {
	all      []Record // sorted by key
	revision Revision
	sum      uint64 // of the records' weights
	damage   error  // of the file's last state; nil: it is whole
	used     int64  // octets of pages that are in use
}

// Smaller files are not worth compacting, nor are those of which a quarter is in use: they grow into it again.
const (
	compactFrom  = 1 << 20
	compactBelow = 4
)

func (c *content) wasteful(size int64) bool { return size >= compactFrom && size/compactBelow > c.used }

// put adds a record in its place, or in that of one with its key.
func (c *content) put(r Record) {
	i, there := slices.BinarySearchFunc(c.all, r.Key, func(r Record, key string) int { return strings.Compare(r.Key, key) })
	if there {
		c.all[i] = r
		return
	}
	c.all = slices.Insert(c.all, i, r)
}

// readTree reads the last state of the file. If that is damaged the records are those of the state before, should it be
// whole (a disk that lies about what it has written leaves it so), else what is whole of either.
func readTree(file io.ReaderAt, size int64) content {
	states, err := findMetas(file, size)
	if err != nil {
		return content{damage: err}
	}
	best := readState(file, size, states[0])
	if best.damage == nil || len(states) == 1 {
		return best
	}
	before := readState(file, size, states[1])
	if before.damage == nil || len(before.all) > len(best.all) {
		before.damage, before.revision = best.damage, max(before.revision, best.revision)
		return before
	}
	return best
}

// meta is one of the two states.
type meta struct {
	pageSize         int64
	root, free, txid uint64
	pages            uint64 // in use or free; all ids are below
}

func parseMeta(page []byte) (m meta, err error) {
	if len(page) < pageHeader+metaSize {
		return m, errors.New("the first pages are cut off")
	}
	b := page[pageHeader:][:metaSize]
	e := binary.NativeEndian
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8]) // never fails
	m = meta{int64(e.Uint32(b[8:])), e.Uint64(b[16:]), e.Uint64(b[32:]), e.Uint64(b[48:]), e.Uint64(b[40:])}
	switch {
	case e.Uint32(b) != boltMagic || e.Uint32(b[4:]) != boltVersion:
		return m, errors.New("the first pages are not those of bbolt on a machine like this")
	case e.Uint64(b[metaSize-8:]) != sum.Sum64():
		return m, errors.New("the first pages have a wrong checksum")
	case m.pageSize < minPage || m.pageSize > maxPage || m.pageSize&(m.pageSize-1) != 0:
		return m, fmt.Errorf("pages of %d octets", m.pageSize)
	}
	return m, nil
}

// findMetas is one or two states, the newer one first. Where the second is follows from the size of a page, which stands
// in both.
func findMetas(file io.ReaderAt, size int64) ([]meta, error) {
	at := func(offset int64) (meta, error) {
		b := make([]byte, pageHeader+metaSize)
		n, _ := file.ReadAt(b, offset) // what is not there is missed by parseMeta
		return parseMeta(b[:n])
	}
	var states []meta
	first, err := at(0)
	if err == nil {
		states = append(states, first)
	}
	for p := int64(minPage); p <= maxPage && p < size; p *= 2 {
		if m, err := at(p); err == nil && m.pageSize == p && (len(states) == 0 || first.pageSize == p) {
			states = append(states, m)
			break
		}
	}
	if len(states) == 0 {
		return nil, err
	}
	slices.SortFunc(states, func(a, b meta) int {
		if a.txid > b.txid {
			return -1
		}
		return 1
	})
	return states, nil
}

// tree is one state as it is read.
type tree struct {
	file io.ReaderAt
	meta
	seen map[uint64]bool
	content
}

func readState(file io.ReaderAt, size int64, m meta) content {
	t := &tree{file: file, meta: m, seen: map[uint64]bool{}}
	if have := size / m.pageSize; m.pages > uint64(have) {
		t.bad(fmt.Errorf("%d of %d pages are there", have, m.pages))
		t.pages = uint64(have)
	}
	buckets := map[string]uint64{} // name: sequence
	t.walk(m.root, bounds{}, 0, func(e element) {
		if e.flags != bucketFlag || len(e.value) < bucketSize {
			t.bad(fmt.Errorf("%.40q is not a bucket", e.key))
			return
		}
		buckets[string(e.key)] = binary.NativeEndian.Uint64(e.value[8:])
		if string(e.key) == recordBucket {
			t.records(e.value)
		}
	})
	_, found := buckets[recordBucket]
	sum, summed := buckets[sumBucket]
	switch {
	case !found || !summed || len(buckets) != 2:
		t.bad(errors.New("it does not hold what this version of oasis6 writes"))
	case sum != t.sum:
		t.bad(fmt.Errorf("its %d records are not those that were written", len(t.all)))
	}
	t.used = int64(len(t.seen)+2) * m.pageSize
	t.freelist()
	return t.content
}

// bad notes why the state is not whole; the first reason counts.
func (t *tree) bad(err error) {
	if t.damage == nil {
		t.damage = err
	}
}

// records reads the bucket that has them.
func (t *tree) records(value []byte) {
	root := binary.NativeEndian.Uint64(value)
	t.revision = Revision(binary.NativeEndian.Uint64(value[8:]))
	sequence := t.revision
	each := func(e element) {
		r, err := decodeRecord(e.key, e.value)
		switch {
		case err != nil || e.flags != 0:
			t.bad(fmt.Errorf("%.80q: %w", e.key, errDamagedRecord))
			return
		case r.Revision > sequence:
			t.bad(fmt.Errorf("%.80q is of revision %d, the last one is %d", e.key, r.Revision, sequence))
		}
		r.Value = bytes.Clone(r.Value)
		t.all = append(t.all, r)
		t.sum += weight(e.value)
		t.revision = max(t.revision, r.Revision)
	}
	if root != 0 {
		t.walk(root, bounds{}, 0, each)
	} else {
		t.elements(page{0, value[bucketSize:]}, bounds{}, 0, each)
	}
}
