package elasticache

import (
	"fmt"
	"regexp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
)

// Settings are a global datastore's, the same at all sites.
type Settings struct {
	Datastore string `json:"datastore" jsonschema:"required,description=The global datastore's id with the prefix that AWS gave it: ldgnf-sessions"`
}

// Site is the datastore's member at a site.
type Site struct {
	AWS   awsbase.Access `json:"aws" jsonschema:"description=The account and region and how to become somebody there"`
	Group string         `json:"group" jsonschema:"required,description=The id of the replication group in this region that is a member of the global datastore"`
}

var idForm = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9]|-[A-Za-z0-9])*$`)

// Validate checks what can be known without asking anybody.
func (s *Settings) Validate() error { return validID("datastore", s.Datastore) }

// Validate checks what can be known without asking anybody.
func (s *Site) Validate() error {
	if err := s.AWS.Validate(); err != nil {
		return fmt.Errorf("aws: %w", err)
	}
	return validID("group", s.Group)
}

func validID(field, id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%s: is missing", field)
	case driver.Unfilled(id): // comes from a step that has not run
	case !idForm.MatchString(id):
		return fmt.Errorf("%s: %q is not an id: letters, digits and single hyphens, a letter first", field, id)
	}
	return nil
}
