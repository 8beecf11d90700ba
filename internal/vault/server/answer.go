package server

import (
	"net/http"
	"sync/atomic"
	"time"
)

// answer is a response on its way, counted, whose client has to keep moving.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration

	code    int
	in, out int64 // bytes of bodies
	cut     bool  // the answer is not whole, and its connection must go
}

// The deadlines are those of the next piece, not of a request, whose length nobody knows. Writers that know none are
// taken as they are.

// expectBody gives the client its time for the next piece of its body.
func (a *answer) expectBody() { a.control.SetReadDeadline(time.Now().Add(a.stall)) }

// expectReader gives the client its time to take the next piece of the answer.
func (a *answer) expectReader() { a.control.SetWriteDeadline(time.Now().Add(a.stall)) }

// expectNothing is for while the server works: the client is not to blame. Deadlines of an earlier request on the same
// connection end too.
func (a *answer) expectNothing() {
	a.control.SetReadDeadline(time.Time{})
	a.control.SetWriteDeadline(time.Time{})
}

// WriteHeader notes the status.
func (a *answer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write writes on.
func (a *answer) Write(p []byte) (int, error) {
	if a.code == 0 {
		a.code = http.StatusOK
	}
	a.expectReader()
	n, err := a.ResponseWriter.Write(p)
	a.out += int64(n)
	return n, err
}

// Unwrap lets http.NewResponseController find what is within.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// refuse answers with a status and a line of text.
func (a *answer) refuse(code int, why string) {
	a.Header().Del("Content-Length")
	http.Error(a, why, code)
}

func (a *answer) status() int {
	if a.code == 0 {
		return http.StatusOK
	}
	return a.code
}

// Metrics are what a server has done since it was made.
type Metrics struct {
	Requests int64 // answered
	Active   int64 // being answered now
	Saved    int64 // objects
	Removed  int64 // objects, those that were not there included
	Received int64 // bytes of bodies of requests
	Sent     int64 // bytes of bodies of answers

	Unauthorized int64 // wrong user or password
	Denied       int64 // what a user may not do, or would overwrite
	Full         int64 // quota or disk
	Damaged      int64 // content that had not its name
	Failed       int64 // answers from 500 on that are the server's fault
}

// counters are Metrics while they are counted.
type counters struct {
	requests, active, saved, removed, received, sent atomic.Int64
	unauthorized, denied, full, damaged, failed      atomic.Int64
}

// Metrics gives the counters as they are now.
func (s *Server) Metrics() Metrics {
	c := &s.counts
	return Metrics{Requests: c.requests.Load(), Active: c.active.Load(), Saved: c.saved.Load(), Removed: c.removed.Load(),
		Received: c.received.Load(), Sent: c.sent.Load(), Unauthorized: c.unauthorized.Load(), Denied: c.denied.Load(),
		Full: c.full.Load(), Damaged: c.damaged.Load(), Failed: c.failed.Load()}
}

// count counts one answer by its status.
func (c *counters) count(a *answer) {
	c.requests.Add(1)
	c.received.Add(a.in)
	c.sent.Add(a.out)
	switch code := a.status(); {
	case code == http.StatusUnauthorized:
		c.unauthorized.Add(1)
	case code == http.StatusForbidden:
		c.denied.Add(1)
	case code == http.StatusInsufficientStorage:
		c.full.Add(1)
	case code >= 500 && code != http.StatusNotImplemented:
		c.failed.Add(1)
	}
}
