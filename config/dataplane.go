// SPDX-License-Identifier: MIT

//go:build !small

package config

// onlyKernel: this build has no other data plane.
const onlyKernel = false
