// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// BadServerPackage is the DHCPv6 server that does wrong, for Build.
const BadServerPackage = "oasis6/internal/netlab/badserver"

// BadServer is that server on R2. Its output has a line for each message got and sent.
type BadServer struct {
	*Proc
	world   *World
	control string
}

// StartBadServer runs the bad server on R2 in place of Kea: use NoDHCPv6, and StartR2 before. It
// delegates from the world's pool, which R2 routes. mode says what is wrong, "good" nothing; flags are
// those of the program, as "-t1=30".
func (w *World) StartBadServer(mode string, flags ...string) *BadServer {
	w.T.Helper()
	control := w.R2.Path("badserver")
	args := []string{Build(w.T, BadServerPackage), "-interface", "wg0", "-pool", w.Config.Pool.String(), "-control", control, "-mode", mode}
	b := &BadServer{Proc: w.R2.Start(append(args, flags...)...), world: w, control: control}
	if !b.WaitOutput(startTimeout, "ready on ") {
		w.T.Fatalf("r2: badserver does not serve:\n%s", b.Output())
	}
	return b
}

// StartOdhcpd is StartBadServer for a server that behaves as OpenWrt's odhcpd: the world's pool is the prefix of its
// interface. Mode "rapid" is what odhcpd does; "good", without Rapid Commit, lets clients have the key of Reconfigures.
// Use ServerRoutes: it makes the routes. Starting it again is what a reboot of the router is: nothing is remembered.
func (w *World) StartOdhcpd(mode string, flags ...string) *BadServer {
	w.T.Helper()
	return w.StartBadServer(mode, append([]string{"-odhcpd", "-preferred=86400", "-valid=86400"}, flags...)...)
}

// Upstream tells a server like odhcpd what prefixes its interface has: "PREFIX PREFERRED VALID", any number of times.
func (b *BadServer) Upstream(words string) {
	b.world.T.Helper()
	b.command("upstream "+words, "done: upstream "+words+"\n")
}

// StepClock moves the wall clock of a server like odhcpd.
func (b *BadServer) StepClock(by time.Duration) {
	b.world.T.Helper()
	words := fmt.Sprintf("clock %d", by/time.Second)
	b.command(words, "done: "+words+"\n")
}

// Stray lets a server like odhcpd have a Solicit from a machine that uses the client's DUID and IAIDs.
func (b *BadServer) Stray() {
	b.world.T.Helper()
	b.command("stray", "done: stray\n")
}

// Mode changes what is wrong with the server: faults of the program's list, and "good".
func (b *BadServer) Mode(words string) {
	b.world.T.Helper()
	b.command("mode "+words, "mode "+words+"\n")
}

// Reconfigure sends a Reconfigure to the client that was there last: "renew", "rebind wrong-key".
func (b *BadServer) Reconfigure(words string) {
	b.world.T.Helper()
	b.command("reconfigure "+words, ": Reconfigure "+words+"\n")
}

// command waits for the line that says that it was done.
func (b *BadServer) command(text, done string) {
	b.world.T.Helper()
	if err := os.WriteFile(b.control, []byte(text), 0o600); err != nil {
		b.world.T.Fatalf("r2: %v", err)
	}
	before := len(b.Output())
	b.Signal(unix.SIGHUP)
	if !b.WaitNewOutput(5*time.Second, before, done) {
		b.world.T.Fatalf("r2: badserver does not do %q:\n%s", text, b.Output()[before:])
	}
}

// Got is how many messages have come whose line contains the text, for example "RENEW ".
func (b *BadServer) Got(text string) (n int) {
	for line := range strings.Lines(b.Output()) {
		if strings.HasPrefix(line, "got ") && strings.Contains(line, text) {
			n++
		}
	}
	return n
}
