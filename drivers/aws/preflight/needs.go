package preflight

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Lists of names are asked for once in an examination.
type lists struct {
	subnetGroups map[string]string // by name: the network
	names        map[string][]string
	orders       map[string]bool
	keys         map[string]string // by key: what is wrong with it
}

// missing is the finding of a thing that settings name and the region has not.
func (s *Site) missing(r model.ResourceID, code, what, name, command string) {
	s.found.add(model.Finding{Severity: model.Block, Code: code, Resource: r, What: fmt.Sprintf("there is no %s %s in %s", what, name, s.s.Region()),
		Why: "what is brought up there is to be in it, and AWS refuses that", Fix: fmt.Sprintf("%s --region %s, or name another one in the settings", command, s.s.Region())})
}

// Network looks for a DB subnet group and the security groups that go into its network. An empty group is AWS's to choose.
func (s *Site) Network(ctx context.Context, r model.ResourceID, group string, security []string) {
	if driver.Unfilled(group) {
		return
	}
	s.Ask(ctx, func(ctx context.Context) error {
		if s.lists.subnetGroups == nil && group != "" {
			all, err := s.listSubnetGroups(ctx)
			if err != nil {
				return err
			}
			s.lists.subnetGroups = all
		}
		network, ok := s.lists.subnetGroups[strings.ToLower(group)]
		if group != "" && !ok {
			s.missing(r, "aws-subnet-group", "DB subnet group", group, "aws rds create-db-subnet-group --db-subnet-group-name "+group)
		}
		return s.security(ctx, r, group, network, security)
	})
}

func (s *Site) listSubnetGroups(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	pages := rds.NewDescribeDBSubnetGroupsPaginator(rds.NewFromConfig(s.s.Config("rds")), &rds.DescribeDBSubnetGroupsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, g := range page.DBSubnetGroups {
			all[strings.ToLower(aws.ToString(g.DBSubnetGroupName))] = aws.ToString(g.VpcId)
		}
	}
	return all, nil
}

// Security looks for security groups whose network is not known.
func (s *Site) Security(ctx context.Context, r model.ResourceID, ids []string) {
	s.Ask(ctx, func(ctx context.Context) error { return s.security(ctx, r, "", "", ids) })
}

// security looks for security groups, and whether they are in the network. The client of EC2 is not linked for this one call.
func (s *Site) security(ctx context.Context, r model.ResourceID, group, network string, ids []string) error {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return driver.Unfilled(id) })
	if len(ids) == 0 {
		return nil
	}
	params := url.Values{"Filter.1.Name": {"group-id"}}
	for i, id := range ids {
		params.Set("Filter.1.Value."+strconv.Itoa(i+1), id)
	}
	var out struct {
		Groups []struct {
			ID  string `xml:"groupId"`
			VPC string `xml:"vpcId"`
		} `xml:"securityGroupInfo>item"`
	}
	if err := s.s.Query(ctx, "ec2", ec2Version, "DescribeSecurityGroups", params, &out); err != nil {
		return err
	}
	in := map[string]string{}
	for _, g := range out.Groups {
		in[g.ID] = g.VPC
	}
	for _, id := range ids {
		switch vpc, ok := in[id]; {
		case !ok:
			s.missing(r, "aws-security-group", "security group", id, "aws ec2 describe-security-groups")
		case network != "" && vpc != "" && vpc != network:
			s.found.add(model.Finding{Severity: model.Block, Code: "aws-security-group", Resource: r,
				What: fmt.Sprintf("the security group %s is in the network %s, and the subnet group %s in %s", id, vpc, group, network),
				Why:  "AWS refuses to put a database into groups of another network", Fix: "name groups of " + network + ": aws ec2 describe-security-groups --filters Name=vpc-id,Values=" + network + " --region " + s.s.Region()})
		}
	}
	return nil
}

// The groups of settings that RDS has, by what people call them.
const (
	ParameterGroup        = "DB parameter group"
	ClusterParameterGroup = "DB cluster parameter group"
	OptionGroup           = "option group"
)

// Group looks for a group of settings; none is the engine's default.
func (s *Site) Group(ctx context.Context, r model.ResourceID, what, name string) {
	if name == "" || driver.Unfilled(name) {
		return
	}
	s.Ask(ctx, func(ctx context.Context) error {
		all, ok := s.lists.names[what]
		if !ok {
			var err error
			if all, err = s.listGroups(ctx, what); err != nil {
				return err
			}
			s.lists.names[what] = all
		}
		if !slices.Contains(all, strings.ToLower(name)) {
			s.missing(r, "aws-parameter-group", what, name, "aws rds create-"+strings.ReplaceAll(strings.ToLower(what), " ", "-"))
		}
		return nil
	})
}

func (s *Site) listGroups(ctx context.Context, what string) (all []string, err error) {
	api := rds.NewFromConfig(s.s.Config("rds"))
	add := func(name *string) { all = append(all, strings.ToLower(aws.ToString(name))) }
	switch what {
	case ParameterGroup:
		pages := rds.NewDescribeDBParameterGroupsPaginator(api, &rds.DescribeDBParameterGroupsInput{})
		for pages.HasMorePages() && err == nil {
			var page *rds.DescribeDBParameterGroupsOutput
			if page, err = pages.NextPage(ctx); err == nil {
				for _, g := range page.DBParameterGroups {
					add(g.DBParameterGroupName)
				}
			}
		}
	case ClusterParameterGroup:
		pages := rds.NewDescribeDBClusterParameterGroupsPaginator(api, &rds.DescribeDBClusterParameterGroupsInput{})
		for pages.HasMorePages() && err == nil {
			var page *rds.DescribeDBClusterParameterGroupsOutput
			if page, err = pages.NextPage(ctx); err == nil {
				for _, g := range page.DBClusterParameterGroups {
					add(g.DBClusterParameterGroupName)
				}
			}
		}
	default:
		pages := rds.NewDescribeOptionGroupsPaginator(api, &rds.DescribeOptionGroupsInput{})
		for pages.HasMorePages() && err == nil {
			var page *rds.DescribeOptionGroupsOutput
			if page, err = pages.NextPage(ctx); err == nil {
				for _, g := range page.OptionGroupsList {
					add(g.OptionGroupName)
				}
			}
		}
	}
	return all, err
}

// Key looks whether a key of KMS can be used there; none named is none asked. KMS's client is not linked for this one call.
func (s *Site) Key(ctx context.Context, r model.ResourceID, key, why string) {
	if key == "" || driver.Unfilled(key) {
		return
	}
	s.Ask(ctx, func(ctx context.Context) error {
		wrong, ok := s.lists.keys[key]
		if !ok {
			var out struct {
				KeyMetadata struct {
					Arn, KeyState, KeyUsage string
					Enabled                 bool
				}
			}
			err := s.s.JSON(ctx, "kms", "TrentService", "DescribeKey", struct{ KeyId string }{key}, &out)
			switch {
			case err != nil && failure.KindOf(err) == failure.NotFound:
				wrong = "there is no key " + key + " in " + s.s.Region()
			case err != nil:
				return err
			case !out.KeyMetadata.Enabled:
				wrong = "the key " + key + " is " + out.KeyMetadata.KeyState
			case out.KeyMetadata.KeyUsage != "" && out.KeyMetadata.KeyUsage != "ENCRYPT_DECRYPT":
				wrong = "the key " + key + " is for " + out.KeyMetadata.KeyUsage
			}
			s.lists.keys[key] = wrong
		}
		if wrong != "" {
			s.found.add(model.Finding{Severity: model.Block, Code: "aws-key", Resource: r, What: wrong, Why: why,
				Fix: fmt.Sprintf("aws kms describe-key --key-id %s --region %s; enable it (aws kms enable-key), or name another one in the settings", key, s.s.Region())})
		}
		return nil
	})
}

// Makes says that the work makes n things that a quota of RDS counts, by its name in DescribeAccountAttributes.
func (s *Site) Makes(quota string, n int) { s.need[quota] += n }

// room looks whether what the work makes fits under RDS's quotas.
func (s *Site) room(ctx context.Context) {
	if len(s.need) == 0 {
		return
	}
	s.Ask(ctx, func(ctx context.Context) error {
		out, err := rds.NewFromConfig(s.s.Config("rds")).DescribeAccountAttributes(ctx, &rds.DescribeAccountAttributesInput{})
		if err != nil {
			return err
		}
		for _, q := range out.AccountQuotas {
			name := aws.ToString(q.AccountQuotaName)
			n, used, most := int64(s.need[name]), aws.ToInt64(q.Used), aws.ToInt64(q.Max)
			if n == 0 || used+n <= most {
				continue
			}
			s.found.add(model.Finding{Severity: model.Block, Code: "aws-quota", What: fmt.Sprintf("%d %s are needed in %s, and %d of %d are in use", n, name, s.s.Region(), used, most),
				Why: "AWS refuses what goes over the quota, in the middle of the work", Fix: "ask for a higher quota of RDS: aws service-quotas list-service-quotas --service-code rds --region " + s.s.Region() + "; or remove what is not needed"})
		}
		return nil
	})
}

// nodesPerRegion is the code of ElastiCache's quota of nodes, with Service Quotas (AWS General Reference, "Amazon ElastiCache
// endpoints and quotas").
const nodesPerRegion = "L-DFE45DF3"

// Nodes says that the work makes n nodes of ElastiCache.
func (s *Site) Nodes(n int) { s.nodes += n }

// roomForNodes looks whether the nodes that the work makes fit under ElastiCache's quota, beside all that are there.
func (s *Site) roomForNodes(ctx context.Context) {
	if s.nodes <= 0 {
		return
	}
	s.Ask(ctx, func(ctx context.Context) error {
		var quota struct{ Quota struct{ Value float64 } }
		err := s.s.JSON(ctx, "servicequotas", "ServiceQuotasV20190624", "GetServiceQuota", struct{ ServiceCode, QuotaCode string }{"elasticache", nodesPerRegion}, &quota)
		if err != nil {
			return err
		}
		used := 0
		pages := elasticache.NewDescribeCacheClustersPaginator(elasticache.NewFromConfig(s.s.Config("elasticache")), &elasticache.DescribeCacheClustersInput{})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, c := range page.CacheClusters {
				used += int(max(1, aws.ToInt32(c.NumCacheNodes)))
			}
		}
		if most := int(quota.Quota.Value); used+s.nodes > most {
			s.found.add(model.Finding{Severity: model.Block, Code: "aws-quota", What: fmt.Sprintf("%d nodes of ElastiCache are needed in %s, and %d of %d are in use", s.nodes, s.s.Region(), used, most),
				Why: "AWS refuses what goes over the quota, in the middle of the work", Fix: fmt.Sprintf("aws service-quotas request-service-quota-increase --service-code elasticache --quota-code %s --desired-value %d --region %s; or remove what is not needed", nodesPerRegion, used+s.nodes, s.s.Region())})
		}
		return nil
	})
}

// Offered looks whether AWS has a class for an engine's version there.
func (s *Site) Offered(ctx context.Context, r model.ResourceID, engine, version, class string) {
	if engine == "" || class == "" || driver.Unfilled(class) {
		return
	}
	s.Ask(ctx, func(ctx context.Context) error {
		of := engine + " " + version + " on " + class
		there, ok := s.lists.orders[of]
		if !ok {
			in := &rds.DescribeOrderableDBInstanceOptionsInput{Engine: &engine, DBInstanceClass: &class, MaxRecords: aws.Int32(20)}
			if version != "" {
				in.EngineVersion = &version
			}
			out, err := rds.NewFromConfig(s.s.Config("rds")).DescribeOrderableDBInstanceOptions(ctx, in)
			if err != nil {
				return err
			}
			there = len(out.OrderableDBInstanceOptions) > 0
			s.lists.orders[of] = there
		}
		if !there {
			s.found.add(model.Finding{Severity: model.Block, Code: "aws-not-offered", Resource: r, What: fmt.Sprintf("AWS does not offer %s in %s", of, s.s.Region()),
				Why: "what is brought up there could not be made", Fix: fmt.Sprintf("choose a class of aws rds describe-orderable-db-instance-options --engine %s --engine-version %s --region %s", engine, version, s.s.Region())})
		}
		return nil
	})
}

// Fresh looks whether a resource's newest recovery point there is younger than the objective allows.
func (s *Site) Fresh(r model.ResourceID, x driver.Examination, newest time.Time) {
	rpo := x.Objective.RPO
	if age := time.Since(newest); rpo != nil && age > rpo.Std() {
		s.found.add(model.Finding{Severity: model.Warn, Code: "aws-stale", Resource: r, What: fmt.Sprintf("the newest snapshot in %s is %s old", s.s.Region(), age.Round(time.Second)),
			Why: fmt.Sprintf("what is restored from it misses more than the RPO of %s allows", *rpo), Fix: "lifeboat protect " + string(x.App)})
	}
}
