package dns

import (
	"encoding/base64"
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Settings are a record's settings, the same at all sites.
type Settings struct {
	Zone      string          `json:"zone" jsonschema:"required,description=The zone that holds the record: demo.test."`
	Name      string          `json:"name" jsonschema:"required,description=The record's whole name: shop.demo.test."`
	Type      string          `json:"type" jsonschema:"required,enum=A,enum=AAAA,enum=CNAME,enum=SRV,enum=TXT,description=The record's type"`
	TTL       *model.Duration `json:"ttl,omitempty" jsonschema:"description=How long resolvers may hold an answer: whole seconds; 30s when left out"`
	Servers   []string        `json:"servers" jsonschema:"required,minItems=1,description=The zone's authoritative servers as host:port. The first is the primary and gets the update; all are asked whether they serve it"`
	TSIG      *TSIG           `json:"tsig,omitempty" jsonschema:"description=The key that signs updates. Without it they are sent unsigned"`
	Transport string          `json:"transport,omitempty" jsonschema:"enum=udp,enum=tcp,description=Left out: questions go by udp and updates by tcp (by udp where the server refuses tcp)"`
	Timeout   model.Duration  `json:"timeout,omitempty" jsonschema:"description=How long one server may take to answer; 2s when left out"`
}

// TSIG is the key that signs updates (RFC 8945).
type TSIG struct {
	Name      string     `json:"name" jsonschema:"required,description=The key's name as the server knows it"`
	Algorithm string     `json:"algorithm,omitempty" jsonschema:"enum=hmac-sha1,enum=hmac-sha224,enum=hmac-sha256,enum=hmac-sha384,enum=hmac-sha512,description=hmac-sha256 when left out"`
	Secret    secret.Ref `json:"secret" jsonschema:"required,description=Where the key is read: its base64 text or a whole key file as written by tsig-keygen"`
	Queries   bool       `json:"queries,omitempty" jsonschema:"description=Sign questions too: for servers that choose the view by the key"`
}

// Site is what the record holds while clients belong at a site.
type Site struct {
	Values []string `json:"values" jsonschema:"required,minItems=1,description=The values of the record set at this site; an SRV value is: priority weight port target"`
}

// Owns names the record, as its primary server has it.
func (d *Driver) Owns(r model.Resource) []string {
	s, err := driver.Decode[Settings](r.Settings)
	if err != nil || len(s.Servers) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the %s record of %s at %s", s.Type, strings.ToLower(strings.TrimSuffix(s.Name, ".")), s.Servers[0])}
}

// The defaults of what may be left out.
const (
	defaultTTL     = 30 * time.Second
	defaultTimeout = 2 * time.Second
)

// algorithms are TSIG's names for what Settings name.
var algorithms = map[string]string{
	"":            mdns.HmacSHA256,
	"hmac-sha1":   mdns.HmacSHA1,
	"hmac-sha224": mdns.HmacSHA224,
	"hmac-sha256": mdns.HmacSHA256,
	"hmac-sha384": mdns.HmacSHA384,
	"hmac-sha512": mdns.HmacSHA512,
}

// Validate checks what can be known without asking anybody. Texts with references in them are left for later.
func (s *Settings) Validate() error {
	for _, f := range []struct{ field, text string }{{"zone", s.Zone}, {"name", s.Name}} {
		if f.text == "" {
			return fmt.Errorf("%s: is missing", f.field)
		}
		if driver.Unfilled(f.text) {
			continue
		}
		if _, ok := mdns.IsDomainName(f.text); !ok {
			return fmt.Errorf("%s: %q is not a domain name", f.field, f.text)
		}
	}
	if !driver.Unfilled(s.Zone) && !driver.Unfilled(s.Name) && !mdns.IsSubDomain(mdns.Fqdn(s.Zone), mdns.Fqdn(s.Name)) {
		return fmt.Errorf("name: %s is not in the zone %s", mdns.Fqdn(s.Name), mdns.Fqdn(s.Zone))
	}
	if _, ok := types[s.Type]; !ok && !driver.Unfilled(s.Type) {
		return fmt.Errorf("type: %q is not one of %s", s.Type, strings.Join(typeNames(), ", "))
	}
	if s.Type == "CNAME" && strings.EqualFold(mdns.Fqdn(s.Name), mdns.Fqdn(s.Zone)) {
		return fmt.Errorf("type: the name is the zone's own, which cannot be a CNAME (RFC 1034, 3.6.2)")
	}
	if ttl := s.ttl(); ttl%time.Second != 0 || ttl > math.MaxInt32*time.Second {
		return fmt.Errorf("ttl: %s is not a whole number of seconds from 0s to %ds", ttl, math.MaxInt32)
	}
	if err := s.validateServers(); err != nil {
		return err
	}
	if s.Transport != "" && s.Transport != "udp" && s.Transport != "tcp" {
		return fmt.Errorf("transport: %q is neither udp nor tcp", s.Transport)
	}
	return s.TSIG.validate()
}

func (s *Settings) validateServers() error {
	if len(s.Servers) == 0 {
		return fmt.Errorf("servers: name at least the zone's primary, as host:port")
	}
	for i, server := range s.Servers {
		if driver.Unfilled(server) {
			continue
		}
		host, port, err := net.SplitHostPort(server)
		if err != nil || host == "" || port == "" {
			return fmt.Errorf("servers[%d]: %q is not host:port, such as 192.0.2.1:53", i, server)
		}
		if slices.Contains(s.Servers[:i], server) {
			return fmt.Errorf("servers[%d]: %s is there twice", i, server)
		}
	}
	return nil
}

func (k *TSIG) validate() error {
	if k == nil {
		return nil
	}
	if _, ok := mdns.IsDomainName(k.Name); !ok || k.Name == "" {
		return fmt.Errorf("tsig.name: %q is not a key's name", k.Name)
	}
	if _, ok := algorithms[k.algorithm()]; !ok {
		return fmt.Errorf("tsig.algorithm: %q is not one of hmac-sha1, hmac-sha224, hmac-sha256, hmac-sha384, "+
			"hmac-sha512", k.Algorithm)
	}
	if k.Secret == "" {
		return fmt.Errorf("tsig.secret: is missing")
	}
	return nil
}

// Validate checks the values as far as their type does not matter.
func (s *Site) Validate() error {
	if len(s.Values) == 0 {
		return fmt.Errorf("values: name at least one")
	}
	for i, v := range s.Values {
		if strings.TrimSpace(v) == "" {
			return fmt.Errorf("values[%d]: is empty", i)
		}
		if slices.Contains(s.Values[:i], v) {
			return fmt.Errorf("values[%d]: %s is there twice", i, v)
		}
	}
	return nil
}

func (s *Settings) ttl() time.Duration {
	if s.TTL == nil {
		return defaultTTL
	}
	return s.TTL.Std()
}

func (s *Settings) timeout() time.Duration {
	if s.Timeout == 0 {
		return defaultTimeout
	}
	return s.Timeout.Std()
}

func (k *TSIG) algorithm() string { return strings.ToLower(strings.TrimSuffix(k.Algorithm, ".")) }

// keyFile finds the secret in a key file as tsig-keygen and rndc-confgen write it.
var keyFile = regexp.MustCompile(`secret\s+"([^"]+)"\s*;`)

// keyText takes the base64 text out of what a secret reference gave, which may be a whole key file. ok is false when
// there is no key in it.
func keyText(text string) (key string, ok bool) {
	key = strings.TrimSpace(text)
	if m := keyFile.FindStringSubmatch(text); m != nil {
		key = m[1]
	}
	raw, err := base64.StdEncoding.DecodeString(key)
	return key, err == nil && len(raw) > 0
}
