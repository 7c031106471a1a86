// SPDX-License-Identifier: MIT

package simseal

// memory remembers the newest values by index. Devices choose their indices by chance, so two may have the same: the newest
// comes first.
type memory[T any] struct {
	max   int
	order []uint32 // oldest first
	by    map[uint32][]T
}

func newMemory[T any](n int) memory[T] { return memory[T]{max: n, by: map[uint32][]T{}} }

func (m *memory[T]) get(index uint32) []T { return m.by[index] }

func (m *memory[T]) put(index uint32, v T) {
	if len(m.order) == m.max {
		old := m.order[0]
		m.order = append(m.order[:0], m.order[1:]...)
		if all := m.by[old]; len(all) == 1 {
			delete(m.by, old)
		} else {
			m.by[old] = all[:len(all)-1]
		}
	}
	m.order = append(m.order, index)
	m.by[index] = append([]T{v}, m.by[index]...)
}
