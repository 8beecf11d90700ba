package awstest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/awsmodel"
)

// stage is a world in a bubble of time, with the probes' helpers.
func stage(t *testing.T, o awstest.Options, test func(t *testing.T, w *awstest.World, s *scene)) {
	synctest.Test(t, func(t *testing.T) {
		w := awstest.New(o)
		c := w.Account(theirs)
		client := awsmodel.Watch(t, w.Client())
		test(t, w, &scene{
			ctx: t.Context(), pass: time.Sleep, seen: map[string]string{},
			cfg: func(region string) aws.Config {
				return aws.Config{Region: region, HTTPClient: client, Credentials: static(c.AccessKey, c.SecretKey), Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
			},
			key: func(region string) string { return w.Key(theirs, region, "probe") },
		})
	})
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// made brings an available instance into being.
func made(t *testing.T, s *scene, region, name string) string {
	t.Helper()
	same(t, "create", s.createDB(region, name), "creating")
	s.pass(time.Hour)
	db, err := s.db(region, name)
	if err != nil || *db.DBInstanceStatus != "available" {
		t.Fatal(err)
	}
	return *db.DBInstanceArn
}

// TestScripts: a transition takes other ways and times, fails, or sticks, and the script says how often it was used.
func TestScripts(t *testing.T) {
	stage(t, awstest.Options{}, func(t *testing.T, w *awstest.World, s *scene) {
		made(t, s, east, "orders")
		slow := w.Play(awstest.Script{Action: "CreateDBSnapshot", Name: "slow*", Phases: []awstest.Phase{{Status: "creating", For: 10 * time.Hour}}})
		bad := w.Play(awstest.Script{Action: "CreateDBSnapshot", Name: "bad", End: awstest.Fail})
		stuck := w.Play(awstest.Script{Action: "CreateDBSnapshot", Name: "stuck", End: awstest.Stick, Times: 1})
		status := func(name string) string {
			v, err := s.snapshot(east, name)
			if err != nil {
				return code(err)
			}
			return *v.Status
		}
		for _, name := range []string{"bad", "stuck", "slow-1"} {
			same(t, name, s.snap(east, "orders", name), "creating")
			s.pass(5 * time.Minute)
		}
		same(t, "the bad one", status("bad"), "failed")
		s.pass(24 * time.Hour)
		same(t, "the stuck one", status("stuck"), "creating")
		same(t, "the slow one", status("slow-1"), "available")
		for i, p := range []*awstest.Played{slow, bad, stuck} {
			same(t, fmt.Sprint("uses of script ", i), fmt.Sprint(p.Times()), "1")
		}
		same(t, "the instance, whose snapshot sticks", s.dbStatus(east, "orders"), "available")
	})
}

// TestPromotionLoses: what had not reached a replica is not in it; what a snapshot holds is what was there when it began.
func TestPromotionLoses(t *testing.T) {
	stage(t, awstest.Options{}, func(t *testing.T, w *awstest.World, s *scene) {
		arn := made(t, s, east, "orders")
		write := func(value string) {
			if err := w.Write(arn, value); err != nil {
				t.Fatal(err)
			}
		}
		holds := func(arn string) string {
			data, err := w.Data(arn)
			if err != nil {
				return err.Error()
			}
			return strings.Join(data, " ")
		}
		write("one")
		s.snap(east, "orders", "first")
		s.pass(time.Second)
		write("two")
		if _, err := s.rds(west).CreateDBInstanceReadReplica(s.ctx, &rds.CreateDBInstanceReadReplicaInput{DBInstanceIdentifier: aws.String("replica"), SourceDBInstanceIdentifier: &arn, SourceRegion: aws.String(east)}); err == nil || code(err) != "InvalidDBInstanceState" {
			t.Errorf("a replica of an instance that is backed up: %v", err)
		}
		s.pass(time.Hour)
		out, err := s.rds(west).CreateDBInstanceReadReplica(s.ctx, &rds.CreateDBInstanceReadReplicaInput{DBInstanceIdentifier: aws.String("replica"), SourceDBInstanceIdentifier: &arn, SourceRegion: aws.String(east)})
		if err != nil {
			t.Fatal(err)
		}
		replica := *out.DBInstance.DBInstanceArn
		s.pass(time.Hour)
		if err := w.Write(replica, "x"); err == nil {
			t.Error("a replica takes writes")
		}
		same(t, "the replica", holds(replica), "one two")
		w.Lag(replica, time.Minute)
		s.pass(time.Hour)
		write("three")
		s.pass(2 * time.Minute)
		write("four")
		if _, err := s.rds(west).PromoteReadReplica(s.ctx, &rds.PromoteReadReplicaInput{DBInstanceIdentifier: aws.String("replica")}); err != nil {
			t.Fatal(err)
		}
		same(t, "just after the call", s.dbStatus(west, "replica"), "available")
		s.pass(time.Hour)
		same(t, "the promoted one", holds(replica), "one two three")
		if err := w.Write(replica, "five"); err != nil {
			t.Error(err)
		}
		if _, err := s.rds(east).RestoreDBInstanceFromDBSnapshot(s.ctx, &rds.RestoreDBInstanceFromDBSnapshotInput{DBInstanceIdentifier: aws.String("back"), DBSnapshotIdentifier: aws.String("first")}); err != nil {
			t.Fatal(err)
		}
		s.pass(time.Hour)
		same(t, "the restored one", holds(strings.Replace(arn, "orders", "back", 1)), "one")
	})
}

// global makes a global database of two clusters, with an instance each.
func global(t *testing.T, s *scene) (one, two string) {
	t.Helper()
	for _, p := range auroraProbes()[:4] {
		if got := p.do(s); got != p.want {
			t.Fatalf("%s: %s", p.id, got)
		}
	}
	return s.seen["one"], s.seen["two"]
}

func member(t *testing.T, s *scene, region, arn string) types.GlobalClusterMember {
	t.Helper()
	out, err := s.rds(region).DescribeGlobalClusters(s.ctx, &rds.DescribeGlobalClustersInput{GlobalClusterIdentifier: aws.String("world")})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range out.GlobalClusters[0].GlobalClusterMembers {
		if *m.DBClusterArn == arn {
			return m
		}
	}
	t.Fatalf("%s is no member", arn)
	return types.GlobalClusterMember{}
}

// TestGlobalFailover: with the home region gone, a failover loses what had not arrived; once home is back, the old primary is
// rebuilt as a secondary, and what it alone had is in a snapshot.
func TestGlobalFailover(t *testing.T) {
	stage(t, awstest.Options{}, func(t *testing.T, w *awstest.World, s *scene) {
		one, two := global(t, s)
		w.Lag(two, 10*time.Second)
		for _, v := range []string{"a", "b"} {
			if err := w.Write(one, v); err != nil {
				t.Fatal(err)
			}
			s.pass(time.Minute)
		}
		if err := w.Write(one, "lost"); err != nil {
			t.Fatal(err)
		}
		dead := w.Inject(awstest.Fault{Region: east, How: awstest.Error500})
		_, err := s.rds(west).SwitchoverGlobalCluster(s.ctx, &rds.SwitchoverGlobalClusterInput{GlobalClusterIdentifier: aws.String("world"), TargetDbClusterIdentifier: &two})
		same(t, "a switchover without home", code(err), "InvalidGlobalClusterStateFault")
		_, err = s.rds(west).FailoverGlobalCluster(s.ctx, &rds.FailoverGlobalClusterInput{GlobalClusterIdentifier: aws.String("world"), TargetDbClusterIdentifier: &two, AllowDataLoss: aws.Bool(true)})
		same(t, "the failover", code(err), "ok")
		s.pass(10 * time.Minute)
		if !aws.ToBool(member(t, s, west, two).IsWriter) {
			t.Fatal("the role did not change")
		}
		same(t, "the old primary while home is dead", string(member(t, s, west, one).SynchronizationStatus), "pending-resync")
		data, err := w.Data(two)
		same(t, "what is left", word(data, err), "[a b]")
		if err := w.Write(two, "c"); err != nil {
			t.Error(err)
		}
		same(t, "home", s.dbStatus(east, "one-1"), "InternalFailure")
		dead.Remove()
		s.pass(time.Hour)
		same(t, "the old primary once home is back", string(member(t, s, east, one).SynchronizationStatus), "connected")
		data, err = w.Data(one)
		same(t, "what it holds", word(data, err), "[a b c]")
		out, err := s.rds(east).DescribeDBClusterSnapshots(s.ctx, &rds.DescribeDBClusterSnapshotsInput{})
		if err != nil || len(out.DBClusterSnapshots) != 1 || !strings.HasPrefix(*out.DBClusterSnapshots[0].DBClusterSnapshotIdentifier, "rds:unplanned-global-failover-one-") {
			t.Errorf("what it alone had is not kept: %v, %v", out.DBClusterSnapshots, err)
		}
	})
}

// TestCancelledSwitchover: AWS can give up a switchover, and then everything looks available.
func TestCancelledSwitchover(t *testing.T) {
	stage(t, awstest.Options{}, func(t *testing.T, w *awstest.World, s *scene) {
		_, two := global(t, s)
		w.Play(awstest.Script{Action: "SwitchoverGlobalCluster", End: awstest.Fail})
		if _, err := s.rds(east).SwitchoverGlobalCluster(s.ctx, &rds.SwitchoverGlobalClusterInput{GlobalClusterIdentifier: aws.String("world"), TargetDbClusterIdentifier: &two}); err != nil {
			t.Fatal(err)
		}
		s.pass(100 * time.Second)
		out, err := s.rds(east).DescribeGlobalClusters(s.ctx, &rds.DescribeGlobalClustersInput{})
		if err != nil || out.GlobalClusters[0].FailoverState == nil || out.GlobalClusters[0].FailoverState.Status != types.FailoverStatusCancelling {
			t.Fatalf("%+v, %v", out.GlobalClusters[0].FailoverState, err)
		}
		s.pass(time.Minute)
		if aws.ToBool(member(t, s, east, two).IsWriter) {
			t.Error("a cancelled switchover changed the role")
		}
	})
}

// TestEncrypted: what is encrypted changes regions with a key of the target and a request signed for the source, or not at all.
func TestEncrypted(t *testing.T) {
	stage(t, awstest.Options{}, func(t *testing.T, w *awstest.World, s *scene) {
		key := s.key(east)
		if _, err := s.rds(east).CreateDBInstance(s.ctx, &rds.CreateDBInstanceInput{
			DBInstanceIdentifier: aws.String("orders"), DBInstanceClass: aws.String("db.r6g.large"), Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(20),
			MasterUsername: aws.String("admin"), MasterUserPassword: aws.String("hunter2hunter2"), KmsKeyId: &key,
		}); err != nil {
			t.Fatal(err)
		}
		s.pass(time.Hour)
		s.snap(east, "orders", "first")
		s.pass(time.Hour)
		cp := func(region, key string) string {
			in := &rds.CopyDBSnapshotInput{SourceDBSnapshotIdentifier: aws.String(s.seen["first"]), TargetDBSnapshotIdentifier: aws.String("copy")}
			if region != "" {
				in.SourceRegion = &region
			}
			if key != "" {
				in.KmsKeyId = &key
			}
			_, err := s.rds(west).CopyDBSnapshot(s.ctx, in)
			return code(err)
		}
		same(t, "without a key", cp(east, ""), "InvalidParameterCombination")
		same(t, "with the source's key", cp(east, key), "KMSKeyNotAccessibleFault")
		same(t, "without a signed request", cp("", s.key(west)), "InvalidParameterCombination")
		same(t, "signed for another region", cp("eu-west-1", s.key(west)), "InvalidParameterValue")
		same(t, "as it should be", cp(east, s.key(west)), "ok")
		s.pass(time.Hour)
		v, err := s.snapshot(west, "copy")
		if err != nil || !*v.Encrypted || *v.KmsKeyId != s.key(west) {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// TestLag: listings miss what is young and show what is gone; who names a thing sees it.
func TestLag(t *testing.T) {
	stage(t, awstest.Options{Lag: 30 * time.Second}, func(t *testing.T, w *awstest.World, s *scene) {
		listed := func() string {
			out, err := s.rds(east).DescribeDBInstances(s.ctx, &rds.DescribeDBInstancesInput{})
			return word(len(out.DBInstances), err)
		}
		s.createDB(east, "orders")
		same(t, "by name", s.dbStatus(east, "orders"), "creating")
		same(t, "listed at once", listed(), "0")
		s.pass(time.Minute)
		same(t, "listed later", listed(), "1")
		s.pass(time.Hour)
		if _, err := s.rds(east).DeleteDBInstance(s.ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("orders"), SkipFinalSnapshot: aws.Bool(true)}); err != nil {
			t.Fatal(err)
		}
		s.pass(3*time.Minute + time.Second)
		same(t, "gone, by name", s.dbStatus(east, "orders"), "DBInstanceNotFound")
		same(t, "gone, listed at once", listed(), "1")
		s.pass(time.Minute)
		same(t, "gone, listed later", listed(), "0")
	})
}

// TestRates: beyond the burst AWS throttles, per region and service.
func TestRates(t *testing.T) {
	stage(t, awstest.Options{}, func(t *testing.T, w *awstest.World, s *scene) {
		w.Limit("rds", awstest.Limit{PerSecond: 1, Burst: 5})
		seen := map[string]int{}
		for range 8 {
			seen[s.dbStatus(east, "orders")]++
		}
		same(t, "eight at once", fmt.Sprint(seen), "map[DBInstanceNotFound:5 Throttling:3]")
		same(t, "another region", s.dbStatus(west, "orders"), "DBInstanceNotFound")
		s.pass(2 * time.Second)
		same(t, "later", s.dbStatus(east, "orders"), "DBInstanceNotFound")
	})
}

// TestScarce: quotas that are used up, and classes and versions that a region has not.
func TestScarce(t *testing.T) {
	stage(t, awstest.Options{}, func(t *testing.T, w *awstest.World, s *scene) {
		w.Quota(theirs, east, "DBInstances", 1)
		same(t, "the first", s.createDB(east, "one"), "creating")
		same(t, "one too many", s.createDB(east, "two"), "InstanceQuotaExceeded")
		same(t, "another region", s.createDB(west, "two"), "creating")
		out, err := s.rds(east).DescribeAccountAttributes(s.ctx, &rds.DescribeAccountAttributesInput{})
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range out.AccountQuotas {
			if *q.AccountQuotaName == "DBInstances" {
				same(t, "the quota", fmt.Sprint(*q.Used, " of ", *q.Max), "1 of 1")
			}
		}
		w.Withhold("", west, "mysql", "", "db.r6g.*")
		same(t, "a class that is not there", s.createDB(west, "three"), "InvalidParameterCombination")
		options, err := s.rds(west).DescribeOrderableDBInstanceOptions(s.ctx, &rds.DescribeOrderableDBInstanceOptionsInput{Engine: aws.String("mysql"), DBInstanceClass: aws.String("db.r6g.large")})
		same(t, "what can be ordered", word(len(options.OrderableDBInstanceOptions), err), "0")
	})
}

// TestServed: name servers answer the old records until a change is in sync.
func TestServed(t *testing.T) {
	stage(t, awstest.Options{}, func(t *testing.T, w *awstest.World, s *scene) {
		s.seen["zone"] = w.Zone(theirs, "shop.test")
		served := func() string {
			var all []string
			for _, r := range w.Served(theirs, s.seen["zone"], "www.shop.test", "A") {
				all = append(all, r.Values...)
			}
			return strings.Join(all, " ")
		}
		s.changed(r53types.ChangeActionCreate, plain("www.shop.test", "192.0.2.1"))
		same(t, "at first", served(), "")
		s.pass(time.Minute)
		same(t, "in sync", served(), "192.0.2.1")
		s.changed(r53types.ChangeActionUpsert, plain("www.shop.test", "192.0.2.2"))
		same(t, "changed, pending", served(), "192.0.2.1")
		s.pass(time.Minute)
		same(t, "changed, in sync", served(), "192.0.2.2")
		out, err := s.dns().ListHostedZonesByName(s.ctx, &route53.ListHostedZonesByNameInput{DNSName: aws.String("shop.test")})
		same(t, "the zone by name", word(len(out.HostedZones), err), "1")
	})
}

// TestWho: credentials that are wrong, expired or unknown are refused; signatures are verified.
func TestWho(t *testing.T) {
	stage(t, awstest.Options{}, func(t *testing.T, w *awstest.World, s *scene) {
		ask := func(key, secret, token string) string {
			cfg := s.cfg(east)
			cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token}, nil
			})
			_, err := sts.NewFromConfig(cfg).GetCallerIdentity(s.ctx, &sts.GetCallerIdentityInput{})
			return code(err)
		}
		c := w.Account(theirs)
		same(t, "good", ask(c.AccessKey, c.SecretKey, ""), "ok")
		same(t, "a wrong secret", ask(c.AccessKey, "wrong", ""), "SignatureDoesNotMatch")
		same(t, "an unknown key", ask("AKIANOBODY", "x", ""), "InvalidClientTokenId")
		same(t, "a token that is none", ask(c.AccessKey, c.SecretKey, "x"), "InvalidClientTokenId")
		out, err := s.identities().AssumeRole(s.ctx, &sts.AssumeRoleInput{RoleArn: aws.String(w.Role(awstest.Role{Account: theirs, Name: "dr"})), RoleSessionName: aws.String("test")})
		if err != nil {
			t.Fatal(err)
		}
		k := out.Credentials
		same(t, "a role's", ask(*k.AccessKeyId, *k.SecretAccessKey, *k.SessionToken), "ok")
		s.pass(2 * time.Hour)
		same(t, "expired", ask(*k.AccessKeyId, *k.SecretAccessKey, *k.SessionToken), "ExpiredToken")
	})
}

// TestStrict: a parameter or a call that is not modelled is refused by name, not ignored.
func TestStrict(t *testing.T) {
	stage(t, awstest.Options{}, func(t *testing.T, w *awstest.World, s *scene) {
		_, err := s.rds(east).DescribeDBClusterBacktracks(s.ctx, &rds.DescribeDBClusterBacktracksInput{DBClusterIdentifier: aws.String("x")})
		same(t, "an unknown call", code(err), "NotImplemented")
		_, err = s.rds(east).CreateDBSnapshot(s.ctx, &rds.CreateDBSnapshotInput{DBSnapshotIdentifier: aws.String("x"), DBInstanceIdentifier: aws.String("y")})
		same(t, "a known one", code(err), "DBInstanceNotFound")
		_, err = s.rds(east).CreateDBInstance(s.ctx, &rds.CreateDBInstanceInput{DBInstanceIdentifier: aws.String("x"), DBInstanceClass: aws.String("db.t3.micro"), Engine: aws.String("mysql"), Timezone: aws.String("UTC")})
		if same(t, "an unknown parameter", code(err), "NotImplemented"); err != nil && !strings.Contains(err.Error(), "Timezone") {
			t.Errorf("%v does not name it", err)
		}
	})
}

// cli runs the aws command line against the fake, and gives what it prints.
func cli(t *testing.T, program, at string, c awstest.Credentials, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append([]string{"--endpoint-url", at, "--region", east, "--output", "json"}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_ACCESS_KEY_ID=" + c.AccessKey, "AWS_SECRET_ACCESS_KEY=" + c.SecretKey, "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", errors.New(strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// TestCommandLine drives the fake by an independent client, over a socket, through every protocol.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	script, err := filepath.Abs("../../../test/servers/aws-cli.sh")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), script, "build").Output()
	if err != nil {
		t.Fatalf("aws-cli.sh build: %v", err)
	}
	program := strings.TrimSpace(string(out))
	clock := awstest.NewClock(time.Now(), 0)
	w := awstest.New(awstest.Options{Now: clock.Now})
	c := w.Account(theirs)
	w.Export(theirs, east, "shop-db", "orders")
	w.Parameter(theirs, east, "/shop/password", "secret", true)
	zone := w.Zone(theirs, "shop.test")
	_, subnets, _ := w.Network(theirs, east)
	server, err := w.Serve()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	batch := `{"Changes":[{"Action":"UPSERT","ResourceRecordSet":{"Name":"www.shop.test","Type":"A","TTL":60,"ResourceRecords":[{"Value":"192.0.2.1"}]}}]}`
	type tt struct {
		args string
		path []string // in the answer
		want string   // there; or in the error, when path is nil
	}
	for _, step := range []tt{
		{"sts get-caller-identity", []string{"Account"}, theirs},
		{"rds create-db-instance --db-instance-identifier orders --db-instance-class db.r6g.large --engine mysql --allocated-storage 20 --master-username admin --master-user-password hunter2hunter2 --tags Key=lifeboat:app,Value=shop", []string{"DBInstance", "DBInstanceStatus"}, "creating"},
		{"+1h", nil, ""},
		{"rds wait db-instance-available --db-instance-identifier orders", []string{}, ""},
		{"rds describe-db-instances --filters Name=db-instance-id,Values=orders,other", []string{"DBInstances", "0", "TagList", "0", "Value"}, "shop"},
		{"rds delete-db-instance --db-instance-identifier orders", nil, "FinalDBSnapshotIdentifier"},
		{"rds create-db-instance-read-replica --region " + west + " --source-region " + east + " --db-instance-identifier orders --source-db-instance-identifier arn:aws:rds:" + east + ":" + theirs + ":db:orders", []string{"DBInstance", "DBInstanceStatus"}, "creating"},
		{"+1h", nil, ""},
		{"cloudwatch get-metric-data --region " + west + ` --metric-data-queries [{"Id":"lag","MetricStat":{"Metric":{"Namespace":"AWS/RDS","MetricName":"ReplicaLag","Dimensions":[{"Name":"DBInstanceIdentifier","Value":"orders"}]},"Period":60,"Stat":"Maximum"}}] --start-time ` +
			clock.Now().Add(time.Hour).UTC().Format(time.RFC3339) + " --end-time " + clock.Now().Add(3*time.Hour).UTC().Format(time.RFC3339), []string{"MetricDataResults", "0", "Values", "0"}, "1"},
		{"rds create-db-subnet-group --db-subnet-group-name two --db-subnet-group-description x --subnet-ids " + subnets[0] + " " + subnets[1], []string{"DBSubnetGroup", "SubnetGroupStatus"}, "Complete"},
		{"rds create-global-cluster --global-cluster-identifier world --engine aurora-postgresql", []string{"GlobalCluster", "Status"}, "available"},
		{"elasticache create-replication-group --replication-group-id sessions --replication-group-description x --engine redis --cache-node-type cache.r6g.large --num-cache-clusters 2 --automatic-failover-enabled", []string{"ReplicationGroup", "Status"}, "creating"},
		{"route53 change-resource-record-sets --hosted-zone-id " + zone + " --change-batch " + batch, []string{"ChangeInfo", "Status"}, "PENDING"},
		{"route53 list-resource-record-sets --hosted-zone-id " + zone + " --start-record-name www.shop.test --start-record-type A --max-items 1", []string{"ResourceRecordSets", "0", "ResourceRecords", "0", "Value"}, "192.0.2.1"},
		{"cloudformation list-exports", []string{"Exports", "0", "Value"}, "orders"},
		{"ssm get-parameter --name /shop/password --with-decryption", []string{"Parameter", "Value"}, "secret"},
		{"ssm get-parameter --name /nothing", nil, "ParameterNotFound"},
		{"ec2 describe-subnets --subnet-ids " + subnets[2], []string{"Subnets", "0", "AvailabilityZone"}, "us-east-1c"},
		{"ec2 describe-subnets --subnet-ids subnet-00000000000000000", nil, "InvalidSubnetID.NotFound"},
	} {
		if step.args == "+1h" {
			clock.Advance(time.Hour)
			continue
		}
		got, err := cli(t, program, server.URL, c, strings.Fields(step.args)...)
		switch {
		case step.path == nil && (err == nil || !strings.Contains(err.Error(), step.want)):
			t.Errorf("aws %s: %s%v, want the error %s", step.args, got, err, step.want)
		case step.path == nil:
		case err != nil:
			t.Errorf("aws %s: %v", step.args, err)
		case len(step.path) > 0:
			if v := dig(got, step.path); v != step.want {
				t.Errorf("aws %s: %s is %q, want %q in %s", step.args, strings.Join(step.path, "."), v, step.want, got)
			}
		}
	}
	if len(w.Calls()) == 0 || slices.ContainsFunc(w.Calls(), func(c awstest.Call) bool { return strings.Contains(fmt.Sprint(c.Params), "hunter2") }) {
		t.Error("the log is empty, or holds a password")
	}
}

// dig finds a value in JSON.
func dig(text string, path []string) string {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return err.Error()
	}
	for _, name := range path {
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(in) {
				return "nothing"
			}
			v = in[i]
		default:
			return "nothing"
		}
	}
	return fmt.Sprint(v)
}
