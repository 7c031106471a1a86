// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"strings"
)

// routeProtocol marks our routes, so that a new run can take the old one's away, as a router that starts has none.
const routeProtocol = "77"

// router is the edge for the routes that odhcpd makes: by the client's link-local address, metric 1024.
type router struct {
	iface string
	have  map[netip.Prefix]netip.Addr
}

func (r *router) flush() error { return ip("route", "flush", "dev", r.iface, "proto", routeProtocol) }

// set makes the kernel's routes those; equal ones are left alone.
func (r *router) set(want map[netip.Prefix]netip.Addr) error {
	if maps.Equal(r.have, want) {
		return nil
	}
	for p := range r.have {
		if _, ok := want[p]; !ok {
			if err := ip("route", "del", p.String(), "dev", r.iface, "proto", routeProtocol); err != nil {
				return err
			}
		}
	}
	for p, via := range want {
		if r.have[p] != via {
			if err := ip("route", "replace", p.String(), "via", via.String(), "dev", r.iface, "proto", routeProtocol, "metric", "1024"); err != nil {
				return err
			}
		}
	}
	r.have = want
	fmt.Println("routes:", routesText(want))
	return nil
}

func ip(args ...string) error {
	out, err := exec.Command("ip", append([]string{"-6"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip -6 %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
