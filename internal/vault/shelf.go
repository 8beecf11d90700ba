package vault

// shelf keeps memory between its uses. A sync.Pool would drop it at each garbage collection, and make the next one come
// sooner by allocating it again.
type shelf chan []byte

// keptLength is up to what length memory is kept. A longer chunk is rare, and would leave each piece of memory as long
// as the longest chunk that came by.
const keptLength = 4 << 20

// take gives empty memory with room for at least n bytes.
func (s shelf) take(n int) []byte {
	select {
	case b := <-s:
		if cap(b) >= n {
			return b
		}
	default:
	}
	return make([]byte, 0, n)
}

// putBack keeps the memory of b, unless there is enough.
func (s shelf) putBack(b []byte) {
	if cap(b) > keptLength {
		return
	}
	select {
	case s <- b[:0]:
	default:
	}
}
