// SPDX-License-Identifier: MIT

package bootclock

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childDeadline carries an instant of the boot clock into the re-executed test binary.
const childDeadline = "OASIS6_BOOTCLOCK_DEADLINE"

func startTimer(t *testing.T) *Timer {
	t.Helper()
	tm, err := NewTimer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tm.Close() }) // a second Close only reports that it is closed
	return tm
}

func (t *Timer) mustSet(tb testing.TB, at time.Time) {
	tb.Helper()
	if err := t.Set(at); err != nil {
		tb.Fatal(err)
	}
}

// fires waits at most limit and returns the boot time of the expiry.
func fires(t *testing.T, tm *Timer, limit time.Duration) time.Time {
	t.Helper()
	select {
	case <-tm.C:
		return Now()
	case <-time.After(limit):
		t.Fatalf("no expiry within %v", limit)
		return time.Time{}
	}
}

func TestTimerFiresNotBeforeItsInstant(t *testing.T) {
	tm := startTimer(t)
	at := Now().Add(20 * time.Millisecond)
	tm.mustSet(t, at)
	if got := fires(t, tm, 10*time.Second); got.Before(at) {
		t.Errorf("fired %v early", at.Sub(got))
	}
}

func TestTimerPastFiresAtOnce(t *testing.T) {
	tm := startTimer(t)
	for _, at := range []time.Time{Now().Add(-time.Hour), time.Unix(0, 0), time.Unix(-5, 0)} {
		tm.mustSet(t, at)
		fires(t, tm, 10*time.Second)
	}
}

func TestTimerEarlierSettingReplaces(t *testing.T) {
	tm := startTimer(t)
	tm.mustSet(t, Now().Add(time.Hour))
	tm.mustSet(t, Now().Add(time.Millisecond))
	fires(t, tm, 10*time.Second)
}

func TestTimerZeroStopsAndFarFutureDoesNotWrap(t *testing.T) {
	tm := startTimer(t)
	armed := func() bool {
		var its unix.ItimerSpec
		c, err := tm.f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Control(func(fd uintptr) { err = unix.TimerfdGettime(int(fd), &its) }); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return its.Value != unix.Timespec{}
	}
	tm.mustSet(t, Now().Add(time.Hour))
	if !armed() {
		t.Error("not armed for an hour from now")
	}
	tm.mustSet(t, time.Time{})
	if armed() {
		t.Error("the zero Time does not stop it")
	}
	// Beyond what int64 nanoseconds and int32 seconds hold: must neither fire nor be disarmed.
	for _, at := range []time.Time{time.Unix(1<<31, 0), time.Unix(1<<40, 0)} {
		tm.mustSet(t, at)
		if !armed() {
			t.Errorf("Set(%v) does not arm", at)
		}
	}
	select {
	case <-tm.C:
		t.Error("an instant in the far future fires at once")
	default:
	}
}

func TestCloseEndsTheGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 50 {
		tm, err := NewTimer()
		if err != nil {
			t.Fatal(err)
		}
		tm.mustSet(t, Now().Add(time.Hour))
		if err := tm.Close(); err != nil {
			t.Fatal(err)
		}
		if err := tm.Set(Now()); err == nil {
			t.Fatal("Set after Close says nothing")
		}
	}
	// Close has waited for each of them; one that has left wg.Wait may still be unwinding.
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) { // yields alone are over before a busy machine lets the other thread run
			t.Fatalf("%d goroutines, had %d", runtime.NumGoroutine(), before)
		}
	}
}

func TestNowIsTheBootClock(t *testing.T) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	now := Now()
	if d := now.Sub(time.Unix(ts.Unix())); d < 0 || d > 10*time.Second {
		t.Errorf("Now() is %v away from CLOCK_BOOTTIME", d)
	}
	if BootID() == "" {
		t.Error("BootID() is empty")
	}
}

// A deadline that lies in the future of CLOCK_MONOTONIC, but in the past of CLOCK_BOOTTIME, fires: this
// is what a resume from suspend looks like. A time namespace moves the one clock without the other.
func TestJumpOfBootTimeAloneWakes(t *testing.T) {
	if s := os.Getenv(childDeadline); s != "" {
		wakeInTimeNamespace(t, s)
		return
	}
	deadline := Now().Add(time.Hour)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unshare := func(args ...string) *exec.Cmd {
		base := []string{"--time", "--boottime", "7200"}
		if os.Geteuid() != 0 {
			base = append([]string{"--user", "--map-root-user"}, base...)
		}
		return exec.Command("unshare", append(base, args...)...)
	}
	if out, err := unshare("true").CombinedOutput(); err != nil {
		reason := "needs a time namespace: unshare --time: " + err.Error() + ": " + string(out) + " (run as root or allow user namespaces; Linux 5.6 or later)"
		if os.Getenv("OASIS6_REQUIRE_NETNS") == "1" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	cmd := unshare(exe, "-test.run=^TestJumpOfBootTimeAloneWakes$", "-test.v")
	cmd.Env = append(os.Environ(), childDeadline+"="+strconv.FormatInt(deadline.UnixNano(), 10)+" "+strconv.FormatInt(monotonic(t), 10))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in the time namespace: %v\n%s", err, out)
	}
}

func monotonic(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

func wakeInTimeNamespace(t *testing.T, s string) {
	var deadline, mono int64
	for i, c := range s {
		if c == ' ' {
			deadline, _ = strconv.ParseInt(s[:i], 10, 64)
			mono, _ = strconv.ParseInt(s[i+1:], 10, 64)
		}
	}
	if moved := time.Duration(monotonic(t) - mono); moved > 30*time.Minute {
		t.Fatalf("CLOCK_MONOTONIC moved by %v: the test proves nothing", moved)
	}
	at := time.Unix(0, deadline)
	if left := at.Sub(Now()); left > -30*time.Minute {
		t.Fatalf("the boot clock did not jump: %v left", left)
	}
	tm := startTimer(t)
	tm.mustSet(t, at)
	fires(t, tm, 10*time.Second)
}
