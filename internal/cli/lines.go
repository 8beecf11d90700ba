package cli

import (
	"bufio"
	"context"
	"io"
	"strings"
)

// lineReader reads what a person types, a line at a time, and lets the asker go when a context ends.
//
// A read of a terminal cannot be called off. So a goroutine may outlive the question it was started for: it serves the
// next question, and ends with standard input or the process.
type lineReader struct {
	in      *bufio.Reader
	answers chan answer
	pending bool
}

type answer struct {
	text string
	err  error
}

func newLineReader(in io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReader(in), answers: make(chan answer, 1)}
}

// read waits for one line, without its end and surrounding blanks. The error is io.EOF at the end of input, or the
// context's. One caller at a time.
func (l *lineReader) read(ctx context.Context) (string, error) {
	text, err := l.readWhole(ctx)
	return strings.TrimSpace(text), err
}

// readWhole is read with the blanks, for what may begin or end with one.
func (l *lineReader) readWhole(ctx context.Context) (string, error) {
	if !l.pending {
		l.pending = true
		go func() {
			text, err := l.in.ReadString('\n')
			if err == io.EOF && text != "" {
				err = nil
			}
			l.answers <- answer{strings.TrimRight(text, "\r\n"), err}
		}()
	}
	select {
	case a := <-l.answers:
		l.pending = false
		return a.text, a.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
