// Package dbstate says what the states of RDS's instances and Aurora's clusters mean for whoever waits for one. It asks nobody and
// decides nothing. Start with [Of].
package dbstate

// Meaning is what a state means.
type Meaning int

// The meanings.
const (
	// Passing ends by itself. So is what AWS does not document: it is waited for, and named.
	Passing Meaning = iota
	// Ready: clients are served, and AWS takes what is asked for.
	Ready
	// Busy: clients are served, and AWS takes no changes until it is over.
	Busy
	// Stopped ends when somebody starts it, or after seven days.
	Stopped
	// Leaving: it is being deleted.
	Leaving
	// Stuck does not end by itself, and somebody can mend it. It says nothing about the data.
	Stuck
	// Spoiled never comes up: what it was made of is no good.
	Spoiled
)

// meanings are those of the documented states (RDS User Guide, "Viewing Amazon RDS DB instance status"; Aurora User Guide, "Viewing
// DB cluster status" and "Viewing DB instance status in an Aurora cluster"). An instance that optimizes its storage is fully
// operational, takes all changes but those of its storage, and may be at it for more than a day; one that initializes its storage
// after a restore is available, if slower, for as long as its blocks take to come from S3.
var meanings = map[string]Meaning{
	"available":              Ready,
	"storage-initialization": Ready,
	"storage-optimization":   Ready,

	"backing-up":                      Busy,
	"configuring-enhanced-monitoring": Busy,
	"configuring-iam-database-auth":   Busy,
	"configuring-log-exports":         Busy,
	"update-iam-db-auth":              Busy, // of clusters

	"backtracking":                 Passing,
	"converting-to-vpc":            Passing,
	"creating":                     Passing,
	"failing-over":                 Passing,
	"maintenance":                  Passing,
	"migrating":                    Passing,
	"modifying":                    Passing,
	"moving-to-vpc":                Passing,
	"preparing-data-migration":     Passing,
	"promoting":                    Passing,
	"rebooting":                    Passing,
	"renaming":                     Passing,
	"resetting-master-credentials": Passing,
	"starting":                     Passing,
	"storage-config-upgrade":       Passing,
	"upgrading":                    Passing,

	"stopped":  Stopped,
	"stopping": Stopped,

	"delete-precheck": Leaving,
	"deleting":        Leaving,

	"cloning-failed":                                  Stuck,
	"inaccessible-encryption-credentials":             Stuck,
	"inaccessible-encryption-credentials-recoverable": Stuck,
	"incompatible-create":                             Stuck,
	"incompatible-network":                            Stuck,
	"incompatible-option-group":                       Stuck,
	"incompatible-parameters":                         Stuck,
	"insufficient-capacity":                           Stuck,
	"migration-failed":                                Stuck,
	"storage-full":                                    Stuck,
	"upgrade-failed":                                  Stuck,

	"failed":               Spoiled,
	"incompatible-restore": Spoiled,
	"restore-error":        Spoiled,
}

// Of is what a state means.
func Of(status string) Meaning { return meanings[status] }

// Serves reports whether clients are served.
func (m Meaning) Serves() bool { return m == Ready || m == Busy }

// Broken reports whether it does not end by itself, and serves nobody.
func (m Meaning) Broken() bool { return m == Stuck || m == Spoiled }
