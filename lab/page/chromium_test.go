// SPDX-License-Identifier: MIT

package page

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browser is one tab of a headless Chromium that shows the page over src. What its console says is an
// error of the test.
type browser struct {
	t     *testing.T
	ctx   context.Context
	src   *fake
	addr  string // of the server, once there was one
	stop  func() // the server
	muted atomic.Bool
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const why = "needs Chromium: none of chromium, chromium-browser, google-chrome is in PATH (apt-get install chromium)"
	if os.Getenv("OASIS6_REQUIRE_NETNS") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
	return ""
}

// chrome is a running Chromium.
type chrome struct{ ctx context.Context }

func startChromium(t *testing.T) chrome {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // Chromium refuses its sandbox to root
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...) // outlives t.Context, which ends before Cleanup
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return chrome{ctx}
}

// open is a tab with the page over a world that runs by the wall clock, having run for some seconds,
// in a window of the given size in pixels of CSS.
func (c chrome) open(t *testing.T, src *fake, width, height int64) *browser {
	t.Helper()
	b := &browser{t: t, src: src, addr: "127.0.0.1:0"}
	b.src.advance(9 * time.Second)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.src.run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	b.serve()
	tab, closeTab := chromedp.NewContext(c.ctx)
	t.Cleanup(closeTab)
	b.ctx = tab
	// Opens the tab, which lives as long as this context: it must be none with a timeout.
	if err := chromedp.Do(tab, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	b.listen()
	b.do(chromedp.EmulateViewport(width, height),
		chromedp.Navigate("http://"+b.addr+"/"),
		chromedp.WaitReady(chromedp.CSS(`body[data-ready="yes"]`)))
	b.wait(`document.getElementById("now").textContent > "00:00:05"`) // the first state is there
	return b
}

// serve starts the server, again on the same port.
func (b *browser) serve() {
	b.t.Helper()
	l, err := Listen(b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := Serve(ctx, l, b.src); err != nil {
			b.t.Error(err)
		}
	})
	b.stop = func() { cancel(); serving.Wait() }
	b.t.Cleanup(b.stop)
}

// mute is for a test in which the console has to complain.
func (b *browser) mute() { b.muted.Store(true) }

// media is what the system wants: dark colours, no motion.
func media(features ...emulation.MediaFeature) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		p := emulation.SetEmulatedMediaParams{}
		for _, f := range features {
			p.Features = append(p.Features, &f)
		}
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, p)
		return err
	})
}

// listen makes errors of the test out of what the console says until the tab is closed.
func (b *browser) listen() {
	messages := chromedp.Console(b.ctx)
	var listening sync.WaitGroup
	listening.Go(func() {
		for m, err := range messages {
			if err != nil {
				return // the tab is closed
			}
			switch {
			case b.muted.Load():
			case slices.Contains([]chromedp.ConsoleType{chromedp.ConsoleError, chromedp.ConsoleWarning, chromedp.ConsoleException}, m.Type):
				b.t.Errorf("the page says: %v (%s line %d)", m, m.URL, m.Line+1)
			}
		}
	})
	b.t.Cleanup(func() {
		if err := chromedp.Cancel(b.ctx); err != nil {
			b.t.Errorf("closing the tab: %v", err)
		}
		listening.Wait()
	})
}

// do takes at most half a minute: a page that hangs is an error, not a test that does.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval is the value of a JavaScript expression.
func eval[T any](b *browser, expr string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expr, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expr, err)
	}
	return v
}

// run executes JavaScript whose value is of no interest.
func (b *browser) run(expr string) {
	b.t.Helper()
	eval[bool](b, "("+expr+", true)")
}

// wait until a JavaScript expression is true. While the page loads it may be an error, too.
func (b *browser) wait(expr string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(30 * time.Millisecond) {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("(async () => Boolean("+expr+"))()", chromedp.EvalAwaitPromise))
		if ok && err == nil {
			return
		}
		if time.Now().After(end) {
			b.shot("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
			b.t.Fatalf("not true within 15 s: %s (%v)\nfocus: %s", expr, err, b.focus())
		}
	}
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// press types keys; those of package kb have names.
func (b *browser) press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
	}
}

func (b *browser) focus() string {
	return eval[string](b, `(() => { const e = document.activeElement; return e.tagName + "#" + e.id + " " + (e.dataset?.node ?? e.dataset?.action ?? "") })()`)
}

// did are the actions that the world was told.
func (b *browser) did() string {
	b.src.mu.Lock()
	defer b.src.mu.Unlock()
	return fmt.Sprint(b.src.did)
}

// shot keeps a picture of what is in the window in OASIS6_SHOTS, where a person or CI looks at it.
func (b *browser) shot(name string) { b.keep(name, chromedp.CaptureScreenshot()) }

// long is shot for the whole page.
func (b *browser) long(name string) { b.keep(name, chromedp.FullScreenshot(100)) }

func (b *browser) keep(name string, capture chromedp.Action[[]byte]) {
	b.t.Helper()
	dir := os.Getenv("OASIS6_SHOTS")
	if dir == "" {
		dir = b.t.TempDir()
	}
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, capture)
	if err != nil {
		b.t.Fatalf("screenshot %s: %v", name, err)
	}
	if len(png) < 10000 {
		b.t.Errorf("screenshot %s has only %d octets", name, len(png))
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
