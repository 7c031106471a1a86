// SPDX-License-Identifier: MIT

package httpd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that time can be virtual.
type pipes struct {
	came  chan net.Conn
	once  sync.Once
	ended chan struct{}
	fail  chan error
}

func newPipes() *pipes {
	return &pipes{came: make(chan net.Conn), ended: make(chan struct{}), fail: make(chan error, 1)}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.came:
		return c, nil
	case err := <-p.fail:
		return nil, err
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.ended) }); return nil }
func (p *pipes) Addr() net.Addr { return nil }

// caller is a client's end of a connection.
type caller struct {
	net.Conn
	t     *testing.T
	begun time.Time
	got   chan string // all that came, when the server ended it
	ended time.Duration
}

// dial opens a connection and reads from it until the server ends it. The connection waits at the door if there is no place.
func (p *pipes) dial(t *testing.T) *caller {
	ours, theirs := net.Pipe()
	c := &caller{Conn: ours, t: t, begun: time.Now(), got: make(chan string, 1)}
	t.Cleanup(func() { _ = ours.Close() }) // closed by the other side, or no longer of use
	select {
	case p.came <- theirs:
	case <-p.ended:
		_ = theirs.Close() // comes too late
	}
	go func() {
		b, _ := io.ReadAll(c)
		c.ended = time.Since(c.begun)
		c.got <- string(b)
	}()
	return c
}

func (c *caller) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Errorf("%.40q: %v", text, err)
	}
}

// all is the codes of the answers, and when the server ended the connection.
func (c *caller) all() string {
	return strings.TrimSpace(codes(c.t, <-c.got) + " " + c.ended.String())
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

func TestNobodyIsWaitedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		serve(t, p, pages().Serve)

		silent, slow, body, idle, drops := p.dial(t), p.dial(t), p.dial(t), p.dial(t), p.dial(t)
		slow.say("GET / HTTP/1.1\r\n")
		body.say("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab")
		idle.say(get)
		go func() { // an octet each second, for ever
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(drops, "%c", ("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", i+1))[i]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		time.Sleep(100 * time.Second)
		idle.say(get) // still there
		for who, c := range map[string]struct {
			*caller
			want string
		}{
			"who says nothing":            {silent, "2m0s"},
			"who says no more":            {slow, "408 close 10s"},
			"who does not send the body":  {body, "408 close 10s"},
			"who comes back after 100 s":  {idle, "200 hello 200 hello 3m40s"},
			"who sends an octet a second": {drops, "408 close 10s"},
		} {
			if got := c.all(); got != c.want {
				t.Errorf("%s: %s, want %s", who, got, c.want)
			}
		}
	})
}

func TestWhoReadsNothingIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		ended := make(chan time.Duration, 1)
		begun := time.Now()
		serve(t, p, func(ctx context.Context, w *Writer, r *Request) error {
			err := pages().Serve(ctx, w, r)
			ended <- time.Since(begun)
			return err
		})
		ours, theirs := net.Pipe()
		p.came <- theirs
		if _, err := io.WriteString(ours, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if got := <-ended; got != writeTimeout {
			t.Errorf("the handler ended after %v, want %v", got, writeTimeout)
		}
		if n, err := io.Copy(io.Discard, ours); err != nil || n != 0 {
			t.Errorf("%d octets and %v after the end", n, err)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		serve(t, p, pages().Serve)
		first := p.dial(t)
		first.say(get)
		time.Sleep(time.Second)
		second := p.dial(t)
		for range maxConns - 2 {
			time.Sleep(time.Millisecond)
			p.dial(t).say("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n") // have a place as long as they like
		}
		synctest.Wait()

		// The longest idle makes room, then the other one.
		more := p.dial(t)
		more.say(get)
		if got := first.all(); got != "200 hello 1.062s" {
			t.Errorf("the longest idle: %s", got)
		}
		p.dial(t).say("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
		if got := second.all(); got != "62ms" {
			t.Errorf("the second: %s", got)
		}
		synctest.Wait()

		// And who becomes idle while somebody waits.
		p.dial(t).say("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
		if got := more.all(); got != "200 hello 0s" {
			t.Errorf("the third: %s", got)
		}
		synctest.Wait() // else the last stream may count as one who has not asked yet
		waits := p.dial(t)
		late := make(chan time.Duration, 1)
		begun := time.Now()
		go func() {
			_, _ = io.WriteString(waits, get) // nobody reads it before the end
			late <- time.Since(begun)
		}()
		time.Sleep(time.Hour)
		select {
		case d := <-late:
			t.Errorf("one more than %d streams was let in after %v", maxConns, d)
		default:
		}
	})
}

// Who becomes idle while somebody waits at the door leaves.
func TestWhoIsDoneMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		serve(t, p, pages().Serve)
		half := p.dial(t)
		half.say("GET / HTTP/1.1\r\n")
		for range maxConns - 1 {
			p.dial(t).say("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
			synctest.Wait() // else it may count as one who has not asked yet
		}
		door := p.dial(t)
		synctest.Wait()
		half.say("Host: a\r\n\r\n")
		if got := half.all(); got != "200 hello 0s" {
			t.Errorf("who is done: %s", got)
		}
		door.say(get)
		if got := door.all(); got != "200 hello 2m0s" {
			t.Errorf("who was at the door: %s", got)
		}
	})
}

// halves is the server's end of a connection in memory whose directions can be closed one by one, as those of TCP.
type halves struct {
	net.Conn
	written chan struct{} // closed with our direction
}

func (h halves) CloseWrite() error { close(h.written); return nil }

// After a refusal the server goes on reading, so that the kernel does not throw the answer away; but not for ever.
func TestRefusedIsHeardOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		serve(t, p, pages().Serve)
		for _, c := range []struct {
			pause time.Duration
			n     int
			after time.Duration
		}{
			{0, maxLinger / 1000, 0},
			{100 * time.Millisecond, 10, lingerTimeout},
		} {
			ours, theirs := net.Pipe()
			h := halves{theirs, make(chan struct{})}
			p.came <- h
			if _, err := io.WriteString(ours, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(ours), nil)
			if err != nil || res.StatusCode != 413 {
				t.Fatalf("%v %v, want 413", res, err)
			}
			<-h.written
			begun, n := time.Now(), 0
			for ; ; n++ {
				if _, err := ours.Write(make([]byte, 1000)); err != nil {
					break
				}
				time.Sleep(c.pause)
			}
			if d := time.Since(begun); n < c.n || n > c.n+1 || d < c.after || d > c.after+c.pause { // it is seen at the next piece
				t.Errorf("with pauses of %v %d pieces were read, in %v, want %d, in %v", c.pause, n, d, c.n, c.after)
			}
			_ = ours.Close() // was ended by the server
		}
	})
}

// Accept fails while the process has no files left, and goes on when it has.
func TestAcceptWaitsForFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		serve(t, p, pages().Serve)
		begun := time.Now()
		for range 3 {
			p.fail <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		c := p.dial(t)
		c.say("GET / HTTP/1.0\r\n\r\n")
		if got := c.all(); !strings.HasPrefix(got, "200 hello close ") || time.Since(begun) < 2*acceptPause {
			t.Errorf("after the shortage: %s, within %v", got, time.Since(begun))
		}
	})
	p := newPipes()
	p.fail <- syscall.EINVAL
	if err := (&Server{Handler: pages().Serve}).Serve(t.Context(), p); err != syscall.EINVAL {
		t.Errorf("Serve on a listener that is none: %v, want %v", err, syscall.EINVAL)
	}
}

// Serve ends idle connections at once, streams in order, and whoever does not come to an end after a second.
func TestEndTakesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		stop := serve(t, p, pages().Serve)
		idle, stream, half := p.dial(t), p.dial(t), p.dial(t)
		idle.say(get)
		stream.say("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
		half.say("GET / HT")
		ours, theirs := net.Pipe() // its answer is not read
		p.came <- theirs
		if _, err := io.WriteString(ours, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stop()
		for who, c := range map[string]struct {
			*caller
			want string
		}{"idle": {idle, "200 hello 0s"}, "a stream": {stream, "200 the end 0s"}, "half a request": {half, "1s"}} {
			if got := c.all(); got != c.want {
				t.Errorf("%s: %s, want %s", who, got, c.want)
			}
		}
		_ = ours.Close() // was not read
	})
}
