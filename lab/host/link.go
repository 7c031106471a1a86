// SPDX-License-Identifier: MIT

package host

import (
	"bytes"
	"net/netip"
	"slices"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"oasis6/internal/ip6pkt"
	"oasis6/lab/wire"
)

// link is gVisor's side of the port, for the protocols of one family.
type link struct {
	h          *Host
	protocols  []tcpip.NetworkProtocolNumber
	mtu        atomic.Uint32
	dispatcher atomic.Pointer[stack.NetworkDispatcher]
}

var _ stack.LinkEndpoint = (*link)(nil)

func (h *Host) newLink(protocols ...tcpip.NetworkProtocolNumber) *link {
	l := &link{h: h, protocols: protocols}
	l.mtu.Store(uint32(h.mtu))
	return l
}

// input gives a frame to gVisor.
func (l *link) input(proto tcpip.NetworkProtocolNumber, frame []byte) {
	d := l.dispatcher.Load()
	if d == nil {
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
	defer pkt.DecRef()
	if !l.ParseHeader(pkt) {
		return
	}
	pkt.PktType = tcpip.PacketHost
	switch dst := header.Ethernet(frame).DestinationAddress(); {
	case dst == header.EthernetBroadcastAddress:
		pkt.PktType = tcpip.PacketBroadcast
	case header.IsMulticastEthernetAddress(dst):
		pkt.PktType = tcpip.PacketMulticast
	}
	(*d).DeliverNetworkPacket(proto, pkt)
}

// WritePackets is stack.LinkWriter's. It never fails: a frame may get lost on any wire.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	all := list.AsSlice()
	for _, pkt := range all {
		if !slices.Contains(l.protocols, pkt.NetworkProtocolNumber) {
			continue // of the other family, which gVisor begins on each NIC
		}
		frame := make([]byte, 0, pkt.Size())
		for _, part := range pkt.AsSlices() {
			frame = append(frame, part...)
		}
		switch pkt.NetworkProtocolNumber {
		case ipv4.ProtocolNumber:
			l.h.identify(frame[wire.Header:])
		case ipv6.ProtocolNumber:
			if ip6pkt.SortReport(frame[wire.Header:]) {
				l.h.report(frame)
				continue
			}
			if l.h.silence.some.Load() {
				dst := netip.AddrFrom16([16]byte(frame[wire.Header+ip6pkt.HeaderLen-16:]))
				l.h.e.Post(func() { l.h.missed(dst) })
			}
		}
		l.h.transmit(frame)
	}
	return len(all), nil
}

func (h *Host) transmit(frame []byte) {
	if !h.muted.Load() {
		_ = h.cfg.Port.Send(frame) // fails only when the host was taken off the wire
	}
}

// identify gives an IPv4 packet the next identification. gVisor has them from a random source that cannot be given to it.
// Pieces keep theirs.
func (h *Host) identify(b []byte) {
	ip := header.IPv4(b)
	if len(b) < header.IPv4MinimumSize || ip.More() || ip.FragmentOffset() > 0 {
		return
	}
	ip.SetID(uint16(h.ids.Add(1)))
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
}

// report sends reports of one instant in the order of their octets: gVisor has them, too, in the order of a map.
func (h *Host) report(frame []byte) {
	h.reports.mu.Lock()
	defer h.reports.mu.Unlock()
	if h.reports.frames = append(h.reports.frames, frame); len(h.reports.frames) > 1 {
		return
	}
	h.e.Post(func() {
		h.reports.mu.Lock()
		frames := h.reports.frames
		h.reports.frames = nil
		h.reports.mu.Unlock()
		slices.SortFunc(frames, bytes.Compare)
		for _, f := range frames {
			h.transmit(f)
		}
	})
}

// MTU is stack.NetworkLinkEndpoint's, as is what follows.
func (l *link) MTU() uint32 { return l.mtu.Load() }

// SetMTU is called for SetNICMTU.
func (l *link) SetMTU(mtu uint32) { l.mtu.Store(mtu) }

// MaxHeaderLength is that of Ethernet.
func (l *link) MaxHeaderLength() uint16 { return wire.Header }

// LinkAddress is the MAC.
func (l *link) LinkAddress() tcpip.LinkAddress {
	m := l.h.cfg.Port.MAC()
	return tcpip.LinkAddress(m[:])
}

// SetLinkAddress does nothing: nobody changes it.
func (l *link) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities: addresses are resolved.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityResolutionRequired
}

// Attach gets nil when the NIC is removed.
func (l *link) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		l.dispatcher.Store(nil)
		return
	}
	l.dispatcher.Store(&d)
}

// IsAttached says whether packets can be given to it.
func (l *link) IsAttached() bool { return l.dispatcher.Load() != nil }

// Wait has nothing to wait for.
func (l *link) Wait() {}

// ARPHardwareType is that of Ethernet.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// AddHeader adds the Ethernet header.
func (l *link) AddHeader(pkt *stack.PacketBuffer) {
	eth := header.Ethernet(pkt.LinkHeader().Push(header.EthernetMinimumSize))
	eth.Encode(&header.EthernetFields{SrcAddr: l.LinkAddress(), DstAddr: pkt.EgressRoute.RemoteLinkAddress, Type: pkt.NetworkProtocolNumber})
}

// ParseHeader takes the Ethernet header off.
func (l *link) ParseHeader(pkt *stack.PacketBuffer) bool {
	_, ok := pkt.LinkHeader().Consume(header.EthernetMinimumSize)
	return ok
}

// Close is called when the NIC is removed.
func (l *link) Close() {}

// SetOnCloseAction is not needed.
func (l *link) SetOnCloseAction(func()) {}
