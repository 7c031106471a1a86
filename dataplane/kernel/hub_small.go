// SPDX-License-Identifier: MIT

//go:build small

package kernel

import (
	"context"
	"errors"

	"oasis6/dataplane"
)

// hubInBuild refuses what only a hub wants, before anything is done.
func hubInBuild(want dataplane.Desired) error {
	if want.Hub.Tunnel != "" || len(want.Proxy) > 0 {
		return errors.New("kernel data plane: the hub is not in this build: install the full one")
	}
	return nil
}

func hubRuleset(dataplane.HubFirewall, []dataplane.NDProxy) *ruleset { return nil }

// kept is of use where there are many routes.
type kept struct{}

func (*kept) begin(*Plane) uint64                                             { return 0 }
func (*kept) hold(*Plane, uint64, []step, error)                              {}
func (*kept) change(context.Context, *Plane, dataplane.Desired) (bool, error) { return false, nil }

func (p *Plane) ahead([]step, []bool) int { return 1 }

// proxies answer for the prefixes of sites.
type proxies struct{}

func (*proxies) follow(*Plane, *snapshot) error { return nil }
func (*proxies) close()                         {}
