// SPDX-License-Identifier: MIT

// Package kerneltest holds the pure forwarding of the userspace data plane against the Linux kernel with our table: the
// same packets to both, and both must do the same with them.
//
// It has tests only, and needs namespaces. It judges what is forwarded, dropped and answered with which error; not what the
// box itself receives, limits of rates, nor times of flows. Start at TestForwarderAgreesWithLinux.
package kerneltest
