// SPDX-License-Identifier: MIT

package forward

import (
	"sync"
	"time"

	"oasis6/internal/bucket"
)

// What is bounded in time. Neighbors, Router Solicitations and refusals are as in dataplane/kernel (seen.go, ruleset.go).
const (
	neighborRate  = 10 // packets a second to addresses that nobody was seen with
	neighborBurst = 20
	solicitRate   = 64 // router solicitations a second that reach the stack, of each LAN
	solicitBurst  = 256
	// Neighbor Discovery of one station that is not known, RS aside: a bridge that speaks for many hosts is one too.
	discoveryRate  = 100
	discoveryBurst = 500
	// What one station may ask for on LANs where nobody was seen, and all of them together. The kernel's data plane has only
	// the size of its table.
	scanRate      = 10
	scanBurst     = 64
	allScansRate  = 64
	allScansBurst = 256
	refuseRate    = 4 // errors a second of a rule that refuses; TCP gets resets beyond
	refuseBurst   = 6

	// Errors that one host gets (RFC 4443 section 2.4 f), what Linux gives the hosts of a /64. Packet Too Big has its own
	// measure, as no connection goes on without it: a burst of packets needs one for each destination.
	errorRate     = 40
	errorBurst    = 10
	tooBigRate    = 100
	tooBigBurst   = 32
	allErrorRate  = 1000 // to all hosts together
	allErrorBurst = 200
	// errorHosts is how many hosts are told apart, roughly: some share their measure with another one.
	errorHosts = 256
	// redirectRate is for each pair of hosts; more than one each second tells a host nothing new (RFC 4861 section 8.2).
	redirectRate = 1
)

// limits has one lock: what is limited is not what a fast path is made of.
type limits struct {
	seed [2]uint64

	mu        sync.Mutex
	neighbors bucket.Bucket
	solicits  map[Index]*bucket.Bucket
	discovery [errorHosts]bucket.Bucket
	scans     [errorHosts]bucket.Bucket
	allScans  bucket.Bucket
	refusals  [reasons]bucket.Bucket
	all       bucket.Bucket
	errors    [errorHosts]bucket.Bucket
	tooBig    [errorHosts]bucket.Bucket
	redirects [errorHosts]bucket.Bucket
}

func perSecond(rate, burst int) bucket.Bucket {
	return bucket.Bucket{Burst: burst, Every: time.Second / time.Duration(rate)}
}

func newLimits(seed [2]uint64) *limits {
	l := &limits{
		seed: seed, neighbors: perSecond(neighborRate, neighborBurst), solicits: map[Index]*bucket.Bucket{},
		all: perSecond(allErrorRate, allErrorBurst), allScans: perSecond(allScansRate, allScansBurst),
	}
	for i := range l.refusals {
		l.refusals[i] = perSecond(refuseRate, refuseBurst)
	}
	for i := range errorHosts {
		l.errors[i], l.tooBig[i] = perSecond(errorRate, errorBurst), perSecond(tooBigRate, tooBigBurst)
		l.redirects[i] = perSecond(redirectRate, 1)
		l.discovery[i], l.scans[i] = perSecond(discoveryRate, discoveryBurst), perSecond(scanRate, scanBurst)
	}
	return l
}

func (l *limits) neighbor(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.neighbors.Take(now, 1)
}

func (l *limits) solicit(now time.Time, lan Index) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.solicits[lan]
	if b == nil { // there are no more than interfaces
		fresh := perSecond(solicitRate, solicitBurst)
		b = &fresh
		l.solicits[lan] = b
	}
	return b.Take(now, 1)
}

// station is the key of a node by its MAC.
func station(mac [6]byte) key { return key{in: u128{lo: pack(mac)}} }

// neighborDiscovery says whether the stack is to hear more of a station.
func (l *limits) neighborDiscovery(now time.Time, mac [6]byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.discovery[l.host(station(mac))].Take(now, 1)
}

// scan says whether a station of a LAN may have one more neighbor asked for.
func (l *limits) scan(now time.Time, mac [6]byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.scans[l.host(station(mac))].Take(now, 1) && l.allScans.Take(now, 1)
}

// refusal says whether a rule may still answer with an error.
func (l *limits) refusal(now time.Time, r Reason) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refusals[r].Take(now, 1)
}

// host is the place of a host's buckets.
func (l *limits) host(k key) int { return int(k.hash(l.seed) % errorHosts) }

// allow says whether a host may get an error of a type.
func (l *limits) allow(now time.Time, to u128, kind uint8) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := &l.errors
	if kind == typeTooBig {
		of = &l.tooBig
	}
	return of[l.host(key{in: to})].Take(now, 1) && l.all.Take(now, 1)
}

// redirect says whether a host may be told of a better way to a destination.
func (l *limits) redirect(now time.Time, to, dst u128) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.redirects[l.host(key{in: to, out: dst})].Take(now, 1) && l.all.Take(now, 1)
}
