// SPDX-License-Identifier: MIT

package e2e

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"oasis6/internal/jsonschema"
	"oasis6/internal/netlab"
	"oasis6/status"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// Waits of the tests. They are bounds against hanging, not measurements.
const (
	soon   = 5 * time.Second  // something local
	enough = 20 * time.Second // DAD, retransmissions, a busy machine
)

// inACrowd is what takes less than a second, as virtual time shows in package router, among a dozen worlds on two
// processors.
const inACrowd = 4 * time.Second

var delegated = netip.MustParsePrefix("2001:db8:ebbd:9900::/56")

// box is one world with the box in it. What belongs to a place (R1, H1, BoxArgs ...) is the Site's, which may be the
// world's second one.
type box struct {
	*testing.T
	*netlab.World
	*netlab.Site
	bin    string
	hubBin string
	proc   *netlab.Proc
	schema *jsonschema.Schema // every status of every test is held against it

	offSchema bool
}

// newBox makes a world whose R2 and box are not started. Other worlds run beside it.
func newBox(t *testing.T, c netlab.WorldConfig) *box {
	t.Helper()
	t.Parallel()
	return newLoneBox(t, c)
}

// newLoneBox makes a world with no other beside it, for tests that measure what may take a second: a dozen worlds on
// two processors take their time from each other.
func newLoneBox(t *testing.T, c netlab.WorldConfig) *box {
	t.Helper()
	schema, err := jsonschema.Read("../../docs/status.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	c.Userspace = c.Userspace || strings.HasPrefix(t.Name(), userspaceTest)
	w := netlab.NewWorld(t, c)
	b := &box{T: t, World: w, Site: w.Site, bin: boxBinary(t), hubBin: hubBinary(t), schema: schema}
	b.Settle() // snapshots are of a machine at rest
	return b
}

// second is the box of the world's second site.
func (b *box) second() *box {
	return &box{T: b.T, World: b.World, Site: b.B, bin: b.bin, hubBin: b.hubBin, schema: b.schema}
}

func (b *box) start(extra ...string) {
	b.Helper()
	b.proc = b.StartBox(b.bin, extra...)
}

// up starts everything and waits until h1 has IPv6.
func (b *box) up() {
	b.Helper()
	b.StartR2()
	b.start()
	b.waitOnline(b.H1)
}

// online says whether a host has a GUA out of the delegated pool, a default route and an echo reply.
func (b *box) online(h *netlab.Node) bool {
	return b.HostHasGUA(h, delegated) && b.HostDefaultRoute(h).IsValid() && h.Ping(netlab.WWWv6) == nil
}

func (b *box) waitOnline(h *netlab.Node) {
	b.Helper()
	if !netlab.Poll(enough, func() bool { return b.online(h) }) {
		b.Fatalf("%s is not on IPv6: GUAs %v, default route %v\n%s", h.Name, h.GUAs("eth0"), b.HostDefaultRoute(h), b.text())
	}
}

func (b *box) statusErr() (status.Snapshot, error) {
	b.Helper()
	var s status.Snapshot
	out, err := b.R1.Try(b.BoxArgs(b.bin, "status", "--json")...)
	if err != nil {
		return s, err
	}
	if bad := b.schema.Validate([]byte(out)); len(bad) > 0 && !b.offSchema {
		b.offSchema = true // once is enough: tests ask many times
		b.Errorf("status --json does not follow docs/status.schema.json: %q", bad)
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return s, err
	}
	if b.Config.Userspace && s.Dataplane != "userspace" {
		b.Fatalf("the box forwards by %q, want userspace: this test shows nothing", s.Dataplane)
	}
	return s, nil
}

func (b *box) status() status.Snapshot {
	b.Helper()
	s, err := b.statusErr()
	if err != nil {
		b.Fatalf("status: %v", err)
	}
	return s
}

// text is the status as an operator reads it, for failure texts.
func (b *box) text() string {
	out, err := b.R1.Try(b.BoxArgs(b.bin, "status")...)
	if err != nil {
		return err.Error()
	}
	return out
}

// waitSummary waits until the summary begins with the one text and contains the other.
func (b *box) waitSummary(begin, contains string) {
	b.Helper()
	b.waitSummaryFor(enough, begin, contains)
}

func (b *box) waitSummaryFor(d time.Duration, begin, contains string) {
	b.Helper()
	var last string
	if !netlab.Poll(d, func() bool {
		s, err := b.statusErr()
		last = s.Summary
		return err == nil && strings.HasPrefix(s.Summary, begin) && strings.Contains(s.Summary, contains)
	}) {
		b.Fatalf("summary = %q, want %q … %q\n%s", last, begin, contains, b.text())
	}
}

func (b *box) wantNoDefaultRoute(h *netlab.Node) {
	b.Helper()
	if via := b.HostDefaultRoute(h); via.IsValid() {
		b.Errorf("%s has a default route via %s, want none", h.Name, via)
	}
}

// stop ends the box with SIGTERM and checks how.
func (b *box) stop() {
	b.Helper()
	begin := time.Now()
	if code := b.proc.Stop(syscall.SIGTERM); code != 0 {
		b.Errorf("exit code after SIGTERM = %d, want 0\n%s", code, b.proc.Output())
	}
	if d := time.Since(begin); d > 3*time.Second {
		b.Errorf("SIGTERM took %v, want at most 3s", d)
	}
}

func (b *box) lease() string {
	data, err := os.ReadFile(b.BoxState() + "/lease.json")
	if err != nil {
		return err.Error()
	}
	return string(data)
}
