package rest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// statuses are what a server's refusals mean, and what to do. What is not here is Unavailable from 500 on, and Invalid
// below.
var statuses = map[int]struct {
	kind failure.Kind
	hint string
}{
	http.StatusUnauthorized:          {failure.Denied, "check the user's name and password, and that this user may use this repository"},
	http.StatusForbidden:             {failure.Denied, "the server does not allow it: see that the URL has the folder of this user"},
	http.StatusProxyAuthRequired:     {failure.Denied, "a proxy in between wants a password: see HTTPS_PROXY"},
	http.StatusNotFound:              {failure.NotFound, ""},
	http.StatusGone:                  {failure.NotFound, ""},
	http.StatusConflict:              {failure.Conflict, ""},
	http.StatusRequestTimeout:        {failure.Unavailable, ""},
	http.StatusMisdirectedRequest:    {failure.Unavailable, ""},
	http.StatusTooEarly:              {failure.Unavailable, ""},
	http.StatusTooManyRequests:       {failure.Throttled, ""},
	http.StatusRequestEntityTooLarge: {failure.Denied, "the server takes no objects of this size: make packs smaller, or raise its limit"},
	http.StatusMethodNotAllowed:      {failure.Unsupported, "is this the URL of a restic REST server?"},
	http.StatusNotImplemented:        {failure.Unsupported, ""},
	http.StatusInsufficientStorage:   {failure.Denied, "the server's disk or this user's quota is full: make room, then try again"},
}

// refused is the error that a status stands for. Target is where a redirect points.
func refused(r request, status int, said, target string) error {
	meaning, known := statuses[status]
	switch {
	case known:
	case r.changes && (status == http.StatusBadGateway || status == http.StatusGatewayTimeout):
		// Somebody in between lost the answer of the server.
		meaning.kind = failure.Indeterminate
	case status >= 500:
		meaning.kind = failure.Unavailable
	case status >= 300 && status <= 399:
		meaning.kind, meaning.hint = failure.Invalid, "use the URL that the server redirects to: "+bare(target)
	default:
		meaning.kind, meaning.hint = failure.Invalid, "is this the URL of a restic REST server?"
	}
	if status == http.StatusForbidden && r.changes {
		meaning.hint = "an append-only server lets this user add, and neither delete nor overwrite"
	}
	err := failure.New(meaning.kind, r.op, r.subject, "the server answers %d %s%s", status, http.StatusText(status), said)
	if meaning.hint == "" {
		return err
	}
	return err.WithHint("%s", meaning.hint)
}

// bare is a redirect's target without credentials and without what is asked of it.
func bare(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return "(it cannot be read)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// broken is the error of a request that got no whole answer. Lost: its effect is unknown.
func broken(ctx context.Context, w *watch, err error, r request, lost bool) error {
	if ctx.Err() != nil {
		return failure.WrapAs(failure.KindOf(ctx.Err()), context.Cause(ctx), r.op, r.subject)
	}
	if failure.Classified(err) {
		return err
	}
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err // without the URL, which the subject and the address say
	}
	kind, hint := failure.Unavailable, ""
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		cert      *tls.CertificateVerificationError
		remote    *net.OpError
		record    tls.RecordHeaderError
	)
	switch {
	case w.stalled():
		err = fmt.Errorf("%w: %s", errStalled, w.stall)
	case errors.As(err, &host):
		kind, hint = failure.Denied, "use a name that is in the server's certificate"
	case errors.As(err, &authority), errors.As(err, &cert):
		kind, hint = failure.Denied, "name the authority that signed the server's certificate: ca: in lifeboat.yaml, --cacert or RESTIC_CACERT"
	case errors.As(err, &remote) && remote.Op == "remote error": // what package tls calls an alert of the other side
		kind, hint = failure.Denied, "the server ends the handshake: it may want a client's certificate (cert: and key:, or RESTIC_TLS_CLIENT_CERT)"
	case errors.As(err, &remote) && remote.Op == "dial":
		hint = "see that the server runs, and that this machine reaches it"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		kind, hint = failure.Invalid, "the server does not speak TLS here: write http:// if that is meant, or use another port"
	}
	if lost && kind == failure.Unavailable {
		kind = failure.Indeterminate
	}
	wrapped := failure.WrapAs(kind, err, r.op, r.subject)
	if hint == "" {
		return wrapped
	}
	return wrapped.WithHint("%s", hint)
}
