package awstest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
)

const acct = "111111111111"

func config(w *awstest.World, region string) aws.Config {
	c := w.Account(acct)
	return aws.Config{Region: region, HTTPClient: w.Client(), Credentials: credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, "")}
}

func TestSmoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := awstest.New(awstest.Options{})
		east := rds.NewFromConfig(config(w, "us-east-1"))
		west := rds.NewFromConfig(config(w, "us-west-2"))
		ctx := context.Background()
		key := w.Key(acct, "us-east-1", "db")
		out, err := east.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
			DBInstanceIdentifier: aws.String("orders"), DBInstanceClass: aws.String("db.r6g.large"), Engine: aws.String("mysql"), AllocatedStorage: aws.Int32(20),
			MasterUsername: aws.String("admin"), MasterUserPassword: aws.String("hunter22"), KmsKeyId: &key,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(*out.DBInstance.DBInstanceStatus, out.DBInstance.Endpoint)
		if err := rds.NewDBInstanceAvailableWaiter(east).Wait(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: aws.String("orders")}, time.Hour); err != nil {
			t.Fatal(err)
		}
		s, err := east.CreateDBSnapshot(ctx, &rds.CreateDBSnapshotInput{DBInstanceIdentifier: aws.String("orders"), DBSnapshotIdentifier: aws.String("s1")})
		if err != nil {
			t.Fatal(err)
		}
		rds.NewDBSnapshotAvailableWaiter(east).Wait(ctx, &rds.DescribeDBSnapshotsInput{DBSnapshotIdentifier: aws.String("s1")}, time.Hour)
		wkey := w.Key(acct, "us-west-2", "db")
		cp, err := west.CopyDBSnapshot(ctx, &rds.CopyDBSnapshotInput{SourceDBSnapshotIdentifier: s.DBSnapshot.DBSnapshotArn, TargetDBSnapshotIdentifier: aws.String("s1-copy"), KmsKeyId: &wkey, SourceRegion: aws.String("us-east-1")})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(*cp.DBSnapshot.Status, *cp.DBSnapshot.PercentProgress)
		time.Sleep(6 * time.Minute)
		d, err := west.DescribeDBSnapshots(ctx, &rds.DescribeDBSnapshotsInput{})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(*d.DBSnapshots[0].Status, *d.DBSnapshots[0].PercentProgress, *d.DBSnapshots[0].SourceRegion)
		for _, c := range w.Calls() {
			t.Log(c.Action, c.Region, c.Status, c.Code)
		}
	})
}
