// Package job is the work of the files driver on the host that the folder is on: a program of this binary that reads a
// request, does it, and leaves its result beside it.
//
// What all jobs on a vault have in common is package vaultjob's; what this one is for, the driver's. Start with [Main].
package job

import (
	"fmt"
	"strconv"

	"github.com/lifeboat-dr/lifeboat/internal/vault/filter"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Program is the first word of the command line that runs a job: lifeboat files-job FOLDER.
const Program = "files-job"

// What is put behind a folder's name while it is not live.
const (
	Fenced  = ".lifeboat-fenced"
	Standby = ".lifeboat-standby"
)

// Files of ours within the folder. Marker is a real file; Self is only in recovery points and holds the folder's own
// mode, owner and times, since a tree says these of what is in it alone.
const (
	Marker = ".lifeboat-marker.json"
	Self   = ".lifeboat-folder.json"
)

// Op is what a job does.
type Op string

// The ops.
const (
	Capture Op = "capture" // the live folder
	Quiesce Op = "quiesce" // the fenced folder, whose name was just taken away
	Promote Op = "promote" // the newest point becomes the live folder
	Follow  Op = "follow"  // the newest point becomes the standby folder
	Drill   Op = "drill"   // the newest point is restored into a folder of its own
	Copy    Op = "copy"    // the vault's replicas are brought in step
	Expire  Op = "expire"  // points that need not be kept are removed
)

// Request is all that a job is told. It holds secrets and lies in a file that only the job's user can read, until the job
// is over.
type Request struct {
	vaultjob.Whose
	vaultjob.Sealed
	Op     Op               `json:"op"`
	Site   model.SiteID     `json:"site"`
	Folder string           `json:"folder"`         // the live one, absolute
	Into   string           `json:"into,omitempty"` // Drill
	Select Selection        `json:"select"`
	Verify bool             `json:"verify,omitempty"`
	Keep   *model.Retention `json:"keep,omitempty"`
	Token  string           `json:"token"`
}

// Selection is what of a folder is kept.
type Selection struct {
	Paths             []string `json:"paths,omitempty"`
	Exclude           []string `json:"exclude,omitempty"`
	ExcludeFiles      []string `json:"exclude_files,omitempty"`
	ExcludeCaches     bool     `json:"exclude_caches,omitempty"`
	ExcludeIfPresent  []string `json:"exclude_if_present,omitempty"`
	ExcludeLargerThan string   `json:"exclude_larger_than,omitempty"`
	OneFileSystem     bool     `json:"one_file_system,omitempty"`
}

// Validate checks patterns and sizes; its errors begin with the name of the setting.
func (s Selection) Validate() error {
	if _, err := (filter.Rules{Patterns: s.Exclude}).Compile(); err != nil {
		return fmt.Errorf("exclude: %w", err)
	}
	if _, err := s.larger(); err != nil {
		return err
	}
	return nil
}

// larger is ExcludeLargerThan in bytes.
func (s Selection) larger() (int64, error) {
	text := s.ExcludeLargerThan
	if text == "" {
		return 0, nil
	}
	unit := int64(1)
	switch text[len(text)-1] {
	case 'k', 'K':
		unit = 1 << 10
	case 'm', 'M':
		unit = 1 << 20
	case 'g', 'G':
		unit = 1 << 30
	case 't', 'T':
		unit = 1 << 40
	}
	digits := text
	if unit > 1 {
		digits = text[:len(text)-1]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > (1<<62)/unit {
		return 0, fmt.Errorf("exclude_larger_than: %q is not a size such as 500M or 2G", text)
	}
	return n * unit, nil
}
