// SPDX-License-Identifier: MIT

package lab

import (
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"oasis6/lab/page"
)

// tab is the page of a running world in a headless Chromium. What its console says is an error of the test.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string
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

// openWorld runs a world with its page and opens that.
func openWorld(t *testing.T, w *World) *tab {
	t.Helper()
	path := chromium(t)
	l, err := page.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // outlives t.Context, which ends before Cleanup
	var running sync.WaitGroup
	src := NewSource(w)
	running.Go(func() { w.Run(ctx) })
	running.Go(func() {
		if err := page.Serve(ctx, l, src); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // Chromium refuses its sandbox to root
	}
	alloc, stop := chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(stop)
	at, closeTab := chromedp.NewContext(alloc)
	t.Cleanup(closeTab)
	b := &tab{t: t, ctx: at, url: "http://" + l.Addr().String() + "/"}
	// Opens the tab, which lives as long as this context: it must be none with a timeout.
	if err := chromedp.Do(at, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	b.listen()
	b.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(b.url), chromedp.WaitReady(chromedp.CSS(`body[data-ready="yes"]`)))
	return b
}

func (b *tab) listen() {
	messages := chromedp.Console(b.ctx)
	var listening sync.WaitGroup
	listening.Go(func() {
		for m, err := range messages {
			if err != nil {
				return // the tab is closed
			}
			if slices.Contains([]chromedp.ConsoleType{chromedp.ConsoleError, chromedp.ConsoleWarning, chromedp.ConsoleException}, m.Type) {
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
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// wait until a JavaScript expression is true.
func (b *tab) wait(expr string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	for end := time.Now().Add(40 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("(async () => Boolean("+expr+"))()", chromedp.EvalAwaitPromise))
		if ok && err == nil {
			return
		}
		if time.Now().After(end) {
			b.shot("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
			b.t.Fatalf("not true within 40 s: %s (%v)", expr, err)
		}
	}
}

// text is the value of a JavaScript expression.
func (b *tab) text(expr string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[string](expr, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expr, err)
	}
	return v
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// run executes JavaScript whose value is of no interest.
func (b *tab) run(expr string) { b.t.Helper(); b.text("(" + expr + `, "")`) }

// shot keeps a picture of the window in OASIS6_SHOTS, where a person or CI looks at it.
func (b *tab) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("OASIS6_SHOTS")
	if dir == "" {
		dir = b.t.TempDir()
	}
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatalf("screenshot %s: %v", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// shown says whether the host that is open has an address with both texts.
func shown(prefix, state string) string {
	return `[...document.querySelectorAll("#inspectorbody .address")].some((x) => x.textContent.includes("` + prefix + `") && x.textContent.includes("` + state + `"))`
}

// The page over the true world: what issue 7 asks of it.
func TestPageOfTheWorld(t *testing.T) {
	w := newTestWorld(t, Options{Seed: 1})
	b := openWorld(t, w)
	for _, n := range w.nodes {
		b.wait(`document.querySelector('.node[data-node="` + n.ID + `"]')?.getBoundingClientRect().width > 20`)
	}
	b.wait(`document.querySelectorAll(".step.s-passed").length === ` + b.text(`String(document.querySelectorAll("#steps .step").length)`))
	b.wait(`document.querySelector(".pipe").getAttribute("class") === "pipe s-up"`)
	b.wait(`document.querySelectorAll("#packetlist .row").length > 20`)
	b.wait(`document.querySelector('.node[data-node="nat2"] .table .cell')`)
	b.shot("world")

	b.seesWalk()
	b.run(`document.querySelector('[data-lesson="address-plan"] summary').click()`)
	b.run(`document.querySelector('[data-lesson="address-plan"] button').click()`)
	b.wait(`document.querySelector('[data-lesson="address-plan"]').classList.contains("started")`)
	b.click(`.node[data-node="h1"]`)
	b.wait(`document.querySelector("#h-inspector").textContent === "h1"`)
	b.wait(shown("2001:db8:ebbd:9900", "RA of r1"))
	b.click(`[data-action="renumber"]`)
	b.wait(shown("2001:db8:ebbd:aa00", "RA of r1"))
	b.wait(shown("2001:db8:ebbd:9900", "deprecated"))
	b.shot("world-renumbered")
	b.click(`.node[data-node="h2"]`)
	b.wait(`document.querySelector("#h-inspector").textContent === "h2"`)
	b.wait(shown("2001:db8:ebbd:aa00", "RA of r1"))
	b.wait(shown("2001:db8:ebbd:9900", "deprecated"))
	b.wait(`document.querySelector('[data-lesson="address-plan"]').classList.contains("passed")`)
	b.shot("world-lesson")
	b.downloads()
}

// seesWalk follows a ping through the tunnel.
func (b *tab) seesWalk() {
	b.t.Helper()
	b.run(`fetch("/api/do", {method: "POST", headers: {"Content-Type": "application/json"}, body: '{"action":"ping","target":"h1","arg":"v6"}'})`)
	const row = `[...document.querySelectorAll("#packetlist .row")].filter((x) => x.textContent.includes("h1 → br-lan") && /echo request/i.test(x.textContent)).at(-1)`
	b.wait(row)
	b.wait(`document.querySelector("#timeline").textContent.includes("answered in")`) // it has gone all its way
	b.run(row + `.click()`)
	b.wait(`document.querySelector(".where").textContent.includes("hop 1 of 8")`)
	layers := func(want string) {
		b.t.Helper()
		b.wait(`[...document.querySelectorAll(".onion .lname")].map((x) => x.textContent).join(" ").startsWith("` + want + `")`)
		b.wait(`document.querySelector(".decision").textContent.length > 20`)
	}
	layers("Ethernet IPv6 ICMPv6")
	b.do(chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight))
	b.wait(`document.querySelector(".where").textContent.includes("hop 3 of 8")`)
	layers("Ethernet IPv4 UDP WireGuard Data IPv6 ICMPv6 Echo Request")
	b.shot("world-walk")
	b.do(chromedp.KeyEvent(kb.Escape))
}

// downloads reads two captures with another program.
func (b *tab) downloads() {
	b.t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("OASIS6_REQUIRE_NETNS") == "1" {
			b.t.Fatal("needs tshark (apt-get install tshark)")
		}
		b.t.Log("the captures are not read: no tshark in PATH (apt-get install tshark)")
		return
	}
	for _, c := range []struct{ wire, keys, want string }{
		{"lan-h1", "0", "Router Advertisement"}, {"wan", "1", "DHCPv6"}, {"wan", "0", "WireGuard"}, {"tunnel-r1", "0", "DHCPv6"},
	} {
		b.wait(`document.querySelector('#captures [data-wire="` + c.wire + `"]')`)
		// As the browser does it, but into the test's hands.
		coded := b.text(`fetch("/api/pcap?wire=` + c.wire + `&keys=` + c.keys + `").then((r) => r.ok ? r.bytes() : Promise.reject(r.status)).then((x) => [...x].map((o) => String.fromCharCode(o)).join("")).then(btoa)`)
		data, err := base64.StdEncoding.DecodeString(coded)
		if err != nil {
			b.t.Fatal(err)
		}
		path := filepath.Join(b.t.TempDir(), "capture.pcapng")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			b.t.Fatal(err)
		}
		out, err := exec.Command(tshark, "-r", path).Output()
		if err != nil || !strings.Contains(string(out), c.want) {
			b.t.Errorf("capture of %s, keys %s: %v, no %q in %d lines", c.wire, c.keys, err, c.want, strings.Count(string(out), "\n"))
		}
	}
}
