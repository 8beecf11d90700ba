package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// List reads the server's listing while it arrives.
func (s *Store) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	if !t.Valid() {
		return failure.New(failure.Invalid, "list", t.String(), "no such type")
	}
	if t == blob.Config {
		return s.listConfig(ctx, each)
	}
	resp, err := s.do(ctx, request{method: http.MethodGet, url: s.base + t.String() + "/", op: "list", subject: t.String(), wanted: []int{http.StatusNotFound}})
	if err != nil {
		return err
	}
	defer resp.Close()
	if resp.StatusCode == http.StatusNotFound {
		// Nothing of this type, or no repository? A mistyped URL must not look like an empty vault.
		if _, err := s.Stat(ctx, blob.Handle{Type: blob.Config}); err != nil {
			return failure.Wrap(err, "list "+t.String(), s.location)
		}
		return nil
	}
	l := &listing{store: s, ctx: ctx, t: t, each: each}
	if err := l.read(resp); err != nil {
		return err
	}
	return l.flush()
}

// listConfig stands for the listing that the protocol does not have.
func (s *Store) listConfig(ctx context.Context, each func(blob.Info) error) error {
	info, err := s.Stat(ctx, blob.Handle{Type: blob.Config})
	if errors.Is(err, failure.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return each(info)
}

// listing is a JSON array on its way to each.
type listing struct {
	store *Store
	ctx   context.Context
	t     blob.Type
	each  func(blob.Info) error
	names []string // of version 1: without sizes yet
}

// entry is one object of a listing: {"name":…,"size":…}, or in version 1 only its name.
type entry struct {
	Name string `json:"name"`
	Size *int64 `json:"size"`
}

// UnmarshalJSON reads both versions.
func (e *entry) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, &e.Name)
	}
	type plain entry
	return json.Unmarshal(text, (*plain)(e))
}

// read reads the array.
func (l *listing) read(r io.Reader) error {
	dec := json.NewDecoder(r)
	if first, err := dec.Token(); err != nil || first != json.Delim('[') {
		return l.broken(err)
	}
	for dec.More() {
		var e entry
		if err := dec.Decode(&e); err != nil {
			return l.broken(err)
		}
		if !blob.ValidName(e.Name) {
			continue // a temporary file, or another program's
		}
		var err error
		switch {
		case e.Size == nil:
			l.names = append(l.names, e.Name)
			if len(l.names) >= l.store.opts.Connections {
				err = l.flush()
			}
		case *e.Size < 0:
			err = l.broken(nil)
		default:
			err = l.give(blob.Info{Handle: blob.Handle{Type: l.t, Name: e.Name}, Size: *e.Size})
		}
		if err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return l.broken(err)
	}
	if _, err := dec.Token(); err != io.EOF { // read to the end, so that the connection can be used again
		return l.broken(err)
	}
	return nil
}

// give calls each, unless nobody wants to know any more.
func (l *listing) give(info blob.Info) error {
	if err := l.ctx.Err(); err != nil {
		return failure.Wrap(err, "list", l.t.String())
	}
	return l.each(info)
}

// flush asks for the sizes of names, several at once. One that is gone meanwhile is left out.
func (l *listing) flush() error {
	infos := make([]blob.Info, len(l.names))
	g, ctx := errgroup.WithContext(l.ctx)
	for i, name := range l.names {
		g.Go(func() error {
			info, err := l.store.Stat(ctx, blob.Handle{Type: l.t, Name: name})
			if errors.Is(err, failure.NotFound) {
				return nil
			}
			infos[i] = info
			return err
		})
	}
	l.names = l.names[:0]
	if err := g.Wait(); err != nil {
		return failure.Wrap(err, "list", l.t.String())
	}
	for _, info := range infos {
		if info.Type == 0 {
			continue
		}
		if err := l.give(info); err != nil {
			return err
		}
	}
	return nil
}

// broken is the error of an answer that is no listing, or half of one.
func (l *listing) broken(cause error) error {
	if cause != nil && failure.Classified(cause) {
		return cause
	}
	return failure.New(failure.Unavailable, "list", l.t.String(), "what the server answers is no listing, or half of one").
		WithHint("is this the URL of a restic REST server? A proxy in between may answer in its place")
}
