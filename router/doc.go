// SPDX-License-Identifier: MIT

// Package router is the box (R1): facts from the tunnel, DHCPv6, the links and the configuration
// become a Plan, and one loop makes the plan true.
//
// It joins the machines and the edges; it must not know netlink, nftables or gVisor (those are
// behind dataplane.Plane). Start at Make, which decides, and Router.Run, which does.
package router
