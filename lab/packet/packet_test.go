// SPDX-License-Identifier: MIT

package packet

import "testing"

func TestKindAndSummary(t *testing.T) {
	for _, s := range samples(t) {
		if k := KindOf(s.frame); k != s.kind {
			t.Errorf("%s: kind %s, want %s", s.name, k, s.kind)
		}
		if got := Summary(s.frame, nil); got != s.summary {
			t.Errorf("%s: summary\n%s, want\n%s", s.name, got, s.summary)
		}
		if o := Explain(s.frame, nil); o.Kind != s.kind || o.Summary != s.summary || o.Broken != "" && s.name != "short" {
			t.Errorf("%s: onion of kind %s, %q, broken %q", s.name, o.Kind, o.Summary, o.Broken)
		}
	}
}
