// SPDX-License-Identifier: MIT

package page

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browser is one tab of a headless Chromium that shows the page over src. What its console says is an
// error of the test.
type browser struct {
	t   *testing.T
	ctx context.Context
	src *fake
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

// live is a page over a world that runs by the wall clock, having run for some seconds, in a window of
// the given size in pixels of CSS.
func live(t *testing.T, width, height int64, features ...emulation.MediaFeature) *browser {
	t.Helper()
	path := chromium(t)
	src := newFake()
	src.advance(9 * time.Second)
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // outlives t.Context, which ends before Cleanup
	var running sync.WaitGroup
	running.Go(func() { src.run(ctx) })
	running.Go(func() {
		if err := Serve(ctx, l, src); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WindowSize(int(width), int(height)))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // Chromium refuses its sandbox to root
	}
	alloc, stop := chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(stop)
	tab, closeTab := chromedp.NewContext(alloc)
	t.Cleanup(closeTab)
	b := &browser{t, tab, src}
	// Starts the browser, which lives as long as this context: it must be none with a timeout.
	if err := chromedp.Do(tab, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	b.listen()
	b.do(chromedp.EmulateViewport(width, height), media(features),
		chromedp.Navigate("http://"+l.Addr().String()+"/"),
		chromedp.WaitReady(chromedp.CSS(`body[data-ready="yes"]`)))
	b.wait(`!document.getElementById("timecontrols").hidden`) // the first state is there
	return b
}

func media(features []emulation.MediaFeature) chromedp.Action[chromedp.Void] {
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
			switch m.Type {
			case chromedp.ConsoleError, chromedp.ConsoleWarning, chromedp.ConsoleException:
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

// wait until a JavaScript expression is true.
func (b *browser) wait(expr string) {
	b.t.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(30 * time.Millisecond) {
		if eval[bool](b, "(async () => Boolean("+expr+"))()") {
			return
		}
		if time.Now().After(end) {
			b.shot("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
			b.t.Fatalf("not true within 15 s: %s\nfocus: %s", expr, b.focus())
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
