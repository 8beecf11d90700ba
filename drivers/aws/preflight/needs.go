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
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

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
		network := ""
		if group != "" {
			all, err := Once(ctx, s, "DB subnet groups", s.listSubnetGroups)
			if err != nil {
				return err
			}
			var ok bool
			if network, ok = all[strings.ToLower(group)]; !ok {
				s.missing(r, "aws-subnet-group", "DB subnet group", group, "aws rds create-db-subnet-group --db-subnet-group-name "+group)
			}
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

// security looks for security groups, and whether they are in the network.
func (s *Site) security(ctx context.Context, r model.ResourceID, group, network string, ids []string) error {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return driver.Unfilled(id) })
	if len(ids) == 0 {
		return nil
	}
	in, err := Once(ctx, s, "security groups "+strings.Join(ids, ", "), func(ctx context.Context) (map[string]string, error) { return s.networksOf(ctx, ids) })
	if err != nil {
		return err
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

// networksOf are the networks of security groups, of those that are there. The client of EC2 is not linked for this one call.
func (s *Site) networksOf(ctx context.Context, ids []string) (map[string]string, error) {
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
		return nil, err
	}
	in := map[string]string{}
	for _, g := range out.Groups {
		in[g.ID] = g.VPC
	}
	return in, nil
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
		all, err := Once(ctx, s, what+"s", func(ctx context.Context) ([]string, error) { return s.listGroups(ctx, what) })
		if err != nil {
			return err
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

// Key looks whether a key of KMS can be used there; none named is none asked.
func (s *Site) Key(ctx context.Context, r model.ResourceID, key, why string) {
	if key == "" || driver.Unfilled(key) {
		return
	}
	s.Ask(ctx, func(ctx context.Context) error {
		wrong, err := Once(ctx, s, "key "+key, func(ctx context.Context) (string, error) { return s.wrongWith(ctx, key) })
		if err != nil {
			return err
		}
		if wrong != "" {
			s.found.add(model.Finding{Severity: model.Block, Code: "aws-key", Resource: r, What: wrong, Why: why,
				Fix: fmt.Sprintf("aws kms describe-key --key-id %s --region %s; enable it (aws kms enable-key), or name another one in the settings", key, s.s.Region())})
		}
		return nil
	})
}

// wrongWith says what is wrong with a key; empty: nothing. KMS's client is not linked for this one call.
func (s *Site) wrongWith(ctx context.Context, key string) (string, error) {
	var out struct {
		KeyMetadata struct {
			Arn, KeyState, KeyUsage string
			Enabled                 bool
		}
	}
	err := s.s.JSON(ctx, "kms", "TrentService", "DescribeKey", struct{ KeyId string }{key}, &out)
	switch {
	case err != nil && failure.KindOf(err) == failure.NotFound:
		return "there is no key " + key + " in " + s.s.Region(), nil
	case err != nil:
		return "", err
	case !out.KeyMetadata.Enabled:
		return "the key " + key + " is " + out.KeyMetadata.KeyState, nil
	case out.KeyMetadata.KeyUsage != "" && out.KeyMetadata.KeyUsage != "ENCRYPT_DECRYPT":
		return "the key " + key + " is for " + out.KeyMetadata.KeyUsage, nil
	}
	return "", nil
}

// Offered looks whether AWS has a class for an engine's version there.
func (s *Site) Offered(ctx context.Context, r model.ResourceID, engine, version, class string) {
	if engine == "" || class == "" || driver.Unfilled(class) {
		return
	}
	s.Ask(ctx, func(ctx context.Context) error {
		of := engine + " " + version + " on " + class
		there, err := Once(ctx, s, "whether AWS offers "+of, func(ctx context.Context) (bool, error) {
			in := &rds.DescribeOrderableDBInstanceOptionsInput{Engine: &engine, DBInstanceClass: &class, MaxRecords: aws.Int32(20)}
			if version != "" {
				in.EngineVersion = &version
			}
			out, err := rds.NewFromConfig(s.s.Config("rds")).DescribeOrderableDBInstanceOptions(ctx, in)
			return err == nil && len(out.OrderableDBInstanceOptions) > 0, err
		})
		if err != nil {
			return err
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
