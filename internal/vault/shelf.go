package vault

import "sync"

// shelf keeps memory between its uses. A sync.Pool would drop it at each garbage collection, and make the next one come
// sooner by allocating it again; memory of every length would fit nothing the next time.
type shelf struct {
	mu   sync.Mutex
	free [len(lengths)][][]byte
	room int // bytes that may still be kept
}

// lengths are what memory on a shelf has: what a stream is read into at first, and multiples of it up to the longest
// chunk with what is read beyond it.
var lengths = [...]int{firstRead, 2 * firstRead, 3 * firstRead, 4 * firstRead, 6 * firstRead, 8 * firstRead, 13 * firstRead}

// take gives empty memory with room for at least n bytes.
func (s *shelf) take(n int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := 0
	for i, length := range lengths {
		if length < n {
			continue
		}
		if want == 0 {
			want = length
		}
		if last := len(s.free[i]) - 1; last >= 0 && length <= want+want/2 {
			b := s.free[i][last]
			s.free[i] = s.free[i][:last]
			s.room += length
			return b
		}
	}
	return make([]byte, 0, max(n, want))
}

// putBack keeps the memory of b, if it is from a shelf, unless there is enough.
func (s *shelf) putBack(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, length := range lengths {
		if cap(b) == length && s.room >= length {
			s.free[i] = append(s.free[i], b[:0])
			s.room -= length
		}
	}
}

// withRoom gives empty memory with room for n bytes: b's, or new one with some to spare.
func withRoom(b []byte, n int) []byte {
	if cap(b) >= n {
		return b[:0]
	}
	size := 1 << 20
	for size < n {
		size *= 2
	}
	return make([]byte, 0, size)
}

// spares keeps what workers work with between their uses, as a shelf keeps memory.
type spares[T any] chan *T

func (s spares[T]) take() *T {
	select {
	case t := <-s:
		return t
	default:
		return new(T)
	}
}

func (s spares[T]) putBack(t *T) {
	select {
	case s <- t:
	default:
	}
}
