// SPDX-License-Identifier: MIT

package tun

import (
	"net"
	"strings"
	"testing"

	"oasis6/internal/netlab"
)

// The port of a reload is taken: the error says so, and the old port, mark, keepalive and session go on.
func TestRefusedReconfigureLeavesTheOldOne(t *testing.T) {
	w := newWorld(t)
	w.wants("handshake after ")
	port := w.box.Run("wg", "show", "oasis0", "listen-port")
	session := w.sessions()
	var other net.PacketConn
	if err := w.box.Do(func() (err error) {
		other, err = net.ListenPacket("udp4", "0.0.0.0:51999")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	w.do("port 51999")
	w.wants("error: interface oasis0: configure wireguard: ")
	if out := w.proc.Output(); strings.Contains(out, "restore the old configuration") {
		t.Errorf("the old one is not back:\n%s", out)
	}
	if now := w.box.Run("wg", "show", "oasis0", "listen-port"); now != port {
		t.Errorf("port %s after the refusal, had %s", now, port)
	}
	if mark := strings.TrimSpace(w.box.Run("wg", "show", "oasis0", "fwmark")); mark != "off" {
		t.Errorf("fwmark %s after the refusal, want off", mark)
	}
	if out := w.box.Run("wg", "show", "oasis0"); !strings.Contains(out, "every 25 seconds") {
		t.Errorf("keepalive changed:\n%s", out)
	}
	w.answered("after a refused reload")
	if now := w.sessions(); now != session {
		t.Errorf("another handshake: %s, had %s", now, session)
	}
	// The same again with the port free: what was refused can be had later.
	_ = other.Close()
	w.do("port 51999")
	w.box.WaitFor(soon, "port 51999", func() bool {
		return strings.TrimSpace(w.box.Run("wg", "show", "oasis0", "listen-port")) == "51999"
	})
}

// Somebody removes the peer with wg: the status says so, and a reload of the same file brings it back whole.
func TestReloadRestoresARemovedPeer(t *testing.T) {
	w := newWorld(t)
	w.wants("handshake after ")
	w.do("missing before")
	w.wants("missing before false")
	w.box.Run("wg", "set", "oasis0", "peer", testHub.Public().String(), "remove")
	w.do("missing then")
	w.wants("missing then true")
	handshakes := w.count("handshake ")
	w.do("same one")
	w.wants("reconfigured one")
	w.box.WaitFor(soon, "no peer with its endpoint", func() bool {
		out := w.box.Run("wg", "show", "oasis0")
		return strings.Contains(out, "endpoint: 192.0.2.2:51820") && strings.Contains(out, "allowed ips: ::/0\n") &&
			strings.Contains(out, "every 25 seconds")
	})
	w.do("missing now")
	w.wants("missing now false")
	if !netlab.Poll(soon, func() bool { return w.count("handshake ") > handshakes }) {
		t.Error("no handshake with the peer that is back")
	}
	w.answered("with the peer that is back")
}
