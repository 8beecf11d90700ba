package pgbackrest

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// Type is how much a backup holds by itself.
type Type string

// The types of backups.
const (
	Full         Type = "full"
	Differential Type = "diff" // what changed since the full one
	Incremental  Type = "incr" // what changed since the one before
)

// Backup is what backup.info says of one.
type Backup struct {
	Label string
	Type  Type
	Prior string // the one that it continues; empty for full ones
	// Start is when it was begun and Stop when it was done, by the clock of the host that pgBackRest ran on, in seconds.
	Start, Stop time.Time
	SystemID    uint64
	Major       int
	// Damaged reports that pgBackRest found errors while it made it, such as pages with wrong checksums.
	Damaged bool
	// Online is false for one of a server that was shut down: it needs no log, and its positions are zero.
	Online            bool
	Timeline          pgwal.Timeline
	StartLSN, StopLSN pgwal.LSN
	Size              int64    // bytes of its files when they are restored
	Stored            int64    // bytes that they take in the repository, those of earlier backups too
	References        []string // labels that files are taken from
	Writer            string   // the version of pgBackRest that made it
}

// labels are the names that backups have.
var labels = regexp.MustCompile(`^[0-9]{8}-[0-9]{6}F(_[0-9]{8}-[0-9]{6}[DI])?$`)

// backupJSON is a line of [backup:current].
type backupJSON struct {
	Format       int      `json:"backrest-format"`
	Version      string   `json:"backrest-version"`
	ArchiveStart string   `json:"backup-archive-start"`
	Error        bool     `json:"backup-error"`
	Size         int64    `json:"backup-info-size"`
	Stored       int64    `json:"backup-info-repo-size"`
	StartLSN     string   `json:"backup-lsn-start"`
	StopLSN      string   `json:"backup-lsn-stop"`
	Prior        string   `json:"backup-prior"`
	References   []string `json:"backup-reference"`
	Start        int64    `json:"backup-timestamp-start"`
	Stop         int64    `json:"backup-timestamp-stop"`
	Type         Type     `json:"backup-type"`
	Cluster      int      `json:"db-id"`
	Online       bool     `json:"option-online"`
}

// clusterJSON is a line of [db:history], in either info file.
type clusterJSON struct {
	ID       uint64 `json:"db-id"`        // in archive.info: the system identifier
	SystemID uint64 `json:"db-system-id"` // in backup.info
	Version  string `json:"db-version"`
}

// parseBackups reads backup.info.
func parseBackups(i *info) ([]Backup, error) {
	clusters, err := parseClusters(i)
	if err != nil {
		return nil, err
	}
	var all []Backup
	for _, e := range i.entries {
		if e.section != "backup:current" {
			continue
		}
		b, err := parseBackup(e, clusters)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	slices.SortStableFunc(all, func(a, b Backup) int {
		return cmp.Or(a.Stop.Compare(b.Stop), cmp.Compare(a.Label, b.Label))
	})
	return all, nil
}

func parseBackup(e entry, clusters map[int]clusterJSON) (Backup, error) {
	bad := func(err error, what string) error {
		return failure.WrapAs(failure.Corrupt, err, "understand "+what+" of backup", e.key)
	}
	var j backupJSON
	if err := json.Unmarshal(e.value, &j); err != nil {
		return Backup{}, bad(err, "the line")
	}
	if !labels.MatchString(e.key) {
		return Backup{}, failure.New(failure.Corrupt, "understand backup", strconv.Quote(e.key), "that is no label")
	}
	if j.Format != format {
		return Backup{}, failure.New(failure.Unsupported, "understand backup", e.key, "it is of format %d, and this build knows %d", j.Format, format)
	}
	if !slices.Contains([]Type{Full, Differential, Incremental}, j.Type) {
		return Backup{}, failure.New(failure.Unsupported, "understand backup", e.key, "its type is %q", j.Type)
	}
	c, ok := clusters[j.Cluster]
	if !ok {
		return Backup{}, failure.New(failure.Corrupt, "understand backup", e.key, "it is of cluster %d, which is not listed", j.Cluster)
	}
	b := Backup{Label: e.key, Type: j.Type, Prior: j.Prior, Start: time.Unix(j.Start, 0).UTC(), Stop: time.Unix(j.Stop, 0).UTC(), SystemID: c.SystemID,
		Damaged: j.Error, Online: j.Online, Size: j.Size, Stored: j.Stored, References: j.References, Writer: j.Version}
	var err error
	if b.Major, err = major(c.Version); err != nil {
		return Backup{}, bad(err, "the server's version")
	}
	if !b.Online {
		return b, nil
	}
	if b.StartLSN, err = pgwal.ParseLSN(j.StartLSN); err != nil {
		return Backup{}, bad(err, "backup-lsn-start")
	}
	if b.StopLSN, err = pgwal.ParseLSN(j.StopLSN); err != nil {
		return Backup{}, bad(err, "backup-lsn-stop")
	}
	if len(j.ArchiveStart) < 8 {
		return Backup{}, bad(nil, "backup-archive-start")
	}
	t, err := strconv.ParseUint(j.ArchiveStart[:8], 16, 32)
	if err != nil {
		return Backup{}, bad(err, "backup-archive-start")
	}
	b.Timeline = pgwal.Timeline(t)
	return b, nil
}

// parseClusters reads [db:history] by the number that pgBackRest gave each.
func parseClusters(i *info) (map[int]clusterJSON, error) {
	all := map[int]clusterJSON{}
	for _, e := range i.entries {
		if e.section != "db:history" {
			continue
		}
		var c clusterJSON
		n, err := strconv.Atoi(e.key)
		if err == nil {
			err = json.Unmarshal(e.value, &c)
		}
		if err != nil {
			return nil, failure.WrapAs(failure.Corrupt, err, "understand", "cluster "+e.key)
		}
		all[n] = c
	}
	return all, nil
}
