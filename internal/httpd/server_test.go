// SPDX-License-Identifier: MIT

package httpd

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

const patience = 30 * time.Second // with a machine that has other things to do

// pages are what the tests ask for.
func pages() Routes {
	return Routes{
		{"GET", "/", func(_ context.Context, w *Writer, _ *Request) error { return w.Send(200, []byte("hello")) }},
		{"GET", "/word/*", func(_ context.Context, w *Writer, r *Request) error { return w.Send(200, []byte(r.Word)) }},
		{"GET", "/nothing", func(context.Context, *Writer, *Request) error { return nil }},
		{"POST", "/echo", func(_ context.Context, w *Writer, r *Request) error {
			w.Set("X-Said", string(r.Body))
			return w.Send(409, r.Body)
		}},
		{"GET", "/big", func(_ context.Context, w *Writer, _ *Request) error {
			for i := range 20000 {
				if _, err := fmt.Fprintf(w, "line %d\n", i); err != nil {
					return err
				}
			}
			return nil
		}},
		{"GET", "/broken", func(_ context.Context, w *Writer, _ *Request) error {
			if _, err := w.Write(make([]byte, 3*chunkSize)); err != nil {
				return err
			}
			return errors.New("no more")
		}},
		{"GET", "/fault", func(context.Context, *Writer, *Request) error { return errors.New("secret") }},
		{"GET", "/twice", func(_ context.Context, w *Writer, _ *Request) error {
			if err := w.Send(200, []byte("one")); err != nil {
				return err
			}
			if _, err := w.Write([]byte("two")); err == nil || w.Flush() == nil || w.Send(200, nil) == nil {
				return errors.New("a second answer")
			}
			return nil
		}},
		{"GET", "/stream", func(ctx context.Context, w *Writer, _ *Request) error {
			if err := w.Flush(); err != nil {
				return err
			}
			<-ctx.Done()
			_, err := w.Write([]byte("the end"))
			return err
		}},
	}
}

// start serves the pages on a loopback address until the test ends.
func start(t *testing.T, handler Handler) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String(), serve(t, l, handler)
}

func serve(t *testing.T, l net.Listener, handler Handler) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	s := &Server{Handler: handler, Header: []Field{{"X-Fixed", "yes"}}, MaxBody: testBody}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(ctx, l); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	stop = func() { cancel(); serving.Wait() }
	t.Cleanup(stop)
	return stop
}

// client is net/http's, with connections of its own.
func client(t *testing.T) *http.Client {
	tr := &http.Transport{ExpectContinueTimeout: patience}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func TestNetHTTPIsAnswered(t *testing.T) {
	addr, _ := start(t, pages().Serve)
	c := client(t)
	big := sha256.New()
	for i := range 20000 {
		fmt.Fprintf(big, "line %d\n", i)
	}
	for i, q := range []struct {
		method, path, body string
		code               int
		want, allow        string
	}{
		{"GET", "/", "", 200, "hello", ""},
		{"HEAD", "/", "", 200, "", ""},
		{"GET", "/word/a%20b", "", 200, "a b", ""},
		{"GET", "/word/", "", 404, "404 not found: there is no page of this name\n", ""},
		{"GET", "/word/a/b", "", 404, "404 not found: there is no page of this name\n", ""},
		{"GET", "/nothing", "", 200, "", ""},
		{"POST", "/echo", "a\r\nb: c", 409, "a\r\nb: c", ""},
		{"POST", "/", "", 405, "405 method not allowed: this page does not have this method\n", "GET, HEAD"},
		{"GET", "/echo", "", 405, "405 method not allowed: this page does not have this method\n", "POST"},
		{"OPTIONS", "/none", "", 404, "404 not found: there is no page of this name\n", ""},
		{"GET", "/big", "", 200, fmt.Sprintf("%x", big.Sum(nil)), ""},
		{"HEAD", "/big", "", 200, "", ""},
		{"HEAD", "/stream", "", 200, "", ""},
		{"GET", "/fault", "", 500, "500 internal server error: the answer could not be made\n", ""},
		{"GET", "/twice", "", 200, "one", ""},
		{"GET", "/", "", 200, "hello", ""},
	} {
		reused := false
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(g httptrace.GotConnInfo) { reused = g.Reused }})
		r, err := http.NewRequestWithContext(ctx, q.method, "http://"+addr+q.path, strings.NewReader(q.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(r)
		if err != nil {
			t.Errorf("%s %s: %v", q.method, q.path, err)
			continue
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // read to its end
		got := string(b)
		if len(b) > 1000 {
			got = fmt.Sprintf("%x", sha256.Sum256(b))
		}
		if err != nil || res.StatusCode != q.code || got != q.want || res.Header.Get("Allow") != q.allow {
			t.Errorf("%s %s: %v %s Allow %q %q, want %d %q %q", q.method, q.path, err, res.Status, res.Header.Get("Allow"), got, q.code, q.allow, q.want)
		}
		if reused != (i > 0) {
			t.Errorf("%s %s: connection reused %t", q.method, q.path, reused)
		}
		if date, err := http.ParseTime(res.Header.Get("Date")); err != nil || time.Since(date).Abs() > time.Hour || res.Header.Get("X-Fixed") != "yes" {
			t.Errorf("%s %s: header %v", q.method, q.path, res.Header)
		}
		if said := res.Header.Get("X-Said"); q.path == "/echo" && q.method == "POST" && said != "a  b: c" {
			t.Errorf("a field of two lines reached the client as %q", said)
		}
	}
}

func TestBrokenAnswerIsSeen(t *testing.T) {
	addr, _ := start(t, pages().Serve)
	res, err := client(t).Get("http://" + addr + "/broken")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read as far as it goes
	if b, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d octets and %v, want an unexpected end", len(b), err)
	}
}

// exchange sends octets and returns all that comes back.
func exchange(t *testing.T, addr, in string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // all is read
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, in); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("%.60q: after %.200q: %v", in, b, err)
	}
	return string(b)
}

// codes are those of the answers to requests sent at once, and how the last one of them ended the connection.
func codes(t *testing.T, out string) string {
	t.Helper()
	var got []string
	r := bufio.NewReader(strings.NewReader(out))
	for {
		if _, err := r.Peek(1); err != nil {
			return strings.Join(got, " ")
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		got = append(got, fmt.Sprint(res.StatusCode))
		if res.StatusCode == 200 {
			got = append(got, string(b))
		}
		if res.Close {
			got = append(got, "close")
		}
	}
}

func TestManyAtOnceAndWhatEndsThem(t *testing.T) {
	addr, _ := start(t, pages().Serve)
	const get, last = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /word/last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	for _, c := range []struct{ in, want string }{
		{get + "GET /word/x HTTP/1.1\r\nHost: a\r\n\r\n" + last, "200 hello 200 x 200 last close"},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n" + last, "409 200 last close"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + last, "405 200 last close"},
		{last + get, "200 last close"},
		{"GET / HTTP/1.0\r\n\r\n" + get, "200 hello close"},
		{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get, "200 hello close"},
		{get + "GET / HTTP/1.1\r\n\r\n" + get, "200 hello 400 close"},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 100000), "413 close"},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + get, "411 close"},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get, "400 close"},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n", "413 close"},
		{"GET /" + strings.Repeat("a", maxLine) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414 close"},
		{"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("A: b\r\n", maxFields) + "\r\n", "431 close"},
		{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", "400 close"}, // TLS
	} {
		if got := codes(t, exchange(t, addr, c.in)); got != c.want {
			t.Errorf("%.100q: %s, want %s", c.in, got, c.want)
		}
	}
	if out := exchange(t, addr, "GET /big HTTP/1.0\r\n\r\n"); strings.Contains(out, "Transfer-Encoding") || !strings.HasSuffix(out, "\nline 19999\n") {
		t.Errorf("a stream to HTTP/1.0: %.300q ... %q", out, out[max(0, len(out)-50):])
	}
	out := exchange(t, addr, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if !strings.Contains(out, "\r\nContent-Length: 5\r\n") || !strings.HasSuffix(out, "\r\n\r\n") {
		t.Errorf("HEAD: %q", out)
	}
}

func TestExpectedBodyIsAskedFor(t *testing.T) {
	addr, _ := start(t, pages().Serve)
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/echo", strings.NewReader("abc"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Expect", "100-continue")
	res, err := client(t).Do(r) // waits for us to say so, longer than we do
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "abc" {
		t.Errorf("%s %q %v, want abc", res.Status, b, err)
	}
}

// A stream sees that its client has gone, and one that is left when Serve ends is ended in order.
func TestStreamsEnd(t *testing.T) {
	ended := make(chan error, 1)
	addr, stop := start(t, func(ctx context.Context, w *Writer, r *Request) error {
		err := pages().Serve(ctx, w, r)
		if r.Path == "/stream" && r.Host == "gone" {
			ended <- err
		}
		return err
	})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /stream HTTP/1.1\r\nHost: gone\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
		t.Fatal(err)
	}
	_ = c.Close() // this is the test
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the handler does not see that its client has gone")
	}

	res, err := client(t).Get("http://" + addr + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	stop()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "the end" {
		t.Errorf("after the end of Serve a stream had %q, %v", b, err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close() // should not have come
		t.Error("the listener is open after the end of Serve")
	}
}

func TestCurlIsAnswered(t *testing.T) {
	curl, err := exec.LookPath("curl")
	switch {
	case err != nil && os.Getenv("OASIS6_REQUIRE_NETNS") == "1":
		t.Fatal("needs curl (apt-get install curl)")
	case err != nil:
		t.Skip("needs curl (apt-get install curl)")
	}
	addr, _ := start(t, pages().Serve)
	base := "http://" + addr
	for _, c := range []struct{ args, want string }{
		{base + "/ " + base + "/word/two", "hellotwo"},
		{"-w %{http_code}/%{num_connects} " + base + "/ " + base + "/", "hello200/1hello200/0"},
		{"--http1.0 " + base + "/", "hello"},
		{"-d abc " + base + "/echo", "abc"},
		{"-H Expect:100-continue -d abc " + base + "/echo", "abc"},
		{"-H Transfer-Encoding:chunked -d abc -o /dev/null -w %{http_code} " + base + "/echo", "411"},
		{"--path-as-is -o /dev/null -w %{http_code} " + base + "/../../etc", "404"},
	} {
		out, err := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "--noproxy", "*", "--max-time", "30"}, strings.Fields(c.args)...)...).CombinedOutput()
		if err != nil || string(out) != c.want {
			t.Errorf("curl %s: %v %q, want %q", c.args, err, out, c.want)
		}
	}
}
