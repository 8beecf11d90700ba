package elasticache

import (
	"fmt"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// What becomes of a group that holds what it held before the app served elsewhere.
const (
	staleReplace = "replace"
	staleKeep    = "keep"
)

// GroupSettings are a replication group's, the same at all sites: what it is created as.
type GroupSettings struct {
	Engine            string     `json:"engine" jsonschema:"required,enum=redis,enum=valkey,description=The engine"`
	EngineVersion     string     `json:"engine_version,omitempty" jsonschema:"description=Its version such as 7.1; left out: AWS's default"`
	NodeType          string     `json:"node_type" jsonschema:"required,description=The node type such as cache.r6g.large"`
	Shards            int        `json:"shards,omitempty" jsonschema:"minimum=1,maximum=500,description=How many shards (node groups) it has (default: 1); with more than one it is in cluster mode"`
	Replicas          int        `json:"replicas,omitempty" jsonschema:"minimum=0,maximum=5,description=How many replicas each shard has; with one or more\\, failover within the region is automatic"`
	MultiAZ           bool       `json:"multi_az,omitempty" jsonschema:"description=Spread the nodes over availability zones; needs replicas"`
	Port              int        `json:"port,omitempty" jsonschema:"minimum=1,maximum=65535,description=The port (default: 6379)"`
	TransitEncryption bool       `json:"transit_encryption,omitempty" jsonschema:"description=Clients speak TLS"`
	AtRestEncryption  bool       `json:"at_rest_encryption,omitempty" jsonschema:"description=What it writes to disk is encrypted"`
	AuthToken         secret.Ref `json:"auth_token,omitempty" jsonschema:"description=A reference to the password that clients give; needs transit_encryption"`
	UserGroups        []string   `json:"user_groups,omitempty" jsonschema:"description=The ids of the user groups that may connect; needs transit_encryption"`
	Warm              *Warm      `json:"warm,omitempty" jsonschema:"description=How it is filled after it came up\\, before anything that needs it and before traffic"`
	Stale             string     `json:"stale,omitempty" jsonschema:"enum=replace,enum=keep,description=What becomes of a group that holds what it held before the app served elsewhere: replace (the default) deletes it and creates an empty one\\, keep serves what it holds"`
}

// GroupSite is the replication group at a site.
type GroupSite struct {
	AWS            awsbase.Access `json:"aws" jsonschema:"description=The account and region and how to become somebody there"`
	Group          string         `json:"group" jsonschema:"required,description=The id of the replication group at this site"`
	SubnetGroup    string         `json:"subnet_group,omitempty" jsonschema:"description=The cache subnet group that it is created in; left out: the region's default"`
	SecurityGroups []string       `json:"security_groups,omitempty" jsonschema:"description=The ids of its security groups; left out: the network's default group"`
	ParameterGroup string         `json:"parameter_group,omitempty" jsonschema:"description=The cache parameter group; left out: the engine's default"`
	KMSKey         string         `json:"kms_key,omitempty" jsonschema:"description=The key of this region that encrypts it at rest; needs at_rest_encryption"`
	Standby        *GroupStandby  `json:"standby,omitempty" jsonschema:"description=A smaller group that stands by while the app serves elsewhere\\, and is brought to its size when it is to serve. Left out: none\\, the group is created then"`
	Drill          *GroupDrill    `json:"drill,omitempty" jsonschema:"description=Where drills create it: a network that nothing else is reached from"`
}

// GroupStandby is the size of a group that stands by.
type GroupStandby struct {
	NodeType string `json:"node_type" jsonschema:"required,description=The node type such as cache.t4g.small"`
	Replicas int    `json:"replicas,omitempty" jsonschema:"minimum=0,maximum=5,description=How many replicas each shard has"`
}

// GroupDrill is where drills create it.
type GroupDrill struct {
	SubnetGroup    string   `json:"subnet_group" jsonschema:"required,description=An isolated cache subnet group"`
	SecurityGroups []string `json:"security_groups" jsonschema:"required,minItems=1,description=The ids of the security groups"`
	NodeType       string   `json:"node_type,omitempty" jsonschema:"description=The node type; left out: the one that serves"`
}

// Validate checks what can be known without asking anybody.
func (s *GroupSettings) Validate() error {
	switch {
	case s.Engine != "redis" && s.Engine != "valkey":
		return fmt.Errorf("engine: %q is neither redis nor valkey", s.Engine)
	case s.Shards < 0 || s.Shards > 500:
		return fmt.Errorf("shards: %d is not from 1 to 500", s.Shards)
	case s.MultiAZ && s.Replicas == 0:
		return fmt.Errorf("multi_az: needs replicas")
	case s.Port < 0 || s.Port > 65535:
		return fmt.Errorf("port: %d is none", s.Port)
	case s.AuthToken != "" && !s.TransitEncryption:
		return fmt.Errorf("auth_token: needs transit_encryption: true")
	case len(s.UserGroups) > 0 && !s.TransitEncryption:
		return fmt.Errorf("user_groups: needs transit_encryption: true")
	case len(s.UserGroups) > 0 && s.AuthToken != "":
		return fmt.Errorf("user_groups: AWS takes them or an auth_token, not both")
	case s.Stale != "" && s.Stale != staleReplace && s.Stale != staleKeep:
		return fmt.Errorf("stale: %q is neither replace nor keep", s.Stale)
	}
	if err := validSize("", s.NodeType, s.Replicas); err != nil {
		return err
	}
	if s.Warm == nil {
		return nil
	}
	if err := s.Warm.validate(); err != nil {
		return fmt.Errorf("warm.%w", err)
	}
	return nil
}

func validSize(prefix, nodeType string, replicas int) error {
	switch {
	case nodeType == "":
		return fmt.Errorf("%snode_type: is missing", prefix)
	case !strings.HasPrefix(nodeType, "cache.") && !driver.Unfilled(nodeType):
		return fmt.Errorf("%snode_type: %q does not begin with cache. as node types do", prefix, nodeType)
	case replicas < 0 || replicas > 5:
		return fmt.Errorf("%sreplicas: %d is not from 0 to 5", prefix, replicas)
	}
	return nil
}

// Where is the site's account and region.
func (s GroupSite) Where() awsbase.Access { return s.AWS }

// Validate checks what can be known without asking anybody.
func (s *GroupSite) Validate() error {
	if err := s.AWS.Validate(); err != nil {
		return fmt.Errorf("aws: %w", err)
	}
	if err := awsbase.ValidID("group", s.Group, groupName); err != nil {
		return err
	}
	if s.Standby != nil {
		if err := validSize("standby.", s.Standby.NodeType, s.Standby.Replicas); err != nil {
			return err
		}
	}
	if s.Drill != nil && (s.Drill.SubnetGroup == "" || len(s.Drill.SecurityGroups) == 0) {
		return fmt.Errorf("drill: subnet_group and security_groups are both needed, so that a drill is apart")
	}
	return nil
}

// Owns names the replication groups.
func (d *Group) Owns(r model.Resource) []string {
	return awsbase.Things(r, func(s GroupSite) string { return "replication group " + s.Group })
}

// ValidateResource checks what the settings and the sites say together.
func (d *Group) ValidateResource(r model.Resource) error {
	set, err := driver.Decode[GroupSettings](r.Settings)
	if err != nil {
		return err
	}
	for _, id := range r.SiteIDs() {
		at, err := driver.Decode[GroupSite](r.Sites[id])
		switch {
		case err != nil:
			return err
		case at.KMSKey != "" && !set.AtRestEncryption:
			return fmt.Errorf("sites.%s.kms_key: needs settings.at_rest_encryption: true", id)
		case at.Standby != nil && at.Standby.Replicas > set.Replicas:
			return fmt.Errorf("sites.%s.standby.replicas: %d are more than the %d that serve", id, at.Standby.Replicas, set.Replicas)
		case at.Drill != nil && at.Drill.SubnetGroup == at.SubnetGroup:
			return fmt.Errorf("sites.%s.drill.subnet_group: is the one that it serves in, so a drill would not be apart", id)
		}
	}
	return nil
}
