package model

// Vault is where recovery points' bytes are kept, a repository in restic's format, and how it is reached. It is
// complete in itself, so that a step that carries one can be run by another process on another host. It holds no
// secret: what is marked "secret" is a reference.
type Vault struct {
	// Name is the vault's in lifeboat.yaml; empty for one that was named by its URL on the command line.
	Name string `json:"name,omitempty"`
	// URL in restic's spelling: a path or local:/srv/vault, s3:https://host/bucket/prefix, rest:https://host:8000/user/,
	// memory: in tests.
	URL      string `json:"url"`
	Password string `json:"password"` // secret

	// TLS, for s3 and rest: the authority that signed the server's certificate (empty: the system's), and the client's own
	// certificate with its key. Files.
	CA   string `json:"ca,omitempty"`
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`

	// User and UserPassword are for rest: the server's user; the password is a secret.
	User         string `json:"user,omitempty"`
	UserPassword string `json:"user_password,omitempty"`

	S3 *S3 `json:"s3,omitempty"`

	// Site is where the vault lies, if it fails together with a site: a plan that recovers from the loss of that site does
	// not count on it.
	Site SiteID `json:"site,omitempty"`

	// Connections is how many calls at once are made to the store; 0: what the store is good for.
	Connections int `json:"connections,omitempty"`
	// Upload and Download bound the traffic, in bytes per second; 0: no bound.
	Upload   int64 `json:"upload,omitempty"`
	Download int64 `json:"download,omitempty"`
	// Cache is a folder for copies of metadata; empty: the user's cache folder; "none": no cache.
	Cache string `json:"cache,omitempty"`
	// Retain is, on a place with Object Lock, for how long each object is kept from deletion, and what it is renewed to
	// while it is still needed. Zero: objects are not locked.
	Retain Duration `json:"retain,omitempty"`

	// Replicas are copies of this vault: kept in step after each capture, and read when something here is damaged or gone.
	Replicas []Vault `json:"replicas,omitempty"`
}

// S3 is how a bucket is reached. What is empty comes from the AWS credential chain: environment, profile, web identity,
// container, instance.
type S3 struct {
	Region       string `json:"region,omitempty"`
	Profile      string `json:"profile,omitempty"`
	Role         string `json:"role,omitempty"` // ARN to assume
	ExternalID   string `json:"external_id,omitempty"`
	AccessKey    string `json:"access_key,omitempty"`    // secret
	SecretKey    string `json:"secret_key,omitempty"`    // secret
	SessionToken string `json:"session_token,omitempty"` // secret
	Style        string `json:"style,omitempty"`         // path, virtual-host; empty: what the host suggests
	StorageClass string `json:"storage_class,omitempty"`
}

// Retention says which recovery points stay, as restic's forget counts: a point stays when one of these keeps it. All
// zero keeps everything.
type Retention struct {
	Last          int        `json:"last,omitempty"`
	Hourly        int        `json:"hourly,omitempty"`
	Daily         int        `json:"daily,omitempty"`
	Weekly        int        `json:"weekly,omitempty"`
	Monthly       int        `json:"monthly,omitempty"`
	Yearly        int        `json:"yearly,omitempty"`
	Within        string     `json:"within,omitempty"` // restic's spelling: 2y5m7d3h
	WithinHourly  string     `json:"within_hourly,omitempty"`
	WithinDaily   string     `json:"within_daily,omitempty"`
	WithinWeekly  string     `json:"within_weekly,omitempty"`
	WithinMonthly string     `json:"within_monthly,omitempty"`
	WithinYearly  string     `json:"within_yearly,omitempty"`
	Tags          [][]string `json:"tags,omitempty"` // a point with all tags of one of these lists stays
}
