// SPDX-License-Identifier: MIT

package pcapng

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/lab/pcapng/pcapngtest"
)

var (
	a  = netip.MustParseAddr("2001:db8::a")
	b  = netip.MustParseAddr("2001:db8::b")
	at = time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)
)

func echo(seq uint16) []byte { return ip6pkt.EchoRequest(a, b, 64, 1, seq) }

func ethernet(p []byte) []byte {
	return slices.Concat([]byte{0, 0, 0x5e, 0, 0x53, 1, 0, 0, 0x5e, 0, 0x53, 2, 0x86, 0xdd}, p)
}

func TestWiresharkReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	var f bytes.Buffer
	w, err := NewWriter(&f, "oasis6", "a test")
	check(t, err)
	lan, err := w.AddInterface(Interface{Name: "lan", Description: "between host and box", Link: Ethernet})
	check(t, err)
	tunnel, err := w.AddInterface(Interface{Name: "tunnel", Link: RawIP})
	check(t, err)
	check(t, w.WritePacket(Packet{Interface: lan, At: at, Data: ethernet(echo(1)), Comments: []string{"Route ::/0 → tunnel", "hop limit 64 → 63"}}))
	check(t, w.WritePacket(Packet{Interface: tunnel, At: at.Add(1), Data: echo(2)}))
	check(t, w.WritePacket(Packet{Interface: lan, At: time.Unix(-5, 0), Data: ethernet(append(echo(3), 0))}))
	got := pcapngtest.Fields(t, f.Bytes(), "frame.interface_name", "frame.time_epoch", "frame.len", "frame.comment", "icmpv6.echo.sequence_number", "frame.encap_type")
	want := []string{
		"lan|1795435200.123456789|62|Route ::/0 → tunnel,hop limit 64 → 63|1|1",
		"tunnel|1795435200.123456790|48||2|7",
		"lan|0.000000000|63||3|1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("tshark reads\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The octets, by the draft's figures.
func TestOctets(t *testing.T) {
	var f bytes.Buffer
	w, err := NewWriter(&f, "o6", "")
	check(t, err)
	_, err = w.AddInterface(Interface{Name: "w", Link: Ethernet})
	check(t, err)
	check(t, w.WriteSecrets([]Secrets{{Static: wgkey.Private{1}, Remote: wgkey.Public{2}, Ephemeral: wgkey.Private{3}, Preshared: wgkey.Preshared{4}}}))
	check(t, w.WritePacket(Packet{At: time.Unix(0, 1<<32+5), Data: []byte{1, 2, 3, 4, 5}, Comments: []string{"hi"}}))
	keys := "LOCAL_STATIC_PRIVATE_KEY = AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nREMOTE_STATIC_PUBLIC_KEY = AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" +
		"LOCAL_EPHEMERAL_PRIVATE_KEY = AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nPRESHARED_KEY = BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	want := unhex(t, `0a0d0d0a 28000000 4d3c2b1a 0100 0000 ffffffffffffffff 0400 0200 6f36 0000 0000 0000 28000000
		01000000 28000000 0100 0000 00000400 0200 0100 77 000000 0900 0100 09 000000 0000 0000 28000000`)
	want = append(want, unhex(t, "0a000000 2c010000 4c4b4757 18010000"+hex.EncodeToString([]byte(keys))+"2c010000")...)
	want = append(want, unhex(t, "06000000 34000000 00000000 01000000 05000000 05000000 05000000 0102030405 000000 0100 0200 6869 0000 0000 0000 34000000")...)
	if !bytes.Equal(f.Bytes(), want) {
		t.Errorf("\n%x, want\n%x", f.Bytes(), want)
	}
}

// Each block has its length at both ends, a multiple of four, whatever is in it.
func FuzzBlocks(f *testing.F) {
	f.Add("lan", "comment", []byte{1, 2, 3}, int64(5), 1)
	f.Add("", "\x00\xff", []byte{}, int64(-1), 0)
	f.Fuzz(func(t *testing.T, name, comment string, data []byte, ns int64, on int) {
		var out bytes.Buffer
		w, err := NewWriter(&out, name, comment)
		check(t, err)
		_, err = w.AddInterface(Interface{Name: name, Description: comment, Link: RawIP})
		check(t, err)
		err = w.WritePacket(Packet{Interface: on, At: time.Unix(0, ns), Data: data, Comments: []string{comment, name}})
		if on == 0 && err != nil || on != 0 && !errors.Is(err, ErrInterface) {
			t.Fatal(on, err)
		}
		check(t, w.WriteSecrets([]Secrets{{}}))
		blocks := 0
		for b := out.Bytes(); len(b) > 0; blocks++ {
			if len(b) < 12 {
				t.Fatalf("%d octets are left", len(b))
			}
			n := binary.LittleEndian.Uint32(b[4:])
			if n%4 != 0 || uint64(n) > uint64(len(b)) || binary.LittleEndian.Uint32(b[n-4:]) != n {
				t.Fatalf("block %d of length %d", blocks, n)
			}
			b = b[n:]
		}
		if want := 4 - min(1, max(on, -on)); blocks != want {
			t.Fatalf("%d blocks, want %d", blocks, want)
		}
	})
}

func TestErrors(t *testing.T) {
	w, err := NewWriter(failing{}, "", "")
	if err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Fatalf("NewWriter: %v", err)
	}
	if _, err := w.AddInterface(Interface{}); err == nil {
		t.Error("the first error is forgotten")
	}
	if err := w.WriteSecrets(nil); err == nil {
		t.Error("no secrets hide the error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
