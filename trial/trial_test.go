// SPDX-License-Identifier: MIT

package trial

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"oasis6/dhcpv6"
	"oasis6/tun/gauge"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile("testdata/"+name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

// The whole report, as JSON and as text: a change of either is one that users see.
func TestEverythingPasses(t *testing.T) {
	inBubble(t, "three handshakes", func(t *testing.T, w *world) {
		opt := options(t, w, fileText())
		var said strings.Builder
		opt.Say = func(s Step) { said.WriteString(s.String()) }
		begin := time.Now()
		r := tried(t, t.Context(), opt)
		if !r.Passed || len(r.Bad()) > 0 {
			t.Errorf("bad steps %q", r.Bad())
		}
		if d := time.Since(begin); d < 2*gauge.Between || d > 2*gauge.Between+5*time.Second {
			t.Errorf("it took %v, want little more than three handshakes %v apart", d, gauge.Between)
		}
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "passed.json", string(text)+"\n")
		golden(t, "passed.txt", said.String())
		if w.closed != 1 || w.shaken != 3 {
			t.Errorf("%d handshakes, closed %d times", w.shaken, w.closed)
		}
		if last := w.got[len(w.got)-1]; last != dhcpv6.Release {
			t.Errorf("the last DHCPv6 message is %s, want Release", last)
		}
	})
	inBubble(t, "quick", func(t *testing.T, w *world) {
		opt := options(t, w, fileText())
		opt.Quick = true
		begin := time.Now()
		if r := tried(t, t.Context(), opt); !r.Passed || time.Since(begin) > 5*time.Second || w.shaken != 1 {
			t.Errorf("passed %v after %v and %d handshakes", r.Passed, time.Since(begin), w.shaken)
		}
	})
}

func want(t *testing.T, r Report, name string, state State, text string) Step {
	t.Helper()
	i := slices.IndexFunc(r.Steps, func(s Step) bool { return s.Name == name })
	s := r.Steps[i]
	if s.State != state || !strings.Contains(s.Text, text) {
		t.Errorf("%s %s: %q, want %s and %q", name, s.State, s.Text, state, text)
	}
	if (s.State == Failed) != (len(s.Advice) > 0) && s.Text != "interrupted" {
		t.Errorf("%s %s, advice %q", name, s.State, s.Advice)
	}
	return s
}

func TestEndpoint(t *testing.T) {
	for text, wanted := range map[string]string{
		strings.Replace(fileText(), "hub.example.net", "hub.example", 1):                     "hub.example cannot be resolved: there is no such name",
		strings.Replace(fileText(), "hub.example.net", "[2001:db8::66]", 1):                  "no way to 2001:db8::66: network is unreachable",
		strings.Replace(fileText(), "Endpoint = hub.example.net:51820\n", "", 1):             "the file has no Endpoint",
		strings.Replace(fileText(), "PublicKey", "PublicKey", 1) + "# nothing is wrong here": "",
	} {
		inBubble(t, wanted, func(t *testing.T, w *world) {
			r := tried(t, t.Context(), options(t, w, text))
			if wanted == "" {
				want(t, r, "endpoint", Passed, "hub.example.net is 203.0.113.66:51820")
				return
			}
			want(t, r, "endpoint", Failed, wanted)
			want(t, r, "handshake", NotTried, "")
			if r.Passed || len(r.Bad()) != 7 {
				t.Errorf("passed %v, bad %q", r.Passed, r.Bad())
			}
		})
	}
}

func fault(from string, f gauge.Fault) gauge.Fault {
	f.From = netip.MustParseAddr(from)
	return f
}

// Silence and its reasons, by what the wire shows.
func TestNoHandshake(t *testing.T) {
	refused := gauge.Fault{What: "port unreachable", Refused: true}
	hub, between := fault("203.0.113.66", refused), fault("198.51.100.1", refused)
	prohibited := gauge.Fault{What: "communication administratively prohibited", Forbidden: true}
	for _, c := range []struct {
		name  string
		signs gauge.Signs
		reach gauge.Reach
		want  string
		most  time.Duration
	}{
		{"preshared key", gauge.Signs{Initiations: 1, Responses: 1}, gauge.Reach{}, "the preshared keys differ", 2 * time.Second},
		{"load", gauge.Signs{Initiations: 3, Cookies: 3}, gauge.Reach{}, "is under load", 16 * time.Second},
		{"firewall here", gauge.Signs{SendError: syscall.EPERM}, gauge.Reach{}, "do not leave: operation not permitted", 2 * time.Second},
		{"nobody listens", gauge.Signs{Initiations: 1, Faults: []gauge.Fault{hub}}, gauge.Reach{}, "nobody listens on UDP port 51820", 2 * time.Second},
		{"rejected at the hub", gauge.Signs{Initiations: 1, Faults: []gauge.Fault{fault("203.0.113.66", prohibited)}}, gauge.Reach{}, "its firewall rejects UDP port 51820", 2 * time.Second},
		{"rejected on the way", gauge.Signs{Initiations: 1, Faults: []gauge.Fault{between}}, gauge.Reach{}, "198.51.100.1 says: port unreachable, and that is not the hub", 2 * time.Second},
		{"prohibited on the way", gauge.Signs{Initiations: 1, Faults: []gauge.Fault{fault("198.51.100.1", prohibited)}}, gauge.Reach{}, "UDP is blocked on the way", 2 * time.Second},
		{"no such host", gauge.Signs{Initiations: 1, Faults: []gauge.Fault{fault("198.51.100.1", gauge.Fault{What: "host unreachable"})}}, gauge.Reach{}, "there is no way to the hub", 2 * time.Second},
		{"wrong key", gauge.Signs{Initiations: 3}, gauge.Reach{ClosedPort: &hub, TCP: true}, "does not answer this key: UDP reaches the host", 16 * time.Second},
		{"other ports rejected", gauge.Signs{Initiations: 3}, gauge.Reach{ClosedPort: &between}, "UDP is blocked on the way", 16 * time.Second},
		{"TCP alone", gauge.Signs{Initiations: 3}, gauge.Reach{TCP: true, Echo: path}, "the host answers TCP and ICMP echo in 15ms", 16 * time.Second},
		{"echo alone", gauge.Signs{Initiations: 3}, gauge.Reach{Echo: path}, "the host answers ICMP echo in 15ms", 16 * time.Second},
		{"a message that was too long", gauge.Signs{Initiations: 3, Faults: []gauge.Fault{fault("198.51.100.1", gauge.Fault{What: "fragmentation needed", MTU: 1400})}}, gauge.Reach{}, "nothing comes back", 16 * time.Second},
		{"nothing", gauge.Signs{Initiations: 3}, gauge.Reach{}, "nothing comes back", 16 * time.Second},
	} {
		inBubble(t, c.name, func(t *testing.T, w *world) {
			w.silent, w.signs, w.reach = []netip.AddrPort{hubAt}, c.signs, c.reach
			begin := time.Now()
			r := tried(t, t.Context(), options(t, w, fileText()))
			want(t, r, "handshake", Failed, c.want)
			if d := time.Since(begin); d > c.most {
				t.Errorf("it took %v, want at most %v", d, c.most)
			}
			if w.closed != len(w.opened) {
				t.Errorf("%d tunnels opened, %d closed", len(w.opened), w.closed)
			}
		})
	}
}

func TestSecondAddressAnswers(t *testing.T) {
	inBubble(t, "second", func(t *testing.T, w *world) {
		first := netip.MustParseAddrPort("203.0.113.65:51820")
		w.names["hub.example.net"] = []netip.Addr{first.Addr(), hubAt.Addr()}
		w.silent = []netip.AddrPort{first}
		r := tried(t, t.Context(), options(t, w, fileText()))
		s := want(t, r, "handshake", Passed, "203.0.113.66:51820 answers")
		if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "203.0.113.65:51820") || w.closed != 2 {
			t.Errorf("notes %q, closed %d: want the first address in a note, and both closed", s.Notes, w.closed)
		}
	})
}

func TestTunnelCannotBeOpened(t *testing.T) {
	for cause, wanted := range map[error]string{
		fmt.Errorf("open UDP port 51820: %w", syscall.EADDRINUSE): "of this machine is in use",
		syscall.ENOBUFS: "no buffer space",
	} {
		inBubble(t, wanted, func(t *testing.T, w *world) {
			opt := options(t, w, fileText())
			opt.Open = func(gauge.Config) (Tunnel, error) { return nil, cause }
			r := tried(t, t.Context(), opt)
			i := slices.IndexFunc(r.Steps, func(s Step) bool { return s.Name == "handshake" })
			if s := r.Steps[i]; s.State != Failed || !strings.Contains(s.Text, wanted) {
				t.Errorf("%+v, want %q", s, wanted)
			}
		})
	}
}

// A trial's binding must not be the box's for any server, and be the same each time.
func TestIdentityIsNotTheBoxs(t *testing.T) {
	inBubble(t, "identity", func(t *testing.T, w *world) {
		tried(t, t.Context(), options(t, w, fileText("[Prefix]", "Hint = ::/60, ::/60")))
		own := ownKey.Public()
		if id := DUID(own); id == dhcpv6.DUIDFromPublicKey(own) || !slices.Contains(w.clients, id) || slices.ContainsFunc(w.clients, func(d dhcpv6.DUID) bool { return d != id }) {
			t.Errorf("DUIDs %q, want %s alone, which is not the box's %s", w.clients, id, dhcpv6.DUIDFromPublicKey(own))
		}
		for _, id := range w.iaids {
			if id != IAID && id != IAID+1 {
				t.Errorf("IAID %s, want %s and the next", id, IAID)
			}
		}
	})
}

func TestNoPrefix(t *testing.T) {
	for _, c := range []struct {
		name, want string
		set        func(w *world)
	}{
		{"no server", "no DHCPv6 server runs at the hub", func(w *world) { w.noDHCP = true }},
		{"a server that does not listen here", "but the hub answers echo requests", func(w *world) { w.deafDHCP = true }},
		{"a hub that drops link-local", "drops what comes from this end's link-local address", func(w *world) { w.deafDHCP, w.noEcho = true, true }},
		{"refused", "gives no prefix: ", func(w *world) { w.status = dhcpv6.NoPrefixAvail }},
	} {
		inBubble(t, c.name, func(t *testing.T, w *world) {
			c.set(w)
			opt := options(t, w, fileText())
			opt.Quick = true
			r := tried(t, t.Context(), opt)
			s := want(t, r, "prefix", Failed, c.want)
			if s.TookS > 20 {
				t.Errorf("it took %v s", s.TookS)
			}
			want(t, r, "rtt", Passed, "")
			want(t, r, "dns", NotTried, "no global IPv6 address")
			if r.Released != nil || slices.Contains(w.got, dhcpv6.Release) {
				t.Errorf("released %v, messages %v: there was nothing to release", r.Released, w.got)
			}
			if strings.ContainsRune(s.String(), 0x1b) {
				t.Errorf("a server plays with the terminal: %q", s.String())
			}
		})
	}
}

func TestPrefixThatIsTooSmall(t *testing.T) {
	inBubble(t, "72", func(t *testing.T, w *world) {
		w.delegated = netip.MustParsePrefix("2001:db8:ebbd:9900::/72")
		r := tried(t, t.Context(), options(t, w, fileText()))
		want(t, r, "prefix", Failed, "a LAN needs a /64")
		want(t, r, "fetch", Passed, "asked from 2001:db8:ebbd:9900::1")
		if r.Released == nil || !*r.Released {
			t.Errorf("released %v: %s", r.Released, r.Release)
		}
	})
}

func TestSourceAddress(t *testing.T) {
	for _, c := range []struct{ prefix, exclude, text, want string }{
		{"2001:db8:0:ff00::/56", "", "", "2001:db8:0:ff00::1"},
		{"2001:db8:0:ff00::/56", "", "[LAN]\nInterface = br-lan\nSubnet = 2a\n", "2001:db8:0:ff2a::1"},
		{"2001:db8:0:ff00::/64", "", "[LAN]\nInterface = br-lan\nSubnet = 2a\n", "2001:db8:0:ff00::1"},
		{"2001:db8:0:ff00::/56", "2001:db8:0:ff00::/64", "", "2001:db8:0:ff01::1"},
		{"2001:db8:0:ff00::/56", "2001:db8:0:ff0f::/64", "", "2001:db8:0:ff00::1"},
	} {
		w := newWorld(t)
		r := run{Options: options(t, w, fileText(c.text))}
		exclude, _ := netip.ParsePrefix(c.exclude)
		r.use(netip.MustParsePrefix(c.prefix), exclude)
		if r.source.String() != c.want {
			t.Errorf("%s without %q, %q: %s, want %s", c.prefix, c.exclude, c.text, r.source, c.want)
		}
	}
}

func TestStaticPrefix(t *testing.T) {
	inBubble(t, "static", func(t *testing.T, w *world) {
		opt := options(t, w, fileText("[Prefix]", "Prefix = 2001:db8:5::/56"))
		r := tried(t, t.Context(), opt)
		want(t, r, "prefix", Passed, "2001:db8:5::/56, from the file")
		want(t, r, "dns", Skipped, "no DNS server is known")
		s := want(t, r, "fetch", Passed, "asked from 2001:db8:5::1")
		if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "own resolver") || !r.Passed || len(w.got) > 0 {
			t.Errorf("notes %q, passed %v, DHCPv6 %v", s.Notes, r.Passed, w.got)
		}
	})
}

// What a box has is not given back, whatever the server says.
func TestHeldPrefixIsNotReleased(t *testing.T) {
	inBubble(t, "held", func(t *testing.T, w *world) {
		opt := options(t, w, fileText())
		opt.Held = []netip.Prefix{netip.MustParsePrefix("2001:db8:ebbd:9902::/64")}
		r := tried(t, t.Context(), opt)
		if r.Released == nil || *r.Released || slices.Contains(w.got, dhcpv6.Release) || !strings.Contains(r.Release, "a box of this machine has it") {
			t.Errorf("released %v, %q, messages %v", r.Released, r.Release, w.got)
		}
	})
}

func TestReleaseThatIsNotAnswered(t *testing.T) {
	inBubble(t, "no answer", func(t *testing.T, w *world) {
		w.noRelease = true
		r := tried(t, t.Context(), options(t, w, fileText()))
		if r.Released == nil || *r.Released || !strings.Contains(r.Release, "keeps it until") || !r.Passed {
			t.Errorf("released %v, %q, passed %v: want a word of it, and no failure", r.Released, r.Release, r.Passed)
		}
	})
}

// Whoever interrupts a trial leaves no lease behind.
func TestInterrupted(t *testing.T) {
	for _, after := range []time.Duration{10 * time.Millisecond, 70 * time.Millisecond, time.Second, 6 * time.Second} {
		inBubble(t, after.String(), func(t *testing.T, w *world) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			time.AfterFunc(after, cancel)
			begin := time.Now()
			r := tried(t, ctx, options(t, w, fileText()))
			if d := time.Since(begin) - after; d > time.Second || r.Passed {
				t.Errorf("it went on for %v, passed %v", d, r.Passed)
			}
			if bound := len(r.Prefixes) > 0; bound != slices.Contains(w.got, dhcpv6.Release) {
				t.Errorf("prefixes %q, messages %v", r.Prefixes, w.got)
			}
			interrupted := slices.ContainsFunc(r.Steps, func(s Step) bool { return s.Text == "interrupted" })
			if !interrupted || w.closed != len(w.opened) {
				t.Errorf("interrupted %v, %d opened, %d closed", interrupted, len(w.opened), w.closed)
			}
		})
	}
}

func TestMTU(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   func(w *world)
		text  string
		state State
		want  string
		mtu   int
	}{
		{"all fits", func(*world) {}, "", Passed, "1440 octets pass", 1440},
		{"PPPoE, and the kernel knows", func(w *world) { w.outerMTU, w.fits = 1492, 1432 }, "", Passed, "1432 octets pass", 1432},
		{"told by ICMP", func(w *world) { w.fits, w.learns = 1347, 1407 }, "", Passed, "the box would send up to 1327", 1347},
		{"a hole", func(w *world) { w.fits = 1347 }, "", Failed, "packets of more than 1347 octets get lost without a word", 1347},
		{"the file has too much", func(w *world) { w.fits = 1347 }, "MTU = 1400", Failed, "the file has MTU = 1400", 1347},
		{"the file has too much, and ICMP says so", func(w *world) { w.fits, w.learns = 1347, 1407 }, "MTU = 1400", Failed, "the file has MTU = 1400", 1347},
		{"the file has less", func(w *world) { w.fits = 1347 }, "MTU = 1300", Passed, "1347 octets pass", 1347},
		{"ICMP that lies", func(w *world) { w.fits, w.learns = 1300, 1460 }, "", Failed, "more than 1300 octets", 1300},
		{"just enough", func(w *world) { w.fits = 1280 }, "", Failed, "more than 1280 octets", 1280},
		{"in fragments alone", func(w *world) { w.fits = 1279 }, "", Failed, "write MTU", 1280},
		{"in fragments alone, and the box knows", func(w *world) { w.fits, w.outerMTU = 1200, 1260 }, "", Passed, "into fragments", 1280},
	} {
		inBubble(t, c.name, func(t *testing.T, w *world) {
			c.set(w)
			text := strings.Replace(fileText(), "[Peer]", c.text+"\n[Peer]", 1)
			opt := options(t, w, text)
			opt.Quick = true
			r := tried(t, t.Context(), opt)
			i := slices.IndexFunc(r.Steps, func(s Step) bool { return s.Name == "mtu" })
			s := r.Steps[i]
			if all := s.Text + fmt.Sprint(s.Advice); s.State != c.state || !strings.Contains(all, c.want) || r.MTU != c.mtu {
				t.Errorf("%s, mtu %d: %s; want %s, %d, %q", s.State, r.MTU, all, c.state, c.mtu, c.want)
			}
			if c.state == Failed && !strings.Contains(fmt.Sprint(s.Advice), fmt.Sprintf("MTU = %d", c.mtu)) {
				t.Errorf("advice %q, want MTU = %d", s.Advice, c.mtu)
			}
			if s.TookS > 10 {
				t.Errorf("it took %v s", s.TookS)
			}
		})
	}
}

func TestMTUOfTheHub(t *testing.T) {
	inBubble(t, "smaller", func(t *testing.T, w *world) {
		w.answersCut = 1380
		s := want(t, tried(t, t.Context(), options(t, w, fileText())), "mtu", Passed, "1440 octets pass")
		if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "smaller MTU, about 1376") {
			t.Errorf("notes %q", s.Notes)
		}
	})
}

// A hub that answers no echo requests is no fault; the DNS server is asked in its place.
func TestNoEcho(t *testing.T) {
	inBubble(t, "another host", func(t *testing.T, w *world) {
		w.noEcho = true
		r := tried(t, t.Context(), options(t, w, fileText()))
		want(t, r, "mtu", Passed, "1440 octets pass")
		want(t, r, "rtt", Passed, dnsAt.String()+" in 30ms")
	})
	inBubble(t, "nobody", func(t *testing.T, w *world) {
		w.noEcho, w.noFarEcho, w.echo = true, true, gauge.ErrNoEcho
		r := tried(t, t.Context(), options(t, w, fileText()))
		want(t, r, "mtu", Skipped, "nobody answers echo requests")
		s := want(t, r, "rtt", Passed, "from initiation to response")
		if len(s.Notes) != 3 || !r.Passed {
			t.Errorf("notes %q, passed %v", s.Notes, r.Passed)
		}
	})
}

func TestHandshakesThatEnd(t *testing.T) {
	inBubble(t, "one", func(t *testing.T, w *world) {
		w.handshakes = 1
		want(t, tried(t, t.Context(), options(t, w, fileText())), "rtt", Failed, "only 1 of 3 handshakes were completed")
	})
}

func TestDNS(t *testing.T) {
	for _, c := range []struct {
		name, want string
		set        func(w *world)
	}{
		{"refused", "answers Refused", func(w *world) { w.dnsCode = dnsmessage.RCodeRefused }},
		{"no such name", "that there is no www.example", func(w *world) { w.dnsCode = dnsmessage.RCodeNameError }},
		{"no AAAA", "has no IPv6 address", func(w *world) { w.names["www.example"] = []netip.Addr{} }},
		{"port unreachable", dnsAt.String() + " says: port unreachable", func(w *world) { w.dnsRefusal = codePort }},
		{"ingress policy", "ingress/egress policy", func(w *world) { w.dnsRefusal = codeSource }},
	} {
		inBubble(t, c.name, func(t *testing.T, w *world) {
			c.set(w)
			opt := options(t, w, fileText())
			opt.Quick = true
			want(t, tried(t, t.Context(), opt), "dns", Failed, c.want)
		})
	}
	inBubble(t, "silence", func(t *testing.T, w *world) {
		opt := options(t, w, fileText())
		opt.Quick, opt.DNS = true, netip.MustParseAddrPort("[2001:db8::99]:5353")
		want(t, tried(t, t.Context(), opt), "dns", Failed, "no answer from the DNS server 2001:db8::99")
	})
}

func TestFetch(t *testing.T) {
	for _, c := range []struct {
		name, page string
		state      State
		want       string
	}{
		{"page", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Passed, "200 OK, 5 octets"},
		{"redirect", "HTTP/1.1 301 Moved\r\nLocation: https://www.example/\r\n\r\n", Passed, "301 Moved, 0 octets"},
		{"old server", "HTTP/1.0 200\r\n\r\nhello", Passed, "200, 5 octets"},
		{"no page", "HTTP/1.1 404 Not Found\r\n\r\n", Failed, "404 Not Found: IPv6 works, the page does not"},
		{"cut", "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nhello", Failed, "broke off after 5 octets"},
		{"no HTTP", "SSH-2.0-x\r\n", Failed, "this is not HTTP"},
		{"endless", "HTTP/1.1 200 OK\r\nX: y\r\n", Failed, "the header does not end"},
		{"no connection", "", Failed, "no connection from 2001:db8:ebbd:9900::1"},
	} {
		inBubble(t, c.name, func(t *testing.T, w *world) {
			w.page = c.page
			opt := options(t, w, fileText())
			opt.Quick = true
			want(t, tried(t, t.Context(), opt), "fetch", c.state, c.want)
		})
	}
}

func TestNothingToTry(t *testing.T) {
	w := newWorld(t)
	opt := options(t, w, strings.Replace(fileText(), "PrivateKey = "+ownKey.Reveal(), "PrivateKeyFile = x.key", 1))
	if _, err := Run(t.Context(), opt); !errors.Is(err, errNoKey) {
		t.Errorf("without a key: %v", err)
	}
}

func TestParseTarget(t *testing.T) {
	for s, wanted := range map[string]Target{
		"http://www.example":             {Host: "www.example", Port: 80, Path: "/"},
		"http://www.example:8080/a?b=c":  {Host: "www.example", Port: 8080, Path: "/a?b=c"},
		"http://[2001:db8::80]/":         {Host: "2001:db8::80", Port: 80, Path: "/"},
		"http://[2001:db8::80]:8080/x y": {Host: "2001:db8::80", Port: 8080, Path: "/x%20y"},
	} {
		got, err := ParseTarget(s)
		wanted.text = s
		if err != nil || got != wanted {
			t.Errorf("%s: %+v, %v, want %+v", s, got, err, wanted)
		}
	}
	for s, wanted := range map[string]string{
		"https://www.example/": "not https", "ftp://x/": "want http://", "www.example": "want http://", "http://": "want http://",
		"http://192.0.2.1/": "IPv4 does not go through", "http://x:0/": "port", "http://u:p@x/": "want http://", "http://x/\r\nEvil: 1": "want http://",
	} {
		if got, err := ParseTarget(s); err == nil || !strings.Contains(err.Error(), wanted) {
			t.Errorf("%s: %+v, %v, want %q", s, got, err, wanted)
		}
	}
}
