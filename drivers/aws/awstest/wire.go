package awstest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// protocol is how a service speaks: AWS's Query, EC2's variant of it, JSON 1.1, and XML over REST, as the smithy specification
// describes them (smithy.io, "AWS protocols").
type protocol interface {
	read(req *http.Request, body []byte) (action string, p params, err error)
	write(s *service, c *call, out any, h http.Header) ([]byte, error)
	fail(s *service, c *call, e *apiError, h http.Header) []byte
}

// params are a call's, flattened as in the Query protocol: Tags.Tag.1.Key.
type params url.Values

// str is a parameter, "" if it was not given.
func (p params) str(name string) string { return url.Values(p).Get(name) }

// has reports whether it was given.
func (p params) has(name string) bool { return url.Values(p).Has(name) }

// num is a number; check has refused what is none.
func (p params) num(name string) (int, bool) {
	n, err := strconv.Atoi(p.str(name))
	return n, err == nil && p.has(name)
}

// numOr is a number, or another one when it was not given.
func (p params) numOr(name string, other int) int {
	if n, ok := p.num(name); ok {
		return n
	}
	return other
}

// flag is a boolean, or another one when it was not given.
func (p params) flag(name string, other bool) bool {
	if !p.has(name) {
		return other
	}
	return strings.EqualFold(p.str(name), "true")
}

// strOr is a parameter, or something else.
func (p params) strOr(name, other string) string {
	if p.has(name) {
		return p.str(name)
	}
	return other
}

// when is a time.
func (p params) when(name string) (time.Time, error) {
	if seconds, err := strconv.ParseFloat(p.str(name), 64); err == nil { // JSON has numbers
		return time.UnixMilli(int64(seconds * 1000)).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, p.str(name))
	if err != nil {
		return t, refuse("InvalidParameterValue", "%s is not a time", name)
	}
	return t, nil
}

// list are the values of a list of texts, whatever its members are called.
func (p params) list(name string) []string {
	var out []string
	for _, m := range p.members(name) {
		if v, ok := m[""]; ok {
			out = append(out, v)
		}
	}
	return out
}

// members are the members of a list, each by the names below it; "" is the member itself.
func (p params) members(name string) []map[string]string {
	found := map[int]map[string]string{}
	for key, values := range p {
		rest, ok := strings.CutPrefix(key, name+".")
		if !ok {
			continue
		}
		parts := strings.SplitN(rest, ".", 3)
		at := 0
		if _, err := strconv.Atoi(parts[0]); err != nil {
			at = 1 // the name of the members comes first
		}
		if len(parts) <= at {
			continue
		}
		n, err := strconv.Atoi(parts[at])
		if err != nil {
			continue
		}
		if found[n] == nil {
			found[n] = map[string]string{}
		}
		found[n][strings.Join(strings.SplitN(rest, ".", at+2)[at+1:], ".")] = values[0]
	}
	var order []int
	for n := range found {
		order = append(order, n)
	}
	slices.Sort(order)
	var out []map[string]string
	for _, n := range order {
		out = append(out, found[n])
	}
	return out
}

// filters are a describe's, by name.
func (p params) filters(name string) map[string][]string {
	out := map[string][]string{}
	for _, m := range p.members(name) {
		q := params{}
		for k, v := range m {
			q[k] = []string{v}
		}
		values := q.list("Values")
		if values == nil {
			values = q.list("Value")
		}
		out[m["Name"]] = values
	}
	return out
}

// tags are the tags given.
func (p params) tags(name string) []tag {
	var out []tag
	for _, m := range p.members(name) {
		out = append(out, tag{m["Key"], m["Value"]})
	}
	return out
}

// flat is for the log.
func (p params) flat() map[string]string {
	out := map[string]string{}
	for k, v := range p {
		if k == "MasterUserPassword" || k == "AuthToken" {
			v = []string{"…"}
		}
		out[k] = strings.Join(v, ",")
	}
	return out
}

// check refuses parameters that are missing, and those that are not modelled.
func (p params) check(action, takes string) error {
	known := map[string]bool{"Action": true, "Version": true}
	for _, name := range strings.Fields(takes) {
		bare, needed := strings.CutSuffix(name, "!")
		known[bare] = true
		if needed && !slices.ContainsFunc(p.names(), func(n string) bool { return n == bare }) {
			return refuse("MissingParameter", "The request must contain the parameter %s", bare)
		}
	}
	for _, name := range p.names() {
		if !known[name] {
			return &apiError{http.StatusNotImplemented, "NotImplemented", "awstest does not model the parameter " + name + " of " + action}
		}
	}
	return nil
}

// names are those of the parameters, without what lies below them.
func (p params) names() []string {
	var out []string
	for key := range p {
		name, _, _ := strings.Cut(key, ".")
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

type tag struct{ Key, Value string }

// iso writes a time as AWS does, "" for none.
func iso(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// query is AWS's Query protocol.
type query struct{}

func (query) read(req *http.Request, body []byte) (string, params, error) {
	v, err := url.ParseQuery(string(body))
	if err != nil {
		return "", nil, refuse("MalformedQueryString", "The query string contains a syntax error")
	}
	for k, values := range req.URL.Query() {
		v[k] = values
	}
	return v.Get("Action"), params(v), nil
}

func (query) write(s *service, c *call, out any, h http.Header) ([]byte, error) {
	h.Set("Content-Type", "text/xml")
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%sResponse xmlns=%q>", c.action, s.namespace)
	if out != nil {
		if err := xml.NewEncoder(&b).EncodeElement(out, xml.StartElement{Name: xml.Name{Local: c.action + "Result"}}); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(&b, "<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>", c.id, c.action)
	return b.Bytes(), nil
}

func (query) fail(s *service, c *call, e *apiError, h http.Header) []byte {
	h.Set("Content-Type", "text/xml")
	who := "Sender"
	if e.status >= 500 {
		who = "Receiver"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "<ErrorResponse xmlns=%q><Error><Type>%s</Type><Code>%s</Code><Message>", s.namespace, who, e.code)
	_ = xml.EscapeText(&b, []byte(e.message))
	fmt.Fprintf(&b, "</Message></Error><RequestId>%s</RequestId></ErrorResponse>", c.id)
	return b.Bytes()
}

// ec2Query is EC2's variant: lists without the members' name, answers without a result around them.
type ec2Query struct{ query }

func (ec2Query) write(s *service, c *call, out any, h http.Header) ([]byte, error) {
	h.Set("Content-Type", "text/xml;charset=UTF-8")
	var b bytes.Buffer
	start := xml.StartElement{Name: xml.Name{Local: c.action + "Response"}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: s.namespace}}}
	err := xml.NewEncoder(&b).EncodeElement(out, start)
	return b.Bytes(), err
}

func (ec2Query) fail(_ *service, c *call, e *apiError, h http.Header) []byte {
	h.Set("Content-Type", "text/xml;charset=UTF-8")
	var b bytes.Buffer
	fmt.Fprintf(&b, "<Response><Errors><Error><Code>%s</Code><Message>", e.code)
	_ = xml.EscapeText(&b, []byte(e.message))
	fmt.Fprintf(&b, "</Message></Error></Errors><RequestID>%s</RequestID></Response>", c.id)
	return b.Bytes()
}

// jsonRPC is AWS JSON 1.1.
type jsonRPC struct{}

func (jsonRPC) read(req *http.Request, body []byte) (string, params, error) {
	_, action, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	var doc map[string]any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return action, nil, refuse("SerializationException", "the body is not JSON")
	}
	p := params{}
	for k, v := range doc {
		flatten(p, k, v)
	}
	return action, p, nil
}

// flatten puts JSON into the form of the Query protocol.
func flatten(p params, name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			flatten(p, name+"."+k, inner)
		}
	case []any:
		for i, inner := range v {
			flatten(p, fmt.Sprintf("%s.member.%d", name, i+1), inner)
		}
	case nil:
	default:
		p[name] = []string{fmt.Sprint(v)}
	}
}

func (jsonRPC) write(_ *service, _ *call, out any, h http.Header) ([]byte, error) {
	h.Set("Content-Type", "application/x-amz-json-1.1")
	if out == nil {
		out = struct{}{}
	}
	return json.Marshal(out)
}

func (jsonRPC) fail(_ *service, _ *call, e *apiError, h http.Header) []byte {
	h.Set("Content-Type", "application/x-amz-json-1.1")
	b, _ := json.Marshal(map[string]string{"__type": e.code, "message": e.message})
	return b
}
