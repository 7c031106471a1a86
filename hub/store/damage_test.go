// SPDX-License-Identifier: MIT

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

func bytesAt(b []byte) io.ReaderAt { return bytes.NewReader(b) }

// states are the last two of a file: what it held before the last transaction and after it, and how it looked.
type states struct {
	before, after           map[string]string // key: value@revision
	imageBefore, imageAfter []byte
}

func set(all []Record) map[string]string {
	m := map[string]string{}
	for _, r := range all {
		m[r.Key] = fmt.Sprintf("%s@%d", r.Value, r.Revision)
	}
	return m
}

// makeStates makes a file with records of several sizes; with many, its tree has branches.
func makeStates(t *testing.T, many int) states {
	t.Helper()
	path := newPath(t)
	f := mustOpen(t, path)
	for n := range many {
		mustCommit(t, f, fmt.Sprintf("lease/%03d", n), strings.Repeat(string(rune('a'+n%26)), 50+n%300), "count", fmt.Sprint(n))
	}
	mustCommit(t, f, "peer/a", strings.Repeat("p", 9000), "lease/001", "")
	load := func() map[string]string {
		all, _, err := f.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return set(all)
	}
	var s states
	s.before, s.imageBefore = load(), image(t, path)
	mustCommit(t, f, "lease/000", "new", "lease/new", "new", "lease/002", "", "count", "last")
	s.after, s.imageAfter = load(), image(t, path)
	mustClose(t, f)
	return s
}

// openDamaged starts on that file, which must always succeed, and checks what is there: only what was written, all of it
// if there is no damage, and the damaged file by its new name.
func (s states) openDamaged(t *testing.T, what string, b []byte) *Damage {
	t.Helper()
	path := newPath(t)
	writeImage(t, path, b)
	f, damage, err := OpenFile(t.Context(), path)
	if err != nil {
		t.Errorf("%s: OpenFile = %v", what, err)
		return damage
	}
	defer mustClose(t, f)
	all, _, err := f.Load(t.Context())
	if err != nil {
		t.Errorf("%s: Load = %v", what, err)
		return damage
	}
	got := set(all)
	lost := got[KeyLost]
	delete(got, KeyLost)
	for key, value := range got {
		if value != s.before[key] && value != s.after[key] {
			t.Errorf("%s: %s is %.40q, which was never written", what, key, value)
		}
	}
	defer func() {
		mustCommit(t, f, "next", "1")
		mustBeWhole(t, path, holds(t, f))
	}()
	if damage == nil {
		if len(b) > 0 && !same(got, s.before) && !same(got, s.after) || lost != "" {
			t.Errorf("%s: no damage, and %d records of %d", what, len(got), len(s.after))
		}
		return nil
	}
	if damage.Bad != path+".bad" || damage.Kept != len(got) || !strings.HasPrefix(lost, damage.Error()+"@") {
		t.Errorf("%s: %d records, lost: %q, damage: %v", what, len(got), lost, damage)
	}
	if !bytes.Equal(image(t, damage.Bad), b) {
		t.Errorf("%s: %s is not what was damaged", what, damage.Bad)
	}
	return damage
}

func same(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// One octet, or one page, or the end is not as it was written: the hub starts, with all that is whole.
func TestDamageAnywhere(t *testing.T) {
	for _, many := range []int{3, 100} {
		t.Run(fmt.Sprintf("%d records", many), func(t *testing.T) {
			t.Parallel()
			damageAnywhere(t, makeStates(t, many))
		})
	}
}

func damageAnywhere(t *testing.T, s states) {
	rnd := rand.New(rand.NewSource(1)) // the same damages each time
	const page = 4096
	noticed, tried, kept := 0, 0, 0
	try := func(what string, b []byte) {
		tried++
		if d := s.openDamaged(t, what, b); d != nil {
			noticed++
			kept += d.Kept
		}
	}
	for range 200 {
		b := bytes.Clone(s.imageAfter)
		// Most of what counts is at the beginning of pages.
		at := rnd.Intn(len(b)/page)*page + rnd.Intn(1+rnd.Intn(page))
		b[at] ^= 1 << rnd.Intn(8)
		try(fmt.Sprintf("octet %d", at), b)
	}
	for at := 0; at+page <= len(s.imageAfter); at += page {
		b := bytes.Clone(s.imageAfter)
		clear(b[at : at+page])
		try(fmt.Sprintf("page at %d is zero", at), b)
		copy(b[at:at+page], s.imageAfter[2*page:])
		try(fmt.Sprintf("page at %d is another", at), b)
		rnd.Read(b[at : at+page])
		try(fmt.Sprintf("page at %d is random", at), b)
		try(fmt.Sprintf("cut off at %d", at), s.imageAfter[:at])
		try(fmt.Sprintf("cut off at %d", at+1000), s.imageAfter[:at+1000])
	}
	t.Logf("%d of %d damages are noticed; %d records of %d are kept on average", noticed, tried, kept/noticed, len(s.after))
}

// What bbolt writes before it syncs may be on the disk or not when the power fails, page by page: one of the last two
// states is there, whole.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	s := makeStates(t, 100)
	const page = 4096
	var data, metas []int // pages that the last transaction has written
	for at := 0; at < len(s.imageAfter); at += page {
		old := []byte(nil)
		if at < len(s.imageBefore) {
			old = s.imageBefore[at : at+page]
		}
		if !bytes.Equal(old, s.imageAfter[at:at+page]) {
			if at < 2*page {
				metas = append(metas, at)
			} else {
				data = append(data, at)
			}
		}
	}
	if len(metas) != 1 || len(data) < 4 {
		t.Fatalf("the last transaction wrote %v and %v", metas, data)
	}
	rnd := rand.New(rand.NewSource(1))
	grow := func() []byte {
		return append(bytes.Clone(s.imageBefore), make([]byte, len(s.imageAfter)-len(s.imageBefore))...)
	}
	for n := range 200 { // the first sync has not returned
		b := grow()
		for _, at := range data {
			if rnd.Intn(2) == 0 {
				size := page
				if rnd.Intn(4) == 0 {
					size = 512 * rnd.Intn(8)
				}
				copy(b[at:at+size], s.imageAfter[at:])
			}
		}
		if d := s.openDamaged(t, fmt.Sprintf("before the first sync, %d", n), b); d != nil {
			t.Errorf("before the first sync, %d: %v", n, d)
		}
	}
	for n := range 200 { // the second sync has not returned
		b := bytes.Clone(s.imageAfter)
		torn := rnd.Intn(200)
		copy(b[metas[0]+torn:metas[0]+page], s.imageBefore[metas[0]+torn:])
		if d := s.openDamaged(t, fmt.Sprintf("before the second sync, %d", n), b); d != nil {
			t.Errorf("before the second sync, %d: %v", n, d)
		}
	}
	// The disk has lied: it has the last page but not all others. That is damage, and the state before is whole.
	for n := range 100 {
		b := bytes.Clone(s.imageAfter)
		at := data[rnd.Intn(len(data))]
		copy(b[at:at+page], grow()[at:])
		d := s.openDamaged(t, fmt.Sprintf("a disk that lies, %d", n), b)
		if d == nil || d.Kept != len(s.before) {
			t.Errorf("a disk that lies, page at %d: %v, want %d records", at, d, len(s.before))
		}
	}
}

// A page in which two records stand in the wrong order is damaged, although each record is whole.
func TestRecordsOutOfOrder(t *testing.T) {
	s := makeStates(t, 3)
	b := bytes.Clone(s.imageAfter)
	states, err := findMetas(bytesAt(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	swapped := 0
	for id := int64(2); id < int64(states[0].pages); id++ {
		p := page{uint64(id), b[id*4096:][:4096]}
		first, ok := p.element(0)
		if p.flags() != leafPage || p.count() < 2 || !ok || first.flags != 0 {
			continue
		}
		elements := p.data[pageHeader:]
		var one, two [elementSize]byte
		copy(one[:], elements)
		copy(two[:], elements[elementSize:])
		move := func(e *[elementSize]byte, by int) { // places count from the element on
			binary.NativeEndian.PutUint32(e[4:], uint32(int(binary.NativeEndian.Uint32(e[4:]))+by))
		}
		move(&one, -elementSize)
		move(&two, elementSize)
		copy(elements, two[:])
		copy(elements[elementSize:], one[:])
		swapped++
	}
	if swapped == 0 {
		t.Fatal("no page with two records")
	}
	if d := s.openDamaged(t, "two records swapped", b); d == nil || !strings.Contains(d.Error(), "is not in its order") {
		t.Errorf("two records swapped: %v", d)
	}
}

func TestFilesOfSomebodyElse(t *testing.T) {
	t.Parallel()
	other := filepath.Join(t.TempDir(), "other.db")
	db, err := bbolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("oasis6 records 2"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var s states
	for what, b := range map[string][]byte{
		"of another version": image(t, other),
		"text":               []byte("{\"version\": 1}\n"),
		"zeros":              make([]byte, 1<<16),
		"one octet":          {0},
		"ones":               bytes.Repeat([]byte{0xFF}, 1<<16),
	} {
		if d := s.openDamaged(t, what, b); d == nil || d.Kept != 0 {
			t.Errorf("%s: %v, want damage", what, d)
		}
	}
	if d := s.openDamaged(t, "an empty file", nil); d != nil {
		t.Errorf("an empty file: %v", d)
	}
}

// The second damaged file does not take the place of the first, and what is said of it is remembered until somebody
// deletes it.
func TestDamagedTwice(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	for n, bad := range []string{".bad", ".bad.1", ".bad.2"} {
		text := fmt.Sprint("damage ", n)
		writeImage(t, path, []byte(text))
		f, damage, err := OpenFile(t.Context(), path)
		if err != nil || damage == nil || damage.Bad != path+bad {
			t.Fatalf("OpenFile: %v, %v, want %s", damage, err, bad)
		}
		if got := string(image(t, path+bad)); got != text {
			t.Errorf("%s is %q, want %q", bad, got, text)
		}
		want := fmt.Sprintf("%s is damaged and now called %s%s: the first pages are cut off: 0 records are whole", path, path, bad)
		if got := damage.Error(); got != want {
			t.Errorf("damage: %s\nwant    %s", got, want)
		}
		mustClose(t, f)
		f = mustOpen(t, path)
		if got := holds(t, f); !strings.HasPrefix(got, "1: "+KeyLost+"=") {
			t.Errorf("Load after the next start: %s", got)
		}
		mustCommit(t, f, KeyLost, "")
		mustClose(t, f)
		f = mustOpen(t, path)
		if got := holds(t, f); got != "2:" {
			t.Errorf("Load after %s was deleted: %s", KeyLost, got)
		}
		mustClose(t, f)
	}
	writeImage(t, path, []byte("damage 3"))
	if all, _, err := ReadFile(t.Context(), path); len(all) > 0 || !errors.As(err, new(*Damage)) || strings.Contains(err.Error(), "called") {
		t.Errorf("ReadFile: %d records, %v", len(all), err)
	}
	if got := string(image(t, path)); got != "damage 3" {
		t.Errorf("ReadFile has changed the file to %q", got)
	}
}

// A process was killed while it put a new file in the place of the old one.
func TestLeftoversOfAReplacement(t *testing.T) {
	for what, old := range map[string]string{"of an empty file": "", "of a damaged file": "damage"} {
		path := newPath(t)
		writeImage(t, path, []byte(old))
		writeImage(t, unfinished(path), []byte("unfinished"))
		if err := os.Link(path, path+".bad"); err != nil {
			t.Fatal(err)
		}
		f, damage, err := OpenFile(t.Context(), path)
		if err != nil || (damage != nil) != (old != "") {
			t.Fatalf("%s: OpenFile: %v, %v", what, damage, err)
		}
		mustClose(t, f)
		if _, err := os.Stat(unfinished(path)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the unfinished file is still there: %v", what, err)
		}
	}
}

// The file is cut off, or its pages change, under a hub that runs: no panic, no hang, and a clear end.
func TestDamageWhileItRuns(t *testing.T) {
	t.Parallel()
	for what, spoil := range map[string]func(path string) error{
		"cut off": func(path string) error { return os.Truncate(path, 8192) },
		"zero": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt(make([]byte, 1<<16), 8192)
			return errors.Join(err, f.Close())
		},
	} {
		for _, first := range []string{"Load", "Commit"} {
			path := newPath(t)
			f := mustOpen(t, path)
			for n := range 200 {
				mustCommit(t, f, fmt.Sprint(n), strings.Repeat("x", 200))
			}
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			_, commit := Revision(0), error(nil)
			if first == "Commit" {
				_, commit = f.Commit(t.Context(), puts("1", "y"))
			}
			_, _, load := f.Load(t.Context())
			_, again := f.Commit(t.Context(), puts("1", "y"))
			for call, err := range map[string]error{"Load": load, "the last Commit": again} {
				if err == nil || !strings.Contains(err.Error(), "start oasis6 hub anew") {
					t.Errorf("%s, %s first: %s = %v", what, first, call, err)
				}
			}
			if first == "Commit" && commit == nil {
				t.Errorf("%s: Commit succeeds", what)
			}
			closed := make(chan error)
			go func() { closed <- f.Close() }()
			select {
			case err := <-closed:
				if err == nil {
					t.Errorf("%s, %s first: Close says nothing", what, first)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s, %s first: Close hangs", what, first)
			}
			f, damage, err := OpenFile(t.Context(), path)
			if err != nil || damage == nil {
				t.Fatalf("%s, %s first: the next start: %v, %v", what, first, damage, err)
			}
			mustClose(t, f)
		}
	}
}

// What we read of a file is what bbolt reads, for trees of any shape.
func TestReadsAsBboltDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		path := newPath(t)
		f := mustOpen(t, path)
		f.db.NoSync = true // the file's content is the same
		defer f.Close()
		keys := rapid.SampledFrom([]int{3, 50, 1000}).Draw(rt, "keys")
		size := rapid.SampledFrom([]int{1, 100, 2000, 20000}).Draw(rt, "size")
		for range rapid.IntRange(1, 10).Draw(rt, "commits") {
			changes := map[string]string{}
			for range rapid.IntRange(1, keys).Draw(rt, "changes") {
				value := ""
				if rapid.IntRange(0, 2).Draw(rt, "delete") > 0 {
					value = strings.Repeat("v", rapid.IntRange(1, size).Draw(rt, "size"))
				}
				changes[strings.Repeat("k", 1+rapid.IntRange(0, 40).Draw(rt, "long"))+fmt.Sprint(rapid.IntRange(0, keys).Draw(rt, "key"))] = value
			}
			var kv []string
			for k, v := range changes {
				kv = append(kv, k, v)
			}
			mustCommit(t, f, kv...)
			mustBeWhole(t, path, holds(t, f))
		}
		if err := f.db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				return err
			}
			return nil
		}); err != nil {
			rt.Fatalf("bbolt says: %v", err)
		}
	})
}

// mendMetas gives the first two pages of 4096 octets the right checksum, so that what they lead to is read.
func mendMetas(b []byte) {
	for at := pageHeader; at+metaSize <= len(b) && at < 8192; at += 4096 {
		m := b[at:][:metaSize]
		sum := fnv.New64a()
		_, _ = sum.Write(m[:metaSize-8]) // never fails
		binary.NativeEndian.PutUint64(m[metaSize-8:], sum.Sum64())
	}
}

// FuzzReadTree: whatever is in the file, reading it ends, and bbolt gets along with what is said to be whole.
func FuzzReadTree(f *testing.F) {
	path := newPath(f)
	s := mustOpen(f, path)
	f.Add(image(f, path)[:5*4096])
	for n := range 20 {
		mustCommit(f, s, fmt.Sprintf("lease/%02d", n), strings.Repeat("x", 100*n))
	}
	f.Add(image(f, path))
	mustClose(f, s)
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, b []byte) {
		mendMetas(b)
		c := readTree(bytesAt(b), int64(len(b)))
		if len(c.all)*recordHeader > len(b) || c.used > int64(len(b)) && c.damage == nil {
			t.Fatalf("%d records, %d octets in use, of %d octets", len(c.all), c.used, len(b))
		}
		if c.damage != nil || len(b) == 0 {
			return
		}
		path := newPath(t)
		writeImage(t, path, b)
		f := mustOpen(t, path)
		if got, want := holds(t, f), describe(c.all, c.revision); got != want {
			t.Errorf("bbolt reads %s, want %s", got, want)
		}
		mustCommit(t, f, "a", "1")
		mustClose(t, f)
	})
}
