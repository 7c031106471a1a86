// SPDX-License-Identifier: MIT

// Package control is the control socket of a running box: RUN/oasis6.sock, mode 0600. A client
// sends one JSON line, {"method":"status"}, and reads JSON lines until the server closes; an error
// is the line {"error":"..."}.
//
// It knows lines, limits and who may listen. It must not know what the methods do. Start at Listen
// and Call. Limits: requests of at most 64 KiB, 16 clients at once, 5 seconds for a client to send
// its line and to take each answer.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

const (
	maxRequest = 64 << 10 // octets of a request line
	maxClients = 16       // more than an administrator and a few scripts ever are
	// clientTimeout is what a client may take for its request line, and for each line of the answer.
	clientTimeout = 5 * time.Second
	// maxAnswer bounds what a client reads as one line: the status of a box with thousands of hosts.
	maxAnswer = 16 << 20
)

var (
	// ErrNotRunning says that nobody listens on the socket.
	ErrNotRunning = errors.New("no oasis6 is running here")
	// ErrInUse says that another process holds the socket, so it is the box.
	ErrInUse = errors.New("another oasis6 is running here")
)

// Handler answers a request with one value, which becomes a JSON object. An object with the key
// "error" would be read as a failure. Handlers may be called concurrently; ctx ends with the
// server and after 5 seconds.
type Handler func(ctx context.Context, params json.RawMessage) (any, error)

// Streamer answers with any number of values. ctx ends with the server, and when the client closes
// its side; send fails when the client does not take the line in time.
type Streamer func(ctx context.Context, params json.RawMessage, send func(v any) error) error

// Methods are what a server can do, by name. A name must be in one of the two only.
type Methods struct {
	Answer map[string]Handler
	Stream map[string]Streamer
}

type request struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params,omitempty"`
}

type failure struct {
	Error *string `json:"error"`
}
