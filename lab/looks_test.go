// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"testing"

	"oasis6/internal/underrace"
	"oasis6/lab/page"
)

// looks are how people see the page: on a projector, by a phone, in light and dark.
func looks() []look {
	return []look{
		{"projector-light", 1280, 800, "light"}, {"projector-dark", 1280, 800, "dark"},
		{"phone-light", 390, 844, "light"}, {"phone-dark", 390, 844, "dark"},
	}
}

type look struct {
	name          string
	width, height int64
	scheme        string
}

// Nothing of a true world is wider than the window, too faint to read or under something else.
func TestWorldIsLegible(t *testing.T) {
	if underrace.Is {
		t.Skip("it is about the browser's side; TestPageOfTheWorld shows the race detector the other one")
	}
	for _, scenario := range []string{"", scenarioTwoSites, scenarioDownstream} {
		t.Run("world "+scenario, func(t *testing.T) {
			w := newTestWorld(t, Options{Seed: 1, Scenario: scenario})
			b := openWorld(t, w)
			b.Wait(`document.querySelectorAll(".step.s-passed").length === document.querySelectorAll("#steps .step").length && document.querySelectorAll(".step").length > 3`)
			for _, n := range w.nodes { // each node has something to tell
				b.Run(`document.querySelector('.node[data-node="` + n.ID + `"]').dispatchEvent(new MouseEvent("click", {bubbles: true}))`)
				b.Wait(`document.querySelector("#h-inspector").textContent === "` + n.Name + `"`)
				if n.Kind != page.Switch && n.ID != nodeClone {
					b.Wait(`document.querySelector("#inspectorbody .address code").textContent.length > 6`)
				}
				b.Fits(n.ID)
				b.Legible(n.ID)
				if n.ID == nodeR3 || n.ID == nodeNet6 {
					b.Shot("true-" + scenario + "-panel-" + n.ID)
				}
			}
			b.Run(`document.querySelector("#inspectorclose").click()`)
			b.Press("p", " ") // the same packets in all pictures, and counters that stand
			b.Wait(`document.body.classList.contains("paused")`)
			for _, l := range looks() {
				b.Media(map[string]string{"prefers-color-scheme": l.scheme})
				b.Size(l.width, l.height)
				b.Wait(fmt.Sprintf(`innerWidth === %d && Math.abs(document.querySelector(".world").getBoundingClientRect().width - document.getElementById("map").clientWidth) < 2`, l.width))
				b.Run(`document.querySelector("#packetlist .row:last-child").click()`)
				b.Wait(`document.querySelector(".onion")`)
				b.Fits(l.name)
				b.Legible(l.name)
				b.Long("true-" + scenario + "-" + l.name + "-walk")
				b.Run(`document.querySelector("#inspectorclose").click()`)
				b.Run(`scrollTo(0, 0)`)
				b.Run(`document.querySelectorAll(".lesson").forEach((x) => { x.open = true; })`)
				b.Run(`document.querySelector('.node[data-node="r1"]').dispatchEvent(new MouseEvent("click", {bubbles: true}))`)
				b.Wait(`document.querySelector("#h-inspector").textContent === "r1"`)
				b.Fits(l.name)
				b.Legible(l.name)
				b.Uncovered(l.name)
				b.Run(`document.querySelector("#inspectorclose").click()`)
				b.Run(`document.querySelectorAll(".lesson").forEach((x) => { x.open = false; })`)
				b.Run(`scrollTo(0, 0)`)
				b.Shot("true-" + scenario + "-" + l.name)
			}
		})
	}
}
