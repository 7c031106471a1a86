// SPDX-License-Identifier: MIT

package join

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"oasis6/internal/invite"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// report is how asking ended.
type report struct {
	answer   *invite.Answer // nil: none came
	snapshot tun.Snapshot   // of the end's last moment
	err      error          // why it could not go on
}

func (r report) accepted() bool { return r.answer != nil && r.answer.Code == invite.Accepted }

const hopLimit = 64

// ask brings a tunnel with the private key up, sends the request for the box's own key, and repeats it until there is an
// answer or it has taken too long. Go's timers do: the command is in the foreground, and a minute of suspend may count or not.
func (j *joining) ask(ctx context.Context, peer tun.Peer, private wgkey.Private) (r report) {
	peer.Public, peer.Endpoint, peer.LinkLocal = j.inv.Hub, j.inv.Endpoint, j.inv.HubLinkLocal()
	e, err := j.open(tun.Config{Name: "join", PrivateKey: private, Peer: peer}, j.Log)
	if err != nil {
		return report{err: err}
	}
	defer func() {
		r.snapshot = e.Snapshot()
		_ = e.Close() // nothing of it stays
	}()
	own, hub := private.Public().LinkLocal(), peer.LinkLocal
	asker := invite.NewAsker(invite.Request{Key: j.private.Public(), Host: j.Host})
	timer := time.NewTimer(0)
	defer timer.Stop()
	unresolved := ""
	for {
		if why := e.Snapshot().ResolveError; why != unresolved {
			if unresolved = why; why != "" {
				j.Say(fmt.Sprintf("%s is not found: %s: trying again", j.inv.Endpoint, why))
			}
		}
		var ev invite.Event
		select {
		case <-timer.C:
			ev = invite.Tick{}
		case p := <-e.Packets():
			d, err := ip6pkt.ParseUDP(p)
			if err != nil || d.Src.Addr() != hub || d.Dst.Addr() != own || d.Src.Port() != invite.Port || d.Dst.Port() != invite.Port {
				continue
			}
			ev = invite.Received{Data: d.Payload}
		case t := <-e.Events():
			if err := j.told(t); err != nil {
				return report{err: err}
			}
			continue
		case <-ctx.Done():
			return report{err: errInterrupted}
		}
		a := asker.Step(time.Now(), ev)
		if a.Done {
			return report{answer: a.Answer}
		}
		if a.Send != nil {
			// A full queue, or a device that dies: the one is tried again, the other says so.
			_ = e.Send(ip6pkt.UDP(own, hub, invite.Port, invite.Port, hopLimit, a.Send))
		}
		timer.Reset(time.Until(a.Wake))
	}
}

// told passes on what the tunnel has to say.
func (j *joining) told(ev tun.Event) error {
	switch ev := ev.(type) {
	case tun.EndpointChanged:
		if ev.AddrPort.String() != j.inv.Endpoint {
			host, _, _ := net.SplitHostPort(j.inv.Endpoint) // its form was checked
			j.Say(fmt.Sprintf("%s resolves to %s", host, ev.AddrPort.Addr()))
		}
	case tun.Handshake:
		j.Say("the hub's WireGuard answers")
	case tun.Failed:
		return fmt.Errorf("the temporary tunnel died: %w", ev.Err)
	}
	return nil
}

// memoryEnd is a tunnel without interface.
type memoryEnd struct {
	*tun.Tunnel
	memory *tun.Memory
}

func (m memoryEnd) Packets() <-chan []byte { return m.memory.Packets() }

func openMemory(cfg tun.Config, log *slog.Logger) (end, error) {
	t, m, err := tun.OpenMemory(cfg, log)
	if err != nil {
		return nil, err
	}
	return memoryEnd{t, m}, nil
}
