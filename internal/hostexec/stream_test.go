package hostexec

import (
	"bytes"
	"testing"
	"time"
)

// TestWhatWasWrittenIsKept holds this process up until the time to read is over: what is in the pipe by then is read still, and
// nobody waits for those who hold it open.
func TestWhatWasWrittenIsKept(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 64 << 10} { // as much as a pipe holds
		s, err := newStream()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.from.SetReadDeadline(time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		<-s.over
		want := bytes.Repeat([]byte("x"), size)
		if _, err := s.to.Write(want); err != nil {
			t.Fatal(err)
		}
		s.end(time.Now().Add(-time.Hour))
		if !bytes.Equal(s.kept.buf.Bytes(), want) || s.kept.cut {
			t.Errorf("%d bytes of %d are kept, cut %v", s.kept.buf.Len(), size, s.kept.cut)
		}
		s.close()
	}
}
