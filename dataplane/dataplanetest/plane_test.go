// SPDX-License-Identifier: MIT

package dataplanetest_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"oasis6/dataplane"
	"oasis6/dataplane/dataplanetest"
)

func TestFakeKeepsTheContract(t *testing.T) {
	p := dataplanetest.New()
	if err := p.Watch([]string{"br-lan"}); err != nil {
		t.Fatal(err)
	}
	if ev := (<-p.Events()).(dataplane.LinkChanged); ev.Link.Exists || ev.Link.Name != "br-lan" {
		t.Errorf("first event = %+v, want a br-lan that does not exist", ev)
	}
	if _, err := p.OpenND("br-lan"); err == nil {
		t.Error("OpenND of an interface that does not exist: no error")
	}
	p.SetLink(dataplane.Link{Name: "br-lan", Exists: true, Up: true, LinkLocal: netip.MustParseAddr("fe80::1")})
	if ev := (<-p.Events()).(dataplane.LinkChanged); !ev.Link.Up {
		t.Errorf("event after SetLink = %+v", ev)
	}
	c, err := p.OpenND("br-lan")
	if err != nil {
		t.Fatal(err)
	}
	p.ND("br-lan").In <- dataplane.Received{Iface: "br-lan", HopLimit: 255}
	if m, err := c.Receive(); err != nil || m.HopLimit != 255 {
		t.Errorf("Receive = %+v, %v", m, err)
	}
	if err := c.Send(netip.MustParseAddr("ff02::1"), []byte{134}); err != nil {
		t.Error(err)
	}
	if m := <-p.ND("br-lan").Out; m.To != netip.MustParseAddr("ff02::1") || m.Data[0] != 134 {
		t.Errorf("sent %+v", m)
	}
	_ = c.Close()
	if _, err := c.Receive(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive after Close = %v", err)
	}
	boom := errors.New("boom")
	p.FailApply(boom)
	if err := p.Apply(t.Context(), dataplane.Desired{Forward: true}); !errors.Is(err, boom) || p.String() != "" {
		t.Errorf("failing Apply = %v, state %q", err, p)
	}
	p.FailApply(nil)
	if err := p.Apply(t.Context(), dataplane.Desired{Forward: true}); err != nil || p.String() != "forward ipv6\n" {
		t.Errorf("Apply = %v, state %q", err, p)
	}
	if n := len(p.Applies()); n != 2 {
		t.Errorf("%d Applies recorded, want 2", n)
	}
	_ = p.Close()
	if _, ok := <-p.Events(); ok {
		t.Error("Events is open after Close")
	}
}
