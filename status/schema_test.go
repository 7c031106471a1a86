// SPDX-License-Identifier: MIT

package status

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"oasis6/internal/jsonschema"
)

func readSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.Read("../docs/status.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSnapshotsFollowTheSchema(t *testing.T) {
	s := readSchema(t)
	stale := full()
	stale.DHCPv6 = nil
	stale.Tunnel.Peers[0].HandshakeAgeS = Never
	for name, snap := range map[string]Snapshot{"full": full(), "empty": empty(), "static": stale} {
		b, err := json.Marshal(snap)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range s.Validate(b) {
			t.Errorf("%s: %s", name, bad)
		}
	}
}

// A schema that lets anything through would pass the test above for ever.
func TestSchemaIsStrict(t *testing.T) {
	s := readSchema(t)
	s.Walk("status", func(path string, s *jsonschema.Schema) {
		if s.Type != "object" || len(s.Properties) == 0 {
			return
		}
		if string(s.AdditionalProperties) != "false" {
			t.Errorf("%s: additionalProperties is %q, want false", path, s.AdditionalProperties)
		}
		for _, k := range slices.Sorted(maps.Keys(s.Properties)) {
			if k != "dhcpv6" && k != "hub" && k != "dataplane" && k != "forwarding" && !slices.Contains(s.Required, k) {
				t.Errorf("%s: %s is not required", path, k)
			}
		}
	})

	good, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"ready":true`, `"ready":"yes"`, "$.ready: string, want a boolean"},
		{`"summary":"up: `, `"summary":"fine: `, "does not match"},
		{`"role":"run"`, `"role":"box"`, "want one of"},
		{`"uptime_s":`, `"uptime":`, "uptime is not in the schema"},
		{`"mtu":1420`, `"mtu":-1`, "want at least 0"},
		{`"mtu":1420`, `"mtu":1.5`, "want an integer"},
		{`"iaid":1`, `"iaid":4294967296`, "want at most"},
		{`"type":"IA_PD"`, `"type":"IA_TA"`, "want one of"},
		{`"state":"none"`, `"state":"idle"`, "want one of"},
		{`"confirmed":true`, `"confirmed":1`, "want a boolean"},
		{`"exclude":""`, `"exclude":null`, "want a string"},
		{`"origin":"file"`, `"origin":"paper"`, "want one of"},
		{`"state":"stale"`, `"state":"old"`, "want one of"},
		{`"invitations":[{"name":"museum","expires_s":86000}]`, `"invitations":null`, "want an array"},
		{`"at":"2026-`, `"at":"26-`, "cannot parse"},
		{`"state":"up","prefixes"`, `"state":"idle","prefixes"`, "want one of"},
		{`"rdnss_source":"dhcpv6"`, `"rdnss_source":"dhcp"`, "want one of"},
		{`"mode":"stateful"`, `"mode":"off"`, "want one of"},
		{`"preference":"high"`, `"preference":"reserved"`, "want one of"},
		{`"seen_s":75.5`, `"seen_s":-1`, "want at least 0"},
		{`"most":1024`, `"least":1024`, "least is not in the schema"},
		{`"bad hop limit":2`, `"bad hop limit":"2"`, "want a number"},
	} {
		changed := strings.Replace(string(good), c.old, c.new, 1)
		if changed == string(good) {
			t.Errorf("the sample has no %s", c.old)
			continue
		}
		if got := strings.Join(s.Validate([]byte(changed)), "\n"); !strings.Contains(got, c.want) {
			t.Errorf("with %s: %q, want %q", c.new, got, c.want)
		}
	}
}
