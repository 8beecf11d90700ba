package awstest_test

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func identityProbes() []probe {
	return []probe{
		{id: "sts-identity", do: func(s *scene) string {
			out, err := s.identities().GetCallerIdentity(s.ctx, &sts.GetCallerIdentityInput{})
			if err != nil {
				return code(err)
			}
			return *out.Account
		}, want: theirs},
		{id: "sts-unknown-role", do: func(s *scene) string {
			_, err := s.identities().AssumeRole(s.ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + theirs + ":role/nothing"), RoleSessionName: aws.String("probe")})
			return code(err)
		}, want: "AccessDenied", moto: "ok", ministack: "ok", why: "the fake: a role that does not exist cannot be assumed"},
	}
}

func storeProbes() []probe {
	get := func(s *scene, name string) string {
		out, err := s.params(east).GetParameter(s.ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
		if err != nil {
			return code(err)
		}
		return *out.Parameter.Value
	}
	return []probe{
		{id: "ssm-unknown", do: func(s *scene) string { return get(s, "/shop/db") }, want: "ParameterNotFound"},
		{id: "ssm-put", do: func(s *scene) string {
			for _, v := range []string{"one", "two"} {
				_, err := s.params(east).PutParameter(s.ctx, &ssm.PutParameterInput{Name: aws.String("/shop/db"), Value: &v, Type: ssmtypes.ParameterTypeSecureString, Overwrite: aws.Bool(true)})
				if err != nil {
					return code(err)
				}
			}
			return get(s, "/shop/db")
		}, want: "two"},
		{id: "ssm-version", do: func(s *scene) string { return get(s, "/shop/db:1") }, want: "one"},
		{id: "ssm-version-unknown", do: func(s *scene) string { return get(s, "/shop/db:7") }, want: "ParameterVersionNotFound"},
		{id: "ssm-elsewhere", do: func(s *scene) string {
			_, err := s.params(west).GetParameter(s.ctx, &ssm.GetParameterInput{Name: aws.String("/shop/db")})
			return code(err)
		}, want: "ParameterNotFound"},
		{id: "ssm-put-twice", do: func(s *scene) string {
			_, err := s.params(east).PutParameter(s.ctx, &ssm.PutParameterInput{Name: aws.String("/shop/db"), Value: aws.String("three"), Type: ssmtypes.ParameterTypeString})
			return code(err)
		}, want: "ParameterAlreadyExists"},
		{id: "metric-none", do: func(s *scene) string {
			out, err := cloudwatch.NewFromConfig(s.cfg(east)).GetMetricData(s.ctx, &cloudwatch.GetMetricDataInput{StartTime: aws.Time(time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)), EndTime: aws.Time(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)),
				MetricDataQueries: []cwtypes.MetricDataQuery{{Id: aws.String("lag"), MetricStat: &cwtypes.MetricStat{Period: aws.Int32(60), Stat: aws.String("Maximum"),
					Metric: &cwtypes.Metric{Namespace: aws.String("AWS/RDS"), MetricName: aws.String("ReplicaLag"), Dimensions: []cwtypes.Dimension{{Name: aws.String("DBInstanceIdentifier"), Value: aws.String("nothing")}}}}}}})
			if err != nil || len(out.MetricDataResults) != 1 {
				return code(err)
			}
			return fmt.Sprintf("%s %d", *out.MetricDataResults[0].Id, len(out.MetricDataResults[0].Values))
		}, want: "lag 0", moto: "HTTP 404", ministack: "HTTP 200", why: "the fake: the SDK speaks CBOR to CloudWatch, which the emulators do not answer in"},
		{id: "cfn-export", do: func(s *scene) string {
			if err := s.exported("shop-db", "orders"); err != nil {
				return code(err)
			}
			out, err := s.stacks(east).ListExports(s.ctx, &cloudformation.ListExportsInput{})
			if err != nil {
				return code(err)
			}
			return word(len(out.Exports) == 1 && *out.Exports[0].Name == "shop-db" && *out.Exports[0].Value == "orders", nil)
		}, want: "true"},
		{id: "cfn-elsewhere", do: func(s *scene) string {
			out, err := s.stacks(west).ListExports(s.ctx, &cloudformation.ListExportsInput{})
			if err != nil {
				return code(err)
			}
			return word(len(out.Exports), nil)
		}, want: "0"},
	}
}

// records of the probes' zone.
func plain(name, value string) *r53types.ResourceRecordSet {
	return &r53types.ResourceRecordSet{Name: &name, Type: r53types.RRTypeA, TTL: aws.Int64(60), ResourceRecords: []r53types.ResourceRecord{{Value: &value}}}
}

func weighted(name, id string, weight int64) *r53types.ResourceRecordSet {
	r := plain(name, "192.0.2.9")
	r.SetIdentifier, r.Weight = &id, &weight
	return r
}

func (s *scene) change(action r53types.ChangeAction, records ...*r53types.ResourceRecordSet) (*route53.ChangeResourceRecordSetsOutput, error) {
	batch := &r53types.ChangeBatch{}
	for _, r := range records {
		batch.Changes = append(batch.Changes, r53types.Change{Action: action, ResourceRecordSet: r})
	}
	return s.dns().ChangeResourceRecordSets(s.ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: aws.String(s.seen["zone"]), ChangeBatch: batch})
}

func (s *scene) changed(action r53types.ChangeAction, records ...*r53types.ResourceRecordSet) string {
	_, err := s.change(action, records...)
	return code(err)
}

func (s *scene) records() string {
	out, err := s.dns().ListResourceRecordSets(s.ctx, &route53.ListResourceRecordSetsInput{HostedZoneId: aws.String(s.seen["zone"]), StartRecordName: aws.String("www.shop.test"), StartRecordType: r53types.RRTypeA})
	if err != nil {
		return code(err)
	}
	var all string
	for _, r := range out.ResourceRecordSets {
		if *r.Name == "www.shop.test." {
			all += *r.ResourceRecords[0].Value + " "
		}
	}
	return all
}

func recordProbes() []probe {
	return []probe{
		{id: "dns-zone", do: func(s *scene) string {
			out, err := s.dns().CreateHostedZone(s.ctx, &route53.CreateHostedZoneInput{Name: aws.String("shop.test"), CallerReference: aws.String("probe")})
			if err != nil {
				return code(err)
			}
			s.seen["zone"] = *out.HostedZone.Id
			return *out.HostedZone.Name
		}, want: "shop.test."},
		{id: "dns-zone-twice", do: func(s *scene) string {
			_, err := s.dns().CreateHostedZone(s.ctx, &route53.CreateHostedZoneInput{Name: aws.String("shop.test"), CallerReference: aws.String("probe")})
			return code(err)
		}, want: "HostedZoneAlreadyExists", moto: "ok", ministack: "ok", why: "the fake: a caller reference makes a zone once"},
		{id: "dns-create", do: func(s *scene) string {
			out, err := s.change(r53types.ChangeActionCreate, plain("www.shop.test", "192.0.2.1"))
			if err != nil {
				return code(err)
			}
			s.seen["change"] = *out.ChangeInfo.Id
			return string(out.ChangeInfo.Status)
		}, want: "PENDING", moto: "INSYNC", why: "the fake and ministack: a change is PENDING first"},
		{id: "dns-in-sync", do: func(s *scene) string {
			s.pass(2 * time.Minute)
			var status string
			for range 3 { // ministack is in sync at a later look
				out, err := s.dns().GetChange(s.ctx, &route53.GetChangeInput{Id: aws.String(s.seen["change"])})
				if err != nil {
					return code(err)
				}
				status = string(out.ChangeInfo.Status)
			}
			return status
		}, want: "INSYNC"},
		{id: "dns-create-twice", do: func(s *scene) string {
			return s.changed(r53types.ChangeActionCreate, plain("www.shop.test", "192.0.2.2"))
		}, want: "InvalidChangeBatch", moto: "ok", why: "the fake and ministack: CREATE refuses what is there; moto adds the value to it"},
		{id: "dns-atomic", do: func(s *scene) string {
			return s.changed(r53types.ChangeActionUpsert, plain("www.shop.test", "192.0.2.3"), plain("www.elsewhere.test", "192.0.2.3")) + " " + s.records()
		}, want: "InvalidChangeBatch 192.0.2.1 ", moto: "InvalidChangeBatch 192.0.2.3 192.0.2.2 ", ministack: "ok 192.0.2.3 ", why: "the fake: a batch takes effect as a whole or not at all; moto keeps its first half, ministack takes names of other zones"},
		{id: "dns-delete-other-value", do: func(s *scene) string {
			return s.changed(r53types.ChangeActionDelete, plain("www.shop.test", "192.0.2.7"))
		}, want: "InvalidChangeBatch", moto: "InvalidInput", why: "the fake and ministack: the error is of the change batch"},
		{id: "dns-delete-unknown", do: func(s *scene) string {
			return s.changed(r53types.ChangeActionDelete, plain("other.shop.test", "192.0.2.7"))
		}, want: "InvalidChangeBatch", moto: "InvalidInput", why: "the fake and ministack: the error is of the change batch"},
		{id: "dns-upsert", do: func(s *scene) string {
			return s.changed(r53types.ChangeActionUpsert, plain("www.shop.test", "192.0.2.4")) + " " + s.records()
		}, want: "ok 192.0.2.4 ", moto: "ok 192.0.2.4 192.0.2.2 ", why: "the fake and ministack; moto still has what dns-create-twice added"},
		{id: "dns-weighted", do: func(s *scene) string {
			return s.changed(r53types.ChangeActionCreate, weighted("app.shop.test", "east", 100), weighted("app.shop.test", "west", 0))
		}, want: "ok"},
		{id: "dns-weighted-beside-simple", do: func(s *scene) string {
			return s.changed(r53types.ChangeActionCreate, weighted("www.shop.test", "east", 1))
		}, want: "InvalidChangeBatch", moto: "ok", ministack: "ok", why: "the fake: records of one name and type have one policy"},
		{id: "dns-cname-beside", do: func(s *scene) string {
			return s.changed(r53types.ChangeActionCreate, &r53types.ResourceRecordSet{Name: aws.String("www.shop.test"), Type: r53types.RRTypeCname, TTL: aws.Int64(60), ResourceRecords: []r53types.ResourceRecord{{Value: aws.String("x.test")}}})
		}, want: "InvalidChangeBatch", moto: "ok", ministack: "ok", why: "the fake: a CNAME stands alone"},
		{id: "dns-alias", do: func(s *scene) string {
			return s.changed(r53types.ChangeActionCreate, &r53types.ResourceRecordSet{Name: aws.String("alias.shop.test"), Type: r53types.RRTypeA, AliasTarget: &r53types.AliasTarget{HostedZoneId: aws.String("Z35SXDOTRQ7X7K"), DNSName: aws.String("lb.us-east-1.elb.amazonaws.com"), EvaluateTargetHealth: true}})
		}, want: "ok"},
		{id: "dns-no-ttl", do: func(s *scene) string {
			r := plain("bare.shop.test", "192.0.2.1")
			r.TTL = nil
			return s.changed(r53types.ChangeActionCreate, r)
		}, want: "InvalidInput", moto: "ok", ministack: "ok", why: "the fake: a record has a TTL unless it is an alias"},
		{id: "dns-zone-unknown", do: func(s *scene) string {
			_, err := s.dns().GetHostedZone(s.ctx, &route53.GetHostedZoneInput{Id: aws.String("Z0000000NOTHING")})
			return code(err)
		}, want: "NoSuchHostedZone"},
	}
}

func cacheProbes() []probe {
	status := func(s *scene, region, name string) string {
		out, err := s.cache(region).DescribeReplicationGroups(s.ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &name})
		if err != nil {
			return code(err)
		}
		return *out.ReplicationGroups[0].Status
	}
	create := func(s *scene, region, name, global string) string {
		in := &elasticache.CreateReplicationGroupInput{ReplicationGroupId: &name, ReplicationGroupDescription: aws.String("sessions"), NumCacheClusters: aws.Int32(2), AutomaticFailoverEnabled: aws.Bool(true)}
		if global == "" {
			in.Engine, in.EngineVersion, in.CacheNodeType = aws.String("redis"), aws.String("7.1"), aws.String("cache.r6g.large")
		} else {
			in.GlobalReplicationGroupId = &global
		}
		out, err := s.cache(region).CreateReplicationGroup(s.ctx, in)
		if err != nil {
			return code(err)
		}
		return *out.ReplicationGroup.Status
	}
	global := func(s *scene) string {
		out, err := s.cache(west).DescribeGlobalReplicationGroups(s.ctx, &elasticache.DescribeGlobalReplicationGroupsInput{GlobalReplicationGroupId: aws.String(s.seen["datastore"]), ShowMemberInfo: aws.Bool(true)})
		if err != nil {
			return code(err)
		}
		g := out.GlobalReplicationGroups[0]
		text := *g.Status
		for _, m := range g.Members {
			if *m.Role == "PRIMARY" {
				text += " " + *m.ReplicationGroupRegion + " " + *m.Status
			}
		}
		return text
	}
	return []probe{
		{id: "cache-create", do: func(s *scene) string { return create(s, east, "sessions", "") }, want: "creating", moto: "available", ministack: "available", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "cache-create-twice", do: func(s *scene) string { return create(s, east, "sessions", "") }, want: "ReplicationGroupAlreadyExists"},
		{id: "cache-available", do: func(s *scene) string { s.pass(time.Hour); return status(s, east, "sessions") }, want: "available"},
		{id: "cache-unknown", do: func(s *scene) string { return status(s, east, "nothing") }, want: "ReplicationGroupNotFoundFault"},
		{id: "cache-members", do: func(s *scene) string {
			out, err := s.cache(east).DescribeReplicationGroups(s.ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("sessions")})
			if err != nil {
				return code(err)
			}
			return word(len(out.ReplicationGroups[0].MemberClusters), nil)
		}, want: "2", moto: "1", why: "the fake and ministack: two were asked for"},
		{id: "cache-snapshot", do: func(s *scene) string {
			out, err := s.cache(east).CreateSnapshot(s.ctx, &elasticache.CreateSnapshotInput{ReplicationGroupId: aws.String("sessions"), SnapshotName: aws.String("cold")})
			if err != nil {
				return code(err)
			}
			return *out.Snapshot.SnapshotStatus
		}, want: "creating", moto: "available", ministack: "HTTP 200", why: "the fake: ministack answers with a body that the SDK cannot read"},
		{id: "cache-snapshot-twice", do: func(s *scene) string {
			s.pass(time.Hour)
			_, err := s.cache(east).CreateSnapshot(s.ctx, &elasticache.CreateSnapshotInput{ReplicationGroupId: aws.String("sessions"), SnapshotName: aws.String("cold")})
			return code(err)
		}, want: "SnapshotAlreadyExistsFault"},
		{id: "cache-global", do: func(s *scene) string {
			out, err := s.cache(east).CreateGlobalReplicationGroup(s.ctx, &elasticache.CreateGlobalReplicationGroupInput{GlobalReplicationGroupIdSuffix: aws.String("world"), PrimaryReplicationGroupId: aws.String("sessions")})
			if err != nil {
				return code(err)
			}
			s.seen["datastore"] = *out.GlobalReplicationGroup.GlobalReplicationGroupId
			return *out.GlobalReplicationGroup.Status
		}, want: "creating", moto: "-", ministack: "-"},
		{id: "cache-join", do: func(s *scene) string { s.pass(time.Hour); return create(s, west, "sessions-west", s.seen["datastore"]) }, want: "creating", moto: "-", ministack: "-"},
		{id: "cache-joined", do: func(s *scene) string { s.pass(time.Hour); return global(s) }, want: "available us-east-1 associated", moto: "-", ministack: "-"},
		{id: "cache-failover", do: func(s *scene) string {
			_, err := s.cache(west).FailoverGlobalReplicationGroup(s.ctx, &elasticache.FailoverGlobalReplicationGroupInput{GlobalReplicationGroupId: aws.String(s.seen["datastore"]), PrimaryRegion: aws.String(west), PrimaryReplicationGroupId: aws.String("sessions-west")})
			if err != nil {
				return code(err)
			}
			return global(s)
		}, want: "available us-east-1 associated", moto: "-", ministack: "-"},
		{id: "cache-failing-over", do: func(s *scene) string { s.pass(20 * time.Second); return global(s) }, want: "modifying us-east-1 associated", moto: "-", ministack: "-"},
		{id: "cache-failed-over", do: func(s *scene) string { s.pass(time.Hour); return global(s) }, want: "available us-west-2 associated", moto: "-", ministack: "-"},
		{id: "cache-delete-member", do: func(s *scene) string {
			_, err := s.cache(east).DeleteReplicationGroup(s.ctx, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: aws.String("sessions")})
			return code(err)
		}, want: "InvalidReplicationGroupState", moto: "-", ministack: "-"},
		{id: "cache-disassociate", do: func(s *scene) string {
			_, err := s.cache(west).DisassociateGlobalReplicationGroup(s.ctx, &elasticache.DisassociateGlobalReplicationGroupInput{GlobalReplicationGroupId: aws.String(s.seen["datastore"]), ReplicationGroupId: aws.String("sessions"), ReplicationGroupRegion: aws.String(east)})
			if err != nil {
				return code(err)
			}
			s.pass(time.Hour)
			return global(s)
		}, want: "primary-only us-west-2 associated", moto: "-", ministack: "-"},
	}
}
