package orchestrator

import (
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight"
	"github.com/lifeboat-dr/lifeboat/internal/statepayload"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Permissions lists the calls that Resolve makes of a document. It asks nobody: what the document refers to may be of any name.
func (im *Importer) Permissions(app model.AppID, doc *model.Payload, plan model.PayloadPlan, sites []model.Site) ([]driver.Permission, error) {
	here, err := access(plan.Site, sites)
	if err != nil {
		return nil, err
	}
	book := preflight.NewBook(app)
	p := book.Page(plan.Site, here)
	p.Common()
	for _, layer := range doc.Layers {
		for _, a := range layer.Actions {
			for _, v := range a.Parameters {
				switch v.From {
				case model.FromExport:
					p.Look("to read the exports that the document refers to", preflight.Any, "cloudformation:ListExports")
				case model.FromParameter:
					name, _, _ := strings.Cut(strings.TrimPrefix(v.Text, "/"), ":") // a version follows the name
					p.Look("to read the parameters that the document refers to", []string{p.ARN("ssm", "parameter/"+name)}, "ssm:GetParameter")
				}
			}
			switch a.Type {
			case statepayload.PlannedFailoverAurora, statepayload.UnPlannedFailoverAurora:
				p.Look("to see the members of the global database", []string{p.Global("rds", "global-cluster:"+named(a, "GlobalClusterIdentifier"))}, "rds:DescribeGlobalClusters")
			case statepayload.PromoteRDSReadReplica:
				p.Look("to see what the replica follows", []string{p.ARN("rds", "db:"+named(a, "RDSInstanceIdentifier"))}, "rds:DescribeDBInstances")
			case statepayload.FailoverElastiCacheCluster:
				p.Look("to see the members of the global datastore", []string{p.Global("elasticache", "globalreplicationgroup:"+named(a, "GlobalReplicationGroupId"))}, "elasticache:DescribeGlobalReplicationGroups")
			}
		}
	}
	return book.Permissions(), nil
}

// named is the identifier that a parameter names, also within an ARN; * when the document does not say it itself.
func named(a model.PayloadAction, parameter string) string {
	p, ok := a.Parameter(parameter)
	if !ok || p.From != model.FromDocument || p.Text == "" {
		return "*"
	}
	return strings.ToLower(p.Text[strings.LastIndex(p.Text, ":")+1:])
}
