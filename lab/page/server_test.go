// SPDX-License-Identifier: MIT

package page

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"oasis6/lab/packet"
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

// sse is an open event stream.
type sse struct {
	*bufio.Reader
	io.Closer
	id string // of the last event
}

func open(t *testing.T, url, lastID string) *sse {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() }) // nothing is read any more
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("GET /api/events: %s %s", res.Status, res.Header.Get("Content-Type"))
	}
	return &sse{Reader: bufio.NewReader(res.Body), Closer: res.Body}
}

// next is the next event that is called want, decoded into v.
func (s *sse) next(t *testing.T, want string, v any) {
	t.Helper()
	event := ""
	for {
		line, err := s.ReadString('\n')
		if err != nil {
			t.Fatalf("event %s: %v", want, err)
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case field == "id":
			s.id = value
		case field == "event":
			event = value
		case field == "data" && event == want:
			if err := json.Unmarshal([]byte(value), v); err != nil {
				t.Fatalf("event %s: %v in %.200s", want, err, value)
			}
			return
		}
	}
}

func TestEventsTellWhatHappened(t *testing.T) {
	src := newFake()
	src.advance(3 * time.Second)
	url := "http://" + serve(t, src).addr
	s := open(t, url, "")
	var hello struct{ Run string }
	s.next(t, "hello", &hello)
	var past batch
	s.next(t, "packets", &past)
	if !past.Past || len(past.Packets) < 10 || past.Packets[0].ID != 1 || past.Packets[0].Kind != packet.RS {
		t.Fatalf("past %.300v, want all packets since the RS", past)
	}
	var log []Entry
	s.next(t, "log", &log)
	if len(log) != 4 || log[0].Node != "r1" {
		t.Errorf("log %v, want the four entries of the first three seconds", log)
	}
	var state State
	s.next(t, "state", &state)
	if len(state.Nodes["h1"].Addresses) != 3 || state.Nodes["h1"].Addresses[2].State != Preferred {
		t.Errorf("h1 %v, want a preferred address", state.Nodes["h1"])
	}
	var clock Clock
	s.next(t, "clock", &clock)
	if !clock.Now.Equal(when(3*time.Second)) || clock.Speed != 1 || !clock.CanPause {
		t.Errorf("clock %v, want 3 s at speed 1", clock)
	}

	src.advance(1300 * time.Millisecond) // an echo request goes out at 4 s
	var news batch
	kinds := []packet.Kind{}
	for !slices.Contains(kinds, packet.Echo) {
		news = batch{}
		s.next(t, "packets", &news)
		for _, p := range news.Packets {
			kinds = append(kinds, p.Kind)
		}
	}
	if i := slices.Index(kinds, packet.Echo); news.Past || kinds[i+1] != packet.Echo || kinds[i+2] != packet.Data {
		t.Errorf("news %v, want the echo request, in WireGuard after two hops", kinds)
	}
	last := s.id

	// Comes back: only what it missed, and the same run.
	src.advance(200 * time.Millisecond)
	again := open(t, url, last)
	var same struct{ Run string }
	again.next(t, "hello", &same)
	again.next(t, "packets", &past)
	if newest := news.Packets[len(news.Packets)-1].ID; past.Packets[0].ID != newest+1 || same != hello {
		t.Errorf("after %s the page is told from %d of run %v, want from %d of %v", last, past.Packets[0].ID, same, newest+1, hello)
	}

	// A mark of another run is worth nothing, nor is what is none.
	for _, mark := range []string{"ANOTHERRUN.900.900", hello.Run + ".900", hello.Run + ".900.x", hello.Run + ".-1.900", hello.Run + ".900.900.9"} {
		other := open(t, url, mark)
		other.next(t, "packets", &past)
		if past.Packets[0].ID != 1 {
			t.Errorf("with the mark %s the page is told from %d, want from 1", mark, past.Packets[0].ID)
		}
	}
}

func TestUnchangedStateIsNotSentAgain(t *testing.T) {
	src := newFake()
	src.advance(10 * time.Second)
	url := "http://" + serve(t, src).addr
	s := open(t, url, "")
	var state State
	s.next(t, "state", &state)
	var clock Clock
	s.next(t, "clock", &clock)
	if err := src.Time(TimeOp{Op: "speed", Speed: 5}); err != nil {
		t.Fatal(err)
	}
	// The next event of all is a clock: the state is as it was.
	for event := ""; event == ""; {
		line, err := s.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			event = strings.TrimSpace(name)
			if event != "clock" {
				t.Errorf("the next event is %q, want clock", event)
			}
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	w := serve(t, newFake())
	var last *sse
	for range maxStreams {
		last = open(t, "http://"+w.addr, "")
		last.next(t, "hello", &struct{}{})
	}
	if got := w.ask(t, http.MethodGet, "/api/events", ""); got.code != 503 || !strings.Contains(got.body, "close one") {
		t.Errorf("one stream too many: %v", got)
	}
	// A page that is closed leaves its place.
	_ = last.Close() // this is the test
	for end := time.Now().Add(30 * time.Second); w.ask(t, http.MethodHead, "/api/events", "").code != 200; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the place of a closed page is not free")
		}
	}
}

func TestListenTakesLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"localhost:0", "127.0.0.1:0", "[::1]:0"} {
		l, err := Listen(addr)
		if err != nil && addr == "[::1]:0" {
			continue // a machine without IPv6
		}
		if err != nil {
			t.Errorf("Listen(%q): %v", addr, err)
			continue
		}
		_ = l.Close() // was only to be opened
	}
	for addr, want := range map[string]string{":8666": "not on this machine alone", "0.0.0.0:0": "not on this machine alone", "[::]:0": "not on this machine alone", "192.0.2.1:0": "ssh -L", "localhost": "give HOST:PORT, such as localhost:8066"} {
		if l, err := Listen(addr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q): %v %v, want an error with %q", addr, l, err, want)
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

// What lab/packet may call a packet has a color on the page, and no policy is broken by the files.
func TestPageFiles(t *testing.T) {
	read := func(name string) string {
		b, err := embedded.ReadFile("static/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	kinds := read("kinds.js")
	for _, k := range packet.Kinds() {
		if !regexp.MustCompile(`[{ ]"?` + string(k) + `"?: "`).MatchString(kinds) {
			t.Errorf("kinds.js: kind %q is in no family", k)
		}
	}
	keys := read("keys.js")
	for _, k := range PageKeys {
		if !strings.Contains(keys, `"`+string(k)+`": `) && !strings.Contains(keys, " "+string(k)+": ") {
			t.Errorf("keys.js: PageKeys has %q, which does nothing", k)
		}
	}
	files, err := embedded.ReadDir("static")
	if err != nil {
		t.Fatal(err)
	}
	outside := regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]+/|@import|url\(`)
	inline := regexp.MustCompile(`<style|\sstyle="|\son[a-z]+="|<script>|eval\(|innerHTML|document\.write`)
	for _, f := range files {
		text := read(f.Name())
		if strings.Count(text, "\n") > 500 || len(text) == 0 {
			t.Errorf("static/%s: %d lines", f.Name(), strings.Count(text, "\n"))
		}
		if !strings.Contains(text[:min(len(text), 150)], "SPDX-License-Identifier: MIT") {
			t.Errorf("static/%s: no SPDX line", f.Name())
		}
		for _, m := range outside.FindAllString(text, -1) {
			if m != "http://www.w3.org/" { // the name of SVG
				t.Errorf("static/%s: %q: the page loads nothing from outside", f.Name(), m)
			}
		}
		for _, m := range inline.FindAllString(text, -1) {
			t.Errorf("static/%s: %q is forbidden by the content policy", f.Name(), m)
		}
	}
}

// Texts can be read: 4.5 to 1 at least (WCAG 2.2 section 1.4.3), in both themes, on every ground they stand on. And the dark
// theme of the system is the one of the switch.
func TestColorsHaveContrast(t *testing.T) {
	css, err := embedded.ReadFile("static/base.css")
	if err != nil {
		t.Fatal(err)
	}
	block := func(selector string) string {
		_, rest, _ := strings.Cut(string(css), selector+" {")
		body, _, ok := strings.Cut(rest, "}")
		if !ok {
			t.Fatalf("base.css has no %s", selector)
		}
		return strings.Join(strings.Fields(body), " ")
	}
	if a, b := block(`[data-theme="dark"]`), block(`:root:not([data-theme])`); a != b {
		t.Errorf("dark by switch: %s\ndark by system: %s", a, b)
	}
	grounds := "card page sunk"
	for theme, text := range map[string]string{"light": block(`[data-theme="light"]`), "dark": block(`[data-theme="dark"]`)} {
		color := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z0-9-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(text, -1) {
			color[m[1]] = luminance(m[2])
		}
		for ink, on := range map[string]string{
			"ink": grounds + " faint accent-soft oasis-soft bad-soft", "soft": grounds + " faint accent-soft oasis-soft", "pale": grounds, "accent": grounds + " accent-soft", "accent-ink": "accent",
			"oasis": grounds + " oasis-soft", "good": grounds + " oasis-soft", "warn": grounds + " warn-soft", "bad": grounds + " bad-soft",
			"f-ra": "card", "f-nd": "card", "f-dhcpv6": "card", "f-wg": "card", "f-echo": "card", "f-error": "card", "f-tcp": "card", "f-dns": "card", "f-other": "card",
		} {
			for _, ground := range strings.Fields(on) {
				a, okA := color[ink]
				b, okB := color[ground]
				if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); !okA || !okB || ratio < 4.5 {
					t.Errorf("%s: %s on %s: contrast %.2f, want 4.5", theme, ink, ground, ratio)
				}
			}
		}
	}
}

// luminance of a color #rrggbb (WCAG 2.2, relative luminance).
func luminance(hex string) float64 {
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
		if err != nil {
			panic(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
