package awstest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Answer is what AWS said to one call that only looks.
type Answer struct {
	Account string            `json:"account"`
	Region  string            `json:"region"`
	Service string            `json:"service"`
	Action  string            `json:"action"`
	Params  map[string]string `json:"params,omitempty"`
	Body    []byte            `json:"body"`
}

// HTTP sends a request: an HTTP client of the SDK's.
type HTTP interface {
	Do(*http.Request) (*http.Response, error)
}

// Glass lets one look at AWS itself and touch nothing. As an HTTP client of the SDK's it sends on what only looks, and refuses
// every other call before it leaves: by the service and the action that the request itself names, not by what the caller means.
// What it sends on without a signature is how credentials are come by. It keeps the answers, for [World.Learn].
type Glass struct {
	through HTTP
	account string

	mu      sync.Mutex
	answers []Answer
	refused []string
}

// NotSent is the error of a call that a Glass kept back.
type NotSent struct{ why error }

// Error says why.
func (n *NotSent) Error() string { return n.why.Error() }

// NewGlass makes a Glass before what sends requests to AWS. Account is whose answers they are.
func NewGlass(through HTTP, account string) *Glass { return &Glass{through: through, account: account} }

// Answers are those so far, errors left out, in the order in which they came.
func (g *Glass) Answers() []Answer {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.answers)
}

// Refused names the calls that were not sent.
func (g *Glass) Refused() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.refused)
}

// Do sends what only looks.
func (g *Glass) Do(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	if req.Header.Get("Authorization") == "" && !req.URL.Query().Has("X-Amz-Signature") {
		return g.through.Do(req)
	}
	s, action, p, err := looks(req, body)
	if err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.refused = append(g.refused, err.Error())
		return nil, &NotSent{err}
	}
	resp, err := g.through.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK || s.service == "sts" {
		return resp, err
	}
	said, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(said))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers = append(g.answers, Answer{g.account, s.region, s.service, action, p.flat(), said})
	return resp, nil
}

// looks says what a signed request asks, and refuses all that might change something.
func looks(req *http.Request, body []byte) (s scope, action string, p params, err error) {
	if s, err = scopeOf(req); err != nil {
		return s, "", nil, fmt.Errorf("a request whose signature cannot be read is not sent to AWS: %w", err)
	}
	known := services()[s.service]
	if known == nil {
		return s, "", nil, fmt.Errorf("calls of %s are not sent to AWS", s.service)
	}
	if action, p, err = known.speaks.read(req, body); err != nil {
		return s, action, p, fmt.Errorf("a call of %s that cannot be read is not sent to AWS: %w", s.service, err)
	}
	_, rest := known.speaks.(restXML)
	switch {
	case rest && req.Method != http.MethodGet, len(p["Action"]) > 1, req.URL.Query().Has("Action"):
	case s.service == "sts" && slices.Contains([]string{"AssumeRole", "GetCallerIdentity"}, action), s.service == "iam" && action == "SimulatePrincipalPolicy":
		return s, action, p, nil
	case s.service != "sts" && slices.ContainsFunc([]string{"Describe", "List", "Get"}, func(word string) bool { return strings.HasPrefix(action, word) }):
		return s, action, p, nil
	}
	return s, action, p, fmt.Errorf("%s of %s may change something, and is not sent to AWS", action, s.service)
}
