// SPDX-License-Identifier: MIT

package netlab

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// envHelper makes TestHelper do something: other tests run it as a program of its own. Without it
// TestHelper is empty.
const envHelper = "OASIS6_NETLAB_HELPER"

func TestHelper(t *testing.T) {
	switch os.Getenv(envHelper) {
	case "exit":
		os.Exit(7)
	case "panic":
		New(t).Node("n").Start("sleep", "98765")
		panic("on purpose")
	case "stay":
		New(t).Node("n").Start("sleep", "98765")
		t.Log("started")
		select {}
	case "need":
		Need(t)
	}
}

// helper is this test binary from the beginning, as `go test` starts it, within the present
// namespaces.
func helper(mode string, before ...string) *exec.Cmd {
	args := append(before, os.Args[0], "-test.run=^TestHelper$", "-test.v")
	cmd := exec.Command(args[0], args[1:]...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "OASIS6_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, envHelper+"="+mode)
	return cmd
}

func sleepers(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && string(text) == "sleep\x0098765\x00" {
			n++
		}
	}
	return n
}

func TestExitCodePassesThrough(t *testing.T) {
	Need(t)
	cmd := helper("exit")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("exit: %v, want code 7:\n%s", err, out)
	}
}

func TestNothingOutlivesTheRun(t *testing.T) {
	Need(t)
	if out, err := helper("panic").CombinedOutput(); err == nil || !bytes.Contains(out, []byte("on purpose")) {
		t.Errorf("panic: %v\n%s", err, out)
	}
	if !Poll(5*time.Second, func() bool { return sleepers(t) == 0 }) {
		t.Error("a program outlived the panic of its run")
	}
	for _, sig := range []os.Signal{os.Interrupt, os.Kill} {
		cmd := helper("stay")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if !Poll(10*time.Second, func() bool { return sleepers(t) == 1 }) {
			t.Fatal("the run has not started its program")
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // ends in an error, of course
		if !Poll(5*time.Second, func() bool { return sleepers(t) == 0 }) {
			t.Errorf("a program outlived its run that ended by signal %v", sig)
		}
	}
}

func TestRefusalIsASkipUnlessRequired(t *testing.T) {
	Need(t, "unshare", "setpriv")
	const noSpaces = `echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "$@"`
	refused := []string{"unshare", "-Ur", "sh", "-c", noSpaces, "sh"}
	const want = "needs a network namespace: clone: "
	cmd := helper("need", refused...)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- SKIP")) || !bytes.Contains(out, []byte(want)) {
		t.Errorf("without namespaces: %v, want a skip with %q:\n%s", err, want, out)
	}
	cmd = helper("need", refused...)
	cmd.Env = append(cmd.Env, envRequire+"=1")
	out, err = cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("--- FAIL")) || !bytes.Contains(out, []byte(want)) {
		t.Errorf("without namespaces but required: %v, want a failure with %q:\n%s", err, want, out)
	}
}
