package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/test/ports"
)

// server answers with h, and gives a store on it whose password is hunter2.
func server(t *testing.T, h http.HandlerFunc) *Store {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return open(t, Options{URL: s.URL + "/r/"})
}

func open(t *testing.T, o Options) *Store {
	t.Helper()
	o.User, o.Password = "alice", "hunter2"
	store, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// calls are all methods that ask a server, on an object of 100,000 bytes.
func calls(ctx context.Context, s *Store) map[string]error {
	o := blobtest.Make(blob.Pack, 1, 100_000)
	load := func(offset, length int64) error {
		r, err := s.Load(ctx, o.Handle, offset, length)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		return errors.Join(err, r.Close())
	}
	_, stat := s.Stat(ctx, o.Handle)
	return map[string]error{
		"create": s.Create(ctx), "stat": stat, "save": s.Save(ctx, o.Handle, bytes.NewReader(o.Bytes)), "load": load(0, blob.ToEnd), "range": load(10, 20),
		"list": s.List(ctx, blob.Pack, func(blob.Info) error { return nil }), "remove": s.Remove(ctx, o.Handle),
	}
}

// TestStatuses holds what each refusal means to each call, and that no message shows the password.
func TestStatuses(t *testing.T) {
	type kinds map[string]failure.Kind
	for status, want := range map[int]struct {
		all    failure.Kind
		except kinds
	}{
		400: {all: failure.Invalid, except: kinds{"save": failure.Unavailable}}, // its name is right: it was damaged on its way
		401: {all: failure.Denied},
		403: {all: failure.Denied},
		404: {all: failure.NotFound, except: kinds{"remove": 255}},
		405: {all: failure.Unsupported},
		408: {all: failure.Unavailable},
		409: {all: failure.Conflict},
		411: {all: failure.Invalid},
		413: {all: failure.Denied},
		418: {all: failure.Invalid},
		429: {all: failure.Throttled},
		301: {all: failure.Invalid},
		307: {all: failure.Invalid},
		500: {all: failure.Unavailable},
		501: {all: failure.Unsupported},
		502: {all: failure.Unavailable, except: kinds{"save": failure.Indeterminate, "remove": failure.Indeterminate}},
		503: {all: failure.Unavailable},
		504: {all: failure.Unavailable, except: kinds{"save": failure.Indeterminate, "remove": failure.Indeterminate}},
		507: {all: failure.Denied},
		599: {all: failure.Unavailable},
	} {
		s := server(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Location", "https://u:hunter2@elsewhere.example/r/?token=hunter2")
			http.Error(w, "you said "+r.Header.Get("Authorization")+" hunter2", status)
		})
		for name, err := range calls(t.Context(), s) {
			kind, there := want.except[name]
			if !there {
				kind = want.all
			}
			if kind == 255 {
				if err != nil {
					t.Errorf("%d: %s: %v, want nothing", status, name, err)
				}
				continue
			}
			if !errors.Is(err, kind) || err == nil || failure.KindOf(err) != kind {
				t.Errorf("%d: %s: %v, want %s", status, name, err, kind)
				continue
			}
			if text := err.Error() + failure.HintOf(err); strings.Contains(text, "hunter2") {
				t.Errorf("%d: %s shows the password: %s", status, name, text)
			}
		}
	}
}

// TestSaid holds that a server's own words come along, and only when they are plain.
func TestSaid(t *testing.T) {
	for said, want := range map[string]bool{"append-only": true, "append-only\nsecond line": true, "": false, "\x1b[2Jboo": false, "<html>hunter2": false, "grüße": false} {
		s := server(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, said, http.StatusForbidden) })
		err := s.Remove(t.Context(), blobtest.Make(blob.Pack, 1, 1).Handle)
		first, _, _ := strings.Cut(said, "\n")
		if got := said != "" && strings.Contains(err.Error(), "("+first+")"); got != want {
			t.Errorf("%q: %v", said, err)
		}
	}
}

// TestLost holds which failures leave open whether something was done: those after which the server may have had all.
func TestLost(t *testing.T) {
	o := blobtest.Make(blob.Pack, 1, 32<<20) // more than sockets hold
	cut := func(w http.ResponseWriter) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			c.Close()
		}
	}
	afterAll := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		cut(w)
	}
	half := func(w http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 1000)
		cut(w)
	}
	for name, tt := range map[string]struct {
		server       http.HandlerFunc
		save, remove failure.Kind
	}{
		"after all of it": {afterAll, failure.Indeterminate, failure.Indeterminate},
		"in the middle":   {half, failure.Unavailable, failure.Indeterminate},
	} {
		s := server(t, tt.server)
		if err := s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); failure.KindOf(err) != tt.save {
			t.Errorf("%s: save: %v, want %s", name, err, tt.save)
		}
		if err := s.Remove(t.Context(), o.Handle); failure.KindOf(err) != tt.remove {
			t.Errorf("%s: remove: %v, want %s", name, err, tt.remove)
		}
		if _, err := s.Stat(t.Context(), o.Handle); failure.KindOf(err) != failure.Unavailable {
			t.Errorf("%s: stat: %v, want unavailable", name, err)
		}
		if err := s.Create(t.Context()); failure.KindOf(err) != failure.Unavailable { // it can be repeated
			t.Errorf("%s: create: %v, want unavailable", name, err)
		}
	}
	for name, err := range calls(t.Context(), open(t, Options{URL: "http://" + ports.Address(t)})) {
		if failure.KindOf(err) != failure.Unavailable {
			t.Errorf("nobody listens: %s: %v, want unavailable", name, err)
		}
	}
}

// TestCutBodies holds that answers that end early, and answers that are something else, are never taken for whole.
func TestCutBodies(t *testing.T) {
	o := blobtest.Make(blob.Pack, 1, 200_000)
	listing := fmt.Sprintf(`[{"name":%q,"size":5},{"name":%q,"size":6}]`, o.Handle.Name, blobtest.Make(blob.Pack, 2, 1).Handle.Name)
	for name, h := range map[string]http.HandlerFunc{
		"cut with a length": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(o.Bytes)))
			w.Write(o.Bytes[:100_000])
			panic(http.ErrAbortHandler)
		},
		"cut without a length": func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte(listing[:30]))
			w.(http.Flusher).Flush()
			w.Write(o.Bytes[:100_000])
			panic(http.ErrAbortHandler)
		},
		"nothing of it": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "200000")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
	} {
		s := server(t, h)
		for _, span := range [][2]int64{{0, blob.ToEnd}, {0, 200_000}, {0, 150_000}} {
			r, err := s.Load(t.Context(), o.Handle, span[0], span[1])
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				r.Close()
			}
			if failure.KindOf(orNone(err)) != failure.Unavailable {
				t.Errorf("%s: load of %v: %v, want unavailable", name, span, err)
			}
		}
		if err := s.List(t.Context(), blob.Pack, func(blob.Info) error { return nil }); failure.KindOf(orNone(err)) != failure.Unavailable {
			t.Errorf("%s: list: %v, want unavailable", name, err)
		}
	}
	for _, text := range []string{"", "null", "{}", "<html>", "[", "[1]", `["`, `[{"name":1}]`, listing[:len(listing)-1], listing[:40], listing + "x", listing + listing,
		`[{"name":"` + o.Handle.Name + `","size":-1}]`, `[{"name":"` + o.Handle.Name + `","size":1e99}]`} {
		s := server(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text) })
		if err := s.List(t.Context(), blob.Pack, func(blob.Info) error { return nil }); failure.KindOf(orNone(err)) != failure.Unavailable {
			t.Errorf("the listing %.50q: %v, want unavailable", text, err)
		}
	}
}

// orNone makes success an error, for KindOf.
func orNone(err error) error {
	if err == nil {
		return failure.New(failure.Exists, "", "", "nothing went wrong")
	}
	return err
}

// TestRanges holds that whatever servers make of ranges, exactly what was asked for is read, or an error.
func TestRanges(t *testing.T) {
	o := blobtest.Make(blob.Pack, 1, 1000)
	ignoring := func(w http.ResponseWriter, r *http.Request) { w.Write(o.Bytes) }
	chunked := func(w http.ResponseWriter, r *http.Request) {
		w.Write(o.Bytes[:500])
		w.(http.Flusher).Flush()
		w.Write(o.Bytes[500:])
	}
	bare416 := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Length", "1000")
			return
		}
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
	}
	partial := func(contentRange string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", contentRange)
			w.WriteHeader(http.StatusPartialContent)
			w.Write(body)
		}
	}
	const fine, short, broken = 0, failure.Corrupt, failure.Unavailable
	for name, tt := range map[string]struct {
		server         http.HandlerFunc
		offset, length int64
		want           failure.Kind
	}{
		"ignored":                  {ignoring, 100, 50, fine},
		"ignored, to the end":      {ignoring, 100, blob.ToEnd, fine},
		"ignored, all":             {ignoring, 0, blob.ToEnd, fine},
		"ignored, at the end":      {ignoring, 1000, blob.ToEnd, fine},
		"ignored, beyond":          {ignoring, 1001, blob.ToEnd, short},
		"ignored, too long":        {ignoring, 900, 101, short},
		"chunked":                  {chunked, 100, 50, fine},
		"chunked, to the end":      {chunked, 100, blob.ToEnd, fine},
		"chunked, beyond":          {chunked, 1001, blob.ToEnd, short},
		"chunked, too long":        {chunked, 900, 101, short},
		"416, at the end":          {bare416, 1000, blob.ToEnd, fine},
		"416, beyond":              {bare416, 1001, blob.ToEnd, short},
		"416, one at the end":      {bare416, 1000, 1, short},
		"another range":            {partial("bytes 0-49/1000", o.Bytes[:50]), 100, 50, broken},
		"no range":                 {partial("", o.Bytes[:50]), 100, 50, broken},
		"shorter":                  {partial("bytes 100-139/1000", o.Bytes[100:140]), 100, 50, short},
		"longer":                   {partial("bytes 100-199/1000", o.Bytes[100:200]), 100, 50, fine},
		"less than to the end":     {partial("bytes 100-139/1000", o.Bytes[100:140]), 100, blob.ToEnd, broken},
		"to an end that is not it": {partial("bytes 100-999/*", o.Bytes[100:]), 100, blob.ToEnd, fine},
	} {
		s := server(t, tt.server)
		r, err := s.Load(t.Context(), o.Handle, tt.offset, tt.length)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
			r.Close()
		}
		if tt.want != fine {
			if failure.KindOf(orNone(err)) != tt.want {
				t.Errorf("%s: %d bytes, %v, want %s", name, len(got), err, tt.want)
			}
			continue
		}
		end := tt.offset + tt.length
		if tt.length == blob.ToEnd {
			end = 1000
		}
		if err != nil || !bytes.Equal(got, o.Bytes[tt.offset:end]) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// TestVersion1 reads listings without sizes, and passes over what is gone or is no object.
func TestVersion1(t *testing.T) {
	sizes := map[string]int64{}
	var names []string
	for i := range 23 {
		o := blobtest.Make(blob.Snapshot, uint64(i), 10+i)
		names = append(names, o.Handle.Name)
		if i != 7 {
			sizes[o.Handle.Name] = int64(10 + i)
		}
	}
	var atOnce, most atomic.Int32
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/snapshots/") {
			fmt.Fprintf(w, `["%s","x","../config"]`, strings.Join(names, `","`))
			return
		}
		n := atOnce.Add(1)
		defer atOnce.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		size, ok := sizes[filepath.Base(r.URL.Path)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
	})
	got := map[string]int64{}
	err := s.List(t.Context(), blob.Snapshot, func(i blob.Info) error {
		got[i.Name] = i.Size
		return nil
	})
	if diff := cmp.Diff(sizes, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if most.Load() > DefaultConnections {
		t.Errorf("%d requests at once, want at most %d", most.Load(), DefaultConnections)
	}
	enough, calls := errors.New("enough"), 0
	err = s.List(t.Context(), blob.Snapshot, func(blob.Info) error {
		if calls++; calls == 8 {
			return enough
		}
		return nil
	})
	if err != enough || calls != 8 {
		t.Errorf("an error of the callback: %v after %d calls", err, calls)
	}
}

// TestNothingThere holds that a mistyped URL is no empty vault, and an empty folder is no missing vault.
func TestNothingThere(t *testing.T) {
	config := false
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		if config && strings.HasSuffix(r.URL.Path, "/config") {
			w.Header().Set("Content-Length", "155")
			return
		}
		http.NotFound(w, r)
	})
	list := func() error { return s.List(t.Context(), blob.Lock, func(blob.Info) error { return nil }) }
	if err := list(); failure.KindOf(orNone(err)) != failure.NotFound {
		t.Errorf("without a vault: %v, want not found", err)
	}
	config = true
	if err := list(); err != nil {
		t.Errorf("without the folder: %v", err)
	}
}

// TestStalled holds that a server that stands still is given up, wherever it does, and one that is slow is not.
func TestStalled(t *testing.T) {
	o := blobtest.Make(blob.Pack, 1, 8<<20)
	release := make(chan struct{})
	var all sync.Once
	defer all.Do(func() { close(release) })
	for name, h := range map[string]http.HandlerFunc{
		"no answer":     func(w http.ResponseWriter, r *http.Request) { <-release },
		"takes nothing": func(w http.ResponseWriter, r *http.Request) { io.CopyN(io.Discard, r.Body, 10); <-release },
		"stops halfways": func(w http.ResponseWriter, r *http.Request) {
			w.Write(o.Bytes[:4<<20])
			w.(http.Flusher).Flush()
			<-release
		},
	} {
		h := httptest.NewServer(h)
		s := open(t, Options{URL: h.URL, Stall: 40 * time.Millisecond})
		err := s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes))
		if name != "stops halfways" && failure.KindOf(orNone(err)) != failure.Unavailable {
			t.Errorf("%s: save: %v, want unavailable", name, err)
		}
		r, err := s.Load(t.Context(), o.Handle, 0, blob.ToEnd)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		if failure.KindOf(orNone(err)) != failure.Unavailable || !strings.Contains(fmt.Sprint(err), "nothing has moved") {
			t.Errorf("%s: load: %v, want unavailable", name, err)
		}
		s.Close()
		h.CloseClientConnections()
		t.Cleanup(h.Close)
	}
	all.Do(func() { close(release) })
}
