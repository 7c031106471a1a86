// SPDX-License-Identifier: MIT

package device

import (
	"net/netip"

	"oasis6/internal/bucket"
	"oasis6/internal/wgkey"
)

// What secrets are for, so that no two are the same.
const (
	labelMAC1      = "mac1"
	labelMAC2      = "mac2"
	labelStatic    = "static"
	labelTime      = "time"
	labelEmpty     = "empty"
	labelCookie    = "cookie"
	labelReply     = "cookie reply"
	labelInitiator = "from the initiator"
	labelResponder = "from the responder"
)

func secretOf(label string, parts ...[]byte) secret {
	k := secret{}.with([]byte(label))
	for _, p := range parts {
		k = k.with(p)
	}
	return k
}

// initiate sends an initiation, at most one in RekeyTimeout. A retry goes on counting attempts.
func (s *step) initiate(p *peer, retry bool) {
	if !retry {
		p.attempts = 0
	}
	if !p.shake.sentAt.IsZero() && s.now.Sub(p.shake.sentAt) < RekeyTimeout {
		return
	}
	s.dropIndex(p)
	h := &p.shake
	h.sentAt, h.begun = s.now, true
	h.local, h.hasLocal = s.newIndex(slot{peer: p}), true
	s.fill(h.ephemeral[:])

	b := make([]byte, InitiationLen)
	b[0] = TypeInitiation
	put32(b[offSender:], h.local)
	copy(b[offEphemeralI:], h.ephemeral[:])
	copy(b[offStatic:], s.public[:])
	at := stamp(s.now.Add(s.ahead))
	copy(b[offTime:], at[:])
	proveInitiation(b, p.key)
	s.addMACs(p, b)
	s.sentAny(p)
	if s.transmit(p, b) {
		p.counters.Initiations++
		s.note(p, "handshake initiation sent")
	}
	p.set(retransmit, s.later(RekeyTimeout))
}

// proveInitiation writes the two tags.
func proveInitiation(b []byte, to wgkey.Public) {
	for _, f := range initiationTags(b, to) {
		copy(b[f.at:], f.tag[:])
	}
}

type tag struct {
	at  int
	tag [TagLen]byte
}

// initiationTags are the tags that an initiation to this key must have. The order in which they cover each other is that of
// the paper: the ephemeral key, then the static one, then the time.
func initiationTags(b []byte, to wgkey.Public) [2]tag {
	static := secretOf(labelStatic, to[:]).proof(0, b[:offStatic+32])
	at := secretOf(labelTime, to[:], static[:]).proof(0, b[offTime:offTime+12])
	return [2]tag{{offStatic + 32, static}, {offTime + 12, at}}
}

// addMACs proves that the sender knows to whom it speaks, and that it receives, if a cookie has shown it how.
func (s *step) addMACs(p *peer, b []byte) {
	n := len(b) - macs
	p.mac1, p.sentMAC1 = secretOf(labelMAC1, p.key[:]).proof(0, b[:n]), true
	copy(b[n:], p.mac1[:])
	if !p.cookieAt.IsZero() && s.now.Sub(p.cookieAt) <= CookieRefreshTime {
		mac2 := secretOf(labelMAC2, p.cookie[:]).proof(0, b[:n+16])
		copy(b[n+16:], mac2[:])
	}
}

// admit checks what is outside of a handshake message, and whether there is time for it; None: it goes on.
func (s *step) admit(from netip.AddrPort, b []byte) Verdict {
	n := len(b) - macs
	if mac1 := secretOf(labelMAC1, s.public[:]).proof(0, b[:n]); string(mac1[:]) != string(b[n:n+16]) {
		return NotForUs
	}
	if !s.load {
		return None
	}
	cookie, fresh := s.cookieFor(from)
	if mac2 := secretOf(labelMAC2, cookie[:]).proof(0, b[:n+16]); !fresh || string(mac2[:]) != string(b[n+16:]) {
		s.replyCookie(from, b)
		return CookieSent
	}
	if !s.source(from.Addr()).Take(s.now, 1) {
		return Limited
	}
	return None
}

// cookieFor is the cookie of a source, and whether it may have been given out: its secret is good for 120 s.
func (s *step) cookieFor(from netip.AddrPort) (c [16]byte, fresh bool) {
	fresh = !s.since.IsZero() && s.now.Sub(s.since) <= CookieRefreshTime
	addr, _ := from.MarshalBinary() // never fails
	return s.cookie.with([]byte(labelCookie)).proof(0, addr), fresh
}

// replyCookie costs the device no state.
func (s *step) replyCookie(from netip.AddrPort, b []byte) {
	if _, fresh := s.cookieFor(from); !fresh {
		s.cookie, s.since = secret{s.rand(), s.rand()}, s.now
	}
	cookie, _ := s.cookieFor(from)
	n := len(b) - macs
	r := make([]byte, CookieLen)
	r[0] = TypeCookie
	copy(r[offSender:], b[offSender:offSender+4])
	s.fill(r[offNonce : offNonce+24])
	copy(r[offCookie:], cookie[:])
	tag := secretOf(labelReply, s.public[:], b[n:n+16]).proof(0, r[:offCookie+16])
	copy(r[offCookie+16:], tag[:])
	s.Send = append(s.Send, Datagram{To: from, Data: r})
}

// source is the bucket of an address under load.
func (d *Device) source(a netip.Addr) *bucket.Bucket {
	b := d.sources[a]
	if b == nil {
		if len(d.sources) >= maxSources {
			clear(d.sources)
		}
		b = &bucket.Bucket{Burst: loadBurst, Every: loadEvery}
		d.sources[a] = b
	}
	return b
}

// takeCookie keeps it for the messages of the next 120 s. The one that it answers is not sent again before its time.
func (s *step) takeCookie(b []byte) Verdict {
	w, ok := s.index[get32(b[offSender:])]
	if !ok {
		return NoSession
	}
	p := w.peer
	tag := secretOf(labelReply, p.key[:], p.mac1[:]).proof(0, b[:offCookie+16])
	if !p.sentMAC1 || string(tag[:]) != string(b[offCookie+16:]) {
		return Forged
	}
	p.cookie, p.cookieAt = [16]byte(b[offCookie:]), s.now
	s.note(p, "cookie received: the peer is under load")
	return CookieKept
}

// takeInitiation answers it.
func (s *step) takeInitiation(from netip.AddrPort, b []byte) Verdict {
	for _, f := range initiationTags(b, s.public) {
		if string(f.tag[:]) != string(b[f.at:f.at+TagLen]) {
			return Forged
		}
	}
	p := s.byKey[wgkey.Public(b[offStatic:])]
	if p == nil {
		return Stranger
	}
	h, sent := &p.shake, Timestamp(b[offTime:])
	if string(sent[:]) <= string(h.last[:]) {
		return OldTime
	}
	if !h.consumedAt.IsZero() && s.now.Sub(h.consumedAt) <= InitiationEvery {
		return Flood
	}
	h.last, h.consumedAt = sent, s.now
	s.heardAny(p)
	s.heardHandshake(p, from, b)
	p.counters.InitiationsReceived++
	s.note(p, "handshake initiation received")
	s.respond(p, get32(b[offSender:]), [32]byte(b[offEphemeralI:]))
	return Answered
}

func (s *step) heardHandshake(p *peer, from netip.AddrPort, b []byte) {
	s.moved(p, from)
	p.heardAt = s.now
	p.counters.RxBytes += uint64(len(b))
}

// respond makes the session that the peer's first data confirms.
func (s *step) respond(p *peer, remote uint32, theirs [32]byte) {
	s.dropIndex(p)
	h := &p.shake
	h.sentAt, h.begun = s.now, false
	k := &session{created: s.now, remote: remote}
	k.local = s.newIndex(slot{peer: p, session: k})
	var ours [32]byte
	s.fill(ours[:])

	b := make([]byte, ResponseLen)
	b[0] = TypeResponse
	put32(b[offSender:], k.local)
	put32(b[offReceiver:], remote)
	copy(b[offEphemeralR:], ours[:])
	common := sessionSecret(p.psk, p.key, s.public, theirs, ours)
	tag := common.with([]byte(labelEmpty)).proof(0, b[:offEmpty])
	copy(b[offEmpty:], tag[:])
	s.addMACs(p, b)

	k.receive, k.send = common.with([]byte(labelInitiator)), common.with([]byte(labelResponder))
	s.drop(p.next)
	s.drop(p.previous)
	p.next, p.previous = k, nil
	p.set(zeroKeys, s.now.Add(3*RejectAfterTime))
	s.sentAny(p)
	s.transmit(p, b)
}

// sessionSecret is what both ends of a handshake have in common.
func sessionSecret(psk wgkey.Preshared, initiator, responder wgkey.Public, theirs, ours [32]byte) secret {
	return secretOf("session", psk[:], initiator[:], responder[:], theirs[:], ours[:])
}

// takeResponse completes the handshake that we began.
func (s *step) takeResponse(from netip.AddrPort, b []byte) Verdict {
	w, ok := s.index[get32(b[offReceiver:])]
	if !ok || w.session != nil || !w.peer.shake.begun {
		return NoSession
	}
	p := w.peer
	h := &p.shake
	common := sessionSecret(p.psk, s.public, p.key, h.ephemeral, [32]byte(b[offEphemeralR:]))
	if tag := common.with([]byte(labelEmpty)).proof(0, b[:offEmpty]); string(tag[:]) != string(b[offEmpty:offEmpty+TagLen]) {
		return Forged
	}
	s.heardHandshake(p, from, b)
	s.heardAny(p)
	s.begin(p, &session{
		send: common.with([]byte(labelInitiator)), receive: common.with([]byte(labelResponder)),
		initiator: true, created: s.now, local: h.local, remote: get32(b[offSender:]),
	})
	s.complete(p)
	s.sendKeepalive(p) // confirms the session at the other end, if nothing else waits
	return Completed
}

// begin makes k the present session of the initiator. The one before stays for what is still on its way, or the one that
// the peer began at the same time.
func (s *step) begin(p *peer, k *session) {
	h := &p.shake
	h.begun, h.ephemeral = false, [32]byte{}
	h.local, h.hasLocal = 0, false
	s.index[k.local] = slot{peer: p, session: k}
	s.drop(p.previous)
	if p.next != nil {
		s.drop(p.current)
		p.previous, p.next = p.next, nil
	} else {
		p.previous = p.current
	}
	p.current = k
	p.set(zeroKeys, s.now.Add(3*RejectAfterTime))
}

// confirm makes the session that we answered the present one, when the first message under it comes.
func (s *step) confirm(p *peer, k *session) bool {
	if p.next != k {
		return false
	}
	s.drop(p.previous)
	p.previous, p.current, p.next = p.current, k, nil
	return true
}
