// SPDX-License-Identifier: MIT

// Command badserver is a DHCPv6 server that delegates prefixes rightly until it is told to do something
// wrong: the faults that real servers have, one at a time or several together. For tests alone.
//
// It does not know the client under test: messages are read by another library and written by
// hand. It routes nothing and keeps no leases: whoever asks gets what its IAID had. With -odhcpd it behaves as
// OpenWrt's server instead, with leases and routes, and faults come on top. Start at server.answer; parseMode says how
// faults are named.
package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "badserver:", err)
		os.Exit(1)
	}
}

func run() error {
	var c config
	flag.Usage = usage
	iface := flag.String("interface", "wg0", "`NAME` to serve on")
	pool := flag.String("pool", "2001:db8:ebbd:9900::/56", "`PREFIX` to delegate from")
	addr := flag.String("address", "", "`ADDRESS` for the first IA_NA (default: none has any)")
	flag.IntVar(&c.length, "length", 64, "of a delegation")
	t1, t2 := flag.Uint("t1", 10, "seconds"), flag.Uint("t2", 16, "seconds")
	preferred, valid := flag.Uint("preferred", 60, "seconds"), flag.Uint("valid", 90, "seconds")
	flag.IntVar(&c.mtu, "mtu", 1420, "of the interface")
	dns := flag.String("dns", "2001:db8:0:6::53", "`ADDRESS` of the DNS server")
	flag.StringVar(&c.search, "search", "lan.example", "search `DOMAIN`")
	start := flag.String("mode", wordGood, "`WORDS` to begin with")
	control := flag.String("control", "", "`FILE` with a command, read upon SIGHUP: \"mode WORDS\", \"reconfigure WORDS\"; with -odhcpd also\n"+
		"\"upstream PREFIX PREFERRED VALID …\", \"clock SECONDS\" (of the wall, forward) and \"stray\" (a Solicit by another client)")
	like := flag.Bool("odhcpd", false, "behave as OpenWrt's odhcpd; the pool is the prefix of the interface, and the lifetimes are its own")
	least := flag.Int("least", 62, "shortest `LENGTH` of a delegation, with -odhcpd")
	maxPref, maxValid := flag.Uint("max-preferred", 2700, "seconds, with -odhcpd"), flag.Uint("max-valid", 5400, "seconds, with -odhcpd")
	others := flag.Int("others", 0, "`NUMBER` of other clients that were quicker, with -odhcpd")
	flag.Parse()
	c.times = times{uint32(*t1), uint32(*t2), uint32(*preferred), uint32(*valid)}
	if _, err := rand.Read(c.key[:]); err != nil {
		return err
	}
	m, err := parseMode(*start)
	if err != nil {
		return err
	}
	if c.pool, err = netip.ParsePrefix(*pool); err != nil {
		return err
	}
	if c.dns, err = netip.ParseAddr(*dns); err != nil {
		return err
	}
	if *addr != "" {
		if c.addr, err = netip.ParseAddr(*addr); err != nil {
			return err
		}
	}
	s := &server{config: c, mode: m}
	if *like {
		s.odhcpd = &odhcpd{now: time.Now, minLength: *least, maxPref: uint32(*maxPref), maxV: uint32(*maxValid)}
		if err := s.odhcpd.upstream([]string{c.pool.String(), fmt.Sprint(c.preferred), fmt.Sprint(c.valid)}); err != nil {
			return err
		}
		s.odhcpd.others(*others)
	} else if free := c.length - c.pool.Bits(); free < 2 || free > 32 {
		return fmt.Errorf("pool %s cannot be cut into /%d: between 2 and 32 bits are needed for the number", c.pool, c.length)
	}
	return serve(*iface, *control, s)
}

func usage() {
	out := bufio.NewWriter(flag.CommandLine.Output())
	fmt.Fprintf(out, "badserver is a DHCPv6 server that does wrong on purpose.\n\nWORDS of a mode, with commas between:\n")
	fmt.Fprintf(out, "  %-24s nothing is wrong\n  %-24s Rapid Commit is done\n  %-24s a second server answers too, rightly\n", wordGood, wordRapid, wordTwo)
	fmt.Fprintf(out, "  %-24s a status with the prefix (prefix=), instead of leases (pd=, na=), or of all IAs (top=)\n", "WHERE=STATUS")
	for _, f := range faults() {
		fmt.Fprintf(out, "  %-24s %s\n", f.name, f.what)
	}
	fmt.Fprintf(out, "A fault may be for the answers to some messages only: renew+rebind:FAULT.\n\noptions:\n")
	_ = out.Flush() // standard error: there is no better place to complain
	flag.PrintDefaults()
}

// packet is a datagram from a client.
type packet struct {
	from *net.UDPAddr
	data []byte
}

// serve is the edge: it ends with the program.
func serve(iface, control string, s *server) error {
	ifi, err := net.InterfaceByName(iface)
	if err != nil {
		return err
	}
	conn, err := net.ListenMulticastUDP("udp6", ifi, &net.UDPAddr{IP: net.ParseIP("ff02::1:2"), Port: 547})
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	packets := make(chan packet)
	failed := make(chan error, 1)
	go func() {
		for {
			buf := make([]byte, 1<<16)
			n, from, err := conn.ReadFromUDP(buf)
			if err != nil {
				failed <- err
				return
			}
			packets <- packet{from, buf[:n]}
		}
	}()
	l := loop{server: s, conn: conn, router: router{iface: iface}}
	var second <-chan time.Time
	if s.odhcpd != nil {
		second = time.NewTicker(time.Second).C
		if err := l.router.flush(); err != nil {
			return err
		}
	}
	fmt.Printf("ready on %s: mode %s\n", iface, s.mode.text)
	for {
		select {
		case err := <-failed:
			return err
		case p := <-packets:
			l.take(p)
		case <-hup:
			if err := l.command(control); err != nil {
				fmt.Println("refused:", err)
			}
		case <-second:
			l.send(l.tick()...)
		}
		if err := l.route(); err != nil {
			return err
		}
	}
}

// loop is what owns the server.
type loop struct {
	*server
	conn   *net.UDPConn
	router router
	back   *net.UDPAddr // to the last client
	got    int
}

// route makes the kernel's routes those of the leases.
func (l *loop) route() error {
	if l.odhcpd == nil {
		return nil
	}
	return l.router.set(l.odhcpd.routes())
}

func (l *loop) take(p packet) {
	in, err := dhcpv6.MessageFromBytes(p.data)
	if err != nil {
		fmt.Printf("got what is no message, from %s: %v\n", p.from, err)
		return
	}
	l.got++
	l.back, l.from = p.from, p.from.AddrPort().Addr().WithZone("")
	fmt.Printf("got %d: %s\n", l.got, describe(in))
	out := l.answer(in)
	if err := l.route(); err != nil { // before the answer
		fmt.Println("not routed:", err)
	}
	l.send(out...)
}

func (l *loop) send(out ...datagram) {
	for _, d := range out {
		if _, err := l.conn.WriteToUDP(d.data, l.back); err != nil {
			fmt.Println("not sent:", err)
			continue
		}
		fmt.Printf("sent %d octets: %s\n", len(d.data), d.text)
	}
}

// command does what the control file says.
func (l *loop) command(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	verb, rest, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	switch verb {
	case "mode":
		m, err := parseMode(rest)
		if err != nil {
			return err
		}
		l.mode = m
		fmt.Printf("mode %s\n", rest)
	case "reconfigure":
		d, err := l.reconfigure(strings.Fields(rest))
		if err != nil {
			return err
		}
		l.send(d)
	default:
		if l.odhcpd == nil {
			return errors.New("no command " + verb)
		}
		return l.odhcpdCommand(verb, strings.Fields(rest))
	}
	return nil
}

// odhcpdCommand does what only an odhcpd can be told.
func (l *loop) odhcpdCommand(verb string, words []string) error {
	switch verb {
	case "upstream":
		if err := l.odhcpd.upstream(words); err != nil {
			return err
		}
		l.send(l.tick()...)
	case "clock":
		s, err := strconv.Atoi(strings.Join(words, " "))
		if err != nil {
			return err
		}
		l.odhcpd.wall += time.Duration(s) * time.Second
	case "stray":
		d, err := l.stray()
		if err != nil {
			return err
		}
		fmt.Printf("for another client: %s\n", d.text)
	default:
		return errors.New("no command " + verb)
	}
	fmt.Println("done:", strings.Join(append([]string{verb}, words...), " "))
	return nil
}
