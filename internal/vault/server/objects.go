package server

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// The content types by which the two versions of the protocol are told apart.
const (
	version1 = "application/vnd.x.restic.rest.v1"
	version2 = "application/vnd.x.restic.rest.v2"
)

// A client has Options.Stall for the next piece of its body, or of our answer. Bytes.
const (
	piece    = 32 << 10
	pieceOut = 128 << 10
)

// dispatch answers by what the path names and by the method.
func (c *call) dispatch() {
	t, method := c.target, c.r.Method
	switch {
	case t.object.Type.Valid():
		switch method {
		case http.MethodHead, http.MethodGet:
			c.load()
		case http.MethodPost:
			c.save()
		case http.MethodDelete:
			c.remove()
		default:
			c.notAllowed("HEAD, GET, POST, DELETE")
		}
	case t.listing.Valid():
		if method == http.MethodGet {
			c.list()
		} else {
			c.notAllowed("GET")
		}
	case method == http.MethodPost:
		c.create()
	case method == http.MethodDelete && !c.mayDelete():
		c.w.refuse(http.StatusForbidden, "append-only")
	case method == http.MethodDelete:
		c.w.refuse(http.StatusNotImplemented, "whole repositories are removed on the server itself")
	default:
		c.notAllowed("POST, DELETE")
	}
}

func (c *call) notAllowed(methods string) {
	c.w.Header().Set("Allow", methods)
	c.w.refuse(http.StatusMethodNotAllowed, "no such method here")
}

// mayDelete reports whether this user may delete what is no lock.
func (c *call) mayDelete() bool {
	if c.s.opts.Users == nil {
		return !c.s.opts.AppendOnly
	}
	return c.user.Admin || !c.s.opts.AppendOnly && !c.user.AppendOnly
}

// failed answers what the store failed with.
func (c *call) failed(err error) {
	var full bool
	for _, no := range []error{syscall.ENOSPC, syscall.EDQUOT, errQuota} {
		full = full || errors.Is(err, no)
	}
	switch kind := failure.KindOf(err); {
	case full:
		c.w.refuse(http.StatusInsufficientStorage, "no room is left")
		return
	case kind == failure.NotFound:
		c.w.refuse(http.StatusNotFound, "not there")
		return
	case kind == failure.Exists:
		c.w.refuse(http.StatusForbidden, "stored already")
		return
	case kind == failure.Canceled:
		c.w.refuse(http.StatusServiceUnavailable, "the server ends, or the client is gone")
		return
	}
	c.s.opts.Log.ErrorContext(c.r.Context(), "a request fails", "method", c.r.Method, "path", c.r.URL.Path, "error", err)
	c.w.refuse(http.StatusInternalServerError, "the server's log says why")
}

// create makes the repository's folders.
func (c *call) create() {
	if c.r.URL.Query().Get("create") != "true" {
		c.w.refuse(http.StatusBadRequest, "want ?create=true")
		return
	}
	_, there := os.Stat(c.folder)
	done, err := c.reserve(foldersOfOne * block)
	if err != nil {
		c.failed(err)
		return
	}
	err = c.store.Create(c.r.Context())
	done(there != nil)
	if err != nil {
		c.failed(err)
	}
}

// load answers HEAD and GET, whole or one range.
func (c *call) load() {
	ctx, h := c.r.Context(), c.target.object
	info, err := c.store.Stat(ctx, h)
	if err != nil {
		c.failed(err)
		return
	}
	header := c.w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Accept-Ranges", "bytes")
	first, length, status := span(c.r.Header.Get("Range"), info.Size)
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		header.Set("Content-Range", fmt.Sprintf("bytes */%d", info.Size))
		c.w.refuse(status, "the object is shorter")
		return
	case http.StatusPartialContent:
		header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+length-1, info.Size))
	}
	header.Set("Content-Length", strconv.FormatInt(length, 10))
	if c.r.Method == http.MethodHead || length == 0 {
		c.w.WriteHeader(status)
		return
	}
	from, err := c.store.Load(ctx, h, first, length)
	if err != nil {
		c.failed(err)
		return
	}
	defer from.Close()
	c.w.WriteHeader(status)
	if _, err := io.CopyBuffer(struct{ io.Writer }{c.w}, from, make([]byte, pieceOut)); err != nil {
		c.s.opts.Log.WarnContext(ctx, "an answer is cut off", "path", c.r.URL.Path, "error", err)
		c.w.cut = true
	}
}

// span reads a Range header for an object of a size, as RFC 9110 wants it: what cannot be read, and several ranges, are
// the whole object.
func span(header string, size int64) (first, length int64, status int) {
	text, ok := strings.CutPrefix(header, "bytes=")
	from, to, dash := strings.Cut(text, "-")
	a, aOK := digits(from)
	b, bOK := digits(to)
	switch {
	case !ok || !dash || size == 0 || from != "" && !aOK || to != "" && !bOK || from == "" && to == "":
		return 0, size, http.StatusOK
	case from == "": // the last b bytes
		if b == 0 {
			return 0, 0, http.StatusRequestedRangeNotSatisfiable
		}
		b = min(b, size)
		return size - b, b, http.StatusPartialContent
	case to != "" && b < a:
		return 0, size, http.StatusOK
	case a >= size:
		return 0, 0, http.StatusRequestedRangeNotSatisfiable
	case to == "":
		return a, size - a, http.StatusPartialContent
	}
	b = min(b, size-1)
	return a, b - a + 1, http.StatusPartialContent
}

// digits reads a number without a sign.
func digits(text string) (int64, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// remove deletes an object, if this user may.
func (c *call) remove() {
	ctx, h := c.r.Context(), c.target.object
	if h.Type != blob.Lock && !c.mayDelete() {
		c.w.refuse(http.StatusForbidden, "append-only")
		return
	}
	info, err := c.store.Stat(ctx, h)
	if errors.Is(err, failure.NotFound) {
		return // so that it can be repeated
	}
	if err == nil {
		err = c.store.Remove(ctx, h)
	}
	if err != nil {
		c.failed(err)
		return
	}
	c.s.counts.removed.Add(1)
	c.free(info.Size)
}

// list writes the listing while it reads it. When that fails half-way, the connection is cut: a listing that ends early
// must not look whole.
func (c *call) list() {
	named := c.r.Header.Get("Accept") != version2
	w := bufio.NewWriterSize(c.w, piece)
	begun := false
	begin := func() {
		if kind := version2; !begun {
			if named {
				kind = version1
			}
			c.w.Header().Set("Content-Type", kind)
			w.WriteByte('[')
			begun = true
		}
	}
	n := 0
	err := c.store.List(c.r.Context(), c.target.listing, func(i blob.Info) error {
		begin()
		if n > 0 {
			w.WriteByte(',')
		}
		n++
		var entry any = i.Name
		if !named {
			entry = listed{i.Name, i.Size}
		}
		text, err := json.Marshal(entry)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	})
	switch {
	case err != nil && c.w.code == 0: // nothing is on its way yet
		c.failed(err)
		return
	case err != nil:
		c.s.opts.Log.WarnContext(c.r.Context(), "a listing is cut off", "path", c.r.URL.Path, "error", err)
		c.w.cut = true
		return
	}
	begin()
	w.WriteByte(']')
	if w.Flush() != nil {
		c.w.cut = true
	}
}

// listed is an object in a listing of version 2.
type listed struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}
