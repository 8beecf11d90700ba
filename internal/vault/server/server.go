// Package server serves vaults over restic's REST protocol, versions 1 and 2
// (https://restic.readthedocs.io/en/stable/REST_backend.html), for Lifeboat's agents and for plain restic alike.
//
// Repositories are folders in restic's local layout, below one folder: restic, rest-server and Lifeboat can work on them
// directly too. A user has the folder of his name and what is below it; append-only, he can add but neither delete nor
// overwrite. The server holds no key and cannot read what it keeps; it refuses content that has not its name. What a
// stolen host can and cannot do is in docs/vault-server.md. It is not for anything but a vault's objects: whoever may
// reach it, and which commands there are, is others' business. Start with [New] and [Server.Serve].
package server

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
)

// Defaults of Options.
const (
	DefaultMaxObject = 1 << 30 // bytes; restic's packs have at most 128 MiB and one blob more
	DefaultStall     = 2 * time.Minute
	DefaultGrace     = 30 * time.Second
)

// Options say what is served to whom.
type Options struct {
	// Folder is where the repositories lie. It must be there. Names in it that begin with a dot are never served.
	Folder string
	// Users may use the server; nil: whoever reaches it may use every repository.
	Users *Users
	// AppendOnly lets nobody but admins delete. Locks can always be deleted, for restic needs that; nobody can overwrite.
	AppendOnly bool
	// Quota bounds, in bytes, what each user's folder takes (without Users: all of Folder); 0: no bound. Every file
	// counts in whole blocks of 4 KiB.
	Quota int64
	// MaxObject is the largest object that is taken, in bytes; 0: DefaultMaxObject.
	MaxObject int64
	// Stall is for how long a client may take to send the next 32 KiB, or to take the next 128; 0: DefaultStall.
	Stall time.Duration
	// Grace is for how long requests may finish when the server ends; 0: DefaultGrace.
	Grace time.Duration
	Log   *slog.Logger // one record a request; nil: silent
}

// Server is the handler. Make one with New.
type Server struct {
	opts    Options
	quota   *quotas // nil: none
	counts  counters
	cleared sync.Map // when, by the folders of repositories that are written to

	// open gives the store of a repository's folder. The server reads content once and in order only.
	open func(folder string) (blob.Store, error)
}

// New makes a server. Invalid: Folder is not there.
func New(o Options) (*Server, error) {
	folder, err := existing(o.Folder)
	if err != nil {
		return nil, err
	}
	o.Folder = folder
	if o.MaxObject <= 0 {
		o.MaxObject = DefaultMaxObject
	}
	if o.Stall <= 0 {
		o.Stall = DefaultStall
	}
	if o.Grace <= 0 {
		o.Grace = DefaultGrace
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opts: o, open: func(folder string) (blob.Store, error) { return file.Open(folder) }}
	if o.Quota > 0 {
		s.quota = newQuotas(o.Quota)
	}
	return s, nil
}

// call is one request that was found to be allowed as far as its user and its path say.
type call struct {
	s      *Server
	w      *answer
	r      *http.Request
	user   User
	target target
	folder string
	store  blob.Store
}

// ServeHTTP answers one request, logs and counts it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{ResponseWriter: w, control: http.NewResponseController(w), stall: s.opts.Stall}
	a.expectNothing()
	begun := time.Now()
	s.counts.active.Add(1)
	defer s.counts.active.Add(-1)
	user := s.handle(a, r)
	s.counts.count(a)
	s.opts.Log.LogAttrs(r.Context(), slog.LevelInfo, "request", slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.String("user", user.Name), slog.String("remote", r.RemoteAddr), slog.Int("status", a.status()),
		slog.Int64("in", a.in), slog.Int64("out", a.out), slog.Duration("took", time.Since(begun)))
	if a.cut {
		panic(http.ErrAbortHandler) // the only way to tell the client that the answer is not whole
	}
	a.expectReader()
}

// handle finds out who asks for what, and answers.
func (s *Server) handle(w *answer, r *http.Request) User {
	var user User
	if s.opts.Users != nil {
		var ok bool
		if user, ok = s.authenticate(w, r); !ok {
			return user
		}
	}
	t, ok := parsePath(r.URL.Path)
	if !ok {
		w.refuse(http.StatusNotFound, "no such path")
		return user
	}
	if s.opts.Users != nil && !user.Admin && (len(t.repository) == 0 || t.repository[0] != user.Name) {
		w.refuse(http.StatusForbidden, "this user may only use the folder of his name")
		return user
	}
	folder := filepath.Join(append([]string{s.opts.Folder}, t.repository...)...)
	store, err := s.open(folder)
	if err != nil {
		s.opts.Log.ErrorContext(r.Context(), "a repository cannot be opened", "path", r.URL.Path, "error", err)
		w.refuse(http.StatusInternalServerError, "the server cannot open the repository")
		return user
	}
	defer store.Close()
	(&call{s: s, w: w, r: r, user: user, target: t, folder: folder, store: store}).dispatch()
	return user
}

// authenticate finds the user, or answers.
func (s *Server) authenticate(w *answer, r *http.Request) (User, bool) {
	name, password, _ := r.BasicAuth()
	user, err := s.opts.Users.Check(r.Context(), name, password)
	if err == nil {
		return user, true
	}
	if errors.Is(err, failure.Throttled) {
		w.Header().Set("Retry-After", "1")
		w.refuse(http.StatusTooManyRequests, "too many passwords are being checked")
		return User{}, false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="vault", charset="UTF-8"`)
	w.refuse(http.StatusUnauthorized, "wrong user or password")
	return User{}, false
}

// existing gives the absolute path of a folder that is there.
func existing(folder string) (string, error) {
	abs, err := filepath.Abs(folder)
	if err != nil || folder == "" {
		return "", failure.New(failure.Invalid, "serve", folder, "no folder is named")
	}
	info, err := os.Stat(abs)
	if err != nil {
		return "", failure.WrapAs(failure.Invalid, err, "serve", folder).WithHint("make the folder first; nothing is made at a mistyped path")
	}
	if !info.IsDir() {
		return "", failure.New(failure.Invalid, "serve", folder, "not a folder")
	}
	return abs, nil
}
