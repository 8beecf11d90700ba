// Package pgpoint says what of a PostgreSQL cluster lies in a vault: base points and log, under which tags, where in a
// snapshot, and which positions can be reached with them.
//
// A base point is one snapshot: the data folder as a base backup has it (with an empty pg_wal) below /data, every
// tablespace below /tablespaces/OID, the manifest, and a [Base]. The log is, for every site that receives it, a chain of
// snapshots of which the newest holds all segments that are still needed, below /wal, and a [Log]. Everything else is
// worked out from these: there is no catalog.
//
// It takes no backup, receives no log and restores nothing. Start with [Bases], [Logs] and [Reach].
package pgpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Where things lie in a snapshot. Paths are absolute and of the format's own.
const (
	AboutPath    = "/lifeboat.json"   // a Base or a Log
	DataPath     = "/data"            // of a base point
	SpacesPath   = "/tablespaces"     // of a base point: one folder for each, named by its OID
	ManifestPath = "/backup_manifest" // of a base point, where the server gave one
	LogPath      = "/wal"             // of a log snapshot
)

// Block is the size of the blocks that log, and files of large clusters, are stored in, in bytes.
const Block = 256 << 10

// What BlockFor goes by: the shortest block, and how many of them a cluster is cut into at most while they are not Block.
const (
	shortest   = 32 << 10
	mostBlocks = 1 << 20
)

// BlockFor is the size of the blocks that a cluster of so many bytes is best stored in: whole pages, a power of two. A page
// that has changed costs its block, so they are short; every block costs some 60 bytes of a vault's memory and 34 in every
// point, so there are not too many: up to 32 GiB they are 32 KiB, from 128 GiB on Block. Only points with equal blocks share
// them, so a resource keeps the size of its points (Base.Block) as long as it makes no more than four times as many.
func BlockFor(bytes int64, newest *Base) int {
	if newest != nil && newest.Source == "" && newest.Block >= shortest && newest.Block <= Block && newest.Block%pgwal.PageSize == 0 &&
		(newest.Block == Block || bytes/int64(newest.Block) <= 4*mostBlocks) {
		return newest.Block
	}
	block := shortest
	for block < Block && bytes/int64(block) > mostBlocks {
		block *= 2
	}
	return block
}

// SegmentPath is where a log snapshot holds a segment: apart by timeline, by the upper half of its position and by the
// next hexadecimal digit (256 MiB), so that what is added every few seconds rewrites one small directory. Partial ones
// have ".partial" behind their name.
func SegmentPath(t pgwal.Timeline, at pgwal.LSN, size pgwal.SegmentSize) string {
	at = size.Start(at)
	return fmt.Sprintf("%s/%08X/%08X/%X/%s", LogPath, uint32(t), uint32(at>>32), uint32(at)>>28, pgwal.SegmentName(t, at, size))
}

// PartialSuffix is behind the name of a segment that is not complete.
const PartialSuffix = ".partial"

// HistoryPath is where a log snapshot holds a timeline's history file.
func HistoryPath(t pgwal.Timeline) string { return LogPath + "/" + pgwal.HistoryName(t) }

// What is what a snapshot holds.
type What string

// The kinds of snapshots.
const (
	IsBase  What = "base"
	IsLog   What = "log"
	IsProof What = "proof" // that a base point was restored, or could not be
)

// Tags of snapshots. Every one of a resource has the first four.
const (
	tagApp      = "lifeboat:app="
	tagResource = "lifeboat:resource="
	tagSite     = "lifeboat:site="
	tagWhat     = "lifeboat:postgres="
	tagSystem   = "lifeboat:system="
)

// Whose are the points of a resource.
type Whose struct {
	App      model.AppID      `json:"app"`
	Resource model.ResourceID `json:"resource"`
}

// Tags are those of a snapshot that was made at, or for, a site. More are added as they are.
func Tags(w Whose, what What, site model.SiteID, more ...string) []string {
	return append([]string{tagApp + string(w.App), tagResource + string(w.Resource), tagSite + string(site), tagWhat + string(what)}, more...)
}

// Filter finds the snapshots of one kind.
func Filter(w Whose, what What) snapshot.Filter {
	return snapshot.Filter{Tags: [][]string{{tagApp + string(w.App), tagResource + string(w.Resource), tagWhat + string(what)}}}
}

// SiteOf is the site that a snapshot was made at; "": it says none.
func SiteOf(s *snapshot.Snapshot) model.SiteID {
	i := slices.IndexFunc(s.Tags, func(t string) bool { return strings.HasPrefix(t, tagSite) })
	if i < 0 {
		return ""
	}
	return model.SiteID(strings.TrimPrefix(s.Tags[i], tagSite))
}

// SystemTag is one more tag of log snapshots: whose log it is. A cluster that was made anew begins another chain of
// snapshots at the same site, beside the old one's.
func SystemTag(id uint64) string { return tagSystem + strconv.FormatUint(id, 10) }

// chainOf tells the chains of log snapshots apart.
func chainOf(s *snapshot.Snapshot) string {
	i := slices.IndexFunc(s.Tags, func(t string) bool { return strings.HasPrefix(t, tagSystem) })
	if i < 0 {
		return string(SiteOf(s))
	}
	return string(SiteOf(s)) + " " + s.Tags[i]
}

// version is that of the documents that this build writes, and the newest that it reads.
const version = 1

// Base is what a base point says of itself, in AboutPath.
type Base struct {
	Version  int               `json:"version"`
	SystemID uint64            `json:"system_id,string"`
	Major    int               `json:"major"` // of the server
	Segment  pgwal.SegmentSize `json:"segment_size"`
	Page     int               `json:"page_size"`       // bytes
	Block    int               `json:"block,omitempty"` // bytes of the blocks that files are stored in; 0: pgpoint.Block
	Timeline pgwal.Timeline    `json:"timeline"`
	// Replay begins at Start; from Stop on the copy is consistent.
	Start pgwal.LSN `json:"start_lsn"`
	Stop  pgwal.LSN `json:"stop_lsn"`
	// Begun and Ended are by the server's clock, or, where that was not to be had, by the capturing host's. The snapshot's
	// time is Ended: the earliest state that it can be restored to.
	Begun  time.Time    `json:"begun"`
	Ended  time.Time    `json:"ended"`
	Spaces []Tablespace `json:"tablespaces,omitempty"`
	Bytes  int64        `json:"bytes"` // of all files
	Files  int64        `json:"files"`
	// Checksums reports whether the cluster has page checksums and they were verified; Damaged are the pages that failed,
	// as "base/5/1259 block 17", at most MaxDamaged of DamagedPages.
	Checksums    bool     `json:"checksums"`
	Damaged      []string `json:"damaged,omitempty"`
	DamagedPages int64    `json:"damaged_pages,omitempty"`
	// Rows are counts that were taken just before Begun, by "database.schema.table"; a restored copy has at least what was
	// not deleted since. Marker is the newest marker in it.
	Rows   map[string]int64 `json:"rows,omitempty"`
	Marker *Marker          `json:"marker,omitempty"`
	// Host is where the data folder was read; "": it came over the replication protocol, or was imported. Whole is when the
	// newest of this point and those before it began that all was read for.
	Host  string    `json:"host,omitempty"`
	Whole time.Time `json:"whole,omitzero"`
	// Source says where it comes from when Lifeboat did not capture it: "pgbackrest 20260102-030405F".
	Source string `json:"source,omitempty"`
}

// MaxDamaged bounds Base.Damaged.
const MaxDamaged = 100

// Tablespace is one folder beside the data folder.
type Tablespace struct {
	OID      string `json:"oid"`
	Location string `json:"location"` // where it was
}

// Marker is a marker as the driver writes them.
type Marker struct {
	At  time.Time `json:"at"`
	Seq int64     `json:"seq"`
}

// Log is what a log snapshot says of itself, in AboutPath.
type Log struct {
	Version  int               `json:"version"`
	SystemID uint64            `json:"system_id,string"`
	Segment  pgwal.SegmentSize `json:"segment_size"`
	// Spans are the continuous pieces, oldest first. Between two of them log is missing.
	Spans []Span `json:"spans"`
	// Marks tell when positions were reached, by the server's clock: rising, in time and on each timeline.
	Marks []Mark `json:"marks,omitempty"`
}

// Span is log without a gap, which may go over timelines: the history file of To's says where.
type Span struct {
	From pgwal.Position `json:"from"`
	To   pgwal.Position `json:"to"` // exclusive
	// Why tells why the span before it ended: in the words of the one who noticed.
	Why string `json:"why,omitempty"`
}

// Mark is a position at a time: all that was committed before At lies before it.
type Mark struct {
	pgwal.Position
	Time time.Time `json:"time"`
}
