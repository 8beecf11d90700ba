package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Save sends content. An answer that is lost after all of it was sent is Indeterminate.
func (s *Store) Save(ctx context.Context, h blob.Handle, content blob.Content) error {
	if err := h.Check("save"); err != nil {
		return err
	}
	r := request{method: http.MethodPost, url: s.at(h), op: "save", subject: h.String(), content: content, changes: true,
		wanted: []int{http.StatusBadRequest, http.StatusForbidden, http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity}}
	resp, err := s.do(ctx, r)
	if err != nil {
		return err
	}
	said := s.said(resp)
	whole := resp.sending.whole()
	if err := resp.Close(); err != nil && resp.StatusCode < 300 && ctx.Err() != nil {
		return failure.Wrap(ctx.Err(), "save", h.String())
	}
	switch resp.StatusCode {
	case http.StatusForbidden, http.StatusConflict, http.StatusPreconditionFailed:
		// Servers say "forbidden" both of what is there already and of what this user may not do.
		if _, err := s.Stat(ctx, h); err == nil {
			return failure.New(failure.Exists, "save", h.String(), "stored already")
		}
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return wrongContent(h, content, said)
	default:
		if !whole {
			return failure.New(failure.Unavailable, "save", h.String(), "the server answers %d before it has everything", resp.StatusCode)
		}
		return nil
	}
	return refused(r, resp.StatusCode, said, "")
}

// wrongContent tells content that has not its name, which no server should take, from content that was damaged on its
// way.
func wrongContent(h blob.Handle, content blob.Content, said string) error {
	sum := sha256.New()
	if _, err := io.Copy(sum, blob.Reader(content)); err != nil {
		return failure.Wrap(err, "save", h.String())
	}
	switch got := hex.EncodeToString(sum.Sum(nil)); {
	case h.Type == blob.Config:
		return failure.New(failure.Invalid, "save", h.String(), "the server refuses the content%s", said)
	case got != h.Name:
		return failure.New(failure.Corrupt, "save", h.String(), "the content has another SHA-256: %s", got)
	}
	return failure.New(failure.Unavailable, "save", h.String(), "the server got something else than was sent%s", said)
}

// sending is a content on its way: the transport reads it in a goroutine of its own, perhaps more than once, and may
// still do so when the answer is there. After stop it does not touch the content any more.
type sending struct {
	content blob.Content // nil: there is no body
	watch   *watch

	mu      sync.Mutex
	read    int64 // bytes handed over in the last attempt
	err     error // what the content failed with
	stopped bool
}

// send makes content the body of req.
func send(req *http.Request, content blob.Content, w *watch) *sending {
	s := &sending{content: content, watch: w}
	if content == nil {
		return s
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	if content.Size() == 0 {
		req.Body = http.NoBody
		return s
	}
	if content.Size() >= expectFrom {
		req.Header.Set("Expect", "100-continue")
	}
	req.ContentLength = content.Size()
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(&body{s: s, from: blob.Reader(content)}), nil }
	req.Body, _ = req.GetBody() // it never fails
	return s
}

// whole reports whether everything was handed to the connection. Ask after stop, or after the answer.
func (s *sending) whole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.content == nil || s.read >= s.content.Size()
}

// stop waits for a Read that is under way, and lets none begin any more.
func (s *sending) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

// body is one attempt's way through the content.
type body struct {
	s    *sending
	from io.Reader
	read int64
}

// Read hands content over.
func (b *body) Read(p []byte) (int, error) {
	s := b.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return 0, errors.New("nobody waits for this answer any more")
	}
	n, err := b.from.Read(p)
	b.read += int64(n)
	s.read = b.read
	if errors.Is(err, io.EOF) && b.read < s.content.Size() {
		err = failure.New(failure.Internal, "read", "", "the content ended before its size")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	s.watch.move()
	return n, err
}

// maxSaid bounds what is repeated of an answer, in bytes.
const maxSaid = 200

// said is the first line of an answer in plain text, as " (…)", or nothing. The server may be anything: what is not
// plain is left out, and so is whatever has the password in it.
func (s *Store) said(r *response) string {
	text, err := io.ReadAll(io.LimitReader(r, maxSaid))
	if kind := r.Header.Get("Content-Type"); err != nil || len(kind) < 10 || kind[:10] != "text/plain" {
		return ""
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	for _, c := range line {
		if c < ' ' || c > '~' {
			return ""
		}
	}
	if len(line) == 0 || s.opts.Password != "" && bytes.Contains(line, []byte(s.opts.Password)) {
		return ""
	}
	return " (" + string(line) + ")"
}
