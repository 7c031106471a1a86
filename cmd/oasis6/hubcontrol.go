// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"oasis6/config"
	"oasis6/hub"
	"oasis6/hub/enroll"
	"oasis6/hub/store"
	"oasis6/internal/bootclock"
	"oasis6/internal/control"
)

// hubControls is the hub as a client of the control socket sees it.
type hubControls struct {
	ready chan struct{} // closed by open
	hub   *hub.Hub
}

func newHubControls() *hubControls { return &hubControls{ready: make(chan struct{})} }

// open is called once the hub exists.
func (c *hubControls) open(h *hub.Hub) {
	c.hub = h
	close(c.ready)
}

// Requests and answers of the control socket beside status.
type (
	inviteParams struct {
		Name     string  `json:"name"`
		Endpoint string  `json:"endpoint"` // empty: [Hub] Endpoint
		ValidS   float64 `json:"valid_s"`
	}
	inviteAnswer struct {
		Invitation string    `json:"invitation"`
		Name       string    `json:"name"`
		ExpiresAt  time.Time `json:"expires_at"`
	}
	removeParams struct {
		Name string `json:"name"`
	}
	removeAnswer struct {
		Invitation bool `json:"invitation"` // not a site that has joined
	}
	leasesAnswer struct {
		Leases []hub.Lease `json:"leases"`
	}
)

func (c *hubControls) methods() control.Methods {
	return control.Methods{Answer: map[string]control.Handler{
		"status": func(ctx context.Context, _ json.RawMessage) (any, error) {
			h, err := c.wait(ctx)
			if err != nil {
				return nil, err
			}
			return h.Snapshot(ctx)
		},
		"leases": func(ctx context.Context, _ json.RawMessage) (any, error) {
			h, err := c.wait(ctx)
			if err != nil {
				return nil, err
			}
			all, err := h.Leases(ctx)
			return leasesAnswer{all}, err
		},
		"invite": func(ctx context.Context, params json.RawMessage) (any, error) {
			h, err := c.wait(ctx)
			var p inviteParams
			if err = errors.Join(err, json.Unmarshal(params, &p)); err != nil {
				return nil, err
			}
			t, err := h.Invite(ctx, enroll.Order{Name: p.Name, Endpoint: p.Endpoint, Valid: time.Duration(p.ValidS * float64(time.Second))})
			return inviteAnswer{Invitation: t.Text, Name: t.Name, ExpiresAt: t.Expires}, err
		},
		"remove": func(ctx context.Context, params json.RawMessage) (any, error) {
			h, err := c.wait(ctx)
			var p removeParams
			if err = errors.Join(err, json.Unmarshal(params, &p)); err != nil {
				return nil, err
			}
			invitation, err := h.Remove(ctx, p.Name)
			return removeAnswer{invitation}, err
		},
	}}
}

// wait is the hub, once it is there.
func (c *hubControls) wait(ctx context.Context) (*hub.Hub, error) {
	select {
	case <-c.ready:
		return c.hub, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hubNotRunning adds what to do.
func hubNotRunning(err error) error {
	if errors.Is(err, control.ErrNotRunning) {
		return fmt.Errorf("%w: start the hub with oasis6 hub, or name its folder with --run", err)
	}
	return err
}

func removeSite(ctx context.Context, e env, run, name string) error {
	var a removeAnswer
	if err := control.Call(ctx, socketPath(run), "remove", removeParams{name}, &a); err != nil {
		return hubNotRunning(wrongRole(err, "remove", "a box: sites are removed at the hub"))
	}
	what := "%s is removed: its tunnel is closed, and its prefixes rest before another site gets them\n"
	if a.Invitation {
		what = "the invitation of %s is taken back: nobody can join by it any more\n"
	}
	_, err := fmt.Fprintf(e.stdout, what, name)
	return err
}

// listLeases asks the running hub, or else reads its store.
func (d *hubDaemon) listLeases(ctx context.Context, e env, asJSON bool) error {
	var a leasesAnswer
	err := control.Call(ctx, socketPath(d.run), "leases", nil, &a)
	if errors.Is(err, control.ErrNotRunning) {
		a.Leases, err = d.storedLeases(ctx, e.stderr)
	}
	if err != nil && len(a.Leases) == 0 {
		return wrongRole(err, "leases", "a box: leases are listed at the hub; oasis6 status shows what this box has")
	}
	if a.Leases == nil {
		a.Leases = []hub.Lease{}
	}
	if asJSON {
		enc := json.NewEncoder(e.stdout)
		enc.SetIndent("", "  ")
		return errors.Join(err, enc.Encode(a))
	}
	return errors.Join(err, writeLeases(e.stdout, a.Leases))
}

// storedLeases reads the store, and the configuration for what is in it of names.
func (d *hubDaemon) storedLeases(ctx context.Context, stderr io.Writer) ([]hub.Lease, error) {
	path := filepath.Join(d.state, storeFile)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("no hub is running here, and there is no store: %w: name its folders with --run and --state", err)
	}
	cfg, _, err := config.LoadHub(d.config)
	if err != nil {
		cfg = nil
		fmt.Fprintf(stderr, "without the configuration (-c FILE) sites of the file have no names here: %s\n", firstLine(err))
	}
	records, _, err := store.ReadFile(ctx, path)
	all, lerr := hub.StoredLeases(records, cfg, bootclock.Now(), bootclock.BootID())
	return all, errors.Join(err, lerr)
}

// firstLine is that of an error with many.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// writeLeases prints one line for each.
func writeLeases(w io.Writer, all []hub.Lease) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PREFIX\tSITE\tIAID\tSTATE\tPREFERRED\tVALID") // what is wrong shows in Flush
	for _, l := range all {
		left := func(s float64) string {
			switch {
			case s < 0:
				return "for ever"
			case l.AtMost:
				return "at most " + time.Duration(s*float64(time.Second)).Round(time.Minute).String()
			}
			return (time.Duration(s) * time.Second).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", l.Prefix, cmp.Or(l.Site, l.PublicKey), l.IAID, l.State, left(l.PreferredS), left(l.ValidS))
	}
	return t.Flush()
}
