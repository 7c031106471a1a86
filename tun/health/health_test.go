// SPDX-License-Identifier: MIT

package health

import (
	"fmt"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script drives a machine with instants counted from its start. The counters of sample are kept
// between lines, so that a line only says what changed.
type script struct {
	t    *testing.T
	m    *Machine
	s    Sample
	rand float64
}

var boot = time.Unix(1000, 0).UTC()

func start(t *testing.T) *script {
	s := &script{t: t}
	s.m = New(func() float64 { return s.rand })
	return s
}

// up starts a machine and completes its first handshake at 0 s.
func up(t *testing.T) *script {
	s := start(t)
	s.at("0s").step(Sampled{}).wants("connecting initiate wake 5s")
	s.at("0s").handshake().wants("up watch wake 20s")
	return s
}

type line struct {
	s   *script
	now time.Time
	a   Actions
}

func (s *script) at(d string) *line {
	s.t.Helper()
	dur, err := time.ParseDuration(d)
	if err != nil {
		s.t.Fatal(err)
	}
	return &line{s: s, now: boot.Add(dur)}
}

func (l *line) step(ev Event) *line { l.a = l.s.m.Step(l.now, ev); return l }
func (l *line) sample() *line       { return l.step(Sampled{l.s.s}) }
func (l *line) quiet() *line        { return l.sample() }
func (l *line) sent() *line         { l.s.s.DataSent++; return l.sample() }
func (l *line) initiation() *line   { l.s.s.Initiations++; return l.sample() }
func (l *line) heard() *line        { l.s.s.Life += 96; return l.sample() }
func (l *line) both() *line         { l.s.s.DataSent++; l.s.s.Life += 96; return l.sample() }
func (l *line) handshake() *line {
	l.s.s.LastHandshake = l.now.Add(time.Nanosecond)
	l.s.s.Life += 92
	return l.sample()
}

func (a Actions) text() string {
	s := a.State.String()
	for _, f := range []struct {
		on   bool
		name string
	}{{a.Resolve, "resolve"}, {a.Initiate, "initiate"}, {a.Probe, "probe"}, {a.Watch, "watch"}} {
		if f.on {
			s += " " + f.name
		}
	}
	return s + " wake " + a.Wake.Sub(boot).String()
}

func (l *line) wants(want string) {
	l.s.t.Helper()
	if got := l.a.text(); got != want {
		l.s.t.Errorf("at %v: %s\nwant %s", l.now.Sub(boot), got, want)
	}
}

func TestFirstHandshakeIsUpAtOnce(t *testing.T) {
	s := start(t)
	s.at("0s").step(Sampled{}).wants("connecting initiate wake 5s")
	s.at("30ms").handshake().wants("up watch wake 20.03s")
	if n := s.m.Step(boot.Add(40*time.Millisecond), Sampled{s.s}).Notes; len(n) != 0 {
		t.Errorf("a second sample notes %v, want nothing", n)
	}
}

func TestConnectingBecomesDownAfterConnectWithin(t *testing.T) {
	s := start(t)
	s.at("0s").quiet().wants("connecting initiate wake 5s")
	s.at("5s").quiet().wants("connecting initiate wake 10s")
	s.at("10s").quiet().wants("connecting initiate wake 15s")
	s.at("14.999s").quiet().wants("connecting wake 15s")
	s.at("15s").quiet().wants("down resolve initiate wake 20s")
}

func TestInitiationsAreJittered(t *testing.T) {
	s := start(t)
	s.rand = 0.5
	s.at("0s").quiet().wants("connecting initiate wake 5.15s")
}

func TestDataWithNothingBackForcesHandshakeThenDies(t *testing.T) {
	s := up(t)
	s.at("1s").sent().wants("up wake 2s")
	s.at("2s").sent().wants("up wake 2.5s")
	s.at("2.5s").quiet().wants("up probe wake 3.5s")
	s.at("5.999s").quiet().wants("up probe wake 6s")
	s.at("6s").quiet().wants("up initiate wake 7s")
	s.at("7s").initiation().wants("up wake 7.499s")
	s.at("10.999s").quiet().wants("up probe wake 11s")
	s.at("11s").quiet().wants("up initiate wake 12s")
	s.at("13.499s").quiet().wants("up probe wake 13.5s")
	s.at("13.5s").quiet().wants("down wake 16s")
	s.at("16s").quiet().wants("down initiate wake 21s")
	s.at("20.999s").quiet().wants("down wake 21s")
	s.at("21s").quiet().wants("down resolve initiate wake 26s") // 6 s + ResolveAfter
	s.at("22s").heard().wants("down wake 26s")                  // life alone is not enough
	s.at("23s").handshake().wants("up watch wake 43s")
}

func TestHandshakeResponseCountsAsLife(t *testing.T) {
	s := up(t)
	s.at("1s").sent().wants("up wake 2s")
	s.at("6s").quiet().wants("up initiate probe wake 7s")
	s.at("6.1s").handshake().wants("up watch wake 26s")
}

func TestPassiveKeepaliveCountsAsLife(t *testing.T) {
	s := up(t)
	s.at("1s").sent().wants("up wake 2s")
	s.at("11s").heard().wants("up watch wake 21s")
}

func TestIdleIsProbedAndDiesWithin40s(t *testing.T) {
	s := up(t)
	s.at("19.999s").quiet().wants("up watch wake 20s")
	s.at("20s").quiet().wants("up probe wake 21s")
	s.at("21s").sent().wants("up wake 21.5s")
	s.at("25s").quiet().wants("up initiate probe wake 26s")
	s.at("32.499s").quiet().wants("up initiate probe wake 32.5s")
	s.at("32.5s").quiet().wants("down wake 37.499s")
}

func TestAnsweredProbeIsNoEvent(t *testing.T) {
	s := up(t)
	s.at("20s").quiet().wants("up probe wake 21s")
	s.at("21s").both().wants("up wake 22s")
	s.at("22s").quiet().wants("up watch wake 40s")
}

// Life that came at an unknown instant of a long interval is dated to its beginning, or a fault right
// after it would stay hidden for 20 s more.
func TestLifeInALongIntervalIsDatedToItsBeginning(t *testing.T) {
	s := up(t)
	s.at("20s").heard().wants("up probe wake 21s")
}

func TestUnansweredInitiationOfWireGuardItselfCounts(t *testing.T) {
	s := up(t)
	s.at("2s").initiation().wants("up wake 3s")
	s.at("12s").quiet().wants("up initiate probe wake 13s")
	s.at("14.499s").quiet().wants("up probe wake 14.5s")
	s.at("14.5s").quiet().wants("down wake 17s")
}

func TestResolveBacksOff(t *testing.T) {
	s := start(t)
	var at []string
	for d := time.Duration(0); d < 30*time.Minute; {
		a := s.m.Step(boot.Add(d), Sampled{s.s})
		if a.Resolve {
			at = append(at, d.String())
		}
		d = a.Wake.Sub(boot)
	}
	if got, want := strings.Join(at, " "), "15s 45s 1m45s 3m45s 7m45s 12m45s 17m45s 22m45s 27m45s"; got != want {
		t.Errorf("resolves at %s, want %s", got, want)
	}
}

func TestEndpointReadyInitiatesAtOnceAndKeepsTheBackoff(t *testing.T) {
	s := start(t)
	s.at("0s").quiet().wants("connecting initiate wake 5s")
	s.at("2s").step(EndpointReady{}).wants("connecting initiate wake 7s")
	s.at("15s").quiet().wants("down initiate wake 17s")
	s.at("17s").quiet().wants("down resolve wake 20s")
	s.at("18s").step(EndpointReady{}).wants("down initiate wake 23s")
}

func TestPathChangedProves(t *testing.T) {
	s := up(t)
	s.at("3s").step(PathChanged{}).wants("up probe wake 4s")
	s.at("4s").both().wants("up wake 5s")
	s.at("5s").sent().wants("up wake 6s")
	s.at("6s").step(PathChanged{}).wants("up initiate probe wake 7s")
	s.at("16s").quiet().wants("up initiate probe wake 17s")
	s.at("17.5s").quiet().wants("down wake 21s")
	s.at("18s").step(PathChanged{}).wants("down resolve initiate wake 23s")
}

func TestSuspendOf8hBeginsAFreshWindow(t *testing.T) {
	s := up(t)
	s.at("1s").sent().wants("up wake 2s") // unanswered when the lid closes
	s.at("8h").quiet().wants("up initiate wake 8h0m1s")
	s.at("8h0m0.1s").handshake().wants("up watch wake 8h0m20s")
}

func TestSuspendOf8hWithAPeerThatIsGone(t *testing.T) {
	s := up(t)
	s.at("8h").quiet().wants("up initiate wake 8h0m1s")
	s.at("8h0m10s").quiet().wants("up initiate probe wake 8h0m11s")
	s.at("8h0m12.499s").quiet().wants("up probe wake 8h0m12.5s")
	s.at("8h0m12.5s").quiet().wants("down wake 8h0m15s")
}

func TestSuspendWhileDownKnocksAtOnce(t *testing.T) {
	s := start(t)
	s.at("0s").quiet()
	s.at("15s").quiet().wants("down resolve initiate wake 20s")
	s.at("8h").quiet().wants("down initiate wake 8h0m5s")
	s.at("8h0m15s").quiet().wants("down resolve initiate wake 8h0m20s")
}

func TestInitiatesEvery5sForAWeek(t *testing.T) {
	s := start(t)
	n, last := 0, time.Duration(-1)
	for d := time.Duration(0); d < 7*24*time.Hour; {
		s.rand = float64(n%10) / 10
		a := s.m.Step(boot.Add(d), Sampled{s.s})
		if a.Initiate {
			if gap := d - last; n > 0 && (gap < InitiateEvery || gap > InitiateEvery+InitiateJitter) {
				t.Fatalf("at %v: initiation after %v", d, gap)
			}
			n, last = n+1, d
			s.s.Initiations++
		}
		if !a.Wake.After(boot.Add(d)) {
			t.Fatalf("at %v: wake %v is not in the future", d, a.Wake.Sub(boot))
		}
		d = a.Wake.Sub(boot)
	}
	if n < 114000 {
		t.Errorf("%d initiations in a week, want one every 5 s to 5.3 s", n)
	}
}

func TestCountersThatGoBackAreNoLife(t *testing.T) {
	s := up(t)
	s.at("1s").sent().wants("up wake 2s")
	s.s.Life = 0
	s.at("2s").quiet().wants("up wake 2.5s")
	s.s.Life = 92
	s.at("3s").quiet().wants("up probe wake 4s")
}

func TestWakeIsAlwaysInTheFuture(t *testing.T) {
	s := up(t)
	for i := range 2000 {
		now := boot.Add(time.Duration(i) * 377 * time.Millisecond)
		var ev Event = Sampled{s.s}
		switch i % 7 {
		case 3:
			ev = PathChanged{}
		case 5:
			ev = EndpointReady{}
		case 6:
			s.s.DataSent++
		}
		if i%97 == 0 {
			s.s.LastHandshake = now
		}
		if a := s.m.Step(now, ev); !a.Wake.After(now) {
			t.Fatalf("step %d: %s is not after %v", i, a.text(), now.Sub(boot))
		}
	}
}

func TestMachineImportsNoIO(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, im := range f.Imports {
			if p := strings.Trim(im.Path.Value, `"`); p != "time" && p != "oasis6/internal/note" {
				t.Errorf("%s imports %s", name, p)
			}
		}
	}
}

func ExampleState() {
	fmt.Println(Down, Connecting, Up)
	// Output: down connecting up
}
