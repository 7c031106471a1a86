// SPDX-License-Identifier: MIT

// Package pagetest looks at the demo's page with a headless Chromium: it opens tabs, waits for what the page shows,
// presses keys, takes pictures, and makes an error of the test of each complaint on the console.
//
// It must not know the server nor the world behind it: a tab gets an address. Start at Start.
package pagetest

import (
	"context"
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

// Waiting ends here, on a machine that is busy with other tests.
const (
	patience = 40 * time.Second
	glance   = 30 * time.Millisecond
)

// Chrome is a running Chromium, which ends with the test.
type Chrome struct{ ctx context.Context }

// Start runs a Chromium. Without one the test is skipped; where namespaces are required it fails.
func Start(t *testing.T) Chrome {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(find(t)))
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
	return Chrome{ctx}
}

func find(t *testing.T) string {
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

// Tab shows the page. Its methods fail the test; only its goroutine may call them.
type Tab struct {
	t     *testing.T
	ctx   context.Context
	muted atomic.Bool
}

// Open is a tab in a window of the given size in pixels of CSS, with the page ready.
func (c Chrome) Open(t *testing.T, url string, width, height int64) *Tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(c.ctx)
	t.Cleanup(closeTab)
	b := &Tab{t: t, ctx: ctx}
	// Opens the tab, which lives as long as this context: it must be none with a timeout.
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	b.listen()
	b.Size(width, height)
	b.do(chromedp.Navigate(url), chromedp.WaitReady(chromedp.CSS(`body[data-ready="yes"]`)))
	return b
}

// Mute is for a test in which the console has to complain.
func (b *Tab) Mute() { b.muted.Store(true) }

// listen makes errors of the test out of what the console says until the tab is closed.
func (b *Tab) listen() {
	messages := chromedp.Console(b.ctx)
	var listening sync.WaitGroup
	listening.Go(func() {
		for m, err := range messages {
			if err != nil {
				return // the tab is closed
			}
			bad := slices.Contains([]chromedp.ConsoleType{chromedp.ConsoleError, chromedp.ConsoleWarning, chromedp.ConsoleException}, m.Type)
			if bad && !b.muted.Load() {
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

// do takes a bounded time: a page that hangs is an error, not a test that does.
func (b *Tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// Size is that of the window.
func (b *Tab) Size(width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
}

// Media is what the system wants, as features of CSS: prefers-color-scheme, prefers-reduced-motion.
func (b *Tab) Media(features map[string]string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		p := emulation.SetEmulatedMediaParams{}
		for name, value := range features {
			p.Features = append(p.Features, &emulation.MediaFeature{Name: name, Value: value})
		}
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, p)
		return err
	}))
}

// Eval is the value of a JavaScript expression, which may be a promise.
func Eval[T any](b *Tab, expr string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expr, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expr, err)
	}
	return v
}

// Run executes JavaScript whose value is of no interest.
func (b *Tab) Run(expr string) {
	b.t.Helper()
	Eval[bool](b, "("+expr+", true)")
}

// Wait lasts until a JavaScript expression is true. While the page loads it may be an error, too.
func (b *Tab) Wait(expr string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience+patience/2)
	defer cancel()
	for end := time.Now().Add(patience); ; time.Sleep(glance) {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("(async () => Boolean("+expr+"))()", chromedp.EvalAwaitPromise))
		if ok && err == nil {
			return
		}
		if time.Now().After(end) {
			b.Shot("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
			b.t.Fatalf("not true within %v: %s (%v)\nfocus: %s", patience, expr, err, b.Focus())
		}
	}
}

// Click is one of the mouse, on the first element that a selector finds.
func (b *Tab) Click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// Press types keys one after the other; those of package kb have names.
func (b *Tab) Press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
	}
}

// Focus says what has it.
func (b *Tab) Focus() string {
	b.t.Helper()
	return Eval[string](b, `(() => { const e = document.activeElement; return e.tagName + "#" + e.id + " " + (e.dataset?.node ?? e.dataset?.action ?? "") })()`)
}

// Shot keeps a picture of what is in the window in OASIS6_SHOTS, where a person or CI looks at it.
func (b *Tab) Shot(name string) { b.t.Helper(); b.keep(name, chromedp.CaptureScreenshot()) }

// Long is Shot for the whole page.
func (b *Tab) Long(name string) { b.t.Helper(); b.keep(name, chromedp.FullScreenshot(100)) }

func (b *Tab) keep(name string, capture chromedp.Action[[]byte]) {
	b.t.Helper()
	dir := os.Getenv("OASIS6_SHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
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
