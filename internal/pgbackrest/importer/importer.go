// Package importer brings what a pgBackRest repository holds into a vault: each backup becomes a base point, whole and by
// itself, with the time that it was made at; the archived log becomes log of the same resource.
//
// It reads by package pgbackrest, and lays things down as package pgpoint says. What is in the vault already is left
// alone, so that an import can be repeated, and an interrupted one goes on. A backup of which a file is damaged, or whose
// own log is not there, does not become a point: the report says why. Start with [Run].
package importer

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Options say what is imported, and whose it becomes.
type Options struct {
	Whose pgpoint.Whose
	// Only are the labels of backups that are meant, with the log from the oldest of them on; nil: everything.
	Only []string
	// DryRun finds out what would come and writes nothing. Of the log only names are looked at, of backups only what the
	// repository says of them.
	DryRun  bool
	Workers int // files that are read at once; 0: one for each core
	// Progress, if set, is told how far the import is, by one goroutine at a time.
	Progress func(Progress)
	Now      func() time.Time // of log snapshots; nil: time.Now
	Log      *slog.Logger     // nil: silent
}

// Progress is how far an import is.
type Progress struct {
	Current           string // a label, or an archive's name
	Bytes, TotalBytes int64  // before compression; of the log they are estimated
	Done, Of          int    // backups and logs
}

// State is what became of a backup.
type State string

// The states.
const (
	Made  State = "imported"
	There State = "there"  // an earlier import brought it
	New   State = "new"    // a dry run: it would come
	Fails State = "failed" // see Point.Problems
)

// Point is a backup, and what became of it.
type Point struct {
	pgbackrest.Backup
	State    State
	Snapshot object.ID // of Made and There
	Time     time.Time
	Read     int64 // bytes of content that were read for it; what earlier backups have is not read again
	// Problems keep it from being imported: at most maxProblems of Failed. Notes are for people to know.
	Problems []Problem
	Failed   int
	Notes    []string
}

// Problem is one thing of the repository that is not as it should be.
type Problem struct {
	Path string // as pgBackRest names it
	Err  error
}

// Log is what became of the log of one cluster.
type Log struct {
	SystemID    uint64
	Archives    []string  // the repository's folders that it comes from
	Snapshot    object.ID // zero: in a dry run, or nothing was new
	Segments    int       // in the vault now; in a dry run, then
	NewSegments int
	Spans       []pgpoint.Span
	Problems    []Problem // segments that were left out
	Failed      int
	Notes       []string

	size pgwal.SegmentSize
}

// Report is what an import did, or would do.
type Report struct {
	Points []Point // oldest first
	Logs   []Log
	Stats  vault.Stats
}

// maxProblems bounds lists of problems.
const maxProblems = 100

// minMajor is the oldest PostgreSQL whose backups become points: nothing here restores older ones.
const minMajor = 13

// Run imports. The report is there beside an error too. A backup or a piece of log that cannot be imported does not keep the
// others from it; the error says so at the end, with the kind of the first. Other errors: NotFound, Options.Only names
// a backup that is not there; those of the repository's store and of the vault, which end the import: repeat it.
func Run(ctx context.Context, v *vault.Vault, repo *pgbackrest.Repo, o Options) (*Report, error) {
	r := &run{v: v, repo: repo, o: o, report: &Report{}}
	if err := r.fill(); err != nil {
		return r.report, err
	}
	backups, err := r.meant()
	if err != nil {
		return r.report, err
	}
	if r.there, err = r.imported(ctx); err != nil {
		return r.report, err
	}
	if r.bases, err = pgpoint.Bases(ctx, v, o.Whose); err != nil { // they only save work
		r.o.Log.WarnContext(ctx, "a base point that is there already cannot be read", "vault", v.Location(), "error", err)
	}
	if !o.DryRun {
		if r.session, err = v.NewSession(ctx); err != nil {
			return r.report, err
		}
	}
	err = r.all(ctx, backups)
	if r.session != nil {
		if err != nil {
			r.keep(ctx)
		}
		r.report.Stats = r.session.Stats()
		// What went wrong with writing was said by the call that it went wrong in.
		if closeErr := r.session.Close(context.WithoutCancel(ctx)); closeErr != nil {
			r.o.Log.WarnContext(ctx, "a lock is left behind", "vault", v.Location(), "error", closeErr)
		}
	}
	if err != nil {
		return r.report, err
	}
	return r.report, r.report.verdict(repo.Stanza)
}

// parting is for how long an import that is broken off still stores what it holds.
const parting = 30 * time.Second

// keep makes durable what was read so far, so that the next import need not store it again.
func (r *run) keep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), parting)
	defer cancel()
	if err := r.session.Flush(ctx); err != nil {
		r.o.Log.WarnContext(ctx, "what was not stored yet is read again by the next import", "vault", r.v.Location(), "error", err)
	}
}

// run is one import.
type run struct {
	v        *vault.Vault
	repo     *pgbackrest.Repo
	o        Options
	report   *Report
	session  *vault.Session                // nil: a dry run
	there    map[string]*snapshot.Snapshot // imported before, by their tag
	bases    []pgpoint.BasePoint           // of the resource, before this import
	contents contents
	owners   owners
	progress Progress
}

func (r *run) fill() error {
	if r.o.Whose.App == "" || r.o.Whose.Resource == "" {
		return failure.New(failure.Invalid, "import", r.repo.Stanza, "it is not said whose points they become").
			WithHint("name the app and its postgres resource: --app APP --resource RESOURCE")
	}
	if r.o.Workers <= 0 {
		r.o.Workers = runtime.GOMAXPROCS(0)
	}
	if r.o.Now == nil {
		r.o.Now = time.Now
	}
	if r.o.Log == nil {
		r.o.Log = slog.New(slog.DiscardHandler)
	}
	if r.o.Progress == nil {
		r.o.Progress = func(Progress) {}
	}
	r.owners = owners{}
	return nil
}

// meant gives the backups that are meant, oldest first.
func (r *run) meant() ([]pgbackrest.Backup, error) {
	if r.o.Only == nil {
		return r.repo.Backups, nil
	}
	var out []pgbackrest.Backup
	for _, b := range r.repo.Backups {
		if slices.Contains(r.o.Only, b.Label) {
			out = append(out, b)
		}
	}
	for _, label := range r.o.Only {
		if !slices.ContainsFunc(out, func(b pgbackrest.Backup) bool { return b.Label == label }) {
			return nil, failure.New(failure.NotFound, "find the pgBackRest backup", label, "the stanza has none that is called so").
				WithHint("list them: pgbackrest info, or import with --dry-run")
		}
	}
	return out, nil
}

// tagImported marks what an import brought, so that it is not brought again.
const tagImported = "lifeboat:pgbackrest="

// tagOf recognises a backup: labels are unique in a stanza, and system identifiers everywhere.
func tagOf(b pgbackrest.Backup) string {
	return tagImported + b.Label + "@" + strconv.FormatUint(b.SystemID, 10)
}

// imported finds what earlier imports brought.
func (r *run) imported(ctx context.Context) (map[string]*snapshot.Snapshot, error) {
	all, err := r.v.Snapshots(ctx, pgpoint.Filter(r.o.Whose, pgpoint.IsBase))
	if err != nil {
		return nil, err
	}
	found := map[string]*snapshot.Snapshot{}
	for _, s := range all {
		for _, t := range s.Tags {
			if strings.HasPrefix(t, tagImported) {
				found[t] = s
			}
		}
	}
	return found, nil
}

// site is where points and log are said to be from: a place of the repository's own, so that its log is a chain by itself
// beside those of the sites that receive log.
func (r *run) site() model.SiteID {
	clean := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(r.repo.Stanza))
	return model.SiteID(pgpoint.ImportedFrom + clean)
}

// all imports the logs, then the backups: a point without its log is of no use.
func (r *run) all(ctx context.Context, backups []pgbackrest.Backup) error {
	systems := systemsOf(r.repo.Archives)
	r.progress.Of = len(systems) + len(backups)
	for _, b := range backups {
		if r.there[tagOf(b)] == nil {
			r.progress.TotalBytes += b.Size
		}
	}
	for _, s := range systems {
		if r.o.Only != nil && !slices.ContainsFunc(backups, func(b pgbackrest.Backup) bool { return b.SystemID == s.id }) {
			r.progress.Of--
			continue
		}
		l, err := r.importLog(ctx, s, backups)
		if l != nil {
			r.report.Logs = append(r.report.Logs, *l)
		}
		if err != nil {
			return err
		}
		r.step()
	}
	for _, b := range backups {
		r.tell(b.Label, 0)
		p, err := r.importBackup(ctx, b)
		r.report.Points = append(r.report.Points, p)
		if err != nil {
			return err
		}
		r.step()
	}
	return nil
}

func (r *run) step() {
	r.progress.Done++
	r.o.Progress(r.progress)
}

// tell adds to the progress. One goroutine at a time calls it.
func (r *run) tell(current string, bytes int64) {
	r.progress.Current = current
	r.progress.Bytes += bytes
	r.o.Progress(r.progress)
}

// system is a cluster, and the archives that hold log of it.
type system struct {
	id       uint64
	archives []pgbackrest.Archive
}

func systemsOf(archives []pgbackrest.Archive) []system {
	var out []system
	for _, a := range archives {
		i := slices.IndexFunc(out, func(s system) bool { return s.id == a.SystemID })
		if i < 0 {
			i, out = len(out), append(out, system{id: a.SystemID})
		}
		out[i].archives = append(out[i].archives, a)
	}
	return out
}

// logOf is the log of a cluster that the vault has after the import.
func (r *run) logOf(id uint64) *Log {
	i := slices.IndexFunc(r.report.Logs, func(l Log) bool { return l.SystemID == id })
	if i < 0 {
		return nil
	}
	return &r.report.Logs[i]
}

// covered reports whether the log has all that makes a backup consistent.
func (l *Log) covered(b pgbackrest.Backup) bool {
	base := pgpoint.BasePoint{Base: pgpoint.Base{SystemID: b.SystemID, Timeline: b.Timeline, Start: b.StartLSN, Stop: b.StopLSN}}
	log := pgpoint.LogPoint{Log: pgpoint.Log{SystemID: l.SystemID, Segment: l.size, Spans: l.Spans}}
	return pgpoint.Reach([]pgpoint.BasePoint{base}, []pgpoint.LogPoint{log})[0].Consistent
}

// verdict is the error of an import that left something out.
func (r *Report) verdict(stanza string) error {
	var first error
	points, log := 0, 0
	for _, l := range r.Logs {
		log += l.Failed
		if len(l.Problems) > 0 && first == nil {
			first = l.Problems[0].Err
		}
	}
	for _, p := range r.Points {
		if p.State == Fails {
			points++
			if first == nil && len(p.Problems) > 0 {
				first = p.Problems[0].Err
			}
		}
	}
	if first == nil {
		return nil
	}
	return failure.New(failure.KindOf(first), "import the pgBackRest stanza", stanza, "%d backups and %d pieces of log could not be imported", points, log).
		WithHint("everything else was; what is wrong with each is listed")
}
