// SPDX-License-Identifier: MIT

package enroll

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"oasis6/internal/invite"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
	"oasis6/internal/wgkey"
)

// Keys of records: the prefix, then the public key in hex, which has no slash.
const (
	InvitationPrefix = "invitation/"
	PeerPrefix       = "peer/"

	recordVersion = 1
)

func invitationKey(k wgkey.Public) string { return InvitationPrefix + k.Hex() }
func peerKey(k wgkey.Public) string       { return PeerPrefix + k.Hex() }

type invitationRecord struct {
	Version   int            `json:"version"`
	Name      string         `json:"name"`
	Preshared string         `json:"preshared_key"`
	Created   time.Time      `json:"created"`
	Expires   time.Time      `json:"expires"`
	Left      lifetime.Saved `json:"left"`
	BootID    string         `json:"boot_id"`
	BootNS    int64          `json:"boot_ns"` // when it was written
	UsedBy    string         `json:"used_by,omitempty"`
}

type siteRecord struct {
	Version int       `json:"version"`
	Name    string    `json:"name"`
	Joined  time.Time `json:"joined"`
	Host    string    `json:"host,omitempty"`
}

func (i *invitation) encode(now time.Time, bootID string) []byte {
	r := invitationRecord{
		Version: recordVersion, Name: i.name, Preshared: i.preshared.Reveal(), Created: i.created.UTC(), Expires: i.expires.UTC(),
		Left: lifetime.Save(i.until, now), BootID: bootID, BootNS: now.UnixNano(),
	}
	if i.otherBoot {
		r.BootID = "" // the wall clock is to count after the next start as well
	}
	if !i.usedBy.IsZero() {
		r.UsedBy = i.usedBy.String()
	}
	return mustMarshal(r)
}

func (j *site) encode() []byte {
	return mustMarshal(siteRecord{Version: recordVersion, Name: j.name, Joined: j.joined.UTC(), Host: j.host})
}

func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, numbers, and times in years that JSON has
	}
	return b
}

// value is what the record with this key is to hold now, nil if there is to be none.
func (s *State) value(now Instant, key string) []byte {
	if hexKey, ok := strings.CutPrefix(key, InvitationPrefix); ok {
		if k, err := parseHex(hexKey); err == nil && s.invitations[k] != nil {
			return s.invitations[k].encode(now.Boot, s.content.BootID)
		}
	} else if hexKey, ok := strings.CutPrefix(key, PeerPrefix); ok {
		if k, err := parseHex(hexKey); err == nil && s.joined[k] != nil {
			return s.joined[k].encode()
		}
	}
	return nil
}

var errVersion = errors.New("of a later version of oasis6")

// restore reads what is on disk. What it cannot read stays there, for the version that can.
func (s *State) restore(now Instant, records []Change, a *Actions) {
	for _, r := range records {
		var err error
		if hexKey, ok := strings.CutPrefix(r.Key, InvitationPrefix); ok {
			err = s.restoreInvitation(now, hexKey, r.Value)
		} else if hexKey, ok := strings.CutPrefix(r.Key, PeerPrefix); ok {
			err = s.restoreSite(hexKey, r.Value)
		}
		if err != nil {
			a.note(note.Warn, "record left out", "peer", r.Key, "err", err.Error())
		}
	}
	a.Peers = true
	s.warnOfHidden(a)
}

func (s *State) restoreInvitation(now Instant, hexKey string, data []byte) error {
	key, err := parseHex(hexKey)
	if err != nil {
		return err
	}
	var r invitationRecord
	if err := unmarshal(data, &r, &r.Version); err != nil {
		return err
	}
	i := &invitation{name: r.Name, key: key, link: key.LinkLocal(), created: r.Created, expires: r.Expires}
	if err := invite.CheckName(r.Name); err != nil {
		return err
	}
	if i.preshared, err = wgkey.ParsePreshared(r.Preshared); err != nil {
		return fmt.Errorf("preshared key: %w", err)
	}
	if r.UsedBy != "" {
		if i.usedBy, err = wgkey.ParsePublic(r.UsedBy); err != nil {
			return fmt.Errorf("used by: %w", err)
		}
	}
	revive := lifetime.NewReviver(now.Boot, s.content.BootID, r.BootID, r.BootNS)
	if i.until, err = revive.Until(r.Left); err != nil {
		return err
	}
	if _, ends := i.until.Time(); !ends {
		return errors.New("an invitation without an end")
	}
	i.otherBoot = !revive.SameBoot()
	s.putInvitation(key, i)
	return nil
}

func (s *State) restoreSite(hexKey string, data []byte) error {
	key, err := parseHex(hexKey)
	if err != nil {
		return err
	}
	var r siteRecord
	if err := unmarshal(data, &r, &r.Version); err != nil {
		return err
	}
	if err := invite.CheckName(r.Name); err != nil {
		return err
	}
	s.putJoined(key, &site{name: r.Name, key: key, link: key.LinkLocal(), joined: r.Joined, host: r.Host})
	return nil
}

// StoredNames are the names of joined sites in a store that no hub has open. What cannot be read is left out.
func StoredNames(records []Change) map[wgkey.Public]string {
	s := New()
	for _, r := range records {
		if hexKey, ok := strings.CutPrefix(r.Key, PeerPrefix); ok {
			_ = s.restoreSite(hexKey, r.Value) // it has no name then
		}
	}
	names := make(map[wgkey.Public]string, len(s.joined))
	for k, j := range s.joined {
		names[k] = j.name
	}
	return names
}

func parseHex(s string) (k wgkey.Public, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != wgkey.Size || wgkey.Public(b).IsZero() {
		return k, errors.New("the name of the record has no key")
	}
	return wgkey.Public(b), nil
}

// unmarshal asks for the version first: another one may have other fields.
func unmarshal(data []byte, into any, version *int) error {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return err
	}
	if head.Version > recordVersion {
		return errVersion
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if *version != recordVersion {
		return fmt.Errorf("version %d", *version)
	}
	return nil
}
