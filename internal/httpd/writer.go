// SPDX-License-Identifier: MIT

package httpd

import (
	"bufio"
	"errors"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Writer takes the answer to one request: whole by Send, or as a stream by Write. It belongs to its handler, and only
// until that returns.
type Writer struct {
	out    *bufio.Writer
	header []Field
	head   bool // answers HEAD: all but the body
	old    bool // to HTTP/1.0, which knows no chunks
	last   bool // the connection ends with this answer
	begun  bool
	chunk  []byte // of a stream, not written yet; nil: no stream
}

// chunkSize is how much of a stream is kept until it is written or Flush is called.
const chunkSize = 4096

var (
	errBegun = errors.New("http answer: has begun already")
	errHead  = errors.New("http answer: to HEAD has no body")
)

func newWriter(out *bufio.Writer, fixed []Field, r *Request) *Writer {
	return &Writer{out: out, header: slices.Clone(fixed), head: r.Method == "HEAD", old: r.minor == 0, last: r.last}
}

// Set sets a field of the header, in place of one of the same name. It has no effect once the answer has begun.
func (w *Writer) Set(name, value string) {
	f := Field{textproto.CanonicalMIMEHeaderKey(name), value}
	if i := slices.IndexFunc(w.header, func(x Field) bool { return x.Name == f.Name }); i >= 0 {
		w.header[i] = f
		return
	}
	w.header = append(w.header, f)
}

// Send is the whole answer, with a code that may have a body (RFC 9110 section 6.4.1); it may be nil.
func (w *Writer) Send(code int, body []byte) error {
	if w.begun {
		return errBegun
	}
	w.begin(code, Field{"Content-Length", strconv.Itoa(len(body))})
	if !w.head {
		_, _ = w.out.Write(body) // the next Flush reports it
	}
	return w.out.Flush()
}

// Refuse sends a line of text that says why the request is not done.
func (w *Writer) Refuse(code int, why string) error {
	w.Set("Content-Type", "text/plain; charset=utf-8")
	return w.Send(code, []byte(strconv.Itoa(code)+" "+strings.ToLower(reason(code))+": "+why+"\n"))
}

// Write writes a part of a stream, whose code is 200. It reaches the client when enough has come together, by Flush, or
// when the handler returns. Who asked with HEAD wants no stream: the error ends it.
func (w *Writer) Write(b []byte) (int, error) {
	if err := w.stream(); err != nil {
		return 0, err
	}
	n := len(b)
	for len(w.chunk)+len(b) >= chunkSize {
		part := b[:chunkSize-len(w.chunk)]
		w.chunk, b = append(w.chunk, part...), b[len(part):]
		if err := w.send(); err != nil {
			return n - len(b), err
		}
	}
	w.chunk = append(w.chunk, b...)
	return n, nil
}

// Flush writes what the stream has so far, at least its header.
func (w *Writer) Flush() error {
	if err := w.stream(); err != nil {
		return err
	}
	if err := w.send(); err != nil {
		return err
	}
	return w.out.Flush()
}

// stream begins a stream if there is none yet.
func (w *Writer) stream() error {
	switch {
	case w.begun && w.head:
		return errHead
	case w.begun && w.chunk == nil:
		return errBegun
	case w.begun:
		return nil
	case w.old: // its connection ends with the stream
		w.begin(200)
	default:
		w.begin(200, Field{"Transfer-Encoding", "chunked"})
	}
	w.chunk = make([]byte, 0, chunkSize)
	if w.head {
		return errHead
	}
	return nil
}

// send writes the chunk (RFC 9112 section 7.1). An empty one would be the end.
func (w *Writer) send() error {
	if len(w.chunk) == 0 {
		return nil
	}
	var err error
	if w.old {
		_, err = w.out.Write(w.chunk)
	} else {
		_, _ = w.out.WriteString(strconv.FormatInt(int64(len(w.chunk)), 16) + "\r\n") // the last write reports it
		_, _ = w.out.Write(w.chunk)                                                   // as above
		_, err = w.out.WriteString("\r\n")
	}
	w.chunk = w.chunk[:0]
	return err
}

// begin writes the head of the answer.
func (w *Writer) begin(code int, more ...Field) {
	w.begun = true
	if w.last {
		more = append(more, Field{"Connection", "close"})
	}
	line := func(parts ...string) {
		for _, p := range append(parts, "\r\n") {
			_, _ = w.out.WriteString(p) // the next Flush reports it
		}
	}
	line("HTTP/1.1 ", strconv.Itoa(code), " ", reason(code))
	line("Date: ", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"))
	for _, f := range slices.Concat(w.header, more) {
		line(f.Name, ": ", oneLine(f.Value))
	}
	line()
}

// oneLine keeps a value, which may come from a request, from being several fields.
func oneLine(value string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return ' '
		}
		return r
	}, value)
}

// end brings the answer to its end after its handler returned err. An error says that the client must not take it for
// whole: the connection has to end.
func (w *Writer) end(err error) error {
	switch {
	case !w.begun && err != nil:
		return w.Refuse(500, "the answer could not be made")
	case !w.begun:
		return w.Send(200, nil)
	case w.head:
		return w.out.Flush()
	case err != nil:
		return err
	case w.chunk == nil:
		return nil
	}
	if err := w.send(); err != nil {
		return err
	}
	if !w.old {
		_, _ = w.out.WriteString("0\r\n\r\n") // the Flush below reports it
	}
	return w.out.Flush()
}

// reason is the phrase of a status code (RFC 9110 section 15), or nothing, which is a phrase too.
func reason(code int) string {
	return map[int]string{
		200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict",
		411: "Length Required", 413: "Content Too Large", 414: "URI Too Long", 415: "Unsupported Media Type", 417: "Expectation Failed", 421: "Misdirected Request",
		431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable", 505: "HTTP Version Not Supported",
	}[code]
}
