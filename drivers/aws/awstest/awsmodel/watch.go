package awsmodel

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/emulator"
)

// Doer sends requests: the fake's client, or another one.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// known are the models that all tests of a process share.
var known = sync.OnceValue(func() *models { return &models{read: map[string]*service{}} })

// Watch stands before next. Whatever does not fit AWS's models is an error of the test, once for each.
func Watch(t testing.TB, next Doer) *Watcher {
	t.Helper()
	m := known()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.folder == "" {
		m.folder = emulator.Models(t)
	}
	return &Watcher{models: m, next: next, tell: func(text string) { t.Error(text) }, told: map[string]bool{}}
}

// Watcher is an HTTP client. It is safe for concurrent use.
type Watcher struct {
	models *models
	next   Doer
	tell   func(string)

	mu    sync.Mutex
	told  map[string]bool
	asked int
}

// RoundTrip makes a Watcher an http.RoundTripper too.
func (w *Watcher) RoundTrip(req *http.Request) (*http.Response, error) { return w.Do(req) }

// Asked is how many exchanges have been judged.
func (w *Watcher) Asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// Do sends a request on and judges what came of it. What gets no answer is not judged.
func (w *Watcher) Do(req *http.Request) (*http.Response, error) {
	sent, err := drain(&req.Body)
	if err != nil {
		return nil, err
	}
	answer, err := w.next.Do(req)
	if err != nil {
		return nil, err
	}
	got, err := drain(&answer.Body)
	if err != nil {
		return answer, nil // it broke off: the caller sees it too
	}
	x := &exchange{req: req, sent: sent, answer: answer, got: got}
	found, err := w.models.judge(x)
	if err != nil {
		found = append(found, err.Error())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	for _, text := range found {
		// Where in lists it was is of no interest, and different each time.
		text = places.ReplaceAllString(strings.TrimSpace(x.title+": "+text), "[]")
		if !w.told[text] {
			w.told[text] = true
			w.tell(text)
		}
	}
	return answer, nil
}

var places = regexp.MustCompile(`\[[0-9]+\]`)

// drain reads a body, and leaves it to be read again.
func drain(body *io.ReadCloser) ([]byte, error) {
	if *body == nil {
		return nil, nil
	}
	b, err := io.ReadAll(*body)
	(*body).Close()
	*body = io.NopCloser(bytes.NewReader(b))
	return b, err
}

// exchange is a request and its answer.
type exchange struct {
	req    *http.Request
	sent   []byte
	answer *http.Response
	got    []byte
	title  string // service and action
}

// judge says what does not fit the models.
func (m *models) judge(x *exchange) ([]string, error) {
	parts := strings.Split(x.req.Header.Get("Authorization"), "/")
	if len(parts) < 5 {
		return nil, nil // unsigned: no service is named
	}
	s, err := m.service(parts[3])
	if err != nil {
		return nil, err
	}
	action, request, err := s.request(x)
	x.title = parts[3] + " " + action
	if err != nil {
		return nil, err
	}
	op := s.Operations[action]
	if op == nil {
		return []string{"is no operation of the service"}, nil
	}
	if x.answer.StatusCode/100 != 2 {
		return s.refusal(x, op)
	}
	f := &finder{s: s, asked: true}
	f.value("", "", s.of(op.Input), request)
	if list, ok := tags(request); ok && len(list) > tagsMax {
		f.say("Tags", "are %d, more than %d", len(list), tagsMax)
	}
	out := []string{}
	for _, one := range f.found {
		out = append(out, "is answered, though in the request "+one)
	}
	answer, err := s.response(x, op, action)
	if err != nil {
		return out, err
	}
	f = &finder{s: s}
	f.value("", "", s.of(op.Output), answer)
	return append(out, f.found...), nil
}

func tags(request any) ([]any, bool) {
	m, _ := request.(map[string]any)
	list, ok := m["Tags"].([]any)
	return list, ok
}

// jsonly reports whether the client speaks JSON.
func (x *exchange) jsonly() bool { return x.req.Header.Get("X-Amz-Target") != "" }

// request reads what is asked for.
func (s *service) request(x *exchange) (action string, v any, err error) {
	switch {
	case x.jsonly():
		prefix, name, _ := strings.Cut(x.req.Header.Get("X-Amz-Target"), ".")
		if prefix != s.Metadata.TargetPrefix {
			return name, nil, fmt.Errorf("the target is %s, not %s", prefix, s.Metadata.TargetPrefix)
		}
		v, err = jsonValue(x.sent)
		return name, v, err
	case s.Metadata.Protocol == "smithy-rpc-v2-cbor":
		v, err = cborValue(x.sent)
		return path.Base(x.req.URL.Path), v, err
	case s.Metadata.Protocol == "rest-xml":
		return s.rest(x)
	}
	values, err := url.ParseQuery(string(x.sent))
	if err != nil {
		return "", nil, err
	}
	action = values.Get("Action")
	values.Del("Action")
	values.Del("Version")
	op := s.Operations[action]
	if op == nil {
		return action, nil, nil
	}
	d := dialect{s: s, numbered: true, ec2: s.Metadata.Protocol == "ec2"}
	return action, d.value(s.of(op.Input), queryTree(values)), nil
}

// rest finds the operation of a REST request by its method and path, and puts together what it asks for.
func (s *service) rest(x *exchange) (string, any, error) {
	for name, op := range s.Operations {
		uri, _, _ := strings.Cut(op.HTTP.RequestURI, "?")
		held := matched(uri, x.req.URL.Path)
		if held == nil || op.HTTP.Method != x.req.Method {
			continue
		}
		out := map[string]any{}
		in := s.of(op.Input)
		if len(x.sent) > 0 {
			root, err := xmlTree(x.sent)
			if err != nil {
				return name, nil, err
			}
			out, _ = dialect{s: s}.structure(in, root).(map[string]any)
		}
		for member, m := range in.Members {
			switch q := x.req.URL.Query(); {
			case m.Location == "uri":
				out[member] = word(held[m.LocationName])
			case m.Location == "querystring" && q.Has(m.LocationName):
				out[member] = word(q.Get(m.LocationName))
			}
		}
		return name, out, nil
	}
	return x.req.Method + " " + x.req.URL.Path, nil, nil
}

// matched are the labels of a modelled path in a real one; nil when it is another path.
func matched(uri, at string) map[string]string {
	want, have := strings.Split(strings.Trim(uri, "/"), "/"), strings.Split(strings.Trim(at, "/"), "/")
	if len(want) != len(have) {
		return nil
	}
	held := map[string]string{}
	for n, w := range want {
		if label, ok := strings.CutPrefix(w, "{"); ok {
			held[strings.Trim(label, "+}")] = have[n]
		} else if w != have[n] {
			return nil
		}
	}
	return held
}

// response reads an answer that says yes.
func (s *service) response(x *exchange, op *operation, action string) (any, error) {
	switch {
	case x.jsonly():
		return jsonValue(x.got)
	case s.Metadata.Protocol == "smithy-rpc-v2-cbor":
		return cborValue(x.got)
	}
	out := s.of(op.Output)
	root, err := xmlTree(x.got)
	if err != nil {
		return nil, err
	}
	at := root
	switch {
	case s.Metadata.Protocol == "rest-xml":
		if want := op.HTTP.ResponseCode; want != 0 && want != x.answer.StatusCode {
			return nil, fmt.Errorf("is answered with status %d, not %d", x.answer.StatusCode, want)
		}
	case root.name != action+"Response":
		return nil, fmt.Errorf("is answered by %s, not %sResponse", root.name, action)
	case s.Metadata.Protocol == "ec2":
		at.kids = slices.DeleteFunc(at.kids, func(n *node) bool { return n.name == "requestId" })
	case op.Output == nil || len(out.Members) == 0:
		return map[string]any{}, nil
	default:
		if at = root.kid(action + "Result"); at == nil {
			return nil, fmt.Errorf("the answer lacks %sResult", action)
		}
	}
	v, _ := dialect{s: s}.structure(out, at).(map[string]any)
	for member, m := range out.Members {
		if said := x.answer.Header.Get(m.LocationName); m.Location == "header" && said != "" {
			v[member] = word(said)
		}
	}
	return v, nil
}

// refusal judges an answer that says no.
func (s *service) refusal(x *exchange, op *operation) ([]string, error) {
	code, err := s.code(x)
	if err != nil {
		return nil, err
	}
	e, declared := s.errorOf(op, code)
	switch {
	case declared && e.Error.HTTPStatusCode != 0 && e.Error.HTTPStatusCode != x.answer.StatusCode:
		return []string{fmt.Sprintf("is refused with %s and status %d, not %d", code, x.answer.StatusCode, e.Error.HTTPStatusCode)}, nil
	case declared, common[code], len(op.Errors) == 0: // EC2 declares none
		return nil, nil
	}
	return []string{"is refused with " + code + ", which it does not declare"}, nil
}

// code is the error code of a refusal.
func (s *service) code(x *exchange) (string, error) {
	var v any
	var err error
	switch {
	case x.jsonly():
		v, err = jsonValue(x.got)
	case s.Metadata.Protocol == "smithy-rpc-v2-cbor":
		v, err = cborValue(x.got)
	default:
		root, err := xmlTree(x.got)
		if err != nil {
			return "", err
		}
		for at := root; at != nil; {
			if code := at.kid("Code"); code != nil {
				return code.text, nil
			}
			if next := at.kid("Errors"); next != nil {
				at = next
			} else {
				at = at.kid("Error")
			}
		}
		return root.name, nil // Route 53's InvalidChangeBatch is an element of its own
	}
	m, _ := v.(map[string]any)
	code, _ := m["__type"].(string)
	return code[strings.LastIndex(code, "#")+1:], err
}
