// Package probe asks a server one question over the network, as a client that has just started would: a fresh
// connection, a name that is looked up now, nothing remembered from the question before.
//
// It is what the http and tcp checks and the command driver's probes are made of. It is no monitoring: it asks once;
// asking again is the caller's business. A no is a [driver.Answer] that is not OK; an error means that the question
// cannot be asked at all.
//
// Start with [HTTP.Ask] or [TCP.Ask].
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// DefaultTimeout bounds a question whose settings say nothing else.
const DefaultTimeout = 5 * time.Second

// Timeout is d, or DefaultTimeout when it is zero.
func Timeout(d model.Duration) time.Duration {
	if d == 0 {
		return DefaultTimeout
	}
	return d.Std()
}

// Unknown reports whether text still holds a reference to a step that has not run.
func Unknown(text string) bool { return strings.Contains(text, "${") }

// ValidatePattern checks a regular expression; the empty one is fine.
func ValidatePattern(field, pattern string) error {
	if Unknown(pattern) {
		return nil
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

// ValidateAddress checks a host:port. The empty one is the caller's to judge.
func ValidateAddress(field, address string) error {
	if address == "" || Unknown(address) {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("%s: %q is not host:port", field, address)
	}
	return nil
}

// asked turns what a question gave into an answer. When the caller's own ctx is over, that is the error: nothing was
// learnt. A server that does not answer in time is an answer.
func asked(ctx context.Context, start time.Time, ok bool, detail string, err error) (driver.Answer, error) {
	took := time.Since(start)
	if ctx.Err() != nil {
		return driver.Answer{}, failure.Wrap(ctx.Err(), "ask", "")
	}
	if err != nil {
		return driver.Answer{Detail: Why(err, took), Took: took}, nil
	}
	return driver.Answer{OK: ok, Detail: detail, Took: took}, nil
}

// Why says in a few words why a question was not answered.
func Why(err error, took time.Duration) string {
	var op *net.OpError
	var n net.Error
	where := ""
	if errors.As(err, &op) && op.Addr != nil {
		where = op.Addr.String() + ": "
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return where + "connection refused"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &n) && n.Timeout():
		return where + "no answer within " + took.Round(time.Millisecond).String()
	case errors.Is(err, syscall.ECONNRESET):
		return where + "connection reset"
	}
	return err.Error()
}

// Short cuts text for a line that people read.
func Short(text string) string {
	const most = 120
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "�")), " ")
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}
