// SPDX-License-Identifier: MIT

// Package join makes a box a site of a hub by an invitation: it makes the box's key, asks the hub through a temporary
// tunnel in this process, without root and interface, and writes the configuration.
//
// What it does can end at any moment: the key is on disk before the hub hears of it, and the configuration is written when
// the hub has said that it has the key on its disk. The same command again goes on with the same key. It must not know the
// hub's side or routes. Start at Run.
package join

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"oasis6/config"
	"oasis6/internal/invite"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// Options are what the administrator of the box says.
type Options struct {
	Config  string // path of the configuration
	LAN     string // interface of its [LAN]
	Replace bool   // an existing configuration is set aside
	Running bool   // a box runs here: with its key nobody else may speak now
	Host    string // what the box calls itself, for the hub's log
	// Say gets one line of progress at a time.
	Say func(line string)
	Log *slog.Logger

	open func(tun.Config, *slog.Logger) (end, error) // nil: a real one
}

// Result is what became of it.
type Result struct {
	Already bool   // the configuration was there, and nothing was done
	Asked   bool   // of Already: the hub knows the box; else it was not asked, since the box runs
	Name    string // of the site, as the hub says; empty if Already
	Backup  string // where the old configuration is; empty: there was none
	KeyFile string
	// Warning is not empty if the box is joined, but something should be looked at.
	Warning string
}

// end is a WireGuard end in this process, with the hub as its peer.
type end interface {
	Send(packet []byte) error // takes the packet
	Packets() <-chan []byte   // from the hub; the receiver's
	Events() <-chan tun.Event // must be drained
	Snapshot() tun.Snapshot
	Close() error
}

// verifyFor is how long the new key's own handshake may take: WireGuard tries again after 5 s.
const verifyFor = 10 * time.Second

// Run joins. Its errors say what to do.
func Run(ctx context.Context, inv invite.Invitation, opt Options) (Result, error) {
	if opt.open == nil {
		opt.open = openMemory
	}
	j := &joining{Options: opt, inv: inv, keys: inv.Keys()}
	cfg, err := j.already()
	switch {
	case err != nil:
		return Result{}, err
	case cfg != nil && opt.Running:
		return Result{Already: true}, nil
	case cfg != nil:
		return j.stillKnown(ctx, cfg)
	}
	if err := j.prepare(); err != nil {
		j.tidy()
		return Result{}, err
	}
	defer j.tidy()
	ans, err := j.admitted(ctx)
	if err != nil {
		return Result{}, err
	}
	j.kept = true
	backup, err := j.write(ans.Name)
	if err != nil {
		return Result{}, fmt.Errorf("%w: the hub has taken this box: mend this, and run the same command again", err)
	}
	return Result{Name: ans.Name, Backup: backup, KeyFile: j.keyFile(), Warning: j.verify(ctx, ans)}, nil
}

// joining is one Run.
type joining struct {
	Options
	inv     invite.Invitation
	keys    invite.Keys
	private wgkey.Private // the box's own
	resumed bool          // an earlier Run made it
	known   bool          // the hub has answered by it
	heard   bool          // the hub may have been told of it
	kept    bool          // it is the configuration's
	made    []string      // folders that were not there, the innermost first
}

// stillKnown asks the hub whether it knows the key of the configuration: it may have been removed there.
func (j *joining) stillKnown(ctx context.Context, cfg *config.Config) (Result, error) {
	j.Say("this box has joined this hub before: asking whether the hub knows it still")
	j.private = cfg.Interface.PrivateKey
	r := j.askOwn(ctx, cfg.Peers[0].PresharedKey)
	switch {
	case r.err != nil:
		return Result{}, r.err
	case r.answer != nil || r.snapshot.HandshakeAge >= 0: // one whose site is in the hub's file hears WireGuard only
		return Result{Already: true, Asked: true}, nil
	}
	return Result{}, fmt.Errorf("%s is of this hub, but in %v the hub at %s did not answer the key in it: it may have removed this box, "+
		"then ask for a new invitation and join by that with --replace; or it is down, or UDP to it is blocked", j.Config, verifyFor, j.inv.Endpoint)
}

// admitted asks until the hub has taken the box.
func (j *joining) admitted(ctx context.Context) (invite.Answer, error) {
	if j.resumed {
		// The hub may have taken it before, and the invitation may be gone since.
		j.Say("this invitation was begun here before: asking whether the hub knows this box already")
		if r := j.askOwn(ctx, wgkey.Preshared{}); r.accepted() {
			j.known = true
			return *r.answer, nil
		}
	}
	j.Say("asking the hub at " + j.inv.Endpoint)
	j.heard = true
	r := j.ask(ctx, tun.Peer{Preshared: j.keys.Preshared}, j.keys.Private)
	j.heard = r.snapshot.Endpoint.IsValid() // without an address nothing has left
	switch {
	case r.err != nil:
		return invite.Answer{}, r.err
	case r.accepted():
		j.Say("the hub has taken this box as its site " + r.answer.Name)
		return *r.answer, nil
	case r.answer != nil:
		return invite.Answer{}, j.refused(*r.answer)
	}
	return invite.Answer{}, j.silence(r)
}

// askOwn asks by the box's own key, for a while: then there is no answer, and no error.
func (j *joining) askOwn(ctx context.Context, preshared wgkey.Preshared) report {
	limited, cancel := context.WithTimeout(ctx, verifyFor)
	defer cancel()
	r := j.ask(limited, tun.Peer{Preshared: preshared}, j.private)
	if errors.Is(r.err, errInterrupted) && ctx.Err() == nil {
		r.err = nil
	}
	return r
}

// maxAhead of the hub's clock the box's may be. WireGuard refuses handshakes with an earlier time than the last one's: what a
// box says while its clock is in the future locks it out when the clock is put right.
const maxAhead = 10 * time.Minute

// verify uses the new key once, so that the hub can forget the invitation. The text says what is wrong, empty: nothing.
func (j *joining) verify(ctx context.Context, ans invite.Answer) string {
	if j.known {
		return ""
	}
	if ahead := time.Since(ans.Time).Round(time.Minute); !ans.Time.IsZero() && ahead > maxAhead {
		return fmt.Sprintf("the clock of this box is %v ahead of the hub's: set it before the box runs, or the hub will refuse it once it is set back", ahead)
	}
	r := j.askOwn(ctx, wgkey.Preshared{})
	switch {
	case r.accepted():
		j.Say("checked: the hub knows the new key")
		return ""
	case r.answer != nil:
		return fmt.Sprintf("the hub answered the new key with %q: %s", r.answer.Code, r.answer.Text)
	}
	return "the hub did not answer the new key yet: if it does not when the box runs, ask the hub's administrator for the site in oasis6 status"
}

// refused turns an answer into advice. With a key that can never be taken no later try should begin.
func (j *joining) refused(ans invite.Answer) error {
	why := ans.Text
	if why == "" {
		why = ans.Code.String()
	}
	switch ans.Code {
	case invite.Used:
		j.forget()
		return fmt.Errorf("the hub refuses: %s: ask for a new invitation, and tell the hub's administrator if no other box of yours has used this one", why)
	case invite.Expired, invite.Bad:
		j.forget()
		return fmt.Errorf("the hub refuses: %s: ask for a new invitation", why)
	case invite.Full:
		return fmt.Errorf("the hub refuses: %s: ask its administrator", why)
	case invite.TooNew:
		return fmt.Errorf("the hub speaks version %d of the messages, this box version %d: have oasis6 updated at the hub", ans.Version, invite.Version)
	case invite.Later:
		return fmt.Errorf("the hub cannot take this box now: %s: run the same command again later", why)
	}
	return fmt.Errorf("the hub answers %q: %s: update oasis6 on this box", ans.Code, why)
}

// silence says why nobody may have answered, by how far the box came.
func (j *joining) silence(r report) error {
	s, again := r.snapshot, "run the same command again to go on"
	switch {
	case s.HandshakeAge >= 0:
		return fmt.Errorf("WireGuard at %s answers, but nobody answers the request: is it oasis6 hub, and what does its log say? then %s", j.inv.Endpoint, again)
	case !s.Endpoint.IsValid() && s.ResolveError != "":
		return fmt.Errorf("endpoint %s: %s: check the DNS and the uplink of this box, then %s", j.inv.Endpoint, s.ResolveError, again)
	case s.SendError != "":
		return fmt.Errorf("nothing can be sent to %s: %s: check the uplink of this box, then %s", j.inv.Endpoint, s.SendError, again)
	}
	until := j.inv.Expires.UTC().Format("2006-01-02 15:04 MST")
	if !time.Now().Before(j.inv.Expires) {
		return fmt.Errorf("no answer from %s in %v: by the clock of this box the invitation expired on %s: ask for a new one", j.inv.Endpoint, invite.MaxAsking, until)
	}
	return fmt.Errorf("no answer from %s in %v: the invitation (good until %s) may have been used or taken back; the hub may be down; or UDP to it is blocked. "+
		"If the clock of this box was set back since the last try, wait 5 minutes. Then %s", j.inv.Endpoint, invite.MaxAsking, until, again)
}

var errInterrupted = errors.New("interrupted: run the same command again to go on")
