// SPDX-License-Identifier: MIT

package httpd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"path"
	"slices"
	"strings"
	"testing"
)

const testBody = 100 // octets that a body may have in these tests

func read(br *bufio.Reader) (*Request, error) {
	r, err := readHead(br, testBody)
	if err != nil {
		return nil, err
	}
	return r, readBody(br, r)
}

// told is what a request came to, in a line.
func told(r *Request, err error) string {
	var f *fault
	switch {
	case errors.As(err, &f):
		return fmt.Sprint(f.code)
	case err != nil:
		return err.Error()
	}
	s := fmt.Sprintf("%s %s host=%s", r.Method, r.Path, r.Host)
	if len(r.Query) > 0 {
		s += " query=" + r.Query.Encode()
	}
	if len(r.Body) > 0 {
		s += " body=" + string(r.Body)
	}
	if r.waits {
		s += " waits"
	}
	if r.last {
		s += " last"
	}
	return s
}

func TestRequests(t *testing.T) {
	const host = "Host: a\r\n"
	for _, c := range []struct{ about, in, want string }{
		{"a page", "GET / HTTP/1.1\r\n" + host + "\r\n", "GET / host=a"},
		{"any case of a name", "GET / HTTP/1.1\r\nhOST: a\r\n\r\n", "GET / host=a"},
		{"space around a value", "GET / HTTP/1.1\r\nHost:\t a \t\r\n\r\n", "GET / host=a"},
		{"a port", "GET / HTTP/1.1\r\nHost: [::1]:8066\r\n\r\n", "GET / host=[::1]:8066"},
		{"a query", "GET /a?x=1&y=%20 HTTP/1.1\r\n" + host + "\r\n", "GET /a host=a query=x=1&y=+"},
		{"a query that is none", "GET /a?%zz HTTP/1.1\r\n" + host + "\r\n", "GET /a host=a"},
		{"an encoded path", "GET /%61%20b HTTP/1.1\r\n" + host + "\r\n", "GET /a b host=a"},
		{"a slash at the end", "GET /a/ HTTP/1.1\r\n" + host + "\r\n", "GET /a/ host=a"},
		{"a path that climbs", "GET /static/../../../etc//passwd HTTP/1.1\r\n" + host + "\r\n", "GET /etc/passwd host=a"},
		{"an encoded one", "GET /static/%2e%2e/%2E%2E/etc HTTP/1.1\r\n" + host + "\r\n", "GET /etc host=a"},
		{"an encoded slash", "GET /static/..%2Fetc HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"two slashes are no host", "GET //b/c HTTP/1.1\r\n" + host + "\r\n", "GET /b/c host=a"},
		{"a body", "POST /do HTTP/1.1\r\n" + host + "Content-Length: 4\r\n\r\nbodyGET", "POST /do host=a body=body"},
		{"a body of 0", "POST /do HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n", "POST /do host=a"},
		{"leading zeros", "POST /do HTTP/1.1\r\n" + host + "Content-Length: 0004\r\n\r\nbody", "POST /do host=a body=body"},
		{"an empty line before (2.2)", "\r\nGET / HTTP/1.1\r\n" + host + "\r\n", "GET / host=a"},
		{"two", "\r\n\r\nGET / HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"all of an URL (3.2.2)", "GET http://b:1/c HTTP/1.1\r\n" + host + "\r\n", "GET /c host=b:1"},
		{"without a path", "GET HTTP://b HTTP/1.1\r\n" + host + "\r\n", "GET / host=b"},
		{"of no http", "GET https://b/ HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"with a user", "GET http://u@b/ HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"without a host", "GET http:///c HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"all of us (3.2.4)", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", "OPTIONS * host=a"},
		{"GET * is nothing", "GET * HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"no path", "GET a HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"a fragment", "GET /a#b HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"not ASCII", "GET /\xc3\xa4 HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"half an escape", "GET /%2 HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"NUL in the path", "GET /%00 HTTP/1.1\r\n" + host + "\r\n", "400"},

		{"to go on", "POST / HTTP/1.1\r\n" + host + "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx", "POST / host=a body=x waits"},
		{"to expect something else", "POST / HTTP/1.1\r\n" + host + "Expect: tea\r\nContent-Length: 1\r\n\r\nx", "417"},
		{"close", "GET / HTTP/1.1\r\n" + host + "Connection: x , Close\r\n\r\n", "GET / host=a last"},
		{"keep-alive", "GET / HTTP/1.1\r\n" + host + "Connection: keep-alive\r\n\r\n", "GET / host=a"},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "GET / host= last"},
		{"HTTP/1.0 knows nothing of Expect", "GET / HTTP/1.0\r\nExpect: tea\r\n\r\n", "GET / host= last"},
		{"HTTP/1.9 is HTTP/1.1", "GET / HTTP/1.9\r\n" + host + "\r\n", "GET / host=a"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"},
		{"HTTP/0.9", "GET /\r\n", "400"},
		{"HTTP/0.9 by name", "GET / HTTP/0.9\r\n\r\n", "505"},
		{"no version", "GET / http/1.1\r\n" + host + "\r\n", "400"},
		{"no version of two digits", "GET / HTTP/1.10\r\n" + host + "\r\n", "400"},
		{"two spaces", "GET  / HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"a space at the end", "GET / HTTP/1.1 \r\n" + host + "\r\n", "400"},
		{"a tab", "GET\t/ HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"an unknown method", "BREW / HTTP/1.1\r\n" + host + "\r\n", "501"},
		{"a small method", "get / HTTP/1.1\r\n" + host + "\r\n", "501"},
		{"no method", "G(T / HTTP/1.1\r\n" + host + "\r\n", "400"},
		{"CONNECT", "CONNECT a:1 HTTP/1.1\r\n" + host + "\r\n", "501"},

		{"no Host", "GET / HTTP/1.1\r\n\r\n", "400"},
		{"an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / host="},
		{"two Hosts", "GET / HTTP/1.1\r\n" + host + host + "\r\n", "400"},
		{"two in HTTP/1.0", "GET / HTTP/1.0\r\n" + host + host + "\r\n", "400"},
		{"a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"},
		{"a Host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "400"},
		{"line feeds alone", "GET / HTTP/1.1\nHost: a\n\n", "400"},
		{"one in the header", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "400"},
		{"a carriage return alone", "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", "400"},
		{"two at the end", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "400"},
		{"one in a value", "GET / HTTP/1.1\r\n" + host + "X: a\rb\r\n\r\n", "400"},
		{"NUL in a value", "GET / HTTP/1.1\r\n" + host + "X: a\x00b\r\n\r\n", "400"},
		{"DEL in a value", "GET / HTTP/1.1\r\n" + host + "X: a\x7fb\r\n\r\n", "400"},
		{"a tab in a value", "GET / HTTP/1.1\r\n" + host + "X: a\tb\r\n\r\n", "GET / host=a"},
		{"NUL", "GET / HTTP/1.1\r\nHost: a\x00\r\n\r\n", "400"},
		{"a space before the colon (5.1)", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"},
		{"a folded line (5.2)", "GET / HTTP/1.1\r\n" + host + "X: y\r\n z\r\n\r\n", "400"},
		{"a folded first line (2.2)", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400"},
		{"no colon", "GET / HTTP/1.1\r\n" + host + "X\r\n\r\n", "400"},
		{"no name", "GET / HTTP/1.1\r\n" + host + ": x\r\n\r\n", "400"},

		{"two lengths (6.3)", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "400"},
		{"the same twice", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "400"},
		{"the same in a list", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1, 1\r\n\r\nx", "400"},
		{"a sign", "POST / HTTP/1.1\r\n" + host + "Content-Length: +1\r\n\r\nx", "400"},
		{"less than nothing", "POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\nx", "400"},
		{"sixteen", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0x1\r\n\r\nx", "400"},
		{"no number", "POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\nx", "400"},
		{"the longest", "POST / HTTP/1.1\r\n" + host + "Content-Length: 100\r\n\r\n" + strings.Repeat("x", 100), "POST / host=a body=" + strings.Repeat("x", 100)},
		{"too long", "POST / HTTP/1.1\r\n" + host + "Content-Length: 101\r\n\r\n", "413"},
		{"longer than a number", "POST / HTTP/1.1\r\n" + host + "Content-Length: 18446744073709551617\r\n\r\n", "413"},
		{"chunks", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "411"},
		{"chunks with a length (6.1)", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n", "400"},
		{"chunks in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "400"},
		{"another coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", "501"},
		{"a coding twice", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", "501"},

		{"the longest request line", "GET /" + strings.Repeat("a", maxLine-16) + " HTTP/1.1\r\n" + host + "\r\n", "GET /" + strings.Repeat("a", maxLine-16) + " host=a"},
		{"too long a request line", "GET /" + strings.Repeat("a", maxLine-15) + " HTTP/1.1\r\n" + host + "\r\n", "414"},
		{"the longest field", "GET / HTTP/1.1\r\n" + host + "X: " + strings.Repeat("a", maxLine-5) + "\r\n\r\n", "GET / host=a"},
		{"too long a field", "GET / HTTP/1.1\r\n" + host + "X: " + strings.Repeat("a", maxLine-4) + "\r\n\r\n", "431"},
		{"too much", "GET / HTTP/1.1\r\n" + host + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 17) + "\r\n", "431"},
		{"all fields", "GET / HTTP/1.1\r\n" + host + strings.Repeat("X: y\r\n", maxFields-1) + "\r\n", "GET / host=a"},
		{"one more", "GET / HTTP/1.1\r\n" + host + strings.Repeat("X: y\r\n", maxFields) + "\r\n", "431"},

		{"nothing", "", "EOF"},
		{"the end in the request line", "GET /", "unexpected EOF"},
		{"after it", "GET / HTTP/1.1\r\n", "unexpected EOF"},
		{"in the header", "GET / HTTP/1.1\r\nHo", "unexpected EOF"},
		{"in the body", "POST / HTTP/1.1\r\n" + host + "Content-Length: 4\r\n\r\nbo", "unexpected EOF"},
	} {
		if got := told(read(newReader(strings.NewReader(c.in)))); got != c.want {
			t.Errorf("%s: %.100q: %.200s, want %.200s", c.about, c.in, got, c.want)
		}
	}
}

func TestHeaderIsKept(t *testing.T) {
	r, err := read(newReader(strings.NewReader("GET / HTTP/1.1\r\nHost: a\r\naccept: x\r\nAccept: y\r\nlast-event-id: \xff9\r\nEmpty:\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%q", r.Header), fmt.Sprintf("%q", textproto.MIMEHeader{"Accept": {"x", "y"}, "Last-Event-Id": {"\xff9"}, "Empty": {""}}); got != want {
		t.Errorf("header %s, want %s", got, want)
	}
}

// Whatever we take, net/http takes, and reads the same from it: method, path, query, host, header and body, and where the
// next request begins.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"\r\nGET /a/../%62?x=1 HTTP/1.0\r\nHost:b\r\n\r\n",
		"POST http://b:1/c HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbodyGET / HTTP/1.1\r\nHost: b\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: [::1]:1\r\nX: y\r\n z\r\nA : b\r\n\r\n",
		"OPTIONS * HTTP/1.7\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nxy",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, theirs := newReader(strings.NewReader(string(in))), bufio.NewReader(strings.NewReader(string(in)))
		for range 5 { // requests one after the other
			if b, err := theirs.Peek(2); err == nil && string(b) == "\r\n" {
				_, _ = theirs.Discard(2) // net/http takes no empty line before a request; RFC 9112 section 2.2 wants it ignored
			}
			r, err := read(ours)
			if err != nil {
				return
			}
			q, err := http.ReadRequest(theirs)
			if err != nil {
				t.Fatalf("%q: we take %s, net/http says %v", in, told(r, nil), err)
			}
			body, err := io.ReadAll(q.Body)
			if err != nil {
				t.Fatalf("%q: we take %s, net/http says of the body %v", in, told(r, nil), err)
			}
			want := &Request{Method: q.Method, Path: q.URL.Path, Host: q.Host, Query: q.URL.Query(), Body: body, waits: r.waits, last: r.last}
			if want.Path != "*" {
				want.Path = path.Clean("/" + want.Path)
			}
			if strings.HasSuffix(q.URL.Path, "/") && want.Path != "/" {
				want.Path += "/"
			}
			if told(r, nil) != told(want, nil) {
				t.Fatalf("%q: we read %s, net/http %s", in, told(r, nil), told(want, nil))
			}
			if q.Close && !r.last {
				t.Fatalf("%q: %s ends the connection for net/http", in, told(r, nil))
			}
			for name, values := range q.Header {
				if !slices.Equal(r.Header[name], values) && name != "Connection" && name != "Cache-Control" { // it keeps other ones of these two
					t.Fatalf("%q: %s: we read %q, net/http %q", in, name, r.Header[name], values)
				}
			}
			for _, part := range strings.Split(r.Path, "/") {
				if part == "." || part == ".." {
					t.Fatalf("%q: path %s", in, r.Path)
				}
			}
		}
	})
}
