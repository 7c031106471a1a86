// SPDX-License-Identifier: MIT

// Package trial brings the tunnel of a configuration up for a moment, without root and interface, and says step by step
// what works and what to do where something does not: the endpoint, the handshake, the prefix, the MTU, round-trip times,
// one DNS query and one fetch over IPv6. It is what `oasis6 try` does.
//
// It asks for a prefix as a DHCPv6 client of its own, never as the box, and gives it back. It must not know the terminal.
// Start at Run.
package trial

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"oasis6/config"
	"oasis6/router"
	"oasis6/tun/gauge"
)

// Tunnel is one WireGuard end without interface; see gauge.End, which it is outside of tests.
type Tunnel interface {
	link
	shaking
	sizing
	Close() error
}

// link carries whole IPv6 packets. A packet that is sent is the link's afterwards, one that came the receiver's.
type link interface {
	Send(packet []byte) error
	Packets() <-chan []byte
}

// shaking shows handshakes: Handshakes gives the time from initiation to response of each that was completed.
type shaking interface {
	Initiate()
	Handshakes() <-chan time.Duration
	Signs() gauge.Signs
}

// sizing says how WireGuard's datagrams are made.
type sizing interface {
	SetMTU(mtu int)
	Fragment() error
}

// Outside is what a trial asks of the machine beside the tunnel. Each call returns with its context.
type Outside interface {
	Lookup(ctx context.Context, host string) ([]netip.Addr, error)
	// MTU is what the kernel knows of the path; the error says that there is no route.
	MTU(to netip.AddrPort) (int, error)
	Ping(ctx context.Context, to netip.Addr) (time.Duration, error)
	Reach(ctx context.Context, to netip.AddrPort) gauge.Reach
}

// Options say what to try. Config, Outside, Open, Connect and Rand are required.
type Options struct {
	Config  *config.Config
	Target  Target         // of the fetch; zero: none
	DNS     netip.AddrPort // server to ask; zero: the file's, else the one that came with the prefix
	Quick   bool           // one handshake, not three
	Timeout time.Duration  // how long one step may wait for answers; zero: DefaultTimeout
	// Held are prefixes that a box of this machine has: whatever a server says, they are not given back.
	Held []netip.Prefix

	Outside Outside
	Open    func(gauge.Config) (Tunnel, error)
	Connect Connect
	Rand    func() float64 // uniform in [0,1); transaction ids are made of it, so it should not be easily guessed
	// Say gets each step as it ends; nil: nobody listens.
	Say func(Step)
}

// DefaultTimeout holds three initiations of WireGuard, 5 s apart, and most of what DHCPv6 repeats.
const DefaultTimeout = 15 * time.Second

// State is how a step ended.
type State string

const (
	Passed   State = "passed"
	Failed   State = "failed"
	Skipped  State = "skipped"   // there is nothing to try it with; no failure
	NotTried State = "not tried" // an earlier step has failed
)

// Step is one step with its end.
type Step struct {
	N      int      `json:"n"`
	Name   string   `json:"name"`
	State  State    `json:"state"`
	TookS  float64  `json:"took_s"`
	Text   string   `json:"text"`             // one line
	Notes  []string `json:"notes,omitempty"`  // what else there is to know
	Advice []string `json:"advice,omitempty"` // what to do, the likeliest first
}

// RTT is one round-trip time, the least of several.
type RTT struct {
	To      string  `json:"to"`
	How     string  `json:"how"`
	MS      float64 `json:"ms"`
	Samples int     `json:"samples"`
}

// Report is a whole trial.
type Report struct {
	PublicKey string `json:"public_key"`
	Hub       string `json:"hub"` // its public key
	Passed    bool   `json:"passed"`
	Steps     []Step `json:"steps"`

	Endpoint string   `json:"endpoint,omitempty"`
	Prefixes []string `json:"prefixes,omitempty"`
	Source   string   `json:"source,omitempty"`   // address that was used in the IPv6 Internet
	PathMTU  int      `json:"path_mtu,omitempty"` // what the kernel knows of the outer path
	BoxMTU   int      `json:"box_mtu,omitempty"`  // of the tunnel, as the box would have it
	MTU      int      `json:"mtu,omitempty"`      // of the tunnel, as measured
	RTTs     []RTT    `json:"rtts,omitempty"`
	// Released says whether the server has the prefix back; absent: there was none to give back.
	Released *bool `json:"released,omitempty"`
	// Release is how that went, in words.
	Release string `json:"release,omitempty"`
}

// errNoKey is a file whose key has not been made yet.
var errNoKey = errors.New("there is no private key yet: PrivateKeyFile names a file that does not exist: oasis6 run makes one, and the hub must know its public key")

// Run tries everything, and returns when the prefix is given back. The error says that there is nothing to try; what fails is
// in the Report. When ctx ends, the trial ends early, but still gives back what it has.
func Run(ctx context.Context, opt Options) (Report, error) {
	cfg := opt.Config
	switch {
	case cfg.Interface.PrivateKey.IsZero():
		return Report{}, errNoKey
	case len(cfg.Peers) == 0:
		return Report{}, errors.New("there is no [Peer]: nobody to bring a tunnel up with")
	}
	if opt.Timeout == 0 {
		opt.Timeout = DefaultTimeout
	}
	if opt.Say == nil {
		opt.Say = func(Step) {}
	}
	r := &run{Options: opt, tun: router.TunnelConfig(cfg)}
	r.own, r.hub = r.tun.LinkLocal, r.tun.Peer.LinkLocal
	r.report.PublicKey, r.report.Hub = r.tun.PrivateKey.Public().String(), r.tun.Peer.Public.String()
	defer r.close()
	for _, s := range r.steps() {
		r.step(ctx, s)
	}
	r.giveBack(ctx)
	r.report.Passed = true
	for _, s := range r.report.Steps {
		r.report.Passed = r.report.Passed && (s.State == Passed || s.State == Skipped)
	}
	return r.report, nil
}

// task is a step before it is done. needs says why it cannot be tried, empty: it can.
type task struct {
	name  string
	needs func() string
	do    func(ctx context.Context) outcome
}

// outcome is what a step comes to.
type outcome struct {
	state  State
	text   string
	notes  []string
	advice []string
}

func passed(text string) outcome  { return outcome{state: Passed, text: text} }
func skipped(text string) outcome { return outcome{state: Skipped, text: text} }
func failed(text string, advice ...string) outcome {
	return outcome{state: Failed, text: text, advice: advice}
}

func (r *run) steps() []task {
	return []task{
		{"endpoint", func() string { return "" }, r.resolve},
		{"handshake", r.needsEndpoint, r.shake},
		{"prefix", r.needsTunnel, r.prefix},
		{"mtu", r.needsTunnel, r.measureMTU},
		{"rtt", r.needsTunnel, r.measureRTT},
		{"dns", r.needsSource, r.askDNS},
		{"fetch", r.needsSource, r.fetch},
	}
}

// step does one, says how it ended and keeps it.
func (r *run) step(ctx context.Context, t task) {
	begin := time.Now()
	s := Step{N: len(r.report.Steps) + 1, Name: t.name}
	var o outcome
	if why := t.needs(); why != "" {
		o = outcome{state: NotTried, text: why}
	} else if ctx.Err() != nil {
		o = outcome{state: NotTried, text: "interrupted"}
	} else if o = t.do(ctx); ctx.Err() != nil && o.state == Failed {
		o = failed("interrupted")
	}
	s.State, s.Text, s.Notes, s.Advice = o.state, o.text, o.notes, o.advice
	s.TookS = seconds(time.Since(begin))
	r.report.Steps = append(r.report.Steps, s)
	r.Say(s)
}

// seconds has three places: JSON is for people, too.
func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond)/time.Millisecond) / 1000
}
