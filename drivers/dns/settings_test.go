package dns

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/driver"
)

func TestSettingsAreRefused(t *testing.T) {
	const good = `"zone":"demo.test.","name":"shop.demo.test.","type":"A","servers":["127.0.0.1:53"]`
	for _, c := range []struct{ settings, want string }{
		{`{"name":"shop.demo.test.","type":"A","servers":["127.0.0.1:53"]}`, "zone: is missing"},
		{`{"zone":"demo.test.","type":"A","servers":["127.0.0.1:53"]}`, "name: is missing"},
		{`{"zone":"demo..test","name":"x","type":"A","servers":["127.0.0.1:53"]}`, `zone: "demo..test" is not a domain name`},
		{`{"zone":"demo.test.","name":"shop.other.test.","type":"A","servers":["127.0.0.1:53"]}`,
			"name: shop.other.test. is not in the zone demo.test."},
		{`{"zone":"demo.test.","name":"shop","type":"A","servers":["127.0.0.1:53"]}`, "name: shop. is not in the zone demo.test."},
		{`{"zone":"demo.test.","name":"shop.demo.test.","type":"MX","servers":["127.0.0.1:53"]}`,
			`type: "MX" is not one of A, AAAA, CNAME, SRV, TXT`},
		{`{"zone":"demo.test.","name":"demo.test","type":"CNAME","servers":["127.0.0.1:53"]}`, "type: the name is the zone's own"},
		{`{"zone":"demo.test.","name":"shop.demo.test.","type":"A"}`, "servers: name at least the zone's primary"},
		{`{"zone":"demo.test.","name":"shop.demo.test.","type":"A","servers":["127.0.0.1"]}`, `servers[0]: "127.0.0.1" is not host:port`},
		{`{"zone":"demo.test.","name":"shop.demo.test.","type":"A","servers":["a:53","a:53"]}`, "servers[1]: a:53 is there twice"},
		{`{` + good + `,"ttl":"1500ms"}`, "ttl: 1.5s is not a whole number of seconds"},
		{`{` + good + `,"ttl":"1000000h"}`, "ttl: 1000000h0m0s is not a whole number of seconds"},
		{`{` + good + `,"transport":"quic"}`, `transport: "quic" is neither udp nor tcp`},
		{`{` + good + `,"tsig":{"secret":"env:X"}}`, `tsig.name: "" is not a key's name`},
		{`{` + good + `,"tsig":{"name":"k","algorithm":"hmac-md5","secret":"env:X"}}`, `tsig.algorithm: "hmac-md5" is not one of`},
		{`{` + good + `,"tsig":{"name":"k"}}`, "tsig.secret: is missing"},
		{`{` + good + `,"tsig":{"name":"k","secret":"hunter2"}}`, "must be a reference"},
		{`{` + good + `,"tll":"30s"}`, `unknown field "tll"`},
	} {
		_, err := driver.Decode[Settings](json.RawMessage(c.settings))
		if err == nil {
			t.Errorf("%s is taken", c.settings)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s gives %q, want %q", c.settings, err, c.want)
		}
	}
	for _, ok := range []string{`{` + good + `}`, `{` + good + `,"ttl":"0s"}`,
		`{"zone":"demo.test","name":"SHOP.demo.TEST","type":"CNAME","servers":["[::1]:53","ns.example:53"]}`,
		`{"zone":"${a.zone}","name":"x.demo.test","type":"A","servers":["${ns.endpoint}"]}`} {
		if _, err := driver.Decode[Settings](json.RawMessage(ok)); err != nil {
			t.Errorf("%s is refused: %v", ok, err)
		}
	}
}

func TestValuesAreRefused(t *testing.T) {
	for _, c := range []struct {
		typ    string
		values []string
		want   string
	}{
		{"A", []string{"192.0.2.1", "2001:db8::1"}, `values[1]: "2001:db8::1" is not an IPv4 address`},
		{"A", []string{"192.0.2.300"}, `values[0]: "192.0.2.300" is not an IPv4 address`},
		{"AAAA", []string{"192.0.2.1"}, `values[0]: "192.0.2.1" is not an IPv6 address`},
		{"AAAA", []string{"fe80::1%eth0"}, `values[0]: "fe80::1%eth0" is not an IPv6 address`},
		{"AAAA", []string{"2001:db8::1", "2001:DB8:0::1"}, "values[1]: 2001:DB8:0::1 is there twice"},
		{"CNAME", []string{"a.example", "b.example"}, "values: a CNAME has exactly one, not 2"},
		{"CNAME", []string{"a..example"}, `values[0]: "a..example" is not a domain name`},
		{"SRV", []string{"10 5 db.example"}, `values[0]: "10 5 db.example" is not: priority weight port target`},
		{"SRV", []string{"10 5 70000 db.example"}, `values[0]: "10 5 70000 db.example" is not: priority weight port target`},
	} {
		s := Settings{Name: "x.demo.test.", Type: c.typ}
		if _, err := s.records(c.values); err == nil || err.Error() != c.want {
			t.Errorf("%s %q gives %v, want %s", c.typ, c.values, err, c.want)
		}
	}
	for _, c := range []struct{ site, want string }{
		{`{}`, "values: name at least one"}, {`{"values":[" "]}`, "values[0]: is empty"},
		{`{"values":["a","a"]}`, "values[1]: a is there twice"},
	} {
		if _, err := driver.Decode[Site](json.RawMessage(c.site)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s gives %v, want %s", c.site, err, c.want)
		}
	}
}

func TestKeyText(t *testing.T) {
	for _, c := range []struct {
		text, want string
		ok         bool
	}{
		{"aGVsbG8=", "aGVsbG8=", true},
		{" aGVsbG8=\n", "aGVsbG8=", true},
		{"key \"k.\" {\n\talgorithm hmac-sha256;\n\tsecret \"aGVsbG8=\";\n};\n", "aGVsbG8=", true},
		{"hello", "hello", false}, {"", "", false},
	} {
		if got, ok := keyText(c.text); got != c.want || ok != c.ok {
			t.Errorf("%q gives %q, %v; want %q, %v", c.text, got, ok, c.want, c.ok)
		}
	}
}
