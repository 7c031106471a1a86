// SPDX-License-Identifier: MIT

package device

// window knows which counters were seen: the last windowBits before the highest, and none older (RFC 6479). A ring of words
// of which one, that after the highest, is being filled.
type window struct {
	highest uint64
	words   [windowWords]uint64
}

const (
	windowWords = 128
	windowBits  = (windowWords - 1) * 64
)

// take says whether n is new, and remembers it.
func (w *window) take(n uint64) bool {
	switch {
	case n > w.highest:
		for i := range min(n/64-w.highest/64, windowWords) {
			w.words[(w.highest/64+1+i)%windowWords] = 0
		}
		w.highest = n
	case w.highest-n > windowBits:
		return false
	}
	word, bit := &w.words[n/64%windowWords], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
