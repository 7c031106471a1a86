// SPDX-License-Identifier: MIT

// Package page is the page of oasis6 demo: plain HTML, CSS and JavaScript in the binary, the server
// that hands them out, and the JSON and the events that fill them from a Source.
//
// It knows what is shown and how fast it may be told: pacing, thinning, who may ask. It must not
// know how the world works; the lab is behind Source. It speaks to this machine only: Listen takes
// loopback addresses, and the server answers neither a foreign name in Host nor a command from
// another origin. Start at Serve.
package page

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"

	"oasis6/internal/httpd"
)

//go:embed static
var embedded embed.FS

// site is the whole page for one run of the world.
type site struct {
	src     Source
	run     string // names this run, so that a page of another one notices
	routes  httpd.Routes
	streams chan struct{} // one place per open event stream
}

// maxStreams are the pages that may look on at once: a class has one or two, and each costs a
// snapshot every quarter of a second.
const maxStreams = 16

func newSite(src Source) *site {
	s := &site{src: src, run: rand.Text(), streams: make(chan struct{}, maxStreams)}
	s.routes = httpd.Routes{
		{Method: "GET", Path: "/", Handler: s.start},
		{Method: "GET", Path: "/static/*", Handler: s.file},
		{Method: "GET", Path: "/api/world", Handler: s.world},
		{Method: "GET", Path: "/api/events", Handler: s.events},
		{Method: "GET", Path: "/api/packet/*", Handler: s.packet},
		{Method: "GET", Path: "/api/pcap", Handler: s.pcap},
		{Method: "GET", Path: "/api/lessons", Handler: s.lessons},
		{Method: "POST", Path: "/api/lesson/*/start", Handler: s.startLesson},
		{Method: "POST", Path: "/api/do", Handler: s.do},
		{Method: "POST", Path: "/api/time", Handler: s.time},
	}
	return s
}

func (s *site) start(_ context.Context, w *httpd.Writer, _ *httpd.Request) error {
	return hand(w, "page.html")
}

func (s *site) file(_ context.Context, w *httpd.Writer, r *httpd.Request) error {
	return hand(w, r.Word)
}

// hand hands out one of the files in the binary.
func hand(w *httpd.Writer, name string) error {
	b, err := embedded.ReadFile("static/" + name)
	if err != nil {
		return w.Refuse(404, "the page has no file of this name")
	}
	kinds := map[string]string{".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	w.Set("Content-Type", kinds[path.Ext(name)])
	return w.Send(200, b)
}

// Listen opens a loopback address for the page; port 0 takes a free one. Everything else is
// refused: the page commands the world without a password.
func Listen(addr string) (net.Listener, error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("page address %q: %w: give HOST:PORT, such as localhost:8066", addr, err)
	}
	if !a.IP.IsLoopback() {
		return nil, fmt.Errorf("page address %q is not on this machine alone: anybody who reaches it could command the world: "+
			"use localhost, and show it elsewhere with ssh -L", addr)
	}
	l, err := net.ListenTCP("tcp", a)
	if err != nil {
		return nil, fmt.Errorf("page address %q: %w: %s", addr, err, toListen(err))
	}
	return l, nil
}

// toListen is what to do about a port that cannot be had.
func toListen(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "ports below 1024 can be had as root only: name another"
	}
	return "is another demo running, or does it need another port?"
}

// Serve answers on l until ctx ends, then ends open streams and returns nil. It closes l.
func Serve(ctx context.Context, l net.Listener, src Source) error {
	srv := &httpd.Server{Handler: newSite(src).guard, Header: fixed(), MaxBody: maxBody}
	if err := srv.Serve(ctx, l); err != nil {
		return fmt.Errorf("page on %s: %w", l.Addr(), err)
	}
	return nil
}
