// SPDX-License-Identifier: MIT

package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Limits on the file: far above any real one, low enough for a board with 32 MB.
const (
	maxFile = 1 << 20 // octets
	maxLine = 64 << 10
)

// readLines splits a file of at most so many octets into lines without their ends. It takes LF and CRLF, an UTF-8 byte
// order mark, and a last line without an end. The second result is what makes the whole file unreadable; of one that is
// too long the lines are what was read.
func readLines(r io.Reader, most int) (lines []string, problem string, err error) {
	b, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, "", err
	}
	if len(b) > most {
		problem = fmt.Sprintf("larger than %d octets: this is not a configuration file", most)
	}
	if bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) {
		return nil, "UTF-16 text: save the file as UTF-8", nil
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	lines = strings.Split(string(b), "\n")
	if last := len(lines) - 1; lines[last] == "" && last > 0 {
		lines = lines[:last]
	}
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(l, "\r")
	}
	return lines, problem, nil
}

// hubLine is the line of [Hub], which makes a file a hub's; 0: it has none.
func hubLine(lines []string) int {
	for i, l := range lines {
		if !strings.Contains(l, "[") {
			continue
		}
		if s := scan(l); s.kind == header && strings.EqualFold(s.name, "Hub") {
			return i + 1
		}
	}
	return 0
}

// kind is what a line is.
type kind uint8

const (
	blank  kind = iota // nothing, or a comment
	header             // [Section]
	pair               // Key = value
	junk               // anything else; problem says why
)

// scanned is one line taken apart.
type scanned struct {
	kind    kind
	name    string // section or key, as written
	value   string // without spaces around it
	comment string // from the # on, empty if there is none
	problem string
}

// scan takes a line apart. Its problem never quotes the line, which may hold a key.
func scan(text string) scanned {
	if len(text) > maxLine {
		return scanned{kind: junk, problem: fmt.Sprintf("longer than %d octets", maxLine)}
	}
	if i := strings.IndexFunc(text, isControl); i >= 0 {
		return scanned{kind: junk, problem: fmt.Sprintf("control character 0x%02x at octet %d: is this a text file?", text[i], i+1)}
	}
	if !utf8.ValidString(text) {
		return scanned{kind: junk, problem: "not UTF-8: save the file as UTF-8"}
	}
	body, comment := text, ""
	if i := strings.IndexByte(text, '#'); i >= 0 {
		body, comment = text[:i], text[i:]
	}
	body = strings.TrimSpace(body)
	if body == "" {
		return scanned{kind: blank, comment: comment}
	}
	if body[0] == '[' {
		if body[len(body)-1] != ']' {
			return scanned{kind: junk, problem: "a section is written [Name], alone on its line"}
		}
		return scanned{kind: header, name: strings.TrimSpace(body[1 : len(body)-1]), comment: comment}
	}
	key, value, ok := strings.Cut(body, "=")
	if !ok {
		return scanned{kind: junk, problem: "not a line of this file: want KEY = VALUE, [Section] or # comment"}
	}
	return scanned{kind: pair, name: strings.TrimSpace(key), value: strings.TrimSpace(value), comment: comment}
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// items splits a list at commas and spaces, both of which wg-quick takes.
func items(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || isSpace(r) })
}
