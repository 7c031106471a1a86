// SPDX-License-Identifier: MIT

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/internal/netlab"
)

// What goes through the box in bulk, super-packets on the way, arrives as it was sent.
func TestBulk(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	t.Run("TCP up", func(t *testing.T) { b.bulkTCP(t, b.H1, b.WWW, netip.MustParseAddr(netlab.WWWv6)) })
	t.Run("TCP down", func(t *testing.T) { b.bulkDown(t) })
	t.Run("UDP up", func(t *testing.T) { b.bulkUDP(t, b.H1, b.WWW, netip.MustParseAddr(netlab.WWWv6)) })
}

// bulkOctets is some hundred super-packets.
const bulkOctets = 16 << 20

func pattern(n int) []byte {
	out := make([]byte, n)
	for i := 0; i+4 <= n; i += 4 {
		binary.BigEndian.PutUint32(out[i:], uint32(i)*2654435761)
	}
	return out
}

// bulkTCP sends from one node to another, which answers with the hash of what it got.
func (b *box) bulkTCP(t *testing.T, from, to *netlab.Node, addr netip.Addr) {
	ln, err := to.Listen("tcp6", "[::]:6001")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		h := sha256.New()
		_, _ = io.CopyN(h, conn, bulkOctets) // what is missing shows in the hash
		_, _ = conn.Write(h.Sum(nil))
	}()
	conn := b.dial(t, from, netip.AddrPortFrom(addr, 6001))
	data := pattern(bulkOctets)
	if _, err := conn.Write(data); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(data); !bytes.Equal(got, want[:]) {
		t.Errorf("%d octets did not arrive as they were", bulkOctets)
	}
}

// bulkDown lets www send; the connection is the host's, as the firewall wants it.
func (b *box) bulkDown(t *testing.T) {
	ln, err := b.WWW.Listen("tcp6", "[::]:6002")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	data := pattern(bulkOctets)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write(data) // what is missing shows at the other end
	}()
	conn := b.dial(t, b.H1, netip.AddrPortFrom(netip.MustParseAddr(netlab.WWWv6), 6002))
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d octets of %d, %v: not what was sent", len(got), len(data), err)
	}
}

func (b *box) dial(t *testing.T, from *netlab.Node, to netip.AddrPort) net.Conn {
	t.Helper()
	var conn net.Conn
	if err := from.Do(func() (err error) { conn, err = net.DialTimeout("tcp6", to.String(), soon); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * enough)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// bulkUDP sends messages ten at a time, as one super-packet of the sender's kernel, and gets each back.
func (b *box) bulkUDP(t *testing.T, from, to *netlab.Node, addr netip.Addr) {
	const size, burst, bursts = 1200, 10, 50
	var server net.PacketConn
	if err := to.Do(func() (err error) { server, err = net.ListenPacket("udp6", "[::]:6003"); return err }); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 2*size)
		for {
			n, who, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(buf[:n], who) // what is missing shows at the other end
		}
	}()
	var client net.Conn
	if err := from.Do(func() (err error) {
		client, err = net.Dial("udp6", netip.AddrPortFrom(addr, 6003).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	raw, err := client.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size) }); cerr != nil || err != nil {
		t.Fatalf("UDP_SEGMENT: %v %v", cerr, err)
	}
	data := pattern(size * burst)
	good := 0
	for range bursts {
		if _, err := client.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := client.SetReadDeadline(time.Now().Add(soon)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 2*size)
		for range burst {
			n, err := client.Read(buf)
			if err != nil {
				break
			}
			if n == size && bytes.Contains(data, buf[:n]) {
				good++
			}
		}
	}
	if good < bursts*burst*95/100 {
		t.Errorf("%d of %d messages came back as they were sent", good, bursts*burst)
	}
}
