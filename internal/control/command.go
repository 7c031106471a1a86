// SPDX-License-Identifier: MIT

package control

// Command is what an operator asks of a running box or hub by a signal.
type Command uint8

const (
	Reload   Command = iota // SIGHUP: read the configuration again
	Stop                    // SIGTERM, SIGINT: for good, everything is put back
	Handover                // SIGUSR2: a successor follows
)
