// SPDX-License-Identifier: MIT

// Package jsonschema checks JSON texts against the subset of JSON Schema (draft 2020-12) that our own
// schemas use. A keyword outside of it is refused when the schema is read, so that nothing in a schema
// goes unchecked. It is for tests. Start at Read.
package jsonschema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Schema is the subset of JSON Schema (draft 2020-12) that docs/status.schema.json uses.
// Read refuses every other keyword, so that nothing in the file goes unchecked.
type Schema struct {
	Schema               string             `json:"$schema"`
	Title                string             `json:"title"`
	Description          string             `json:"description"`
	Defs                 map[string]*Schema `json:"$defs"`
	Ref                  string             `json:"$ref"`
	Type                 string             `json:"type"`
	Properties           map[string]*Schema `json:"properties"`
	Required             []string           `json:"required"`
	AdditionalProperties json.RawMessage    `json:"additionalProperties"`
	Items                *Schema            `json:"items"`
	Enum                 []string           `json:"enum"`
	Pattern              string             `json:"pattern"`
	Format               string             `json:"format"`
	Minimum              *float64           `json:"minimum"`
	Maximum              *float64           `json:"maximum"`
}

// Read reads a schema and refuses keywords that are not checked here.
func Read(path string) (*Schema, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	s := &Schema{}
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Validate says what is wrong with a JSON text, each fault with its path; nil is right.
func (s *Schema) Validate(text []byte) []string {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return []string{err.Error()}
	}
	return s.check(s, "$", v)
}

// check returns what is wrong with v, each with its path.
func (s *Schema) check(root *Schema, path string, v any) []string {
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

func (s *Schema) checkObject(root *Schema, path string, o map[string]any) []string {
	var bad []string
	for _, k := range s.Required {
		if _, ok := o[k]; !ok {
			bad = append(bad, fmt.Sprintf("%s: %s is missing", path, k))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(o)) {
		p := s.Properties[k]
		if p == nil && len(s.AdditionalProperties) > 0 && string(s.AdditionalProperties) != "false" {
			p = &Schema{}
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

func (s *Schema) checkString(path, x string) []string {
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

func (s *Schema) checkNumber(path string, x float64) []string {
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

// Walk visits every schema below s.
func (s *Schema) Walk(path string, visit func(path string, s *Schema)) {
	visit(path, s)
	for _, m := range []map[string]*Schema{s.Defs, s.Properties} {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			m[k].Walk(path+"."+k, visit)
		}
	}
	if s.Items != nil {
		s.Items.Walk(path+"[]", visit)
	}
}
