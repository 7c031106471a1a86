// SPDX-License-Identifier: MIT

package httpd

import (
	"context"
	"slices"
	"strings"
)

// Route is where requests of one kind are answered.
type Route struct {
	// Method GET is HEAD, too.
	Method string
	// Path may have a segment "*", for any one; the handler finds it in Request.Word.
	Path    string
	Handler Handler
}

// Routes are a handler by path and method.
type Routes []Route

// Serve is the Handler of the first route that fits; without one it answers 404, or 405 with the methods that the path
// has.
func (rs Routes) Serve(ctx context.Context, w *Writer, r *Request) error {
	var methods []string
	for _, route := range rs {
		word, ok := match(route.Path, r.Path)
		switch {
		case !ok:
			continue
		case route.Method == r.Method, route.Method == "GET" && r.Method == "HEAD":
			r.Word = word
			return route.Handler(ctx, w, r)
		case route.Method == "GET":
			methods = append(methods, "GET", "HEAD")
		default:
			methods = append(methods, route.Method)
		}
	}
	if methods == nil {
		return w.Refuse(404, "there is no page of this name")
	}
	slices.Sort(methods)
	w.Set("Allow", strings.Join(slices.Compact(methods), ", "))
	return w.Refuse(405, "this page does not have this method")
}

// match says whether a path is of the pattern, and what stands for the star.
func match(pattern, path string) (word string, ok bool) {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return "", pattern == path
	}
	rest, ok := strings.CutPrefix(path, before)
	if !ok {
		return "", false
	}
	word, ok = strings.CutSuffix(rest, after)
	return word, ok && word != "" && !strings.Contains(word, "/")
}
