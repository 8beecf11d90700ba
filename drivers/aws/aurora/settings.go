package aurora

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Settings are a global database's settings, the same at all sites.
type Settings struct {
	Global        string            `json:"global" jsonschema:"required,description=The identifier of the global database"`
	AllowDataLoss *bool             `json:"allow_data_loss,omitempty" jsonschema:"description=Whether an unplanned failover may lose what had not reached the recovery region; true when left out. Without it only a switchover is tried, which needs both regions"`
	Copies        *snapshots.Copies `json:"copies,omitempty" jsonschema:"description=Which snapshots are kept at the sites where the app does not serve; left out: as where it serves"`
}

// ClusterSettings are a single cluster's settings, the same at all sites.
type ClusterSettings struct {
	Copies *snapshots.Copies `json:"copies,omitempty" jsonschema:"description=What is kept at the sites where the app does not serve; left out: as where it serves"`
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

// ClusterSite is a single cluster at a site.
type ClusterSite struct {
	Site
	Port            int    `json:"port,omitempty" jsonschema:"description=The port of what is restored; left out: that of the snapshot"`
	BackupRetention int    `json:"backup_retention,omitempty" jsonschema:"minimum=1,maximum=35,description=For how many days AWS keeps its own backups of what is restored; left out: as AWS sets it"`
	Fence           *Fence `json:"fence,omitempty" jsonschema:"description=How everybody is shut out of the cluster"`
}

// Fence is how a cluster is shut in.
type Fence struct {
	SecurityGroups []string `json:"security_groups" jsonschema:"required,minItems=1,description=The ids of security groups that let nobody in"`
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

// classForm is what classes of instances look like.
var classForm = regexp.MustCompile(`^db\.[a-z0-9-]+\.[a-z0-9.-]+$`)

// nameLimit is how long identifiers of clusters and instances may be (RDS API Reference, CreateDBCluster).
const nameLimit = 63

// Where is the site's account and region.
func (s Site) Where() awsbase.Access { return s.AWS }

func validClass(field, text string) error {
	if text != "" && !driver.Unfilled(text) && !classForm.MatchString(text) {
		return fmt.Errorf("%s: %q is not a class such as db.r6g.large", field, text)
	}
	return nil
}

// Validate checks what can be known without asking anybody. Texts with references in them are left for later.
func (s *Settings) Validate() error {
	if err := awsbase.ValidID("global", s.Global, nameLimit); err != nil {
		return err
	}
	return s.Copies.Validate()
}

// Validate checks what can be known without asking anybody.
func (s *ClusterSettings) Validate() error { return s.Copies.Validate() }

// Validate checks what can be known without asking anybody. Texts with references in them are left for later.
func (s *ClusterSite) Validate() error {
	if err := s.Site.Validate(); err != nil {
		return err
	}
	switch {
	case s.Instances.Class == "":
		return fmt.Errorf("instances.class: is missing: a snapshot does not say which class its cluster's instances had")
	case s.Port < 0 || s.Port > 65535:
		return fmt.Errorf("port: %d is none", s.Port)
	case s.BackupRetention < 0 || s.BackupRetention > 35:
		return fmt.Errorf("backup_retention: %d is not from 1 to 35 days", s.BackupRetention)
	case s.Fence == nil:
		return nil
	case len(s.Fence.SecurityGroups) == 0:
		return fmt.Errorf("fence.security_groups: name at least one group that lets nobody in")
	}
	for _, g := range s.Fence.SecurityGroups {
		if slices.Contains(s.SecurityGroups, g) {
			return fmt.Errorf("fence.security_groups: %s is one of the groups that it serves in", g)
		}
	}
	return nil
}

// Validate checks what can be known without asking anybody.
func (s *Site) Validate() error {
	if err := s.AWS.Validate(); err != nil {
		return fmt.Errorf("aws: %w", err)
	}
	if err := awsbase.ValidID("cluster", s.Cluster, nameLimit); err != nil {
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

// key is the site's own for what is encrypted there.
func (s *Site) key() string {
	if s.KMSKey == "" {
		return "alias/aws/rds"
	}
	return s.KMSKey
}

// Owns names the clusters.
func (d *Driver) Owns(r model.Resource) []string {
	return awsbase.Things(r, func(s Site) string { return "cluster " + s.Cluster })
}

// Owns names the clusters.
func (d *Cluster) Owns(r model.Resource) []string {
	return awsbase.Things(r, func(s ClusterSite) string { return "cluster " + s.Cluster })
}

// ValidateResource finds sites that are one and the same place: members of a global database are in regions of their own.
func (d *Driver) ValidateResource(r model.Resource) error {
	return awsbase.Apart[Site](r, "a global database has one cluster in a region")
}

// ValidateResource finds sites that snapshots cannot be copied between.
func (d *Cluster) ValidateResource(r model.Resource) error {
	return awsbase.Apart[ClusterSite](r, "copies of snapshots need another region")
}
