package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
)

// start serves o on loopback over plain HTTP, with a repository r, and tells of every request that ended.
func start(t *testing.T, o Options) (s *Server, address string, ended <-chan struct{}) {
	t.Helper()
	if o.Folder == "" {
		o.Folder = t.TempDir()
	}
	done := make(chan struct{}, 1000)
	o.Log = slog.New(tell{done})
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	if code, _ := post(t, h.URL+"/r/?create=true", nil); code != http.StatusOK {
		t.Fatalf("create: %d", code)
	}
	<-done
	return s, h.Listener.Addr().String(), done
}

// tell is a log that tells of ended requests.
type tell struct{ done chan struct{} }

func (h tell) Enabled(context.Context, slog.Level) bool { return true }
func (h tell) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h tell) WithGroup(string) slog.Handler            { return h }
func (h tell) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "request" {
		h.done <- struct{}{}
	}
	return nil
}

func post(t *testing.T, url string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// filesIn are the files below a folder, hidden ones too.
func filesIn(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestUploads holds what becomes of uploads that are too large, of unknown length, cut off, or that do not move: nothing
// is stored, and nothing is left.
func TestUploads(t *testing.T) {
	o := blobtest.Make(blob.Pack, 1, 100_000)
	path := "/r/" + o.Handle.String()
	t.Run("unknown length", func(t *testing.T) {
		s, address, _ := start(t, Options{})
		if code, _ := post(t, "http://"+address+path, io.MultiReader(bytes.NewReader(o.Bytes))); code != http.StatusLengthRequired {
			t.Errorf("%d, want 411", code)
		}
		if left := filesIn(t, s.opts.Folder); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
	t.Run("too large", func(t *testing.T) {
		s, address, _ := start(t, Options{MaxObject: 99_999})
		if code, _ := post(t, "http://"+address+path, bytes.NewReader(o.Bytes)); code != http.StatusRequestEntityTooLarge {
			t.Errorf("%d, want 413", code)
		}
		if left := filesIn(t, s.opts.Folder); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
	for name, tt := range map[string]struct {
		stall time.Duration
		close bool
		want  string
	}{
		"cut off":       {stall: time.Minute, close: true},
		"does not move": {stall: 30 * time.Millisecond, want: "HTTP/1.1 408"},
	} {
		t.Run(name, func(t *testing.T) {
			s, address, ended := start(t, Options{Stall: tt.stall})
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, len(o.Bytes), o.Bytes[:70_000])
			if tt.close {
				c.Close()
			} else if line, err := bufio.NewReader(c).ReadString('\n'); !strings.HasPrefix(line, tt.want) {
				t.Errorf("the answer is %q, %v, want %s", line, err, tt.want)
			}
			<-ended
			if left := filesIn(t, s.opts.Folder); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestSlowReader holds that somebody who does not take his answer is given up.
func TestSlowReader(t *testing.T) {
	s, address, ended := start(t, Options{Stall: 50 * time.Millisecond})
	o := blobtest.Make(blob.Pack, 1, 64<<20) // more than sockets hold
	store, err := s.open(filepath.Join(s.opts.Folder, "r"))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /r/%s HTTP/1.1\r\nHost: h\r\n\r\n", o.Handle)
	<-ended
	n, _ := io.Copy(io.Discard, c)
	if n >= int64(len(o.Bytes)) {
		t.Errorf("all of the answer was there: the test is too small")
	}
}

// TestSpan holds that ranges are what package http makes of them, where one range is asked for.
func TestSpan(t *testing.T) {
	for _, size := range []int64{0, 1, 10} {
		text := []byte("0123456789")[:size]
		for _, header := range []string{"", "bytes=0-", "bytes=0-0", "bytes=0-8", "bytes=0-9", "bytes=0-10", "bytes=3-7", "bytes=9-", "bytes=10-", "bytes=11-20",
			"bytes=-1", "bytes=-10", "bytes=-99", "bytes=5-99999999999999", "bytes=1-1"} {
			r := httptest.NewRequest("GET", "/", nil)
			if size == 0 && strings.HasPrefix(header, "bytes=-") {
				continue // package http gives a range that ends before it begins
			}
			if header != "" {
				r.Header.Set("Range", header)
			}
			want := httptest.NewRecorder()
			http.ServeContent(want, r, "x.bin", time.Time{}, bytes.NewReader(text))
			first, length, status := span(header, size)
			if status != want.Code {
				t.Errorf("%q of %d: status %d, want %d", header, size, status, want.Code)
				continue
			}
			if status != http.StatusRequestedRangeNotSatisfiable && string(text[first:first+length]) != want.Body.String() {
				t.Errorf("%q of %d: %d bytes from %d, want %q", header, size, length, first, want.Body)
			}
		}
	}
	for _, header := range []string{"bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-0", "bytes=0-1,3-4", "lines=0-1", "bytes=+1-2", "bytes=--1", "bytes=99999999999999999999-",
		"bytes=0-99999999999999999999", "bytes= 0-1", "bytes=0x1-2"} {
		if first, length, status := span(header, 10); first != 0 || length != 10 || status != http.StatusOK {
			t.Errorf("%q: %d bytes from %d, %d, want everything", header, length, first, status)
		}
	}
	if _, _, status := span("bytes=-0", 10); status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("the last 0 bytes: %d, want 416", status)
	}
}

// odd is a store of which some calls fail.
type odd struct {
	blob.Store
	list func(ctx context.Context, each func(blob.Info) error) error
	load io.ReadCloser
	save error
}

func (o odd) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	if o.list != nil {
		return o.list(ctx, each)
	}
	return o.Store.List(ctx, t, each)
}

func (o odd) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	if o.load != nil {
		return o.load, nil
	}
	return o.Store.Load(ctx, h, offset, length)
}

func (o odd) Save(ctx context.Context, h blob.Handle, content blob.Content) error {
	if o.save != nil {
		return o.save
	}
	return o.Store.Save(ctx, h, content)
}

// TestBrokenStore holds that an answer that breaks off is never taken for a whole one, and what a client is told of a
// store that fails.
func TestBrokenStore(t *testing.T) {
	s, address, _ := start(t, Options{})
	o := blobtest.Make(blob.Index, 1, 1<<20)
	if code, text := post(t, "http://"+address+"/r/"+o.Handle.String(), bytes.NewReader(o.Bytes)); code != http.StatusOK {
		t.Fatal(code, text)
	}
	real, broken := s.open, errors.New("the disk is on fire at /secret/path")
	var with odd
	s.open = func(folder string) (blob.Store, error) {
		inner, err := real(folder)
		o := with
		o.Store = inner
		return o, err
	}
	get := func(path string) (int, string, error) {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text), err
	}
	for n, whole := range map[int]bool{0: true, 1: true, 100_000: false} { // of how many an answer is on its way already
		with = odd{list: func(_ context.Context, each func(blob.Info) error) error {
			for range n {
				if err := each(blob.Info{Handle: o.Handle, Size: 1}); err != nil {
					return err
				}
			}
			return broken
		}}
		code, text, err := get("/r/index/")
		if whole && (err != nil || code != http.StatusInternalServerError || strings.Contains(text, "secret")) {
			t.Errorf("a listing that breaks after %d: %d %q, %v", n, code, text, err)
		}
		if !whole && err == nil {
			t.Errorf("a listing that breaks after %d looks whole: %d bytes", n, len(text))
		}
	}
	with = odd{load: io.NopCloser(io.MultiReader(bytes.NewReader(o.Bytes[:700_000]), failing{broken}))}
	if code, text, err := get("/r/" + o.Handle.String()); err == nil {
		t.Errorf("an object that breaks off looks whole: %d, %d bytes", code, len(text))
	}
	with = odd{load: io.NopCloser(bytes.NewReader(o.Bytes[:700_000]))}
	if code, text, err := get("/r/" + o.Handle.String()); err == nil {
		t.Errorf("an object that ends early looks whole: %d, %d bytes", code, len(text))
	}
	other := blobtest.Make(blob.Index, 2, 10)
	for want, err := range map[int]error{
		http.StatusInsufficientStorage: failure.WrapAs(failure.Denied, syscall.ENOSPC, "save", "x"),
		http.StatusForbidden:           failure.New(failure.Exists, "save", "x", "there"),
		http.StatusNotFound:            failure.New(failure.NotFound, "save", "x", "no folder"),
		http.StatusInternalServerError: failure.WrapAs(failure.Indeterminate, broken, "save", "x"),
		http.StatusServiceUnavailable:  failure.New(failure.Canceled, "save", "x", "shut down"),
	} {
		with = odd{save: err}
		if code, text := post(t, "http://"+address+"/r/"+other.Handle.String(), bytes.NewReader(other.Bytes)); code != want || strings.Contains(text, "secret") {
			t.Errorf("%v: %d %s, want %d", err, code, text, want)
		}
	}
	if m := s.Metrics(); m.Full != 1 || m.Failed < 2 {
		t.Errorf("metrics: %+v", m)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestQuota holds that the quota bounds what is stored, small things included, that deleting gives it back, and that what
// changes past the server is found before somebody is refused for long.
func TestQuota(t *testing.T) {
	const limit = 1400 << 10 // the folders alone take a megabyte
	s, address, _ := start(t, Options{Quota: limit})
	now := time.Now()
	s.quota.now = func() time.Time { return now }
	save := func(seed uint64, size int) int {
		o := blobtest.Make(blob.Pack, seed, size)
		code, _ := post(t, "http://"+address+"/r/"+o.Handle.String(), bytes.NewReader(o.Bytes))
		return code
	}
	saved := 0
	for save(uint64(saved), 32) == http.StatusOK {
		if saved++; saved > limit/block {
			t.Fatal("nobody is refused")
		}
	}
	if saved < 50 {
		t.Errorf("only %d small objects were taken", saved)
	}
	used, err := measure(s.opts.Folder)
	if err != nil || used > limit || used < limit-2*block {
		t.Errorf("used: %d of %d, %v", used, limit, err)
	}
	remove := blobtest.Make(blob.Pack, 0, 32)
	r := httptest.NewRequest("DELETE", "/r/"+remove.Handle.String(), nil)
	s.ServeHTTP(httptest.NewRecorder(), r)
	if code := save(0, block); code != http.StatusOK {
		t.Errorf("after a delete: %d", code)
	}
	if code := save(9999, 32); code != http.StatusInsufficientStorage {
		t.Errorf("full again: %d", code)
	}
	past := blobtest.Make(blob.Pack, 1, 32)
	if err := os.Remove(filepath.Join(s.opts.Folder, "r", past.Handle.Path())); err != nil {
		t.Fatal(err)
	}
	if code := save(9999, 32); code != http.StatusInsufficientStorage {
		t.Errorf("removed past the server, and counted again at once: %d", code)
	}
	now = now.Add(recountAfter)
	if code := save(9999, 32); code != http.StatusOK {
		t.Errorf("removed past the server, a minute later: %d", code)
	}
	if code, _ := post(t, "http://"+address+"/other/?create=true", nil); code != http.StatusInsufficientStorage {
		t.Errorf("another repository: %d, want 507", code)
	}
	if a := s.quota.account(s.opts.Folder); a.reserved != 0 {
		t.Errorf("%d bytes stay reserved", a.reserved)
	}
}

// TestEnd holds that a request under way is finished when the server ends, but not forever.
func TestEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		grace  time.Duration
		finish bool
	}{"in time": {time.Minute, true}, "too late": {time.Millisecond, false}} {
		t.Run(name, func(t *testing.T) {
			s, err := New(Options{Folder: t.TempDir(), Grace: tt.grace})
			if err != nil {
				t.Fatal(err)
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Serve(ctx, l, nil) }()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			answers := bufio.NewReader(c)
			fmt.Fprintf(c, "POST /r/?create=true HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
			if resp, err := http.ReadResponse(answers, nil); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(resp, err)
			}
			o := blobtest.Make(blob.Key, 1, 1000)
			fmt.Fprintf(c, "POST /r/%s HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n", o.Handle)
			if line, err := answers.ReadString('\n'); !strings.Contains(line, "100") {
				t.Fatalf("%q, %v", line, err)
			}
			answers.ReadString('\n')
			cancel() // the request has begun: its body is asked for
			if !tt.finish {
				if err := <-ended; err != nil {
					t.Errorf("serve: %v", err)
				}
				return
			}
			c.Write(o.Bytes)
			if resp, err := http.ReadResponse(answers, nil); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("the request under way: %v, %v", resp, err)
			}
			if err := <-ended; err != nil {
				t.Errorf("serve: %v", err)
			}
		})
	}
}
