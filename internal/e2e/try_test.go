// SPDX-License-Identifier: MIT

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"oasis6/internal/netlab"
	"oasis6/internal/wgkey"
	"oasis6/trial"
)

// tryFile is where nobody finds the file that he is to try, in R1's own /run.
const tryFile = "/run/try.conf"

// trialReport is what `oasis6 try --json` prints.
type trialReport struct {
	File string
	trial.Report
}

func (r trialReport) step(name string) trial.Step {
	i := slices.IndexFunc(r.Steps, func(s trial.Step) bool { return s.Name == name })
	if i < 0 {
		return trial.Step{}
	}
	return r.Steps[i]
}

// asNobody is the command line of somebody without any right: user nobody, or where the lab has one user only, that one
// without capabilities.
func asNobody(args ...string) []string {
	as := []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"}
	if text, err := os.ReadFile("/proc/self/uid_map"); err == nil && !strings.HasSuffix(strings.TrimSpace(string(text)), " 1") {
		as = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"}
	}
	return append(as, args...)
}

// startTry lets nobody in R1 try a file of that text.
func (b *box) startTry(name, text string, extra ...string) *netlab.Proc {
	b.Helper()
	b.R1.WriteFile(name, text, 0o600)
	if as := asNobody(); as[1] == "--reuid=65534" {
		b.R1.Run("chown", "65534:65534", name)
	}
	return b.R1.Start(asNobody(append([]string{b.bin, "try", "--json", name}, extra...)...)...)
}

// try waits for the end, and holds the exit code against the report.
func (b *box) try(text string, extra ...string) trialReport {
	b.Helper()
	return b.tried(b.startTry(tryFile, text, extra...))
}

func (b *box) tried(p *netlab.Proc) trialReport {
	b.Helper()
	code := p.WaitTimeout(90 * time.Second)
	begin, end := strings.Index(p.Output(), "{\n"), strings.LastIndex(p.Output(), "\n}")
	var r trialReport
	if begin < 0 || end < begin {
		b.Fatalf("exit code %d, no report:\n%s", code, p.Output())
	}
	if err := json.Unmarshal([]byte(p.Output()[begin:end+2]), &r); err != nil {
		b.Fatalf("%v:\n%s", err, p.Output())
	}
	for _, s := range r.Steps {
		b.Logf("%s", s)
	}
	if (code == 0) != r.Passed || code > 1 || len(r.Steps) != 7 {
		b.Errorf("exit code %d, passed %v, %d steps", code, r.Passed, len(r.Steps))
	}
	return r
}

// wantStep checks how a step ended and what it says.
func (b *box) wantStep(r trialReport, name string, state trial.State, text string) {
	b.Helper()
	s := r.step(name)
	if s.State != state || !strings.Contains(s.Text, text) {
		b.Errorf("step %s %s: %q, want %s and %q", name, s.State, s.Text, state, text)
	}
	if (s.State == trial.Failed) != (len(s.Advice) > 0) {
		b.Errorf("step %s %s has the advice %q", name, s.State, s.Advice)
	}
}

const wwwName = "www.example"

// serveDNS answers at R2's DNS server's address: AAAA of www.example, NS of the root.
func (b *box) serveDNS() {
	b.Helper()
	b.WWW.Run("ip", "-6", "addr", "add", netlab.DNSv6+"/64", "dev", "eth1", "nodad")
	var pc net.PacketConn
	err := b.WWW.Do(func() (err error) {
		pc, err = net.ListenPacket("udp6", net.JoinHostPort(netlab.DNSv6, "53"))
		return err
	})
	if err != nil {
		b.Fatalf("www: %v", err)
	}
	done := make(chan struct{})
	b.Cleanup(func() { _ = pc.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if m := dnsAnswer(buf[:n]); m != nil {
				_, _ = pc.WriteTo(m, from) // the client sees that nothing came
			}
		}
	}()
}

func dnsAnswer(q []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(q) != nil || len(m.Questions) != 1 {
		return nil
	}
	h := dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60}
	m.Response, m.RecursionAvailable = true, true
	switch q := m.Questions[0]; {
	case q.Type == dnsmessage.TypeNS && q.Name.String() == ".":
		m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.NSResource{NS: dnsmessage.MustNewName("a.example.")}}}
	case q.Type == dnsmessage.TypeAAAA && q.Name.String() == wwwName+".":
		m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(netlab.WWWv6).As16()}}}
	default:
		m.RCode = dnsmessage.RCodeNameError
	}
	b, _ := m.Pack() // of what Unpack has given
	return b
}

// Somebody without any right brings up the tunnel of upstream wireguard-go and Kea through two NATs, and leaves nothing.
func TestTry(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.serveDNS()
	b.StartR2()
	before6, before4 := b.R1.Snapshot6(), b.R1.Snapshot4()
	r := b.try(b.BoxConfig(), "--url", "http://"+wwwName+"/")
	b.wantStep(r, "endpoint", trial.Passed, netlab.R2v4)
	b.wantStep(r, "handshake", trial.Passed, b.HubKey.Public().String())
	b.wantStep(r, "prefix", trial.Passed, "by DHCPv6")
	b.wantStep(r, "mtu", trial.Passed, "1440 octets pass") // 1500 less 60
	b.wantStep(r, "rtt", trial.Passed, "the least of 3 handshakes")
	b.wantStep(r, "dns", trial.Passed, netlab.WWWv6)
	b.wantStep(r, "fetch", trial.Passed, "200 OK")
	if r.PublicKey != b.BoxKey.Public().String() || r.Endpoint != fmt.Sprintf("%s:%d", netlab.R2v4, netlab.R2Port) || r.BoxMTU != 1420 || r.PathMTU != 1500 {
		t.Errorf("report %+v", r.Report)
	}
	source, err := netip.ParseAddr(r.Source)
	if err != nil || !delegated.Contains(source) || !strings.Contains(r.step("fetch").Text, r.Source) {
		t.Errorf("source %q, %v, want one out of %s", r.Source, err, delegated)
	}
	if r.Released == nil || !*r.Released {
		t.Errorf("released %v: %s", r.Released, r.Release)
	}
	if hows := fmt.Sprint(r.RTTs); len(r.RTTs) < 3 || !strings.Contains(hows, "initiation to response") || !strings.Contains(hows, netlab.DNSv6) {
		t.Errorf("rtts %v, want by handshake, to the hub and to %s", r.RTTs, netlab.DNSv6)
	}
	b.wantState("after a trial", before6, before4)
	if leases := b.KeaLeases(); !releasedInKea(leases) {
		t.Errorf("Kea's lease is still valid:\n%s", leases)
	}
	b.start() // the box is not disturbed by what was there before
	b.waitOnline(b.H1)
}

// releasedInKea says whether the last line about a lease gives it a valid lifetime of 0.
func releasedInKea(leases string) bool {
	last := ""
	for line := range strings.Lines(leases) {
		if strings.HasPrefix(line, "2001:") {
			last = line
		}
	}
	f := strings.Split(last, ",")
	return len(f) > 2 && f[2] == "0"
}

// All that can be wrong with keys, told apart by what the wire shows.
func TestTryWrongKeys(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.StartR2()
	other := wgkey.GeneratePrivate()
	config := b.BoxConfig()
	trials := map[string]*netlab.Proc{}
	for name, text := range map[string]string{
		"own": strings.Replace(config, b.BoxKey.Reveal(), other.Reveal(), 1),
		"hub": strings.Replace(config, b.HubKey.Public().String(), other.Public().String(), 1),
		"psk": strings.Replace(config, "[Peer]\n", "[Peer]\nPresharedKey = "+other.Reveal()+"\n", 1),
	} {
		trials[name] = b.startTry("/run/"+name+".conf", text, "--timeout", "6s")
	}
	for name, want := range map[string]string{
		"own": "does not answer this key: UDP reaches the host", "hub": "does not answer this key: UDP reaches the host",
		"psk": "the preshared keys differ",
	} {
		r := b.tried(trials[name])
		b.wantStep(r, "handshake", trial.Failed, want)
		b.wantStep(r, "prefix", trial.NotTried, "")
		if advice := strings.Join(r.step("handshake").Advice, " "); name == "own" && !strings.Contains(advice, other.Public().String()) {
			t.Errorf("the advice does not name this end's key: %s", advice)
		}
	}
}

// UDP that does not get through: dropped and rejected on the way, rejected at the hub, and nobody there.
func TestTryUDPBlocked(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.StartR2()
	reject := func(n *netlab.Node, hook, words string) {
		n.Run("nft", "add table ip block; add chain ip block c { type filter hook "+hook+" priority filter; }; add rule ip block c meta l4proto udp "+words)
	}
	heal := func(n *netlab.Node) { n.Run("nft", "delete", "table", "ip", "block") }
	for _, c := range []struct {
		name, want string
		do, undo   func()
	}{
		{"dropped on the way", "but the host answers TCP", b.CutTunnel, b.HealTunnel},
		{"rejected on the way", "203.0.113.1 says: port unreachable, and that is not the hub: UDP is blocked on the way",
			func() { reject(b.Inet, "forward", "reject") }, func() { heal(b.Inet) }},
		{"prohibited on the way", "203.0.113.1 says: communication administratively prohibited",
			func() { reject(b.Inet, "forward", "reject with icmp type admin-prohibited") }, func() { heal(b.Inet) }},
		{"dropped at this end", "datagrams to 203.0.113.66:51820 do not leave: ", func() { reject(b.R1, "output", "drop") }, func() { heal(b.R1) }},
		{"nobody listens", "203.0.113.66 says: port unreachable: nobody listens on UDP port 51820", b.StopR2, func() {}},
	} {
		c.do()
		r := b.try(b.BoxConfig(), "--timeout", "5s")
		c.undo()
		if s := r.step("handshake"); s.State != trial.Failed || !strings.Contains(s.Text, c.want) {
			t.Errorf("%s: %s: %s, want %q", c.name, s.State, s.Text, c.want)
		}
	}
}

// No server, and one that does not give.
func TestTryWithoutPrefix(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{NoDHCPv6: true})
	b.StartR2()
	r := b.try(b.BoxConfig(), "--timeout", "5s", "--quick")
	b.wantStep(r, "handshake", trial.Passed, "")
	b.wantStep(r, "prefix", trial.Failed, "no DHCPv6 server runs at the hub")
	b.wantStep(r, "mtu", trial.Passed, "")
	b.wantStep(r, "rtt", trial.Passed, "of one handshake")
	b.wantStep(r, "dns", trial.NotTried, "no global IPv6 address")
	b.R2.Run("wg", "set", "wg0", "peer", b.BoxKey.Public().String(), "allowed-ips", netlab.DefaultPool)
	r = b.try(b.BoxConfig(), "--timeout", "5s", "--quick")
	b.wantStep(r, "prefix", trial.Failed, "the hub drops what comes from this end's link-local address")
	b.wantStep(r, "mtu", trial.Skipped, "")
}

// A prefix that the provider routes, with a file as wg-quick takes it.
func TestTryBrokersFile(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{NoDHCPv6: true})
	b.serveDNS()
	b.StartR2()
	text := fmt.Sprintf(`[Interface]
PrivateKey = %s
Address = 2001:db8:ebbd:9900::2/128, 192.0.2.200/32
PostUp = echo this is never executed
DNS = %s
# routed prefix: 2001:db8:ebbd:9900::/56

[Peer]
PublicKey = %s
Endpoint = %s:%d
AllowedIPs = 0.0.0.0/0, ::/0
`, b.BoxKey.Reveal(), netlab.DNSv6, b.HubKey.Public(), netlab.R2v4, netlab.R2Port)
	r := b.try(text, "--quick", "--url", "http://["+netlab.WWWv6+"]/")
	b.wantStep(r, "prefix", trial.Passed, "2001:db8:ebbd:9900::/56, from the file")
	b.wantStep(r, "dns", trial.Passed, "answers")
	b.wantStep(r, "fetch", trial.Passed, "200 OK")
	if r.Released != nil {
		t.Errorf("released %v: there was nothing to release", *r.Released)
	}
}

// The path MTU: told by ICMP, and a hole that swallows what is too long.
func TestTryMTU(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.serveDNS()
	b.StartR2()
	for _, n := range []*netlab.Node{b.Inet, b.R2} {
		n.Run("ip", "link", "set", map[*netlab.Node]string{b.Inet: "r2", b.R2: "eth0"}[n], "mtu", "1407")
	}
	r := b.try(b.BoxConfig(), "--quick", "--url", "http://"+wwwName+"/")
	b.wantStep(r, "mtu", trial.Passed, "1347 octets pass") // 1407 less 60
	b.wantStep(r, "fetch", trial.Passed, "200 OK")
	if r.PathMTU != 1407 || r.BoxMTU != 1327 {
		t.Errorf("path %d, box %d, want what the kernel has learned: 1407 and 1327", r.PathMTU, r.BoxMTU)
	}
	b.R1.Run("ip", "route", "flush", "cache")
	b.Inet.Run("nft", "add table ip hole; add chain ip hole c { type filter hook output priority filter; }; add rule ip hole c icmp type destination-unreachable drop")
	r = b.try(b.BoxConfig(), "--quick", "--url", "http://"+wwwName+"/")
	b.wantStep(r, "mtu", trial.Failed, "packets of more than 1347 octets get lost without a word")
	if advice := fmt.Sprint(r.step("mtu").Advice); !strings.Contains(advice, "MTU = 1347") {
		t.Errorf("the advice does not name what fits: %s", advice)
	}
	b.wantStep(r, "fetch", trial.Passed, "200 OK")
}

// A box that runs here keeps its session and its lease.
func TestTryBesideTheBox(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	leases := b.KeaLeases()
	b.R1.WriteFile(tryFile, b.BoxConfig(), 0o600)
	out, err := b.R1.Try(b.bin, "try", "--run", b.BoxRun(), "--state", b.BoxState(), tryFile)
	if err == nil || !strings.Contains(err.Error(), "the box that runs here has the key of this file") {
		t.Errorf("try beside a box of the same key: %q, %v, want a refusal", out, err)
	}
	if now := b.KeaLeases(); now != leases || !b.online(b.H1) {
		t.Errorf("the refused trial harmed the box: leases\n%swere\n%s", now, leases)
	}
	before := b.status().Prefixes[0].Prefix
	r := b.tried(b.R1.Start(b.bin, "try", "--json", "--force", "--quick", "--run", b.BoxRun(), "--state", b.BoxState(), tryFile))
	b.wantStep(r, "prefix", trial.Passed, "by DHCPv6")
	if len(r.Prefixes) != 1 || r.Prefixes[0] == before || r.Released == nil || !*r.Released {
		t.Errorf("prefixes %q, released %v, want another than the box's %s, and that one given back", r.Prefixes, r.Released, before)
	}
	if !netlab.Poll(30*time.Second, func() bool { return b.online(b.H1) }) {
		t.Errorf("the box has not come back:\n%s", b.text())
	}
	if after := b.status().Prefixes[0].Prefix; after != before {
		t.Errorf("the box has %s, before the trial %s", after, before)
	}
}

// The same key in two places, at a hub of ours, which knows a site by its key: the box gets its session back by itself, and
// never loses its prefix.
func TestTryWithTheKeyOfABoxElsewhere(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	group := "0 0"
	if asNobody()[1] == "--reuid=65534" {
		group = "65534 65534"
	}
	b.R1.Sysctl("net.ipv4.ping_group_range", group)
	b.StartHub(b.hubBin)
	b.start()
	b.waitOnline(b.H1)
	before := b.status().Prefixes[0].Prefix
	r := b.try(b.BoxConfig(), "--quick", "--url", "http://["+netlab.WWWv6+"]/") // it looks for a box in the usual place
	ended := time.Now()
	for _, s := range []string{"handshake", "prefix", "mtu", "rtt", "fetch"} {
		b.wantStep(r, s, trial.Passed, "")
	}
	b.wantStep(r, "rtt", trial.Passed, "by ICMP echo")
	if len(r.Prefixes) != 1 || r.Prefixes[0] == before || r.Released == nil || !*r.Released {
		t.Errorf("prefixes %q, released %v, want another than the box's %s, and that one given back", r.Prefixes, r.Released, before)
	}
	if !netlab.Poll(enough, func() bool { return b.H1.Ping(netlab.WWWv6) == nil }) {
		t.Errorf("the box is still cut off %v after the trial\n%s", enough, b.text())
	}
	t.Logf("the box was back %v after the trial", time.Since(ended).Round(100*time.Millisecond))
	if after := b.status().Prefixes[0].Prefix; after != before {
		t.Errorf("the box has %s, before the trial %s", after, before)
	}
	for line := range strings.Lines(b.R2.Run(b.HubArgs(b.hubBin, "hub", "leases")...)) {
		state := "bound"
		if strings.HasPrefix(line, r.Prefixes[0]+" ") {
			state = "released"
		} else if !strings.HasPrefix(line, before+" ") {
			continue
		}
		if !strings.Contains(line, " "+state+" ") {
			t.Errorf("the hub's leases: %swant %s", line, state)
		}
	}
}
