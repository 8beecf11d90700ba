package rest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// expectFrom is the size from which on the server is asked whether it takes an object before it is sent.
const expectFrom = 256 << 10

// newTransport is like http.DefaultTransport, with as many idle connections as calls at once, and without HTTP/2, whose
// windows hold back single large bodies.
func newTransport(o Options, socket string) *http.Transport {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		MaxIdleConns:          2 * o.Connections,
		MaxIdleConnsPerHost:   2 * o.Connections,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   30 * time.Second,
		ExpectContinueTimeout: time.Second, // as net/http's own; a proxy may not know how to ask
		DisableCompression:    true,        // the length of something compressed would not be the object's
		ReadBufferSize:        64 << 10,
		WriteBufferSize:       64 << 10,
		Protocols:             new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	if o.TLS != nil {
		t.TLSClientConfig = o.TLS.Clone()
	}
	if socket != "" {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return t
}

// request is one request and what it is about.
type request struct {
	method, url string
	op, subject string
	span        string       // the Range header
	content     blob.Content // the body
	changes     bool         // a lost answer leaves open whether it had its effect
	wanted      []int        // statuses that are answers, besides those of success
}

// response is an answer that was wanted. The caller closes it.
type response struct {
	*http.Response
	ctx         context.Context // the caller's, which says why reading broke off
	op, subject string
	watch       *watch
	sending     *sending
}

// do sends r and gives the answer, or the error that it stands for.
func (s *Store) do(ctx context.Context, r request) (*response, error) {
	if err := ctx.Err(); err != nil {
		return nil, failure.Wrap(err, r.op, r.subject)
	}
	w := watched(ctx, s.opts.Stall)
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(w.ctx, trace), r.method, r.url, nil)
	if err != nil {
		w.end()
		return nil, failure.New(failure.Internal, r.op, r.subject, "the request cannot be made")
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "lifeboat")
	if r.span != "" {
		req.Header.Set("Range", r.span)
	}
	if s.opts.User != "" || s.opts.Password != "" {
		req.SetBasicAuth(s.opts.User, s.opts.Password)
	}
	sent := send(req, r.content, w)
	answer, err := s.client.Do(req)
	w.rest()
	if err != nil {
		w.end()
		sent.stop()
		if sent.err != nil {
			return nil, failure.Wrap(sent.err, r.op, r.subject)
		}
		return nil, broken(ctx, w, err, r, r.changes && connected.Load() && sent.whole())
	}
	resp := &response{Response: answer, ctx: ctx, op: r.op, subject: r.subject, watch: w, sending: sent}
	if slices.Contains(r.wanted, answer.StatusCode) {
		return resp, nil
	}
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusPartialContent &&
		answer.StatusCode != http.StatusCreated && answer.StatusCode != http.StatusNoContent {
		defer resp.Close()
		return nil, refused(r, answer.StatusCode, s.said(resp), answer.Header.Get("Location"))
	}
	return resp, nil
}

// Read reads the body, and gives up when nothing comes. At the body's end it gives io.EOF.
func (r *response) Read(p []byte) (int, error) {
	r.watch.move()
	n, err := r.Body.Read(p)
	r.watch.rest()
	if err != nil && err != io.EOF {
		err = broken(r.ctx, r.watch, err, request{op: r.op, subject: r.subject}, false)
	}
	return n, err
}

// drain reads what is left, which is little, so that the connection can be used again, and closes.
func (r *response) drain() error {
	_, err := io.Copy(io.Discard, io.LimitReader(r, 64<<10))
	return errors.Join(err, r.Close())
}

// Close closes the body.
func (r *response) Close() error {
	err := r.Body.Close()
	r.watch.end()
	r.sending.stop()
	return err
}

// errStalled is the cause of a request that is given up because nothing moves.
var errStalled = errors.New("nothing has moved for too long")

// watch gives a request up when it stands still. It runs only between move and rest: while the caller is busy with what
// was read, the server is not to blame.
type watch struct {
	ctx    context.Context // the request's
	cancel context.CancelCauseFunc
	stall  time.Duration
	timer  *time.Timer
}

// watched is a watch that runs.
func watched(ctx context.Context, stall time.Duration) *watch {
	w := &watch{stall: stall}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(stall, func() { w.cancel(errStalled) })
	return w
}

// move says that something moved, and more is waited for.
func (w *watch) move() { w.timer.Reset(w.stall) }

// rest says that nothing is waited for.
func (w *watch) rest() { w.timer.Stop() }

// end gives the request's resources back. Whether it stalled remains known.
func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

func (w *watch) stalled() bool { return context.Cause(w.ctx) == errStalled }
