// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"time"

	"oasis6/dhcpv6"
)

// renewAlone is how many renewals a second the hub answers when nothing else takes the processor: no WireGuard, no sockets,
// no perfdhcp. Every site first gets its prefix, then they renew in turns, up to window at a time.
func renewAlone(sites int, dir string, lasts time.Duration) error {
	const window = 2048
	r := newRelay(sites)
	answers := make(chan []byte, relayQueue)
	r.answer = func(m []byte) { answers <- append([]byte(nil), m...) }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.run(ctx, dir) }()
	renews, err := r.bindAll(answers, window)
	if err == nil {
		begin, n, under := time.Now(), 0, 0
		for time.Since(begin) < lasts {
			for ; under < window && r.receive(n%sites, renews[n%sites]); n++ {
				under++
			}
			<-answers
			under--
			for len(answers) > 0 {
				<-answers
				under--
			}
		}
		took := time.Since(begin)
		for ; under > 0; under-- {
			<-answers
		}
		fmt.Printf("%s %.0f\n", aloneWord, float64(n)/took.Seconds())
	}
	cancel()
	if e := <-ended; err == nil {
		err = e
	}
	return err
}

// aloneWord stands before the figure that renewAlone prints.
const aloneWord = "renewals/s"

// bindAll gives every site a prefix, and returns what each is to send to renew it.
func (r *relay) bindAll(answers <-chan []byte, window int) ([][]byte, error) {
	renews := make([][]byte, len(r.sites))
	sent, got := 0, 0
	for got < len(r.sites) {
		for ; sent < len(r.sites) && sent-got < window; sent++ {
			m := dhcpv6.Message{
				Type: dhcpv6.Solicit, XID: uint32(sent), ClientID: dhcpv6.DUIDFromPublicKey(r.sites[sent]), RapidCommit: true,
				IAs: []dhcpv6.IA{{Type: dhcpv6.PD, IAID: 1}},
			}
			if !r.receive(sent, m.Append(nil)) {
				return nil, fmt.Errorf("site %d: %s", sent, manyEvents)
			}
		}
		m, _, err := dhcpv6.ParseMessage(<-answers)
		if err != nil {
			return nil, err
		}
		if int(m.XID) >= len(renews) || len(m.IAs) != 1 || len(m.IAs[0].Prefixes) != 1 {
			return nil, fmt.Errorf("site %d: the answer has no prefix: %+v", m.XID, m)
		}
		renew := dhcpv6.Message{Type: dhcpv6.Renew, XID: m.XID, ClientID: m.ClientID, ServerID: m.ServerID, IAs: m.IAs}
		renews[m.XID] = renew.Append(nil)
		got++
	}
	return renews, nil
}
