// SPDX-License-Identifier: MIT

package server

import "time"

// Server is not here yet.
type Server struct{}

// New makes a server.
func New(Config, func() float64) *Server { return &Server{} }

// Step does nothing yet.
func (s *Server) Step(time.Time, Event) Actions { return Actions{} }

// Bindings are those of all clients whose leases are not over.
func (s *Server) Bindings(now time.Time) []Binding { return nil }

// Stats are the counters of one link.
func (s *Server) Stats(link string) Stats { return Stats{} }

// EncodeState is the state as it goes to disk.
func EncodeState(s State, now, wall time.Time, bootID string) ([]byte, error) { return nil, nil }

// DecodeState reads what EncodeState wrote; an error means a damaged file.
func DecodeState(data []byte, now time.Time, bootID string) (State, error) { return State{}, nil }
