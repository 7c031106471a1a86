// SPDX-License-Identifier: MIT

// Package control is the control socket.
package control
