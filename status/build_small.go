// SPDX-License-Identifier: MIT

//go:build small

package status

// Build is empty: there is one data plane.
type Build struct{}

const hasBuild = false

func (Build) dataplane() string { return "" }

func forwards(Build) bool { return false }

func (p *printer) forwarding(Build) {}
