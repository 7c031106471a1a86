// SPDX-License-Identifier: MIT

package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// BoxPackage is the command under test, for Build.
const BoxPackage = "oasis6/cmd/oasis6"

// BoxConfig is the text of a configuration for the box with the site's key and R2's. The extra lines go
// to the end, where [LAN] is the open section; they may open others.
func (s *Site) BoxConfig(extra ...string) string {
	return fmt.Sprintf(`[Interface]
PrivateKey = %s

[Peer]
PublicKey = %s
Endpoint = %s:%d
AllowedIPs = ::/0
PersistentKeepalive = 25

%s[LAN]
Interface = br-lan
`, s.BoxKey.Reveal(), s.world.HubKey.Public(), R2v4, R2Port, s.world.router(&extra)) + strings.Join(append(extra, ""), "\n")
}

// router is the section that names the data plane, unless the extra lines have one: then it becomes a line there.
func (w *World) router(extra *[]string) string {
	const line = "Dataplane = userspace"
	if !w.Config.Userspace {
		return ""
	}
	if i := slices.Index(*extra, "[Router]"); i >= 0 {
		*extra = slices.Insert(slices.Clone(*extra), i+1, line)
		return ""
	}
	return "[Router]\n" + line + "\n\n"
}

// WriteBoxConfig puts a configuration where StartBox looks for it.
func (s *Site) WriteBoxConfig(text string) {
	s.world.T.Helper()
	s.R1.WriteFile(s.BoxFile(), text, 0o600)
	s.boxConfigured = true
}

// BoxFile is the box's configuration; the test sees it at the same path.
func (s *Site) BoxFile() string {
	return s.world.confFile(s.R1)
}

// BoxArgs is a command line of the box with the directories of this world: BoxArgs(binary,
// "status", "--json"). All subcommands that take the flags -c, --state and --run get them.
func (s *Site) BoxArgs(binary, sub string, extra ...string) []string {
	return s.world.args(s.R1, binary, sub, extra)
}

// BoxState is the box's STATE directory; the test sees it at the same path.
func (s *Site) BoxState() string { return s.world.stateDir(s.R1) }

// BoxRun is the box's RUN directory; the test sees it at the same path.
func (s *Site) BoxRun() string { return s.world.runDir(s.R1) }

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

// Configured says that the box's file was written by its own commands: StartBox leaves it alone. Those do not choose a data
// plane, so that of the world is added.
func (s *Site) Configured() {
	s.world.T.Helper()
	written, err := os.ReadFile(s.BoxFile())
	if err != nil {
		s.world.T.Fatalf("the box's configuration: %v", err)
	}
	lines := strings.Split(string(written), "\n")
	section := s.world.router(&lines)
	s.WriteBoxConfig(section + strings.Join(lines, "\n"))
}

// StartBox runs `oasis6 run` in R1 with the last written configuration, by default BoxConfig().
func (s *Site) StartBox(binary string, extra ...string) *Proc {
	s.world.T.Helper()
	if !s.boxConfigured {
		s.WriteBoxConfig(s.BoxConfig())
	}
	return s.R1.StartWith(s.OnBoxLine, s.BoxArgs(binary, "run", extra...)...)
}
