// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// WireGuardPackage is the upstream wireguard-go command, for Build and Prefetch.
const WireGuardPackage = "golang.zx2c4.com/wireguard"

// binDir is first in the PATH of all nodes.
const binDir = labDir + "/bin"

// Build compiles a command of this module, or of one it needs, once per run, and returns its
// path, which is the same in all nodes. The working directory must be in this module, as it is
// in tests.
func Build(t T, pkg string, flags ...string) string {
	t.Helper()
	name := strings.NewReplacer("/", "_", " ", "").Replace(pkg + strings.Join(flags, ""))
	path := filepath.Join(binDir, name)
	if err := once(path, func() error { return build(path, pkg, flags) }); err != nil {
		t.Fatalf("%v", err)
	}
	return path
}

// once makes a file unless it is there. Tests that need the same one at the same time wait for the first of them.
func once(path string, f func() error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // and frees it; nothing was written
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return f()
}

// BuildFor is Build for another processor, as cross.sh builds it. What it returns is a command that runs here: where the
// machine cannot run it, in the emulator, a command as well.
func BuildFor(t T, pkg, goarch, emulator string) string {
	t.Helper()
	path := filepath.Join(binDir, strings.ReplaceAll(pkg, "/", "_")+"-"+goarch)
	if err := once(path, func() error { return buildFor(path, pkg, goarch, emulator) }); err != nil {
		t.Fatalf("%v", err)
	}
	return path
}

func buildFor(path, pkg, goarch, emulator string) error {
	program := path
	if emulator != "" {
		program += ".bin"
	}
	if err := build(program, pkg, []string{"-trimpath", "-ldflags=-s -w"}, "GOARCH="+goarch, "GOMIPS=softfloat", "GOARM=5"); err != nil {
		return err
	}
	if emulator == "" {
		return nil
	}
	script := "#!/bin/sh\nexec " + emulator + " " + program + ` "$@"` + "\n"
	return os.WriteFile(path, []byte(script), 0o755)
}

func build(path, pkg string, flags []string, env ...string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(path), "build")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // on a tmpfs that ends with the run
	// Without a stamp the build does not depend on git being there and willing.
	args := append([]string{"build", "-buildvcs=false", "-o", filepath.Join(tmp, "out")}, flags...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Env = append(productEnv(flags), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	// Rename, so that nobody finds half of it.
	return os.Rename(filepath.Join(tmp, "out"), path)
}

// Prefetch compiles packages for a later Build, so for programs: in the namespaces there is no
// network to get modules from. Call it before Reexec; inside it does nothing.
func Prefetch(pkgs ...string) error {
	if os.Getenv(envInside) != "" {
		return nil
	}
	cmd := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", os.DevNull}, pkgs...)...)
	cmd.Env = productEnv(nil)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s: %w", strings.Join(pkgs, " "), err)
	}
	return nil
}

// productEnv makes builds static, as they are installed: the C library costs 1.5 MB of resident memory.
// The race detector needs it.
func productEnv(flags []string) []string {
	if slices.Contains(flags, "-race") {
		return os.Environ()
	}
	return append(os.Environ(), "CGO_ENABLED=0")
}
