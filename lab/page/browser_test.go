// SPDX-License-Identifier: MIT

package page

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp/kb"
)

func TestPageShowsTheWorld(t *testing.T) {
	b := live(t, 1440, 900)
	for _, n := range b.src.World().Nodes {
		b.wait(`document.querySelector('.node[data-node="` + n.ID + `"]')?.getBoundingClientRect().width > 20`)
	}
	b.wait(`document.querySelector('.pipe').getAttribute("class") === "pipe s-up"`)
	b.wait(`document.querySelectorAll('.node[data-node="nat1"] .table .cell').length === 2`)
	b.wait(`/^\d+ s$/.test(document.querySelector('.node[data-node="nat1"] .left').textContent)`)
	b.wait(`document.querySelectorAll('.step.s-passed').length === 5`)
	b.wait(`document.querySelectorAll('#packetlist .row').length > 20`)
	b.wait(`document.querySelectorAll('#timeline li').length >= 4`)
	b.wait(`document.querySelector('.dot')`)
	if got := eval[string](b, `document.querySelector("#prefixes .tree .tree .tree .own").textContent`); got != "08" {
		t.Errorf("what 2001:db8:ebbd:9908::/64 adds to its /56 is shown as %q, want 08", got)
	}
	if got := eval[string](b, `document.title`); got != "oasis6 demo: Split tunnel" {
		t.Errorf("title %q", got)
	}
	if got := eval[string](b, `document.getElementById("seed").textContent`); got != "seed 9223372036854775814" {
		t.Errorf("%q: a seed beyond 2^53 has lost digits", got)
	}
	b.shot("light")
}

func TestRenumberIsSeen(t *testing.T) {
	b := live(t, 1440, 900)
	b.click(`.node[data-node="h1"]`)
	b.wait(`document.querySelector("#h-inspector").textContent === "h1"`)
	b.wait(`document.querySelectorAll("#inspectorbody .address").length === 3`)
	b.click(`[data-action="renumber"]`)
	b.wait(`[...document.querySelectorAll("#inspectorbody .address")].some((x) => x.textContent.includes("990a:5f2c") && x.textContent.includes("deprecated"))`)
	b.wait(`[...document.querySelectorAll("#inspectorbody .address")].some((x) => x.textContent.includes("aa0a:5f2c") && x.textContent.includes("from RA of r1"))`)
	b.wait(`document.querySelector('.node[data-node="h1"] .pip.a-deprecated') && document.querySelector('.node[data-node="h2"] .pip.a-deprecated')`)
	b.wait(`document.querySelector("#prefixes .x-stale")`)
	b.wait(`document.querySelector("#timeline .l-user")`)
	b.wait(`document.querySelector("#doneline").textContent === "Done: Renumber"`)
	b.shot("renumbered")
}

func TestActionAsksForItsTarget(t *testing.T) {
	b := live(t, 1440, 900)
	b.press("c")
	b.wait(`document.querySelector("#ask[open]")`)
	b.press(kb.ArrowDown, kb.Enter)
	b.wait(`document.querySelector(".wire.down .wirenote text")?.textContent === "unplugged"`)
	b.wait(`document.querySelector('[data-action="unplug"]').getAttribute("aria-pressed") === "true"`)
	if want := "[{unplug wan }]"; b.did() != want {
		t.Errorf("the world was told %s, want %s", b.did(), want)
	}
	b.wait(`document.querySelector(".pipe.s-connecting")`)
	b.shot("unplugged")
	b.press("c")
	b.wait(`document.querySelector("#ask[open]")`)
	b.press(kb.Escape)
	b.wait(`!document.querySelector("#ask[open]")`)
	if want := "[{unplug wan }]"; b.did() != want {
		t.Errorf("after a cancelled question the world was told %s, want %s", b.did(), want)
	}
}

func TestPacketWalkOpens(t *testing.T) {
	b := live(t, 1440, 900)
	b.press(" ", "p") // pause, so that the list stands still
	b.wait(`document.body.classList.contains("paused")`)
	b.wait(`document.activeElement.id === "packetlist" && document.querySelector('.row[aria-selected="true"]')`)
	// The echo request that went through: from its first frame.
	b.run(`[...document.querySelectorAll(".row")].filter((x) => /request/i.test(x.textContent) && x.textContent.includes("h1 → br-lan")).at(-1).click()`)
	b.wait(`document.querySelector("#h-inspector").textContent === "Packet walk"`)
	b.wait(`document.querySelector(".where").textContent.includes("hop 1 of 8")`)
	layers := `[...document.querySelectorAll(".onion .lname")].map((x) => x.textContent).join(" ")`
	if got := eval[string](b, layers); !strings.HasPrefix(got, "Ethernet IPv6 ICMPv6") {
		t.Errorf("the first hop's layers are %q", got)
	}
	b.press(kb.ArrowRight, kb.ArrowRight)
	b.wait(`document.querySelector(".where").textContent.includes("hop 3 of 8")`)
	if got := eval[string](b, layers); !strings.HasPrefix(got, "Ethernet IPv4 UDP WireGuard Data IPv6 ICMPv6") {
		t.Errorf("the third hop's layers are %q", got)
	}
	b.press(kb.ArrowRight)
	b.wait(`[...document.querySelectorAll(".field.changed")].some((x) => x.textContent.includes("192.0.2.66") && x.textContent.includes("198.51.100.2"))`)
	b.wait(`document.querySelector(".decision").textContent.includes("203.0.113.2:61234") && document.querySelector(".decision .rfc").textContent === "RFC 4787 section 4.1"`)
	b.wait(`document.querySelectorAll(".wire.shown").length === 1`)
	b.wait(`scrollY === 0`) // stepping has brought the map into sight
	b.shot("walk")
	b.press(kb.Escape)
	b.wait(`document.querySelector("#h-inspector").textContent === "Look closer" && document.activeElement.id === "packetlist"`)
}

func TestFilterHidesAKind(t *testing.T) {
	b := live(t, 1440, 900)
	rows := `document.querySelectorAll("#packetlist .row .f-wg").length`
	b.wait(rows + ` > 3`)
	b.click(`[data-family="wg"]`)
	b.wait(rows + ` === 0 && document.querySelectorAll("#packetlist .row").length > 3`)
	b.run(`document.getElementById("packetwire").value = "lan-h1", document.getElementById("packetwire").dispatchEvent(new Event("change"))`)
	b.wait(`[...document.querySelectorAll("#packetlist .way")].every((x) => x.title === "h1's cable")`)
}

func TestLessonIsPassed(t *testing.T) {
	b := live(t, 1440, 900)
	b.wait(`document.querySelector("#score").textContent === "1 of 7 passed"`)
	b.click(`[data-lesson="renumbering"] summary`)
	b.click(`[data-lesson="renumbering"] button`)
	b.wait(`document.querySelector('[data-lesson="renumbering"]').classList.contains("started")`)
	b.press("r")
	b.wait(`document.querySelector('[data-lesson="renumbering"]').classList.contains("passed")`)
	b.wait(`document.querySelector("#score").textContent === "2 of 7 passed"`)
	b.wait(`document.querySelector("#live").textContent === "Lesson passed: When the prefix changes"`)
}

func TestTimeIsCommanded(t *testing.T) {
	b := live(t, 1440, 900)
	b.press(" ")
	b.wait(`document.body.classList.contains("paused")`)
	before := eval[string](b, `document.getElementById("now").textContent`)
	time.Sleep(300 * time.Millisecond)
	if after := eval[string](b, `document.getElementById("now").textContent`); after != before {
		t.Errorf("paused, the clock went from %s to %s", before, after)
	}
	b.press(".")
	b.wait(`document.getElementById("now").textContent !== "` + before + `"`)
	b.press("+")
	b.wait(`document.getElementById("speedtext").textContent === "×2"`)
	b.press("-", " ")
	b.wait(`document.getElementById("speedtext").textContent === "×1" && !document.body.classList.contains("paused")`)
}

// The keyboard alone reaches everything: Tab comes by each part, arrows move inside.
func TestKeyboardReachesAll(t *testing.T) {
	b := live(t, 1440, 900)
	seen := map[string]bool{}
	for range 80 {
		b.press(kb.Tab)
		at := b.focus()
		seen[strings.TrimSpace(at)] = true
		for _, part := range []string{"pause", "speed", "size", "theme", "helpbutton", "packetlist", "packetwire", "timeline", "withkeys"} {
			if strings.Contains(at, "#"+part+" ") {
				seen[part] = true
			}
		}
		for part, selector := range map[string]string{"map": ".node", "legend": ".kind", "actions": ".action", "lesson": ".lesson summary", "capture": "#captures a"} {
			if eval[bool](b, `Boolean(document.activeElement.closest("`+selector+`"))`) {
				seen[part] = true
			}
		}
		if !eval[bool](b, `document.activeElement === document.body || document.activeElement.matches(":focus-visible")`) {
			t.Errorf("focus is not seen at %s", at)
		}
	}
	for _, want := range []string{"pause", "speed", "size", "theme", "helpbutton", "map", "legend", "actions", "packetlist", "packetwire", "timeline", "lesson", "withkeys", "capture"} {
		if !seen[want] {
			t.Errorf("Tab does not come by %s", want)
		}
	}
	b.wait(`document.activeElement.blur() || document.activeElement === document.body`)
	arrowsReachAll(b)
	b.press("m", kb.Enter)
	b.wait(`document.activeElement.id === "h-inspector"`)
	b.press(kb.Escape)
	b.wait(`document.activeElement.closest(".node")`)
	b.press("?")
	b.wait(`document.querySelector("#help[open]")`)
	b.shot("help")
	b.press(kb.Escape)
	b.wait(`!document.querySelector("#help[open]")`)
}

// arrowsReachAll follows the arrows from each node: every node is reached from the first one.
func arrowsReachAll(b *browser) {
	b.t.Helper()
	b.press("m")
	b.wait(`document.activeElement.closest(".node")`)
	at := `document.activeElement.dataset.node`
	todo := []string{eval[string](b, at)}
	reached := map[string]bool{todo[0]: true}
	for len(todo) > 0 {
		from := todo[0]
		todo = todo[1:]
		for _, arrow := range []string{kb.ArrowRight, kb.ArrowLeft, kb.ArrowUp, kb.ArrowDown} {
			b.run(`document.querySelector('.node[data-node="` + from + `"]').focus()`)
			b.press(arrow)
			if to := eval[string](b, at); !reached[to] {
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

func TestPhone(t *testing.T) {
	b := live(t, 360, 740)
	b.wait(`document.querySelectorAll("#packetlist .row").length > 5`)
	b.run(`document.querySelectorAll("#packetlist .row")[2].click()`)
	b.wait(`document.querySelector(".onion")`)
	wide := `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest("svg, .sr, .skip")).map((e) => e.tagName + "." + e.className).slice(0, 5).join(" ")`
	if got := eval[int](b, `document.documentElement.scrollWidth`); got > 360 {
		t.Errorf("the page is %d wide at 360: %s", got, eval[string](b, wide))
	}
	for _, n := range b.src.World().Nodes {
		if !eval[bool](b, `(() => { const r = document.querySelector('.node[data-node="`+n.ID+`"] .box').getBoundingClientRect(); return r.left >= 0 && r.right <= 360 })()`) {
			t.Errorf("node %s is not within 360 pixels", n.ID)
		}
	}
	b.long("phone")
}

func TestDarkLargeAndStill(t *testing.T) {
	b := live(t, 1440, 900, emulation.MediaFeature{Name: "prefers-color-scheme", Value: "dark"}, emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
	ground := `getComputedStyle(document.body).backgroundColor`
	b.wait(ground + ` === "rgb(21, 18, 14)"`)
	b.wait(`document.querySelector('.dot[visibility="visible"]')`)
	// Without motion a dot stands where it is.
	place := `document.querySelector('.dot[visibility="visible"]')?.getAttribute("transform")`
	b.wait(`(() => { const a = ` + place + `; const e = document.querySelector('.dot[visibility="visible"]'); return a && new Promise((ok) => setTimeout(() => ok(!e.isConnected || e.getAttribute("transform") === a), 200)) })()`)
	b.run(`[...document.querySelectorAll(".row")].filter((x) => x.textContent.includes("Advertisement")).at(-1).click()`)
	b.wait(`document.querySelector(".onion")`)
	b.shot("dark")
	b.press("t", "l")
	b.wait(ground + ` === "rgb(246, 240, 230)"`)
	b.wait(`getComputedStyle(document.documentElement).fontSize === "21px"`)
	if got := eval[int](b, `document.documentElement.scrollWidth`); got > 1440 {
		t.Errorf("with large type the page is %d wide at 1440", got)
	}
	b.shot("large")
	b.press("t")
	b.wait(ground + ` === "rgb(21, 18, 14)"`)
}
