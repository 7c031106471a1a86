// SPDX-License-Identifier: MIT

package enroll

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"oasis6/internal/invite"
	"oasis6/internal/wgkey"
)

// box is a box that joins: what is on its disk, and what it forgets in a crash.
type box struct {
	key        wgkey.Public // on disk from the first request on
	hasKey     bool
	configured bool // on disk: it uses its key
	refused    bool // it heard that another box was faster

	asker *invite.Asker
}

// crash is where the hub's process dies while it carries out a step.
type crash int

const (
	never crash = iota
	beforeWrite
	afterWrite
)

// joining is a hub, the box that is invited and a thief with the same invitation.
type joining struct {
	*world
	rt        *rapid.T
	temporary wgkey.Public
	box       box
	thief     wgkey.Public
	crash     crash
	held      [][]byte // answers that are late
}

// deliver brings a request to the hub, which may crash over it, and gives the answers.
func (j *joining) deliver(from wgkey.Public, data []byte) []Datagram {
	if _, known := j.device[from]; !known {
		return nil // WireGuard makes no session
	}
	j.answers = nil
	a := j.s.Step(j.now, Received{From: from, Data: data})
	c := j.crash
	j.crash = never
	switch {
	case c == beforeWrite:
		j.start()
		return nil
	case c == afterWrite:
		a.Send, a.Peers = nil, false
		j.do(a)
		j.start()
		return nil
	}
	j.do(a)
	return j.answers
}

// hear gives the box an answer.
func (j *joining) hear(data []byte) {
	if j.box.asker == nil {
		return
	}
	j.act(j.box.asker.Step(j.now.Boot, invite.Received{Data: data}))
}

// act is what the box does with its asker's actions: accepted, it writes its configuration.
func (j *joining) act(a invite.Actions) (send []byte) {
	if !a.Done {
		return a.Send
	}
	j.box.asker = nil
	if a.Answer == nil {
		return nil
	}
	switch a.Answer.Code {
	case invite.Accepted:
		if j.disk[peerKey(j.box.key)] == nil {
			j.rt.Fatalf("the box was told that it has joined, but the hub's disk knows nothing of it")
		}
		j.box.configured = true
	case invite.Used:
		j.box.refused = true
	}
	return nil
}

func (j *joining) steps(lossy bool) {
	if j.box.asker == nil && !j.box.configured {
		if !j.box.hasKey {
			j.box.key, j.box.hasKey = testKey(7), true
		}
		j.box.asker = invite.NewAsker(invite.Request{Key: j.box.key})
	}
	if j.box.asker == nil {
		return
	}
	send := j.act(j.box.asker.Step(j.now.Boot, invite.Tick{}))
	if send == nil || lossy && rapid.Bool().Draw(j.rt, "request lost") {
		return
	}
	for _, d := range j.deliver(j.temporary, send) {
		switch {
		case lossy && rapid.Bool().Draw(j.rt, "answer late or lost"):
			j.held = append(j.held, d.Data)
		default:
			j.hear(d.Data)
		}
	}
}

func (j *joining) check(*rapid.T) {
	joined := 0
	for _, k := range []wgkey.Public{testKey(7), j.thief} {
		if j.disk[peerKey(k)] != nil {
			joined++
		}
	}
	if joined > 1 {
		j.rt.Fatal("two boxes joined by one invitation")
	}
	stolen := j.disk[peerKey(j.thief)] != nil
	_, device := j.device[testKey(7)]
	_, open := j.device[j.temporary]
	switch {
	case stolen && j.box.configured:
		j.rt.Fatal("the box is configured, but the thief joined")
	case stolen:
	case j.box.refused:
		j.rt.Fatal("the box was refused although nobody else joined")
	case j.box.configured && !device:
		j.rt.Fatal("the box is configured, but the hub's device does not know its key")
	case !j.box.configured && !open:
		j.rt.Fatal("the box is not configured, and the invitation is gone")
	}
}

// "Interrupted at any step, either the invitation still works or the box is joined."
func TestCrashAtEveryPoint(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		_, temporary := w.invite("library")
		j := &joining{world: w, rt: rt, temporary: temporary, thief: testKey(8)}
		rt.Repeat(map[string]func(*rapid.T){
			"": j.check,
			"the box goes on": func(rt *rapid.T) {
				j.pass(time.Duration(rapid.IntRange(0, 5000).Draw(rt, "ms")) * time.Millisecond)
				j.steps(true)
			},
			"the box crashes": func(*rapid.T) { j.box.asker = nil },
			"a late answer": func(*rapid.T) {
				if len(j.held) > 0 {
					j.hear(j.held[0])
					j.held = j.held[1:]
				}
			},
			"the box uses its own key": func(*rapid.T) {
				if _, known := j.device[j.box.key]; known && j.box.configured {
					j.step(Seen{Key: j.box.key, Age: 0})
				}
			},
			"the hub crashes":             func(*rapid.T) { j.start() },
			"the hub reboots":             func(*rapid.T) { j.reboot(j.now.Wall.Add(time.Second)) },
			"the hub will crash":          func(rt *rapid.T) { j.crash = rapid.SampledFrom([]crash{beforeWrite, afterWrite}).Draw(rt, "where") },
			"the hub's disk fills":        func(*rapid.T) { j.full = true },
			"the hub's disk lies":         func(*rapid.T) { j.lies = true },
			"the hub's disk has room":     func(*rapid.T) { j.full, j.lies = false, false },
			"the thief asks":              func(*rapid.T) { j.deliver(j.temporary, invite.Request{Key: j.thief}.Marshal()) },
			"the invitation is refreshed": func(*rapid.T) { j.step(Seen{Key: j.temporary, Age: SessionOver}) },
		})
		// Without faults it ends well.
		j.full, j.lies, j.crash = false, false, never
		j.box.asker = nil
		for range 100 {
			j.pass(time.Second)
			if j.steps(false); j.box.configured || j.box.refused {
				break
			}
		}
		j.check(rt)
		if stolen := j.disk[peerKey(j.thief)] != nil; j.box.configured == stolen {
			rt.Fatalf("in the end: configured %v, stolen %v", j.box.configured, stolen)
		}
	})
}
