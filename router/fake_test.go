// SPDX-License-Identifier: MIT

package router

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	lib "github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/dataplane/dataplanetest"
	"oasis6/dhcpv6"
	"oasis6/internal/control"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/ra"
	"oasis6/status"
	"oasis6/tun"
	"oasis6/tun/health"
)

// bubbleClock is the boot clock of a synctest bubble.
type bubbleClock struct {
	t *time.Timer
	c chan struct{}

	mu        sync.Mutex
	suspended time.Duration // for so long the bubble's time stood still, and this clock did not
	at        time.Time
}

func newBubbleClock() *bubbleClock {
	b := &bubbleClock{c: make(chan struct{}, 1)}
	b.t = time.AfterFunc(time.Hour, func() {
		select {
		case b.c <- struct{}{}:
		default:
		}
	})
	b.t.Stop()
	return b
}

func (b *bubbleClock) Now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Round(0).Add(b.suspended)
}

// suspend is a suspend of the machine: the timer fires at the end if its time has come meanwhile.
func (b *bubbleClock) suspend(d time.Duration) {
	b.mu.Lock()
	b.suspended += d
	at := b.at
	b.mu.Unlock()
	_ = b.Set(at) // never fails
}

func (b *bubbleClock) C() <-chan struct{} {
	return b.c
}
func (b *bubbleClock) Set(at time.Time) error {
	now := b.Now()
	b.mu.Lock()
	b.at = at
	b.mu.Unlock()
	b.t.Stop()
	if !at.IsZero() {
		b.t.Reset(max(at.Sub(now), 0))
	}
	return nil
}

// hub is a tunnel with a model hub at its far end: it shakes hands when answering is on, and delegates
// prefix when that is valid.
type hub struct {
	mu         sync.Mutex
	answering  bool
	prefix     netip.Prefix
	old        netip.Prefix // named with lifetimes 0, when valid
	preferred  time.Duration
	valid      time.Duration
	dns        []netip.Addr
	clock      func() time.Time        // the boot clock of the box
	address    netip.Addr              // given to whoever asks for an IA_NA, when valid
	asked      []*lib.Message          // what came
	deaf       bool                    // to probes
	forgotten  bool                    // the session, until the next handshake: the hub was started anew
	ra         *ra.RouterAdvertisement // nil: the hub is no router
	rs, badRS  int                     // Router Solicitations, and what else came as ICMPv6
	strict     bool                    // keep what is neither ICMPv6 nor DHCPv6
	strange    []string
	events     chan tun.Event
	sample     health.Sample
	snap       tun.Snapshot
	initiated  int
	sent       []lib.MessageType
	reconfig   []tun.Config
	reconfigEr error
}

var boxLL = netip.MustParseAddr("fe80::a")

func newHub(prefix string) *hub {
	h := &hub{
		answering: true, preferred: 45 * time.Minute, valid: 90 * time.Minute,
		events: make(chan tun.Event, 64),
		snap: tun.Snapshot{
			Interface: "oasis0", LinkLocal: boxLL, MTU: 1420, EndpointName: "198.51.100.2:51820",
			Endpoint: netip.MustParseAddrPort("198.51.100.2:51820"),
		},
	}
	if prefix != "" {
		h.prefix = netip.MustParsePrefix(prefix)
	}
	return h
}

func (h *hub) Events() <-chan tun.Event { return h.events }
func (h *hub) Snapshot() tun.Snapshot   { h.mu.Lock(); defer h.mu.Unlock(); return h.snap }
func (h *hub) Sample() health.Sample    { h.mu.Lock(); defer h.mu.Unlock(); return h.sample }
func (h *hub) Reconfigure(c tun.Config) error {
	h.reconfig = append(h.reconfig, c)
	return h.reconfigEr
}

// Perform makes a handshake of no duration, and answers each probe.
func (h *hub) Perform(a health.Actions, _ health.Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.Probe {
		h.sample.DataSent++
		if h.answering && !h.forgotten && !h.deaf {
			h.sample.Life += 100
		}
	}
	if !a.Initiate {
		return
	}
	h.initiated++
	h.forgotten = false
	h.sample.Initiations++
	if h.answering {
		now := h.clock()
		h.sample.LastHandshake, h.snap.HandshakeAt = now, now
		h.sample.Life += 92
		h.events <- tun.Handshake{At: now}
	}
}

// solicited answers a Router Solicitation, if the hub is a router that says something.
func (h *hub) solicited(m ip6pkt.Message) {
	if _, problems, drop := ra.ParseRS(m.Src, int(m.HopLimit), m.Body); drop != 0 || len(problems) > 0 || m.Dst != ra.AllRouters {
		h.badRS++
		return
	}
	h.rs++
	if h.ra != nil {
		h.advertise()
	}
}

// advertise sends the RA to all nodes.
func (h *hub) advertise() {
	b, err := h.ra.Append(nil)
	if err != nil {
		panic(err) // the test made it
	}
	h.events <- tun.Received{Packet: ip6pkt.ICMPv6(netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::1"), 255, b)}
}

// got is what has come, oldest first.
func (h *hub) got() []*lib.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}

// count is how many messages of a type have come.
func (h *hub) count(t lib.MessageType) (n int) {
	for _, m := range h.got() {
		if m.MessageType == t {
			n++
		}
	}
	return n
}

// answer turns the hub on or off.
func (h *hub) answer(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answering = on
}

func (h *hub) Send(p []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sample.DataSent++
	if !h.answering {
		return nil
	}
	h.sample.Life += 100
	if m, err := ip6pkt.ParseICMPv6(p); err == nil {
		h.solicited(m)
		return nil
	}
	u, err := ip6pkt.ParseUDP(p)
	if err == nil && h.strict && (u.Src.Port() != dhcpv6.ClientPort || u.Dst.Port() != dhcpv6.ServerPort) {
		err = fmt.Errorf("from %s to %s", u.Src, u.Dst)
	}
	if err != nil {
		h.strange = append(h.strange, err.Error())
		return err
	}
	m, err := lib.MessageFromBytes(u.Payload)
	if err != nil {
		return err
	}
	h.sent, h.asked = append(h.sent, m.MessageType), append(h.asked, m)
	if !h.prefix.IsValid() {
		return nil
	}
	reply := ip6pkt.UDP(netip.MustParseAddr("fe80::1"), boxLL, dhcpv6.ServerPort, dhcpv6.ClientPort, 64, h.reply(m))
	h.events <- tun.Received{Packet: reply}
	return nil
}

func (h *hub) reply(m *lib.Message) []byte {
	out := &lib.Message{MessageType: lib.MessageTypeReply, TransactionID: m.TransactionID}
	out.AddOption(lib.OptClientID(m.Options.ClientID()))
	out.AddOption(lib.OptServerID(&lib.DUIDEN{EnterpriseNumber: 32473, EnterpriseIdentifier: []byte{1}}))
	if m.GetOneOption(lib.OptionRapidCommit) != nil {
		out.AddOption(&lib.OptionGeneric{OptionCode: lib.OptionRapidCommit})
	}
	if m.MessageType == lib.MessageTypeRelease || m.MessageType == lib.MessageTypeDecline {
		out.AddOption(&lib.OptStatusCode{})
		return out.ToBytes()
	}
	if na := m.Options.OneIANA(); na != nil && h.address.IsValid() {
		given := &lib.OptIANA{IaId: na.IaId}
		given.Options.Add(&lib.OptIAAddress{IPv6Addr: h.address.AsSlice(), PreferredLifetime: h.preferred, ValidLifetime: h.valid})
		out.AddOption(given)
	}
	if len(h.dns) > 0 {
		out.AddOption(lib.OptDNS(ips(h.dns)...))
	}
	if m.Options.OneIAPD() == nil {
		return out.ToBytes()
	}
	ia := &lib.OptIAPD{IaId: m.Options.OneIAPD().IaId}
	ia.Options.Add(&lib.OptIAPrefix{
		PreferredLifetime: h.preferred, ValidLifetime: h.valid,
		Prefix: ipNet(h.prefix),
	})
	if h.old.IsValid() {
		ia.Options.Add(&lib.OptIAPrefix{Prefix: ipNet(h.old)})
	}
	out.AddOption(ia)
	return out.ToBytes()
}

// boxTest is a whole box in a bubble: real machines and loop, fake edges.
type boxTest struct {
	*testing.T
	hub      *hub
	plane    *dataplanetest.Plane
	r        *Router
	opt      Options
	commands chan control.Command
	ended    chan error
}

const lanLL = "fe80::200:5eff:fe00:5301"

func lanLink(name string) dataplane.Link {
	return dataplane.Link{
		Name: name, Index: 3, MAC: [6]byte{0, 0, 0x5e, 0, 0x53, 1}, HasMAC: true,
		LinkLocal: netip.MustParseAddr(lanLL), Up: true, Exists: true, MTU: 1500, Bridge: true,
	}
}

// testBox makes a box that is not running yet; the LAN is up.
func testBox(t *testing.T, prefix string) *boxTest {
	cfg := boxConfig()
	cfg.Interface.PrivateKey = wgkey.Private{1}
	b := &boxTest{T: t, hub: newHub(prefix), plane: dataplanetest.New(), commands: make(chan control.Command), ended: make(chan error, 1)}
	b.opt = Options{
		Config: cfg, Tunnel: b.hub, Plane: b.plane, Clock: newBubbleClock(),
		Rand: func() float64 { return 0.5 }, Wall: time.Now, BootID: "boot", State: t.TempDir(),
		Log: slog.New(slog.DiscardHandler), Version: "test", Commands: b.commands,
		Reload: func() (*config.Config, error) { return cfg, nil },
	}
	b.hub.clock = b.opt.Clock.Now
	b.plane.SetLink(lanLink("br-lan"))
	return b
}

func (b *boxTest) start() {
	b.Helper()
	r, err := New(b.opt)
	if err != nil {
		b.Fatalf("New: %v", err)
	}
	b.r = r
	go func() { b.ended <- r.Run(context.Background()) }()
	synctest.Wait()
}

// command sends a command and waits until the box is idle, or has ended.
func (b *boxTest) command(c control.Command) {
	b.commands <- c
	synctest.Wait()
}

// end stops the box if it still runs: a bubble must not leave goroutines.
func (b *boxTest) end() {
	select {
	case b.commands <- control.Handover:
		<-b.ended
	case <-b.r.done:
	}
	synctest.Wait()
}

func (b *boxTest) after(d time.Duration) {
	_ = b.opt.Clock.Now() // its lock makes what the test wrote visible to the box: a timer alone orders nothing
	time.Sleep(d)
	synctest.Wait()
}

func (b *boxTest) status() status.Snapshot {
	b.Helper()
	s, err := b.r.Snapshot(context.Background())
	if err != nil {
		b.Fatalf("Snapshot: %v", err)
	}
	return s
}

func (b *boxTest) wantSummary(prefix string) {
	b.Helper()
	if s := b.status(); !strings.HasPrefix(s.Summary, prefix) {
		b.Errorf("summary = %q, want it to begin with %q (problems %q)", s.Summary, prefix, s.Problems)
	}
}

// newRAs are the RAs sent to a LAN since the last call, parsed.
func (b *boxTest) newRAs(iface string) []ra.RouterAdvertisement {
	b.Helper()
	nd := b.plane.ND(iface)
	if nd == nil {
		return nil
	}
	var out []ra.RouterAdvertisement
	for len(nd.Out) > 0 {
		s := <-nd.Out
		m, problems, drop := ra.ParseRA(netip.MustParseAddr(lanLL), 255, s.Data)
		if drop != 0 || len(problems) > 0 {
			b.Fatalf("RA to %s on %s: %v, %v", s.To, iface, drop, problems)
		}
		out = append(out, m)
	}
	return out
}

// lastRA is the newest of newRAs.
func (b *boxTest) lastRA(iface string) ra.RouterAdvertisement {
	b.Helper()
	all := b.newRAs(iface)
	if len(all) == 0 {
		b.Fatalf("no RA on %s", iface)
	}
	return all[len(all)-1]
}

func raPrefixes(m ra.RouterAdvertisement) []ra.PrefixInformation {
	var out []ra.PrefixInformation
	for _, o := range m.Options {
		if p, ok := o.(ra.PrefixInformation); ok {
			out = append(out, p)
		}
	}
	return out
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128)}
}

func ips(as []netip.Addr) (out []net.IP) {
	for _, a := range as {
		out = append(out, a.AsSlice())
	}
	return out
}

func (b *boxTest) leaseFile() string {
	data, err := os.ReadFile(filepath.Join(b.opt.State, "lease.json"))
	if err != nil {
		return ""
	}
	return string(data)
}

func endpointChanged(s string) tun.Event {
	return tun.EndpointChanged{AddrPort: netip.MustParseAddrPort(s)}
}
