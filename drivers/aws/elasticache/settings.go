package elasticache

import (
	"fmt"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/model"
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

const (
	groupName     = 40  // how long ids of groups may be (ElastiCache API Reference, CreateReplicationGroup)
	datastoreName = 255 // those of datastores, of which AWS documents no limit
)

// Where is the site's account and region.
func (s Site) Where() awsbase.Access { return s.AWS }

// Owns names the replication groups.
func (d *Global) Owns(r model.Resource) []string {
	return awsbase.Things(r, func(s Site) string { return "replication group " + s.Group })
}

// ValidateResource finds sites that are one and the same place.
func (d *Global) ValidateResource(r model.Resource) error {
	return awsbase.Apart[Site](r, "a global datastore has one replication group in a region")
}

// Validate checks what can be known without asking anybody.
func (s *Settings) Validate() error { return awsbase.ValidID("datastore", s.Datastore, datastoreName) }

// Validate checks what can be known without asking anybody.
func (s *Site) Validate() error {
	if err := s.AWS.Validate(); err != nil {
		return fmt.Errorf("aws: %w", err)
	}
	return awsbase.ValidID("group", s.Group, groupName)
}
