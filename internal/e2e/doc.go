// SPDX-License-Identifier: MIT

// Package e2e proves the whole box against software that is not ours: the real `oasis6` binary in the
// world of internal/netlab, with kernel hosts, two NATs, upstream wireguard-go and Kea.
//
// It has tests only; each is one story from issue to cure. Start at TestSplitTunnel.
package e2e
