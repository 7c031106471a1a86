// SPDX-License-Identifier: MIT

package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"oasis6/internal/underrace"
)

// nobody's user and group, as on every Linux.
const nobody = 65534

// Each scenario runs as a user that may do nothing, on both kinds of link. The page is TestDemoRunsAsNobody's, of
// cmd/oasis6.
func TestScenariosAsNobody(t *testing.T) {
	if underrace.Is {
		t.Skip("make lab-seeds runs it")
	}
	if os.Geteuid() != 0 {
		t.Skip("not root: the others run without privileges anyway")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "") // t.TempDir is below a folder that is root's alone
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // nobody's loss
	program := filepath.Join(dir, "lab.test")
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.v", "-test.run", "^TestScenarios(OnWireGuard)?$")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, s := range scenarios() {
		for _, name := range []string{"TestScenarios/", "TestScenariosOnWireGuard/"} {
			if !strings.Contains(string(out), "--- PASS: "+name+s.name+" ") {
				t.Errorf("%s%s was not run:\n%s", name, s.name, out)
			}
		}
	}
}
