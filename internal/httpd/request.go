// SPDX-License-Identifier: MIT

package httpd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a request's head.
const (
	maxLine   = 8 << 10  // the request line, and each field
	maxHead   = 16 << 10 // all of it, without the request line
	maxFields = 64
)

// Request is what a client asks. It belongs to its handler.
type Request struct {
	Method string
	// Path is percent-decoded and has no empty segments, "." or ".."; a slash at its end is kept. It is "*" for
	// OPTIONS *.
	Path  string
	Query url.Values
	// Host is what the client takes us for, with the port if it named one. It may be empty.
	Host string
	// Header is without Host.
	Header textproto.MIMEHeader
	Body   []byte
	// Word is what stands in the path for the star of a Route.
	Word string

	minor  int  // HTTP/1.minor, 0 or 1
	last   bool // the client wants the connection to end with the answer
	length int  // of the body
	waits  bool // the client sends the body when told to
}

// fault is why something is no request of ours: the status code and what it is about. The connection ends after it.
type fault struct {
	code int
	why  string
}

// Error implements error.
func (f *fault) Error() string { return fmt.Sprintf("http request: %s (%d)", f.why, f.code) }

func bad(format string, args ...any) error { return &fault{400, fmt.Sprintf(format, args...)} }

// newReader is a reader as readHead needs it: no line is longer than its buffer.
func newReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, maxLine) }

// errLong is a line that does not fit into the buffer.
var errLong = errors.New("http request: line too long")

// readLine reads a line of a head, without its end. A line feed alone ends none, and a carriage return alone is no part
// of one: RFC 9112 section 2.2 allows to take the one, and to take the other for a space, but two programs on the way
// that do not do the same would see different requests.
func readLine(r *bufio.Reader) (string, error) {
	b, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", errLong
	case errors.Is(err, io.EOF) && len(b) > 0:
		return "", io.ErrUnexpectedEOF
	case err != nil:
		return "", err
	}
	line, ok := strings.CutSuffix(string(b), "\r\n")
	if !ok {
		return "", bad("a line does not end in CR LF")
	}
	if strings.ContainsFunc(line, control) {
		return "", bad("a line has control characters")
	}
	return line, nil
}

func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// readHead reads a request up to its body, which may have maxBody octets.
func readHead(br *bufio.Reader, maxBody int) (*Request, error) {
	line, err := readLine(br)
	if err == nil && line == "" {
		line, err = readLine(br) // RFC 9112 section 2.2: one empty line before a request is ignored
	}
	if errors.Is(err, errLong) {
		return nil, &fault{414, "the request line is longer than " + strconv.Itoa(maxLine) + " octets"}
	}
	if err != nil {
		return nil, err
	}
	r := &Request{}
	target, err := r.setLine(line)
	if err != nil {
		return nil, err
	}
	if err := r.readFields(br); err != nil {
		return nil, err
	}
	for _, set := range []func() error{r.setHost, func() error { return r.setTarget(target) }, func() error { return r.setLength(maxBody) }, r.setExpect} {
		if err := set(); err != nil {
			return nil, err
		}
	}
	r.last = r.minor == 0 || slices.ContainsFunc(r.Header["Connection"], func(v string) bool {
		return slices.ContainsFunc(strings.Split(v, ","), func(option string) bool { return strings.EqualFold(strings.Trim(option, " \t"), "close") })
	})
	return r, nil
}

// setLine takes the request line (RFC 9112 section 3) and returns its target.
func (r *Request) setLine(line string) (target string, err error) {
	method, rest, _ := strings.Cut(line, " ")
	target, version, ok := strings.Cut(rest, " ")
	number, named := strings.CutPrefix(version, "HTTP/")
	switch {
	case !ok || !token(method) || target == "":
		return "", bad("the request line is not METHOD TARGET VERSION")
	case !named || len(number) != 3 || !digit(number[0]) || number[1] != '.' || !digit(number[2]):
		return "", bad("version %.20q", version)
	case number[0] != '1':
		return "", &fault{505, "HTTP/1.1 is spoken here, not " + version}
	case !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, method):
		return "", &fault{501, "this method is not known here"}
	}
	if number[2] != '0' {
		r.minor = 1 // RFC 9110 section 6.2: a higher one is taken as the highest that we know
	}
	r.Method = method
	return target, nil
}

// readFields reads the header (RFC 9112 section 5).
func (r *Request) readFields(br *bufio.Reader) error {
	r.Header = textproto.MIMEHeader{}
	size := 0
	for n := 0; ; n++ {
		line, err := readLine(br)
		size += len(line)
		switch {
		case errors.Is(err, errLong) || size > maxHead || n == maxFields && line != "":
			return &fault{431, fmt.Sprintf("more than %d octets in a field, %d in all, or %d fields", maxLine, maxHead, maxFields)}
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case line == "":
			return nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !token(name) { // the folded lines of old and a space before the colon are no tokens
			return bad("a field is not NAME: VALUE")
		}
		key := textproto.CanonicalMIMEHeaderKey(name)
		r.Header[key] = append(r.Header[key], strings.Trim(value, " \t"))
	}
}

// setHost takes Host out of the header (RFC 9112 section 3.2): one, with which nothing but a host can be meant.
func (r *Request) setHost() error {
	hosts := r.Header["Host"]
	delete(r.Header, "Host")
	if len(hosts) > 1 || len(hosts) == 0 && r.minor > 0 {
		return bad("%d Host fields, want one", len(hosts))
	}
	if len(hosts) == 0 {
		return nil
	}
	r.Host = hosts[0]
	if strings.ContainsFunc(r.Host, func(c rune) bool { return !alphanumeric(c) && !strings.ContainsRune("-._~%!$&'()*+,;=:[]", c) }) {
		return bad("Host is no host")
	}
	return nil
}

// setTarget takes the target (RFC 9112 section 3.2): a path with perhaps a query, or all of an URL, whose host is then
// in place of Host.
func (r *Request) setTarget(target string) error {
	if target == "*" && r.Method == "OPTIONS" {
		r.Path = target
		return nil
	}
	if strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }) {
		return bad("the target has characters that must be percent-encoded")
	}
	u, err := url.ParseRequestURI(target)
	switch {
	case err != nil:
		return bad("the target is no path")
	case target[0] == '/':
	case u.Scheme != "http" || u.Host == "" || u.User != nil:
		return bad("the target is neither a path nor an http URL")
	default:
		r.Host = u.Host
	}
	// An encoded slash is not the same as one, and no page of ours has it in a name.
	if strings.ContainsFunc(u.Path, control) || strings.Contains(strings.ToLower(u.RawPath), "%2f") {
		return bad("the path has control characters or an encoded slash")
	}
	r.Path = path.Clean("/" + u.Path)
	if strings.HasSuffix(u.Path, "/") && r.Path != "/" {
		r.Path += "/"
	}
	r.Query = u.Query()
	return nil
}

// setLength is the body's (RFC 9112 section 6.3). Whatever is not one plain number is refused: where a body ends is
// where the next request begins, and two programs must not differ about that.
func (r *Request) setLength(maxBody int) error {
	lengths := r.Header["Content-Length"]
	codings, coded := r.Header["Transfer-Encoding"]
	switch {
	case coded && (len(lengths) > 0 || r.minor == 0):
		return bad("Transfer-Encoding beside Content-Length or in HTTP/1.0")
	case coded && len(codings) == 1 && strings.EqualFold(codings[0], "chunked"):
		return &fault{411, "a body needs Content-Length here"}
	case coded:
		return &fault{501, "this Transfer-Encoding is not known here"}
	case len(lengths) == 0:
		return nil
	case len(lengths) > 1 || lengths[0] == "" || strings.ContainsFunc(lengths[0], func(c rune) bool { return c < '0' || c > '9' }):
		return bad("Content-Length is not one number")
	}
	n, err := strconv.Atoi(lengths[0])
	if err != nil || n > maxBody { // all digits: it can only be too large
		return &fault{413, "a body may have " + strconv.Itoa(maxBody) + " octets here"}
	}
	r.length = n
	return nil
}

// setExpect takes Expect (RFC 9110 section 10.1.1), which HTTP/1.0 did not have.
func (r *Request) setExpect() error {
	for _, v := range r.Header["Expect"] {
		if r.minor > 0 && !strings.EqualFold(v, "100-continue") {
			return &fault{417, "only 100-continue may be expected here"}
		}
		r.waits = r.minor > 0
	}
	return nil
}

func readBody(br *bufio.Reader, r *Request) error {
	if r.length == 0 {
		return nil
	}
	r.Body = make([]byte, r.length)
	_, err := io.ReadFull(br, r.Body)
	return err
}

// token is a name of RFC 9110 section 5.6.2.
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return !alphanumeric(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", c) })
}

func alphanumeric(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
