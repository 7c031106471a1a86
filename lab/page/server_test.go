// SPDX-License-Identifier: MIT

package page

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"oasis6/lab/packet"
)

// ask sends a request as a browser on this machine would; headers come in pairs.
func ask(h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
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
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestOnlyThisMachineIsAnswered(t *testing.T) {
	h := New(newFake())
	for host, want := range map[string]int{
		"localhost": 200, "localhost:8666": 200, "127.0.0.1:8666": 200, "[::1]:8666": 200, "[::1]": 200,
		"attacker.example": 421, "attacker.example:8666": 421, "localhost.attacker.example": 421, "192.0.2.1": 421, "": 421, "localhost:8666:1": 421,
	} {
		r := httptest.NewRequest(http.MethodGet, "/api/world", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("Host %q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestCommandsComeFromThePage(t *testing.T) {
	src := newFake()
	h := New(src)
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
			if w := ask(h, http.MethodPost, path, body, strings.Fields(c.headers)...); w.Code != c.want {
				t.Errorf("POST %s with %q: %d %s, want %d", path, c.headers, w.Code, w.Body, c.want)
			}
		}
		if acted := len(src.did) > before; acted != (c.want == 200) {
			t.Errorf("POST /api/do with %q: acted %t", c.headers, acted)
		}
	}
}

func TestCommandsAreChecked(t *testing.T) {
	h := New(newFake())
	for _, c := range []struct{ path, body, want string }{
		{"/api/do", `{"action":"renumber"}`, `200 {"ok":true}`},
		{"/api/do", `{"action":"unplug","target":"wan"}`, `200 {"ok":true}`},
		{"/api/do", `{"action":"mtu","arg":"1300"}`, `200 {"ok":true}`},
		{"/api/do", `{"action":"reboot"}`, `409 {"error":"the box is starting already: wait for it"}`},
		{"/api/do", `{"action":"format"}`, `404 {"error":"action \"format\": there is none of this name"}`},
		{"/api/do", `{"action":"unplug","target":"r1"}`, `400 {"error":"action \"unplug\": no target \"r1\""}`},
		{"/api/do", `{"action":"mtu","arg":"1"}`, `400 {"error":"action \"mtu\": no argument \"1\""}`},
		{"/api/do", `{"acton":"cut"}`, `400 {"error":"command: json: unknown field \"acton\""}`},
		{"/api/do", `{"action":"cut"}{}`, `400 {"error":"command: more than one JSON value"}`},
		{"/api/do", ``, `400 {"error":"command: EOF"}`},
		{"/api/do", `{"action":"` + strings.Repeat("x", maxBody) + `"}`, `400 {"error":"command: http: request body too large"}`},
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
		w := ask(h, http.MethodPost, c.path, c.body)
		if got := w.Result().Status[:3] + " " + w.Body.String(); got != c.want {
			t.Errorf("POST %s %.60s: %s, want %s", c.path, c.body, got, c.want)
		}
	}
}

func TestViews(t *testing.T) {
	src := newFake()
	src.advance(5 * time.Second)
	h := New(src)
	for _, c := range []struct {
		path, kind, want string // want: a regular expression
		code             int
	}{
		{"/", "text/html; charset=utf-8", `<script type="module"`, 200},
		{"/static/main.js", "text/javascript; charset=utf-8", `SPDX-License-Identifier: MIT`, 200},
		{"/static/base.css", "text/css; charset=utf-8", `--oasis`, 200},
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
		w := ask(h, http.MethodGet, c.path, "")
		if w.Code != c.code || w.Header().Get("Content-Type") != c.kind || !regexp.MustCompile(`(?s)`+c.want).MatchString(w.Body.String()) {
			t.Errorf("GET %s: %d %s %.300s, want %d %s %s", c.path, w.Code, w.Header().Get("Content-Type"), w.Body, c.code, c.kind, c.want)
		}
		if got := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'self'") {
			t.Errorf("GET %s: Content-Security-Policy %q", c.path, got)
		}
	}
	if got := ask(h, http.MethodGet, "/api/pcap?wire=wan", "").Header().Get("Content-Disposition"); got != `attachment; filename="oasis6-wan.pcapng"` {
		t.Errorf("Content-Disposition %q", got)
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
	srv := httptest.NewServer(New(src))
	t.Cleanup(srv.Close) // after the streams are closed
	s := open(t, srv.URL, "")
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
	again := open(t, srv.URL, last)
	var same struct{ Run string }
	again.next(t, "hello", &same)
	again.next(t, "packets", &past)
	if newest := news.Packets[len(news.Packets)-1].ID; past.Packets[0].ID != newest+1 || same != hello {
		t.Errorf("after %s the page is told from %d of run %v, want from %d of %v", last, past.Packets[0].ID, same, newest+1, hello)
	}

	// A mark of another run is worth nothing.
	other := open(t, srv.URL, "ANOTHERRUN.900.900")
	other.next(t, "packets", &past)
	if past.Packets[0].ID != 1 {
		t.Errorf("with another run's mark the page is told from %d, want from 1", past.Packets[0].ID)
	}
}

func TestUnchangedStateIsNotSentAgain(t *testing.T) {
	src := newFake()
	src.advance(10 * time.Second)
	srv := httptest.NewServer(New(src))
	t.Cleanup(srv.Close) // after the streams are closed
	s := open(t, srv.URL, "")
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
	srv := httptest.NewServer(New(newFake()))
	t.Cleanup(srv.Close) // after the streams are closed
	for range maxStreams {
		open(t, srv.URL, "").next(t, "hello", &struct{}{})
	}
	res, err := http.Get(srv.URL + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(b), "close one") {
		t.Errorf("one stream too many: %s %s", res.Status, b)
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
	for addr, want := range map[string]string{":8666": "not on this machine alone", "0.0.0.0:0": "not on this machine alone", "[::]:0": "not on this machine alone", "192.0.2.1:0": "ssh -L", "localhost": "give HOST:PORT"} {
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

// What lab/packet may call a packet has a colour on the page, and no policy is broken by the files.
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
func TestColoursHaveContrast(t *testing.T) {
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
		colour := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z0-9-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(text, -1) {
			colour[m[1]] = luminance(m[2])
		}
		for ink, on := range map[string]string{
			"ink": grounds + " faint accent-soft oasis-soft bad-soft", "soft": grounds + " faint accent-soft oasis-soft", "pale": grounds, "accent": grounds + " accent-soft", "accent-ink": "accent",
			"oasis": grounds + " oasis-soft", "good": grounds + " oasis-soft", "warn": grounds + " warn-soft", "bad": grounds + " bad-soft",
			"f-ra": "card", "f-nd": "card", "f-dhcpv6": "card", "f-wg": "card", "f-echo": "card", "f-error": "card", "f-tcp": "card", "f-dns": "card", "f-other": "card",
		} {
			for _, ground := range strings.Fields(on) {
				a, okA := colour[ink]
				b, okB := colour[ground]
				if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); !okA || !okB || ratio < 4.5 {
					t.Errorf("%s: %s on %s: contrast %.2f, want 4.5", theme, ink, ground, ratio)
				}
			}
		}
	}
}

// luminance of a colour #rrggbb (WCAG 2.2, relative luminance).
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
