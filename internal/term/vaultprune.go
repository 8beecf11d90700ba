package term

import (
	"fmt"
	"io"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
)

// VaultPrunePlan shows what a prune would do.
func VaultPrunePlan(w io.Writer, r *api.VaultPrunePlan, s Style) error {
	p := newPage(s)
	row := func(name string, l look, a api.VaultAmount, what string, packs bool) []span {
		n := count(a.Blobs, "blob")
		if packs {
			n = count(a.Packs, "pack")
		}
		return []span{{name, l}, {n, plain}, {units.Bytes(a.Bytes), plain}, {what, dim}}
	}
	rows := [][]span{
		row("used", plain, r.Used, "points need it", false),
		row("duplicate", plain, r.Duplicate, "further copies of that", false),
		row("unused", plain, r.Unused, "no point needs it", false),
		row("stored", plain, r.Total, "all together", true),
	}
	p.table(0, rows)
	p.blank()
	rows = [][]span{row("stay", good, r.Keep, "as they are", true)}
	for _, x := range []struct {
		name string
		l    look
		a    api.VaultAmount
		what string
	}{
		{"rewrite", warn, r.Repack, "half-empty; " + units.Bytes(r.Dropped.Bytes) + " of it is not written again"},
		{"go", bad, r.Remove, "nothing in them is needed"},
		{"go", bad, r.Unlisted, "no index lists them: left by writers that did not finish, or by earlier prunes"},
		{"go now", bad, r.Due, "out of the index for long enough"},
		{"wait", dim, r.Waiting, "out of the index, and not for long enough" + when(r.Next, p.Zone)},
		{"kept", warn, r.Retained, "the store does not let them go yet" + when(r.Free, p.Zone)},
	} {
		if x.a.Packs > 0 {
			rows = append(rows, row(x.name, x.l, x.a, x.what, true))
		}
	}
	if r.Missing > 0 {
		rows = append(rows, []span{{"gone", warn}, {count(r.Missing, "pack"), plain}, {"", plain}, {"listed, not stored and not needed: taken out of the index", dim}})
	}
	p.table(0, rows)
	p.blank()
	if r.Changes() {
		p.text(0, 2, span{units.Bytes(r.Frees), bold}, span{" will be free at last", plain})
	} else {
		p.line(span{"nothing is to be done", dim})
	}
	return p.flush(w)
}

func when(t *time.Time, zone *time.Location) string {
	if t == nil {
		return ""
	}
	return ": the first at " + units.Instant(*t, zone)
}

// VaultPruned says what a prune did.
func VaultPruned(w io.Writer, r *api.VaultPruneReply, s Style) error {
	p := newPage(s)
	for _, x := range []struct {
		a    api.VaultAmount
		what string
	}{
		{r.Written, "written with what was needed of others"},
		{r.Hidden, "taken out of the index"},
		{r.Removed, "removed"},
	} {
		if x.a.Packs > 0 {
			p.line(span{fmt.Sprintf("%s %s (%s)", count(x.a.Packs, "pack"), x.what, units.Bytes(x.a.Bytes)), plain})
		}
	}
	if r.Relisted > 0 {
		p.line(span{fmt.Sprintf("%s listed again: points need them", count(r.Relisted, "pack")), warn})
	}
	if r.Waiting.Packs > 0 {
		p.text(0, 2, span{fmt.Sprintf("%s (%s) wait to be removed", count(r.Waiting.Packs, "pack"), units.Bytes(r.Waiting.Bytes)), plain},
			span{when(r.Next, p.Zone) + "; prune again after that", dim})
	}
	if r.Retained.Packs > 0 {
		p.text(0, 2, span{fmt.Sprintf("%s (%s) are kept by the store", count(r.Retained.Packs, "pack"), units.Bytes(r.Retained.Bytes)), plain},
			span{when(r.Free, p.Zone), dim})
	}
	p.line(span{"pruned", good}, span{" in " + units.Duration(r.Took.Std()), plain})
	return p.flush(w)
}

// VaultRetained says what a renewal of retentions did.
func VaultRetained(w io.Writer, r *api.VaultRetainReply, s Style) error {
	p := newPage(s)
	verb := "renewed"
	if r.DryRun {
		verb = "would be renewed"
	}
	p.text(0, 2, span{fmt.Sprintf("points need %s (%s); %d %s for %s", count(r.Needed, "object"), units.Bytes(r.Bytes), r.Renewed, verb,
		units.Duration(r.For.Std())), plain})
	if r.Replaced > 0 {
		p.line(span{fmt.Sprintf("%s replaced, and left to end", count(r.Replaced, "index file")), plain})
	}
	if r.Unneeded.Packs > 0 {
		p.text(0, 2, span{fmt.Sprintf("%s (%s) that no point needs are left to end", count(r.Unneeded.Packs, "pack"), units.Bytes(r.Unneeded.Bytes)), plain})
	}
	if r.Next != nil {
		p.text(0, 2, span{"run it again before " + units.Instant(*r.Next, p.Zone), bold})
	}
	return p.flush(w)
}
