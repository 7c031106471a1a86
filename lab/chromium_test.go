// SPDX-License-Identifier: MIT

package lab

import (
	"context"
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"oasis6/internal/underrace"
	"oasis6/lab/page"
	"oasis6/lab/page/pagetest"
	"oasis6/lab/pcapng/pcapngtest"
)

// tab is the page of a running world.
type tab struct {
	*pagetest.Tab
	t *testing.T
}

// openWorld runs a world with its page and opens that.
func openWorld(t *testing.T, w *World) *tab {
	t.Helper()
	chrome := pagetest.Start(t)
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
	return &tab{chrome.Open(t, "http://"+l.Addr().String()+"/", 1440, 900), t}
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
		b.Wait(`document.querySelector('.node[data-node="` + n.ID + `"]')?.getBoundingClientRect().width > 20`)
	}
	b.Wait(`document.querySelectorAll(".step.s-passed").length === ` + pagetest.Eval[string](b.Tab, `String(document.querySelectorAll("#steps .step").length)`))
	b.Wait(`document.querySelector(".pipe").getAttribute("class") === "pipe s-up"`)
	b.Wait(`document.querySelectorAll("#packetlist .row").length > 20`)
	b.Wait(`["r1", "nat1", "nat2"].every((id) => document.querySelector('.node[data-node="' + id + '"] .table .cell'))`)
	b.Shot("world")

	b.seesWalk()
	b.Run(`document.querySelector('[data-lesson="address-plan"] summary').click()`)
	b.Run(`document.querySelector('[data-lesson="address-plan"] button').click()`)
	b.Wait(`document.querySelector('[data-lesson="address-plan"]').classList.contains("started")`)
	b.Click(`.node[data-node="h1"]`)
	b.Wait(`document.querySelector("#h-inspector").textContent === "h1"`)
	b.Wait(shown("2001:db8:ebbd:9900", "RA of r1"))
	b.Click(`[data-action="renumber"]`)
	b.Wait(shown("2001:db8:ebbd:aa00", "RA of r1"))
	b.Wait(shown("2001:db8:ebbd:9900", "deprecated"))
	b.Shot("world-renumbered")
	b.Click(`.node[data-node="h2"]`)
	b.Wait(`document.querySelector("#h-inspector").textContent === "h2"`)
	b.Wait(shown("2001:db8:ebbd:aa00", "RA of r1"))
	b.Wait(shown("2001:db8:ebbd:9900", "deprecated"))
	b.Wait(`document.querySelector('[data-lesson="address-plan"]').classList.contains("passed")`)
	b.Shot("world-lesson")
	b.downloads()
}

// The same page over wireguard-go: time is real, and says so; packets are opened by the session's keys.
func TestPageOfTheWorldOnWireGuard(t *testing.T) {
	if underrace.Is {
		t.Skip("real time waits for nobody, least of all for the race detector")
	}
	b := openWorld(t, newTestWorld(t, Options{Seed: 1, Link: WG}))
	b.Wait(`document.querySelectorAll(".step.s-passed").length === document.querySelectorAll("#steps .step").length && document.querySelectorAll(".step").length > 3`)
	b.Wait(`!document.querySelector("#realtime").hidden && document.querySelector("#timecontrols").hidden && document.getElementById("link").textContent === "wireguard-go, real time" && document.getElementById("seed").textContent === ""`)
	if got := pagetest.Eval[string](b.Tab, `fetch("/api/pcap?wire=lan-h1").then((r) => r.text()).then((x) => x.match(/scenario [^\0]*/)[0])`); got != "scenario "+scenarioDefault+", link wg" {
		t.Errorf("a capture says of itself %q", got)
	}
	b.seesWalk()
	b.Click(`.node[data-node="r2"]`)
	b.Wait(`document.body.innerText.includes("1 of 1 sites up")`)
	b.Wait(`/handshake \d+ s ago/.test(document.body.textContent)`)
}

// seesWalk follows a ping through the tunnel.
func (b *tab) seesWalk() {
	b.t.Helper()
	b.Run(`fetch("/api/do", {method: "POST", headers: {"Content-Type": "application/json"}, body: '{"action":"ping","target":"h1","arg":"v6"}'})`)
	const row = `[...document.querySelectorAll("#packetlist .row")].filter((x) => x.textContent.includes("h1 → br-lan") && /echo request/i.test(x.textContent)).at(-1)`
	b.Wait(row)
	b.Wait(`document.querySelector("#timeline").textContent.includes("answered in")`) // it has gone all its way
	b.Run(row + `.click()`)
	b.Wait(`document.querySelector(".where").textContent.includes("hop 1 of 8")`)
	layers := func(want string) {
		b.t.Helper()
		b.Wait(`[...document.querySelectorAll(".onion .lname")].map((x) => x.textContent).join(" ").startsWith("` + want + `")`)
		b.Wait(`document.querySelector(".decision").textContent.length > 20`)
	}
	layers("Ethernet IPv6 ICMPv6")
	b.Press(kb.ArrowRight)
	b.Wait(`document.querySelector(".decision").textContent.startsWith("r1 decidesHop limit 64 → 63. The route leads into the tunnel, oasis0. There it is encrypted")`)
	b.Press(kb.ArrowRight)
	b.Wait(`document.querySelector(".where").textContent.includes("hop 3 of 8")`)
	layers("Ethernet IPv4 UDP WireGuard Data IPv6 ICMPv6 Echo Request")
	b.Shot("world-walk")
	b.Press(kb.Escape)
}

// downloads reads two captures with another program.
func (b *tab) downloads() {
	b.t.Helper()
	for _, c := range []struct{ wire, keys, want string }{
		{"lan-h1", "0", "Router Advertisement"}, {"wan", "1", "DHCPv6"}, {"wan", "0", "WireGuard"}, {"tunnel-r1", "0", "DHCPv6"},
	} {
		b.Wait(`document.querySelector('#captures [data-wire="` + c.wire + `"]')`)
		// As the browser does it, but into the test's hands.
		coded := pagetest.Eval[string](b.Tab, `fetch("/api/pcap?wire=`+c.wire+`&keys=`+c.keys+`").then((r) => r.ok ? r.bytes() : Promise.reject(r.status)).then((x) => [...x].map((o) => String.fromCharCode(o)).join("")).then(btoa)`)
		data, err := base64.StdEncoding.DecodeString(coded)
		if err != nil {
			b.t.Fatal(err)
		}
		if out := pcapngtest.Tshark(b.t, data); !strings.Contains(out, c.want) {
			b.t.Errorf("capture of %s, keys %s: no %q in %d lines", c.wire, c.keys, c.want, strings.Count(out, "\n"))
		}
	}
}
