// Package shop makes, on the fake of AWS, what examples/aws-databases names: an instance of RDS, an Aurora global database, a
// Redis global datastore and a name, which serve in Dublin and are followed in Frankfurt. It is for the demo and for tests, and
// makes nothing in AWS itself.
//
// Start with [New] and [Shop.Make]; [Shop.Configure] gives the configuration that fits.
package shop

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	dnstypes "github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Account is where everything is.
const Account = "111111111111"

// The sites.
const (
	Dublin    model.SiteID = "dublin"
	Frankfurt model.SiteID = "frankfurt"
)

// The name that clients use, and the zone that it is in.
const (
	Zone = "shop.example"
	Name = "www.shop.example"
)

// Regions of the sites.
func Regions() map[model.SiteID]string {
	return map[model.SiteID]string{Dublin: "eu-west-1", Frankfurt: "eu-central-1"}
}

// Shop is a world with an account of the shop's. Its methods are for one goroutine at a time.
type Shop struct {
	*awstest.World
	Admin  awstest.Credentials // of the account
	wait   func(time.Duration)
	access map[model.SiteID]aws.Config
	zones  map[string]string // hosted zones, by name
}

// New prepares a shop in a world; nothing is made yet. Wait lets the world's time pass.
func New(w *awstest.World, wait func(time.Duration)) *Shop {
	s := &Shop{World: w, Admin: w.Account(Account), wait: wait, access: map[model.SiteID]aws.Config{}, zones: map[string]string{}}
	for site, region := range Regions() {
		s.access[site] = aws.Config{Region: region, HTTPClient: w.Client(), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(s.Admin.AccessKey, s.Admin.SecretKey, "")}
	}
	return s
}

// Make makes all that the example names. Two hours of the world's time later it is there, and serves in Dublin.
func (s *Shop) Make(ctx context.Context) error {
	for _, make := range []func() error{
		func() error { return s.MakeNetworks(ctx) },
		func() error { return s.MakeInstance(ctx, "shop-billing") },
		func() error { return s.MakeGlobal(ctx, "shop-orders", 2, 1) },
		func() error { return s.MakeCache(ctx, "shop-sessions") },
		func() error { return s.MakeName(ctx, Zone, Name, Entrance(Dublin)) },
	} {
		if err := make(); err != nil {
			return failure.WrapAs(failure.Internal, err, "make", "the shop")
		}
	}
	s.wait(time.Hour)
	return nil
}

// Configure is the example, text, with the security groups that the world has in place of those that it names.
func (s *Shop) Configure(text string) (string, error) {
	var swaps []string
	for site, letter := range map[model.SiteID]string{Dublin: "d", Frankfurt: "f"} {
		serve, shut := s.Groups(site)
		for n, group := range []string{serve, shut, shut} {
			named := fmt.Sprintf("sg-0%s%015d", letter, n+1)
			if !strings.Contains(text, named) {
				return "", failure.New(failure.NotFound, "configure", "the shop", "the example does not name %s", named)
			}
			swaps = append(swaps, named, group)
		}
	}
	return strings.NewReplacer(swaps...).Replace(text), nil
}

// Groups are a security group that is served in, and one that lets nobody in.
func (s *Shop) Groups(site model.SiteID) (serve, shut string) {
	_, _, groups := s.Network(Account, Regions()[site])
	return groups[1], groups[0]
}

// RDS is a client of the account's administrator.
func (s *Shop) RDS(site model.SiteID) *rds.Client { return rds.NewFromConfig(s.access[site]) }

// Cache is a client of the account's administrator.
func (s *Shop) Cache(site model.SiteID) *elasticache.Client {
	return elasticache.NewFromConfig(s.access[site])
}

// Answers are the values of a CNAME that the name servers answer.
func (s *Shop) Answers(zone, name string) (values []string) {
	for _, r := range s.Served(Account, s.zones[zone], name, "CNAME") {
		values = append(values, r.Values...)
	}
	return values
}

// Entrance is where the name leads when the shop serves at a site.
func Entrance(site model.SiteID) string { return "entrance." + string(site) + ".shop.example" }

// MakeNetworks makes keys, and the networks of databases.
func (s *Shop) MakeNetworks(ctx context.Context) error {
	for site, region := range Regions() {
		s.Key(Account, region, "shop")
		_, subnets, _ := s.Network(Account, region)
		for _, name := range []string{"shop", "shop-apart"} {
			_, err := s.RDS(site).CreateDBSubnetGroup(ctx, &rds.CreateDBSubnetGroupInput{DBSubnetGroupName: &name, DBSubnetGroupDescription: &name, SubnetIds: subnets})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// MakeInstance begins an encrypted instance in Dublin.
func (s *Shop) MakeInstance(ctx context.Context, name string) error {
	serve, _ := s.Groups(Dublin)
	_, err := s.RDS(Dublin).CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: &name, DBInstanceClass: aws.String("db.t3.medium"), Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(20), DBSubnetGroupName: aws.String("shop"),
		MasterUsername: aws.String("app"), MasterUserPassword: aws.String("hunter2hunter2"), StorageEncrypted: aws.Bool(true), KmsKeyId: aws.String("alias/shop"),
		DeletionProtection: aws.Bool(true), VpcSecurityGroupIds: []string{serve},
	})
	return err
}

// MakeGlobal makes a global database that is written to in Dublin, with so many instances in each region.
func (s *Shop) MakeGlobal(ctx context.Context, name string, home, away int) error {
	first, second := name+"-"+string(Dublin), name+"-"+string(Frankfurt)
	_, err := s.RDS(Dublin).CreateDBCluster(ctx, &rds.CreateDBClusterInput{DBClusterIdentifier: &first, Engine: aws.String("aurora-postgresql"), MasterUsername: aws.String("app"), MasterUserPassword: aws.String("hunter2hunter2"),
		DBSubnetGroupName: aws.String("shop"), StorageEncrypted: aws.Bool(true), KmsKeyId: aws.String("alias/shop"), DeletionProtection: aws.Bool(true)})
	if err == nil {
		err = s.MakeMembers(ctx, Dublin, first, home)
	}
	if err != nil {
		return err
	}
	s.wait(10 * time.Minute)
	_, err = s.RDS(Dublin).CreateGlobalCluster(ctx, &rds.CreateGlobalClusterInput{GlobalClusterIdentifier: &name, SourceDBClusterIdentifier: aws.String(ARN(Dublin, "cluster:"+first)), DeletionProtection: aws.Bool(true)})
	if err == nil {
		_, err = s.RDS(Frankfurt).CreateDBCluster(ctx, &rds.CreateDBClusterInput{DBClusterIdentifier: &second, Engine: aws.String("aurora-postgresql"), GlobalClusterIdentifier: &name,
			DBSubnetGroupName: aws.String("shop"), KmsKeyId: aws.String("alias/shop"), DeletionProtection: aws.Bool(true)})
	}
	if err == nil {
		err = s.MakeMembers(ctx, Frankfurt, second, away)
	}
	return err
}

// MakeMembers begins instances of a cluster.
func (s *Shop) MakeMembers(ctx context.Context, site model.SiteID, cluster string, n int) error {
	for i := range n {
		_, err := s.RDS(site).CreateDBInstance(ctx, &rds.CreateDBInstanceInput{DBInstanceIdentifier: aws.String(fmt.Sprintf("%s-%c", cluster, 'a'+i)),
			DBClusterIdentifier: &cluster, Engine: aws.String("aurora-postgresql"), DBInstanceClass: aws.String("db.r6g.large")})
		if err != nil {
			return err
		}
	}
	return nil
}

// MakeCache makes a global datastore whose primary is in Dublin.
func (s *Shop) MakeCache(ctx context.Context, name string) error {
	first, second := name+"-"+string(Dublin), name+"-"+string(Frankfurt)
	_, err := s.Cache(Dublin).CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{ReplicationGroupId: &first, ReplicationGroupDescription: &first, CacheNodeType: aws.String("cache.r6g.large"), Engine: aws.String("redis")})
	if err == nil {
		s.wait(10 * time.Minute)
		_, err = s.Cache(Dublin).CreateGlobalReplicationGroup(ctx, &elasticache.CreateGlobalReplicationGroupInput{GlobalReplicationGroupIdSuffix: &name, PrimaryReplicationGroupId: &first})
	}
	if err == nil {
		s.wait(10 * time.Minute)
		_, err = s.Cache(Frankfurt).CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{ReplicationGroupId: &second, ReplicationGroupDescription: &second, GlobalReplicationGroupId: aws.String("ldgnf-" + name)})
	}
	return err
}

// MakeName makes a zone with a name that leads to value.
func (s *Shop) MakeName(ctx context.Context, zone, name, value string) error {
	id := s.Zone(Account, zone)
	s.zones[zone] = id
	_, err := route53.NewFromConfig(s.access[Frankfurt]).ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: &id, ChangeBatch: &dnstypes.ChangeBatch{Changes: []dnstypes.Change{
		{Action: dnstypes.ChangeActionCreate, ResourceRecordSet: &dnstypes.ResourceRecordSet{Name: &name, Type: dnstypes.RRTypeCname, TTL: aws.Int64(30), ResourceRecords: []dnstypes.ResourceRecord{{Value: &value}}}}}}})
	return err
}

// ARN names something of RDS at a site: resource is such as db:NAME or cluster:NAME.
func ARN(site model.SiteID, resource string) string {
	return strings.Join([]string{"arn:aws:rds", Regions()[site], Account, resource}, ":")
}
