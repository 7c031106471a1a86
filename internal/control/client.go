// SPDX-License-Identifier: MIT

package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// Call asks for one answer and decodes it into result. params may be nil. The error wraps
// ErrNotRunning when nobody listens; an error of the method is its text.
func Call(ctx context.Context, path, method string, params, result any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*clientTimeout) // the method's time and the transfer's
	defer cancel()
	got := false
	err := Stream(ctx, path, method, params, func(line json.RawMessage) error {
		if got {
			return fmt.Errorf("method %s: more than one answer", method)
		}
		got = true
		return json.Unmarshal(line, result)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("method %s: no answer from %s in time: the box hangs: %w", method, path, err)
	}
	if err == nil && !got {
		err = fmt.Errorf("method %s: no answer: is the box stopping?", method)
	}
	return err
}

// Stream calls each for every line of the answer until the server closes, ctx ends or each fails.
// The line belongs to each only during the call.
func Stream(ctx context.Context, path, method string, params any, each func(json.RawMessage) error) error {
	req := request{Method: method}
	if params != nil {
		b, err := json.Marshal(params)
		if err != nil {
			return err
		}
		req.Params = b
	}
	line, err := json.Marshal(req)
	if err != nil {
		return err
	}
	c, err := dial(ctx, path)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // nothing of ours waits to be written
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	if _, err := c.Write(append(line, '\n')); err != nil && !errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("control socket: %w", err) // after EPIPE the reason may be there to be read
	}
	return readLines(ctx, c, each)
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: nobody listens on %s", ErrNotRunning, path)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%s: %w: try again as root", path, os.ErrPermission)
	}
	return nil, fmt.Errorf("control socket: %w", err)
}

func readLines(ctx context.Context, r io.Reader, each func(json.RawMessage) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxAnswer)
	for sc.Scan() {
		var f failure
		// A line that is not an object has no "error" either; each decodes it and reports.
		if err := json.Unmarshal(sc.Bytes(), &f); err == nil && f.Error != nil {
			return errors.New(*f.Error)
		}
		if err := each(sc.Bytes()); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}
