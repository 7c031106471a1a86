// SPDX-License-Identifier: MIT

package page

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"oasis6/lab/page/pagetest"
)

// All look at the same Chromium, each through a tab of its own and at a world of its own.
func TestPage(t *testing.T) {
	chrome := pagetest.Start(t)
	for _, c := range []struct {
		name          string
		width, height int64
		test          func(*browser)
	}{
		{"PageShowsTheWorld", 1440, 900, testPageShowsTheWorld},
		{"RenumberIsSeen", 1440, 900, testRenumberIsSeen},
		{"ActionAsksForItsTarget", 1440, 900, testActionAsksForItsTarget},
		{"DialogsSayNoNull", 1440, 900, testDialogsSayNoNull},
		{"PacketWalkOpens", 1440, 900, testPacketWalkOpens},
		{"FilterHidesAKind", 1440, 900, testFilterHidesAKind},
		{"LessonIsPassed", 1440, 900, testLessonIsPassed},
		{"LessonSaysWhyNot", 1440, 900, testLessonSaysWhyNot},
		{"TimeIsCommanded", 1440, 900, testTimeIsCommanded},
		{"KeyboardReachesAll", 1440, 900, testKeyboardReachesAll},
		{"Phone", 360, 740, testPhone},
		{"DarkLargeAndStill", 1440, 900, testDarkLargeAndStill},
		{"NoWidthScrollsSideways", 320, 640, testNoWidthScrollsSideways},
		{"CapturesAreOffered", 1440, 900, testCapturesAreOffered},
		{"PageComesBack", 1440, 900, testPageComesBack},
		{"TextsOfTimesAndAddresses", 800, 600, testTextsOfTimesAndAddresses},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(openPage(chrome, t, newFake(), c.width, c.height)) })
	}
}

// A world that can do nothing is shown, too: what is empty in Go is null in JSON.
func TestBareWorldIsShown(t *testing.T) {
	src := newFake()
	src.bare = true
	b := openPage(pagetest.Start(t), t, src, 800, 600)
	b.Wait(`document.querySelectorAll(".node").length === 2 && document.querySelector("#lost").hidden && document.querySelectorAll("#packetlist .row").length > 5`)
	b.Click(`.node[data-node="h1"]`)
	b.Wait(`document.querySelector("#h-inspector").textContent === "h1"`)
	b.Wait(`!document.querySelector("#realtime").hidden && document.querySelector("#timecontrols").hidden`)
	b.Press("?")
	b.Wait(`document.querySelector("#help[open]")`)
	if pagetest.Eval[bool](b.Tab, null) {
		b.t.Errorf("the help of a world with one scenario is %q", pagetest.Eval[string](b.Tab, `document.querySelector("#help").textContent`))
	}
}

func testPageShowsTheWorld(b *browser) {
	for _, n := range b.src.World().Nodes {
		b.Wait(`document.querySelector('.node[data-node="` + n.ID + `"]')?.getBoundingClientRect().width > 20`)
	}
	b.Wait(`document.querySelector('.pipe').getAttribute("class") === "pipe s-up"`)
	b.Wait(`document.querySelectorAll('.node[data-node="nat1"] .table .cell').length === 2`)
	b.Wait(`/^\d+ s$/.test(document.querySelector('.node[data-node="nat1"] .left').textContent)`)
	b.Wait(`["preferred", "deprecated", "tentative", "duplicate"].every((x) => [...document.querySelectorAll(".addrkey span")].some((e) => e.textContent.trim() === x && e.querySelector(".pip.a-" + x)))`)
	b.Wait(`document.querySelectorAll('.step.s-passed').length === 5`)
	b.Wait(`document.querySelectorAll('#packetlist .row').length > 20`)
	b.Wait(`document.querySelectorAll('#timeline li').length >= 4`)
	b.Wait(`document.querySelector('.dot')`)
	if got := pagetest.Eval[string](b.Tab, `document.querySelector("#prefixes .tree .tree .tree .own").textContent`); got != "08" {
		b.t.Errorf("what 2001:db8:ebbd:9908::/64 adds to its /56 is shown as %q, want 08", got)
	}
	if got := pagetest.Eval[string](b.Tab, `document.title`); got != "oasis6 demo: Split tunnel" {
		b.t.Errorf("title %q", got)
	}
	if got := pagetest.Eval[string](b.Tab, `document.getElementById("seed").textContent`); got != "seed 9223372036854775814" {
		b.t.Errorf("%q: a seed beyond 2^53 has lost digits", got)
	}
	b.Shot("light")
}

func testRenumberIsSeen(b *browser) {
	b.Click(`.node[data-node="h1"]`)
	b.Wait(`document.querySelector("#h-inspector").textContent === "h1"`)
	b.Wait(`document.querySelectorAll("#inspectorbody .address").length === 3`)
	b.Click(`[data-action="renumber"]`)
	b.Wait(`[...document.querySelectorAll("#inspectorbody .address")].some((x) => x.textContent.includes("990a:5f2c") && x.textContent.includes("deprecated"))`)
	b.Wait(`[...document.querySelectorAll("#inspectorbody .address")].some((x) => x.textContent.includes("aa0a:5f2c") && x.textContent.includes("from RA of r1"))`)
	b.Wait(`document.querySelector('.node[data-node="h1"] .pip.a-deprecated') && document.querySelector('.node[data-node="h2"] .pip.a-deprecated')`)
	b.Wait(`document.querySelector("#prefixes .x-stale")`)
	b.Wait(`document.querySelector("#timeline .l-user")`)
	b.Wait(`document.querySelector("#doneline").textContent === "Done: Renumber"`)
	b.Shot("renumbered")
}

func testActionAsksForItsTarget(b *browser) {
	b.Press("c")
	b.Wait(`document.querySelector("#ask[open]")`)
	b.Press(kb.ArrowDown, kb.Enter)
	b.Wait(`document.querySelector(".wirenote.bad text")?.textContent === "unplugged"`)
	b.Wait(`document.querySelector('[data-action="unplug"]').getAttribute("aria-pressed") === "true"`)
	if want := "[{unplug wan }]"; b.did() != want {
		b.t.Errorf("the world was told %s, want %s", b.did(), want)
	}
	b.Wait(`document.querySelector(".pipe.s-connecting")`)
	b.Wait(`document.querySelector("#doneline").textContent === "Done: wan is pulled"`)
	b.Shot("unplugged")
	b.Press("c")
	b.Wait(`document.querySelector("#ask[open]")`)
	if got := pagetest.Eval[string](b.Tab, `[...document.querySelectorAll("#ask label")].filter((x) => x.querySelector(".bad")).map((x) => x.textContent.trim()).join(", ")`); got != "the box's WAN sidepulled" {
		b.t.Errorf("the question marks %q as pulled", got)
	}
	b.Press(kb.Escape)
	b.Wait(`!document.querySelector("#ask[open]")`)
	if want := "[{unplug wan }]"; b.did() != want {
		b.t.Errorf("after a cancelled question the world was told %s, want %s", b.did(), want)
	}
}

// null is what a script writes where it has nothing to say.
const null = `/null|undefined/.test(document.querySelector("dialog[open]").textContent)`

// What a button or the world does not have is left out of the dialogs.
func testDialogsSayNoNull(b *browser) {
	for _, x := range b.src.World().Actions {
		if len(x.Targets) < 2 && len(x.Args) < 2 {
			continue
		}
		b.Run(`document.querySelector('[data-action="` + x.ID + `"]').click()`)
		b.Wait(`document.querySelector("#ask[open]")`)
		if pagetest.Eval[bool](b.Tab, null) {
			b.t.Errorf("%s asks %q", x.Name, pagetest.Eval[string](b.Tab, `document.querySelector("#ask").textContent`))
		}
		b.Run(`document.querySelector('#ask button[value=""]').click()`)
		b.Wait(`!document.querySelector("#ask[open]")`)
	}
}

func testPacketWalkOpens(b *browser) {
	b.Press(" ", "p") // pause, so that the list stands still
	b.Wait(`document.body.classList.contains("paused")`)
	b.Wait(`document.activeElement.id === "packetlist" && document.querySelector('.row[aria-selected="true"]')`)
	// The echo request that went through: from its first frame.
	b.Run(`[...document.querySelectorAll(".row")].filter((x) => /request/i.test(x.textContent) && x.textContent.includes("h1 → br-lan")).at(-1).click()`)
	b.Wait(`document.querySelector("#h-inspector").textContent === "Packet walk"`)
	b.Wait(`document.querySelector(".where").textContent.includes("hop 1 of 8")`)
	layers := `[...document.querySelectorAll(".onion .lname")].map((x) => x.textContent).join(" ")`
	if got := pagetest.Eval[string](b.Tab, layers); !strings.HasPrefix(got, "Ethernet IPv6 ICMPv6") {
		b.t.Errorf("the first hop's layers are %q", got)
	}
	b.Press(kb.ArrowRight, kb.ArrowRight)
	b.Wait(`document.querySelector(".where").textContent.includes("hop 3 of 8")`)
	if got := pagetest.Eval[string](b.Tab, layers); !strings.HasPrefix(got, "Ethernet IPv4 UDP WireGuard Data IPv6 ICMPv6") {
		b.t.Errorf("the third hop's layers are %q", got)
	}
	b.Press(kb.ArrowRight)
	b.Wait(`[...document.querySelectorAll(".field.changed")].some((x) => x.textContent.includes("192.0.2.66") && x.textContent.includes("198.51.100.2"))`)
	b.Wait(`document.querySelector(".decision").textContent.includes("203.0.113.2:61234") && document.querySelector(".decision .rfc").textContent === "RFC 4787 section 4.1"`)
	b.Wait(`document.querySelectorAll(".wire.shown").length === 1 && document.querySelector(".spot .mark.f-wg")`)
	b.Wait(`scrollY === 0`) // stepping has brought the map into sight
	b.Shot("walk")
	b.Press(kb.Escape)
	b.Wait(`document.querySelector("#h-inspector").textContent === "Look closer" && document.activeElement.id === "packetlist"`)
}

func testFilterHidesAKind(b *browser) {
	rows := `document.querySelectorAll("#packetlist .row .f-wg").length`
	b.Wait(rows + ` > 3`)
	b.Click(`[data-family="wg"]`)
	b.Wait(rows + ` === 0 && document.querySelectorAll("#packetlist .row").length > 3`)
	b.Run(`document.getElementById("packetwire").value = "lan-h1", document.getElementById("packetwire").dispatchEvent(new Event("change"))`)
	b.Wait(`[...document.querySelectorAll("#packetlist .way")].every((x) => x.title === "h1's cable")`)
}

func testLessonIsPassed(b *browser) {
	b.Wait(`document.querySelector("#score").textContent === "1 of 7 passed"`)
	b.Click(`[data-lesson="renumbering"] summary`)
	b.Click(`[data-lesson="renumbering"] button`)
	b.Wait(`document.querySelector('[data-lesson="renumbering"]').classList.contains("started")`)
	b.Press("r")
	b.Wait(`document.querySelector('[data-lesson="renumbering"]').classList.contains("passed")`)
	b.Wait(`document.querySelector("#score").textContent === "2 of 7 passed"`)
	b.Wait(`document.querySelector("#live").textContent === "Lesson passed: When the prefix changes"`)
}

// What a press on Start comes to stands where it was pressed: the line under the buttons is out of sight there.
func testLessonSaysWhyNot(b *browser) {
	b.Mute() // the browser writes refusals into the console
	said := func(lesson string) string {
		return `document.querySelector('[data-lesson="` + lesson + `"] [role=status]')`
	}
	for _, x := range []struct{ lesson, text string }{
		{"redirect", "needs the scenario downstream-router: start oasis6 demo with it"},
		{"dad", "Started: do the task, and the mark above is set when it is done."},
	} {
		b.Run(`document.querySelector('[data-lesson="` + x.lesson + `"] summary').click()`)
		b.Run(`document.querySelector('[data-lesson="` + x.lesson + `"] button').scrollIntoView({ block: "center", behavior: "instant" })`)
		b.Run(`document.querySelector('[data-lesson="` + x.lesson + `"] button').click()`)
		b.Wait(said(x.lesson) + `.textContent === "` + x.text + `"`)
		b.Wait(`((r) => r.top >= 0 && r.bottom <= innerHeight)(` + said(x.lesson) + `.getBoundingClientRect())`)
	}
	b.Wait(said("redirect") + `.classList.contains("bad") && !` + said("dad") + `.classList.contains("bad")`)
	b.Wait(`document.querySelector("#doneline").textContent === ""`)
}

func testTimeIsCommanded(b *browser) {
	b.Press(" ")
	b.Wait(`document.body.classList.contains("paused")`)
	before := pagetest.Eval[string](b.Tab, `document.getElementById("now").textContent`)
	time.Sleep(300 * time.Millisecond)
	if after := pagetest.Eval[string](b.Tab, `document.getElementById("now").textContent`); after != before {
		b.t.Errorf("paused, the clock went from %s to %s", before, after)
	}
	b.Press(".")
	b.Wait(`document.getElementById("now").textContent !== "` + before + `"`)
	b.Press("+")
	b.Wait(`document.getElementById("speedtext").textContent === "×2"`)
	b.Press("-", " ")
	b.Wait(`document.getElementById("speedtext").textContent === "×1" && !document.body.classList.contains("paused")`)
}

// The keyboard alone reaches everything: Tab comes by each part, arrows move inside.
func testKeyboardReachesAll(b *browser) {
	seen := map[string]bool{}
	for range 80 {
		b.Press(kb.Tab)
		at := b.Focus()
		seen[strings.TrimSpace(at)] = true
		for _, part := range []string{"pause", "speed", "size", "theme", "helpbutton", "packetlist", "packetwire", "timeline", "withkeys"} {
			if strings.Contains(at, "#"+part+" ") {
				seen[part] = true
			}
		}
		for part, selector := range map[string]string{"map": ".node", "legend": ".kind", "actions": ".action", "lesson": ".lesson summary", "capture": "#captures a"} {
			if pagetest.Eval[bool](b.Tab, `Boolean(document.activeElement.closest("`+selector+`"))`) {
				seen[part] = true
			}
		}
		if !pagetest.Eval[bool](b.Tab, `document.activeElement === document.body || document.activeElement.matches(":focus-visible")`) {
			b.t.Errorf("focus is not seen at %s", at)
		}
	}
	for _, want := range []string{"pause", "speed", "size", "theme", "helpbutton", "map", "legend", "actions", "packetlist", "packetwire", "timeline", "lesson", "withkeys", "capture"} {
		if !seen[want] {
			b.t.Errorf("Tab does not come by %s", want)
		}
	}
	b.Wait(`document.activeElement.blur() || document.activeElement === document.body`)
	arrowsReachAll(b)
	b.Press("m", kb.Enter)
	b.Wait(`document.activeElement.id === "h-inspector"`)
	b.Press(kb.Escape)
	b.Wait(`document.activeElement.closest(".node")`)
	b.Press("?")
	b.Wait(`document.querySelector("#help[open]")`)
	b.Shot("help")
	b.Press(kb.Escape)
	b.Wait(`!document.querySelector("#help[open]")`)
}

// arrowsReachAll follows the arrows from each node: every node is reached from the first one.
func arrowsReachAll(b *browser) {
	b.t.Helper()
	b.Press("m")
	b.Wait(`document.activeElement.closest(".node")`)
	at := `document.activeElement.dataset.node`
	todo := []string{pagetest.Eval[string](b.Tab, at)}
	reached := map[string]bool{todo[0]: true}
	for len(todo) > 0 {
		from := todo[0]
		todo = todo[1:]
		for _, arrow := range []string{kb.ArrowRight, kb.ArrowLeft, kb.ArrowUp, kb.ArrowDown} {
			b.Run(`document.querySelector('.node[data-node="` + from + `"]').focus()`)
			b.Press(arrow)
			if to := pagetest.Eval[string](b.Tab, at); !reached[to] {
				reached[to] = true
				todo = append(todo, to)
			}
		}
	}
	for _, n := range b.src.World().Nodes {
		if !reached[n.ID] {
			b.t.Errorf("arrows do not come by %s", n.ID)
		}
	}
}

func testPhone(b *browser) {
	b.Wait(`document.querySelectorAll("#packetlist .row").length > 5`)
	b.Run(`document.querySelectorAll("#packetlist .row")[2].click()`)
	b.Wait(`document.querySelector(".onion")`)
	b.Fits("on a phone")
	for _, n := range b.src.World().Nodes {
		if !pagetest.Eval[bool](b.Tab, `(() => { const r = document.querySelector('.node[data-node="`+n.ID+`"] .box').getBoundingClientRect(); return r.left >= 0 && r.right <= 360 })()`) {
			b.t.Errorf("node %s is not within 360 pixels", n.ID)
		}
	}
	b.Long("phone")
}

func testDarkLargeAndStill(b *browser) {
	b.Media(map[string]string{"prefers-color-scheme": "dark", "prefers-reduced-motion": "reduce"})
	ground := `getComputedStyle(document.body).backgroundColor`
	b.Wait(ground + ` === "rgb(21, 18, 14)"`)
	b.Wait(`document.querySelector('.dot[visibility="visible"]')`)
	// Without motion a dot stands where it is.
	place := `document.querySelector('.dot[visibility="visible"]')?.getAttribute("transform")`
	b.Wait(`(() => { const a = ` + place + `; const e = document.querySelector('.dot[visibility="visible"]'); return a && new Promise((ok) => setTimeout(() => ok(!e.isConnected || e.getAttribute("transform") === a), 200)) })()`)
	b.Run(`[...document.querySelectorAll(".row")].filter((x) => x.textContent.includes("Advertisement")).at(-1).click()`)
	b.Wait(`document.querySelector(".onion")`)
	b.Shot("dark")
	b.Press("t", "l")
	b.Wait(ground + ` === "rgb(246, 240, 230)"`)
	b.Wait(`getComputedStyle(document.documentElement).fontSize === "21px"`)
	b.Fits("with large type")
	b.Shot("large")
	b.Press("t")
	b.Wait(ground + ` === "rgb(21, 18, 14)"`)
}

// split are the parts of addresses, between two colons, that are on more than one line.
const split = `[...document.querySelectorAll(".step .addr, #timeline .addr")].flatMap((e) => [...e.childNodes]).filter((x) => {
  const r = document.createRange();
  r.selectNode(x);
  return x.nodeType === Node.TEXT_NODE && new Set([...r.getClientRects()].map((b) => Math.round(b.top))).size > 1;
}).map((x) => x.textContent).join(" ")`

func testNoWidthScrollsSideways(b *browser) {
	b.Wait(`document.querySelector(".step .addr wbr")?.parentElement.textContent === "2001:db8:ebbd:990a::/64"`)
	for _, width := range []int64{320, 360, 414, 600, 740, 820, 1024, 1201, 1280, 1920} {
		b.Size(width, 900)
		b.Wait(`document.querySelector(".world")?.getBoundingClientRect().width <= innerWidth`)
		b.Fits(fmt.Sprintf("at %d", width))
		if broken := pagetest.Eval[string](b.Tab, split); broken != "" {
			b.t.Errorf("at %d an address goes on in the next line amid its digits: %s", width, broken)
		}
		if width == 820 || width == 1920 {
			b.Shot(fmt.Sprintf("width-%d", width))
		}
	}
}

func testCapturesAreOffered(b *browser) {
	get := `fetch(document.querySelector('#captures a[data-wire="wan"]').href).then((r) => r.text())`
	if got, want := pagetest.Eval[string](b.Tab, get), "pcapng of wan, keys false"; got != want {
		b.t.Errorf("the link gives %q, want %q", got, want)
	}
	b.Click("#withkeys")
	if got, want := pagetest.Eval[string](b.Tab, get), "pcapng of wan, keys true"; got != want {
		b.t.Errorf("with keys the link gives %q, want %q", got, want)
	}
	if got, want := pagetest.Eval[int](b.Tab, `document.querySelectorAll("#captures a").length`), len(b.src.World().Wires); got != want {
		b.t.Errorf("%d links, want one per wire: %d", got, want)
	}
}

// A demo that is started again on its port is another world: the page notices by itself.
func testPageComesBack(b *browser) {
	b.Mute() // the browser writes into the console that it cannot connect
	b.Run(`document.body.dataset.old = "yes"`)
	b.stop()
	b.Wait(`!document.querySelector("#lost").hidden`)
	b.serve()
	b.Wait(`document.body.dataset.ready === "yes" && !document.body.dataset.old`)
	b.Wait(`document.querySelector("#lost").hidden && document.querySelectorAll("#packetlist .row").length > 5`)
}

func testTextsOfTimesAndAddresses(b *browser) {
	for call, want := range map[string]string{
		`clockText(0)`: "00:00:00.0", `clockText(3661.25)`: "01:01:01.2", `clockText(90061.5, 3)`: "1 d 01:01:01.500", `briefClock(61.5)`: "01:01.5", `briefClock(3661.5)`: "01:01:01.5",
		`duration(0.0000004)`: "0 µs", `duration(0.0002)`: "200 µs", `duration(0.0044)`: "4.4 ms", `duration(0.25)`: "250 ms", `duration(9.99)`: "10.0 s", `duration(27)`: "27 s", `duration(2652)`: "44 min 12 s", `duration(5399)`: "1 h 29 min", `duration(183600)`: "2 d 3 h", `duration(undefined)`: "no end",
		`countdown(0.2)`: "1 s", `countdown(-3)`: "0 s", `countdown(59.5)`: "60 s", `briefly(289)`: "5 min", `briefly(99)`: "99 s", `briefly(7200)`: "2 h",
		`octets(12)`: "12 octets", `octets(1234)`: "1.23 kB", `octets(5e9)`: "5.00 GB",
		`shortAddr("192.0.2.10")`: "192.0.2.10", `shortAddr("2001:db8:0:6::80")`: "2001:db8:0:6::80", `shortAddr("2001:db8:ebbd:990a:5f2c:19ff:fe00:10")`: "…:990a:…:10", `shortAddr("2001:db8:ebbd:0a::ffff:12")`: "…:a:…:12",
		`prefixParts("2001:db8:ebbd::/48", undefined).join("|")`:                      "|2001:db8:ebbd|::/48",
		`prefixParts("2001:db8:ebbd:9900::/56", "2001:db8:ebbd::/48").join("|")`:      "2001:db8:ebbd|:99|00::/56",
		`prefixParts("2001:db8:ebbd:990a::/64", "2001:db8:ebbd:9900::/56").join("|")`: "2001:db8:ebbd:99|0a|::/64",
		`prefixParts("2001:db8:ebbd:a::/64", "2001:db8:ebbd::/56").join("|")`:         "2001:db8:ebbd:|a|::/64",
		`prefixParts("2001:db8:ebbd:9908::/62", "2001:db8:ebbd:9900::/56").join("|")`: "2001:db8:ebbd:99|08|::/62",
		`prefixParts("192.0.2.0/24", undefined).join("|")`:                            "|192.0.2.0|/24",
		`seconds("2026-11-23T12:00:01.000200001Z").toFixed(9)`:                        "1.000200001",
		`String(seconds(""))`: "undefined",
		`byUse([{addr: "fe80::1"}, {addr: "2001:db8::1", state: "deprecated"}, {addr: "192.0.2.1"}, {addr: "2001:db8::2", state: "preferred"}, {addr: "fd00::1"}]).map((a) => a.addr).join(" ")`: "2001:db8::2 2001:db8::1 fd00::1 192.0.2.1 fe80::1",
	} {
		if got := pagetest.Eval[string](b.Tab, `import("/static/format.js").then(({briefClock, briefly, byUse, clockText, countdown, duration, octets, prefixParts, seconds, shortAddr}) => `+call+`)`); got != want {
			b.t.Errorf("%s: %q, want %q", call, got, want)
		}
	}
}
