// SPDX-License-Identifier: MIT

package device

// Verdict says what became of a packet or a datagram, for whoever explains it.
type Verdict uint8

const (
	None Verdict = iota // the event was neither

	// Sent and what follows are of packets from inside.
	Sent
	Waiting   // for a handshake, which has begun
	NoPeer    // no allowed-ip holds the destination
	NotIPv6   // no whole IPv6 packet
	Delivered // Delivered and what follows are of datagrams; the inner packet goes on
	Keepalive
	Answered   // an initiation: a response was sent
	Completed  // a response: there is a session
	CookieKept // the next initiation carries it
	CookieSent // under load: the sender must show first that it receives
	Malformed  // no message of WireGuard
	NotForUs   // mac1 is of another public key
	Stranger   // an initiation of a key that is no peer
	OldTime    // an initiation that is not newer than the last one
	Flood      // an initiation too soon after the last one
	Limited    // under load, and too many from there
	NoSession  // the receiver's index is nobody's
	Expired    // the session is older than RejectAfterTime
	Forged     // the proof is not that of the session, or of the preshared key
	Replayed   // the counter was seen, or is too old
	Spoofed    // the inner source is not one of the peer's allowed-ips
	Broken     // the inner packet is no whole IPv6 packet
	verdicts   // how many there are
)

// String is a phrase for people.
func (v Verdict) String() string {
	if v >= verdicts {
		return "?"
	}
	return [verdicts]string{
		None: "", Sent: "sent", Waiting: "waits for a handshake", NoPeer: "dropped: no allowed-ip holds the destination",
		NotIPv6: "dropped: not IPv6", Delivered: "delivered", Keepalive: "keepalive", Answered: "initiation answered",
		Completed: "response completes the handshake", CookieKept: "cookie kept for the next initiation",
		CookieSent: "under load: answered by a cookie", Malformed: "dropped: not a WireGuard message",
		NotForUs: "dropped: made for another public key", Stranger: "dropped: public key unknown",
		OldTime: "dropped: initiation is not newer than the last", Flood: "dropped: initiation too soon after the last",
		Limited: "dropped: too many from there under load", NoSession: "dropped: session unknown", Expired: "dropped: session too old",
		Forged: "dropped: not authentic", Replayed: "dropped: replayed", Spoofed: "dropped: source is not an allowed-ip of the peer",
		Broken: "dropped: inner packet is not IPv6",
	}[v]
}
