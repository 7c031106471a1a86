// SPDX-License-Identifier: MIT

// Package dnsprobe finds out whether a DNS server answers at an address.
//
// It asks one question and looks at the header of what comes back; it does not resolve names. Start at Answers.
package dnsprobe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// Port is where DNS servers listen (RFC 1035 section 4.2.1).
const Port = 53

// askAgain is how long an answer is waited for before the question is sent once more: a datagram may get lost.
const askAgain = time.Second

// headerLen is the fixed part of a message (RFC 1035 section 4.1.1).
const headerLen = 12

// Answers says whether a DNS server at the address and port serves those who ask from the same address, before the context ends.
// SERVFAIL without a way to the Internet is an answer; one that refuses, as a server does for names of its own alone or for others
// than us, is none for a host.
func Answers(ctx context.Context, server netip.AddrPort) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", server.String())
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // nothing is left to be sent
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	q := question()
	for ctx.Err() == nil {
		if _, err := conn.Write(q); err != nil {
			return false
		}
		if ctx.Err() != nil || conn.SetReadDeadline(time.Now().Add(askAgain)) != nil {
			return false
		}
		switch err := answered(conn, q); {
		case err == nil:
			return true
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return false // nobody listens, the kernel says
		}
	}
	return false
}

// answered reads until an answer to q comes.
func answered(conn net.Conn, q []byte) error {
	buf := make([]byte, 512)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if answers(buf[:n], q) {
			return nil
		}
	}
}

// Response codes of a server that does not do what a host wants (RFC 1035 section 4.1.1).
const (
	notImplemented = 4
	refused        = 5
)

// answers says whether m is a response to q, the same id and the bit QR, that says more than no.
func answers(m, q []byte) bool {
	if len(m) < headerLen || m[0] != q[0] || m[1] != q[1] || m[2]&0x80 == 0 {
		return false
	}
	code := m[3] & 0x0f
	return code != notImplemented && code != refused
}

// question asks for the AAAA records of localhost, which need nobody else (RFC 6761 section 6.3).
func question() []byte {
	var id [2]byte
	_, _ = rand.Read(id[:]) // crypto/rand.Read never fails, it ends the process
	q := append(id[:], 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	q = append(q, 9)
	q = append(q, "localhost"...)
	q = append(q, 0)
	q = binary.BigEndian.AppendUint16(q, 28)
	return binary.BigEndian.AppendUint16(q, 1)
}
