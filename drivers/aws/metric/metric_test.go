package metric

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
)

const account = "111111111111"

// TestReadLag reads the lag of a replica that falls behind and breaks, from the fake by the SDK.
func TestReadLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := awstest.New(awstest.Options{Unlimited: true})
		c := w.Account(account)
		t.Setenv("METRIC_KEY", c.AccessKey)
		t.Setenv("METRIC_SECRET", c.SecretKey)
		base := awsbase.New(awsbase.Options{HTTP: w.Client()})
		at := func(region string) *awsbase.Session {
			s, err := base.Session(t.Context(), awsbase.Access{Account: account, Region: region, AccessKey: "env:METRIC_KEY", SecretKey: "env:METRIC_SECRET"})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		east, west := at("us-east-1"), at("us-west-2")
		_, err := rds.NewFromConfig(east.Config("rds")).CreateDBInstance(t.Context(), &rds.CreateDBInstanceInput{DBInstanceIdentifier: aws.String("db"), DBInstanceClass: aws.String("db.t3.medium"),
			Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(20), MasterUsername: aws.String("app"), MasterUserPassword: aws.String("hunter2hunter2"), BackupRetentionPeriod: aws.Int32(1)})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		_, err = rds.NewFromConfig(west.Config("rds")).CreateDBInstanceReadReplica(t.Context(), &rds.CreateDBInstanceReadReplicaInput{DBInstanceIdentifier: aws.String("db"),
			SourceDBInstanceIdentifier: aws.String(east.ARN("rds", "db:db")), SourceRegion: aws.String("us-east-1"), DBSubnetGroupName: aws.String("default")})
		if err != nil {
			t.Fatal(err)
		}
		lag := Series{Namespace: "AWS/RDS", Name: "ReplicaLag", Dimensions: map[string]string{"DBInstanceIdentifier": "db"}, Unit: time.Second}
		none := Series{Namespace: "AWS/RDS", Name: "ReplicaLag", Dimensions: map[string]string{"DBInstanceIdentifier": "other"}, Unit: time.Second}
		if got, err := ReadLag(t.Context(), west, lag); err != nil || len(got) != 0 {
			t.Errorf("of a replica that is being created: %v %v, want nothing", got, err)
		}
		time.Sleep(time.Hour)
		w.Lag(west.ARN("rds", "db:db"), 90*time.Second)
		time.Sleep(2*time.Minute + time.Second)
		w.Lag(west.ARN("rds", "db:db"), -1)
		time.Sleep(time.Minute)
		got, err := ReadLag(t.Context(), west, none, lag)
		if err != nil || len(got) < 4 {
			t.Fatalf("%v %v, want the lags of the last minutes", got, err)
		}
		now := time.Now().Truncate(time.Minute)
		want := []Lag{{At: now.Add(-time.Minute), Broken: true}, {At: now.Add(-2 * time.Minute), Behind: 90 * time.Second}, {At: now.Add(-3 * time.Minute), Behind: 90 * time.Second}, {At: now.Add(-4 * time.Minute), Behind: time.Second}}
		if diff := cmp.Diff(want, got[:4]); diff != "" {
			t.Errorf("lags (-want +got):\n%s", diff)
		}
		if holds := got[1].Holds(); !holds.Equal(now.Add(-2*time.Minute-90*time.Second)) || !got[0].Holds().IsZero() {
			t.Errorf("the replica held the states of %s and %s", holds, got[0].Holds())
		}
		w.Inject(awstest.Fault{Service: "cloudwatch", How: awstest.Hang})
		if _, err := ReadLag(t.Context(), west, lag); failure.KindOf(err) != failure.Unavailable {
			t.Errorf("of a CloudWatch that hangs: %v, want unavailable", err)
		}
	})
}
