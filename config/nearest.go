// SPDX-License-Identifier: MIT

package config

import "strings"

// maxName is the longest text that is taken for a key or section and so may be quoted. A base64
// key is 44 characters, and one alone on a line ends in "=", as a key without a value does.
const maxName = 24

// keyName quotes what stands in a key's place, if it cannot be a secret.
func keyName(s string) string {
	if len(s) > maxName {
		return "(too long to be one)"
	}
	return quote(s)
}

func sectionName(s string) string {
	if len(s) > maxName {
		return keyName(s)
	}
	return quote("[" + s + "]")
}

// hintKey is ": did you mean ..." or empty. A key of another section comes first: it is spelled right.
func hintKey(name string, in section, all []section) string {
	for _, s := range all {
		if k, ok := keyOf(s.keys, name); ok {
			return ": " + k.name + " belongs to [" + s.name + "]"
		}
	}
	names := make([]string, len(in.keys))
	for i, k := range in.keys {
		names[i] = k.name
	}
	return didYouMean(Nearest(name, names))
}

func hintSection(name string, all []section) string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.name
	}
	if n := Nearest(name, names); n != "" {
		return didYouMean("[" + n + "]")
	}
	return ""
}

func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return ": did you mean " + name + "?"
}

// Nearest is the known name that a typist may have meant, empty if none is near: at most a third
// of the letters differ, or one holds the other (Keepalive, PersistentKeepalive).
func Nearest(name string, known []string) string {
	if name == "" || len(name) > maxName {
		return ""
	}
	name = strings.ToLower(name)
	best, bestDistance := "", maxName
	for _, k := range known {
		low := strings.ToLower(k)
		d := distance(name, low)
		if near := (max(len(name), len(low)) + 2) / 3; d <= near && d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best != "" {
		return best
	}
	const enough = 4 // letters in common that are no accident
	for _, k := range known {
		low := strings.ToLower(k)
		if len(low) >= enough && len(name) >= enough && (strings.Contains(low, name) || strings.Contains(name, low)) {
			return k
		}
	}
	return ""
}

// distance counts the insertions, deletions, replacements and swaps of neighbours from a to b
// (optimal string alignment).
func distance(a, b string) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
