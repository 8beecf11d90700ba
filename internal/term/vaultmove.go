package term

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
)

// VaultBackup says what became of a backup.
func VaultBackup(w io.Writer, r *api.VaultBackupReply, s Style) error {
	p := newPage(s)
	p.table(0, [][]span{
		{{"files", dim}, {fmt.Sprintf("%d new, %d changed, %d unmodified", r.FilesNew, r.FilesChanged, r.FilesUnmodified), plain}},
		{{"folders", dim}, {fmt.Sprintf("%d new, %d changed, %d unmodified", r.DirsNew, r.DirsChanged, r.DirsUnmodified), plain}},
		{{"added", dim}, {fmt.Sprintf("%s, stored as %s", size64(r.DataAdded), size64(r.DataAddedPacked)), plain}},
		{{"looked at", dim}, {fmt.Sprintf("%s, %s in %s%s", count(int(r.Files), "file"), size64(r.Bytes), units.Duration(r.Took.Std()), rate(int64(r.Bytes), r.Took.Std())), plain}},
	})
	switch {
	case r.DryRun:
		p.line(span{"nothing was stored", dim}, span{": this was a dry run", dim})
	case r.Skipped:
		p.line(span{"no point was made", dim}, span{": nothing has changed", dim})
	case r.Point != nil:
		p.line(span{"point ", plain}, span{r.Point.ShortID, bold}, span{" is made", good})
	}
	if r.Errors > 0 {
		p.text(0, 2, span{count(r.Errors, "file"), bad}, span{" could not be read, or changed meanwhile: the point is not complete", plain})
	}
	return p.flush(w)
}

// size64 is units.Bytes of a count that has no sign.
func size64(n uint64) string { return units.Bytes(int64(min(n, 1<<63-1))) }

// rate is a speed in brackets, where there is one.
func rate(n int64, took time.Duration) string {
	if took < time.Millisecond || n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s/s)", units.Bytes(int64(float64(n)/took.Seconds())))
}

// restoreActions are what can become of an entry, in the order in which people want to know.
var restoreActions = []string{"created", "updated", "metadata", "unchanged", "skipped", "deleted"}

// VaultRestore says what became of a restore.
func VaultRestore(w io.Writer, r *api.VaultRestoreReply, s Style) error {
	p := newPage(s)
	var parts string
	for _, action := range restoreActions {
		if n := r.Entries[action]; n > 0 {
			if parts != "" {
				parts += ", "
			}
			name := action
			if action == "metadata" {
				name = "with other metadata"
			}
			parts += fmt.Sprintf("%d %s", n, name)
		}
	}
	if parts == "" {
		parts = "nothing was selected"
	}
	rows := [][]span{
		{{"entries", dim}, {parts, plain}},
		{{"content", dim}, {fmt.Sprintf("%s, %s: %s fetched, %s written, %s were right already", count(int(r.Files), "file"), units.Bytes(r.Bytes),
			units.Bytes(r.Fetched), units.Bytes(r.Written), units.Bytes(r.Reused)), plain}},
	}
	if !r.DryRun {
		rows = append(rows, []span{{"took", dim}, {units.Duration(r.Took.Std()) + rate(r.Bytes, r.Took.Std()), plain}})
	}
	p.table(0, rows)
	if r.DryRun && len(r.Deleted) > 0 {
		p.deletions(r)
	}
	for _, x := range r.Reduced {
		p.text(0, 2, span{"note: ", warn}, span{fmt.Sprintf("%s of %s could not be restored here, such as of %s: %s", x.What, count(x.Count, "entry"), x.Example, x.Cause), plain})
	}
	p.vaultFallbacks(r.Fallbacks)
	for _, d := range r.Differences {
		p.text(0, 2, span{"differs: ", bad}, span{d.Path + ": " + d.Error.Error(), plain})
	}
	if r.Verified > 0 {
		p.line(span{fmt.Sprintf("%s read back", count(r.Verified, "file")), plain})
	}
	if r.DeleteHeld {
		p.text(0, 2, span{"nothing was deleted", warn}, span{" because of the problems", plain})
	}
	switch {
	case r.Failed > 0:
		p.text(0, 2, span{count(r.Failed, "entry"), bad}, span{" could not be restored", plain})
	case r.DryRun:
		p.line(span{"nothing was changed: this was a dry run", dim})
	case len(r.Entries) == 0:
		p.text(0, 2, span{"nothing was restored", warn}, span{fmt.Sprintf(" of point %.8s", r.Point), plain})
	default:
		p.text(0, 2, span{"restored", good}, span{fmt.Sprintf(" point %.8s to %s", r.Point, r.Target), plain})
	}
	return p.flush(w)
}

// VaultDeletions shows what a restore would delete.
func VaultDeletions(w io.Writer, r *api.VaultRestoreReply, s Style) error {
	p := newPage(s)
	p.deletions(r)
	return p.flush(w)
}

func (p *page) deletions(r *api.VaultRestoreReply) {
	n := int(r.Entries["deleted"])
	p.text(0, 2, span{count(n, "entry"), bad}, span{fmt.Sprintf(" in %s would be deleted, for point %.8s does not have them:", r.Target, r.Point), plain})
	const most = 20
	for i, path := range r.Deleted {
		if i == most {
			break
		}
		p.line(span{"  " + path, plain})
	}
	if n > most {
		p.line(span{fmt.Sprintf("  and %d more; --dry-run -v names them all", n-most), dim})
	}
}

// vaultFallbacks says what replicas gave.
func (p *page) vaultFallbacks(all []api.VaultFallback) {
	for _, f := range all {
		if f.Blobs+f.Snapshots > 0 {
			p.text(0, 2, span{"from the replica ", warn}, span{fmt.Sprintf("%s: %s (%s), which the vault itself could not give; look with: %s",
				f.Replica, count(f.Blobs, "blob"), units.Bytes(f.Bytes), p.command("vault", "check", "--read-data")), plain})
		}
		if f.Failed > 0 {
			p.text(0, 2, span{"the replica ", warn}, span{fmt.Sprintf("%s was asked %d times in vain", f.Replica, f.Failed), plain})
		}
	}
}

// VaultMatches lists what was found while it is found, under a line for each point.
func VaultMatches(w io.Writer, matches iter.Seq2[*api.VaultMatch, error], long, packs bool, s Style) error {
	out := bufio.NewWriter(w)
	point := ""
	for m, err := range matches {
		if err != nil {
			out.Flush() // what there is so far; the error to tell is the first one
			return err
		}
		if m.Point != point {
			p := newPage(s)
			p.line(span{fmt.Sprintf("point %.8s", m.Point), bold}, span{" of " + units.Instant(m.Time, s.Zone), dim})
			if err := p.flush(out); err != nil {
				return err
			}
			point = m.Point
		}
		line := "  " + VaultEntry(&m.Entry, long, s)
		if m.Blob != "" {
			line += "  " + m.Blob
		}
		if packs && m.Pack != "" {
			line += " in pack " + m.Pack
		}
		if _, err := out.WriteString(line + "\n"); err != nil {
			return err
		}
	}
	return out.Flush()
}

// VaultCopy says what became of a copy.
func VaultCopy(w io.Writer, r *api.VaultCopyReply, s Style) error {
	p := newPage(s)
	verb := "copied"
	if r.DryRun {
		verb = "would be copied"
	}
	rows := [][]span{{{"from", dim}, {r.From, plain}}, {{"to", dim}, {r.To, plain}}}
	p.table(0, rows)
	for _, c := range r.Copied {
		text := fmt.Sprintf("point %.8s of %s %s", c.From, units.Instant(c.Time, s.Zone), verb)
		if c.To != "" {
			text += fmt.Sprintf(" as %.8s", c.To)
		}
		p.line(span{text, plain})
	}
	if n := len(r.Skipped); n > 0 {
		p.line(span{fmt.Sprintf("%s there already", count(n, "point")), dim})
	}
	size := units.Bytes(r.Bytes)
	if !r.DryRun {
		size += ", stored as " + units.Bytes(r.Stored)
	}
	p.text(0, 2, span{fmt.Sprintf("%s %s, %s in %s", count(len(r.Copied), "point"), verb, size, units.Duration(r.Took.Std())), plain})
	if r.Verified > 0 {
		p.line(span{fmt.Sprintf("%s read back", count(r.Verified, "blob")), plain})
	}
	if !r.CutAlike && len(r.Copied) > 0 {
		p.text(0, 2, span{"note: ", warn}, span{"the two vaults cut files at different places: what backups write to one is not recognised in the other. " +
			"A vault made with --copy-chunker-params cuts alike", plain})
	}
	p.vaultFallbacks(r.Fallbacks)
	for _, f := range r.Failed {
		p.text(0, 2, span{fmt.Sprintf("point %.8s was not copied: ", f.Point), bad}, span{f.Error.Error(), plain})
	}
	return p.flush(w)
}
