// SPDX-License-Identifier: MIT

package trial

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"oasis6/tun/gauge"
)

// Machine is the real Outside.
type Machine struct{ gauge.Path }

// Lookup uses Go's own resolver, as the box does.
func (Machine) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return (&net.Resolver{PreferGo: true}).LookupNetIP(ctx, "ip", host)
}

// OpenWith makes the real Open, with a logger for WireGuard's words at debug level.
func OpenWith(log *slog.Logger) func(gauge.Config) (Tunnel, error) {
	return func(cfg gauge.Config) (Tunnel, error) {
		e, err := gauge.Open(cfg, log)
		if err != nil {
			return nil, err
		}
		return e, nil
	}
}
