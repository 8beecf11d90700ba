package term

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
)

// VaultDiff lists what differs while it is found, and sums up.
func VaultDiff(w io.Writer, d *api.VaultDiff, s Style) error {
	out := bufio.NewWriter(w)
	p := newPage(s)
	p.line(span{fmt.Sprintf("from %s of %s to %s of %s", d.Before.ShortID, units.Instant(d.Before.Time, s.Zone), d.After.ShortID,
		units.Instant(d.After.Time, s.Zone)), dim})
	if err := p.flush(out); err != nil {
		return err
	}
	looks := map[string]look{"+": good, "-": bad, "M?": bad}
	p = newPage(s)
	for c, err := range d.Changes {
		if err != nil {
			out.Flush() // what there is so far; the error to tell is the first one
			return err
		}
		p.lines = p.lines[:0]
		p.line(span{fmt.Sprintf("%-3s", c.Modifier), looks[c.Modifier]}, span{c.Path, plain})
		if err := p.flush(out); err != nil {
			return err
		}
	}
	if r := d.Report(); r != nil {
		p = newPage(s)
		p.blank()
		row := func(name string, c api.VaultDiffCount) []span {
			what := count(c.Files, "file") + ", " + count(c.Dirs, "folder")
			if c.Others > 0 {
				what += ", " + count(c.Others, "other")
			}
			return []span{{name, dim}, {fmt.Sprintf("%s; %s in %s", what, size64(c.Bytes), count(c.DataBlobs+c.TreeBlobs, "blob")), plain}}
		}
		p.lines = append(p.lines, "")
		p.table(0, [][]span{{{"changed", dim}, {count(r.ChangedFiles, "file"), plain}}, row("added", r.Added), row("removed", r.Removed)})
		if err := p.flush(out); err != nil {
			return err
		}
	}
	return out.Flush()
}

// VaultStats says what points hold.
func VaultStats(w io.Writer, r *api.VaultStatsReply, s Style) error {
	p := newPage(s)
	rows := [][]span{{{"points", dim}, {fmt.Sprintf("%d, counted by %s", r.Points, r.Mode), plain}}}
	if r.Files > 0 {
		rows = append(rows, []span{{"files", dim}, {fmt.Sprint(r.Files), plain}})
	}
	if r.Blobs > 0 {
		rows = append(rows, []span{{"blobs", dim}, {fmt.Sprint(r.Blobs), plain}})
	}
	rows = append(rows, []span{{"size", dim}, {size64(r.Bytes), bold}})
	if r.Uncompressed > 0 {
		rows = append(rows, []span{{"without compression", dim}, {fmt.Sprintf("%s; %.1f %% is compressed, by %.2f; %.1f %% is saved", size64(r.Uncompressed),
			r.Progress, r.Ratio, r.Saving), plain}})
	}
	p.table(0, rows)
	return p.flush(w)
}

// VaultForget shows what is to become of points, and why.
func VaultForget(w io.Writer, r *api.VaultForgetReply, s Style) error {
	p := newPage(s)
	stays := map[string]bool{}
	for _, st := range r.Stayed {
		stays[st.Point] = true
	}
	gone, kept := 0, 0
	for _, g := range r.Groups {
		p.blank()
		if title := groupTitle(g); title != "" {
			p.text(0, 2, span{title, bold})
		}
		held := func(d api.VaultDecision) bool { return stays[d.Point.ID] }
		rows := append(p.decisions("stay", good, g.Keep), p.decisions("stay", warn, chosen(g.Go, held))...)
		p.table(2, append(rows, p.decisions("go", bad, chosen(g.Go, func(d api.VaultDecision) bool { return !held(d) }))...))
		gone, kept = gone+len(g.Go), kept+len(g.Keep)
	}
	p.blank()
	p.stayed(r.Stayed)
	switch {
	case gone == 0:
		p.line(span{"nothing is to go", dim})
	default:
		p.text(0, 2, span{fmt.Sprintf("%s to go, %d to stay", count(gone-len(stays), "point"), kept+len(stays)), bold})
	}
	return p.flush(w)
}

func groupTitle(g api.VaultForgetGroup) string {
	var parts []string
	if g.Host != "" {
		parts = append(parts, "host "+g.Host)
	}
	if len(g.Paths) > 0 {
		parts = append(parts, "paths "+strings.Join(g.Paths, ", "))
	}
	if len(g.Tags) > 0 {
		parts = append(parts, "tags "+strings.Join(g.Tags, ","))
	}
	return strings.Join(parts, ", ")
}

// chosen are the elements of list that choose wants.
func chosen(list []api.VaultDecision, choose func(api.VaultDecision) bool) []api.VaultDecision {
	return slices.DeleteFunc(slices.Clone(list), func(d api.VaultDecision) bool { return !choose(d) })
}

// decisions are rows of a table of points, each with why.
func (p *page) decisions(word string, l look, list []api.VaultDecision) (rows [][]span) {
	for _, d := range list {
		why := strings.Join(d.Reasons, ", ")
		if why == "" {
			why = "nothing keeps it"
		}
		rows = append(rows, []span{
			{word, l}, {d.Point.ShortID, bold}, {units.Instant(d.Point.Time, p.Zone), plain}, {d.Point.Hostname, plain},
			{strings.Join(d.Point.Tags, ","), accent}, {why, plain},
		})
	}
	return rows
}

// stayed names points that are still there although they were to go.
func (p *page) stayed(list []api.VaultStayed) {
	for _, st := range list {
		p.text(0, 2, span{fmt.Sprintf("%.8s stays: ", st.Point), warn}, span{st.Error.Error(), plain})
		if st.NotBefore != nil {
			p.text(2, 4, span{"the store lets it go after " + units.Instant(*st.NotBefore, p.Zone), dim})
		}
	}
}

// VaultForgot says what became of points that were to go: how many went, and those that are still there.
func VaultForgot(w io.Writer, removed int, stayed []api.VaultStayed, s Style) error {
	p := newPage(s)
	p.stayed(stayed)
	p.line(span{"forgot " + count(removed, "point"), plain})
	return p.flush(w)
}

// VaultTagged says what became of points whose tags were to change.
func VaultTagged(w io.Writer, r *api.VaultTagReply, s Style) error {
	p := newPage(s)
	for _, t := range r.Changed {
		p.line(span{fmt.Sprintf("point %.8s is now ", t.Old), plain}, span{fmt.Sprintf("%.8s", t.New), bold})
	}
	p.stayed(r.Failed)
	if r.Unchanged > 0 {
		p.line(span{fmt.Sprintf("%s had these tags already", count(r.Unchanged, "point")), dim})
	}
	if len(r.Changed)+len(r.Failed)+r.Unchanged == 0 {
		p.line(span{"no points are meant", dim})
	}
	return p.flush(w)
}

// VaultServing says where a server listens, and for whom.
func VaultServing(w io.Writer, v *api.VaultServing, s Style) error {
	p := newPage(s)
	who := count(v.Users, "user") + ", each with the folder of his name"
	switch {
	case v.Users < 0:
		who = "everybody who reaches it"
	case v.Users == 0:
		who = "nobody yet: lifeboat vault serve user add NAME"
	}
	mode := "can add, restore and delete"
	if v.AppendOnly {
		mode = "can add and restore; only admins delete"
	}
	rows := [][]span{{{"serving", dim}, {v.Folder, plain}}, {{"at", dim}, {v.URL, bold}}, {{"for", dim}, {who + ", who " + mode, plain}}}
	if v.Certificate != "" {
		rows = append(rows, []span{{"certificate", dim}, {v.Certificate, plain}})
	}
	if v.Fingerprint != "" {
		rows = append(rows, []span{{"", dim}, {"for " + strings.Join(v.Hosts, ", ") + "; SHA-256 " + v.Fingerprint, plain}})
	}
	p.table(0, rows)
	return p.flush(w)
}

// VaultUsers lists who may use a server.
func VaultUsers(w io.Writer, users []api.VaultUser, s Style) error {
	p := newPage(s)
	rows := [][]span{{{"USER", dim}, {"MAY", dim}}}
	for _, u := range users {
		may := "use the folder of this name"
		switch {
		case u.Admin:
			may = "use every repository, and delete"
		case u.AppendOnly:
			may = "add to the folder of this name, and not delete"
		}
		rows = append(rows, []span{{u.Name, bold}, {may, plain}})
	}
	p.table(0, rows)
	return p.flush(w)
}
