package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
)

func main() {
	clock := awstest.NewClock(time.Now(), 60)
	w := awstest.New(awstest.Options{Now: clock.Now, Unlimited: true})
	c := w.Account("111111111111")
	s, err := w.Serve()
	if err != nil {
		panic(err)
	}
	for _, region := range []string{"us-east-1", "us-west-2"} {
		_, subnets, groups := w.Network("111111111111", region)
		api := elasticache.NewFromConfig(aws.Config{Region: region, HTTPClient: w.Client(), Credentials: credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, "")})
		_, err := api.CreateCacheSubnetGroup(context.Background(), &elasticache.CreateCacheSubnetGroupInput{CacheSubnetGroupName: aws.String("apart"), CacheSubnetGroupDescription: aws.String("x"), SubnetIds: subnets})
		if err != nil {
			panic(err)
		}
		if region == "us-east-1" {
			_, err = api.CreateReplicationGroup(context.Background(), &elasticache.CreateReplicationGroupInput{ReplicationGroupId: aws.String("sessions"), ReplicationGroupDescription: aws.String("x"), CacheNodeType: aws.String("cache.r6g.large"), Engine: aws.String("redis"), NumCacheClusters: aws.Int32(2), AutomaticFailoverEnabled: aws.Bool(true)})
			if err != nil {
				panic(err)
			}
		}
		fmt.Println(region, groups)
	}
	dns := route53.NewFromConfig(aws.Config{Region: "us-east-1", HTTPClient: w.Client(), Credentials: credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, "")})
	z, err := dns.CreateHostedZone(context.Background(), &route53.CreateHostedZoneInput{Name: aws.String("shop.test"), CallerReference: aws.String("x")})
	if err != nil {
		panic(err)
	}
	_, err = dns.ChangeResourceRecordSets(context.Background(), &route53.ChangeResourceRecordSetsInput{HostedZoneId: z.HostedZone.Id, ChangeBatch: &types.ChangeBatch{Changes: []types.Change{{Action: "CREATE", ResourceRecordSet: &types.ResourceRecordSet{Name: aws.String("www.shop.test"), Type: "A", TTL: aws.Int64(30), ResourceRecords: []types.ResourceRecord{{Value: aws.String("192.0.2.1")}}}}}}})
	if err != nil {
		panic(err)
	}
	fmt.Println("URL", s.URL, c.AccessKey, c.SecretKey)
	time.Sleep(2 * time.Hour)
}
