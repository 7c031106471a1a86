// SPDX-License-Identifier: MIT

package tun

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
)

// control serves WireGuard's configuration protocol on /var/run/wireguard/NAME.sock, for wg. The
// library's UAPIListen is not used: its inotify watch ends the listener at a mere chmod of the socket.
type control struct {
	listener net.Listener
	dev      *device.Device
	running  sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

func listenControl(name string, dev *device.Device) (*control, error) {
	file, err := ipc.UAPIOpen(name)
	if err != nil {
		return nil, fmt.Errorf("socket of wg: %w: if it is in use, wg shows the keys of %s of another network namespace: mount one /run/wireguard for each", err, name)
	}
	l, err := net.FileListener(file)
	_ = file.Close() // the listener has its own duplicate
	if err != nil {
		return nil, fmt.Errorf("socket of wg: %w", err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(true)
	}
	c := &control{listener: l, dev: dev, conns: map[net.Conn]struct{}{}}
	c.running.Add(1)
	go c.accept()
	return c, nil
}

func (c *control) accept() {
	defer c.running.Done()
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		if !c.add(conn) {
			_ = conn.Close()
			return
		}
		go func() {
			defer c.running.Done()
			c.dev.IpcHandle(conn) // closes conn
			c.mu.Lock()
			delete(c.conns, conn)
			c.mu.Unlock()
		}()
	}
}

func (c *control) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.conns[conn] = struct{}{}
	c.running.Add(1)
	return true
}

// Close removes the socket and waits for those who are being served.
func (c *control) Close() {
	_ = c.listener.Close() // unlinks; a socket that somebody removed already is as good
	c.mu.Lock()
	c.closed = true
	for conn := range c.conns {
		_ = conn.Close()
	}
	c.mu.Unlock()
	c.running.Wait()
}

// reading is what the device says of itself and of our peer.
type reading struct {
	port  uint16
	found bool // the peer is there
	peerReading
}

// peerReading is what the device says of one peer.
type peerReading struct {
	endpoint  netip.AddrPort
	handshake handshakeStamp
	rx, tx    uint64
}

// handshakeStamp is the wall clock's time of the last handshake; only compared for being another one.
type handshakeStamp struct{ sec, nsec int64 }

// parseReading takes what we use from the text of the configuration protocol. The text holds the
// private key and is not kept.
func parseReading(text, peerHex string) reading {
	var r reading
	inPeer, ours := false, false
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if key == "public_key" {
			inPeer, ours = true, value == peerHex
			r.found = r.found || ours
			continue
		}
		if key == "listen_port" && !inPeer {
			n, _ := strconv.ParseUint(value, 10, 16) // the device writes numbers only, here and below
			r.port = uint16(n)
		}
		if ours {
			r.take(key, []byte(value))
		}
	}
	return r
}

// take reads one line of a peer and passes over those that are not for it. Of many peers it makes little garbage.
func (r *peerReading) take(key string, value []byte) {
	switch key {
	case "endpoint":
		ep, _ := netip.ParseAddrPort(string(value))
		r.endpoint = netip.AddrPortFrom(ep.Addr().Unmap(), ep.Port())
	case "last_handshake_time_sec":
		r.handshake.sec, _ = strconv.ParseInt(string(value), 10, 64)
	case "last_handshake_time_nsec":
		r.handshake.nsec, _ = strconv.ParseInt(string(value), 10, 64)
	case "rx_bytes":
		r.rx, _ = strconv.ParseUint(string(value), 10, 64)
	case "tx_bytes":
		r.tx, _ = strconv.ParseUint(string(value), 10, 64)
	}
}
