// SPDX-License-Identifier: MIT

// Package kernel makes the Linux kernel equal to dataplane.Desired.
package kernel
