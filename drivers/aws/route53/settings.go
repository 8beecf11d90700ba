package route53

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Settings are what holds at all sites.
type Settings struct {
	Zone    string          `json:"zone" jsonschema:"required,description=The hosted zone: its id (Z0123456789) or its name (example.com)"`
	Private bool            `json:"private,omitempty" jsonschema:"description=Take the private zone of that name rather than the public one"`
	Names   []string        `json:"names" jsonschema:"required,minItems=1,description=The whole names of the records. They are switched together in one change"`
	Type    string          `json:"type" jsonschema:"required,enum=A,enum=AAAA,enum=CNAME,enum=SRV,description=The records' type"`
	Policy  string          `json:"policy,omitempty" jsonschema:"enum=simple,enum=weighted,enum=failover,description=How Route 53 chooses among records of a name; simple when left out: there is one"`
	TTL     *model.Duration `json:"ttl,omitempty" jsonschema:"description=How long resolvers may hold an answer: whole seconds; 30s when left out. Aliases have none of their own"`
	Stale   model.Duration  `json:"stale,omitempty" jsonschema:"description=How much of the app's RTO may go by while resolvers hold old answers; a longer TTL is warned of; 60s when left out"`
}

// Site is what the names stand for while clients belong at a site.
type Site struct {
	AWS awsbase.Access `json:"aws" jsonschema:"description=The account that holds the zone and how to become somebody there"`
	Target
	Each        map[string]Target `json:"each,omitempty" jsonschema:"description=Targets of single names where they differ"`
	Identifier  string            `json:"identifier,omitempty" jsonschema:"description=The set identifier of this site's weighted or failover records; the site's own name when left out"`
	Weight      *int64            `json:"weight,omitempty" jsonschema:"minimum=1,maximum=255,description=The weight of this site's records while clients belong here; 100 when left out. The other sites' get 0"`
	HealthCheck string            `json:"health_check,omitempty" jsonschema:"description=The id of a health check for this site's weighted or failover records. Left out: they keep what they have"`
}

// Target is what a name stands for: values or an alias.
type Target struct {
	Values []string `json:"values,omitempty" jsonschema:"description=The values of the record"`
	Alias  *Alias   `json:"alias,omitempty" jsonschema:"description=Another name of AWS that the record stands for such as a load balancer's"`
}

// Alias is a name of AWS, or another record of the zone, that a record stands for.
type Alias struct {
	Name     string `json:"name" jsonschema:"required,description=The name that is stood for"`
	Zone     string `json:"zone" jsonschema:"required,description=The id of the hosted zone that holds that name (for a load balancer its CanonicalHostedZoneId)"`
	Evaluate bool   `json:"evaluate,omitempty" jsonschema:"description=Route 53 answers with the record only while what it stands for is healthy"`
}

// What may be left out.
const (
	defaultTTL    = 30 * time.Second
	defaultStale  = time.Minute
	defaultWeight = 100
)

// The policies.
const (
	simple   = "simple"
	weighted = "weighted"
	failover = "failover"
)

var (
	recordTypes = []string{"A", "AAAA", "CNAME", "SRV"}
	policies    = []string{simple, weighted, failover}
	nameForm    = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`)
	zoneForm    = regexp.MustCompile(`^(/?hostedzone/)?(Z[A-Z0-9]{1,31})$`)
)

// Validate checks what can be known without asking anybody. Texts with references in them are left for later.
func (s *Settings) Validate() error {
	if s.Zone == "" {
		return fmt.Errorf("zone: is missing")
	}
	if !driver.Unfilled(s.Zone) && zoneID(s.Zone) == "" && !nameForm.MatchString(s.Zone) {
		return fmt.Errorf("zone: %q is neither a hosted zone's id nor a domain name", s.Zone)
	}
	if len(s.Names) == 0 {
		return fmt.Errorf("names: name at least one")
	}
	for i, name := range s.Names {
		if err := s.validateName(name); err != nil {
			return fmt.Errorf("names[%d]: %w", i, err)
		}
		if slices.ContainsFunc(s.Names[:i], func(o string) bool { return dotted(o) == dotted(name) }) {
			return fmt.Errorf("names[%d]: %s is there twice", i, name)
		}
	}
	if !driver.Unfilled(s.Type) && !slices.Contains(recordTypes, s.Type) {
		return fmt.Errorf("type: %q is not one of %s", s.Type, strings.Join(recordTypes, ", "))
	}
	if !slices.Contains(policies, s.policy()) {
		return fmt.Errorf("policy: %q is not one of %s", s.Policy, strings.Join(policies, ", "))
	}
	if ttl := s.ttl(); ttl%time.Second != 0 || ttl > math.MaxInt32*time.Second {
		return fmt.Errorf("ttl: %s is not a whole number of seconds from 0s to %ds", ttl, math.MaxInt32)
	}
	return nil
}

// Where is the site's account and region.
func (s Site) Where() awsbase.Access { return s.AWS }

func (s *Settings) validateName(name string) error {
	zone := dotted(s.Zone)
	switch {
	case driver.Unfilled(name):
	case !nameForm.MatchString(name):
		return fmt.Errorf("%q is not a domain name", name)
	case zoneID(s.Zone) != "" || driver.Unfilled(s.Zone):
	case dotted(name) == zone && s.Type == "CNAME":
		return fmt.Errorf("%s is the zone's own name, which cannot be a CNAME: write an alias of type A", name)
	case dotted(name) != zone && !strings.HasSuffix(dotted(name), "."+zone):
		return fmt.Errorf("%s is not in the zone %s", name, s.Zone)
	}
	return nil
}

// Validate checks the parts of a site that do not depend on the record's type.
func (s *Site) Validate() error {
	if err := s.AWS.Validate(); err != nil {
		return fmt.Errorf("aws: %w", err)
	}
	if len(s.Each) == 0 || len(s.Values) > 0 || s.Alias != nil {
		if err := s.Target.validate(); err != nil {
			return err
		}
	}
	for name, t := range s.Each {
		if err := t.validate(); err != nil {
			return fmt.Errorf("each.%s.%w", name, err)
		}
	}
	if s.Weight != nil && (*s.Weight < 1 || *s.Weight > 255) {
		return fmt.Errorf("weight: %d is not from 1 to 255", *s.Weight)
	}
	return nil
}

func (t Target) validate() error {
	switch {
	case len(t.Values) > 0 && t.Alias != nil:
		return fmt.Errorf("values: a record has values or is an alias, not both")
	case t.Alias != nil && t.Alias.Name == "":
		return fmt.Errorf("alias.name: is missing")
	case t.Alias != nil && !driver.Unfilled(t.Alias.Zone) && zoneID(t.Alias.Zone) == "":
		return fmt.Errorf("alias.zone: %q is not a hosted zone's id", t.Alias.Zone)
	case t.Alias != nil:
		return nil
	case len(t.Values) == 0:
		return fmt.Errorf("values: name at least one, or write an alias")
	}
	for i, v := range t.Values {
		if strings.TrimSpace(v) == "" {
			return fmt.Errorf("values[%d]: is empty", i)
		}
		if slices.Contains(t.Values[:i], v) {
			return fmt.Errorf("values[%d]: %s is there twice", i, v)
		}
	}
	return nil
}

// fits holds a target to the record's type.
func (t Target) fits(typ string) error {
	if t.Alias != nil && typ == "SRV" {
		return fmt.Errorf("alias: records of type SRV cannot be one here")
	}
	for i, v := range t.Values {
		addr, err := netip.ParseAddr(v)
		switch {
		case driver.Unfilled(v):
		case typ == "A" && (err != nil || !addr.Is4()):
			return fmt.Errorf("values[%d]: %q is not an IPv4 address", i, v)
		case typ == "AAAA" && (err != nil || !addr.Is6() || addr.Zone() != ""):
			return fmt.Errorf("values[%d]: %q is not an IPv6 address", i, v)
		case typ == "CNAME" && (len(t.Values) > 1 || !nameForm.MatchString(v)):
			return fmt.Errorf("values[%d]: a CNAME has one value, a domain name", i)
		case typ == "SRV" && len(strings.Fields(v)) != 4:
			return fmt.Errorf("values[%d]: %q is not \"priority weight port target\"", i, v)
		}
	}
	return nil
}

// Owns names the records: of a policy that chooses among several, those of the sites.
func (d *Driver) Owns(r model.Resource) (all []string) {
	s, err := driver.Decode[Settings](r.Settings)
	if err != nil {
		return nil
	}
	for _, name := range s.Names {
		what := fmt.Sprintf("the %s record of %s", s.Type, strings.ToLower(strings.TrimSuffix(name, ".")))
		if s.Private {
			what += " in the private zone " + s.Zone
		}
		if s.policy() == simple {
			all = append(all, what)
			continue
		}
		for _, id := range r.SiteIDs() {
			if at, err := driver.Decode[Site](r.Sites[id]); err == nil {
				all = append(all, what+" with the identifier "+at.identifier(id))
			}
		}
	}
	return all
}

// apart finds names that stand for the same at two sites: they could not be switched, nor could anybody tell where they lead. What
// holds references is known only when they are filled in.
func apart(names []string, r model.Resource, site, other model.SiteID) error {
	at, err := driver.Decode[Site](r.Sites[site])
	if err != nil {
		return err
	}
	there, err := driver.Decode[Site](r.Sites[other])
	if err != nil {
		return err
	}
	for _, name := range names {
		t := at.target(name)
		if !slices.ContainsFunc(t.Values, driver.Unfilled) && reflect.DeepEqual(t, there.target(name)) && (t.Alias == nil || !driver.Unfilled(t.Alias.Name)) {
			return fmt.Errorf("sites.%s: %s stands for the same as at site %s: there is nothing to switch", site, name, other)
		}
	}
	return nil
}

// ValidateResource holds the sites to the type, the names and the policy.
func (d *Driver) ValidateResource(r model.Resource) error {
	s, err := driver.Decode[Settings](r.Settings)
	if err != nil {
		return err
	}
	if s.policy() == failover && len(r.Sites) > 2 {
		return fmt.Errorf("settings.policy: a failover record has a primary and a secondary, but there are %d sites", len(r.Sites))
	}
	identifiers := map[string]model.SiteID{}
	for _, site := range r.SiteIDs() {
		at, err := driver.Decode[Site](r.Sites[site])
		if err != nil {
			return err
		}
		id := at.identifier(site)
		if other, taken := identifiers[id]; taken {
			return fmt.Errorf("sites.%s.identifier: %q is that of site %s too", site, id, other)
		}
		identifiers[id] = site
		if first := r.SiteIDs()[0]; site != first && s.policy() == simple {
			if err := apart(s.Names, r, site, first); err != nil {
				return err
			}
		}
		for name := range at.Each {
			if !slices.ContainsFunc(s.Names, func(o string) bool { return dotted(o) == dotted(name) }) {
				return fmt.Errorf("sites.%s.each.%s: is not among settings.names", site, name)
			}
		}
		for _, name := range s.Names {
			t := at.target(name)
			if len(t.Values) == 0 && t.Alias == nil {
				return fmt.Errorf("sites.%s.each: nothing is said of %s", site, name)
			}
			if err := t.fits(s.Type); err != nil {
				return fmt.Errorf("sites.%s.%w", site, err)
			}
		}
	}
	return nil
}

func (s *Settings) policy() string {
	if s.Policy == "" {
		return simple
	}
	return s.Policy
}

func (s *Settings) ttl() time.Duration {
	if s.TTL == nil {
		return defaultTTL
	}
	return s.TTL.Std()
}

func (s *Settings) stale() time.Duration {
	if s.Stale == 0 {
		return defaultStale
	}
	return s.Stale.Std()
}

func (s *Site) identifier(site model.SiteID) string {
	if s.Identifier == "" {
		return string(site)
	}
	return s.Identifier
}

func (s *Site) weight() int64 {
	if s.Weight == nil {
		return defaultWeight
	}
	return *s.Weight
}

// target is what a name stands for at the site.
func (s *Site) target(name string) Target {
	for n, t := range s.Each {
		if dotted(n) == dotted(name) {
			return t
		}
	}
	return s.Target
}

// zoneID is the id in text, or "" when it is a name.
func zoneID(text string) string {
	if m := zoneForm.FindStringSubmatch(text); m != nil {
		return m[2]
	}
	return ""
}

// dotted is a name as Route 53 keeps it: in small letters, with a dot at the end and stars escaped ("Domain name format").
func dotted(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "*", `\052`)
	if !strings.HasSuffix(name, ".") {
		name += "."
	}
	return name
}

// plain is a name for people.
func plain(name string) string { return strings.TrimSuffix(strings.ReplaceAll(name, `\052`, "*"), ".") }
