// SPDX-License-Identifier: MIT

// Package health decides from counters whether the tunnel is alive.
package health
