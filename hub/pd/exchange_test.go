// SPDX-License-Identifier: MIT

package pd

import (
	"testing"
	"time"
)

func TestRFC9915_18_3_HubExchange(t *testing.T) {
	w := newWorld(t)
	w.want("solicit pd1", "advertise pd1 2001:db8:1:1::/64=2700/5400")
	w.did(false, false)
	w.want("request pd1 2001:db8:1:1::/64", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.did(true, true)
	w.wantRouted("a", "2001:db8:1:1::/64")
	w.want("solicit site=b rapid pd1", "reply rapid pd1 2001:db8:1:2::/64=2700/5400")
	w.wait(1350 * time.Second)
	w.want("renew pd1 2001:db8:1:1::/64", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.did(false, false)
	w.want("rebind site=b pd1 2001:db8:1:2::/64", "reply pd1 2001:db8:1:2::/64=2700/5400")
	w.want("release site=b pd1 2001:db8:1:2::/64", "reply Success")
	w.did(true, false)
	w.wantAll("a pd1 2001:db8:1:1::/64=2700/5400| b pd1 2001:db8:1:2::/64=0/5400/released")
	w.wait(5400 * time.Second)
	w.wantAll("a pd1 2001:db8:1:1::/64=rests/5400| b pd1 2001:db8:1:2::/64=rests/5400")
	w.wait(5400 * time.Second)
	w.wantAll("a pd1 2001:db8:1:1::/64=over| b pd1 2001:db8:1:2::/64=over")
	w.want("solicit rapid pd1", "reply rapid pd1 2001:db8:1:1::/64=2700/5400")
}
