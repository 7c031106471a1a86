// SPDX-License-Identifier: MIT

// Package scripts tests the shell scripts of this folder. There is nothing else in it.
package scripts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"oasis6/internal/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

func script(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestScriptsPassShellcheck(t *testing.T) {
	netlab.Need(t, "shellcheck")
	n := netlab.New(t).Node("n")
	n.Run("shellcheck", script(t, "deps.sh"))
}

// fakeApt stands in for apt-get: the first install finds no package lists.
const fakeApt = `#!/bin/sh
echo "$*; policy $(test -x /usr/sbin/policy-rc.d && echo yes || echo no); $DEBIAN_FRONTEND" >>/run/apt.log
case $1 in
update) touch /run/updated ;;
install) test -e /run/updated ;;
esac
`

func TestDepsInstallsWhatIsMissing(t *testing.T) {
	n := netlab.New(t).Node("n")
	deps := script(t, "deps.sh")
	n.Tmpfs("/usr/sbin") // so that some programs are missing
	n.WriteFile("/usr/sbin/apt-get", fakeApt, 0o755)
	path := "PATH=/usr/sbin:" + os.Getenv("PATH")

	dry := n.Run("env", path, "OASIS6_DEPS_DRY_RUN=1", deps)
	if !strings.HasPrefix(dry, "apt-get install -y --no-install-recommends ") || !strings.Contains(dry, " radvd") {
		t.Errorf("dry run prints %q", dry)
	}
	n.Run("env", path, deps)
	lines := strings.Split(strings.TrimSpace(n.Run("cat", "/run/apt.log")), "\n")
	if len(lines) != 3 {
		t.Fatalf("apt-get was called %d times, want install, update, install:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for i, want := range []string{"install -y ", "update", "install -y "} {
		if !strings.HasPrefix(lines[i], want) || !strings.Contains(lines[i], "policy yes") {
			t.Errorf("call %d: %q, want %q while no daemon may start", i+1, lines[i], want)
		}
	}
	if !strings.Contains(lines[2], " radvd") || !strings.HasSuffix(lines[2], "noninteractive") {
		t.Errorf("install: %q", lines[2])
	}
	if _, err := n.Try("test", "-e", "/usr/sbin/policy-rc.d"); err == nil {
		t.Error("policy-rc.d is left behind")
	}
}

func TestDepsKeepsTheAdministratorsPolicy(t *testing.T) {
	n := netlab.New(t).Node("n")
	n.Tmpfs("/usr/sbin")
	n.WriteFile("/usr/sbin/apt-get", fakeApt, 0o755)
	n.WriteFile("/usr/sbin/policy-rc.d", "mine\n", 0o755)
	n.Run("env", "PATH=/usr/sbin:"+os.Getenv("PATH"), script(t, "deps.sh"))
	if got := n.Run("cat", "/usr/sbin/policy-rc.d"); got != "mine\n" {
		t.Errorf("policy-rc.d = %q", got)
	}
}
