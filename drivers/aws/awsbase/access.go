package awsbase

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// How long calls take at most where an Access says nothing else.
const (
	DefaultAttempt  = 8 * time.Second
	DefaultDeadline = 25 * time.Second
)

// Access says where a site is in AWS, and how to become somebody there. It holds no secret, only references to them.
//
// The first identity is AccessKey and SecretKey, or Profile, or what the SDK finds by itself (environment, shared files, web
// identity, the machine's or the container's role). Roles are then assumed one after the other.
type Access struct {
	Account      string            `json:"account" jsonschema:"description=the account's 12 digits; calls that would be made as another account are refused"`
	Region       string            `json:"region" jsonschema:"description=the region such as eu-west-1 or cn-north-1"`
	Profile      string            `json:"profile,omitempty" jsonschema:"description=a profile of ~/.aws/config to begin with"`
	AccessKey    secret.Ref        `json:"access_key,omitempty" jsonschema:"description=a reference to an access key to begin with: env:NAME file:PATH or exec:COMMAND"`
	SecretKey    secret.Ref        `json:"secret_key,omitempty" jsonschema:"description=a reference to its secret key"`
	SessionToken secret.Ref        `json:"session_token,omitempty" jsonschema:"description=a reference to its session token when it is a temporary one"`
	Roles        []Role            `json:"roles,omitempty" jsonschema:"description=roles to assume one after the other; the last one is in the account"`
	Endpoint     string            `json:"endpoint,omitempty" jsonschema:"description=where all services are reached instead of AWS's own endpoints"`
	Endpoints    map[string]string `json:"endpoints,omitempty" jsonschema:"description=where single services are reached: rds sts elasticache route53 cloudformation cloudwatch ssm ec2 iam kms servicequotas"`
	Attempt      model.Duration    `json:"attempt,omitempty" jsonschema:"description=how long one attempt of a call may take (default: 8s)"`
	Deadline     model.Duration    `json:"deadline,omitempty" jsonschema:"description=how long a call may take with all its attempts (default: 25s)"`
}

// Role is one to assume.
type Role struct {
	ARN        string     `json:"arn" jsonschema:"description=the role"`
	ExternalID secret.Ref `json:"external_id,omitempty" jsonschema:"description=a reference to the external id that the role's trust policy asks for"`
}

// Services are those that clients exist for, by the names that IAM, Access.Endpoints and rates know them by.
func Services() []string {
	return []string{"cloudformation", "cloudwatch", "ec2", "elasticache", "iam", "kms", "rds", "route53", "servicequotas", "ssm", "sts"}
}

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`)
	roleForm    = regexp.MustCompile(`^arn:(aws[a-z-]*):iam::([0-9]{12}):role/.+$`)
)

// Validate says what is wrong with an Access, as failure.Invalid.
func (a Access) Validate() error {
	invalid := func(hint, format string, args ...any) error {
		return failure.New(failure.Invalid, "", "", format, args...).WithHint("%s", hint)
	}
	switch {
	case a.Account == "" && a.Region == "":
		return invalid("say them at the resource's site, or under sites of the file for all resources", "the account and the region are missing")
	case !accountForm.MatchString(a.Account):
		return invalid("write account: \"123456789012\", with the quotes: a number would lose leading zeros", "account %q is not 12 digits", a.Account)
	case !regionForm.MatchString(a.Region):
		return invalid("write a region's code, such as eu-west-1", "region %q is not a region's code", a.Region)
	case (a.AccessKey == "") != (a.SecretKey == ""):
		return invalid("give both or neither", "access_key and secret_key go together")
	case a.SessionToken != "" && a.AccessKey == "":
		return invalid("give access_key and secret_key too", "session_token belongs to an access key")
	case a.AccessKey != "" && a.Profile != "":
		return invalid("drop one of them", "profile and access_key are two identities to begin with")
	case a.Attempt < 0 || a.Deadline < 0:
		return invalid("write a time such as 10s", "attempt and deadline cannot be negative")
	case a.attempt() > a.deadline():
		return invalid("make the deadline longer, or the attempt shorter", "one attempt (%s) may take longer than the whole call (%s)", a.attempt(), a.deadline())
	}
	for i, r := range a.Roles {
		found := roleForm.FindStringSubmatch(r.ARN)
		if found == nil {
			return invalid("write arn:aws:iam::123456789012:role/name", "role %q is not the ARN of a role", r.ARN)
		}
		if want := PartitionOf(a.Region); found[1] != want {
			return invalid("a role works in its own partition only", "role %s is in the partition %s, and region %s in %s", r.ARN, found[1], a.Region, want)
		}
		if i == len(a.Roles)-1 && found[2] != a.Account {
			return invalid("the last role decides the account", "role %s is in account %s, not in %s", r.ARN, found[2], a.Account)
		}
	}
	if err := endpoint(a.Endpoint); err != nil {
		return err
	}
	for service, at := range a.Endpoints {
		if !slices.Contains(Services(), service) {
			return invalid("there are: "+strings.Join(Services(), ", "), "endpoints: unknown service %q", service)
		}
		if err := endpoint(at); err != nil {
			return err
		}
	}
	return nil
}

// endpoint refuses what is no URL of a host, without repeating it when there may be a password in it.
func endpoint(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return failure.New(failure.Invalid, "", "", "an endpoint is not of the form https://host:port").WithHint("credentials are given by access_key and secret_key")
	}
	return nil
}

func (a Access) attempt() time.Duration {
	if a.Attempt == 0 {
		return min(DefaultAttempt, a.deadline())
	}
	return time.Duration(a.Attempt)
}

func (a Access) deadline() time.Duration {
	if a.Deadline == 0 {
		return max(DefaultDeadline, time.Duration(a.Attempt))
	}
	return time.Duration(a.Deadline)
}

// Holder is as whom calls are made, for people and for policies: a role's ARN, or in words what the access begins with.
func (a Access) Holder() string {
	if n := len(a.Roles); n > 0 {
		return a.Roles[n-1].ARN
	}
	return a.first()
}

func (a Access) first() string {
	switch {
	case a.AccessKey != "":
		return "the owner of the access key " + string(a.AccessKey)
	case a.Profile != "":
		return "the profile " + a.Profile
	}
	return "the identity that the machine gives"
}

// Chain lists who assumes which role on the way to Holder: pairs of a holder and a role's ARN.
func (a Access) Chain() (steps [][2]string) {
	holder := a.first()
	for _, r := range a.Roles {
		steps = append(steps, [2]string{holder, r.ARN})
		holder = r.ARN
	}
	return steps
}

// at is where a service is reached, or "" for AWS's own endpoint.
func (a Access) at(service string) string {
	if e := a.Endpoints[service]; e != "" {
		return e
	}
	return a.Endpoint
}

// PartitionOf is the partition that a region is in: aws, aws-cn, aws-us-gov, or one of the sovereign ones. The prefixes are
// those of the SDK's partition table.
func PartitionOf(region string) string {
	for _, p := range []struct{ prefix, partition string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"us-isob-", "aws-iso-b"}, {"us-isof-", "aws-iso-f"}, {"us-iso-", "aws-iso"},
		{"eu-isoe-", "aws-iso-e"}, {"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}
