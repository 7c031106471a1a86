// SPDX-License-Identifier: MIT

package hub

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"oasis6/dhcpv6"
	"oasis6/hub/enroll"
	"oasis6/hub/pd"
	"oasis6/hub/store"
	"oasis6/internal/wgkey"
)

// Keys of the store. Those of invitations and joined sites are hub/enroll's own.
const (
	keyLease    = "lease/"     // public key in hex, "/", IAID in hex: hub/pd's encoding
	keyEndpoint = "endpoint/"  // public key in hex: where the site was last, and whether it has gone from there
	keyReplay   = "hub/replay" // replay detection value of Reconfigure
)

// lazily is how far apart writes of last endpoints are; the store may take twice as long to do them. Those that were not
// done are lost in a crash, and then the site is found when it speaks.
const lazily = 10 * time.Second

// records is what the hub has on disk, and what is to be there.
type records struct {
	revisions map[string]store.Revision
	changes   map[string][]byte // to be committed; nil deletes
	// suspect are those whose last write failed in a way that it may be there all the same, so that their revisions are not
	// known. The machines write them again with the next commit, as they are by then.
	suspect map[string]bool
	lost    bool   // store.KeyLost is on disk
	failed  string // why the last commit failed; empty: it did not

	places map[wgkey.Public]place // as they were on disk at the start
	moved  map[wgkey.Public]place // to be written some time; without an endpoint: to be forgotten
	lazyAt time.Time
}

// place is where a site was last.
type place struct {
	endpoint netip.AddrPort
	away     bool // it has not been there for a while
}

// awayWord stands behind the endpoint of a site that is away.
const awayWord = " away"

func (p place) String() string {
	if p.away {
		return p.endpoint.String() + awayWord
	}
	return p.endpoint.String()
}

func parsePlace(text string) (p place, err error) {
	text, p.away = strings.CutSuffix(text, awayWord)
	p.endpoint, err = netip.ParseAddrPort(text)
	return p, err
}

func newRecords() records {
	return records{
		revisions: map[string]store.Revision{}, changes: map[string][]byte{},
		suspect: map[string]bool{}, places: map[wgkey.Public]place{}, moved: map[wgkey.Public]place{},
	}
}

func leaseKey(k pd.BindingKey) string {
	return keyLease + hex.EncodeToString(k.Site[:]) + "/" + strconv.FormatUint(uint64(k.IAID), 16)
}

func parseLeaseKey(key string) (k pd.BindingKey, err error) {
	site, iaid, _ := strings.Cut(strings.TrimPrefix(key, keyLease), "/")
	if k.Site, err = parseSite(site); err != nil {
		return k, err
	}
	n, err := strconv.ParseUint(iaid, 16, 32)
	k.IAID = dhcpv6.IAID(n)
	return k, err
}

func parseSite(text string) (k wgkey.Public, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(k) {
		return k, fmt.Errorf("%q is no public key in hex", text)
	}
	return wgkey.Public(b), nil
}

// lease notes what has become of a binding.
func (r *records) lease(c pd.Change, encode func(pd.Binding) ([]byte, error)) error {
	key := leaseKey(c.Key)
	if c.Binding == nil {
		r.changes[key] = nil
		return nil
	}
	data, err := encode(*c.Binding)
	if err == nil {
		r.changes[key] = data
	}
	return err
}

// write commits all changes, or none.
func (h *Hub) write(ctx context.Context) error {
	r := &h.records
	changes := make([]store.Change, 0, len(r.changes))
	for key, value := range r.changes {
		c := store.Change{Key: key, Value: value, If: r.revisions[key]}
		if r.suspect[key] {
			c.If = store.Any
		}
		changes = append(changes, c)
	}
	revision, err := h.opt.Store.Commit(ctx, changes)
	if err != nil {
		for key := range r.changes {
			r.suspect[key] = true
		}
		return err
	}
	for key, value := range r.changes {
		delete(r.suspect, key)
		if value == nil {
			delete(r.revisions, key)
		} else {
			r.revisions[key] = revision
		}
	}
	return nil
}

func (h *Hub) encode(b pd.Binding) ([]byte, error) {
	return pd.Encode(b, h.opt.Clock.Now(), h.opt.Wall(), h.opt.BootID)
}

// foundAgain forgets that leases were lost when nobody can hold one any more that is not known.
func (h *Hub) foundAgain(now time.Time) {
	if h.records.lost && !h.machine.Lost(now) {
		h.records.changes[store.KeyLost] = nil // until that is on disk
	}
}

// endpointMoved notes where a site is now, to be written with others.
func (h *Hub) endpointMoved(now time.Time, s *site) {
	if s.origin == invited {
		return
	}
	h.records.move(now, s.Public, s.place)
}

func (r *records) move(now time.Time, k wgkey.Public, to place) {
	r.moved[k] = to
	if r.lazyAt.IsZero() {
		r.lazyAt = now.Add(lazily)
	}
}

// forgetEndpoints forgets where those were last that are no sites any more.
func (h *Hub) forgetEndpoints(now time.Time, old map[wgkey.Public]*site) {
	forget := func(k wgkey.Public) {
		if h.byKey[k] == nil {
			delete(h.records.places, k)
			h.records.move(now, k, place{})
		}
	}
	for k := range h.records.places {
		forget(k)
	}
	for k, s := range old {
		if s.endpoint.IsValid() && s.origin != invited {
			forget(k)
		}
	}
}

// saveLazily writes last endpoints, which may be lost.
func (h *Hub) saveLazily() {
	r := &h.records
	r.lazyAt = time.Time{}
	changes := make([]store.Change, 0, len(r.moved))
	for k, to := range r.moved {
		c := store.Change{Key: keyEndpoint + hex.EncodeToString(k[:]), If: store.Any}
		if to.endpoint.IsValid() {
			c.Value = []byte(to.String())
		}
		changes = append(changes, c)
	}
	clear(r.moved)
	if len(changes) == 0 {
		return
	}
	if err := h.opt.Store.CommitLazy(changes); err != nil {
		h.opt.Log.Debug("last endpoints not saved", "err", err)
	}
}

// restore reads the store and gives each machine what is its own. A record that cannot be read is left out and said.
func (h *Hub) restore(ctx context.Context, now time.Time) error {
	all, _, err := h.opt.Store.Load(ctx)
	if err != nil {
		return err
	}
	var (
		leases pd.Restored
		book   enroll.Restored
		bad    []error
	)
	for _, rec := range all {
		h.records.revisions[rec.Key] = rec.Revision
		var err error
		switch {
		case strings.HasPrefix(rec.Key, keyLease):
			var b pd.Binding
			if b, err = decodeLease(rec, now, h.opt.BootID); err == nil {
				leases.Bindings = append(leases.Bindings, b)
			}
		case strings.HasPrefix(rec.Key, keyEndpoint):
			err = h.records.restoreEndpoint(rec)
		case rec.Key == keyReplay:
			leases.Replay, err = strconv.ParseUint(string(rec.Value), 10, 64)
		case rec.Key == store.KeyLost:
			h.records.lost, leases.Lost = true, true
			h.journal.Warn("leases were lost: sites are believed that ask for what they had", "what", string(rec.Value))
		default:
			book.Records = append(book.Records, enroll.Change{Key: rec.Key, Value: rec.Value})
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", rec.Key, err))
		}
	}
	if len(bad) > 0 {
		h.journal.Warn("records of the store left out", "err", errors.Join(bad[:min(len(bad), 3)]...).Error(), "what", strconv.Itoa(len(bad)))
	}
	h.step(now, leases)
	h.stepBook(now, book)
	return nil
}

func decodeLease(rec store.Record, now time.Time, bootID string) (pd.Binding, error) {
	k, err := parseLeaseKey(rec.Key)
	if err != nil {
		return pd.Binding{}, err
	}
	b, err := pd.Decode(rec.Value, now, bootID)
	if err == nil && (b.Site != k.Site || b.IAID != k.IAID) {
		err = errors.New("it is of another site or IA than its key says")
	}
	return b, err
}

func (r *records) restoreEndpoint(rec store.Record) error {
	k, err := parseSite(strings.TrimPrefix(rec.Key, keyEndpoint))
	if err != nil {
		return err
	}
	r.places[k], err = parsePlace(string(rec.Value))
	return err
}
