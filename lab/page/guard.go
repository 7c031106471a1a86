// SPDX-License-Identifier: MIT

package page

import (
	"net"
	"net/http"
	"slices"
)

// policy lets the page load what this server has and nothing else, and nobody frame it. Inline
// scripts and styles are forbidden with it, too.
const policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

// guard keeps other web sites out of a server that trusts whoever is on this machine:
//
//   - The name in Host must be this machine's. Otherwise a site could let its own name point to
//     127.0.0.1 (DNS rebinding), and its scripts would be of the same origin as the page.
//   - What commands (POST) must come from the page itself: Sec-Fetch-Site, or where an old browser
//     lacks it Origin, says so. A program that is no browser sends neither and may command.
func guard(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store") // another version on the same port must not meet old scripts
		if !ourHost(r.Host) {
			fail(w, http.StatusMisdirectedRequest, "host %q: this page answers to localhost, 127.0.0.1 and [::1] only: use the address that oasis6 demo printed", r.Host)
			return
		}
		if err := origin.Check(r); err != nil {
			fail(w, http.StatusForbidden, "command from another origin: %v: use the page itself", err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ourHost is about the Host header, whose port may be missing.
func ourHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1", "[::1]"}, host)
}
