package rds

import (
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight"
	"github.com/lifeboat-dr/lifeboat/model"
)

// page is a site's part of the permissions, with the names of what work there touches.
type page struct {
	*preflight.Page
	set Site
}

// Permissions lists the calls that a request's work makes.
func (d *Driver) Permissions(req driver.Request) ([]driver.Permission, error) {
	book := preflight.NewBook(req.App)
	pages := map[model.SiteID]page{}
	replicated := false
	for _, id := range req.Resource.SiteIDs() {
		own, set, err := driver.SettingsOf[Settings, Site](req.Target, id)
		if err != nil {
			return nil, err
		}
		replicated = own.replicated()
		pages[id] = page{book.Page(id, set.AWS), set}
	}
	here := pages[req.Site]
	others := func(do func(p page)) {
		for _, id := range req.Resource.SiteIDs() {
			if id != req.Site {
				do(pages[id])
			}
		}
	}
	switch req.Action {
	case "":
		here.looks()
		if replicated {
			here.Look("to see how far the replica is behind", preflight.Any, "cloudwatch:GetMetricData")
		}
	case model.ActionCapture:
		here.captures()
	case model.ActionCopy:
		others(func(to page) {
			to.copies(here)
			if replicated {
				to.follows(here)
			}
		})
	case model.ActionExpire:
		here.expires()
		others(page.expires)
	case model.ActionPromote:
		here.launches(here.set.Instance, false)
		here.keepsPassword("rds:RestoreDBInstanceFromDBSnapshot")
		here.regroups()
		if replicated {
			here.Change("to make the replica an instance of its own", here.db(here.set.Instance), "rds:PromoteReadReplica")
			here.keepsPassword("rds:ModifyDBInstance")
		}
	case model.ActionRestore:
		here.launches("*", true)
		here.keepsPassword("rds:RestoreDBInstanceFromDBSnapshot")
	case model.ActionDrill:
		here.launches(here.apart("drill"), false)
		if replicated {
			here.captures()
		}
	case model.ActionRelease:
		here.removes(here.apart("drill"), here.apart("prove"))
		if replicated {
			here.expires()
		}
	case model.ActionProve:
		here.proves()
	case model.ActionFence:
		here.fences()
	case model.ActionQuiesce:
		here.fences()
		here.captures()
		if to, ok := pages[req.Peer]; ok {
			to.copies(here)
		}
	case model.ActionReverse:
		here.reverses(pages[req.Peer], replicated, (&work{req: req}).makesWay())
	}
	return book.Permissions(), nil
}

// apart is the pattern of the names of instances that are only looked at.
func (p page) apart(what string) string { return awsbase.NamesFor(what+"-"+p.set.Instance, nameLimit) }

// db and snapshots name instances, and the snapshots that Lifeboat makes and copies.
func (p page) db(names ...string) []string {
	var out []string
	for _, n := range names {
		out = append(out, p.ARN("rds", "db:"+strings.ToLower(n)))
	}
	return out
}

func (p page) snapshots() []string { return []string{p.ARN("rds", "snapshot:*-lb-*")} }

// reverses are the calls that protect the other way what serves at another site, if one is named.
func (p page) reverses(from page, replicated, makesWay bool) {
	if from.Page != nil {
		from.captures()
		p.copies(from)
		if replicated {
			p.follows(from)
		}
	}
	if makesWay {
		p.fences()
		p.captures()
		p.proves()
		p.Change("to remove the old instance, once its last state is proved", p.db(p.set.Instance), "rds:ModifyDBInstance", "rds:DeleteDBInstance")
	}
}

func (p page) looks() {
	p.Common()
	region := []string{p.ARN("rds", "*")}
	p.Look("to see what is there", region, "rds:DescribeDBInstances", "rds:DescribeDBSnapshots")
	p.Look("to see whether the groups exist that the settings name", region, "rds:DescribeDBSubnetGroups")
	if p.set.ParameterGroup != "" {
		p.Look("to see whether the parameter group exists", region, "rds:DescribeDBParameterGroups")
	}
	if p.set.OptionGroup != "" {
		p.Look("to see whether the option group exists", region, "rds:DescribeOptionGroups")
	}
	p.Look("to see what AWS offers and how much of it may be used", preflight.Any, "rds:DescribeAccountAttributes", "rds:DescribeOrderableDBInstanceOptions")
	if len(p.set.SecurityGroups) > 0 || p.set.Drill != nil || p.set.Fence != nil {
		p.Look("to see whether the security groups exist, and in which network", preflight.Any, "ec2:DescribeSecurityGroups")
	}
	if p.set.KMSKey != "" {
		p.Look("to see whether the key can be used", p.key(), "kms:DescribeKey")
	}
}

// key is the ARN of the site's key.
func (p page) key() []string { return []string{p.KeyARN(p.set.KMSKey)} }

func (p page) captures() {
	p.Change("to make snapshots", append(p.db(p.set.Instance), p.snapshots()...), "rds:CreateDBSnapshot")
	p.Tags("rds:CreateDBSnapshot", p.snapshots())
}

// copies are the calls that bring snapshots of another site here; AWS asks the other region with this site's permissions.
func (p page) copies(from page) {
	on := append(p.snapshots(), from.snapshots()...)
	if p.set.OptionGroup != "" {
		on = append(on, p.ARN("rds", "og:*"))
	}
	p.Change("to copy snapshots", on, "rds:CopyDBSnapshot")
	p.Tags("rds:CopyDBSnapshot", p.snapshots())
	p.ChangeOurs("to make a copy again that has failed", p.snapshots(), "rds:DeleteDBSnapshot")
	p.Encrypts("rds:CopyDBSnapshot", p.set.KMSKey)
}

func (p page) expires() {
	p.ChangeOurs("to delete snapshots that need not be kept", p.snapshots(), "rds:DeleteDBSnapshot")
}

// launches are the calls that restore an instance; toTime says that it may be to a time.
func (p page) launches(name string, toTime bool) {
	on := append(p.db(name), p.groups()...)
	p.Change("to restore a snapshot", append(p.snapshots(), on...), "rds:RestoreDBInstanceFromDBSnapshot")
	p.Tags("rds:RestoreDBInstanceFromDBSnapshot", p.db(name))
	p.Encrypts("rds:RestoreDBInstanceFromDBSnapshot", p.set.KMSKey)
	if toTime {
		p.Change("to restore to a time", append(on, p.db(p.set.Instance)...), "rds:RestoreDBInstanceToPointInTime")
	}
	p.discards(name)
}

// keepsPassword is what a call needs besides where AWS is to keep the master password.
func (p page) keepsPassword(call string) {
	if p.set.ManagePassword {
		p.Secret(call)
	}
}

// discards are the calls that delete what never came up, so that it can be made again.
func (p page) discards(name string) {
	p.ChangeOurs("to delete what never came up, and make it again", p.db(name), "rds:DeleteDBInstance")
	if p.set.DeletionProtection {
		p.ChangeOurs("to lift the deletion protection of what never came up", p.db(name), "rds:ModifyDBInstance")
	}
}

// follows are the calls that make a replica here of another site's instance; AWS asks the other region with this site's permissions.
func (p page) follows(from page) {
	mine := p.db(p.set.Instance)
	p.Change("to make a replica", slices.Concat(mine, from.db(from.set.Instance), p.groups()), "rds:CreateDBInstanceReadReplica")
	p.Tags("rds:CreateDBInstanceReadReplica", mine)
	p.Encrypts("rds:CreateDBInstanceReadReplica", p.set.KMSKey)
	if p.set.ParameterGroup != "" {
		p.Change("to give the replica its parameter group", append(p.groups(), mine...), "rds:ModifyDBInstance")
		p.Change("to give the replica its parameter group", mine, "rds:RebootDBInstance")
	}
	p.discards(p.set.Instance)
}

// groups are those of settings and networks that instances are restored with.
func (p page) groups() []string {
	return []string{p.ARN("rds", "subgrp:*"), p.ARN("rds", "pg:*"), p.ARN("rds", "og:*")}
}

func (p page) removes(names ...string) {
	p.ChangeOurs("to remove what was only looked at", p.db(names...), "rds:DeleteDBInstance")
}

func (p page) proves() {
	p.launches(p.apart("prove"), false)
	p.removes(p.apart("prove"))
	p.ChangeOurs("to write down what a proof came to", p.snapshots(), "rds:AddTagsToResource")
}

// regroups are the calls that move an instance between security groups.
func (p page) regroups() {
	p.Change("to shut clients out of the instance, and to let them in again", p.db(p.set.Instance), "rds:ModifyDBInstance", "rds:AddTagsToResource")
}

func (p page) fences() {
	p.regroups()
	p.Change("to end the sessions that are open", p.db(p.set.Instance), "rds:RebootDBInstance")
}

var _ driver.Permitter = (*Driver)(nil)
