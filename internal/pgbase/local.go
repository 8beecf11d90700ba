package pgbase

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/failure"
)

func (s *source) fill(x block) error { return nil }

func unreadable(err error, name string) error {
	return failure.WrapAs(failure.Denied, err, "read", name)
}

func (c *capture) fromFolder(ctx context.Context) error {
	return failure.New(failure.Unsupported, "capture", c.o.Folder, "a data folder cannot be read yet")
}
