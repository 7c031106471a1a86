// SPDX-License-Identifier: MIT

package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Server listens on a control socket. It holds the lock beside it, so two boxes cannot share a
// RUN folder.
type Server struct {
	methods Methods
	limits  limits
	ln      *net.UnixListener
	lock    *os.File
	ctx     context.Context
	cancel  context.CancelFunc
	slots   chan struct{}
	done    sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil after Close
}

// limits are constants outside tests.
type limits struct {
	clients int
	timeout time.Duration
}

// Listen begins to serve at path, usually RUN/oasis6.sock. It makes the folder, and takes over a
// socket on which nobody listens. The error wraps ErrInUse when another process holds the lock.
func Listen(path string, m Methods) (*Server, error) {
	return listen(path, m, limits{clients: maxClients, timeout: clientTimeout})
}

func listen(path string, m Methods, lim limits) (*Server, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	lock, err := takeLock(strings.TrimSuffix(path, ".sock") + ".lock")
	if err != nil {
		return nil, err
	}
	ln, err := bind(path)
	if err != nil {
		_ = lock.Close() // nothing was written
		return nil, err
	}
	s := &Server{
		methods: m, limits: lim, ln: ln, lock: lock,
		slots: make(chan struct{}, lim.clients),
		conns: map[net.Conn]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.done.Go(s.accept)
	return s, nil
}

// takeLock opens the file and locks it until the process ends, however it ends. The file stays: to
// remove it would let two processes hold locks on two files of the same name. It holds the process
// id, for people.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the control socket: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		who := ""
		if b, rerr := io.ReadAll(io.LimitReader(f, 16)); rerr == nil && len(b) > 0 {
			who = " (process " + strings.TrimSpace(string(b)) + ")"
		}
		_ = f.Close() // only read
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w%s: it holds %s: stop it first, with SIGUSR2 if this one is its successor", ErrInUse, who, path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	_ = f.Truncate(0)                          // the id is only a help for people,
	_, _ = fmt.Fprintf(f, "%d\n", os.Getpid()) // the lock itself already stands
	return f, nil
}

// bind makes the socket with mode 0600 from its first moment. The caller holds the lock, so a
// socket without a listener is a leftover.
func bind(path string) (*net.UnixListener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close() // nothing was sent
		return nil, fmt.Errorf("%w: somebody listens on %s", ErrInUse, path)
	}
	if fi, err := os.Lstat(path); err == nil {
		if fi.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("control socket: %s is not a socket: move it away", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var cerr error
		// Linux gives the file the mode of the socket's own inode, less the umask (unix(7) does not
		// say so; net/unix/af_unix.c does): no moment in which others may connect.
		err := c.Control(func(fd uintptr) { cerr = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, cerr)
	}}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return ln.(*net.UnixListener), nil
}

// Close stops listening, removes the socket, frees the lock, drops the clients and waits for all
// goroutines, in this order: a client that sees the end of its connection knows that another box can
// start. It may be called again.
func (s *Server) Close() error {
	err := s.ln.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	_ = s.lock.Truncate(0) // the pid in it is nobody's soon; closed already when called again
	if lerr := s.lock.Close(); err == nil && !errors.Is(lerr, os.ErrClosed) {
		err = lerr
	}
	s.cancel()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close() // its goroutine sees it and ends
	}
	s.conns = nil
	s.mu.Unlock()
	s.done.Wait()
	return err
}

func (s *Server) accept() {
	for {
		c, err := s.ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of file descriptors, say: it may pass
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case s.slots <- struct{}{}:
		default:
			s.fail(c, errors.New("too many clients: try again later")) // cannot block: the socket is empty
			_ = c.Close()                                              // nothing is lost by it
			continue
		}
		if !s.keep(c) {
			return
		}
		s.done.Go(func() {
			defer func() { <-s.slots }()
			defer s.drop(c)
			s.serve(c)
		})
	}
}

// keep remembers a client for Close; false when Close came first.
func (s *Server) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		_ = c.Close() // the server is gone for this client
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) drop(c net.Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	_ = c.Close() // all that could be written was
}

func (s *Server) serve(c net.Conn) {
	req, err := s.read(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	if h := s.methods.Answer[req.Method]; h != nil {
		ctx, cancel := context.WithTimeout(s.ctx, s.limits.timeout)
		defer cancel()
		v, err := h(ctx, req.Params)
		if err == nil {
			err = s.send(c, v)
		}
		if err != nil {
			s.fail(c, err)
		}
		return
	}
	if h := s.methods.Stream[req.Method]; h != nil {
		s.stream(c, h, req.Params)
		return
	}
	s.fail(c, fmt.Errorf("no method %q", req.Method))
}

// stream runs h until it is done, the client closes its side, or the server ends.
func (s *Server) stream(c net.Conn, h Streamer, params json.RawMessage) {
	ctx, cancel := context.WithCancel(s.ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		defer cancel()
		_ = c.SetReadDeadline(time.Time{}) // fails only on a closed socket, which Read shows next
		var b [1]byte
		_, _ = c.Read(b[:]) // end of file, an error, or a client that talks out of turn: all end the stream
	})
	if err := h(ctx, params, func(v any) error { return s.send(c, v) }); err != nil && ctx.Err() == nil {
		s.fail(c, err)
	}
	cancel()
	_ = c.Close() // ends the watch
	watch.Wait()
}

func (s *Server) read(c net.Conn) (request, error) {
	var req request
	if err := c.SetReadDeadline(time.Now().Add(s.limits.timeout)); err != nil {
		return req, err
	}
	line, err := bufio.NewReader(io.LimitReader(c, maxRequest+1)).ReadBytes('\n')
	switch {
	case len(line) > maxRequest:
		return req, fmt.Errorf("request is longer than %d octets", maxRequest)
	case errors.Is(err, io.EOF):
		return req, errors.New("request does not end in a newline")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return req, fmt.Errorf("no request within %s", s.limits.timeout)
	case err != nil:
		return req, err
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return req, fmt.Errorf("request: %w", err)
	}
	if dec.More() {
		return req, errors.New("request: more than one value on the line")
	}
	return req, nil
}

func (s *Server) send(c net.Conn, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := c.SetWriteDeadline(time.Now().Add(s.limits.timeout)); err != nil {
		return err
	}
	_, err = c.Write(append(b, '\n'))
	return err
}

// fail tells the client what went wrong; one that is gone need not know.
func (s *Server) fail(c net.Conn, err error) {
	text := err.Error()
	_ = s.send(c, failure{Error: &text})
}
