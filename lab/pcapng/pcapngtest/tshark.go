// SPDX-License-Identifier: MIT

// Package pcapngtest lets Wireshark judge captures in tests. It must not know how they are made. Start at Tshark.
package pcapngtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Tshark reads a capture with these arguments and gives what it prints. Without tshark the test is skipped, where the
// namespaces are required too it fails; it also fails where tshark finds the file itself damaged.
func Tshark(t *testing.T, capture []byte, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("OASIS6_REQUIRE_NETNS") == "1" {
			t.Fatal("needs tshark:", err)
		}
		t.Skip("needs tshark (apt-get install tshark):", err)
	}
	file := filepath.Join(t.TempDir(), "test.pcapng")
	if err := os.WriteFile(file, capture, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{"-n", "-r", file}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || strings.Contains(stderr.String(), "appears to be") {
		t.Fatalf("tshark: %v\n%s", err, stderr.String())
	}
	return string(out)
}

// Fields gives these fields of each packet, parted by |, a line for each.
func Fields(t *testing.T, capture []byte, fields ...string) []string {
	t.Helper()
	args := []string{"-T", "fields", "-E", "separator=|", "-t", "ud", "-o", "udp.check_checksum:TRUE"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	return strings.Split(strings.TrimSuffix(Tshark(t, capture, args...), "\n"), "\n")
}
