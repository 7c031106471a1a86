// SPDX-License-Identifier: MIT

package trial

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	hostNIC   = 1
	hostQueue = 256 // packets to the hub
)

// host is gVisor's stack with one address.
type host struct {
	stack  *stack.Stack
	ep     *channel.Endpoint
	addr   netip.Addr
	cancel context.CancelFunc
	sender sync.WaitGroup
}

// NewHost is a Connect.
func NewHost(addr netip.Addr, mtu int, send func([]byte) error) (Host, error) {
	h := &host{
		addr: addr, ep: channel.New(hostQueue, uint32(mtu), ""),
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
		}),
	}
	if err := h.configure(); err != nil {
		h.stack.Destroy()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	h.sender.Go(func() {
		for {
			pkt := h.ep.ReadContext(ctx)
			if pkt == nil {
				return
			}
			v := pkt.ToView()
			_ = send(v.AsSlice()) // a lost packet; TCP sends it again
			pkt.DecRef()
		}
	})
	return h, nil
}

func (h *host) configure() error {
	if err := h.stack.CreateNIC(hostNIC, h.ep); err != nil {
		return fmt.Errorf("userspace stack: %s", err)
	}
	address := tcpip.ProtocolAddress{
		Protocol:          ipv6.ProtocolNumber,
		AddressWithPrefix: tcpip.AddrFromSlice(h.addr.AsSlice()).WithPrefix(),
	}
	if err := h.stack.AddProtocolAddress(hostNIC, address, stack.AddressProperties{}); err != nil {
		return fmt.Errorf("userspace stack: address %s: %s", h.addr, err)
	}
	sack := tcpip.TCPSACKEnabled(true)
	if err := h.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		return fmt.Errorf("userspace stack: SACK: %s", err)
	}
	h.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv6EmptySubnet, NIC: hostNIC}})
	return nil
}

func (h *host) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	local := tcpip.FullAddress{NIC: hostNIC, Addr: tcpip.AddrFromSlice(h.addr.AsSlice())}
	remote := tcpip.FullAddress{NIC: hostNIC, Addr: tcpip.AddrFromSlice(to.Addr().AsSlice()), Port: to.Port()}
	return gonet.DialTCPWithBind(ctx, h.stack, local, remote, ipv6.ProtocolNumber)
}

func (h *host) Deliver(packet []byte) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
	h.ep.InjectInbound(ipv6.ProtocolNumber, pkt)
	pkt.DecRef()
}

func (h *host) Close() {
	h.cancel()
	h.sender.Wait()
	h.stack.Destroy()
}
