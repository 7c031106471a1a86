// SPDX-License-Identifier: MIT

package client

import (
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
)

// FuzzClientStep sends anything at a client that renews its lease: no panic, deadlines in the future, no
// lease lost or changed unless the message answers ours (type, transaction id and both identifiers), and
// never more messages than the limit.
func FuzzClientStep(f *testing.F) {
	b := renewingBox(f)
	for _, m := range []string{
		"Reply t1=10 t2=20 2001:db8:1::/64=100/200 dns=2001:db8::53", "Reply 2001:db8:1::/64=0/0", "Reply ia=NoBinding",
		"Reply xid 2001:db8:1::/64=0/0", "Reply client=other 2001:db8:1::/64=0/0", "Reply from=s2 2001:db8:1::/64=0/0",
		"Advertise pref=255 2001:db8:2::/64=1/2", "Reply status=UnspecFail", "Reply dns=broken 2001:db8:2::/56=1/2",
	} {
		f.Add(b.message(strings.Fields(m)), uint16(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, seconds uint16) {
		b := renewingBox(t)
		b.t = t
		request := b.last
		before, done := b.c.Lease(), b.c.done
		now := b.now.Add(time.Duration(seconds%500) * time.Second)
		sent := len(b.step(now, Received{From: serverAddr, Data: data}).Send)
		m, _, err := dhcpv6.ParseMessage(data)
		ours := err == nil && m.Type == dhcpv6.Reply && m.XID == request.XID && m.ClientID == ourDUID && m.ServerID == server("s1")
		refused := uint64(1)
		if err == nil && m.XID == done && m.Type != dhcpv6.Reconfigure {
			refused = 0 // a late copy of an answer that was taken
		}
		if !ours && (!before.sameForLAN(b.c.Lease()) || b.act.Persist != nil || b.c.Status().Dropped != refused) {
			t.Fatalf("%x of somebody else made %+v", data, b.c.Lease())
		}
		for end := now.Add(20 * time.Second); !b.act.Wake.IsZero() && b.act.Wake.Before(end); {
			sent += len(b.step(b.act.Wake, Tick{}).Send)
		}
		if sent > RateLimit {
			t.Fatalf("%d messages in 20 s", sent)
		}
	})
}

// renewingBox is a client that has just sent its first Renew.
func renewingBox(t testing.TB) *box {
	b := newBox(t, testConfig, randHalf)
	b.run(boundAt0 + `1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing`)
	return b
}
