// SPDX-License-Identifier: MIT

package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"oasis6/config"
	"oasis6/hub/pd"
	"oasis6/internal/invite"
	"oasis6/tun"
)

// restoreTimeout bounds putting the kernel back: the whole stop must fit into 3 s.
const restoreTimeout = 2 * time.Second

// stop leaves for good: sites are told that this is no router any more, then everything of ours goes. Leases stay on disk:
// the next hub goes on with them.
func (h *Hub) stop(ctx context.Context, now time.Time) error {
	if packets, err := advertisement(h.cfg, h.withdrawn, h.opt.Tunnel.Snapshot().MTU, true); err == nil { // as it was made before
		h.adverts = packets
	}
	for _, s := range h.sites {
		if s.origin != invited && s.alive(now) {
			h.tell(s)
		}
	}
	h.flush()
	h.save(ctx, now)
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	if err := h.opt.Plane.Restore(ctx); err != nil {
		return fmt.Errorf("kernel not wholly put back: %w", err)
	}
	return nil
}

// handOver leaves the kernel as it is to a successor: it finds the same leases.
func (h *Hub) handOver(ctx context.Context, now time.Time) error {
	h.save(ctx, now)
	return nil
}

// save writes what has been put off.
func (h *Hub) save(ctx context.Context, now time.Time) {
	h.step(now, pd.Stop{})
	h.commit(ctx, now)
	h.saveLazily()
}

// reload takes a new configuration over, or refuses it whole and keeps the old one.
func (h *Hub) reload(now time.Time) {
	h.reloads = ""
	cfg, err := h.opt.Reload()
	if err == nil {
		err = h.take(now, cfg)
	}
	if err != nil {
		h.reloads = err.Error()
		h.journal.Error("configuration not reloaded, the old one goes on", "err", err.Error())
		return
	}
	h.journal.Info("configuration reloaded")
}

func (h *Hub) take(now time.Time, cfg *config.HubConfig) error {
	if cfg.Interface.Name != h.cfg.Interface.Name {
		return errRestart("[Interface] Name")
	}
	if cfg.Interface.PrivateKey != h.cfg.Interface.PrivateKey {
		return errRestart("the private key")
	}
	if n := len(cfg.Sites) + len(h.book.Peers()); n > maxSites {
		return fmt.Errorf("%d sites, those that have joined included: WireGuard takes %d", n, maxSites)
	}
	own, _ := h.own(cfg)
	for _, p := range cfg.Hub.Pools {
		if filled(p, own) && !slices.Contains(h.cfg.Hub.Pools, p) {
			return errors.New("[Hub] " + poolOnLink(p))
		}
	}
	if err := h.opt.Tunnel.Reconfigure(TunnelConfig(cfg)); err != nil {
		return err
	}
	if err := h.configure(now, cfg); err != nil {
		return err
	}
	return h.opt.Plane.Watch(h.watched())
}

// maxSites is wireguard-go's limit.
const maxSites = 1<<16 - 1

type errRestart string

func (e errRestart) Error() string {
	return string(e) + " cannot change while running: restart the hub"
}

// TunnelConfig is the device's part of a configuration.
func TunnelConfig(cfg *config.HubConfig) tun.HubConfig {
	i := cfg.Interface
	return tun.HubConfig{
		Name: i.Name, PrivateKey: i.PrivateKey, ListenPort: i.ListenPort, FwMark: i.FwMark, MTU: i.MTU,
		LinkLocal: i.LinkLocal, Port: invite.Port,
	}
}
