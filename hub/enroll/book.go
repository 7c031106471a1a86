// SPDX-License-Identifier: MIT

package enroll

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"oasis6/internal/invite"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
	"oasis6/internal/wgkey"
)

// Order is what an administrator wants.
type Order struct {
	Name     string
	Endpoint string        // empty: Content.Endpoint
	Valid    time.Duration // MinValid to MaxValid
	Secret   invite.Secret // of 16 octets that nobody can guess
}

// Ticket is what he gets. Text may be shown when Commit is on disk, not before.
type Ticket struct {
	Name    string
	Text    string
	Expires time.Time // by the wall clock, whole seconds
}

// Invite makes an invitation, of which only the keys stay here: the text cannot be shown again.
func (s *State) Invite(now Instant, o Order) (Ticket, Actions, error) {
	if err := s.checkOrder(now, &o); err != nil {
		return Ticket{}, Actions{}, err
	}
	var a Actions
	if len(s.invitations) >= MaxInvitations && !s.evict(now, &a) {
		return Ticket{}, Actions{}, fmt.Errorf("%d invitations are open: take some back with oasis6 hub remove NAME", len(s.invitations))
	}
	text := invite.Invitation{
		Hub: s.content.Hub, LinkLocal: s.content.LinkLocal, Endpoint: o.Endpoint, Secret: o.Secret,
		Expires: now.Wall.Add(o.Valid).Truncate(time.Second).UTC(),
	}
	line, err := text.Reveal()
	if err != nil {
		return Ticket{}, Actions{}, err
	}
	keys := text.Keys()
	temporary := keys.Private.Public()
	if s.keyTaken(temporary) {
		return Ticket{}, Actions{}, errors.New("the random octets make a key that is taken: try again")
	}
	if old, ok := s.openOf[fold(o.Name)]; ok { // it has expired
		s.setInvitation(now, old, nil, &a)
	}
	s.setInvitation(now, temporary, &invitation{
		name: o.Name, key: temporary, link: temporary.LinkLocal(), preshared: keys.Preshared, created: now.Wall, expires: text.Expires,
		until: lifetime.At(now.Boot.Add(o.Valid)),
	}, &a)
	a.note(note.Info, "invitation made", "peer", o.Name, "to", o.Endpoint)
	s.finish(now, &a)
	return Ticket{Name: o.Name, Text: line, Expires: text.Expires}, a, nil
}

func (s *State) checkOrder(now Instant, o *Order) error {
	if err := invite.CheckName(o.Name); err != nil {
		return err
	}
	if o.Endpoint == "" {
		o.Endpoint = s.content.Endpoint
	}
	_, inFile := s.fileOf[fold(o.Name)]
	_, joined := s.joinedOf[fold(o.Name)]
	open, invited := s.openOf[fold(o.Name)]
	switch {
	case o.Endpoint == "":
		return errors.New("the hub does not know where boxes reach it: set Endpoint in [Hub], or give --endpoint HOST:PORT")
	case CheckValid(o.Valid) != nil:
		return CheckValid(o.Valid)
	case inFile:
		return fmt.Errorf("name %q: a [Peer] of the hub's file has it", o.Name)
	case joined:
		return fmt.Errorf("name %q: a site that joined has it: remove that one first with oasis6 hub remove", o.Name)
	case invited && !s.invitations[open].expired(now):
		return fmt.Errorf("name %q: an open invitation has it: take that one back first with oasis6 hub remove", o.Name)
	}
	return invite.CheckEndpoint(o.Endpoint)
}

// CheckValid says whether an invitation can be good for so long.
func CheckValid(d time.Duration) error {
	if d < MinValid || d > MaxValid {
		return fmt.Errorf("valid for %s: want %s to %s", span(d), span(MinValid), span(MaxValid))
	}
	return nil
}

// span is a duration as one gives it to oasis6 invite: 90m, 24h, 7d.
func span(d time.Duration) string {
	for _, u := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= u.size && d%u.size == 0 {
			return strconv.FormatInt(int64(d/u.size), 10) + u.name
		}
	}
	return d.String()
}

// evict makes room by an invitation that has expired, the oldest.
func (s *State) evict(now Instant, a *Actions) bool {
	var oldest *invitation
	for _, i := range s.invitations {
		if i.expired(now) && (oldest == nil || cmp.Or(i.expires.Compare(oldest.expires), bytes.Compare(i.key[:], oldest.key[:])) < 0) {
			oldest = i
		}
	}
	if oldest == nil {
		return false
	}
	s.setInvitation(now, oldest.key, nil, a)
	return true
}

// Remove takes a joined site or an open invitation out of the book. key is the one that is not a peer any more; its leases
// are the caller's.
func (s *State) Remove(now Instant, name string) (key wgkey.Public, a Actions, err error) {
	if k, ok := s.joinedOf[fold(name)]; ok {
		if t, used := s.usedFor[k]; used { // or the box could come again by it
			s.setInvitation(now, t, nil, &a)
		}
		s.setJoined(k, nil, &a)
		a.note(note.Info, "joined site removed", "peer", name)
		s.finish(now, &a)
		return k, a, nil
	}
	if k, ok := s.openOf[fold(name)]; ok {
		s.setInvitation(now, k, nil, &a)
		a.note(note.Info, "invitation taken back", "peer", name)
		s.finish(now, &a)
		return k, a, nil
	}
	if s.nameInFile(name) {
		return key, a, fmt.Errorf("%q stands in the hub's file: remove its [Peer] there and send SIGHUP", name)
	}
	return key, a, fmt.Errorf("no site that joined and no open invitation has the name %q", name)
}

// fold is a name as the file's rule compares it: in any case.
func fold(name string) string { return strings.ToLower(name) }

// setInvitation puts a value into the book, nil to remove it, and notes how to take that back.
func (s *State) setInvitation(now Instant, key wgkey.Public, i *invitation, a *Actions) {
	was := s.invitations[key]
	s.putInvitation(key, i)
	s.undo = append(s.undo, change{invitationKey(key), func() { s.putInvitation(key, was) }})
	a.Peers = true
	if i == nil {
		a.Commit = append(a.Commit, Change{Key: invitationKey(key)})
		return
	}
	a.Commit = append(a.Commit, Change{Key: invitationKey(key), Value: i.encode(now.Boot, s.content.BootID)})
}

func (s *State) setJoined(key wgkey.Public, j *site, a *Actions) {
	was := s.joined[key]
	s.putJoined(key, j)
	s.undo = append(s.undo, change{peerKey(key), func() { s.putJoined(key, was) }})
	a.Peers = true
	if j == nil {
		a.Commit = append(a.Commit, Change{Key: peerKey(key)})
		return
	}
	a.Commit = append(a.Commit, Change{Key: peerKey(key), Value: j.encode()})
}

// putInvitation keeps the indexes in step with the map.
func (s *State) putInvitation(key wgkey.Public, i *invitation) {
	if was := s.invitations[key]; was != nil {
		drop(s.openOf, fold(was.name), key)
		drop(s.usedFor, was.usedBy, key)
		drop(s.links, was.link, key)
		delete(s.invitations, key)
	}
	if i == nil {
		return
	}
	s.invitations[key] = i
	s.links[i.link] = key
	if i.usedBy.IsZero() {
		s.openOf[fold(i.name)] = key
	} else {
		s.usedFor[i.usedBy] = key
	}
}

func (s *State) putJoined(key wgkey.Public, j *site) {
	if was := s.joined[key]; was != nil {
		drop(s.joinedOf, fold(was.name), key)
		drop(s.links, was.link, key)
		delete(s.joined, key)
	}
	if j != nil {
		s.joined[key] = j
		s.joinedOf[fold(j.name)] = key
		s.links[j.link] = key
	}
}

// drop removes an entry if it is this one's.
func drop[K comparable](m map[K]wgkey.Public, k K, of wgkey.Public) {
	if m[k] == of {
		delete(m, k)
	}
}

func (s *State) setContent(c Content, a *Actions) {
	same := c.Hub == s.content.Hub && c.LinkLocal == s.content.LinkLocal && c.Endpoint == s.content.Endpoint && c.BootID == s.content.BootID
	if same && slices.Equal(c.File, s.content.File) {
		return
	}
	c.File = slices.Clone(c.File)
	s.content = c
	if s.hubLink = c.LinkLocal; !c.LinkLocal.IsValid() {
		s.hubLink = c.Hub.LinkLocal()
	}
	clear(s.file)
	clear(s.fileLL)
	clear(s.fileOf)
	for _, p := range c.File {
		s.file[p.Key] = p.Name
		if p.Name != "" {
			s.fileOf[fold(p.Name)] = p.Key
		}
		if !p.LinkLocal.IsValid() {
			p.LinkLocal = p.Key.LinkLocal()
		}
		s.fileLL[p.LinkLocal] = p.Key
	}
	a.Peers = true
	s.warnOfHidden(a)
}

func (s *State) warnOfHidden(a *Actions) {
	for _, name := range s.Unserved() {
		a.note(note.Warn, "joined site is not served: a [Peer] of the file has its name or address", "peer", name)
	}
}

// Unserved are the names of joined sites that have no tunnel because the file, which does not know their keys, has their name
// or address for another one, or the hub has their address itself.
func (s *State) Unserved() (names []string) {
	for _, k := range inOrder(maps.Keys(s.joined)) {
		if _, same := s.file[k]; !same && s.hidden(s.joined[k]) {
			names = append(names, s.joined[k].name)
		}
	}
	return names
}

// hidden: a [Peer] of the file with the same key, name or link-local address counts instead. The record stays: when the
// file says no more of it, the site is back.
func (s *State) hidden(j *site) bool {
	_, key := s.file[j.key]
	_, link := s.fileLL[j.link]
	return key || link || s.nameInFile(j.name) || j.key == s.content.Hub || j.link == s.hubLink
}

// Peers are those that the device must have beside the file's: joined sites, then invitations, each by key. What has not
// been Saved yet counts.
func (s *State) Peers() []Peer {
	var out []Peer
	for _, k := range inOrder(maps.Keys(s.joined)) {
		if j := s.joined[k]; !s.hidden(j) {
			out = append(out, Peer{Origin: Joined, Name: j.name, Key: k, LinkLocal: j.link})
		}
	}
	for _, k := range inOrder(maps.Keys(s.invitations)) {
		i := s.invitations[k]
		if _, taken := s.fileLL[i.link]; !taken {
			out = append(out, Peer{Origin: Invited, Name: i.name, Key: k, Preshared: i.preshared, LinkLocal: i.link})
		}
	}
	return out
}

// Open is an invitation as people see it.
type Open struct {
	Name    string
	Expires time.Time // by the wall clock
	Expired bool
	Used    bool // its box has not been seen with its own key yet
}

// Invitations lists them by name.
func (s *State) Invitations(now Instant) []Open {
	var out []Open
	for _, i := range s.invitations {
		out = append(out, Open{Name: i.name, Expires: i.expires, Expired: i.expired(now), Used: !i.usedBy.IsZero()})
	}
	slices.SortFunc(out, func(a, b Open) int { return cmp.Or(cmp.Compare(a.Name, b.Name), a.Expires.Compare(b.Expires)) })
	return out
}

// Dropped counts datagrams that got no answer: not of the protocol, of nobody, or too many.
func (s *State) Dropped() uint64 { return s.dropped }
