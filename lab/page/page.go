// SPDX-License-Identifier: MIT

// Package page is the page of oasis6 demo: plain HTML, CSS and JavaScript in the binary, the HTTP
// server that hands them out, and the JSON and the events that fill them from a Source.
//
// It knows what is shown and how fast it may be told: pacing, thinning, who may ask. It must not
// know how the world works; the lab is behind Source. It speaks to this machine only: Listen takes
// loopback addresses, and the server answers neither a foreign name in Host nor a command from
// another origin. Start at New and Serve.
package page

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"
)

//go:embed static
var embedded embed.FS

// Handler is the handler of the whole page. Its methods may be called concurrently.
type Handler struct {
	src     Source
	run     string // names this run, so that a page of another one notices
	handler http.Handler
	streams chan struct{} // one place per open event stream
}

// maxStreams are the pages that may look on at once: a class has one or two, and each costs a
// snapshot every quarter of a second.
const maxStreams = 16

// New is a handler for one run of the world.
func New(src Source) *Handler {
	s := &Handler{src: src, run: rand.Text(), streams: make(chan struct{}, maxStreams)}
	files, err := fs.Sub(embedded, "static")
	if err != nil {
		panic(err) // a programmer's error: the folder is part of the binary
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "page.html") })
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(files)))
	mux.HandleFunc("GET /api/world", s.world)
	mux.HandleFunc("GET /api/events", s.events)
	mux.HandleFunc("GET /api/packet/{id}", s.packet)
	mux.HandleFunc("GET /api/pcap", s.pcap)
	mux.HandleFunc("GET /api/lessons", s.lessons)
	mux.HandleFunc("POST /api/lesson/{id}/start", s.startLesson)
	mux.HandleFunc("POST /api/do", s.do)
	mux.HandleFunc("POST /api/time", s.time)
	s.handler = guard(mux)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Listen opens a loopback address for the page; port 0 takes a free one. Everything else is
// refused: the page commands the world without a password.
func Listen(addr string) (net.Listener, error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("page address %q: %w: give HOST:PORT, such as localhost:8666", addr, err)
	}
	if !a.IP.IsLoopback() {
		return nil, fmt.Errorf("page address %q is not on this machine alone: anybody who reaches it could command the world: "+
			"use localhost, and show it elsewhere with ssh -L", addr)
	}
	l, err := net.ListenTCP("tcp", a)
	if err != nil {
		return nil, fmt.Errorf("page address %q: %w: is another demo running, or does it need another port?", addr, err)
	}
	return l, nil
}

// Serve answers on l until ctx ends, then ends open streams and returns nil. It closes l.
func Serve(ctx context.Context, l net.Listener, src Source) error {
	srv := &http.Server{
		Handler:           New(src),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 14,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("page on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	// The streams see ctx end; a browser that reads nothing is not waited for.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := srv.Shutdown(last); err != nil {
		_ = srv.Close() // what is left is cut off
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("page on %s: %w", l.Addr(), err)
	}
	return nil
}
