package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// save takes an object. What is there is never replaced, whoever asks.
func (c *call) save() {
	ctx, h, size := c.r.Context(), c.target.object, c.r.ContentLength
	switch {
	case size < 0:
		c.w.refuse(http.StatusLengthRequired, "say how long it is")
		return
	case size > c.s.opts.MaxObject:
		c.w.refuse(http.StatusRequestEntityTooLarge, "too large")
		return
	}
	if _, err := c.store.Stat(ctx, h); err == nil { // seen before the body is taken; Save decides
		c.w.refuse(http.StatusForbidden, "stored already")
		return
	}
	c.clear()
	done, err := c.reserve(blocks(size))
	if err != nil {
		c.failed(err)
		return
	}
	u := &upload{c: c, size: size}
	if h.Type != blob.Config {
		u.sum, u.want = sha256.New(), h.Name
	}
	if size == 0 {
		err = u.verify()
	}
	if err == nil {
		err = c.store.Save(ctx, h, u)
	}
	done(err == nil || errors.Is(err, failure.Indeterminate))
	c.w.in = u.read
	if err == nil {
		c.s.counts.saved.Add(1)
		return
	}
	c.saveFailed(u, err)
}

// clearEvery is how often a repository that is written to is cleared of what crashes of the server have left in it.
const clearEvery = 24 * time.Hour

// clear does that: creating a place again does.
func (c *call) clear() {
	if at, seen := c.s.cleared.Load(c.folder); seen && time.Since(at.(time.Time)) < clearEvery {
		return
	}
	ctx := c.r.Context()
	if _, err := c.store.Stat(ctx, blob.Handle{Type: blob.Config}); err != nil {
		return // no repository yet: nothing is to be made here
	}
	if err := c.store.Create(ctx); err != nil {
		c.s.opts.Log.WarnContext(ctx, "what a crash left cannot be cleared away", "path", c.r.URL.Path, "error", err)
		return
	}
	c.s.cleared.Store(c.folder, time.Now())
}

// saveFailed answers an upload that came to nothing.
func (c *call) saveFailed(u *upload, err error) {
	switch {
	case errors.Is(err, errOtherContent):
		c.s.counts.damaged.Add(1)
		c.w.refuse(http.StatusBadRequest, "the content has another SHA-256 than its name")
	case errors.Is(u.broken, os.ErrDeadlineExceeded):
		c.w.refuse(http.StatusRequestTimeout, "the content does not come")
	case u.broken != nil, errors.Is(err, context.Canceled):
		c.w.refuse(http.StatusBadRequest, "the content ends early")
	default:
		c.failed(err)
	}
}

// errOtherContent is what an upload ends with when its content has not its name.
var errOtherContent = errors.New("the content has another SHA-256 than its name")

// upload is a request's body as a [blob.Content] that can be read once, in order. Its last byte is given only when the
// whole has its name: otherwise it breaks, and a store shows nothing of content that breaks.
type upload struct {
	c      *call
	size   int64
	sum    hash.Hash // nil: the content is not named by its hash
	want   string
	read   int64
	broken error // what the body failed with
}

// Size is what the client said.
func (u *upload) Size() int64 { return u.size }

// ReadAt reads on.
func (u *upload) ReadAt(p []byte, off int64) (int, error) {
	if off != u.read {
		return 0, failure.New(failure.Internal, "read", u.c.target.object.String(), "an upload is read once, in order: at %d, not %d", u.read, off)
	}
	done := 0
	for done < len(p) && u.read < u.size {
		u.c.w.expectBody()
		part := p[done:min(done+piece, len(p))]
		part = part[:min(int64(len(part)), u.size-u.read)]
		n, err := io.ReadFull(u.c.r.Body, part)
		if u.sum != nil {
			u.sum.Write(part[:n])
		}
		done += n
		u.read += int64(n)
		if err != nil {
			u.broken = err
			return 0, failure.WrapAs(failure.Unavailable, err, "read", u.c.target.object.String())
		}
	}
	if u.read < u.size {
		return done, nil
	}
	u.c.w.expectNothing()
	if err := u.verify(); err != nil {
		return 0, err
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// verify compares the content's hash with its name.
func (u *upload) verify() error {
	if u.sum != nil && hex.EncodeToString(u.sum.Sum(nil)) != u.want {
		return failure.WrapAs(failure.Corrupt, errOtherContent, "save", u.c.target.object.String())
	}
	return nil
}
