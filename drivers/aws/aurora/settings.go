package aurora

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Settings are a global database's settings, the same at all sites.
type Settings struct {
	Global        string `json:"global" jsonschema:"required,description=The identifier of the global database"`
	AllowDataLoss *bool  `json:"allow_data_loss,omitempty" jsonschema:"description=Whether an unplanned failover may lose what had not reached the recovery region; true when left out. Without it only a switchover is tried, which needs both regions"`
}

// lossy reports whether an unplanned move may lose what had not been replicated.
func (s *Settings) lossy() bool { return s.AllowDataLoss == nil || *s.AllowDataLoss }

// Site is the member of the global database at a site, and how it is made again.
type Site struct {
	AWS                   awsbase.Access `json:"aws,omitzero" jsonschema:"description=Where the site is in AWS; what the site says for all resources when left out"`
	Cluster               string         `json:"cluster" jsonschema:"required,description=The identifier of the cluster in this region"`
	Instances             Instances      `json:"instances,omitzero" jsonschema:"description=The instances that a cluster which is made again gets"`
	SubnetGroup           string         `json:"subnet_group,omitempty" jsonschema:"description=The DB subnet group of a cluster that is made again"`
	SecurityGroups        []string       `json:"security_groups,omitempty" jsonschema:"description=The ids of its security groups"`
	ClusterParameterGroup string         `json:"cluster_parameter_group,omitempty" jsonschema:"description=Its cluster parameter group"`
	ParameterGroup        string         `json:"parameter_group,omitempty" jsonschema:"description=Its instances' parameter group"`
	KMSKey                string         `json:"kms_key,omitempty" jsonschema:"description=The key of this region for its storage; aws/rds when left out and the database is encrypted"`
	DeletionProtection    *bool          `json:"deletion_protection,omitempty" jsonschema:"description=Whether it gets deletion protection; true when left out"`
	Drill                 *Drill         `json:"drill,omitempty" jsonschema:"description=Where copies are restored to apart from everything: for drills and before an old cluster is deleted"`
}

// Instances are the instances of a cluster.
type Instances struct {
	Number int    `json:"number,omitempty" jsonschema:"minimum=1,maximum=16,description=How many; 1 when left out"`
	Class  string `json:"class,omitempty" jsonschema:"description=Their class such as db.r6g.large; that of the serving cluster's instances when left out"`
}

// Drill is an isolated place.
type Drill struct {
	SubnetGroup    string   `json:"subnet_group" jsonschema:"required,description=A DB subnet group without a way to anywhere else"`
	SecurityGroups []string `json:"security_groups,omitempty" jsonschema:"description=The ids of security groups of the same network"`
	Class          string   `json:"class,omitempty" jsonschema:"description=The class of the copy's instance; that of the site's instances when left out"`
}

// The form of an RDS identifier, and of an instance class.
var (
	nameForm  = regexp.MustCompile(`^[a-zA-Z](-?[a-zA-Z0-9])*$`)
	classForm = regexp.MustCompile(`^db\.[a-z0-9-]+\.[a-z0-9.-]+$`)
)

const nameLimit = 63

func known(text string) bool { return !strings.Contains(text, "${") }

func validName(field, text string) error {
	switch {
	case text == "":
		return fmt.Errorf("%s: is missing", field)
	case known(text) && (!nameForm.MatchString(text) || len(text) > nameLimit):
		return fmt.Errorf("%s: %q is not an identifier: up to 63 letters, digits and single hyphens, a letter first", field, text)
	}
	return nil
}

func validClass(field, text string) error {
	if text != "" && known(text) && !classForm.MatchString(text) {
		return fmt.Errorf("%s: %q is not a class such as db.r6g.large", field, text)
	}
	return nil
}

// Validate checks what can be known without asking anybody. Texts with references in them are left for later.
func (s *Settings) Validate() error { return validName("global", s.Global) }

// Validate checks what can be known without asking anybody.
func (s *Site) Validate() error {
	if s.AWS.Account == "" && s.AWS.Region == "" {
		return fmt.Errorf("aws: is missing: say account and region here, or under the file's sites for all resources")
	}
	if err := s.AWS.Validate(); err != nil {
		return fmt.Errorf("aws: %w", err)
	}
	if err := validName("cluster", s.Cluster); err != nil {
		return err
	}
	if s.Instances.Number < 0 || s.Instances.Number > 16 {
		return fmt.Errorf("instances.number: %d is not from 1 to 16", s.Instances.Number)
	}
	if err := validClass("instances.class", s.Instances.Class); err != nil {
		return err
	}
	if s.Drill == nil {
		return nil
	}
	switch {
	case s.Drill.SubnetGroup == "":
		return fmt.Errorf("drill.subnet_group: is missing")
	case s.Drill.SubnetGroup == s.SubnetGroup:
		return fmt.Errorf("drill.subnet_group: %s is the subnet group of the database itself: a copy there is not apart", s.SubnetGroup)
	}
	return validClass("drill.class", s.Drill.Class)
}

func (s *Site) protected() bool { return s.DeletionProtection == nil || *s.DeletionProtection }

func (s *Site) number() int { return max(s.Instances.Number, 1) }

// ValidateResource finds sites that are one and the same place: members of a global database are in regions of their own.
func (d *Driver) ValidateResource(r model.Resource) error {
	seen := map[string]model.SiteID{}
	for _, id := range slices.Sorted(maps.Keys(r.Sites)) {
		site, err := driver.Decode[Site](r.Sites[id])
		if err != nil {
			return err
		}
		if other, ok := seen[site.AWS.Region]; ok {
			return failure.New(failure.Invalid, "", "", "sites.%s.aws.region: %s is the region of site %s too: a global database has one cluster in a region", id, site.AWS.Region, other)
		}
		seen[site.AWS.Region] = id
	}
	return nil
}
