// SPDX-License-Identifier: MIT

package packet

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"oasis6/internal/lifetime"
)

// reader takes fields off the octets of one layer. After the first octet that is missing it gives
// zeros and adds no more fields, so that what was read before stands.
type reader struct {
	b      []byte
	at     int
	short  bool
	broken bool // something was missing, here or deeper
	fields []Field
	depth  int
}

func (o *reader) add(name, value, rfc, note string) {
	if !o.short {
		o.fields = append(o.fields, Field{Name: name, Value: value, RFC: rfc, Note: note, Depth: o.depth})
	}
}

// take gives the next n octets, or n zeros.
func (o *reader) take(n int) []byte {
	if o.short || n < 0 || n > len(o.b)-o.at {
		o.short = true
		return make([]byte, max(n, 0))
	}
	o.at += n
	return o.b[o.at-n : o.at]
}

// left is how many octets there are to read: none once some were missing, so that loops over them end.
func (o *reader) left() int {
	if o.short {
		return 0
	}
	return len(o.b) - o.at
}

func (o *reader) rest() []byte     { return o.take(o.left()) }
func (o *reader) u8() uint8        { return o.take(1)[0] }
func (o *reader) u16() uint16      { return be16(o.take(2)) }
func (o *reader) u32() uint32      { return be32(o.take(4)) }
func (o *reader) addr() netip.Addr { return netip.AddrFrom16([16]byte(o.take(16))) }

// within runs f on b one level deeper; the fields go to the same list. Where b was not enough, that is said there.
func (o *reader) within(b []byte, f func(o *reader)) {
	in := reader{b: b, fields: o.fields, depth: o.depth + 1, short: o.short}
	f(&in)
	in.end()
	o.fields, o.broken = in.fields, o.broken || in.broken
}

// end says where octets were missing.
func (o *reader) end() {
	if o.short {
		o.short, o.broken = false, true
		o.add("Cut short", "after "+plural(o.at, "octet"), "", "what follows is missing or makes no sense")
	}
}

// seconds is a lifetime as on the wire, then as people say it.
func seconds(s uint32) string {
	if s == lifetime.Infinity {
		return "infinity"
	}
	plain := strconv.FormatUint(uint64(s), 10) + " s"
	if s < 120 {
		return plain
	}
	return plain + " (" + duration(s) + ")"
}

// duration is s in at most two units.
func duration(s uint32) string {
	units := []struct {
		name string
		size uint32
	}{{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}}
	var words []string
	for _, u := range units {
		if n := s / u.size; n > 0 && len(words) < 2 {
			words = append(words, strconv.FormatUint(uint64(n), 10)+" "+u.name)
		}
		s %= u.size
	}
	return strings.Join(words, " ")
}

// brief is duration for a summary: also for none and without end.
func brief(s uint32) string {
	switch s {
	case 0:
		return "0 s"
	case lifetime.Infinity:
		return "infinity"
	}
	return duration(s)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func mac(b []byte) string {
	var s strings.Builder
	for i, x := range b {
		if i > 0 {
			s.WriteByte(':')
		}
		s.WriteString(hex.EncodeToString([]byte{x}))
	}
	return s.String()
}

func hexText(b []byte) string { return hex.EncodeToString(b) }

// printable makes octets of the network fit for a page: nothing invisible, nothing that moves text about.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, string(b))
}

// printableNote shows octets as text where they are text.
func printableNote(b []byte) string {
	b = b[:min(len(b), 64)]
	for _, x := range b {
		if x != '\r' && x != '\n' && x != '\t' && (x < ' ' || x > '~') {
			return ""
		}
	}
	if len(b) == 0 {
		return ""
	}
	return "as text: " + strconv.Quote(string(b))
}

// flags lists the names of the bits that are set; one of length 1 stands for its letter.
func flags(v uint, names []flag) string {
	var set []string
	for _, f := range names {
		if v&f.bit != 0 {
			set = append(set, f.name)
		}
	}
	if len(set) == 0 {
		return "none"
	}
	return strings.Join(set, " ")
}

type flag struct {
	bit  uint
	name string
}

// yes is a flag as a value.
func yes(set uint8) string {
	if set != 0 {
		return "1"
	}
	return "0"
}

// choose is a note that hangs on a flag.
func choose(set uint8, yes, no string) string {
	if set != 0 {
		return yes
	}
	return no
}

// known is the name of a number with the number.
func known(n int, name string) string {
	if name == "" {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d (%s)", n, name)
}
