// SPDX-License-Identifier: MIT

package netstack

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"oasis6/internal/ip6pkt"
)

// Duplicate address detection (RFC 4862 section 5.1).
const (
	dadTransmits = 1
	dadRetrans   = time.Second
)

// Buffers of the box's own TCP connections, which are few and small.
const (
	tcpBufferMin, tcpBuffer, tcpBufferMax = 4 << 10, 64 << 10, 512 << 10
)

// newStack makes the gVisor stack of a node. Its iptables are never touched: their conntrack, which then runs, has an index
// that is negative on 32-bit machines for half of all packets.
func newStack(p *Plane) (*stack.Stack, error) {
	o := stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{ipv6.NewProtocolWithOptions(ipv6.Options{
			NDPDisp: dadReports{p: p},
			MLD:     ipv6.MLDOptions{Enabled: true},
		})},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol6},
		Clock:              p.o.Clock,
		HandleLocal:        true,
	}
	if p.from != nil {
		o.RandSource, o.SecureRNG = source{&p.random}, source{&p.random}
	}
	s := stack.New(o)
	sack := tcpip.TCPSACKEnabled(true)
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcpBufferMin, Default: tcpBuffer, Max: tcpBufferMax}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcpBufferMin, Default: tcpBuffer, Max: tcpBufferMax}
	for _, opt := range []tcpip.SettableTransportProtocolOption{&sack, &send, &receive} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, opt); err != nil {
			s.Destroy()
			return nil, fmt.Errorf("gvisor: %T: %s", opt, err)
		}
	}
	// For the router's part in Neighbor Discovery: its flag in advertisements, and the groups of all routers. What gVisor
	// would forward does not get to it, see input.
	if err := s.SetForwardingDefaultAndAllNICs(ipv6.ProtocolNumber, true); err != nil {
		s.Destroy()
		return nil, fmt.Errorf("gvisor: forwarding: %s", err)
	}
	return s, nil
}

// nic is gVisor's side of an interface. It resolves no addresses: what gVisor sends is routed and resolved by us.
type nic struct {
	mtu        atomic.Uint32
	mac        tcpip.LinkAddress // empty: no Ethernet
	dispatcher atomic.Pointer[stack.NetworkDispatcher]
	muted      atomic.Bool // what gVisor sends is lost
	out        func(pkt []byte)
}

var _ stack.LinkEndpoint = (*nic)(nil)

// input gives a copy of a packet for this node to gVisor.
func (n *nic) input(pkt []byte) {
	d := n.dispatcher.Load()
	if d == nil {
		return
	}
	b := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(pkt)})
	b.PktType = tcpip.PacketHost
	(*d).DeliverNetworkPacket(ipv6.ProtocolNumber, b)
	b.DecRef()
}

// WritePackets is stack.LinkWriter's. It never fails: gVisor's callers panic for errors that they do not know.
func (n *nic) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	all := list.AsSlice()
	for _, b := range all {
		pkt := make([]byte, 0, b.Size())
		for _, part := range b.AsSlices() {
			pkt = append(pkt, part...)
		}
		if len(pkt) >= ip6pkt.HeaderLen && !n.muted.Load() {
			ip6pkt.SortReport(pkt)
			n.out(pkt)
		}
	}
	return len(all), nil
}

// MTU is stack.NetworkLinkEndpoint's, as is what follows.
func (n *nic) MTU() uint32 { return n.mtu.Load() }

// SetMTU is called for SetNICMTU only.
func (n *nic) SetMTU(mtu uint32) { n.mtu.Store(mtu) }

// MaxHeaderLength is 0: the Ethernet header is added outside of gVisor.
func (n *nic) MaxHeaderLength() uint16 { return 0 }

// LinkAddress is in our advertisements.
func (n *nic) LinkAddress() tcpip.LinkAddress { return n.mac }

// SetLinkAddress does nothing: nobody changes it.
func (n *nic) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities are none.
func (n *nic) Capabilities() stack.LinkEndpointCapabilities { return 0 }

// Attach gets nil when the NIC is removed.
func (n *nic) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		n.dispatcher.Store(nil)
		return
	}
	n.dispatcher.Store(&d)
}

// IsAttached says whether packets can be given to it.
func (n *nic) IsAttached() bool { return n.dispatcher.Load() != nil }

// Wait has nothing to wait for.
func (n *nic) Wait() {}

// ARPHardwareType is that of no header, see MaxHeaderLength.
func (n *nic) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader adds none.
func (n *nic) AddHeader(*stack.PacketBuffer) {}

// ParseHeader finds none.
func (n *nic) ParseHeader(*stack.PacketBuffer) bool { return true }

// Close is called when the NIC is removed.
func (n *nic) Close() {}

// SetOnCloseAction is not needed.
func (n *nic) SetOnCloseAction(func()) {}

func toAddr(a tcpip.Address) netip.Addr {
	ip, _ := netip.AddrFromSlice(a.AsSlice())
	return ip
}

func fromAddr(a netip.Addr) tcpip.Address { return tcpip.AddrFrom16(a.As16()) }
