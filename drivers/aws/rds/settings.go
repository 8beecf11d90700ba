package rds

import (
	"fmt"
	"slices"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Settings are an instance's settings, the same at all sites.
type Settings struct {
	Recovery string            `json:"recovery,omitempty" jsonschema:"enum=snapshot,enum=replica,description=How it comes back at another site: snapshot (the default) restores the newest copy of a snapshot there; replica promotes a read replica that runs there"`
	Copies   *snapshots.Copies `json:"copies,omitempty" jsonschema:"description=What is kept at the sites where the app does not serve; left out: as where it serves"`
}

// Site is the instance at one site.
type Site struct {
	AWS                awsbase.Access `json:"aws" jsonschema:"description=The account and region; usually said once under sites of the file"`
	Instance           string         `json:"instance" jsonschema:"required,description=The instance's identifier at this site"`
	Class              string         `json:"class,omitempty" jsonschema:"description=The class such as db.r6g.large; left out: that of the snapshot"`
	SubnetGroup        string         `json:"subnet_group,omitempty" jsonschema:"description=The subnet group that it is restored into"`
	SecurityGroups     []string       `json:"security_groups,omitempty" jsonschema:"description=The ids of its security groups; left out: the network's default group"`
	ParameterGroup     string         `json:"parameter_group,omitempty" jsonschema:"description=The parameter group; left out: the engine's default"`
	OptionGroup        string         `json:"option_group,omitempty" jsonschema:"description=The option group; left out: the engine's default"`
	MultiAZ            bool           `json:"multi_az,omitempty" jsonschema:"description=Keep a standby in another availability zone"`
	DeletionProtection bool           `json:"deletion_protection,omitempty" jsonschema:"description=Protect what is restored under the site's name from deletion"`
	KMSKey             string         `json:"kms_key,omitempty" jsonschema:"description=The key of this region that encrypts copies of snapshots: its ARN or id"`
	Port               int            `json:"port,omitempty" jsonschema:"description=The port; left out: that of the snapshot"`
	BackupRetention    *int           `json:"backup_retention,omitempty" jsonschema:"description=For how many days AWS keeps its own backups of what is restored: 0 to 35; left out: as AWS sets it"`
	ManagePassword     bool           `json:"manage_password,omitempty" jsonschema:"description=Let AWS make a new master password and keep it in its Secrets Manager whenever the instance is restored or promoted; said at all sites or at none"`
	Drill              *DrillSite     `json:"drill,omitempty" jsonschema:"description=Where drills and proofs restore: a network that nothing else is reached from"`
	Fence              *FenceSite     `json:"fence,omitempty" jsonschema:"description=How everybody is shut out of the instance"`
}

// DrillSite is where copies are restored that are only looked at.
type DrillSite struct {
	SubnetGroup    string   `json:"subnet_group" jsonschema:"required,description=An isolated subnet group"`
	SecurityGroups []string `json:"security_groups" jsonschema:"required,minItems=1,description=The ids of the security groups"`
	Class          string   `json:"class,omitempty" jsonschema:"description=The class; left out: the site's"`
}

// FenceSite is how the instance is fenced.
type FenceSite struct {
	SecurityGroups []string `json:"security_groups" jsonschema:"required,minItems=1,description=The ids of security groups that let nobody in"`
}

// nameLimit is how long an instance's identifier may be (RDS API Reference, CreateDBInstance).
const nameLimit = 63

// Where is the site's account and region.
func (s Site) Where() awsbase.Access { return s.AWS }

// Validate checks what can be known without asking anybody.
func (s *Settings) Validate() error {
	if s.Recovery != "" && s.Recovery != bySnapshot && s.Recovery != byReplica {
		return fmt.Errorf("recovery: %q is neither %s nor %s", s.Recovery, bySnapshot, byReplica)
	}
	return s.Copies.Validate()
}

// Validate checks what can be known without asking anybody.
func (s *Site) Validate() error {
	if err := s.AWS.Validate(); err != nil {
		return fmt.Errorf("aws: %w", err)
	}
	if err := awsbase.ValidID("instance", s.Instance, nameLimit); err != nil {
		return err
	}
	if s.Port < 0 || s.Port > 65535 {
		return fmt.Errorf("port: %d is none", s.Port)
	}
	if n := s.BackupRetention; n != nil && (*n < 0 || *n > 35) {
		return fmt.Errorf("backup_retention: %d is not from 0 to 35 days", *n)
	}
	if s.Drill != nil && (s.Drill.SubnetGroup == "" || len(s.Drill.SecurityGroups) == 0) {
		return fmt.Errorf("drill: subnet_group and security_groups are both needed, so that a drill is apart")
	}
	if s.Fence == nil {
		return nil
	}
	if len(s.Fence.SecurityGroups) == 0 {
		return fmt.Errorf("fence.security_groups: name at least one group that lets nobody in")
	}
	for _, g := range s.Fence.SecurityGroups {
		if slices.Contains(s.SecurityGroups, g) {
			return fmt.Errorf("fence.security_groups: %s is one of the groups that it serves in", g)
		}
	}
	return nil
}

// Owns names the instances.
func (d *Driver) Owns(r model.Resource) []string {
	return awsbase.Things(r, func(s Site) string { return "instance " + s.Instance })
}

// ValidateResource checks what the sites say together: snapshots have one name at all of them.
func (d *Driver) ValidateResource(r model.Resource) error {
	if err := awsbase.Apart[Site](r, "copies of snapshots need another region"); err != nil {
		return err
	}
	ids := r.SiteIDs()
	for _, id := range ids {
		at, err := driver.Decode[Site](r.Sites[id])
		if err != nil {
			return err
		}
		first, err := driver.Decode[Site](r.Sites[ids[0]])
		if err != nil {
			return err
		}
		if at.ManagePassword != first.ManagePassword {
			return fmt.Errorf("sites.%s.manage_password: is not as at site %s: what needs the output secret would find it after some moves only", id, ids[0])
		}
	}
	return nil
}
