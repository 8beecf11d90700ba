package api

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// VaultImportRequest brings the backups and the log of a pgBackRest stanza into a vault.
type VaultImportRequest struct {
	VaultAccess
	// From is where the repository is: a folder, or s3:https://HOST/BUCKET/PREFIX. Empty: Config says it.
	From string `json:"from,omitempty"`
	// Config is the path of a pgbackrest.conf, of whose repository Number (0: 1) everything is taken that is not said here.
	Config string `json:"config,omitempty"`
	Number int    `json:"number,omitempty"`
	Stanza string `json:"stanza"`
	// CipherPass opens an encrypted repository; nil: Config says it, or it is not encrypted. It is never written down.
	CipherPass *Passphrase `json:"-"`

	// Whose points they become.
	App      model.AppID      `json:"app"`
	Resource model.ResourceID `json:"resource"`

	Only    []string `json:"only,omitempty"` // labels; empty: every backup
	DryRun  bool     `json:"dry_run,omitempty"`
	Workers int      `json:"workers,omitempty"` // files read at once; 0: what is right here
}

// VaultImportReply is what an import did, or with DryRun would do.
type VaultImportReply struct {
	From   string             `json:"from"`
	To     string             `json:"to"`
	Stanza string             `json:"stanza"`
	DryRun bool               `json:"dry_run,omitempty"`
	Points []VaultImportPoint `json:"points"` // oldest first
	Logs   []VaultImportLog   `json:"logs"`   // one for each cluster
	Bytes  int64              `json:"bytes"`  // that were read, before compression
	Stored int64              `json:"stored"` // that the vault has more
	Took   model.Duration     `json:"took"`
}

// States of a backup in an import.
const (
	VaultImportMade  = "imported"
	VaultImportThere = "there"  // an earlier import brought it
	VaultImportNew   = "new"    // a dry run: it would come
	VaultImportFails = "failed" // Problems say why
)

// VaultImportPoint is a backup, and what became of it.
type VaultImportPoint struct {
	Label string    `json:"label"`
	Type  string    `json:"type"` // full, diff, incr
	Time  time.Time `json:"time"` // of the point: when the backup was done
	Bytes int64     `json:"bytes"`
	State string    `json:"state"`
	Point string    `json:"point,omitempty"` // its id in the vault
	// Failed counts what is wrong with it in the repository, and Problems names the first of that.
	Failed   int              `json:"failed,omitempty"`
	Problems []*failure.Error `json:"problems,omitempty"`
	Notes    []string         `json:"notes,omitempty"`
}

// VaultImportLog is what became of a cluster's log.
type VaultImportLog struct {
	Cluster     string            `json:"cluster"`         // its system identifier
	Archives    []string          `json:"archives"`        // as pgBackRest calls them: 15-1
	Point       string            `json:"point,omitempty"` // the id of the snapshot with the log; empty: none was made
	Segments    int               `json:"segments"`        // that the vault has afterwards
	NewSegments int               `json:"new_segments"`    // of these
	Spans       []VaultImportSpan `json:"spans"`           // oldest first
	Failed      int               `json:"failed,omitempty"`
	Problems    []*failure.Error  `json:"problems,omitempty"`
	Notes       []string          `json:"notes,omitempty"`
}

// VaultImportSpan is log without a gap.
type VaultImportSpan struct {
	FromTimeline uint32 `json:"from_timeline"`
	From         string `json:"from"` // a position, as 0/2000000
	ToTimeline   uint32 `json:"to_timeline"`
	To           string `json:"to"`
	// Gap tells why it does not go on from the span before it.
	Gap string `json:"gap,omitempty"`
}
