// SPDX-License-Identifier: MIT

package hostmodel

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/lifetime"
)

// Address is one address of the host.
type Address struct {
	Addr      netip.Addr
	Prefix    netip.Prefix
	Preferred lifetime.Until
	Valid     lifetime.Until
	Probe     time.Time // from when on it is looked for in others' hands
	Usable    time.Time // from when on it may be a source: duplicate address detection is over; zero: not known
	Temporary bool
	Duplicate bool         // others have it and those that were tried instead
	From      []netip.Addr // routers that gave the prefix, in the order in which they did
	made      int          // in which order: ties of source selection go to the newest
	purpose   string
	tries     int // addresses before this one that were duplicates
}

// Deprecated says that its preferred lifetime is over.
func (a *Address) Deprecated(now time.Time) bool { return a.Preferred.Over(now) }

// usable says whether it is a candidate (RFC 6724 section 4): a tentative address is none.
func (a *Address) usable(now time.Time) bool {
	return !a.Usable.IsZero() && !a.Usable.After(now) && !a.Valid.Over(now)
}

// all are the addresses with the link-local one.
func (h *Host) all() []*Address {
	if h.linkLocal == nil {
		return h.addrs
	}
	return append([]*Address{h.linkLocal}, h.addrs...)
}

// LinkLocal is the link-local address; zero while there is none, tentative or not.
func (h *Host) LinkLocal() netip.Addr {
	if h.linkLocal == nil {
		return netip.Addr{}
	}
	return h.linkLocal.Addr
}

// Addresses are those made from prefixes, tentative ones included, oldest first.
func (h *Host) Addresses(now time.Time) (out []Address) {
	for _, a := range h.addrs {
		if !a.Valid.Over(now) {
			out = append(out, *a)
		}
	}
	return out
}

// slaacBits is the length of a prefix that fits an interface identifier of 64 bits (RFC 4862 section 5.5.3 d).
const slaacBits = 64

// twoHours of RFC 4862 section 5.5.3 e.
const twoHours = 2 * time.Hour

// Lifetimes of temporary addresses, RFC 8981 section 3.8.
const (
	tempPreferred = 24 * time.Hour
	tempValid     = 48 * time.Hour
)

// prefix takes one Prefix Information option (RFC 4861 section 6.3.4, RFC 4862 section 5.5.3).
func (h *Host) prefix(now time.Time, from netip.Addr, p prefixInfo, hasSource bool) {
	// "If the preferred lifetime is greater than the valid lifetime, silently ignore": Linux ignores the on-link flag
	// of it too. The link-local prefix is never taken.
	if p.preferred > p.valid || p.prefix.Addr().IsLinkLocalUnicast() || p.prefix.Addr().IsMulticast() || h.short(p.valid) {
		return
	}
	if p.onLink {
		h.setOnLink(now, from, p)
	}
	if !p.autonomous || p.prefix.Bits() != slaacBits {
		return
	}
	h.configure(now, from, p, hasSource, false)
	if h.cfg.TempAddrs {
		h.configure(now, from, p, hasSource, true)
	}
}

// configure makes or updates the address of one kind in a prefix.
func (h *Host) configure(now time.Time, from netip.Addr, p prefixInfo, hasSource, temporary bool) {
	i := slices.IndexFunc(h.addrs, func(a *Address) bool { return a.Prefix == p.prefix && a.Temporary == temporary })
	if i < 0 {
		if p.valid == 0 || len(h.addrs) == maxAddresses {
			return
		}
		h.addrs = append(h.addrs, h.newAddress(now, p.prefix, hasSource, temporary))
		i = len(h.addrs) - 1
	}
	a := h.addrs[i]
	if !slices.Contains(a.From, from) {
		a.From = append(a.From, from)
	}
	a.Preferred = lifetime.FromSeconds(now, p.preferred)
	a.Valid = h.validLifetime(now, a.Valid, p.valid)
	if temporary { // RFC 8981 section 3.4: never above what such an address may live
		a.Preferred = sooner(now, a.Preferred, tempPreferred)
		a.Valid = sooner(now, a.Valid, tempValid)
	}
}

func sooner(now time.Time, u lifetime.Until, most time.Duration) lifetime.Until {
	if u.Left(now) > most {
		return lifetime.At(now.Add(most))
	}
	return u
}

func (h *Host) newAddress(now time.Time, p netip.Prefix, hasSource, temporary bool) *Address {
	a := &Address{Prefix: p, Temporary: temporary}
	h.probe(now, a)
	if temporary {
		a.purpose = now.String() // another one each time
	}
	a.Addr = h.identify(p, a.purpose)
	if h.cfg.Optimistic && hasSource {
		a.Usable = now
	}
	for _, b := range h.addrs {
		a.made = max(a.made, b.made+1)
	}
	return a
}

// validLifetime is the two-hour rule: "If the received Valid Lifetime is greater than 2 hours or greater than
// RemainingLifetime, set the valid lifetime [...] to the advertised Valid Lifetime. If RemainingLifetime is less than or
// equal to 2 hours, ignore the Prefix Information option with regards to the valid lifetime [...]. Otherwise, reset the
// valid lifetime of the corresponding address to 2 hours."
func (h *Host) validLifetime(now time.Time, old lifetime.Until, seconds uint32) lifetime.Until {
	received := lifetime.FromSeconds(now, seconds)
	remaining := old.Left(now)
	switch {
	case h.cfg.HonorPIOLifetime, received.Left(now) > twoHours, received.Left(now) > remaining:
		return received
	case remaining <= twoHours:
		return old
	}
	return lifetime.At(now.Add(twoHours))
}
