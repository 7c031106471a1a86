// SPDX-License-Identifier: MIT

// Package bootclock is the time of the control plane: CLOCK_BOOTTIME, which counts from boot,
// goes on in suspend and is never set by anybody.
//
// Instants are time.Time values without a monotonic reading, with the boot at the Unix epoch;
// they mean nothing outside this boot and must not be written to disk without the boot id.
// Start at Now and NewTimer.
package bootclock

import (
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Now is the present instant of CLOCK_BOOTTIME.
func Now() time.Time {
	var ts unix.Timespec
	// CLOCK_BOOTTIME exists since Linux 2.6.39; the call has no other way to fail.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Unix(ts.Unix()).UTC()
}

// BootID is the kernel's random id of this boot, empty if it cannot be read.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Timer is a timerfd on CLOCK_BOOTTIME. Go's own timers stand still in suspend, this one does not:
// a deadline that passed while the machine slept fires on resume.
type Timer struct {
	C    <-chan struct{} // one value for each expiry; never closed
	f    *os.File
	done sync.WaitGroup
}

// NewTimer makes a stopped timer. Close it to end its goroutine.
func NewTimer() (*Timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("timerfd on the boot clock: %w", err)
	}
	c := make(chan struct{}, 1)
	t := &Timer{C: c, f: os.NewFile(uintptr(fd), "timerfd")}
	t.done.Add(1)
	go func() {
		defer t.done.Done()
		var b [8]byte
		for {
			if _, err := t.f.Read(b[:]); err != nil {
				return
			}
			select {
			case c <- struct{}{}:
			default: // one wake-up is already waiting to be taken
			}
		}
	}()
	return t, nil
}

// Set arms the timer for the instant at, an earlier setting is replaced; the zero Time stops it.
// An instant that has passed fires at once, one more than 68 years after boot is as good as never.
// A value from before may still lie in C: treat it
// as a spurious wake-up.
func (t *Timer) Set(at time.Time) error {
	// 32-bit boards count seconds in an int32.
	first, last := time.Unix(0, 1), time.Unix(math.MaxInt32, 0)
	var its unix.ItimerSpec
	switch {
	case at.IsZero():
	case at.Before(first):
		its.Value = unix.NsecToTimespec(1) // zero would disarm
	case at.After(last):
		its.Value = unix.NsecToTimespec(last.UnixNano())
	default:
		its.Value = unix.NsecToTimespec(at.UnixNano())
	}
	c, err := t.f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = c.Control(func(fd uintptr) {
		serr = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &its, nil)
	})
	if err != nil {
		return err
	}
	return serr
}

// Close stops the timer and waits for its goroutine.
func (t *Timer) Close() error {
	err := t.f.Close()
	t.done.Wait()
	return err
}
