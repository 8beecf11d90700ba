package config

import (
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// The types of this file are the shape of lifeboat.yaml: the loader fills them, and the JSON Schema is made of them, so
// that the two cannot drift apart. What a field means, its default included, stands in its description. A Node is the
// place of the mapping that a struct was filled from; it is nil when the file has something else there.

type document struct {
	Node    *node               `json:"-"`
	Version int                 `json:"version" jsonschema:"required,enum=1" jsonschema_description:"The version of this format: 1."`
	State   string              `json:"state,omitempty" jsonschema:"minLength=1" jsonschema_description:"The state folder: journal, archive, reports, signing key. Relative to this file. Default .lifeboat."`
	Journal *journalDoc         `json:"journal,omitempty" jsonschema_description:"An etcd of yours to record runs in, instead of the one in the state folder."`
	Limits  limitsDoc           `json:"limits,omitempty" jsonschema_description:"How many steps run at once. Without a limit, all that can."`
	Sites   map[string]siteDoc  `json:"sites" jsonschema:"required" jsonschema_description:"The failure domains, by name: a data centre, an account and region, a cluster, a group of hosts."`
	Vaults  map[string]vaultDoc `json:"vaults,omitempty" jsonschema_description:"Where recovery points' bytes are kept, by name: repositories in restic's format."`
	Apps    map[string]appDoc   `json:"apps,omitempty" jsonschema_description:"What the business wants back, by name. A file whose plans are StatePayload documents may have none."`
	Plans   map[string]planDoc  `json:"plans,omitempty" jsonschema_description:"Plans of your own, by name, which may call each other and the operations of apps."`
}

type journalDoc struct {
	Node      *node      `json:"-"`
	Endpoints []string   `json:"endpoints" jsonschema:"required,minItems=1" jsonschema_description:"The members' client URLs, such as https://etcd-1:2379."`
	Prefix    string     `json:"prefix,omitempty" jsonschema:"minLength=1" jsonschema_description:"What all keys begin with. Default /lifeboat/."`
	CA        string     `json:"ca,omitempty" jsonschema:"minLength=1" jsonschema_description:"The file of the authority that signed the members' certificates. Relative to this file. Default: the system's."`
	Cert      string     `json:"cert,omitempty" jsonschema:"minLength=1" jsonschema_description:"The file of the client certificate. Relative to this file. Needs key."`
	Key       string     `json:"key,omitempty" jsonschema:"minLength=1" jsonschema_description:"The file of the client certificate's key. Relative to this file. Needs cert."`
	Username  string     `json:"username,omitempty" jsonschema:"minLength=1" jsonschema_description:"The etcd user. Needs password."`
	Password  secret.Ref `json:"password,omitempty" jsonschema_description:"The etcd user's password, as a reference. Needs username."`
}

type limitsDoc struct {
	Node  *node          `json:"-"`
	Steps int            `json:"steps,omitempty" jsonschema:"minimum=1" jsonschema_description:"Steps at once in one run."`
	Sites map[string]int `json:"sites,omitempty" jsonschema_description:"Steps at once that act at a site, by site."`
	Kinds map[string]int `json:"kinds,omitempty" jsonschema_description:"Steps at once on resources of a kind, by kind."`
}

type siteDoc struct {
	Node        *node  `json:"-"`
	Description string `json:"description,omitempty" jsonschema_description:"For people: what and where it is."`
	AWS         *node  `json:"aws,omitempty" jsonschema_description:"Where it is in AWS and how to become somebody there: for all resources of kinds aws.* that do not say it themselves."`
}

type vaultDoc struct {
	Node         *node          `json:"-"`
	URL          string         `json:"url" jsonschema:"required,minLength=1" jsonschema_description:"Where it is, in restic's spelling: a folder, s3:https://host/bucket/prefix, rest:https://host:8000/user/. A folder is relative to this file."`
	Password     secret.Ref     `json:"password" jsonschema:"required" jsonschema_description:"The repository's password, as a reference."`
	Replicas     []string       `json:"replicas,omitempty" jsonschema:"minItems=1" jsonschema_description:"Vaults that hold copies of this one: kept in step after each capture, and read when something here is damaged or gone."`
	Site         string         `json:"site,omitempty" jsonschema_description:"The site that it fails together with, if any."`
	Retain       model.Duration `json:"retain,omitempty" jsonschema_description:"On a bucket with Object Lock: how long each object is kept from deletion, renewed while it is needed. Default: not locked."`
	CA           string         `json:"ca,omitempty" jsonschema:"minLength=1" jsonschema_description:"The file of the authority that signed the server's certificate. Relative to this file. Default: the system's."`
	Cert         string         `json:"cert,omitempty" jsonschema:"minLength=1" jsonschema_description:"The file of the client certificate. Relative to this file. Needs key."`
	Key          string         `json:"key,omitempty" jsonschema:"minLength=1" jsonschema_description:"The file of the client certificate's key. Relative to this file. Needs cert."`
	User         string         `json:"user,omitempty" jsonschema:"minLength=1" jsonschema_description:"The user of a rest server. Needs user_password."`
	UserPassword secret.Ref     `json:"user_password,omitempty" jsonschema_description:"The user's password, as a reference. Needs user."`
	S3           *s3Doc         `json:"s3,omitempty" jsonschema_description:"How a bucket is reached. Default: the AWS credential chain."`
	Connections  int            `json:"connections,omitempty" jsonschema:"minimum=1" jsonschema_description:"Calls at once. Default: what the place is good for."`
	Upload       int64          `json:"upload,omitempty" jsonschema:"minimum=1" jsonschema_description:"The most that is sent, in KiB a second. Default: no limit."`
	Download     int64          `json:"download,omitempty" jsonschema:"minimum=1" jsonschema_description:"The most that is received, in KiB a second. Default: no limit."`
	Cache        string         `json:"cache,omitempty" jsonschema:"minLength=1" jsonschema_description:"A folder for copies of metadata, or none. Default: the user's cache folder."`
}

type s3Doc struct {
	Node         *node      `json:"-"`
	Region       string     `json:"region,omitempty" jsonschema:"minLength=1" jsonschema_description:"The bucket's region."`
	Profile      string     `json:"profile,omitempty" jsonschema:"minLength=1" jsonschema_description:"A profile of the AWS configuration."`
	Role         string     `json:"role,omitempty" jsonschema:"minLength=1" jsonschema_description:"The ARN of a role to assume."`
	ExternalID   string     `json:"external_id,omitempty" jsonschema:"minLength=1" jsonschema_description:"The external id that the role asks for. Needs role."`
	AccessKey    secret.Ref `json:"access_key,omitempty" jsonschema_description:"The access key, as a reference. Needs secret_key."`
	SecretKey    secret.Ref `json:"secret_key,omitempty" jsonschema_description:"The secret key, as a reference. Needs access_key."`
	SessionToken secret.Ref `json:"session_token,omitempty" jsonschema_description:"The session token, as a reference. Needs access_key."`
	Style        string     `json:"style,omitempty" jsonschema:"enum=path,enum=virtual-host" jsonschema_description:"Where the bucket's name stands. Default: what the host suggests."`
	StorageClass string     `json:"storage_class,omitempty" jsonschema:"minLength=1" jsonschema_description:"The storage class of packs."`
}

type appDoc struct {
	Node      *node                  `json:"-"`
	Home      string                 `json:"home" jsonschema:"required" jsonschema_description:"The site where the app normally serves."`
	Recovery  []string               `json:"recovery" jsonschema:"required,minItems=1" jsonschema_description:"The sites where it can be recovered, the preferred one first."`
	Objective objectiveDoc           `json:"objective,omitempty" jsonschema_description:"What may be lost. Reports compare it with what was measured."`
	Protect   protectDoc             `json:"protect,omitempty" jsonschema_description:"What lifeboat protect does between operations."`
	Probe     *probeDoc              `json:"probe,omitempty" jsonschema_description:"The question that a client of the app asks. It is asked during operations and measures the RTO."`
	Approvals map[string]int         `json:"approvals,omitempty" jsonschema_description:"How many people must approve before an operation's first outage step, by operation. Default 0."`
	Resources map[string]resourceDoc `json:"resources" jsonschema:"required" jsonschema_description:"What the app consists of, by name."`
	Checks    []checkDoc             `json:"checks,omitempty" jsonschema_description:"Questions asked of the whole app at the end of an operation."`
}

type objectiveDoc struct {
	RTO *model.Duration `json:"rto,omitempty" jsonschema_description:"The longest time without service, more than 0s. Default: no objective."`
	RPO *model.Duration `json:"rpo,omitempty" jsonschema_description:"The longest time whose writes may be lost; 0s is none. Default: no objective."`
}

type protectDoc struct {
	Marker model.Duration `json:"marker,omitempty" jsonschema_description:"The interval between markers. Default: one for each lifeboat protect."`
	Probe  model.Duration `json:"probe,omitempty" jsonschema_description:"The interval between probes. Needs a probe."`
	pointsDoc
}

// pointsDoc is when recovery points are made, and which stay.
type pointsDoc struct {
	Schedule string    `json:"schedule,omitempty" jsonschema:"minLength=1" jsonschema_description:"When recovery points are made: a cron expression of five fields in UTC, or @hourly, @daily, @every 15m. Default: only when asked."`
	Keep     *keepDoc  `json:"keep,omitempty" jsonschema_description:"Which recovery points stay: those that one of these keeps. Default: all."`
	Prove    *proveDoc `json:"prove,omitempty" jsonschema_description:"Which recovery points are proved by a real restore, and when. Default: only when asked."`
}

// proveDoc has the fields of model.ProvePolicy.
type proveDoc struct {
	Every    string   `json:"every,omitempty" jsonschema:"pattern=^(newest|all|(100|[1-9][0-9]?)%)$" jsonschema_description:"Which points a round proves: newest, all, or a share such as 20%, those proved longest ago first. Default newest."`
	Schedule string   `json:"schedule,omitempty" jsonschema:"minLength=1" jsonschema_description:"When a round is due: a cron expression of five fields in UTC, or @daily, @every 6h. Default: only when asked."`
	Checks   []string `json:"checks,omitempty" jsonschema:"minItems=1" jsonschema_description:"Questions to the restored copy, such as SQL queries. Each passes when it answers true."`
}

// keepDoc has the fields of model.Retention.
type keepDoc struct {
	Last          int        `json:"last,omitempty" jsonschema:"minimum=1" jsonschema_description:"The newest so many."`
	Hourly        int        `json:"hourly,omitempty" jsonschema:"minimum=1" jsonschema_description:"The newest of each of the last so many hours that have one."`
	Daily         int        `json:"daily,omitempty" jsonschema:"minimum=1" jsonschema_description:"The newest of each of the last so many days that have one."`
	Weekly        int        `json:"weekly,omitempty" jsonschema:"minimum=1" jsonschema_description:"The newest of each of the last so many weeks that have one."`
	Monthly       int        `json:"monthly,omitempty" jsonschema:"minimum=1" jsonschema_description:"The newest of each of the last so many months that have one."`
	Yearly        int        `json:"yearly,omitempty" jsonschema:"minimum=1" jsonschema_description:"The newest of each of the last so many years that have one."`
	Within        string     `json:"within,omitempty" jsonschema:"minLength=1" jsonschema_description:"All that are not older than this, as seen from the newest, such as 2y5m7d3h."`
	WithinHourly  string     `json:"within_hourly,omitempty" jsonschema:"minLength=1" jsonschema_description:"Of those not older than this, the newest of each hour."`
	WithinDaily   string     `json:"within_daily,omitempty" jsonschema:"minLength=1" jsonschema_description:"Of those not older than this, the newest of each day."`
	WithinWeekly  string     `json:"within_weekly,omitempty" jsonschema:"minLength=1" jsonschema_description:"Of those not older than this, the newest of each week."`
	WithinMonthly string     `json:"within_monthly,omitempty" jsonschema:"minLength=1" jsonschema_description:"Of those not older than this, the newest of each month."`
	WithinYearly  string     `json:"within_yearly,omitempty" jsonschema:"minLength=1" jsonschema_description:"Of those not older than this, the newest of each year."`
	Tags          [][]string `json:"tags,omitempty" jsonschema:"minItems=1" jsonschema_description:"Those that have all tags of one of these lists."`
}

type probeDoc struct {
	Node     *node  `json:"-"`
	Name     string `json:"name,omitempty" jsonschema:"minLength=1" jsonschema_description:"For people. Default probe."`
	Kind     string `json:"kind" jsonschema:"required" jsonschema_description:"A kind that can be asked at any time."`
	Settings *node  `json:"settings,omitempty" jsonschema_description:"The kind's settings. References to outputs cannot stand here."`
}

type resourceDoc struct {
	Node     *node            `json:"-"`
	Kind     string           `json:"kind" jsonschema:"required" jsonschema_description:"The kind of resource, which decides its settings."`
	Needs    []string         `json:"needs,omitempty" jsonschema_description:"Resources of this app that must be there first. Their outputs can be used in settings as ${name.output}."`
	Settings *node            `json:"settings,omitempty" jsonschema_description:"The kind's settings, at all sites."`
	Sites    map[string]*node `json:"sites,omitempty" jsonschema_description:"The kind's settings at each site: the home and every recovery site, where the kind has any."`
	Vault    string           `json:"vault,omitempty" jsonschema:"minLength=1" jsonschema_description:"The vault that keeps its recovery points."`
	Protect  pointsDoc        `json:"protect,omitempty" jsonschema_description:"When its recovery points are made and which stay. Default: what the app's protect says."`
	Checks   []checkDoc       `json:"checks,omitempty" jsonschema_description:"Questions asked of the recovered resource before what needs it goes on."`
	Hooks    []hookDoc        `json:"hooks,omitempty" jsonschema_description:"Steps of your own before or after the resource's."`
	Timeout  model.Duration   `json:"timeout,omitempty" jsonschema_description:"How long one attempt of each of its steps may take. Default: the kind's."`
}

type checkDoc struct {
	Node     *node          `json:"-"`
	Name     string         `json:"name" jsonschema:"required,minLength=1" jsonschema_description:"What is asked, for people. Unique in its list."`
	Kind     string         `json:"kind" jsonschema:"required" jsonschema_description:"A kind that can verify."`
	Settings *node          `json:"settings,omitempty" jsonschema_description:"The kind's settings."`
	Within   model.Duration `json:"within,omitempty" jsonschema_description:"How long it is asked again until it passes, more than 0s. Default 10s."`
	On       []string       `json:"on,omitempty" jsonschema:"minItems=1" jsonschema_description:"The operations at which it is asked. Default: all."`
}

type hookDoc struct {
	Node   *node    `json:"-"`
	Before string   `json:"before,omitempty" jsonschema_description:"The action of the resource that waits for the step."`
	After  string   `json:"after,omitempty" jsonschema_description:"The action of the resource that the step waits for."`
	On     []string `json:"on,omitempty" jsonschema:"minItems=1" jsonschema_description:"The operations in which it runs. Default: all that have the action."`
	Step   hookStep `json:"step" jsonschema:"required" jsonschema_description:"What is done."`
}

type hookStep struct {
	Node *node  `json:"-"`
	Name string `json:"name" jsonschema:"required,minLength=1" jsonschema_description:"What it does, for people."`
	Work
}

type planDoc struct {
	Node         *node       `json:"-"`
	Steps        []stepDoc   `json:"steps,omitempty" jsonschema:"minItems=1" jsonschema_description:"Either: the steps. What does not need each other runs at once."`
	StatePayload string      `json:"state_payload,omitempty" jsonschema:"minLength=1" jsonschema_description:"Or: the file of a StatePayload document of AWS's DR Orchestrator Framework, which is run as it is. Relative to this file."`
	Site         string      `json:"site,omitempty" jsonschema_description:"Of a document: the site that it runs at, where databases are brought up or made to follow again."`
	Peer         string      `json:"peer,omitempty" jsonschema_description:"Of a document: the other site. Default: the only other one that is in AWS."`
	Isolated     *networkDoc `json:"isolated,omitempty" jsonschema_description:"Of a document that deletes old primaries: where their last snapshots are restored first, to prove them."`
	Fence        *fenceDoc   `json:"fence,omitempty" jsonschema_description:"Of a document with instances of RDS: how everybody is shut out of the old primaries."`
}

type networkDoc struct {
	Node           *node    `json:"-"`
	SubnetGroup    string   `json:"subnet_group" jsonschema:"required,minLength=1" jsonschema_description:"A DB subnet group without a way to anywhere else."`
	SecurityGroups []string `json:"security_groups" jsonschema:"required,minItems=1" jsonschema_description:"The ids of security groups of the same network."`
}

type fenceDoc struct {
	Node           *node    `json:"-"`
	SecurityGroups []string `json:"security_groups" jsonschema:"required,minItems=1" jsonschema_description:"The ids of security groups that let nobody in."`
}

type stepDoc struct {
	Node  *node    `json:"-"`
	Name  string   `json:"name" jsonschema:"required" jsonschema_description:"The step's name, unique in its plan."`
	Needs []string `json:"needs,omitempty" jsonschema_description:"Steps of this plan that must succeed first."`
	Work
}

// Work is what a step of the user's own does: exactly one of kind, approve, plan and app with operation.
type Work struct {
	Kind      string         `json:"kind,omitempty" jsonschema_description:"Either: a kind that can run a step of yours."`
	Settings  *node          `json:"settings,omitempty" jsonschema_description:"The kind's settings."`
	Timeout   model.Duration `json:"timeout,omitempty" jsonschema_description:"How long one attempt of the kind's work may take. Default: the kind's."`
	Approve   int            `json:"approve,omitempty" jsonschema:"minimum=1" jsonschema_description:"Or: wait until this many different people approve."`
	Plan      string         `json:"plan,omitempty" jsonschema_description:"Or: run another of your plans."`
	App       string         `json:"app,omitempty" jsonschema_description:"Or: carry out an operation of this app."`
	Operation string         `json:"operation,omitempty" jsonschema_description:"The operation of the app."`
	To        string         `json:"to,omitempty" jsonschema_description:"The site that the app moves to. Default: its first recovery site, or its home for a failback."`
	Mode      string         `json:"mode,omitempty" jsonschema:"enum=planned,enum=unplanned" jsonschema_description:"Of a failover: whether the site that is left cooperates. Default planned."`
}
