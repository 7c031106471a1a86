// SPDX-License-Identifier: MIT

package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"oasis6/internal/wgkey"
)

// HubConfig is a hub's end, without its sites. Zero values mean: any port, no mark, MTU 1420, the link-local address
// of the key, no port of our own.
type HubConfig struct {
	Name       string
	PrivateKey wgkey.Private
	ListenPort uint16
	FwMark     uint32
	MTU        int        // of the tunnel interface, 1280 to 65455; it is not measured: there are as many paths as sites
	LinkLocal  netip.Addr // ours on the tunnel
	Port       uint16     // UDP from sites to LinkLocal with this port comes as Received too
}

// Site is one peer of a hub.
type Site struct {
	Public    wgkey.Public
	Preshared wgkey.Preshared
	// AllowedIPs are exactly those that the device gets: the site's link-local /128, by which its control packets are
	// known, and its leases. No two sites have the same prefix. One may lie within another's: the longer one wins.
	AllowedIPs []netip.Prefix
	// Endpoint is where the site was last, if that is known. It counts only when the site is new to the device, which
	// learns better ones from what the site sends.
	Endpoint netip.AddrPort
	// Keepalive, in whole seconds, begins with the first handshake that a reading finds: before it, and on a site that is
	// dead, it is an initiation every 5 s.
	Keepalive time.Duration
	// Guest may speak with us alone: nothing from its link-local address, its only allowed-ip, goes on to the kernel.
	Guest bool
}

func (c HubConfig) outer() outer { return outer{c.ListenPort, c.FwMark} }

func (c HubConfig) own() own { return own{c.LinkLocal, c.Port} }

// normalize fills in what is derived and says everything that is wrong.
func (c HubConfig) normalize() (HubConfig, error) {
	var errs []error
	if err := checkName(c.Name); err != nil {
		errs = append(errs, err)
	}
	if c.PrivateKey.IsZero() {
		errs = append(errs, fmt.Errorf("tunnel %s: no private key", c.Name))
	}
	if c.MTU == 0 {
		c.MTU = defaultMTU
	}
	if c.MTU < minMTU || c.MTU > maxMTU {
		errs = append(errs, fmt.Errorf("tunnel %s: mtu %d: want %d to %d", c.Name, c.MTU, minMTU, maxMTU))
	}
	c.LinkLocal = linkLocal(c.LinkLocal, c.PrivateKey.Public(), &errs)
	return c, errors.Join(errs...)
}

// Reconfigure applies the difference to the present configuration; sites and sessions stay. Name and private key
// cannot change: ErrRestart. After an error the old configuration goes on; if even that could not be had back, the
// error says so too. The interface's MTU is for the data plane to set.
func (h *Hub) Reconfigure(cfg HubConfig) error {
	cfg, err := cfg.normalize()
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	was := *h.cfg.Load()
	if cfg.Name != was.Name || cfg.PrivateKey != was.PrivateKey {
		return fmt.Errorf("tunnel %s: another interface name or private key: %w", was.Name, ErrRestart)
	}
	port := h.obs.port()
	if settings := was.outer().to(cfg.outer()); settings != "" {
		if err := h.dev.IpcSet(settings); err != nil {
			err = fmt.Errorf("interface %s: configure wireguard: %w", was.Name, err)
			return errors.Join(err, h.restore(was.outer().back(cfg.outer(), port)))
		}
	}
	h.cfg.Store(&cfg)
	h.tap.setOwn(cfg.own())
	return nil
}
