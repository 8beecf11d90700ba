package awstest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// statement is one of an IAM policy's (IAM User Guide, "IAM JSON policy elements reference"). Of conditions StringEquals and Bool are modelled.
type statement struct {
	Sid, Effect string
	Action      texts
	Resource    texts
	Condition   map[string]map[string]texts
}

// texts is a text or a list of them.
type texts []string

// UnmarshalJSON reads either.
func (t *texts) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(t))
}

// Policy gives a user or a role, by ARN, policy documents in place of its Allow list: calls are allowed on the resources and under the
// conditions that they say. A document that says what the fake does not model is an error.
func (w *World) Policy(arn string, documents ...string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := []statement{}
	for _, text := range documents {
		var doc struct {
			Version   string
			Statement []statement
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&doc); err != nil {
			return refuse("MalformedPolicyDocument", "%v", err)
		}
		for _, s := range doc.Statement {
			for operator := range s.Condition {
				if operator != "StringEquals" && operator != "Bool" {
					return refuse("NotImplemented", "awstest does not model the condition operator %s", operator)
				}
			}
			if s.Effect != "Allow" || len(s.Action) == 0 || len(s.Resource) == 0 {
				return refuse("NotImplemented", "awstest models statements that allow actions on resources: %s", s.Sid)
			}
		}
		all = append(all, doc.Statement...)
	}
	w.policies[arn] = all
	return nil
}

// resource is what a call is about, as IAM sees it.
type resource struct {
	arn  string
	tags []tag
}

// allows reports whether statements allow an action on a resource in a context.
func allows(all []statement, action, arn string, given map[string]string) bool {
	return slices.ContainsFunc(all, func(s statement) bool {
		if !slices.ContainsFunc(s.Action, func(p string) bool { return like(p, action) }) || !slices.ContainsFunc(s.Resource, func(p string) bool { return like(strings.ReplaceAll(p, "${aws:username}", given["aws:username"]), arn) }) {
			return false
		}
		for _, keys := range s.Condition {
			for key, values := range keys {
				if !slices.Contains(values, given[key]) {
					return false
				}
			}
		}
		return true
	})
}

// like matches a text with a pattern in which * stands for any run of characters.
func like(pattern, text string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	if !strings.HasPrefix(text, head) {
		return false
	}
	for i := len(head); i <= len(text); i++ {
		if like(rest, text[i:]) {
			return true
		}
		if rest == "" {
			return true
		}
	}
	return false
}

// of is the ARN that policies are attached to: a role's for its sessions.
func (p *principal) of() string {
	_, service, _, account, rest := splitARN(p.arn)
	if service != "sts" {
		return p.arn
	}
	return "arn:aws:iam::" + account + ":role/" + strings.Split(rest, "/")[1]
}

// permitted holds a call against the caller's policies: on each thing that it is about, and for what AWS does in its course.
func (w *World) permitted(c *call, all []statement) error {
	requested := map[string]string{"kms:GrantIsForAWSResource": "true", "aws:username": c.who.arn[strings.LastIndex(c.who.arn, "/")+1:]}
	for _, t := range append(c.p.tags("Tags"), c.p.tags("Tag")...) {
		requested["aws:RequestTag/"+t.Key] = t.Value
	}
	ask := func(action string, about resource) error {
		given := map[string]string{}
		for k, v := range requested {
			given[k] = v
		}
		for _, t := range about.tags {
			given["aws:ResourceTag/"+t.Key] = t.Value
		}
		if allows(all, action, about.arn, given) {
			return nil
		}
		return denied(c, action, " on resource: "+about.arn)
	}
	for _, r := range w.about(c) {
		if err := ask(c.service+":"+c.action, r); err != nil {
			return err
		}
	}
	if name := made[c.action]; name != "" && len(c.p.tags("Tags")) > 0 {
		arn := c.arnOf(naming[c.service][name], c.p.str(name))
		if err := ask(c.service+":AddTagsToResource", resource{arn, c.p.tags("Tags")}); err != nil {
			return err
		}
	}
	if err := w.secretly(c, ask); err != nil {
		return err
	}
	if key := c.p.str("KmsKeyId"); key != "" && (strings.HasPrefix(c.action, "Copy") || slices.Contains([]string{"CreateDBCluster", "CreateDBInstanceReadReplica", "CreateReplicationGroup"}, c.action)) && !strings.HasPrefix(key, "alias/aws/") {
		for _, action := range []string{"kms:CreateGrant", "kms:DescribeKey"} {
			arn := w.region(c.account, c.region).keys[key]
			if arn != "" && !allows(all, action, arn, requested) {
				return refuse("KMSKeyNotAccessibleFault", "The specified KMS key [%s] does not exist, is not enabled or you do not have permissions to access it: %s", arn, action)
			}
		}
	}
	return nil
}

// secretly asks for what RDS needs of Secrets Manager, where it is to keep the master password there (RDS User Guide, "Password
// management with Amazon RDS and AWS Secrets Manager", permissions).
func (w *World) secretly(c *call, ask func(string, resource) error) error {
	if !c.p.flag("ManageMasterUserPassword", false) {
		return nil
	}
	r := w.region(c.account, c.region)
	for _, action := range []string{"secretsmanager:CreateSecret", "secretsmanager:TagResource"} {
		if err := ask(action, resource{r.arn("secretsmanager", "secret:rds!db-1"), nil}); err != nil {
			return err
		}
	}
	return ask("kms:DescribeKey", resource{r.key("aws/secretsmanager"), nil})
}

// made says which parameter names what a call makes, where it can be given tags: AWS then asks for AddTagsToResource too.
var made = map[string]string{
	"CreateDBSnapshot": "DBSnapshotIdentifier", "CopyDBSnapshot": "TargetDBSnapshotIdentifier", "RestoreDBInstanceFromDBSnapshot": "DBInstanceIdentifier",
	"RestoreDBInstanceToPointInTime": "TargetDBInstanceIdentifier", "CreateDBInstance": "DBInstanceIdentifier", "CreateDBInstanceReadReplica": "DBInstanceIdentifier",
	"CreateDBCluster": "DBClusterIdentifier", "RestoreDBClusterFromSnapshot": "DBClusterIdentifier", "RestoreDBClusterToPointInTime": "DBClusterIdentifier",
	"CreateDBClusterSnapshot": "DBClusterSnapshotIdentifier", "CopyDBClusterSnapshot": "TargetDBClusterSnapshotIdentifier",
	"CreateReplicationGroup": "ReplicationGroupId", "CreateSnapshot": "SnapshotName", "CopySnapshot": "TargetSnapshotName",
}

// naming says of which type the things are that parameters name (Service Authorization Reference, the services' tables of actions).
var naming = map[string]map[string]string{
	"rds": {
		"DBInstanceIdentifier": "db", "SourceDBInstanceIdentifier": "db", "TargetDBInstanceIdentifier": "db",
		"DBSnapshotIdentifier": "snapshot", "SourceDBSnapshotIdentifier": "snapshot", "TargetDBSnapshotIdentifier": "snapshot",
		"DBClusterIdentifier": "cluster", "SourceDBClusterIdentifier": "cluster", "DbClusterIdentifier": "cluster", "TargetDbClusterIdentifier": "cluster",
		"DBClusterSnapshotIdentifier": "cluster-snapshot", "SourceDBClusterSnapshotIdentifier": "cluster-snapshot", "TargetDBClusterSnapshotIdentifier": "cluster-snapshot",
		"SnapshotIdentifier": "cluster-snapshot", "GlobalClusterIdentifier": "global-cluster", "DBSubnetGroupName": "subgrp", "DBParameterGroupName": "pg",
		"DBClusterParameterGroupName": "cluster-pg", "OptionGroupName": "og", "ResourceName": "",
	},
	"elasticache": {
		"ReplicationGroupId": "replicationgroup", "PrimaryReplicationGroupId": "replicationgroup", "GlobalReplicationGroupId": "globalreplicationgroup",
		"SnapshotName": "snapshot", "SourceSnapshotName": "snapshot", "TargetSnapshotName": "snapshot", "CacheClusterId": "cluster",
		"CacheSubnetGroupName": "subnetgroup", "CacheParameterGroupName": "parametergroup", "ResourceName": "",
	},
}

// listing says which type a call that looks is about when it names none.
var listing = map[string]string{
	"rds:DescribeDBInstances": "db", "rds:DescribeDBSnapshots": "snapshot", "rds:DescribeDBClusters": "cluster", "rds:DescribeDBClusterSnapshots": "cluster-snapshot",
	"rds:DescribeGlobalClusters": "global-cluster", "rds:DescribeDBSubnetGroups": "subgrp", "rds:DescribeDBParameterGroups": "pg",
	"rds:DescribeDBClusterParameterGroups": "cluster-pg", "rds:DescribeOptionGroups": "og",
	"elasticache:DescribeReplicationGroups": "replicationgroup", "elasticache:DescribeSnapshots": "snapshot", "elasticache:DescribeCacheClusters": "cluster",
	"elasticache:DescribeGlobalReplicationGroups": "globalreplicationgroup", "elasticache:DescribeCacheSubnetGroups": "subnetgroup",
	"elasticache:DescribeCacheParameterGroups": "parametergroup",
}

// arnOf names a thing of the service that is called.
func (c *call) arnOf(kind, name string) string {
	in := c.region
	if kind == "global-cluster" || kind == "globalreplicationgroup" {
		in = ""
	}
	return strings.Join([]string{"arn", partitionOf(c.region), c.service, in, c.account, kind + ":" + strings.ToLower(name)}, ":")
}

// about lists what a call is about. A call that names nothing is about everything of its type, or knows no resources.
func (w *World) about(c *call) []resource {
	var out []resource
	for parameter, kind := range naming[c.service] {
		name := c.p.str(parameter)
		if name == "" || strings.HasPrefix(c.action, "DescribeOrderable") {
			continue
		}
		if !strings.HasPrefix(name, "arn:") {
			name = c.arnOf(kind, name)
		}
		out = append(out, resource{name, w.tagsOf(name)})
	}
	switch {
	case len(out) > 0:
		slices.SortFunc(out, func(a, b resource) int { return strings.Compare(a.arn, b.arn) })
		return out
	case listing[c.service+":"+c.action] != "":
		return []resource{{arn: c.arnOf(listing[c.service+":"+c.action], "*")}}
	case c.service == "kms":
		if key := w.region(c.account, c.region).keys[c.p.str("KeyId")]; key != "" {
			return []resource{{arn: key}}
		}
		return []resource{{arn: strings.Join([]string{"arn", partitionOf(c.region), "kms", c.region, c.account, "key/" + strings.TrimPrefix(c.p.str("KeyId"), "alias/")}, ":")}}
	case c.service == "ssm":
		name, _, _ := strings.Cut(strings.TrimPrefix(c.p.str("Name"), "/"), ":")
		return []resource{{arn: strings.Join([]string{"arn", partitionOf(c.region), "ssm", c.region, c.account, "parameter/" + name}, ":")}}
	case c.service == "iam":
		return []resource{{arn: c.p.str("PolicySourceArn")}}
	case c.service == "sts":
		return []resource{{arn: c.p.str("RoleArn")}}
	case c.service == "route53" && c.action == "GetChange":
		return []resource{{arn: "arn:" + partitionOf(c.region) + ":route53:::change/" + c.p.str("Id")}}
	case c.service == "route53" && c.p.str("Id") != "":
		return []resource{{arn: "arn:" + partitionOf(c.region) + ":route53:::hostedzone/" + c.p.str("Id")}}
	}
	return []resource{{arn: "*"}}
}

// tagsOf are the tags of a thing of RDS or ElastiCache.
func (w *World) tagsOf(arn string) []tag {
	_, service, in, acct, _ := splitARN(arn)
	if service != "rds" && service != "elasticache" || in == "" {
		return nil
	}
	c := &call{w: w, account: acct, region: in, r: w.region(acct, in), p: params{"ResourceName": {arn}}}
	find := c.tagged
	if service == "elasticache" {
		find = c.cacheTags
	}
	tags, err := find()
	if err != nil {
		return nil
	}
	return *tags
}

func identityActions() map[string]action {
	return map[string]action{"SimulatePrincipalPolicy": {"PolicySourceArn! ActionNames! ResourceArns ContextEntries Marker MaxItems", simulatePrincipal}}
}

// simulatePrincipal says what the policies of a user or a role allow.
func simulatePrincipal(c *call) (any, error) {
	source := c.p.str("PolicySourceArn")
	allow, found := c.w.statementsOf(source)
	if !found {
		return nil, &apiError{http.StatusNotFound, "NoSuchEntity", "The user or role " + source + " cannot be found."}
	}
	given := map[string]string{}
	for _, m := range c.p.members("ContextEntries") {
		given[m["ContextKeyName"]] = m["ContextKeyValues.member.1"]
	}
	resources := c.p.list("ResourceArns")
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	type result struct{ EvalActionName, EvalResourceName, EvalDecision string }
	out := struct {
		Results     []result `xml:"EvaluationResults>member"`
		IsTruncated bool
	}{}
	for _, action := range c.p.list("ActionNames") {
		for _, arn := range resources {
			decision := "implicitDeny"
			if allows(allow, action, arn, given) {
				decision = "allowed"
			}
			out.Results = append(out.Results, result{action, arn, decision})
		}
	}
	return out, nil
}

// statementsOf are the policies of a user or a role; an Allow list is one on everything.
func (w *World) statementsOf(arn string) ([]statement, bool) {
	if all, ok := w.policies[arn]; ok {
		return all, true
	}
	everything := func(allow []string) []statement {
		if allow == nil {
			allow = []string{"*"}
		}
		return []statement{{Effect: "Allow", Action: allow, Resource: texts{"*"}}}
	}
	for _, p := range w.keys {
		if p.arn == arn {
			return everything(p.allow), true
		}
	}
	_, _, _, acct, rest := splitARN(arn)
	if a := w.accounts[acct]; a != nil && a.roles[strings.TrimPrefix(rest, "role/")] != nil {
		return everything(a.roles[strings.TrimPrefix(rest, "role/")].Allow), true
	}
	return nil, false
}

func keyActions() map[string]action {
	return map[string]action{"DescribeKey": {"KeyId! GrantTokens", describeKey}}
}

// describeKey is KMS's.
func describeKey(c *call) (any, error) {
	arn, ok := c.r.keys[c.p.str("KeyId")]
	if !ok {
		return nil, refuse("NotFoundException", "Key '%s' does not exist", c.p.str("KeyId"))
	}
	type key struct {
		AWSAccountId, KeyId, Arn, KeyState, KeyUsage string
		Enabled                                      bool
	}
	state := "Enabled"
	if c.r.disabled[arn] {
		state = "Disabled"
	}
	_, id, _ := strings.Cut(arn, ":key/")
	return struct{ KeyMetadata key }{key{c.account, id, arn, state, "ENCRYPT_DECRYPT", state == "Enabled"}}, nil
}

// DisableKey disables a key, by its ARN.
func (w *World) DisableKey(arn string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _, in, acct, _ := splitARN(arn)
	w.region(acct, in).disabled[arn] = true
}
