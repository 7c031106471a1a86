// SPDX-License-Identifier: MIT

package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// soon is a client timeout that tests can wait for; never is one that they must not reach.
const (
	soon  = 50 * time.Millisecond
	never = time.Hour
)

func start(t *testing.T, m Methods, lim limits) (path string, s *Server) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "oasis6.sock")
	s, err := listen(path, m, lim)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		noGoroutines(t)
	})
	return path, s
}

// noGoroutines fails if one of the server's is left.
func noGoroutines(t *testing.T) {
	t.Helper()
	b := make([]byte, 1<<20)
	b = b[:runtime.Stack(b, true)]
	for g := range bytes.SplitSeq(b, []byte("\n\n")) {
		if bytes.Contains(g, []byte("control.(*Server)")) && !bytes.Contains(g, []byte("noGoroutines")) {
			t.Errorf("left running:\n%s", g)
		}
	}
}

func connect(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.UnixConn)
}

func answer(v any) Handler {
	return func(context.Context, json.RawMessage) (any, error) { return v, nil }
}

var wide = limits{clients: maxClients, timeout: never}

func TestCall(t *testing.T) {
	path, _ := start(t, Methods{Answer: map[string]Handler{
		"status": answer(map[string]string{"summary": "up: all is well"}),
		"echo": func(_ context.Context, p json.RawMessage) (any, error) {
			return map[string]json.RawMessage{"got": p}, nil
		},
		"broken": func(context.Context, json.RawMessage) (any, error) {
			return nil, errors.New("the disk is full: make room")
		},
	}}, wide)

	var status struct{ Summary string }
	if err := Call(t.Context(), path, "status", nil, &status); err != nil || status.Summary != "up: all is well" {
		t.Errorf("status = %+v, %v", status, err)
	}
	var echo struct{ Got map[string]int }
	if err := Call(t.Context(), path, "echo", map[string]int{"n": 7}, &echo); err != nil || echo.Got["n"] != 7 {
		t.Errorf("echo = %+v, %v", echo, err)
	}
	if err := Call(t.Context(), path, "broken", nil, &status); err == nil || err.Error() != "the disk is full: make room" {
		t.Errorf("broken: %v", err)
	}
	if err := Call(t.Context(), path, "reboot", nil, &status); err == nil || err.Error() != `no method "reboot"` {
		t.Errorf("reboot: %v", err)
	}
}

// A large answer is more than a socket buffer holds.
func TestCallLargeAnswer(t *testing.T) {
	large := strings.Repeat("x", 4<<20)
	path, _ := start(t, Methods{Answer: map[string]Handler{"large": answer(map[string]string{"x": large})}}, wide)
	var got struct{ X string }
	if err := Call(t.Context(), path, "large", nil, &got); err != nil || got.X != large {
		t.Errorf("large: %d octets, %v; want %d", len(got.X), err, len(large))
	}
}

func TestCallWithoutServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oasis6.sock")
	err := Call(t.Context(), path, "status", nil, &struct{}{})
	if !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v, want ErrNotRunning", err)
	}
	leaveStaleSocket(t, path)
	err = Call(t.Context(), path, "status", nil, &struct{}{})
	if !errors.Is(err, ErrNotRunning) {
		t.Errorf("stale socket: %v, want ErrNotRunning", err)
	}
}

// leaveStaleSocket makes what kill -9 leaves behind.
func leaveStaleSocket(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStreamUntilDone(t *testing.T) {
	path, _ := start(t, Methods{Stream: map[string]Streamer{
		"count": func(_ context.Context, _ json.RawMessage, send func(any) error) error {
			for i := range 3 {
				if err := send(i); err != nil {
					return err
				}
			}
			return errors.New("that was all")
		},
	}}, wide)
	var got []string
	err := Stream(t.Context(), path, "count", nil, func(line json.RawMessage) error {
		got = append(got, string(line))
		return nil
	})
	if strings.Join(got, " ") != "0 1 2" || err == nil || err.Error() != "that was all" {
		t.Errorf("count = %q, %v", got, err)
	}
	if err := Call(t.Context(), path, "count", nil, new(int)); err == nil || !strings.Contains(err.Error(), "more than one answer") {
		t.Errorf("Call of a stream: %v", err)
	}
}

// A stream that has nothing to send learns that its client is gone.
func TestStreamEndsWithItsClient(t *testing.T) {
	ended := make(chan error, 2)
	path, _ := start(t, Methods{Stream: map[string]Streamer{
		"wait": func(ctx context.Context, _ json.RawMessage, send func(any) error) error {
			if err := send("begun"); err != nil {
				return err
			}
			<-ctx.Done()
			ended <- ctx.Err()
			return ctx.Err()
		},
	}}, wide)
	ctx, cancel := context.WithCancel(t.Context())
	err := Stream(ctx, path, "wait", nil, func(json.RawMessage) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Stream() = %v, want context.Canceled", err)
	}
	<-ended

	c := connect(t, path)
	if _, err := c.Write([]byte("{\"method\":\"wait\"}\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-ended
}

func TestCloseEndsStreamsAndRemovesTheSocket(t *testing.T) {
	begun := make(chan struct{})
	path, s := start(t, Methods{Stream: map[string]Streamer{
		"wait": func(ctx context.Context, _ json.RawMessage, _ func(any) error) error {
			close(begun)
			<-ctx.Done()
			return nil
		},
	}}, wide)
	var client sync.WaitGroup
	client.Go(func() { _ = Stream(t.Context(), path, "wait", nil, func(json.RawMessage) error { return nil }) })
	idle := connect(t, path) // sends nothing
	<-begun
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatalf("Close() = %v", err)
		}
	}
	client.Wait()
	if n, err := idle.Read(make([]byte, 1)); err == nil {
		t.Errorf("the idle client still reads %d octets", n)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket after Close: %v, want none", err)
	}
}

// ask writes what a hostile client may and returns all that comes back.
func ask(t *testing.T, path, text string) string {
	t.Helper()
	c := connect(t, path)
	if _, err := io.WriteString(c, text); err != nil && !errors.Is(err, syscall.EPIPE) {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	return string(b)
}

func TestHostileRequests(t *testing.T) {
	path, _ := start(t, Methods{Answer: map[string]Handler{"status": answer(struct{}{})}}, wide)
	for _, c := range []struct{ name, send, want string }{
		{"good", "{\"method\":\"status\"}\n", "{}\n"},
		{"nothing", "", "does not end in a newline"},
		{"no newline", `{"method":"status"}`, "does not end in a newline"},
		{"empty line", "\n", "request: EOF"},
		{"not JSON", "status\n", "request: invalid character"},
		{"not an object", "[1]\n", "request: json"},
		{"two values", "{\"method\":\"status\"} {}\n", "more than one value"},
		{"unknown field", "{\"method\":\"status\",\"verbose\":true}\n", "unknown field"},
		{"no method", "{}\n", `no method \"\"`},
		{"deep", strings.Repeat("[", maxRequest-1) + "\n", "request: "},
		{"just too long", strings.Repeat(" ", maxRequest) + "\n", "longer than 65536"},
		{"huge", strings.Repeat("x", 1<<20), "longer than 65536"},
		{"binary", "\x00\xff\xfe\n", "request: invalid character"},
	} {
		if got := ask(t, path, c.send); !strings.Contains(got, c.want) || !strings.HasSuffix(got, "}\n") {
			t.Errorf("%s: %q, want %q in it", c.name, got, c.want)
		}
	}
	longest := `{"method":"status"}`
	longest += strings.Repeat(" ", maxRequest-1-len(longest)) + "\n"
	if got := ask(t, path, longest); got != "{}\n" {
		t.Errorf("a request of %d octets: %q", len(longest), got)
	}
}

func TestSilentClientIsDropped(t *testing.T) {
	path, _ := start(t, Methods{}, limits{clients: 1, timeout: soon})
	c := connect(t, path)
	b, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(b), "no request within") {
		t.Errorf("%q, %v; want an error line about the missing request", b, err)
	}
}

// A client that does not read must not hold its goroutine: the slot is free again for another one.
func TestSlowReaderIsDropped(t *testing.T) {
	entered := make(chan struct{})
	large := func(context.Context, json.RawMessage) (any, error) {
		close(entered)
		return strings.Repeat("x", 8<<20), nil
	}
	path, s := start(t, Methods{Answer: map[string]Handler{"large": large, "status": answer(struct{}{})}}, limits{clients: 1, timeout: soon})
	c := connect(t, path)
	if _, err := io.WriteString(c, "{\"method\":\"large\"}\n"); err != nil {
		t.Fatal(err)
	}
	<-entered
	s.slots <- struct{}{} // free only when the slow reader was dropped
	<-s.slots
	if got := ask(t, path, "{\"method\":\"status\"}\n"); got != "{}\n" {
		t.Errorf("the next client gets %q", got)
	}
}

func TestClientThatLeavesEarly(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	path, s := start(t, Methods{Answer: map[string]Handler{
		"slow": func(context.Context, json.RawMessage) (any, error) {
			close(entered)
			<-leave
			return strings.Repeat("x", 1<<20), nil
		},
		"status": answer(struct{}{}),
	}}, limits{clients: 1, timeout: never})
	c := connect(t, path)
	if _, err := io.WriteString(c, "{\"method\":\"slow\"}\n"); err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	close(leave)
	s.slots <- struct{}{}
	<-s.slots
	if got := ask(t, path, "{\"method\":\"status\"}\n"); got != "{}\n" {
		t.Errorf("the next client gets %q", got)
	}
}

func TestTooManyClients(t *testing.T) {
	path, _ := start(t, Methods{Stream: map[string]Streamer{
		"wait": func(ctx context.Context, _ json.RawMessage, send func(any) error) error {
			err := send("begun")
			<-ctx.Done()
			return err
		},
	}}, limits{clients: 2, timeout: never})
	for range 2 {
		c := connect(t, path)
		if _, err := io.WriteString(c, "{\"method\":\"wait\"}\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "\"begun\"\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	if got := ask(t, path, ""); !strings.Contains(got, "too many clients") {
		t.Errorf("the third client gets %q", got)
	}
}

func TestHandlerEndsInTime(t *testing.T) {
	path, _ := start(t, Methods{Answer: map[string]Handler{
		"hang": func(ctx context.Context, _ json.RawMessage) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}}, limits{clients: 1, timeout: soon})
	if got := ask(t, path, "{\"method\":\"hang\"}\n"); !strings.Contains(got, "deadline exceeded") {
		t.Errorf("got %q", got)
	}
}

func TestSocketIsForTheOwnerOnly(t *testing.T) {
	if os.Getenv("CONTROL_TEST_UMASK") == "" {
		// The umask belongs to the process: change it in one of its own.
		cmd := exec.Command(os.Args[0], "-test.run=^TestSocketIsForTheOwnerOnly$")
		cmd.Env = append(os.Environ(), "CONTROL_TEST_UMASK=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	syscall.Umask(0)
	path, _ := start(t, Methods{}, wide)
	for _, p := range []string{path, strings.TrimSuffix(path, ".sock") + ".lock"} {
		fi, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := fi.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %o, want 600", p, got)
		}
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	path, s := start(t, Methods{Answer: map[string]Handler{"status": answer(struct{}{})}}, wide)
	_, err := Listen(path, Methods{})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "process ") {
		t.Errorf("second Listen = %v, want ErrInUse with the process", err)
	}
	if got := ask(t, path, "{\"method\":\"status\"}\n"); got != "{}\n" {
		t.Errorf("after the second start the first answers %q", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := Listen(path, Methods{})
	if err != nil {
		t.Fatalf("Listen after Close = %v", err)
	}
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestForeignListenerIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oasis6.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if _, err := Listen(path, Methods{}); !errors.Is(err, ErrInUse) {
		t.Errorf("Listen = %v, want ErrInUse", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the other's socket is gone: %v", err)
	} else {
		_ = c.Close()
	}
}

func TestStaleSocketIsTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "oasis6.sock")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	leaveStaleSocket(t, path)
	s, err := Listen(path, Methods{})
	if err != nil {
		t.Fatalf("Listen over a stale socket = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// What is not a socket is somebody's file, whatever its name.
func TestOtherFilesAreLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oasis6.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, Methods{}); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("Listen = %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

func TestManyStartsLeaveOneServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oasis6.sock")
	leaveStaleSocket(t, path)
	servers := make(chan *Server, 16)
	var starts sync.WaitGroup
	for range cap(servers) {
		starts.Go(func() {
			if s, err := Listen(path, Methods{Answer: map[string]Handler{"status": answer(struct{}{})}}); err == nil {
				servers <- s
			} else if !errors.Is(err, ErrInUse) {
				t.Errorf("Listen = %v, want ErrInUse", err)
			}
		})
	}
	starts.Wait()
	close(servers)
	n := 0
	for s := range servers {
		n++
		if got := ask(t, path, "{\"method\":\"status\"}\n"); got != "{}\n" {
			t.Errorf("the server answers %q", got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d servers run, want 1", n)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte("{\"method\":\"status\"}\n"))
	f.Add([]byte("{\"method\":\"status\",\"params\":{\"a\":[1,2]}}\n"))
	f.Add([]byte("\n"))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 2*maxRequest {
			return
		}
		s := &Server{limits: wide}
		c, peer := net.Pipe()
		var client sync.WaitGroup
		client.Go(func() {
			_, _ = peer.Write(b) // the server may have enough before the end
			_ = peer.Close()
		})
		req, err := s.read(c)
		_ = c.Close()
		client.Wait()
		if err == nil && len(req.Params) > len(b) {
			t.Errorf("params of %d octets out of %d", len(req.Params), len(b))
		}
	})
}
