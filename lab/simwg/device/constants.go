// SPDX-License-Identifier: MIT

package device

import "time"

// Sizes of whitepaper section 5.4, in octets.
const (
	InitiationLen = 148
	ResponseLen   = 92
	CookieLen     = 64
	HeaderLen     = 16 // of a transport message, before its content
	TagLen        = 16
	KeepaliveLen  = HeaderLen + TagLen // a transport message without content
	Padding       = 16                 // content is padded to a multiple of it (section 5.4.6)
)

// Timers and limits of whitepaper section 6.1. The attempts are wireguard-go's: it counts initiations, not 90 s.
const (
	RekeyAfterMessages  = 1 << 60
	RejectAfterMessages = 1<<64 - 1<<13 - 1
	RekeyAfterTime      = 120 * time.Second
	RejectAfterTime     = 180 * time.Second
	RekeyAttemptTime    = 90 * time.Second
	RekeyTimeout        = 5 * time.Second
	KeepaliveTimeout    = 10 * time.Second
	CookieRefreshTime   = 120 * time.Second
	// RekeyJitter is added to RekeyTimeout in whole milliseconds below it, so that two ends do not begin in step.
	RekeyJitter = 334 * time.Millisecond
	// MaxAttempts retries follow an initiation without an answer.
	MaxAttempts = int(RekeyAttemptTime/RekeyTimeout) + 1
	// InitiationEvery is the distance that two initiations of a peer must exceed to be answered both (wireguard-go's limit).
	InitiationEvery = time.Second / 50
	// Staged packets of a peer wait for its handshake; beyond that the oldest goes.
	Staged = 128
)

// Under load each source gets so many handshake messages answered, cookie or not (wireguard-go's ratelimiter).
const (
	loadBurst = 5
	loadEvery = time.Second / 20
	// maxSources are remembered; one more empties the table. Only who has shown a cookie comes so far.
	maxSources = 1024
)
