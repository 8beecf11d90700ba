// Package snapshot is the JSON of snapshots: what one recovery point is made of, and which one is meant.
//
// It decides no retention and loads nothing. Start with [Decode], [Snapshot.Encode] and [Filter].
package snapshot

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Snapshot is the state of some paths at one instant.
type Snapshot struct {
	// ID is the name of the file; it is not written.
	ID object.ID `json:"-"`

	Time     time.Time  `json:"time"`
	Parent   *object.ID `json:"parent,omitempty"`
	Tree     *object.ID `json:"tree"`
	Paths    []string   `json:"paths"`
	Hostname string     `json:"hostname,omitempty"`
	Username string     `json:"username,omitempty"`
	UID      uint32     `json:"uid,omitempty"`
	GID      uint32     `json:"gid,omitempty"`
	Excludes []string   `json:"excludes,omitempty"`
	Tags     []string   `json:"tags,omitempty"`
	Original *object.ID `json:"original,omitempty"`

	ProgramVersion string `json:"program_version,omitempty"`
	// Summary is restic's to define and changes with its versions: it is kept as it was read.
	Summary json.RawMessage `json:"summary,omitempty"`

	// Extra holds the fields that this package does not know; they are written again.
	Extra map[string]json.RawMessage `json:"-"`
}

// Summary is what restic 0.17 and later write. Times are those of the writer; sizes are bytes.
type Summary struct {
	BackupStart         time.Time `json:"backup_start"`
	BackupEnd           time.Time `json:"backup_end"`
	FilesNew            uint64    `json:"files_new"`
	FilesChanged        uint64    `json:"files_changed"`
	FilesUnmodified     uint64    `json:"files_unmodified"`
	DirsNew             uint64    `json:"dirs_new"`
	DirsChanged         uint64    `json:"dirs_changed"`
	DirsUnmodified      uint64    `json:"dirs_unmodified"`
	DataBlobs           uint64    `json:"data_blobs"`
	TreeBlobs           uint64    `json:"tree_blobs"`
	DataAdded           uint64    `json:"data_added"`
	DataAddedPacked     uint64    `json:"data_added_packed"`
	TotalFilesProcessed uint64    `json:"total_files_processed"`
	TotalBytesProcessed uint64    `json:"total_bytes_processed"`
}

var known = map[string]bool{
	"time": true, "parent": true, "tree": true, "paths": true, "hostname": true, "username": true, "uid": true,
	"gid": true, "excludes": true, "tags": true, "original": true, "program_version": true, "summary": true,
}

// Decode reads a snapshot, decrypted and decompressed. One without a tree is Corrupt: there is nothing to restore.
func Decode(data []byte) (*Snapshot, error) {
	var s Snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "read a snapshot", "")
	}
	if s.Tree == nil {
		return nil, failure.New(failure.Corrupt, "read a snapshot", "", "it has no tree")
	}
	s.Extra = object.Unknown(data, known)
	return &s, nil
}

// Encode writes a snapshot. One without a tree or a time is Invalid.
func (s *Snapshot) Encode() ([]byte, error) {
	if s.Tree == nil || s.Time.IsZero() {
		return nil, failure.New(failure.Invalid, "write a snapshot", "", "it has no tree or no time")
	}
	c := *s
	if c.Paths == nil {
		c.Paths = []string{}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "write a snapshot", "")
	}
	return object.Append(text, slices.Sorted(maps.Keys(c.Extra)), c.Extra)
}

// Filter says which snapshots are meant. What is empty matches everything.
type Filter struct {
	Hosts []string   // one of these
	Paths []string   // all of these
	Tags  [][]string // all tags of one of these lists; an empty list means "no tags"
	Until time.Time  // not after this
}

// Matches reports whether s is meant, as restic decides it.
func (f Filter) Matches(s *Snapshot) bool {
	if len(f.Hosts) > 0 && !slices.Contains(f.Hosts, s.Hostname) {
		return false
	}
	if !f.Until.IsZero() && s.Time.After(f.Until) {
		return false
	}
	if !all(f.Paths, s.Paths) {
		return false
	}
	if len(f.Tags) == 0 {
		return true
	}
	return slices.ContainsFunc(f.Tags, func(list []string) bool {
		if len(list) == 0 {
			return len(s.Tags) == 0
		}
		return all(list, s.Tags)
	})
}

func all(want, have []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}
