package hostexec

import (
	"bytes"
	"io"
	"os"
	"syscall"
	"time"
)

// stream is one of a command's output streams: a pipe, and what is kept of what came out of it. All that the command itself has
// written is kept, up to the bound, also when this process is held up in the moment in which the command ends: what it wrote is in
// the pipe by then. What others write who hold the pipe open is read for a while.
type stream struct {
	from, to *os.File
	kept     capped
	over     chan struct{} // closed when nobody reads any more
}

// newStream makes a stream and begins to read. Whoever calls gives the command its end, calls begun and end, and close in any case.
func newStream() (*stream, error) {
	from, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s := &stream{from: from, to: to, over: make(chan struct{})}
	go func() {
		defer close(s.over)
		_, _ = io.Copy(&s.kept, from) // to its end, or to the deadline that end sets
	}()
	return s, nil
}

// begun closes the command's end, which the command has by now, or never will have.
func (s *stream) begun() { _ = s.to.Close() }

// close ends the reading, if it goes on, and waits for that.
func (s *stream) close() {
	_ = s.to.Close()
	_ = s.from.Close()
	<-s.over
}

// end returns when the stream is read: once nobody holds it open, or at an instant.
func (s *stream) end(until time.Time) {
	_ = s.from.SetReadDeadline(until)
	<-s.over
	_ = s.from.SetReadDeadline(time.Time{}) // it hides what is there
	raw, err := s.from.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 64<<10)
	for read := 0; read <= maxOutput; { // no pipe holds more of what the command wrote
		n, err := 0, error(nil)
		broken := raw.Read(func(fd uintptr) bool {
			n, err = syscall.Read(int(fd), buf) // does not wait
			for err == syscall.EINTR {
				n, err = syscall.Read(int(fd), buf)
			}
			return true
		})
		if broken != nil || n <= 0 {
			return
		}
		_, _ = s.kept.Write(buf[:n]) // never fails
		read += n
	}
}

// capped keeps the beginning of what is written to it.
type capped struct {
	buf bytes.Buffer
	cut bool
}

// Write never fails: a command must not die of our bound.
func (c *capped) Write(p []byte) (int, error) {
	room := maxOutput - c.buf.Len()
	if len(p) > room {
		c.cut = true
		c.buf.Write(p[:room])
		return len(p), nil
	}
	return c.buf.Write(p)
}
