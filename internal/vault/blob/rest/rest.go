// Package rest keeps a vault's objects behind restic's REST protocol: at Lifeboat's own vault server, at restic's
// rest-server, or at whatever else speaks it (https://restic.readthedocs.io/en/stable/REST_backend.html).
//
// Version 2 of the protocol is asked for; of a server that only has version 1 the sizes in listings are asked one by
// one. Nothing is tried again here: every call is one request, or one and the question what its answer meant. Start
// with Open.
package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Defaults of Options.
const (
	DefaultConnections = 5 // restic's
	DefaultStall       = 5 * time.Minute
)

// accept is how version 2 of the protocol is asked for.
const accept = "application/vnd.x.restic.rest.v2"

// Options are where the repository is and who asks.
type Options struct {
	// URL of the repository: http://host:8000/path/, https://host:8000/path/ or http+unix:///path/of/socket:/path/ (as
	// restic from 0.17 on). Credentials in it are Invalid: they belong into User and Password.
	URL            string
	User, Password string // basic authentication; both empty: none
	// TLS holds authorities and the client's certificates; nil: the system's authorities. It is cloned.
	TLS *tls.Config
	// Connections is how many calls at once the server is good for; 0: DefaultConnections.
	Connections int
	// Stall is for how long a request may stand still, in either direction, before it is given up; 0: DefaultStall.
	Stall time.Duration
	Log   *slog.Logger // nil: silent
}

// Store is a repository at a server. Make one with Open.
type Store struct {
	base      string // the repository's URL, ends in a slash
	location  string
	opts      Options
	client    *http.Client
	transport *http.Transport
}

// Open gives a store on the repository at a URL, which need not exist before Create. It asks nobody.
func Open(o Options) (*Store, error) {
	base, socket, err := address(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Connections <= 0 {
		o.Connections = DefaultConnections
	}
	if o.Stall <= 0 {
		o.Stall = DefaultStall
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	t := newTransport(o, socket)
	location := base
	if socket != "" {
		location = o.URL
	}
	return &Store{base: base, location: "rest:" + location, opts: o, transport: t, client: &http.Client{
		Transport: t,
		// A redirect would turn a POST into a GET, and could carry the password elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// address splits a URL into that of the requests and the socket to dial, which is empty for a host.
func address(text string) (base, socket string, err error) {
	wrong := func(why string) (string, string, error) {
		return "", "", failure.New(failure.Invalid, "open", "rest:…", "%s", why).WithHint("want https://host:8000/path/, without credentials")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return wrong("not a URL") // the cause would repeat it
	case u.User != nil:
		return wrong("the URL has credentials in it")
	case u.RawQuery != "" || u.Fragment != "":
		return wrong("the URL has a query or a fragment")
	case u.Scheme == "http+unix":
		var path string
		if socket, path, _ = strings.Cut(u.Path, ":"); u.Host != "" || strings.Trim(socket, "/") == "" {
			return wrong("the URL names no socket: want http+unix:///path/of/socket:/path/")
		}
		u = &url.URL{Scheme: "http", Host: "localhost", Path: path}
	case u.Scheme != "http" && u.Scheme != "https":
		return wrong("the URL's scheme is neither http, https nor http+unix")
	case u.Hostname() == "":
		return wrong("the URL names no host")
	}
	return strings.TrimSuffix(u.String(), "/") + "/", socket, nil
}

// at is the URL of an object.
func (s *Store) at(h blob.Handle) string { return s.base + h.String() }

// Create makes the repository's folders at the server.
func (s *Store) Create(ctx context.Context) error {
	resp, err := s.do(ctx, request{method: http.MethodPost, url: s.base + "?create=true", op: "create", subject: s.location})
	if err != nil {
		return err
	}
	return resp.drain()
}

// Stat gives the object's size.
func (s *Store) Stat(ctx context.Context, h blob.Handle) (blob.Info, error) {
	if err := h.Check("stat"); err != nil {
		return blob.Info{}, err
	}
	resp, err := s.do(ctx, request{method: http.MethodHead, url: s.at(h), op: "stat", subject: h.String()})
	if err != nil {
		return blob.Info{}, err
	}
	defer resp.Close()
	if resp.ContentLength < 0 {
		return blob.Info{}, failure.New(failure.Unavailable, "stat", h.String(), "the server does not say how long it is").
			WithHint("a proxy in between may drop the Content-Length of answers to HEAD")
	}
	return blob.Info{Handle: h, Size: resp.ContentLength}, nil
}

// Remove removes the object.
func (s *Store) Remove(ctx context.Context, h blob.Handle) error {
	if err := h.Check("remove"); err != nil {
		return err
	}
	resp, err := s.do(ctx, request{method: http.MethodDelete, url: s.at(h), op: "remove", subject: h.String(), changes: true})
	if errors.Is(err, failure.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return resp.drain()
}

// Facts says what the protocol promises. Restic's rest-server lets two that create one object at once both succeed.
func (s *Store) Facts() blob.Facts {
	return blob.Facts{Location: s.location, MaxParallel: s.opts.Connections}
}

// Close gives up connections.
func (s *Store) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

var _ blob.Store = (*Store)(nil)
