// SPDX-License-Identifier: MIT

package page

import (
	"context"
	"net"
	"slices"
	"strings"

	"oasis6/internal/httpd"
)

// policy lets the page load what this server has and nothing else, and nobody frame it. Inline
// scripts and styles are forbidden with it, too.
const policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

// fixed is what stands in the header of each answer.
func fixed() []httpd.Field {
	return []httpd.Field{
		{Name: "Content-Security-Policy", Value: policy},
		{Name: "Cross-Origin-Resource-Policy", Value: "same-origin"},
		{Name: "Cross-Origin-Opener-Policy", Value: "same-origin"},
		{Name: "X-Content-Type-Options", Value: "nosniff"},
		{Name: "Referrer-Policy", Value: "no-referrer"},
		{Name: "Cache-Control", Value: "no-store"}, // another version on the same port must not meet old scripts
	}
}

// guard keeps other web sites out of a server that trusts whoever is on this machine:
//
//   - The name in Host must be this machine's. Otherwise a site could let its own name point to
//     127.0.0.1 (DNS rebinding), and its scripts would be of the same origin as the page.
//   - What commands (POST), and what is under /api/, must come from the page itself: Sec-Fetch-Site, or
//     where an old browser lacks it Origin, says so. Else a site could take all event streams. A
//     program that is no browser sends neither and may do all.
func (s *site) guard(ctx context.Context, w *httpd.Writer, r *httpd.Request) error {
	if !ourHost(r.Host) {
		return fail(w, 421, "host %q: this page answers to localhost, 127.0.0.1 and [::1] only: use the address that oasis6 demo printed", r.Host)
	}
	if (r.Method != "GET" && r.Method != "HEAD" || strings.HasPrefix(r.Path, "/api/")) && !ourOrigin(r) {
		return fail(w, 403, "request from another origin: use the page itself")
	}
	return s.routes.Serve(ctx, w, r)
}

// ourOrigin says whether a command is not from the page of somebody else.
func ourOrigin(r *httpd.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin" || site == "none" // none: the user's own doing
	}
	origin := r.Header.Get("Origin")
	return origin == "" || origin == "http://"+r.Host
}

// ourHost is about the Host header, whose port may be missing.
func ourHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1", "[::1]"}, host)
}
