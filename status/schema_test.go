// SPDX-License-Identifier: MIT

package status

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// schema is the subset of JSON Schema (draft 2020-12) that docs/status.schema.json uses.
// readSchema refuses every other keyword, so that nothing in the file goes unchecked.
type schema struct {
	Schema               string             `json:"$schema"`
	Title                string             `json:"title"`
	Description          string             `json:"description"`
	Defs                 map[string]*schema `json:"$defs"`
	Ref                  string             `json:"$ref"`
	Type                 string             `json:"type"`
	Properties           map[string]*schema `json:"properties"`
	Required             []string           `json:"required"`
	AdditionalProperties json.RawMessage    `json:"additionalProperties"`
	Items                *schema            `json:"items"`
	Enum                 []string           `json:"enum"`
	Pattern              string             `json:"pattern"`
	Format               string             `json:"format"`
	Minimum              *float64           `json:"minimum"`
	Maximum              *float64           `json:"maximum"`
}

func readSchema(t *testing.T) *schema {
	t.Helper()
	b, err := os.ReadFile("../docs/status.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	s := &schema{}
	if err := dec.Decode(s); err != nil {
		t.Fatalf("docs/status.schema.json: %v", err)
	}
	return s
}

// check returns what is wrong with v, each with its path.
func (s *schema) check(root *schema, path string, v any) []string {
	if s.Ref != "" {
		name := strings.TrimPrefix(s.Ref, "#/$defs/")
		def := root.Defs[name]
		if def == nil {
			return []string{path + ": no definition " + s.Ref}
		}
		return def.check(root, path, v)
	}
	switch s.Type {
	case "object":
		o, ok := v.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: %T, want an object", path, v)}
		}
		return s.checkObject(root, path, o)
	case "array":
		a, ok := v.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s: %T, want an array", path, v)}
		}
		var bad []string
		for i, x := range a {
			bad = append(bad, s.Items.check(root, fmt.Sprintf("%s[%d]", path, i), x)...)
		}
		return bad
	case "boolean":
		if _, ok := v.(bool); !ok {
			return []string{fmt.Sprintf("%s: %T, want a boolean", path, v)}
		}
	case "string":
		x, ok := v.(string)
		if !ok {
			return []string{fmt.Sprintf("%s: %T, want a string", path, v)}
		}
		return s.checkString(path, x)
	case "number", "integer":
		x, ok := v.(float64)
		if !ok {
			return []string{fmt.Sprintf("%s: %T, want a number", path, v)}
		}
		return s.checkNumber(path, x)
	default:
		return []string{fmt.Sprintf("%s: the schema has type %q", path, s.Type)}
	}
	return nil
}

func (s *schema) checkObject(root *schema, path string, o map[string]any) []string {
	var bad []string
	for _, k := range s.Required {
		if _, ok := o[k]; !ok {
			bad = append(bad, fmt.Sprintf("%s: %s is missing", path, k))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(o)) {
		p := s.Properties[k]
		if p == nil && len(s.AdditionalProperties) > 0 && string(s.AdditionalProperties) != "false" {
			p = &schema{}
			if err := json.Unmarshal(s.AdditionalProperties, p); err != nil {
				return append(bad, path+": "+err.Error())
			}
		}
		if p == nil {
			bad = append(bad, fmt.Sprintf("%s: %s is not in the schema", path, k))
			continue
		}
		bad = append(bad, p.check(root, path+"."+k, o[k])...)
	}
	return bad
}

func (s *schema) checkString(path, x string) []string {
	var bad []string
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, x) {
		bad = append(bad, fmt.Sprintf("%s: %q, want one of %q", path, x, s.Enum))
	}
	if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(x) {
		bad = append(bad, fmt.Sprintf("%s: %q does not match %s", path, x, s.Pattern))
	}
	if s.Format == "date-time" {
		if _, err := time.Parse(time.RFC3339, x); err != nil {
			bad = append(bad, path+": "+err.Error())
		}
	}
	return bad
}

func (s *schema) checkNumber(path string, x float64) []string {
	var bad []string
	if s.Minimum != nil && x < *s.Minimum {
		bad = append(bad, fmt.Sprintf("%s: %v, want at least %v", path, x, *s.Minimum))
	}
	if s.Maximum != nil && x > *s.Maximum {
		bad = append(bad, fmt.Sprintf("%s: %v, want at most %v", path, x, *s.Maximum))
	}
	if s.Type == "integer" && x != float64(int64(x)) {
		bad = append(bad, fmt.Sprintf("%s: %v, want an integer", path, x))
	}
	return bad
}

// walk visits every schema below s.
func (s *schema) walk(path string, visit func(path string, s *schema)) {
	visit(path, s)
	for _, m := range []map[string]*schema{s.Defs, s.Properties} {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			m[k].walk(path+"."+k, visit)
		}
	}
	if s.Items != nil {
		s.Items.walk(path+"[]", visit)
	}
}

func validate(t *testing.T, s *schema, b []byte) []string {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return s.check(s, "status", v)
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
		for _, bad := range validate(t, s, b) {
			t.Errorf("%s: %s", name, bad)
		}
	}
}

// A schema that lets anything through would pass the test above for ever.
func TestSchemaIsStrict(t *testing.T) {
	s := readSchema(t)
	s.walk("status", func(path string, s *schema) {
		if s.Type != "object" || len(s.Properties) == 0 {
			return
		}
		if string(s.AdditionalProperties) != "false" {
			t.Errorf("%s: additionalProperties is %q, want false", path, s.AdditionalProperties)
		}
		for _, k := range slices.Sorted(maps.Keys(s.Properties)) {
			if k != "dhcpv6" && !slices.Contains(s.Required, k) {
				t.Errorf("%s: %s is not required", path, k)
			}
		}
	})

	good, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"ready":true`, `"ready":"yes"`, "status.ready: string, want a boolean"},
		{`"summary":"up: `, `"summary":"fine: `, "does not match"},
		{`"role":"run"`, `"role":"box"`, "want one of"},
		{`"uptime_s":`, `"uptime":`, "uptime is not in the schema"},
		{`"mtu":1420`, `"mtu":-1`, "want at least 0"},
		{`"mtu":1420`, `"mtu":1.5`, "want an integer"},
		{`"iaid":1`, `"iaid":4294967296`, "want at most"},
		{`"sites":[{"name":"library"}]`, `"sites":null`, "want an array"},
		{`"at":"2026-`, `"at":"26-`, "cannot parse"},
		{`"bad hop limit":2`, `"bad hop limit":"2"`, "want a number"},
	} {
		changed := strings.Replace(string(good), c.old, c.new, 1)
		if changed == string(good) {
			t.Errorf("the sample has no %s", c.old)
			continue
		}
		if got := strings.Join(validate(t, s, []byte(changed)), "\n"); !strings.Contains(got, c.want) {
			t.Errorf("with %s: %q, want %q", c.new, got, c.want)
		}
	}
}
