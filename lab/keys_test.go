// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"oasis6/internal/underrace"
	"oasis6/lab/page/pagetest"
)

// Who has no mouse can do all: press each button, choose in what it asks, walk with a packet, take a lesson, stop time.
func TestWorldByKeysAlone(t *testing.T) {
	if underrace.Is {
		t.Skip("it is about the browser's side; TestPageOfTheWorld shows the race detector the other one")
	}
	w := newTestWorld(t, Options{Seed: 1})
	b := openWorld(t, w)
	b.Media(map[string]string{"prefers-reduced-motion": "reduce"})
	b.Wait(`document.querySelectorAll(".step.s-passed").length === document.querySelectorAll("#steps .step").length && document.querySelectorAll(".step").length > 3`)
	b.tabsToAll()
	b.arrowsToAllNodes()
	b.pressesAllButtons(w)
	b.walksByKeys()
	b.learnsByKeys()
	b.commandsTime()
}

// tabsToAll comes by everything that can be used: by Tab, and inside a group of which Tab knows one by arrows.
func (b *tab) tabsToAll() {
	b.t.Helper()
	b.Run(`window.used = new Set(), document.addEventListener("focusin", (e) => used.add(e.target))`)
	n := pagetest.Eval[int](b.Tab, `document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]').length`)
	for range n {
		b.Press(kb.Tab)
		if !pagetest.Eval[bool](b.Tab, `document.activeElement === document.body || document.activeElement.matches(":focus-visible")`) {
			b.t.Errorf("focus is not seen at %s", b.Focus())
		}
		if pagetest.Eval[bool](b.Tab, `Boolean(document.activeElement.closest(".actions, .legend")) && ![...document.activeElement.parentElement.children].every((x) => used.has(x))`) {
			for range pagetest.Eval[int](b.Tab, `document.activeElement.parentElement.children.length`) {
				b.Press(kb.ArrowRight)
			}
		}
	}
	const left = `[...document.querySelectorAll("a[href], button, input, select, summary")].filter((e) => !used.has(e) && e.checkVisibility() && !e.disabled && !e.closest("dialog")).map((e) => e.tagName + "#" + e.id + " " + e.textContent.trim().slice(0, 20)).join(", ")`
	if missed := pagetest.Eval[string](b.Tab, left); missed != "" {
		b.t.Errorf("keys do not come by: %s", missed)
	}
}

// arrowsToAllNodes follows the arrows from each node of the map.
func (b *tab) arrowsToAllNodes() {
	b.t.Helper()
	const reach = `(() => {
		const all = [...document.querySelectorAll(".node")], reached = new Set([all[0]]), todo = [all[0]];
		while (todo.length) {
			const from = todo.pop();
			for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]) {
				from.focus();
				from.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
				const to = document.activeElement.closest(".node");
				if (to && !reached.has(to)) { reached.add(to); todo.push(to); }
			}
		}
		return all.filter((n) => !reached.has(n)).map((n) => n.dataset.node).join(", ");
	})()`
	if missed := pagetest.Eval[string](b.Tab, reach); missed != "" {
		b.t.Errorf("arrows do not come by %s", missed)
	}
	b.Press("m", kb.Enter)
	b.Wait(`document.activeElement.id === "h-inspector"`)
	b.Press(kb.Escape)
	b.Wait(`document.activeElement.closest(".node")`)
}

// outcomes are what the page says that buttons have done which undo it when they are pressed again, false: at first.
func outcomes() map[string]map[bool]string {
	return map[string]map[bool]string{
		doCable:  {false: "h1's cable is pulled", true: "h1's cable is plugged in again"},
		doTunnel: {false: "the tunnel is cut", true: "the tunnel is mended"},
		doICMPv6: {false: "ICMPv6 is dropped", true: "ICMPv6 passes again"},
		doMTU:    {false: "the path carries 1400 octets", true: "the path carries 1500 octets"},
		doRogue:  {false: "the laptop says that it is a router", true: "the laptop takes it back"},
	}
}

// pressesAllButtons also undoes what can be undone.
func (b *tab) pressesAllButtons(w *World) {
	b.t.Helper()
	for _, x := range w.buttons() {
		pressed := fmt.Sprintf(`document.querySelector('[data-action="%s"]').getAttribute("aria-pressed")`, x.ID)
		for _, undo := range []bool{false, true} {
			if undo && pagetest.Eval[string](b.Tab, `String(`+pressed+`)`) != "true" {
				continue
			}
			if x.ID == doScan { // h1 had a cable pulled, and what it lives on is scanned
				b.Wait(`document.querySelector('.node[data-node="h1"] .pip.a-preferred')`)
				b.Press("p", " ") // while time stands, so does the scan
				b.Wait(`document.body.classList.contains("paused")`)
			}
			b.Run(`document.getElementById("doneline").textContent = ""`)
			b.Press(x.Key)
			if len(x.Targets) > 1 || len(x.Args) > 1 {
				b.Wait(`document.querySelector("#ask[open]")`)
				if text := pagetest.Eval[string](b.Tab, `document.querySelector("#ask").textContent`); strings.Contains(text, "null") || strings.Contains(text, "undefined") {
					b.t.Errorf("%s asks %q", x.Name, text)
				}
				b.Press(kb.Enter)
				b.Wait(`!document.querySelector("#ask[open]")`)
			}
			said := x.Name
			if both, ok := outcomes()[x.ID]; ok {
				said = both[undo]
			}
			b.Wait(`document.getElementById("doneline").textContent.startsWith("Done: ` + said + `")`)
			if strings.Contains("cable tunnel icmpv6 mtu rogue", x.ID) {
				b.Wait(fmt.Sprintf(`%s === "%t"`, pressed, !undo))
			}
			if x.ID == doTunnel && !undo {
				b.Wait(`document.querySelector(".wirenote.bad text")?.textContent === "tunnel cut"`)
			}
			if strings.Contains("cable tunnel icmpv6 mtu", x.ID) && !undo {
				b.Wait(`document.querySelector(".wirenote text")`)
				b.Uncovered(x.ID)
			}
			if !undo {
				b.Shot("button-" + x.ID)
			}
		}
	}
	b.Wait(`document.querySelector('[data-action="scan"]').getAttribute("aria-disabled") === "true"`)
	b.Press("s")
	b.Wait(`document.getElementById("doneline").textContent === "a scan is under way" && document.getElementById("live").textContent === "a scan is under way"`)
	b.Wait(`document.getElementById("timeline").getAttribute("aria-live") === "polite"`)
	b.Press(" ")
	b.Wait(`!document.body.classList.contains("paused")`)
}

// walksByKeys finds a packet of the scan that the box has dropped, and reads why.
func (b *tab) walksByKeys() {
	b.t.Helper()
	b.Press("p", " ") // on a node of the map the space would open that
	b.Wait(`document.body.classList.contains("paused") && document.activeElement.id === "packetlist" && document.querySelector('.row[aria-selected="true"]')`)
	const chosen = `document.querySelector('.row[aria-selected="true"]').id`
	before := pagetest.Eval[string](b.Tab, chosen)
	b.Press(kb.ArrowUp)
	b.Wait(chosen + ` !== "` + before + `"`)
	b.Press(kb.ArrowDown)
	b.Wait(chosen + ` === "` + before + `"`)
	b.Press(kb.Home, kb.End, kb.Enter)
	b.Wait(`document.querySelector(".onion") && document.activeElement.id === "h-inspector"`)
	for range 12 { // to its last hop
		b.Press(kb.ArrowRight)
	}
	b.Wait(`/^hop (\d+) of \1,/.test(document.querySelector(".where span").textContent)`)
	b.Shot("keys-walk")
	b.Press(kb.Escape)
	b.Wait(`document.querySelector("#h-inspector").textContent === "Look closer" && document.activeElement.id === "packetlist"`)
	b.Press(" ")
	b.Wait(`!document.body.classList.contains("paused")`)
}

// learnsByKeys takes a lesson.
func (b *tab) learnsByKeys() {
	b.t.Helper()
	b.Run(`document.querySelector('[data-lesson="address-plan"] summary').focus()`) // Tab comes here, see tabsToAll
	b.Press(kb.Enter, kb.Tab, kb.Enter)
	b.Wait(`document.querySelector('[data-lesson="address-plan"]').classList.contains("started")`)
	b.Press("r")
	b.Wait(`document.querySelector('[data-lesson="address-plan"]').classList.contains("passed")`)
	b.Wait(`document.getElementById("live").textContent.startsWith("Lesson passed")`)
}

func (b *tab) commandsTime() {
	b.t.Helper()
	b.Press("p") // away from the button, which the space would press
	for range 12 {
		b.Press("-")
	}
	b.Wait(`document.getElementById("speedtext").textContent === "×0.1"`)
	b.Press(" ")
	b.Wait(`document.body.classList.contains("paused")`)
	for range 3 {
		rows := pagetest.Eval[string](b.Tab, `document.querySelector("#packetlist").lastElementChild.id`)
		b.Press(".")
		b.Wait(`document.querySelector("#packetlist").lastElementChild.id !== "` + rows + `"`)
	}
	b.Press(" ")
	for range 14 {
		b.Press("+")
	}
	b.Wait(`document.getElementById("speedtext").textContent === "×1000" && document.getElementById("now").textContent > "00:20:00"`)
	for _, key := range []string{"t", "l", "?"} {
		b.Press(key)
	}
	b.Wait(`document.querySelector("#help[open]")`)
	b.Press(kb.Escape)
	b.Wait(`!document.querySelector("#help[open]")`)
}
