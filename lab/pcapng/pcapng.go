// SPDX-License-Identifier: MIT

// Package pcapng writes captures that Wireshark opens (draft-ietf-opsawg-pcapng): one section with
// interfaces, packets with comments and times in nanoseconds, and the keys of WireGuard sessions,
// with which Wireshark shows what their packets carry.
//
// It writes only, in one go, and keeps nothing: what a frame holds is not its business. Files are
// little-endian on every machine, so the same capture is the same file. Start at NewWriter.
package pcapng

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"oasis6/internal/wgkey"
)

// LinkType says how the frames of an interface begin.
type LinkType uint16

// From the registry of link types that pcapng shares with pcap.
const (
	Ethernet LinkType = 1
	RawIP    LinkType = 101 // an IPv4 or IPv6 header comes first, as in a tunnel
)

// Block types of the draft.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6 // Enhanced Packet Block
	blockSecrets   = 10

	byteOrderMagic = 0x1a2b3c4d
	wireguardKeys  = 0x57474b4c // secrets type: WireGuard Key Log
)

// Option codes of the draft; those from 2 on mean something else in each kind of block.
const (
	optEnd         = 0
	optComment     = 1
	optApplication = 4 // Section Header
	optName        = 2 // Interface Description
	optDescription = 3
	optResolution  = 9
	nanoseconds    = 9 // of optResolution: 10^-9 s
)

// maxText bounds a name or comment: its length is 16 bits wide. Nobody reads so much beside a packet.
const maxText = 8192

// SnapLen is what the interfaces claim to cut packets at: more than any of ours.
const SnapLen = 262144

// Interface is one wire in a capture.
type Interface struct {
	Name        string
	Description string // optional
	Link        LinkType
}

// Packet is one frame on a wire.
type Packet struct {
	Interface int // as AddInterface gave it
	// At is when, as a wall clock would show it; before 1970 counts as 1970.
	At   time.Time
	Data []byte
	// Comments stand beside the packet: what was decided about it, and why.
	Comments []string
}

// Secrets are the keys of one WireGuard handshake, of the end that began it. With them the handshake and all that was
// sent under it can be read.
type Secrets struct {
	Static    wgkey.Private // of the initiator
	Remote    wgkey.Public  // of the responder
	Ephemeral wgkey.Private // of the initiator, made for this handshake
	Preshared wgkey.Preshared
}

// Writer writes one capture. The first error stays: what is written after it is lost.
type Writer struct {
	w          io.Writer
	interfaces int
	err        error
}

// NewWriter begins the file. Application is the program that made it and comment what it shows; both may be empty.
func NewWriter(w io.Writer, application, comment string) (*Writer, error) {
	p := &Writer{w: w}
	b := binary.LittleEndian.AppendUint32(nil, byteOrderMagic)
	b = append(b, 1, 0, 0, 0)                               // version 1.0
	b = binary.LittleEndian.AppendUint64(b, ^uint64(0))     // length of the section: not said
	b = appendOption(b, optApplication, clean(application)) // what is empty is left out
	b = appendOption(b, optComment, clean(comment))
	return p, p.block(blockSection, endOptions(b))
}

// AddInterface describes a wire and gives its number. It comes before the wire's first packet; more can be added later.
func (p *Writer) AddInterface(i Interface) (int, error) {
	b := binary.LittleEndian.AppendUint16(nil, uint16(i.Link))
	b = append(b, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, SnapLen)
	b = appendOption(b, optName, clean(i.Name))
	b = appendOption(b, optDescription, clean(i.Description))
	b = appendOption(b, optResolution, []byte{nanoseconds})
	p.interfaces++
	return p.interfaces - 1, p.block(blockInterface, endOptions(b))
}

// ErrInterface says that a packet names an interface that was not added.
var ErrInterface = errors.New("pcapng: packet on an interface that is not in the file: call AddInterface first")

// WritePacket adds a frame.
func (p *Writer) WritePacket(k Packet) error {
	if k.Interface < 0 || k.Interface >= p.interfaces {
		return fmt.Errorf("%w (%d of %d)", ErrInterface, k.Interface, p.interfaces)
	}
	at := uint64(max(k.At.UnixNano(), 0))
	b := make([]byte, 0, 20+len(k.Data)+8)
	b = binary.LittleEndian.AppendUint32(b, uint32(k.Interface))
	b = binary.LittleEndian.AppendUint32(b, uint32(at>>32))
	b = binary.LittleEndian.AppendUint32(b, uint32(at))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(k.Data))) // captured
	b = binary.LittleEndian.AppendUint32(b, uint32(len(k.Data))) // on the wire
	b = pad(append(b, k.Data...))
	for _, c := range k.Comments {
		b = appendOption(b, optComment, clean(c))
	}
	return p.block(blockPacket, endOptions(b))
}

// WriteSecrets adds keys in the format of Wireshark's wg.keylog_file. It comes before the packets that the keys open: Wireshark
// decrypts while it reads.
func (p *Writer) WriteSecrets(keys []Secrets) error {
	if len(keys) == 0 {
		return p.err
	}
	var text strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&text, "LOCAL_STATIC_PRIVATE_KEY = %s\nREMOTE_STATIC_PUBLIC_KEY = %s\nLOCAL_EPHEMERAL_PRIVATE_KEY = %s\n", k.Static.Reveal(), k.Remote, k.Ephemeral.Reveal())
		if !k.Preshared.IsZero() {
			fmt.Fprintf(&text, "PRESHARED_KEY = %s\n", k.Preshared.Reveal())
		}
	}
	b := binary.LittleEndian.AppendUint32(nil, wireguardKeys)
	b = binary.LittleEndian.AppendUint32(b, uint32(text.Len()))
	return p.block(blockSecrets, pad(append(b, text.String()...)))
}

// block writes one block.
func (p *Writer) block(typ uint32, b []byte) error {
	if p.err != nil {
		return p.err
	}
	n := uint32(12 + len(b))
	out := make([]byte, 0, n)
	out = binary.LittleEndian.AppendUint32(out, typ)
	out = binary.LittleEndian.AppendUint32(out, n)
	out = append(out, b...)
	out = binary.LittleEndian.AppendUint32(out, n)
	if _, err := p.w.Write(out); err != nil {
		p.err = fmt.Errorf("pcapng: %w", err)
	}
	return p.err
}

// appendOption adds an option, or nothing if it is empty.
func appendOption(b []byte, code uint16, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
	return pad(append(b, v...))
}

// endOptions marks the end of a list of options, which may be empty.
func endOptions(b []byte) []byte { return append(b, optEnd, 0, 0, 0) }

// pad fills up to a multiple of four octets: all parts of a block before b are.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// clean is text as the draft wants it: UTF-8, not ended by NUL, and of a length that fits.
func clean(s string) []byte {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "?")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return []byte(s)
}
