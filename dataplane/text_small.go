// SPDX-License-Identifier: MIT

//go:build small

package dataplane

// hubText: this build has no hub.
func hubText(Desired) string { return "" }
