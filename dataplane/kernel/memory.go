// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"golang.org/x/sys/unix"

	"oasis6/internal/wholefile"
)

// memory is what the kernel cannot tell us itself: the values before our first change, and which
// addresses are ours on a kernel without IFA_PROTO. It outlives us in RUN/kernel.json, so that the
// next run after a kill -9 still knows what was there before.
type memory struct {
	conf  confMap
	addrs map[addrID]bool
}

// addrID is an address of ours. The prefix length does not matter: the kernel holds an address once.
type addrID struct {
	index int
	ip    netip.Addr
}

func newMemory() memory {
	return memory{conf: confMap{}, addrs: map[addrID]bool{}}
}

func (m memory) clone() memory {
	return memory{conf: maps.Clone(m.conf), addrs: maps.Clone(m.addrs)}
}

func (m memory) equal(o memory) bool {
	return maps.Equal(m.conf, o.conf) && maps.Equal(m.addrs, o.addrs)
}

// memoryFile is the file. Index tells an interface from a later one of the same name.
type memoryFile struct {
	BootID    string         `json:"boot_id"`
	Netns     string         `json:"netns"` // a container that starts again keeps the boot but not the namespace
	Sysctls   []memoryConf   `json:"sysctls_before"`
	Addresses []memoryAddr   `json:"addresses"`
	Names     map[int]string `json:"interfaces"` // for people only
}

type memoryConf struct {
	Index int    `json:"ifindex"` // 0: default, -1: all
	Name  string `json:"sysctl"`
	Value string `json:"value"`
}

type memoryAddr struct {
	Index int        `json:"ifindex"`
	IP    netip.Addr `json:"address"`
}

// store is where the memory is kept.
type store struct {
	path          string
	bootID, netns string
	log           *slog.Logger
}

// load never stops us from starting: a file of another boot or namespace means nothing, and a
// damaged one is set aside.
func (s store) load() memory {
	m := newMemory()
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return m
	}
	var f memoryFile
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err == nil {
		err = f.check()
	}
	if err != nil {
		bad := s.path + ".bad"
		if e := os.Rename(s.path, bad); e != nil {
			err = errors.Join(err, e)
		}
		s.log.Warn("kernel memory is damaged and set aside: sysctls of before cannot be put back", "file", bad, "err", err)
		return m
	}
	if f.BootID != s.bootID || f.Netns != s.netns {
		s.log.Info("kernel memory of another boot discarded", "file", s.path)
		return m
	}
	for _, c := range f.Sysctls {
		m.conf[confID{c.Index, c.Name}] = c.Value
	}
	for _, a := range f.Addresses {
		m.addrs[addrID{a.Index, a.IP}] = true
	}
	return m
}

// check refuses what we would never have written: a name with a slash would be another file.
func (f memoryFile) check() error {
	for _, c := range f.Sysctls {
		if !slices.Contains(allConf(), c.Name) || c.Index < confAll {
			return fmt.Errorf("sysctl %q of interface %d is none of ours", c.Name, c.Index)
		}
	}
	return nil
}

// save writes the file as a whole or not at all.
func (s store) save(m memory, name func(index int) string) error {
	f := memoryFile{BootID: s.bootID, Netns: s.netns, Names: map[int]string{}}
	for _, id := range m.conf.ids() {
		f.Sysctls = append(f.Sysctls, memoryConf{id.index, id.name, m.conf[id]})
		f.Names[id.index] = name(id.index)
	}
	for a := range m.addrs {
		f.Addresses = append(f.Addresses, memoryAddr{a.index, a.ip})
		f.Names[a.index] = name(a.index)
	}
	sort.Slice(f.Addresses, func(i, j int) bool {
		a, b := f.Addresses[i], f.Addresses[j]
		if a.Index != b.Index {
			return a.Index < b.Index
		}
		return a.IP.Less(b.IP)
	})
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(s.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return wholefile.Write(s.path, append(b, '\n'))
}

func (s store) remove() error {
	err := os.Remove(s.path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) { // not there, or no folder where it was
		return nil
	}
	return err
}
