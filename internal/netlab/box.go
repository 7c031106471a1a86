// SPDX-License-Identifier: MIT

package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// BoxPackage is the command under test, for Build.
const BoxPackage = "oasis6/cmd/oasis6"

// BoxConfig is the text of a configuration for the box with its key and R2's. The extra lines go
// to the end, where [LAN] is the open section; they may open others.
func (w *World) BoxConfig(extra ...string) string {
	return fmt.Sprintf(`[Interface]
PrivateKey = %s

[Peer]
PublicKey = %s
Endpoint = %s:%d
AllowedIPs = ::/0
PersistentKeepalive = 25

[LAN]
Interface = br-lan
`, w.BoxKey.Reveal(), w.HubKey.Public(), R2v4, R2Port) + strings.Join(append(extra, ""), "\n")
}

// WriteBoxConfig puts a configuration where StartBox looks for it.
func (w *World) WriteBoxConfig(text string) {
	w.T.Helper()
	w.R1.WriteFile(w.BoxFile(), text, 0o600)
	w.boxConfigured = true
}

// BoxFile is the box's configuration; the test sees it at the same path.
func (w *World) BoxFile() string {
	if w.ownPlaces() {
		return "/etc/oasis6/oasis6.conf"
	}
	return w.R1.Path("oasis6.conf")
}

// ownPlaces says whether the box may use its default places below /etc and /var/lib.
func (w *World) ownPlaces() bool { return w.Config.DefaultPlaces && w.R1.Shares() == nil }

// BoxArgs is a command line of the box with the directories of this world: BoxArgs(binary,
// "status", "--json"). All subcommands that take the flags -c, --state and --run get them.
func (w *World) BoxArgs(binary, sub string, extra ...string) []string {
	args := []string{binary, sub}
	switch sub {
	case "run":
		args = append(args, "-c", w.BoxFile(), "--state", w.BoxState(), "--run", w.BoxRun())
	case "check":
		args = append(args, "-c", w.BoxFile())
	case "status", "leave":
		args = append(args, "--run", w.BoxRun())
	}
	return append(args, extra...)
}

// BoxState is the box's STATE directory; the test sees it at the same path.
func (w *World) BoxState() string {
	if w.ownPlaces() {
		return "/var/lib/oasis6"
	}
	return w.R1.Path("state")
}

// BoxRun is the box's RUN directory; the test sees it at the same path.
func (w *World) BoxRun() string {
	if w.Config.DefaultPlaces {
		return "/run/oasis6"
	}
	return w.R1.Path("run")
}

// NameBox makes a binary the command oasis6 in all nodes.
func (w *World) NameBox(binary string) error {
	path, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(binDir, 0o755); err != nil {
		return err
	}
	name := filepath.Join(binDir, "oasis6")
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(path, name)
}

// StartBox runs `oasis6 run` in R1 with the last written configuration, by default BoxConfig().
func (w *World) StartBox(binary string, extra ...string) *Proc {
	w.T.Helper()
	if !w.boxConfigured {
		w.WriteBoxConfig(w.BoxConfig())
	}
	return w.R1.StartWith(w.OnBoxLine, w.BoxArgs(binary, "run", extra...)...)
}
