// SPDX-License-Identifier: MIT

package page

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// web is the page as a browser on this machine sees it.
type web struct {
	addr   string
	client *http.Client
}

// serve serves the page until the test ends.
func serve(t testing.TB, src Source) web {
	t.Helper()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := Serve(ctx, l, src); err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{}
	t.Cleanup(func() { transport.CloseIdleConnections(); cancel(); serving.Wait() })
	return web{l.Addr().String(), &http.Client{Transport: transport}}
}

type reply struct {
	code   int
	header http.Header
	body   string
}

func (r reply) String() string { return fmt.Sprintf("%d %s", r.code, r.body) }

// ask sends a request; headers come in pairs.
func (w web) ask(t *testing.T, method, path, body string, headers ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "localhost:8666"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	res, err := w.client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v after %.200q", method, path, err, b)
	}
	return reply{res.StatusCode, res.Header, string(b)}
}

func TestOnlyThisMachineIsAnswered(t *testing.T) {
	w := serve(t, newFake())
	for host, want := range map[string]string{
		"localhost": "200", "localhost:8666": "200", "127.0.0.1:8666": "200", "[::1]:8666": "200", "[::1]": "200",
		"attacker.example": "421", "attacker.example:8666": "421", "localhost.attacker.example": "421", "192.0.2.1": "421", "": "421", "localhost:8666:1": "421",
		"localhost\r\nHost: localhost": "400", "attacker.example\r\nX-Forwarded-Host: localhost": "421",
	} {
		c, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("HTTP/1.1 200"))
		if _, err := fmt.Fprintf(c, "GET /api/world HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "HTTP/1.1 "+want {
			t.Errorf("Host %q: %s %v, want %s", host, got, err, want)
		}
		_ = c.Close() // the rest does not matter
	}
}

func TestCommandsComeFromThePage(t *testing.T) {
	src := newFake()
	h := serve(t, src)
	for _, c := range []struct {
		headers string
		want    int
	}{
		{"Sec-Fetch-Site same-origin Origin http://localhost:8666", 200},
		{"Origin http://localhost:8666", 200}, // an old browser
		{"", 200},                             // curl
		{"Sec-Fetch-Site cross-site Origin http://attacker.example", 403},
		{"Sec-Fetch-Site same-site Origin http://localhost:9999", 403},
		{"Origin http://attacker.example", 403},
		{"Origin null", 403},
		{"Content-Type text/plain", 415}, // what a form can send
		{"Content-Type application/x-www-form-urlencoded", 415},
	} {
		before := len(src.did)
		for _, path := range []string{"/api/do", "/api/time", "/api/lesson/plan/start"} {
			body := map[string]string{"/api/do": `{"action":"cut"}`, "/api/time": `{"op":"pause"}`}[path]
			if path == "/api/lesson/plan/start" && c.want == 415 {
				continue // has no body
			}
			if got := h.ask(t, http.MethodPost, path, body, strings.Fields(c.headers)...); got.code != c.want {
				t.Errorf("POST %s with %q: %v, want %d", path, c.headers, got, c.want)
			}
		}
		if got := h.ask(t, http.MethodGet, "/api/world", "", strings.Fields(c.headers)...); got.code != c.want && c.want != 415 {
			t.Errorf("GET /api/world with %q: %v, want %d", c.headers, got, c.want)
		}
		if acted := len(src.did) > before; acted != (c.want == 200) {
			t.Errorf("POST /api/do with %q: acted %t", c.headers, acted)
		}
	}
}

func TestCommandsAreChecked(t *testing.T) {
	h := serve(t, newFake())
	for _, c := range []struct{ path, body, want string }{
		{"/api/do", `{"action":"renumber"}`, `200 {"ok":true}`},
		{"/api/do", `{"action":"unplug","target":"wan"}`, `200 {"ok":true,"done":"wan is pulled"}`},
		{"/api/do", `{"action":"mtu","arg":"1300"}`, `200 {"ok":true}`},
		{"/api/do", `{"action":"reboot"}`, `409 {"error":"the box is starting already: wait for it"}`},
		{"/api/do", `{"action":"format"}`, `404 {"error":"action \"format\": there is none of this name"}`},
		{"/api/do", `{"action":"unplug","target":"r1"}`, `400 {"error":"action \"unplug\": no target \"r1\""}`},
		{"/api/do", `{"action":"mtu","arg":"1"}`, `400 {"error":"action \"mtu\": no argument \"1\""}`},
		{"/api/do", `{"acton":"cut"}`, `400 {"error":"command: json: unknown field \"acton\""}`},
		{"/api/do", `{"action":"cut"}{}`, `400 {"error":"command: more than one JSON value"}`},
		{"/api/do", ``, `400 {"error":"command: EOF"}`},
		{"/api/do", `{"action":"` + strings.Repeat("x", maxBody) + `"}`, "413 413 content too large: a body may have 4096 octets here\n"},
		{"/api/time", `{"op":"speed","speed":1000}`, `200 {"ok":true}`},
		{"/api/time", `{"op":"speed","speed":0.1}`, `200 {"ok":true}`},
		{"/api/time", `{"op":"speed","speed":1001}`, `400 {"error":"speed 1001: 0.1 to 1000"}`},
		{"/api/time", `{"op":"speed"}`, `400 {"error":"speed 0: 0.1 to 1000"}`},
		{"/api/time", `{"op":"back"}`, `400 {"error":"time op \"back\": pause, play, step or speed"}`},
		{"/api/time", `{"op":"step"}`, `200 {"ok":true}`},
		{"/api/lesson/plan/start", ``, `200 {"ok":true}`},
		{"/api/lesson/none/start", ``, `404 {"error":"lesson \"none\": there is none of this name"}`},
		{"/api/lesson/redirect/start", ``, `409 {"error":"needs the scenario downstream-router: start oasis6 demo with it"}`},
	} {
		if got := h.ask(t, http.MethodPost, c.path, c.body).String(); got != c.want {
			t.Errorf("POST %s %.60s: %s, want %s", c.path, c.body, got, c.want)
		}
	}
}

func TestViews(t *testing.T) {
	src := newFake()
	src.advance(5 * time.Second)
	h := serve(t, src)
	for _, c := range []struct {
		path, kind, want string // want: a regular expression
		code             int
	}{
		{"/", "text/html; charset=utf-8", `<script type="module"`, 200},
		{"/static/main.js", "text/javascript; charset=utf-8", `SPDX-License-Identifier: MIT`, 200},
		{"/static/base.css", "text/css; charset=utf-8", `--oasis`, 200},
		{"/static/icon.svg", "image/svg+xml", `<svg`, 200},
		{"/static/", "text/plain; charset=utf-8", `not found`, 404},
		{"/static/%2e%2e/page.go", "text/plain; charset=utf-8", `not found`, 404},
		{"/static/none.js", "text/plain; charset=utf-8", `not found`, 404},
		{"/nothing", "text/plain; charset=utf-8", `not found`, 404},
		{"/api/world", "application/json", `"seed":"9223372036854775814","start":"2026-11-23T12:00:00Z"`, 200},
		{"/api/packet/1", "application/json", `"kind":"rs".*"name":"Ethernet".*"name":"IPv6".*"decision":\{"node":"lan"`, 200},
		{"/api/packet/999999", "application/json", `no longer known`, 404},
		{"/api/packet/x", "application/json", `not a number`, 400},
		{"/api/lessons", "application/json", `\{"id":"plan","title":"An address plan","article":"[^"]*","state":\{"id":"plan","started":false`, 200},
		{"/api/pcap?wire=wan", "application/x-pcapng", `pcapng of wan, keys false`, 200},
		{"/api/pcap?wire=wan&keys=1", "application/x-pcapng", `pcapng of wan, keys true`, 200},
		{"/api/pcap?wire=nowhere", "application/json", `wire \\"nowhere\\": there is none of this name`, 404},
		{"/api/pcap?wire=tunnel", "application/json", `capture of tunnel: nothing was seen yet`, 500},
	} {
		got := h.ask(t, http.MethodGet, c.path, "")
		if got.code != c.code || got.header.Get("Content-Type") != c.kind || !regexp.MustCompile(`(?s)`+c.want).MatchString(got.body) {
			t.Errorf("GET %s: %s %.300v, want %d %s %s", c.path, got.header.Get("Content-Type"), got, c.code, c.kind, c.want)
		}
		for name, want := range map[string]string{"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
			if got := got.header.Get(name); got != want {
				t.Errorf("GET %s: %s %q, want %q", c.path, name, got, want)
			}
		}
		if got := h.ask(t, http.MethodHead, c.path, ""); got.code != c.code || got.body != "" {
			t.Errorf("HEAD %s: %v, want %d and no body", c.path, got, c.code)
		}
	}
	if got := h.ask(t, http.MethodGet, "/api/pcap?wire=wan", "").header.Get("Content-Disposition"); got != `attachment; filename="oasis6-wan.pcapng"` {
		t.Errorf("Content-Disposition %q", got)
	}
	if got := h.ask(t, http.MethodGet, "/api/pcap?wire=wan&keys=1", "").header.Get("Content-Disposition"); got != `attachment; filename="oasis6-wan-keys.pcapng"` {
		t.Errorf("Content-Disposition %q", got)
	}
	for _, c := range []struct{ method, path, allow string }{
		{"POST", "/", "GET, HEAD"}, {"DELETE", "/api/world", "GET, HEAD"}, {"GET", "/api/do", "POST"}, {"PUT", "/api/lesson/plan/start", "POST"},
	} {
		if got := h.ask(t, c.method, c.path, ""); got.code != 405 || got.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %v, Allow %q, want 405 and %q", c.method, c.path, got, got.header.Get("Allow"), c.allow)
		}
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	http.DefaultClient.CloseIdleConnections() // those of other tests
	idle := runtime.NumGoroutine()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, newFake()) }()
	s := open(t, "http://"+l.Addr().String(), "") // a stream that is open
	s.next(t, "hello", &struct{}{})
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Serve goes on 5 s after its context ended")
	}
	_ = s.Close() // it was cut off
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > idle; time.Sleep(10 * time.Millisecond) {
		http.DefaultClient.CloseIdleConnections() // the client's own
		if time.Now().After(end) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines are left, want %d\n%s", runtime.NumGoroutine(), idle, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
