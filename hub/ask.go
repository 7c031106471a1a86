// SPDX-License-Identifier: MIT

package hub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"oasis6/config"
	"oasis6/hub/enroll"
	"oasis6/hub/pd"
	"oasis6/hub/store"
	"oasis6/status"
)

// Lease is one line of `oasis6 hub leases`.
type Lease struct {
	Site      string `json:"site"` // name; empty: it has none, or nobody could say
	PublicKey string `json:"public_key"`
	status.SiteLease
}

// Leases are all that sites have, in the order of the sites.
func (h *Hub) Leases(ctx context.Context) (all []Lease, err error) {
	err = h.ask(ctx, func(now time.Time) {
		for _, s := range h.sites {
			for _, b := range h.machine.Bindings(s.Public, now) {
				all = append(all, leases(now, s.name, b)...)
			}
		}
	})
	return all, err
}

func leases(now time.Time, name string, b pd.Binding) (all []Lease) {
	for _, l := range leasesOf(now, b) {
		all = append(all, Lease{Site: name, PublicKey: b.Site.String(), SiteLease: l})
	}
	return all
}

// StoredLeases are those in the store of a hub that does not run, with the lifetimes that sites can count on at most. cfg is
// its configuration, or nil: then sites of the file have no names, and nobody knows which are sites no more.
func StoredLeases(all []store.Record, cfg *config.HubConfig, now time.Time, bootID string) (out []Lease, err error) {
	names := enroll.StoredNames(storeChanges(all))
	if cfg != nil {
		for _, s := range cfg.Sites {
			names[s.PublicKey] = s.Name
		}
	}
	var bad []error
	for _, rec := range all {
		if !strings.HasPrefix(rec.Key, keyLease) {
			continue
		}
		b, err := decodeLease(rec, now, bootID)
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", rec.Key, err))
			continue
		}
		for i := range b.Leases {
			b.Leases[i].AtMost = !b.Leases[i].Released
		}
		name, is := names[b.Site]
		mine := leases(now, name, b)
		for i := range mine {
			if !is && cfg != nil {
				mine[i].State = "rests"
			}
		}
		out = append(out, mine...)
	}
	return out, errors.Join(bad...)
}

// storeChanges are records as the book of invitations takes them.
func storeChanges(all []store.Record) []enroll.Change {
	out := make([]enroll.Change, 0, len(all))
	for _, rec := range all {
		out = append(out, enroll.Change{Key: rec.Key, Value: rec.Value})
	}
	return out
}

// Invite makes an invitation. It is on disk, and the device knows its key, when it returns. The secret of the order is
// made here.
func (h *Hub) Invite(ctx context.Context, o enroll.Order) (t enroll.Ticket, err error) {
	asked := h.ask(ctx, func(now time.Time) { t, err = h.invite(ctx, now, o) })
	return t, errors.Join(asked, err)
}

func (h *Hub) invite(ctx context.Context, now time.Time, o enroll.Order) (enroll.Ticket, error) {
	if _, err := rand.Read(o.Secret[:]); err != nil {
		return enroll.Ticket{}, err // never, says its documentation
	}
	t, a, err := h.book.Invite(h.instant(now), o)
	if err != nil {
		return enroll.Ticket{}, err
	}
	h.takeBook(a)
	return t, h.settled(ctx, now)
}

// Remove takes out a site that has joined, or an invitation, and says which. With a site go the routes of its leases.
func (h *Hub) Remove(ctx context.Context, name string) (invitation bool, err error) {
	asked := h.ask(ctx, func(now time.Time) { invitation, err = h.remove(ctx, now, name) })
	return invitation, errors.Join(asked, err)
}

func (h *Hub) remove(ctx context.Context, now time.Time, name string) (invitation bool, err error) {
	key, a, err := h.book.Remove(h.instant(now), name)
	if err != nil {
		return false, err
	}
	if s := h.byKey[key]; s != nil {
		invitation = s.origin == invited
	}
	h.takeBook(a)
	return invitation, h.settled(ctx, now)
}

// settled carries out what a question has led to, and says whether it is on disk.
func (h *Hub) settled(ctx context.Context, now time.Time) error {
	if err := h.settle(context.WithoutCancel(ctx), now); err != nil {
		return err
	}
	if h.records.failed != "" {
		return errors.New("it cannot be saved: " + h.records.failed)
	}
	return nil
}
