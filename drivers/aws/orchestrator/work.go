package orchestrator

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkcache "github.com/aws/aws-sdk-go-v2/service/elasticache"
	sdkrds "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/aurora"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/elasticache"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/rds"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/statepayload"
	"github.com/lifeboat-dr/lifeboat/model"
)

// made is the work on a resource with these settings, unless a remark says why there is none.
func (t *action) made(name string, kind model.Kind, mode model.Mode, settings, here, there any) (model.PayloadWork, error) {
	if t.failed {
		return model.PayloadWork{}, nil
	}
	r := model.Resource{ID: t.id(name), App: t.app, Kind: kind, Sites: map[model.SiteID]json.RawMessage{}}
	var err error
	if r.Settings, err = json.Marshal(settings); err != nil {
		return model.PayloadWork{}, failure.WrapAs(failure.Internal, err, "write settings of", name)
	}
	for site, value := range map[model.SiteID]any{t.plan.Site: here, t.plan.Peer: there} {
		if r.Sites[site], err = json.Marshal(value); err != nil {
			return model.PayloadWork{}, failure.WrapAs(failure.Internal, err, "write settings of", name)
		}
	}
	return model.PayloadWork{Resource: r, Mode: mode}, nil
}

// failoverAurora gives the writer's role to the cluster here. Which cluster has it is what the region here says.
func (t *action) failoverAurora(ctx context.Context, mode model.Mode) (model.PayloadWork, error) {
	global, cluster := t.values["GlobalClusterIdentifier"], t.database("DBClusterIdentifier", "cluster", t.here.Region)
	if t.failed {
		return model.PayloadWork{}, nil
	}
	client := sdkrds.NewFromConfig(t.session.Config("rds"))
	got, err := client.DescribeGlobalClusters(ctx, &sdkrds.DescribeGlobalClustersInput{GlobalClusterIdentifier: &global})
	if err != nil && failure.KindOf(err) != failure.NotFound {
		return model.PayloadWork{}, failure.Wrap(err, "look at", global)
	}
	if err != nil || len(got.GlobalClusters) == 0 {
		t.remark(model.Block, "payload-absent", "GlobalClusterIdentifier", "", "aws rds describe-global-clusters --region "+t.here.Region,
			"%s knows no global database %q", t.here.Region, global)
		return model.PayloadWork{}, nil
	}
	var member, other string
	for _, m := range got.GlobalClusters[0].GlobalClusterMembers {
		_, _, region, _, resource, _ := awsbase.SplitARN(aws.ToString(m.DBClusterArn))
		id := strings.TrimPrefix(resource, "cluster:")
		switch {
		case region == t.here.Region && id == cluster:
			member = id
		case region == t.there.Region:
			other = id
		}
	}
	switch {
	case member == "":
		t.remark(model.Block, "payload-absent", "DBClusterIdentifier", "", "aws rds describe-global-clusters --region "+t.here.Region+"; a cluster that was detached takes writes by itself already",
			"the cluster %s is no member of the global database %s", cluster, global)
	case other == "":
		t.remark(model.Block, "payload-absent", "GlobalClusterIdentifier", "", "name the site that is moved away from with --from, or as peer of the plan",
			"the global database %s has no cluster in %s, the region of %s", global, t.there.Region, t.plan.Peer)
	}
	return t.made(global, aurora.Kind, mode, aurora.Settings{Global: global}, aurora.Site{AWS: t.here, Cluster: cluster}, aurora.Site{AWS: t.there, Cluster: other})
}

// createCluster makes the old cluster here follow the one there again.
func (t *action) createCluster() (model.PayloadWork, error) {
	cluster := t.database("DBClusterIdentifier", "cluster", t.here.Region)
	serving := t.database("SourceDBClusterIdentifier", "cluster", t.there.Region)
	if name := strings.ToLower(t.values["DBClusterName"]); name != "" && name != cluster {
		t.remark(model.Block, "payload-name", "DBClusterName", "the framework deletes the old cluster and makes one of another name, whose endpoint nobody knows", "name the old cluster in both parameters",
			"DBClusterName is %s, and the old cluster is %s: Lifeboat makes a cluster again under its own name", name, cluster)
	}
	protected := t.flag("DeletionProtection")
	here := aurora.Site{AWS: t.here, Cluster: cluster, Instances: aurora.Instances{Class: t.values["DBInstanceClass"]}, SubnetGroup: t.values["DBSubnetGroupName"],
		SecurityGroups: statepayload.List(t.values["VpcSecurityGroupIds"]), KMSKey: t.values["KmsKeyId"]}
	if _, ok := t.a.Parameter("DeletionProtection"); ok {
		here.DeletionProtection = &protected
	}
	if n := t.isolated(); n != nil {
		here.Drill = &aurora.Drill{SubnetGroup: n.SubnetGroup, SecurityGroups: n.SecurityGroups}
	}
	global := t.values["GlobalClusterIdentifier"]
	return t.made(global, aurora.Kind, "", aurora.Settings{Global: global}, here, aurora.Site{AWS: t.there, Cluster: serving})
}

// isolated is where the old primary's last snapshot is proved.
func (t *action) isolated() *model.PayloadNetwork {
	if t.plan.Isolated == nil {
		t.remark(model.Block, "payload-isolated", "", "the framework deletes it with a snapshot that nobody has tried, or with none",
			"name a plan in lifeboat.yaml for this document, with isolated: {subnet_group: ..., security_groups: [...]}", "nothing says where the last snapshot of the old primary is proved before that is deleted")
	}
	return t.plan.Isolated
}

// promoteReplica makes the replica here a primary.
func (t *action) promoteReplica(ctx context.Context) (model.PayloadWork, error) {
	id := t.database("RDSInstanceIdentifier", "db", t.here.Region)
	if t.failed {
		return model.PayloadWork{}, nil
	}
	client := sdkrds.NewFromConfig(t.session.Config("rds"))
	got, err := client.DescribeDBInstances(ctx, &sdkrds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
	if err != nil && failure.KindOf(err) != failure.NotFound {
		return model.PayloadWork{}, failure.Wrap(err, "look at", id)
	}
	if err != nil || len(got.DBInstances) == 0 {
		t.remark(model.Block, "payload-absent", "RDSInstanceIdentifier", "", "aws rds describe-db-instances --region "+t.here.Region, "there is no instance %s in %s", id, t.here.Region)
		return model.PayloadWork{}, nil
	}
	source := aws.ToString(got.DBInstances[0].ReadReplicaSourceDBInstanceIdentifier)
	_, _, region, _, resource, ok := awsbase.SplitARN(source)
	switch {
	case source == "":
		t.remark(model.Block, "payload-promoted", "RDSInstanceIdentifier", "the framework fails on it, and waits for ever", "take it out of the document if it has been promoted already",
			"the instance %s follows nothing: it takes writes by itself", id)
	case !ok || region != t.there.Region:
		t.remark(model.Block, "payload-region", "RDSInstanceIdentifier", "", "name the site of its source with --from, or as peer of the plan", "the instance %s follows %s, and that is not in %s, the region of %s", id, source, t.there.Region, t.plan.Peer)
	}
	there := rds.Site{AWS: t.there, Instance: strings.TrimPrefix(resource, "db:")}
	if len(t.plan.Fence) > 0 {
		there.Fence = &rds.FenceSite{SecurityGroups: t.plan.Fence}
	} else {
		t.remark(model.Warn, "payload-unfenced", "RDSInstanceIdentifier", "the framework does not fence: both databases take writes after the promotion, and those to the old one are lost",
			"fence: {security_groups: [...]} under the plan in lifeboat.yaml; or --accept-unfenced REASON", "nothing says how the source of %s is fenced", id)
	}
	return t.made(id, rds.Kind, model.Unplanned, rds.Settings{Recovery: "replica"}, rds.Site{AWS: t.here, Instance: id}, there)
}

// createReplica makes the old instance here a replica of the one there.
func (t *action) createReplica() (model.PayloadWork, error) {
	id := t.database("RDSInstanceIdentifier", "db", t.here.Region)
	serving := t.database("SourceRDSInstanceIdentifier", "db", t.there.Region)
	here := rds.Site{AWS: t.here, Instance: id, Class: t.values["DBInstanceClass"], SubnetGroup: t.values["DBSubnetGroup"],
		SecurityGroups: statepayload.List(t.values["DBSecurityGroup"]), MultiAZ: t.flag("MultiAZ"), DeletionProtection: t.flag("DeletionProtection"), KMSKey: t.values["KmsKeyId"]}
	if n, ok := t.whole("Port"); ok {
		here.Port = n
	}
	if n, ok := t.whole("BackupRetentionPeriod"); ok {
		here.BackupRetention = &n
	}
	if n := t.isolated(); n != nil {
		here.Drill = &rds.DrillSite{SubnetGroup: n.SubnetGroup, SecurityGroups: n.SecurityGroups}
	}
	if len(t.plan.Fence) > 0 {
		here.Fence = &rds.FenceSite{SecurityGroups: t.plan.Fence}
	} else {
		t.remark(model.Block, "payload-unfenced", "RDSInstanceIdentifier", "the framework deletes it while it may take writes", "fence: {security_groups: [...]} under the plan in lifeboat.yaml",
			"nothing says how the old instance %s is fenced before its last state is kept", id)
	}
	return t.made(id, rds.Kind, "", rds.Settings{Recovery: "replica"}, here, rds.Site{AWS: t.there, Instance: serving})
}

// failoverCache gives the primary's role to the group here.
func (t *action) failoverCache(ctx context.Context) (model.PayloadWork, error) {
	id, group := t.values["GlobalReplicationGroupId"], strings.ToLower(t.values["TargetReplicationGroupId"])
	client := sdkcache.NewFromConfig(t.session.Config("elasticache"))
	got, err := client.DescribeGlobalReplicationGroups(ctx, &sdkcache.DescribeGlobalReplicationGroupsInput{GlobalReplicationGroupId: &id, ShowMemberInfo: aws.Bool(true)})
	if err != nil && failure.KindOf(err) != failure.NotFound {
		return model.PayloadWork{}, failure.Wrap(err, "look at", id)
	}
	if err != nil || len(got.GlobalReplicationGroups) == 0 {
		t.remark(model.Block, "payload-absent", "GlobalReplicationGroupId", "", "aws elasticache describe-global-replication-groups --region "+t.here.Region, "%s knows no global datastore %q", t.here.Region, id)
		return model.PayloadWork{}, nil
	}
	var groups []string
	other := ""
	for _, m := range got.GlobalReplicationGroups[0].Members {
		switch aws.ToString(m.ReplicationGroupRegion) {
		case t.here.Region:
			groups = append(groups, aws.ToString(m.ReplicationGroupId))
		case t.there.Region:
			other = aws.ToString(m.ReplicationGroupId)
		}
	}
	switch {
	case !slices.Contains(groups, group):
		t.remark(model.Block, "payload-absent", "TargetReplicationGroupId", "", "aws elasticache describe-global-replication-groups --show-member-info --region "+t.here.Region,
			"the group %s in %s is no member of the global datastore %s", group, t.here.Region, id)
	case other == "":
		t.remark(model.Block, "payload-absent", "GlobalReplicationGroupId", "", "name the site that is moved away from with --from, or as peer of the plan",
			"the global datastore %s has no group in %s, the region of %s", id, t.there.Region, t.plan.Peer)
	}
	return t.made(id, elasticache.KindGlobal, model.Unplanned, elasticache.Settings{Datastore: id}, elasticache.Site{AWS: t.here, Group: group}, elasticache.Site{AWS: t.there, Group: other})
}
