package route53

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Permissions lists the calls that a request's work makes. Zones have ARNs without an account; a zone that is named by its name is
// found among all.
func (d *Driver) Permissions(req driver.Request) ([]driver.Permission, error) {
	set, at, err := driver.SettingsOf[Settings, Site](req.Target, req.Site)
	if err != nil {
		return nil, err
	}
	book := preflight.NewBook(req.App)
	page := book.Page(req.Site, at.AWS)
	id := zoneID(set.Zone)
	if id == "" {
		id = "*"
	}
	arn := func(resource string) []string {
		return []string{awsbase.ARN(awsbase.PartitionOf(at.AWS.Region), "route53", "", "", resource)}
	}
	zone := arn("hostedzone/" + id)
	switch req.Action {
	case "":
		page.Common()
		if id == "*" {
			page.Look("to find the zone", preflight.Any, "route53:ListHostedZonesByName")
		}
		page.Look("to see the records", zone, "route53:ListResourceRecordSets")
	case model.ActionRedirect:
		page.Change("to move the names", zone, "route53:ChangeResourceRecordSets")
		page.Look("to await a change", arn("change/*"), "route53:GetChange")
	}
	return book.Permissions(), nil
}

// Examine asks who works at the site and what that is allowed. The zone and the records are the checks'.
func (d *Driver) Examine(ctx context.Context, x driver.Examination) (driver.Examined, error) {
	return preflight.Examine(ctx, d.base, x, d, nil)
}

var (
	_ driver.Permitter = (*Driver)(nil)
	_ driver.Examiner  = (*Driver)(nil)
)
