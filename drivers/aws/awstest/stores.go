package awstest

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Export is an output that a CloudFormation stack exports.
type Export struct{ Name, Value, StackID string }

// Export makes a stack export a value in a region, or another value than before.
func (w *World) Export(acct, in, name, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.region(acct, in)
	for i := range r.exports {
		if r.exports[i].Name == name {
			r.exports[i].Value = value
			return
		}
	}
	r.exports = append(r.exports, Export{name, value, r.arn("cloudformation", "stack/app/"+strconv.Itoa(w.next()))})
}

func stackActions() map[string]action {
	return map[string]action{"ListExports": {"NextToken", listExports}}
}

// exportsPage is how many exports one answer holds (AWS CloudFormation API Reference).
const exportsPage = 100

func listExports(c *call) (any, error) {
	type export struct{ ExportingStackId, Name, Value string }
	var out struct {
		Exports   []export `xml:"Exports>member"`
		NextToken string   `xml:",omitempty"`
	}
	from, err := strconv.Atoi(c.p.strOr("NextToken", "0"))
	if err != nil || from > len(c.r.exports) || from < 0 {
		return nil, refuse("ValidationError", "NextToken is invalid")
	}
	until := min(len(c.r.exports), from+exportsPage)
	for _, e := range c.r.exports[from:until] {
		out.Exports = append(out.Exports, export{e.StackID, e.Name, e.Value})
	}
	if until < len(c.r.exports) {
		out.NextToken = strconv.Itoa(until)
	}
	return out, nil
}

// parameter is one of Systems Manager.
type parameter struct {
	name, kind string
	versions   []string
	changed    time.Time
}

// Parameter sets a parameter of Systems Manager: a new version, of type SecureString or String.
func (w *World) Parameter(acct, in, name, value string, secure bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := "String"
	if secure {
		kind = "SecureString"
	}
	w.region(acct, in).parameter(w.opts.Now(), name, value, kind)
}

func (r *region) parameter(now time.Time, name, value, kind string) *parameter {
	p := r.params[name]
	if p == nil {
		p = &parameter{name: name}
		r.params[name] = p
	}
	p.kind, p.changed = kind, now
	p.versions = append(p.versions, value)
	return p
}

func parameterActions() map[string]action {
	return map[string]action{
		"GetParameter":  {"Name! WithDecryption", getParameter},
		"GetParameters": {"Names! WithDecryption", getParameters},
		"PutParameter":  {"Name! Value! Type Overwrite", putParameter},
	}
}

// shown is a parameter in an answer.
type shown struct {
	Name, Type, Value, ARN, DataType string
	Version                          int
	LastModifiedDate                 float64
}

// find looks a parameter up by name, with a version after a colon, or by ARN.
func (r *region) find(name string, clear bool) (shown, error) {
	if _, service, _, _, resource := splitARN(name); service == "ssm" {
		name = strings.TrimPrefix(resource, "parameter")
	}
	bare, at, versioned := strings.Cut(name, ":")
	p := r.params[bare]
	if p == nil {
		return shown{}, refuse("ParameterNotFound", "Parameter %s not found.", bare)
	}
	version := len(p.versions)
	if versioned {
		n, err := strconv.Atoi(at)
		if err != nil || n < 1 || n > version {
			return shown{}, refuse("ParameterVersionNotFound", "Systems Manager could not find version %s of %s.", at, bare)
		}
		version = n
	}
	value := p.versions[version-1]
	if p.kind == "SecureString" && !clear {
		value = "AQICAHencrypted"
	}
	return shown{
		Name: p.name, Type: p.kind, Value: value, ARN: r.arn("ssm", "parameter/"+strings.TrimPrefix(p.name, "/")), DataType: "text",
		Version: version, LastModifiedDate: float64(p.changed.UnixMilli()) / 1000,
	}, nil
}

func getParameter(c *call) (any, error) {
	p, err := c.r.find(c.p.str("Name"), c.p.flag("WithDecryption", false))
	return struct{ Parameter shown }{p}, err
}

func getParameters(c *call) (any, error) {
	out := struct {
		Parameters        []shown
		InvalidParameters []string
	}{[]shown{}, []string{}}
	names := c.p.list("Names")
	if len(names) > 10 {
		return nil, refuse("ValidationException", "Names: at most 10")
	}
	for _, name := range names {
		if p, err := c.r.find(name, c.p.flag("WithDecryption", false)); err == nil {
			out.Parameters = append(out.Parameters, p)
		} else {
			out.InvalidParameters = append(out.InvalidParameters, name)
		}
	}
	return out, nil
}

func putParameter(c *call) (any, error) {
	name := c.p.str("Name")
	if c.r.params[name] != nil && !c.p.flag("Overwrite", false) {
		return nil, refuse("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
	}
	p := c.r.parameter(c.now, name, c.p.str("Value"), c.p.strOr("Type", "String"))
	return struct {
		Version int
		Tier    string
	}{len(p.versions), "Standard"}, nil
}

// network is what EC2 says of a region's networks.
type network struct {
	vpc     string
	subnets []subnet
	groups  []securityGroup
}

type subnet struct {
	SubnetId         string `xml:"subnetId"`
	State            string `xml:"state"`
	VpcId            string `xml:"vpcId"`
	CidrBlock        string `xml:"cidrBlock"`
	Available        int    `xml:"availableIpAddressCount"`
	AvailabilityZone string `xml:"availabilityZone"`
}

type securityGroup struct {
	OwnerId     string `xml:"ownerId"`
	GroupId     string `xml:"groupId"`
	GroupName   string `xml:"groupName"`
	Description string `xml:"groupDescription"`
	VpcId       string `xml:"vpcId"`
}

// Network names a region's VPC, its subnets (one in each availability zone) and its security groups: the default one, and one
// for databases.
func (w *World) Network(acct, in string) (vpc string, subnets, groups []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.region(acct, in)
	for _, s := range r.net.subnets {
		subnets = append(subnets, s.SubnetId)
	}
	for _, g := range r.net.groups {
		groups = append(groups, g.GroupId)
	}
	return r.net.vpc, subnets, groups
}

// furnish gives a new region its network, keys and groups.
func (r *region) furnish() {
	w := r.w
	r.net.vpc = w.id("vpc")
	for i, zone := range []string{"a", "b", "c"} {
		r.net.subnets = append(r.net.subnets, subnet{w.id("subnet"), "available", r.net.vpc, "172.31." + strconv.Itoa(16*i) + ".0/20", 4091, r.name + zone})
	}
	for _, name := range []string{"default", "databases"} {
		r.net.groups = append(r.net.groups, securityGroup{r.acct.id, w.id("sg"), name, name + " group", r.net.vpc})
	}
	r.key("aws/rds")
	r.key("aws/elasticache")
	r.rds.furnish(r)
	r.cache.furnish(r)
}

func networkActions() map[string]action {
	return map[string]action{
		"DescribeSubnets":           {"SubnetId Filter MaxResults NextToken", describeSubnets},
		"DescribeVpcs":              {"VpcId Filter MaxResults NextToken", describeVpcs},
		"DescribeSecurityGroups":    {"GroupId Filter MaxResults NextToken", describeSecurityGroups},
		"DescribeAvailabilityZones": {"Filter ZoneName AllAvailabilityZones", describeAvailabilityZones},
	}
}

// picked keeps what is named and what passes the filters; a name that is not there is an error.
func picked[T any](c *call, items []T, parameter, missing string, id func(T) string, facts func(T) map[string]string) ([]T, error) {
	wanted := c.p.list(parameter)
	var out []T
	for _, item := range items {
		if wanted != nil && !slices.Contains(wanted, id(item)) {
			continue
		}
		wanted = slices.DeleteFunc(wanted, func(w string) bool { return w == id(item) })
		keep := true
		for name, values := range c.p.filters("Filter") {
			fact, ok := facts(item)[name]
			if !ok {
				return nil, refuse("NotImplemented", "awstest does not model the filter %s", name)
			}
			keep = keep && slices.Contains(values, fact)
		}
		if keep {
			out = append(out, item)
		}
		if wanted != nil && len(wanted) == 0 {
			break
		}
	}
	if len(wanted) > 0 {
		return nil, refuse(missing, "The ID '%s' does not exist", wanted[0])
	}
	return out, nil
}

func describeSubnets(c *call) (any, error) {
	found, err := picked(c, c.r.net.subnets, "SubnetId", "InvalidSubnetID.NotFound", func(s subnet) string { return s.SubnetId }, func(s subnet) map[string]string {
		return map[string]string{"vpc-id": s.VpcId, "availability-zone": s.AvailabilityZone, "subnet-id": s.SubnetId, "state": s.State}
	})
	return struct {
		RequestId string   `xml:"requestId"`
		SubnetSet []subnet `xml:"subnetSet>item"`
	}{c.id, found}, err
}

func describeVpcs(c *call) (any, error) {
	type vpc struct {
		VpcId     string `xml:"vpcId"`
		State     string `xml:"state"`
		CidrBlock string `xml:"cidrBlock"`
		IsDefault bool   `xml:"isDefault"`
	}
	found, err := picked(c, []vpc{{c.r.net.vpc, "available", "172.31.0.0/16", true}}, "VpcId", "InvalidVpcID.NotFound", func(v vpc) string { return v.VpcId }, func(v vpc) map[string]string {
		return map[string]string{"vpc-id": v.VpcId, "state": v.State, "is-default": strconv.FormatBool(v.IsDefault)}
	})
	return struct {
		RequestId string `xml:"requestId"`
		VpcSet    []vpc  `xml:"vpcSet>item"`
	}{c.id, found}, err
}

func describeSecurityGroups(c *call) (any, error) {
	found, err := picked(c, c.r.net.groups, "GroupId", "InvalidGroup.NotFound", func(g securityGroup) string { return g.GroupId }, func(g securityGroup) map[string]string {
		return map[string]string{"vpc-id": g.VpcId, "group-name": g.GroupName, "group-id": g.GroupId}
	})
	return struct {
		RequestId string          `xml:"requestId"`
		Groups    []securityGroup `xml:"securityGroupInfo>item"`
	}{c.id, found}, err
}

func describeAvailabilityZones(c *call) (any, error) {
	type zone struct {
		ZoneName   string `xml:"zoneName"`
		ZoneState  string `xml:"zoneState"`
		RegionName string `xml:"regionName"`
		ZoneType   string `xml:"zoneType"`
	}
	zones := map[string]zone{}
	for _, s := range c.r.net.subnets {
		zones[s.AvailabilityZone] = zone{s.AvailabilityZone, "available", c.r.name, "availability-zone"}
	}
	found, err := picked(c, slices.SortedFunc(maps.Values(zones), func(a, b zone) int { return strings.Compare(a.ZoneName, b.ZoneName) }), "ZoneName", "InvalidParameterValue",
		func(z zone) string { return z.ZoneName }, func(z zone) map[string]string {
			return map[string]string{"region-name": z.RegionName, "state": z.ZoneState, "zone-name": z.ZoneName, "zone-type": z.ZoneType}
		})
	return struct {
		RequestId string `xml:"requestId"`
		Zones     []zone `xml:"availabilityZoneInfo>item"`
	}{c.id, found}, err
}
