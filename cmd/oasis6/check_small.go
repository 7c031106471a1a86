// SPDX-License-Identifier: MIT

//go:build small

package main

import (
	"oasis6/config"
	"oasis6/router"
)

// checkFile is the checker of this build, which has no hub.
func checkFile(path, lan string) verdict {
	return ofBox(path, router.Preview)(config.Load(path, config.OnlyLAN(lan)))
}
