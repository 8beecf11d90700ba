package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// maxBanner bounds how much is read while a banner is waited for, in bytes.
const maxBanner = 64 << 10

// TCP is one TCP connection and what the server must say on it.
type TCP struct {
	Address  string         `json:"address" jsonschema:"required,description=Where to connect: host:port"`
	Resolver string         `json:"resolver,omitempty" jsonschema:"description=The DNS server (host:port) that is asked for the host's name\\, freshly each time; the system's resolver when left out"`
	Send     string         `json:"send,omitempty" jsonschema:"description=What is sent once connected"`
	Expect   string         `json:"expect,omitempty" jsonschema:"description=A regular expression (RE2) that what the server says must match; when left out a connection is enough"`
	Timeout  model.Duration `json:"timeout,omitempty" jsonschema:"description=For the whole question\\, name lookup included; 5s when left out"`
}

// Validate checks what can be known without asking.
func (c *TCP) Validate() error {
	if c.Address == "" {
		return fmt.Errorf("address: is missing")
	}
	if err := ValidateAddress("address", c.Address); err != nil {
		return err
	}
	if err := ValidateAddress("resolver", c.Resolver); err != nil {
		return err
	}
	return ValidatePattern("expect", c.Expect)
}

// Ask connects once. The error is Invalid for settings that cannot be a question.
func (c *TCP) Ask(ctx context.Context) (driver.Answer, error) {
	expect, err := regexp.Compile(c.Expect)
	if err != nil {
		return driver.Answer{}, failure.WrapAs(failure.Invalid, err, "ask", c.Address)
	}
	bounded, cancel := context.WithTimeout(ctx, Timeout(c.Timeout))
	defer cancel()
	start := time.Now()
	conn, err := dialer{server: c.Resolver}.DialContext(bounded, "tcp", c.Address)
	if err != nil {
		return asked(ctx, start, false, "", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(bounded, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if c.Send != "" {
		if _, err := io.WriteString(conn, c.Send); err != nil {
			return asked(ctx, start, false, "", err)
		}
	}
	if c.Expect == "" {
		return asked(ctx, start, true, "connected to "+conn.RemoteAddr().String(), nil)
	}
	said, ok, err := listen(conn, expect)
	if ok {
		return asked(ctx, start, true, "it said "+quote(said), nil)
	}
	why := "closed the connection"
	if err != nil {
		why = Why(err, time.Since(start))
	}
	return asked(ctx, start, false, fmt.Sprintf("it said %s, then: %s; expected a match of %q", quote(said), why, c.Expect), nil)
}

func quote(said []byte) string { return fmt.Sprintf("%q", Short(string(said))) }

// listen reads until what was said matches, the server closes (no error), or something fails.
func listen(conn net.Conn, expect *regexp.Regexp) (said []byte, ok bool, err error) {
	buf := make([]byte, 4<<10)
	for len(said) < maxBanner {
		n, err := conn.Read(buf)
		said = append(said, buf[:n]...)
		if n > 0 && expect.Match(said) {
			return said, true, nil
		}
		if errors.Is(err, io.EOF) {
			return said, false, nil
		}
		if err != nil {
			return said, false, err
		}
	}
	return said, false, nil
}
