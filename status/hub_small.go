// SPDX-License-Identifier: MIT

//go:build small

package status

// Hub and Site are a hub's; this build is for boards, where none runs.
type (
	Hub  struct{}
	Site struct{}
)

func (p *printer) hub(Hub, []Site) {}
