// SPDX-License-Identifier: MIT

// Package httpd is a small HTTP/1.1 server (RFC 9110, RFC 9112) for pages of our own.
//
// It knows how a request is read, within bounds and with no doubt where it ends, how an answer is written, whole or as
// a stream, and how long who waits for whom. It must not know what is served. It has no TLS, no request bodies of
// unknown length, no ranges and no caches; net/http, which has them, is 3.2 MB on a board (docs/decisions/0019). Start
// at Server.Serve.
package httpd

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// How long somebody is waited for, and how many.
const (
	idleTimeout    = 2 * time.Minute        // for the next request on a connection
	requestTimeout = 10 * time.Second       // for the rest of a request, from its first octet
	writeTimeout   = 10 * time.Second       // for a reader to take what is written at once
	lingerTimeout  = time.Second            // for a client to read why it was refused
	endTimeout     = time.Second            // for answers under way when Serve is to end
	acceptPause    = 100 * time.Millisecond // until files may be free again

	// maxConns are the connections at a time. A browser has six to a host; each costs us some 20 kB.
	maxConns = 64
	// maxLinger is what is read and thrown away of a refused request.
	maxLinger = 1 << 18
)

// Handler answers one request. The context ends when the client has gone and when the server ends. An error after the
// answer has begun cuts the connection, so that the client sees that it is not whole; one before is answered with 500.
// A panic is not caught.
type Handler func(ctx context.Context, w *Writer, r *Request) error

// Field is one line of a header.
type Field struct{ Name, Value string }

// Server says what is served. It does not change while Serve runs.
type Server struct {
	// Handler may be called for several connections at once.
	Handler Handler
	// Header stands in each answer, those to requests that no handler saw among them.
	Header []Field
	// MaxBody is how long a request's body may be, in octets.
	MaxBody int
}

// Serve answers on l until ctx ends, and returns nil then. It closes l. Streams see their context end; who does not
// read the end of an answer within a second is cut off.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var closing sync.WaitGroup
	closing.Go(func() {
		<-ctx.Done()
		_ = l.Close() // its end is what Accept reports
	})
	v := &serving{srv: s, conns: map[*conn]time.Time{}, left: make(chan struct{}, 1)}
	err := v.accept(ctx, l)
	cancel()
	closing.Wait()
	v.end()
	return err
}

// serving has the connections of one Serve.
type serving struct {
	srv     *Server
	running sync.WaitGroup
	left    chan struct{} // somebody has left since it was read

	mu      sync.Mutex
	conns   map[*conn]time.Time // since when each waits for a request; zero while one is answered
	crowded bool                // one more stands at the door
	ending  bool
}

func (s *serving) accept(ctx context.Context, l net.Listener) error {
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = nc.Close() // came too late
			}
			return nil
		case err != nil && passes(err):
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		case err != nil:
			return err
		}
		c := newConn(s.srv, nc)
		if !s.admit(ctx, c) {
			_ = c.Close() // nothing was answered
			return nil
		}
		s.running.Go(func() {
			defer s.leave(c)
			c.serve(ctx, s)
		})
	}
}

// passes says whether Accept may work later: files or memory are short, or the client was faster than us.
func passes(err error) bool {
	passing := []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED}
	return slices.ContainsFunc(passing, func(e error) bool { return errors.Is(err, e) })
}

// admit waits for a place. Whoever has nothing to ask makes room, the longest waiting first. False: ctx has ended.
func (s *serving) admit(ctx context.Context, c *conn) bool {
	for {
		s.mu.Lock()
		s.crowded = len(s.conns) >= maxConns
		if !s.crowded {
			s.conns[c] = time.Now()
			s.mu.Unlock()
			return true
		}
		if idle := s.longestIdle(); idle != nil {
			_ = idle.Close() // its goroutine sees that and leaves
		}
		s.mu.Unlock()
		select {
		case <-s.left:
		case <-ctx.Done():
			return false
		}
	}
}

func (s *serving) longestIdle() *conn {
	var who *conn
	for c, since := range s.conns {
		if !since.IsZero() && (who == nil || since.Before(s.conns[who])) {
			who = c
		}
	}
	return who
}

// idle says that c waits for a request from now on; false: it had better leave.
func (s *serving) idle(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = time.Now()
	return !s.crowded && !s.ending
}

// busy says that a request comes in on c; false: too late.
func (s *serving) busy(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = time.Time{}
	return !s.ending
}

func (s *serving) leave(c *conn) {
	_ = c.Close() // may be closed already
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	select {
	case s.left <- struct{}{}:
	default: // is known already
	}
}

// end waits until all have left. Who waits for a request goes at once.
func (s *serving) end() {
	s.mu.Lock()
	s.ending = true
	for c, since := range s.conns {
		if !since.IsZero() {
			_ = c.Close() // nothing is under way
		}
	}
	s.mu.Unlock()
	late := time.AfterFunc(endTimeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			_ = c.Close() // is not waited for
		}
	})
	defer late.Stop()
	s.running.Wait()
}
