// SPDX-License-Identifier: MIT

//go:build !small

package status

// Build is what only the build with everything has to say.
type Build struct {
	// Dataplane is what forwards the packets: kernel or userspace.
	Dataplane string `json:"dataplane,omitempty"`
}

const hasBuild = true

func (b Build) dataplane() string { return b.Dataplane }
