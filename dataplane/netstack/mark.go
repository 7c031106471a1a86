// SPDX-License-Identifier: MIT

package netstack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"oasis6/internal/wholefile"
)

// mark is what a successor must know: that LANs are served, with which addresses, and what accept_ra of their bridges was.
// Addresses that a predecessor had are not checked again: hosts use them, and a second without them is a second without
// Internet.
//
// The kernel of the machine must not take our own Router Advertisements: it would have a default route through the box
// beside its own, and choose between them.
type mark struct {
	path string // empty: none is wanted
	took bool   // there was one of this boot

	mu    sync.Mutex
	state markState
	left  map[netip.Addr]bool // addresses of the predecessor, as long as they are not in use again
}

type markState struct {
	BootID    string            `json:"boot_id"`
	Serving   bool              `json:"serving"`
	Addresses []netip.Addr      `json:"addresses"` // on LANs, past duplicate address detection
	AcceptRA  map[string]string `json:"accept_ra"` // of bridges, before our first change
}

// markFile is its name in RunDir.
const markFile = "userspace.json"

func (m *mark) open(dir, boot string) {
	m.state = markState{BootID: boot, AcceptRA: map[string]string{}}
	m.left = map[netip.Addr]bool{}
	if dir == "" {
		return
	}
	m.path = filepath.Join(dir, markFile)
	var old markState
	b, err := os.ReadFile(m.path)
	if err != nil || json.Unmarshal(b, &old) != nil || old.BootID != boot {
		return // none, or of another boot, which is as good
	}
	m.took = old.Serving
	for _, a := range old.Addresses {
		m.left[a] = m.took
	}
	if old.AcceptRA != nil {
		m.state.AcceptRA = old.AcceptRA
	}
}

// Sweep puts back what a box with this data plane has left in the kernel, for one with another: it was killed, or has left
// for a successor. Where there was none it does nothing.
func Sweep(runDir, bootID string) error {
	var m mark
	m.open(runDir, bootID)
	if !m.took && len(m.state.AcceptRA) == 0 {
		return nil
	}
	return m.drop()
}

func (m *mark) save() error {
	if m.path == "" {
		return nil
	}
	b, err := json.Marshal(m.state)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(m.path), 0o755)
	}
	if err == nil {
		err = wholefile.Write(m.path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("what a successor must know: %w", err)
	}
	return nil
}

// serve is for a successor. It writes what is new.
func (m *mark) serve(addrs []netip.Addr) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	sortAddrs(addrs)
	if m.path == "" || m.state.Serving && slices.Equal(m.state.Addresses, addrs) {
		return nil
	}
	was := m.state
	m.state.Serving, m.state.Addresses = true, addrs
	if err := m.save(); err != nil {
		m.state = was // so that it is tried again
		return err
	}
	return nil
}

// checked says, once, whether the predecessor had an address.
func (m *mark) checked(a netip.Addr) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.left[a]
	delete(m.left, a)
	return was
}

// drop puts all back.
func (m *mark) drop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for bridge, was := range m.state.AcceptRA {
		if err := putBack(bridge, was); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(m.state.AcceptRA, bridge)
	}
	m.state.Serving, m.state.Addresses = false, nil
	switch {
	case len(m.state.AcceptRA) > 0: // whoever comes next knows what is still to be put back
		errs = append(errs, m.save())
	case m.path != "":
		if err := os.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// deafen lets the kernel take no Router Advertisement on a bridge, and says what accept_ra was if it had to be changed. What
// the kernel would not take anyway stays as it is. Whoever changes it while we serve wants it so when we have gone.
func (m *mark) deafen(bridge string) (changed string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	accept, err := readConf(bridge, "accept_ra")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // no IPv6 in the kernel
	}
	forwarding, err2 := readConf(bridge, "forwarding")
	if err := errors.Join(err, err2); err != nil {
		return "", err
	}
	if accept == "0" || accept == "1" && forwarding != "0" {
		return "", nil
	}
	if was, known := m.state.AcceptRA[bridge]; was != accept {
		m.state.AcceptRA[bridge] = accept
		if err := m.save(); err != nil {
			delete(m.state.AcceptRA, bridge)
			if known {
				m.state.AcceptRA[bridge] = was
			}
			return "", fmt.Errorf("%w: accept_ra was not changed, since it could not be put back", err)
		}
	}
	return accept, writeConf(bridge, "accept_ra", "0")
}

// forget is for a bridge that is no LAN any more.
func (m *mark) forget(bridge string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	was, known := m.state.AcceptRA[bridge]
	if !known {
		return nil
	}
	delete(m.state.AcceptRA, bridge)
	return errors.Join(putBack(bridge, was), m.save())
}

// putBack leaves what somebody has changed meanwhile, and bridges that have gone.
func putBack(bridge, was string) error {
	if now, err := readConf(bridge, "accept_ra"); err != nil || now != "0" {
		return nil
	}
	return writeConf(bridge, "accept_ra", was)
}

func confPath(iface, name string) string { return "/proc/sys/net/ipv6/conf/" + iface + "/" + name }

func readConf(iface, name string) (string, error) {
	b, err := os.ReadFile(confPath(iface, name))
	return strings.TrimSpace(string(b)), err
}

func writeConf(iface, name, value string) error {
	return os.WriteFile(confPath(iface, name), []byte(value), 0)
}
