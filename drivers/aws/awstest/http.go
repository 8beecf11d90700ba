package awstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"
)

// service is one of AWS's, as a client sees it.
type service struct {
	speaks    protocol
	namespace string
	throttled string // its error code for too many calls
	actions   map[string]action
}

// action is what a service can be asked. Takes lists its parameters, with a "!" after those that must be there; others are refused.
type action struct {
	takes string
	do    func(c *call) (any, error)
}

// services are those that there are, by signing name.
func services() map[string]*service {
	const rdsNS, cacheNS = "http://rds.amazonaws.com/doc/2014-10-31/", "http://elasticache.amazonaws.com/doc/2015-02-02/"
	return map[string]*service{
		"rds":            {query{}, rdsNS, "Throttling", join(instanceActions(), snapshotActions(), restoreActions(), groupActions(), clusterActions(), clusterSnapshotActions(), globalActions())},
		"elasticache":    {query{}, cacheNS, "Throttling", join(cacheActions(), globalCacheActions())},
		"cloudformation": {query{}, "http://cloudformation.amazonaws.com/doc/2010-05-15/", "Throttling", stackActions()},
		"sts":            {query{}, "https://sts.amazonaws.com/doc/2011-06-15/", "Throttling", stsActions()},
		"ec2":            {ec2Query{}, "http://ec2.amazonaws.com/doc/2016-11-15/", "RequestLimitExceeded", networkActions()},
		"monitoring":     {cborRPC{}, "com.amazonaws.cloudwatch", "ThrottlingException", metricActions()},
		monitoringJSON:   {jsonRPC{}, "GraniteServiceVersion20100801", "ThrottlingException", metricActions()},
		"ssm":            {jsonRPC{}, "AmazonSSM", "ThrottlingException", parameterActions()},
		"iam":            {query{}, "https://iam.amazonaws.com/doc/2010-05-08/", "Throttling", identityActions()},
		"kms":            {jsonRPC{}, "TrentService", "ThrottlingException", keyActions()},
		"servicequotas":  {jsonRPC{}, "ServiceQuotasV20190624", "TooManyRequestsException", quotaActions()},
		"route53":        {restXML{}, "https://route53.amazonaws.com/doc/2013-04-01/", "Throttling", recordActions()},
	}
}

// monitoringJSON is CloudWatch as the aws command line speaks to it.
const monitoringJSON = "monitoring by JSON"

// iamName is the name of a service in policies and in the fake's faults, by its signing name.
func iamName(signing string) string {
	if signing == "monitoring" {
		return "cloudwatch"
	}
	return signing
}

func join(parts ...map[string]action) map[string]action {
	all := map[string]action{}
	for _, p := range parts {
		maps.Copy(all, p)
	}
	return all
}

// call is one request on its way.
type call struct {
	w                                *World
	now                              time.Time
	id                               string
	account, region, service, action string
	who                              *principal
	r                                *region
	p                                params
	body                             []byte
}

// apiError is an answer that says no.
type apiError struct {
	status  int
	code    string
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

// refuse makes one with status 400; gone with 404.
func refuse(code, format string, args ...any) error {
	return &apiError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

func gone(code, format string, args ...any) error {
	return &apiError{http.StatusNotFound, code, fmt.Sprintf(format, args...)}
}

// answer is what goes back: err when the connection gives way instead.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

// errLost is a connection that breaks after the deed.
var errLost = errors.New("connection reset by the fake")

// serve answers a request.
func (w *World) serve(ctx context.Context, req *http.Request, body []byte) answer {
	scope, err := scopeOf(req)
	if err != nil {
		return w.say(query{}, &service{}, &call{id: "none"}, nil, err)
	}
	s := w.parts[scope.service]
	if scope.service == "monitoring" && req.Header.Get("X-Amz-Target") != "" {
		s = w.parts[monitoringJSON]
	}
	if s == nil {
		return w.say(query{}, &service{}, &call{id: "none"}, nil, &apiError{http.StatusNotImplemented, "NotImplemented", "awstest has no service " + scope.service})
	}
	c := &call{w: w, account: "", region: scope.region, service: iamName(scope.service), body: body}
	c.action, c.p, err = s.speaks.read(req, body)
	w.mu.Lock()
	c.now = w.settle()
	c.id = fmt.Sprintf("%08x-0000-4000-8000-000000000000", w.next())
	if k := w.keys[scope.key]; k != nil {
		c.who, c.account = k, k.account
	}
	f := w.fault(c)
	w.mu.Unlock()
	if f != nil {
		if a, over := w.suffer(ctx, c, s, f); over {
			return a
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c.now = w.settle()
	var out any
	if err == nil {
		w.pace, _ = ctx.Value(paceKey{}).(float64)
		out, err = w.do(c, s, req, scope)
		w.pace = 0
	}
	a := w.say(s.speaks, s, c, out, err)
	w.record(c, a, err)
	if f != nil && f.fault.How == LoseAnswer {
		a.err = errLost
	}
	return a
}

// suffer lets a fault happen; over says that nothing else does.
func (w *World) suffer(ctx context.Context, c *call, s *service, i *Injected) (a answer, over bool) {
	log := func(a answer, err error) (answer, bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.record(c, a, err)
		return a, true
	}
	f := i.fault
	switch f.How {
	case Refuse:
		return log(answer{err: &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}, nil)
	case Hang:
		select {
		case <-ctx.Done():
			return log(answer{err: ctx.Err()}, nil)
		case <-i.removed:
			return a, false
		}
	case Slow:
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return log(answer{err: ctx.Err()}, nil)
		case <-t.C:
			return a, false
		}
	case Error500:
		err := &apiError{http.StatusInternalServerError, "InternalFailure", "The request processing has failed because of an unknown error, exception or failure."}
		return log(w.say(s.speaks, s, c, nil, err), err)
	case Throttle:
		err := refuse(s.throttled, "Rate exceeded")
		return log(w.say(s.speaks, s, c, nil, err), err)
	case Error:
		err := &apiError{f.Status, f.Code, f.Message}
		if err.status == 0 {
			err.status = http.StatusBadRequest
		}
		return log(w.say(s.speaks, s, c, nil, err), err)
	}
	return a, false
}

// do carries the call out.
func (w *World) do(c *call, s *service, req *http.Request, scope scope) (any, error) {
	if err := w.authenticate(c, req, scope); err != nil {
		return nil, err
	}
	if !w.admit(c) {
		return nil, refuse(s.throttled, "Rate exceeded")
	}
	act, ok := s.actions[c.action]
	if !ok {
		return nil, &apiError{http.StatusNotImplemented, "NotImplemented", "awstest does not know " + c.service + ":" + c.action}
	}
	if err := w.authorize(c); err != nil {
		return nil, err
	}
	if err := c.p.check(c.action, act.takes); err != nil {
		return nil, err
	}
	c.r = w.region(c.account, c.region)
	return act.do(c)
}

func (w *World) record(c *call, a answer, err error) {
	entry := Call{At: c.now, Account: c.account, Region: c.region, Service: c.service, Action: c.action, Status: a.status, Params: c.p.flat()}
	if c.who != nil {
		entry.Who = c.who.arn
	}
	var e *apiError
	if errors.As(err, &e) {
		entry.Code = e.code
	}
	w.calls = append(w.calls, entry)
}

// say writes the answer down.
func (w *World) say(p protocol, s *service, c *call, out any, err error) answer {
	a := answer{status: http.StatusOK, header: http.Header{"X-Amzn-Requestid": {c.id}, "Date": {c.now.UTC().Format(http.TimeFormat)}}}
	if err != nil {
		var e *apiError
		if !errors.As(err, &e) {
			e = &apiError{http.StatusInternalServerError, "InternalFailure", err.Error()}
		}
		a.status = e.status
		a.body = p.fail(s, c, e, a.header)
		return a
	}
	body, err := p.write(s, c, out, a.header)
	if err != nil {
		return answer{status: http.StatusInternalServerError, body: []byte(err.Error())}
	}
	a.body = body
	if a.header.Get("Location") != "" {
		a.status = http.StatusCreated
	}
	return a
}

// Client sends requests to the fake without a socket, wherever they are addressed to: an HTTP client for the SDK. It works inside
// of testing/synctest.
type Client struct{ w *World }

// Client is such a client.
func (w *World) Client() *Client { return &Client{w} }

// Do answers req as http.Client.Do would.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
	}
	if err := req.Context().Err(); err != nil {
		return nil, &url.Error{Op: req.Method, URL: req.URL.String(), Err: err}
	}
	a := c.w.serve(req.Context(), req, body)
	if a.err != nil {
		return nil, &url.Error{Op: req.Method, URL: req.URL.String(), Err: a.err}
	}
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.header,
		Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: req,
	}, nil
}

// RoundTrip makes a Client an http.RoundTripper too.
func (c *Client) RoundTrip(req *http.Request) (*http.Response, error) { return c.Do(req) }

// ServeHTTP answers over a socket. What is refused, and answers that are lost, reset the connection.
func (w *World) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	a := w.serve(req.Context(), req, body)
	if a.err != nil {
		if hijacker, ok := rw.(http.Hijacker); ok {
			if conn, _, err := hijacker.Hijack(); err == nil {
				if tcp, ok := conn.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
				conn.Close()
			}
		}
		return
	}
	maps.Copy(rw.Header(), a.header)
	rw.WriteHeader(a.status)
	_, _ = rw.Write(a.body)
}

// Server is the fake on a loopback address.
type Server struct {
	URL    string // http://127.0.0.1:port, for every service and region
	server *http.Server
	done   chan struct{}
}

// Serve listens on a free port of loopback. The caller closes it.
func (w *World) Serve() (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{URL: "http://" + l.Addr().String(), server: &http.Server{Handler: w, ReadHeaderTimeout: time.Minute}, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(l)
	}()
	return s, nil
}

// Close ends it, and all its connections.
func (s *Server) Close() error {
	err := s.server.Close()
	<-s.done
	return err
}
