// SPDX-License-Identifier: MIT

package tun

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"oasis6/internal/bootclock"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/netlab"
	"oasis6/internal/wgkey"
)

// The namespace test runs this test binary as a program that only opens a tunnel: a whole process, since
// goroutines do not stay in a namespace. It reads commands from a FIFO and prints what happens.
const (
	envFIFO = "OASIS6_TUN_FIFO"
	envPeer = "OASIS6_TUN_PEER"     // public key
	envTo   = "OASIS6_TUN_ENDPOINT" // host:port
)

// The keys of the test; nobody else uses them.
var (
	testBox = wgkey.Private{0: 0x08, 5: 0x66, 31: 0x41}
	testHub = wgkey.Private{0: 0x10, 5: 0x66, 31: 0x42}
)

func TestMain(m *testing.M) {
	if fifo := os.Getenv(envFIFO); fifo != "" {
		program := helper
		if os.Getenv(envHub) != "" {
			program = hubHelper
		}
		if err := program(fifo); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := netlab.Prefetch(netlab.WireGuardPackage); err != nil {
		fmt.Fprintln(os.Stderr, err) // the tests that need it say so again
	}
	netlab.Main(m)
}

func helperConfig() (Config, error) {
	public, err := wgkey.ParsePublic(os.Getenv(envPeer))
	return Config{
		Name: "oasis0", PrivateKey: testBox,
		Peer: Peer{
			Public: public, Endpoint: os.Getenv(envTo), LinkLocal: hubLL,
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("::/0")}, Keepalive: 25 * time.Second,
		},
	}, err
}

func helper(fifo string) error {
	cfg, err := helperConfig()
	if err != nil {
		return err
	}
	commands, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	idle := runtime.NumGoroutine()
	opened := bootclock.Now()
	t, err := open(cfg, slog.New(slog.NewTextHandler(os.Stdout, nil)), lateLookup())
	if err != nil {
		return err
	}
	fmt.Println("open mtu", t.Snapshot().MTU)
	lines := make(chan string)
	go func() {
		for s := bufio.NewScanner(commands); s.Scan(); {
			lines <- s.Text()
		}
	}()
	for {
		select {
		case ev := <-t.Events():
			printEvent(ev, opened)
		case cmd := <-lines:
			if cmd == "close" {
				if err := t.Close(); err != nil {
					return err
				}
				_ = t.Close() // twice is fine
				return leaked(idle + 1)
			}
			if err := command(t, cfg, cmd); err != nil {
				fmt.Println("error:", err)
			}
		}
	}
}

// lateLookup knows nothing at first, like a board whose DNS comes up after it.
func lateLookup() lookup {
	asked := 0
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		if asked++; asked == 1 {
			return nil, errors.New("lookup " + host + ": no such host")
		}
		return []netip.Addr{netip.MustParseAddr("2001:db8:dead::1"), netip.MustParseAddr("192.0.2.2")}, nil
	}
}

func printEvent(ev Event, opened time.Time) {
	switch ev := ev.(type) {
	case Received:
		if d, err := ip6pkt.ParseUDP(ev.Packet); err == nil {
			fmt.Println("received udp", d.Src.Port(), d.Dst.Port(), string(d.Payload))
			return
		}
		fmt.Println("received type", ev.Packet[40])
	case Handshake:
		fmt.Printf("handshake after %dms told %dms late\n", ev.At.Sub(opened).Milliseconds(), bootclock.Now().Sub(ev.At).Milliseconds())
	case MTUChanged:
		fmt.Println("mtu", ev.MTU)
	case EndpointChanged:
		fmt.Println("endpoint", ev.AddrPort)
	case Activity:
		fmt.Println("activity")
	case Failed:
		fmt.Println("failed:", ev.Err)
	}
}

func command(t *Tunnel, cfg Config, cmd string) error {
	word, arg, _ := strings.Cut(cmd, " ")
	switch word {
	case "solicit":
		return t.Send(ip6pkt.UDP(t.Snapshot().LinkLocal, hubLL, 546, 547, 1, []byte(arg)))
	case "initiate":
		t.Initiate()
	case "probe":
		return t.Probe()
	case "watch":
		t.WatchData(t.Sample())
	case "resolve":
		t.Resolve()
	case "reload":
		cfg.Peer.Keepalive = 20 * time.Second
		cfg.Peer.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("::/1"), netip.MustParsePrefix("8000::/1")}
		return t.Reconfigure(cfg)
	case "same":
		if err := t.Reconfigure(cfg); err != nil {
			return err
		}
		fmt.Println("reconfigured", arg)
	case "port":
		n, err := strconv.ParseUint(arg, 10, 16)
		if err != nil {
			return err
		}
		cfg.ListenPort, cfg.FwMark, cfg.Peer.Keepalive = uint16(n), 7, 20*time.Second
		return t.Reconfigure(cfg)
	case "missing":
		fmt.Println("missing", arg, t.Snapshot().PeerMissing)
	case "rename":
		cfg.Name = "other0"
		return t.Reconfigure(cfg)
	case "rebind":
		t.obs.broken.Store(true)
		signal(t.obs.trouble)
	case "second":
		_, err := Open(cfg, slog.New(slog.DiscardHandler))
		return err
	case "state":
		s, h := t.Snapshot(), t.Sample()
		fmt.Printf("state %s life %d sent %d silenced %d handshake %v endpoint %v port %v senderr %q inits %d lookup %q\n",
			arg, h.Life, h.DataSent, s.Silenced, !s.HandshakeAt.IsZero(), s.Endpoint, s.ListenPort > 0, s.SendError, t.inits.Load(), s.ResolveError)
	case "rss":
		b, err := os.ReadFile("/proc/self/status")
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "VmRSS") {
				fmt.Print("rss ", line)
			}
		}
		return err
	}
	return nil
}

// leaked waits for the goroutines of the libraries, which Close cannot wait for.
func leaked(want int) error {
	for range 100 {
		if runtime.NumGoroutine() <= want {
			fmt.Println("closed")
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	return fmt.Errorf("goroutines left after Close: want %d\n%s", want, buf[:runtime.Stack(buf, true)])
}
