package archiver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Command is the output of a program, as the content of a Virtual: reading ends with an error when the program fails, and
// so does the backup.
type Command struct {
	cmd    *exec.Cmd
	out    io.ReadCloser
	err    bytes.Buffer // the end of what it says on standard error
	waited bool
	result error
}

const (
	// keptErrors is how much of what a program says on standard error goes into the error of its failure.
	keptErrors = 4 << 10
	// killAfter is how long a program that was interrupted may take to end.
	killAfter = 10 * time.Second
)

// NewCommand starts a program; stderr is told what it says there, and may be nil. When ctx ends the program is
// interrupted, and killed when that does not end it. The caller closes it.
func NewCommand(ctx context.Context, args []string, stderr io.Writer) (*Command, error) {
	if len(args) == 0 {
		return nil, failure.New(failure.Invalid, "start a command", "", "none is given")
	}
	c := &Command{cmd: exec.CommandContext(ctx, args[0], args[1:]...)}
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(os.Interrupt) }
	c.cmd.WaitDelay = killAfter
	c.cmd.Stderr = &tail{c, stderr}
	var err error
	if c.out, err = c.cmd.StdoutPipe(); err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "start a command", args[0])
	}
	if err := c.cmd.Start(); err != nil {
		kind := failure.Invalid
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			kind = failure.NotFound
		}
		return nil, failure.WrapAs(kind, err, "start a command", args[0])
	}
	return c, nil
}

// tail keeps the end of what is written, and passes it on.
type tail struct {
	c  *Command
	to io.Writer
}

// Write never fails: a display that is gone must not end the program.
func (t *tail) Write(p []byte) (int, error) {
	t.c.err.Write(p)
	if extra := t.c.err.Len() - keptErrors; extra > 0 {
		t.c.err.Next(extra)
	}
	if t.to != nil {
		_, _ = t.to.Write(p)
	}
	return len(p), nil
}

// Read reads the program's output. Where that ends the program must end too, and with success.
func (c *Command) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	if err == nil || n > 0 {
		return n, nil // what is wrong, if anything is, comes with the next call
	}
	if werr := c.wait(); werr != nil {
		return 0, werr
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
		return 0, failure.WrapAs(failure.Unavailable, err, "read the output of", c.cmd.Path)
	}
	return 0, io.EOF
}

func (c *Command) wait() error {
	if c.waited {
		return c.result
	}
	c.waited = true
	if err := c.cmd.Wait(); err != nil {
		c.result = failure.New(failure.Unavailable, "run", c.cmd.Path, "the command failed: %v: %s", err, bytes.TrimSpace(c.err.Bytes())).
			WithHint("no snapshot was made of its output")
	}
	return c.result
}

// Close ends the program if it still runs, and waits for it. That it failed is no error here: Read has said it.
func (c *Command) Close() error {
	if c.waited {
		return nil
	}
	_ = c.cmd.Process.Kill() // it may have ended
	_ = c.wait()
	return nil
}
