// Package awsmodel holds what travels between a client and the fake of AWS against AWS's own models of its services: the
// service-2.json files of botocore, in the release that test/servers pins. It is for tests alone, judges form (members, types,
// lengths, patterns, error codes, states) and knows nothing of behaviour.
//
// Start with [Watch], which stands between a client and the fake, and fails the test for whatever does not fit:
//
//	client := awsmodel.Watch(t, w.Client())
//
// What is held of each exchange: the answer's elements are members of the operation's output, each of its modelled type, with all
// that is required; a state is one that AWS documents ([States]); an error's code is one that the operation declares, or one that
// all services share, with its modelled status; and a request that breaks the model's rules, or documented ones that the
// models lack, is refused. So a driver's request that AWS would refuse is not let pass by the fake.
package awsmodel

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// service is AWS's description of one.
type service struct {
	Metadata struct {
		Protocol     string
		TargetPrefix string
	}
	Operations map[string]*operation
	Shapes     map[string]*shape
}

type operation struct {
	HTTP struct {
		Method       string
		RequestURI   string `json:"requestUri"`
		ResponseCode int
	}
	Input, Output *member
	Errors        []member
}

// shape is a type of a model.
type shape struct {
	Type      string
	Members   map[string]*member
	Required  []string
	Member    *member
	Key       *member
	Value     *member
	Enum      []string
	Min, Max  *float64
	Pattern   string
	Flattened bool
	Error     struct {
		Code           string
		HTTPStatusCode int `json:"httpStatusCode"`
	}

	name string
}

// member is the use of a shape in another one.
type member struct {
	Shape        string
	Location     string
	LocationName string
	QueryName    string
	Flattened    bool
}

// versions are the models of the services that drivers ask, by signing name.
var versions = map[string]string{
	"rds": "rds/2014-10-31", "elasticache": "elasticache/2015-02-02", "route53": "route53/2013-04-01", "cloudformation": "cloudformation/2010-05-15",
	"sts": "sts/2011-06-15", "iam": "iam/2010-05-08", "ec2": "ec2/2016-11-15", "monitoring": "cloudwatch/2010-08-01", "ssm": "ssm/2014-11-06", "kms": "kms/2014-11-01",
	"servicequotas": "service-quotas/2019-06-24",
}

// models are those of one folder, each read once.
type models struct {
	folder string

	mu   sync.Mutex
	read map[string]*service
}

// service is the model of a service, by its signing name.
func (m *models) service(name string) (*service, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.read[name]; s != nil {
		return s, nil
	}
	version, ok := versions[name]
	if !ok {
		return nil, fmt.Errorf("no model of %s", name)
	}
	f, err := os.Open(filepath.Join(m.folder, filepath.FromSlash(version), "service-2.json.gz"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	s := &service{}
	if err := json.NewDecoder(raw).Decode(s); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if len(s.Operations) == 0 || len(s.Shapes) == 0 {
		return nil, errors.New(f.Name() + ": no model")
	}
	for name, sh := range s.Shapes {
		sh.name = name
	}
	m.read[name] = s
	return s, nil
}

// of is the shape that a member has.
func (s *service) of(m *member) *shape {
	if m == nil {
		return &shape{Type: "structure"}
	}
	return s.Shapes[m.Shape]
}

// errorOf is the shape of an error that the operation declares with this code.
func (s *service) errorOf(op *operation, code string) (*shape, bool) {
	for _, e := range op.Errors {
		sh := s.of(&e)
		if own := sh.Error.Code; own == code || own == "" && e.Shape == code {
			return sh, true
		}
	}
	return nil, false
}

// pattern compiles a model's pattern, which holds for the whole value. Those that Go cannot express (lookaheads) say nothing.
func pattern(text string) *regexp.Regexp {
	text = strings.NewReplacer(`\p{IsLetter}`, `\p{L}`, `\u0009`, `\x09`, `\u000A`, `\x0A`, `\u000D`, `\x0D`, `\u0020`, `\x20`, `\u00FF`, `\x{FF}`, `\uD7FF`, `\x{D7FF}`, `\uE000`, `\x{E000}`, `\uFFFD`, `\x{FFFD}`).Replace(text)
	re, err := regexp.Compile(`^(?:` + text + `)$`)
	if err != nil {
		return nil
	}
	return re
}
