// SPDX-License-Identifier: MIT

// Package router is the box.
package router
