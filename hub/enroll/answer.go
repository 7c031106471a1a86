// SPDX-License-Identifier: MIT

package enroll

import (
	"errors"

	"oasis6/internal/bucket"
	"oasis6/internal/invite"
	"oasis6/internal/note"
	"oasis6/internal/wgkey"
)

// receive answers a request, if the one who asks may be answered now.
func (s *State) receive(now Instant, ev Received, a *Actions) {
	i, name := s.invitations[ev.From], s.siteName(ev.From)
	if i == nil && name == nil {
		s.dropped++
		return
	}
	req, err := invite.ParseRequest(ev.Data)
	var later *invite.VersionError
	if err != nil && !errors.As(err, &later) || !s.mayAnswer(now, ev.From) {
		s.dropped++
		return
	}
	var ans invite.Answer
	switch {
	case later != nil:
		req.Key = later.Key
		ans = invite.Answer{Code: invite.TooNew, Text: "this hub speaks an older version"}
	case i == nil && req.Key == ev.From:
		// The box asks by its own tunnel whether it is joined: that it can is the proof.
		ans = invite.Answer{Code: invite.Accepted, Name: *name}
		s.confirm(now, ev.From, a)
	case i == nil:
		ans = invite.Answer{Code: invite.Bad, Text: "another key can join with an invitation of its own only"}
	default:
		ans = s.grant(now, i, req, a)
	}
	ans.Key, ans.Time = req.Key, now.Wall
	a.send(ev.From, ans)
}

// siteName is the name of a site with this key, nil if there is none.
func (s *State) siteName(key wgkey.Public) *string {
	if name, ok := s.file[key]; ok {
		return &name
	}
	if j := s.joined[key]; j != nil {
		return &j.name
	}
	return nil
}

// talk is what has been said to one peer.
type talk struct {
	answers bucket.Bucket
	refused invite.Code // that is in the log
}

// mayAnswer bounds what a peer can make the hub do.
func (s *State) mayAnswer(now Instant, from wgkey.Public) bool {
	t := s.talks[from]
	if t == nil {
		if len(s.talks) >= maxTalks {
			clear(s.talks) // all get another burst: that is no flood yet
		}
		t = &talk{answers: bucket.Bucket{Burst: answersAtOnce, Every: answersEvery}}
		s.talks[from] = t
	}
	return t.answers.Take(now.Boot, 1)
}

// grant lets the box in, once. The same key gets the same answer again, however late it asks: its ack may have been lost.
func (s *State) grant(now Instant, i *invitation, req invite.Request, a *Actions) invite.Answer {
	refuse := func(c invite.Code, text string) invite.Answer {
		if t := s.talks[i.key]; t.refused != c {
			t.refused = c
			a.note(note.Warn, "invitation refused", "peer", i.name, "err", text)
		}
		return invite.Answer{Code: c, Text: text}
	}
	switch {
	case i.usedBy == req.Key:
		return invite.Answer{Code: invite.Accepted, Name: i.name}
	case !i.usedBy.IsZero():
		return refuse(invite.Used, "another box has used this invitation")
	case i.expired(now):
		return refuse(invite.Expired, "the invitation has expired")
	case s.keyTaken(req.Key):
		return refuse(invite.Bad, "this key is taken at the hub")
	case s.nameInFile(i.name):
		return refuse(invite.Bad, "a site of the hub's configuration has this name now")
	case len(s.joined) >= min(MaxJoined, maxPeers-MaxInvitations-len(s.content.File)):
		return refuse(invite.Full, "the hub takes no more sites")
	}
	used := *i
	used.usedBy = req.Key
	s.setInvitation(now, i.key, &used, a)
	s.setJoined(req.Key, &site{name: i.name, key: req.Key, link: req.Key.LinkLocal(), joined: now.Wall, host: req.Host}, a)
	s.granted = append(s.granted, grant{i.key, req.Key})
	a.note(note.Info, "site joined by its invitation", "peer", i.name, "from", req.Host)
	return invite.Answer{Code: invite.Accepted, Name: i.name}
}

// keyTaken also looks at the link-local address that the key stands for: it is what proves a site. Whoever may choose a key
// could search for one with the address of another site; it has but 64 bits.
func (s *State) keyTaken(key wgkey.Public) bool {
	ll := key.LinkLocal()
	_, inFile := s.fileLL[ll]
	_, inBook := s.links[ll]
	_, known := s.file[key]
	return known || inFile || inBook || key == s.content.Hub || ll == s.hubLink || s.joined[key] != nil || s.invitations[key] != nil
}

func (s *State) nameInFile(name string) bool { _, ok := s.fileOf[fold(name)]; return ok }
