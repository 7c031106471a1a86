// SPDX-License-Identifier: MIT

package wire

// End is what a node has of a wire: a Port, or a part of one.
type End interface {
	Node() string
	Wire() *Wire
	MAC() [6]byte
	MTU() int
	Up() bool
	Attach(deliver func(frame []byte), state func(up bool))
	Send(frame []byte) error
	Close() error
}

var _ End = (*Port)(nil)

// part is one of two stations that share a port and its address.
type part struct {
	*Port
	all *[2]part
	own int

	deliver func([]byte)
	state   func(bool)
}

// The two that Split gives.
const (
	others = iota
	ipv6
)

// Split lets two stacks share a port: what is not IPv6 goes to the first, IPv6 to the second.
func Split(p *Port) (rest, v6 End) {
	all := &[2]part{}
	for i := range all {
		all[i] = part{Port: p, all: all, own: i}
	}
	return &all[others], &all[ipv6]
}

// Attach is Port's, for the frames that are this part's.
func (s *part) Attach(deliver func([]byte), state func(bool)) {
	s.wire.mu.Lock()
	s.deliver, s.state = deliver, state
	s.wire.mu.Unlock()
	if deliver == nil && state == nil {
		return // the other one may go on
	}
	s.Port.Attach(s.sort, s.tell)
}

// get gives what a part has attached.
func (s *part) get(i int) (func([]byte), func(bool)) {
	s.wire.mu.Lock()
	defer s.wire.mu.Unlock()
	return s.all[i].deliver, s.all[i].state
}

func (s *part) sort(frame []byte) {
	i := others
	if len(frame) >= Header && frame[12] == 0x86 && frame[13] == 0xdd {
		i = ipv6
	}
	if f, _ := s.get(i); f != nil {
		f(frame)
	}
}

func (s *part) tell(up bool) {
	for i := range s.all {
		if _, f := s.get(i); f != nil {
			f(up)
		}
	}
}

// Close takes this part off, not the other one.
func (s *part) Close() error {
	s.Attach(nil, nil)
	return nil
}
