// SPDX-License-Identifier: MIT

// Package simseal turns what simulated tunnels sent into true WireGuard messages, for captures: the
// same sizes, indices, counters and content, with the cryptography that lab/simwg leaves out. Ephemeral
// keys come from a seed, so the same run gives the same file.
//
// It works on messages in their order and remembers handshakes and sessions, no more than named here.
// It must not know wires, time or files. Start at New and Sealer.Frame.
package simseal

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/lab/noise"
	"oasis6/lab/pcapng"
	"oasis6/lab/simwg/device"
)

// Bounds of what is remembered; the oldest go. They are far more than a capture of ours has.
const (
	maxShakes   = 8192 // initiations and responses
	maxSessions = 8192 // each under both of its indices
	maxSecrets  = 4096
)

// Config is whose messages they are.
type Config struct {
	// Keys are the private keys of all ends: a message of another cannot be made.
	Keys []wgkey.Private
	// Preshared is the preshared key of two ends; nil: there are none.
	Preshared func(initiator, responder wgkey.Public) wgkey.Preshared
	// Seed makes ephemeral keys. It stands for randomness, so it should be the run's.
	Seed wgkey.Private
}

// Sealer makes true messages of simulated ones. Not safe for concurrent use.
type Sealer struct {
	cfg      Config
	ends     []*end
	byKey    map[wgkey.Public]*end
	shakes   memory[*shake]
	sessions memory[*noise.Session]
	cookies  map[[2]wgkey.Public][16]byte // by who was asked for it and who asked
	secrets  []pcapng.Secrets
}

// end is one device.
type end struct {
	private wgkey.Private
	public  wgkey.Public
	// probe is a simulated device with this key and no peers: it tells which messages are for the key.
	probe *device.Device
}

// shake is a handshake message that was sealed, by the index of its sender.
type shake struct {
	random   [32]byte         // in place of the ephemeral key in the simulated message: tells it from others
	begun    *noise.Handshake // nil: a response
	from, to wgkey.Public
	sealed   []byte
}

// New makes a sealer that has seen nothing.
func New(cfg Config) *Sealer {
	s := &Sealer{
		cfg: cfg, byKey: map[wgkey.Public]*end{}, cookies: map[[2]wgkey.Public][16]byte{},
		shakes: newMemory[*shake](maxShakes), sessions: newMemory[*noise.Session](maxSessions),
	}
	for _, k := range cfg.Keys {
		e := &end{private: k, public: k.Public()}
		e.probe = device.New(device.Config{Public: e.public, Rand: func() uint64 { return 0 }})
		s.ends, s.byKey[e.public] = append(s.ends, e), e
	}
	return s
}

// Secrets are the keys of all handshakes that were sealed, for the capture; oldest first.
func (s *Sealer) Secrets() []pcapng.Secrets { return append([]pcapng.Secrets(nil), s.secrets...) }

// Seal makes a true message of a simulated one; the result has the same length. Not ok: it is none, or of keys or a
// handshake that were not seen. The same message may come several times, as it does on several wires.
func (s *Sealer) Seal(datagram []byte) (sealed []byte, ok bool) {
	m, err := device.Parse(datagram)
	if err != nil {
		return nil, false
	}
	switch m := m.(type) {
	case device.Initiation:
		return s.initiation(m, datagram)
	case device.Response:
		return s.response(m)
	case device.Cookie:
		return s.cookie(m)
	case device.Transport:
		for _, x := range s.sessions.get(m.Receiver) {
			return x.Seal(m.Receiver, m.Counter, m.Content), true
		}
	}
	return nil, false
}

// ephemeral is the key that stands for random octets of the simulation.
func (s *Sealer) ephemeral(random [32]byte) wgkey.Private {
	k := wgkey.Private(s.cfg.Seed.Derive("ephemeral " + string(random[:])))
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k
}

// addressee is the end that the initiation was made for: no field says it, but only one takes it.
func (s *Sealer) addressee(datagram []byte) *end {
	from := netip.AddrPortFrom(netip.IPv4Unspecified(), 1)
	for _, e := range s.ends {
		if e.probe.Step(time.Time{}, device.Received{From: from, Data: datagram}).Verdict == device.Stranger {
			return e
		}
	}
	return nil
}

// before is a message that came already, on another wire; nil if it is new.
func (s *Sealer) before(index uint32, random [32]byte) *shake {
	for _, x := range s.shakes.get(index) {
		if x.random == random {
			return x
		}
	}
	return nil
}

func (s *Sealer) initiation(m device.Initiation, datagram []byte) ([]byte, bool) {
	if x := s.before(m.Sender, m.Ephemeral); x != nil {
		return bytes.Clone(x.sealed), true
	}
	from, to := s.byKey[m.Static], s.addressee(datagram)
	if from == nil || to == nil {
		return nil, false
	}
	k := pcapng.Secrets{Static: from.private, Remote: to.public, Ephemeral: s.ephemeral(m.Ephemeral)}
	if s.cfg.Preshared != nil {
		k.Preshared = s.cfg.Preshared(from.public, to.public)
	}
	b, begun := noise.Begin(k, m.Sender, m.Time)
	s.finish(b, from.public, to.public, m.MAC2)
	s.shakes.put(m.Sender, &shake{m.Ephemeral, begun, from.public, to.public, bytes.Clone(b)})
	if len(s.secrets) == maxSecrets {
		s.secrets = append(s.secrets[:0], s.secrets[1:]...)
	}
	s.secrets = append(s.secrets, k)
	return b, true
}

func (s *Sealer) response(m device.Response) ([]byte, bool) {
	if x := s.before(m.Sender, m.Ephemeral); x != nil {
		return bytes.Clone(x.sealed), true
	}
	for _, x := range s.shakes.get(m.Receiver) {
		if x.begun == nil {
			continue
		}
		b, session := x.begun.Respond(s.ephemeral(m.Ephemeral), m.Sender)
		s.finish(b, x.to, x.from, m.MAC2)
		s.shakes.put(m.Sender, &shake{m.Ephemeral, nil, x.to, x.from, bytes.Clone(b)})
		s.sessions.put(session.Initiator, session)
		s.sessions.put(session.Responder, session)
		return b, true
	}
	return nil, false
}

// finish adds MACs; mac2 is that of the simulated message, zero for none.
func (s *Sealer) finish(b []byte, from, to wgkey.Public, mac2 [16]byte) {
	var cookie [16]byte
	if mac2 != cookie {
		cookie = s.cookies[[2]wgkey.Public{from, to}]
	}
	noise.AddMACs(b, to, cookie)
}

// cookie is asked for by the end that a handshake message was for.
func (s *Sealer) cookie(m device.Cookie) ([]byte, bool) {
	for _, x := range s.shakes.get(m.Receiver) {
		s.cookies[[2]wgkey.Public{x.from, x.to}] = m.Cookie
		return noise.CookieReply(x.to, m.Receiver, m.Nonce, m.Cookie, [16]byte(x.sealed[len(x.sealed)-32:])), true
	}
	return nil, false
}

// Offsets in a frame of Ethernet and IPv4.
const (
	etherLen  = 14
	etherIPv4 = 0x0800
	ipv4Len   = 20
	protoUDP  = 17
	udpLen    = ip6pkt.UDPHeaderLen
)

// Frame is an Ethernet frame with its simulated message sealed, or the frame itself if it has none that can be. The frame
// given is not changed.
func (s *Sealer) Frame(frame []byte) []byte {
	at, end, ok := payload(frame)
	if !ok {
		return frame
	}
	b, ok := s.Seal(frame[at:end])
	if !ok || len(b) != end-at {
		return frame
	}
	out := append([]byte(nil), frame...)
	copy(out[at:], b)
	udp := out[at-udpLen : end]
	if udp[6]|udp[7] == 0 {
		return out // without a checksum, as IPv4 allows
	}
	udp[6], udp[7] = 0, 0
	// The pseudo-header of IPv6 gives the sum of IPv4's: it has the addresses mapped, and the 0xffff of that adds nothing.
	src, dst := netip.AddrFrom4([4]byte(out[etherLen+12:])), netip.AddrFrom4([4]byte(out[etherLen+16:]))
	sum := ip6pkt.Checksum(src, dst, protoUDP, udp)
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return out
}

// payload is where in a frame a whole datagram of UDP over IPv4 lies.
func payload(f []byte) (at, end int, ok bool) {
	if len(f) < etherLen+ipv4Len || binary.BigEndian.Uint16(f[12:]) != etherIPv4 {
		return 0, 0, false
	}
	ip := f[etherLen:]
	header, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if ip[0]>>4 != 4 || header < ipv4Len || total > len(ip) || total < header+udpLen || ip[9] != protoUDP || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 {
		return 0, 0, false
	}
	n := int(binary.BigEndian.Uint16(ip[header+4:]))
	if n < udpLen || header+n > total {
		return 0, 0, false
	}
	return etherLen + header + udpLen, etherLen + header + n, true
}
