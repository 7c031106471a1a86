// SPDX-License-Identifier: MIT

package tun

import (
	"errors"
	"fmt"
	"time"

	"oasis6/internal/bootclock"
)

// Reconfigure applies the difference to the present configuration and keeps the session, unless the peer's
// public key is another one. Name and private key cannot change: ErrRestart. After an error the old
// configuration goes on; if even that could not be had back, the error says so too. A peer that somebody removed
// with wg is made again.
func (t *Tunnel) Reconfigure(cfg Config) error {
	cfg, err := cfg.normalize()
	if err != nil {
		return err
	}
	t.mu.Lock()
	was := t.cfg
	t.mu.Unlock()
	if cfg.Name != was.Name || cfg.PrivateKey != was.PrivateKey {
		return fmt.Errorf("tunnel %s: another interface name or private key: %w", was.Name, ErrRestart)
	}
	now := t.observe()
	moved := was.Peer.Endpoint != cfg.Peer.Endpoint || was.Peer.Public != cfg.Peer.Public
	missing := !now.found && was.Peer.Public == cfg.Peer.Public
	settings := changeSettings(was, cfg)
	if missing {
		settings = was.outer().to(cfg.outer()) + peerSettings(cfg.Peer)
		if !moved && now.lastPeer.IsValid() {
			settings += "endpoint=" + now.lastPeer.String() + "\npersistent_keepalive_interval=" + seconds(cfg.Peer.Keepalive) + "\n"
		}
	}
	if settings != "" {
		if err := t.dev.IpcSet(settings); err != nil {
			err = fmt.Errorf("interface %s: configure wireguard: %w", was.Name, err)
			return errors.Join(err, t.restore(was, cfg, now.port))
		}
	}
	if missing {
		t.log.Info("peer was removed by somebody and is made again", "peer", cfg.Peer.Public.String())
	}
	t.adopt(was, cfg, moved, missing)
	return nil
}

// adopt makes cfg, which the device has already, that of the tunnel.
func (t *Tunnel) adopt(was, cfg Config, moved, missing bool) {
	t.mu.Lock()
	t.cfg = cfg
	if moved {
		t.target = target{}
		if cfg.Peer.Endpoint != "" {
			t.target, _ = parseTarget(cfg.Peer.Endpoint) // normalize has parsed it
		}
		t.truth.setAt, t.addrs = time.Time{}, nil
	}
	if was.Peer.Public != cfg.Peer.Public || missing { // no session any more
		t.truth.handshakeAt, t.truth.toldAt = time.Time{}, time.Time{}
	}
	if missing && !moved && !t.truth.setAt.IsZero() {
		t.truth.setAt = bootclock.Now()
	}
	t.mu.Unlock()
	t.tap.SetSelf(cfg.LinkLocal)
	if moved || missing {
		signal(t.resolve)
	}
	if missing {
		signal(t.initiate) // without a keepalive nothing else would begin
	}
	signal(t.measure)
}

// restore brings the device back to was when the change to cfg broke off somewhere: the sockets are closed if a port is
// taken, for instance. port is the one that was in use.
func (t *Tunnel) restore(was, cfg Config, port uint16) error {
	err := t.end.restore(restoreSettings(was, cfg, port))
	signal(t.resolve) // a peer that was made again has no endpoint
	return err
}

// restoreSettings are the texts that turn what cfg may have left back into was, one for each part that can
// fail by itself.
func restoreSettings(was, cfg Config, port uint16) []string {
	parts := was.outer().back(cfg.outer(), port)
	cfg.ListenPort, cfg.FwMark = was.ListenPort, was.FwMark
	if peer := changeSettings(cfg, was); peer != "" {
		parts = append(parts, peer)
	}
	return parts
}
