// SPDX-License-Identifier: MIT

// Package netlab builds test networks out of network namespaces.
package netlab
