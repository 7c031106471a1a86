// SPDX-License-Identifier: MIT

package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"oasis6/ra"
)

// Changes of what a LAN is told that are written at once, and then one for each refill. A hub whose prefixes
// come and go by the second must not wear the flash out.
const (
	memoryBurst  = 10
	memoryRefill = 5 * time.Minute
)

// Bounds of prefixes.json, so that a damaged one costs no memory.
const (
	maxMemoryLANs    = 64
	maxMemoryRecords = 512 // of one LAN: those in use and the stale ones of each kind
)

// memoryVersion is the format of the file.
const memoryVersion = 1

// lanMemory is prefixes.json: what hosts of each LAN have been told and may still hold (RFC 9096 section 3.5). LANs
// that are not in the configuration now stay in it until nobody can hold anything of theirs.
type lanMemory struct {
	file   stateFile
	wall   func() time.Time
	bootID string
	lans   map[string][]ra.Record
	wear   wear
	wake   time.Time // of a write put off; zero: none
	failed string    // the last failure to write, for reportSave
}

func newLANMemory(files Files, wall func() time.Time, bootID string) *lanMemory {
	return &lanMemory{
		file: stateFile{files, "prefixes.json"}, wall: wall, bootID: bootID, lans: map[string][]ra.Record{},
		wear: newWear(memoryBurst, memoryRefill),
	}
}

// The text form.
type (
	savedMemory struct {
		Version   int        `json:"version"`
		BootID    string     `json:"boot_id"`
		SavedAt   int64      `json:"saved_at_boot_ns"`
		SavedWall time.Time  `json:"saved_at_wall"` // for people; never computed with
		LANs      []savedLAN `json:"lans"`
	}
	savedLAN struct {
		Interface string        `json:"interface"`
		Records   []savedRecord `json:"records"`
	}
	savedRecord struct {
		Kind       string `json:"kind"`
		Name       string `json:"name"`
		OnLink     bool   `json:"on_link,omitempty"`
		Autonomous bool   `json:"autonomous,omitempty"`
		Live       bool   `json:"live,omitempty"`
		// Of what has been withdrawn: how long hosts might hold it when this was written, and until when.
		HoldS  uint32 `json:"hold_s,omitempty"`
		HoldNS int64  `json:"hold_until_boot_ns,omitempty"`
	}
)

// load reads the file. After a reboot nobody knows how much time has passed: hosts are taken to hold for as long as when
// it was written. A damaged file is set aside.
func (m *lanMemory) load(now time.Time) error {
	data, err := m.file.read()
	if data == nil {
		return err
	}
	lans, err := decodeMemory(data, now, m.bootID)
	if err != nil {
		return m.file.setAside(err)
	}
	m.lans = lans
	return nil
}

func decodeMemory(data []byte, now time.Time, bootID string) (map[string][]ra.Record, error) {
	var s savedMemory
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	if s.Version != memoryVersion {
		return nil, fmt.Errorf("version %d, want %d", s.Version, memoryVersion)
	}
	if len(s.LANs) > maxMemoryLANs {
		return nil, errors.New("more LANs than there can be")
	}
	sameBoot := bootID != "" && bootID == s.BootID && now.UnixNano() >= s.SavedAt
	lans := map[string][]ra.Record{}
	for _, l := range s.LANs {
		if len(l.Records) > maxMemoryRecords || lans[l.Interface] != nil {
			return nil, fmt.Errorf("LAN %q is there twice, or with too many records", l.Interface)
		}
		for _, x := range l.Records {
			r := ra.Record{Kind: x.Kind, Name: x.Name, OnLink: x.OnLink, Autonomous: x.Autonomous, Live: x.Live}
			if !x.Live {
				left := time.Duration(x.HoldS) * time.Second
				if sameBoot {
					left = time.Duration(x.HoldNS - now.UnixNano())
				}
				r.Hold = now.Add(min(left, ra.NDValidLimit))
				if !r.Hold.After(now) {
					continue
				}
			}
			lans[l.Interface] = append(lans[l.Interface], r)
		}
	}
	return lans, nil
}

// forget lets the memory of LANs that are not served grow old: nobody renews what their hosts hold.
func (m *lanMemory) forget(now time.Time, served func(lan string) bool) {
	for name, records := range m.lans {
		if served(name) {
			continue
		}
		for i := range records {
			if records[i].Live {
				records[i].Live, records[i].Hold = false, now.Add(ra.NDValidLimit)
			}
		}
	}
}

// changed takes over what a LAN has been told and decides when it goes to disk.
func (m *lanMemory) changed(now time.Time, lan string, records []ra.Record) {
	m.lans[lan] = records
	at := m.wear.atOnce(now)
	if m.wake.IsZero() || at.Before(m.wake) {
		m.wake = at
	}
}

func (m *lanMemory) due(now time.Time) bool { return !m.wake.IsZero() && !m.wake.After(now) }

// save writes the file. After a failure the next attempt is retrySave away, or comes with the next change.
func (m *lanMemory) save(now time.Time) error {
	m.wake = time.Time{}
	data, err := m.encode(now)
	if err == nil {
		err = m.file.write(data)
	}
	if err != nil {
		m.wake = now.Add(retrySave)
	}
	return err
}

// live says whether hosts of a LAN are told of anything now.
func (m *lanMemory) live(name string) bool {
	return slices.ContainsFunc(m.lans[name], func(r ra.Record) bool { return r.Live })
}

func (m *lanMemory) encode(now time.Time) ([]byte, error) {
	s := savedMemory{Version: memoryVersion, BootID: m.bootID, SavedAt: now.UnixNano(), SavedWall: m.wall().UTC().Round(0), LANs: []savedLAN{}}
	var names []string
	for name := range m.lans {
		names = append(names, name)
	}
	slices.Sort(names)
	served := keep(names, m.live)
	names = append(served, keep(names, func(name string) bool { return !m.live(name) })...)
	for _, name := range names[:min(len(names), maxMemoryLANs)] { // there is room for those that are served
		l := savedLAN{Interface: name}
		for _, r := range m.lans[name] {
			x := savedRecord{Kind: r.Kind, Name: r.Name, OnLink: r.OnLink, Autonomous: r.Autonomous, Live: r.Live}
			if left := r.Hold.Sub(now); !r.Live {
				if left <= 0 {
					continue
				}
				x.HoldS, x.HoldNS = uint32((left+time.Second-1)/time.Second), r.Hold.UnixNano()
			}
			l.Records = append(l.Records, x)
		}
		if len(l.Records) > 0 {
			s.LANs = append(s.LANs, l)
		}
	}
	data, err := json.MarshalIndent(s, "", "  ")
	return append(data, '\n'), err
}
