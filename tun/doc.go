// SPDX-License-Identifier: MIT

// Package tun is the WireGuard tunnel as the box sees it.
package tun
