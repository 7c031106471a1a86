// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"fmt"
	"io"
	"strings"

	"oasis6/config"
	"oasis6/hub"
	"oasis6/router"
)

// checkFile is the checker of this build.
func checkFile(path, lan string) verdict {
	f, err := config.Read(path)
	switch {
	case err != nil:
		return verdict{path: path, err: err}
	case f.IsHub():
		return ofHub(path, previewHub)(f.LoadHub(config.OnlyLAN(lan)))
	}
	return ofBox(path, previewBox)(f.Load(config.OnlyLAN(lan)))
}

// previewBox is router.Preview, and with the userspace data plane it tells what is the machine's from what is the process's.
func previewBox(cfg *config.Config) string {
	text := router.Preview(cfg)
	if !wantsUserspace(cfg) {
		return text
	}
	var b strings.Builder
	for _, l := range cfg.LANs {
		fmt.Fprintf(&b, "tap in bridge %s, whose kernel takes no RA meanwhile (accept_ra 0)\n", l.Interface)
	}
	b.WriteString("the rest is in the process, ip and nft show nothing of it:\n")
	for line := range strings.Lines(text) {
		if tunnel, ok := strings.CutPrefix(line, "link "); ok { // the kernel has none
			line = "tunnel " + strings.TrimSuffix(tunnel, " up\n") + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// previewHub says what a hub would do on this machine.
func previewHub(cfg *config.HubConfig) string {
	here, err := hubHere(cfg.Interface.Name)
	text := hub.Preview(cfg, here)
	if err != nil {
		text += "problem: the interfaces of this machine cannot be read: " + err.Error() + "\n"
	}
	return text
}

// ofHub is ofBox for the file of a hub.
func ofHub(path string, preview func(*config.HubConfig) string) func(*config.HubConfig, []config.Notice, error) verdict {
	return func(cfg *config.HubConfig, notices []config.Notice, err error) verdict {
		return verdict{
			path: path, notices: notices, err: err, command: "hub",
			effective: func(w io.Writer) error { return config.WriteEffectiveHub(w, cfg) },
			would:     func() string { return preview(cfg) },
		}
	}
}
