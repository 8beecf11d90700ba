package term

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
)

// VaultPoints lists recovery points.
func VaultPoints(w io.Writer, points []api.VaultPoint, s Style) error {
	p := newPage(s)
	if len(points) == 0 {
		p.line(span{"no points", dim})
		return p.flush(w)
	}
	p.vaultPoints(0, points)
	p.line(span{count(len(points), "point"), dim})
	return p.flush(w)
}

// vaultPoints is a table of points.
func (p *page) vaultPoints(indent int, points []api.VaultPoint) {
	rows := [][]span{{{"POINT", dim}, {"TIME", dim}, {"HOST", dim}, {"TAGS", dim}, {"PATHS", dim}}}
	for _, pt := range points {
		rows = append(rows, []span{
			{pt.ShortID, bold}, {units.Instant(pt.Time, p.Zone), plain}, {pt.Hostname, plain}, {strings.Join(pt.Tags, ","), accent},
			{strings.Join(pt.Paths, ", "), plain},
		})
	}
	p.table(indent, rows)
}

// VaultEntries lists the files of a point while they come: their paths, or with long as ls -l does.
func VaultEntries(w io.Writer, entries iter.Seq2[*api.VaultEntry, error], long bool, s Style) error {
	out := bufio.NewWriter(w)
	for e, err := range entries {
		if err != nil {
			out.Flush() // what there is so far; the error to tell is the first one
			return err
		}
		if _, err := out.WriteString(VaultEntry(e, long, s) + "\n"); err != nil {
			return err
		}
	}
	return out.Flush()
}

// VaultEntry is one file's line.
func VaultEntry(e *api.VaultEntry, long bool, s Style) string {
	name := clean(e.Path)
	if !long {
		return name
	}
	if e.LinkTarget != "" {
		name += " -> " + clean(e.LinkTarget)
	}
	owner := func(name string, id uint32) string {
		if name = clean(name); name != "" {
			return name
		}
		return fmt.Sprint(id)
	}
	return fmt.Sprintf("%s %-8s %-8s %10d %s %s", e.Permissions, owner(e.User, e.UID), owner(e.Group, e.GID), e.Size,
		units.Instant(e.ModTime, s.Zone)[:19], name)
}

// VaultKeys lists passwords' ways into a vault.
func VaultKeys(w io.Writer, keys []api.VaultKey, s Style) error {
	p := newPage(s)
	rows := [][]span{{{"  KEY", dim}, {"CREATED", dim}, {"USER", dim}, {"HOST", dim}}}
	for _, k := range keys {
		mark := "  "
		if k.Current {
			mark = "* "
		}
		rows = append(rows, []span{{mark + k.ID[:min(8, len(k.ID))], bold}, {units.Instant(k.Created, p.Zone), plain}, {k.Username, plain}, {k.Hostname, plain}})
	}
	p.table(0, rows)
	return p.flush(w)
}

// VaultUnlock says which locks went and which stay; dry: which would.
func VaultUnlock(w io.Writer, r *api.VaultUnlockReply, dry bool, s Style) error {
	p := newPage(s)
	list := func(title string, look look, locks []api.VaultLock) {
		if len(locks) == 0 {
			return
		}
		p.line(span{fmt.Sprintf(title, count(len(locks), "lock")), look})
		var rows [][]span
		for _, l := range locks {
			kind := "shared"
			if l.Exclusive {
				kind = "exclusive"
			}
			if l.Stale {
				kind += ", stale"
			}
			seen := units.Instant(l.Time, p.Zone)
			if !p.Now.IsZero() {
				seen = units.Ago(l.Time, p.Now)
			}
			rows = append(rows, []span{
				{l.ID[:min(8, len(l.ID))], bold}, {kind, plain}, {fmt.Sprintf("process %d of %s on %s", l.PID, l.Username, l.Hostname), plain},
				{"refreshed " + seen, plain},
			})
		}
		p.table(2, rows)
	}
	went := "removed %s"
	if dry {
		went = "%s would be removed"
	}
	list(went, plain, r.Removed)
	list("%s left: somebody may be at work", warn, r.Left)
	if len(r.Left) > 0 {
		p.text(0, 2, span{"one that is not refreshed for half an hour counts no more; when nobody is at work on the vault, on no machine: " +
			s.command("vault", "unlock", "--remove-all"), dim})
	}
	if len(r.Removed)+len(r.Left) == 0 {
		p.line(span{"no locks", dim})
	}
	return p.flush(w)
}

// VaultCheck says what a check found.
func VaultCheck(w io.Writer, r *api.VaultCheckReply, s Style) error {
	p := newPage(s)
	p.text(0, 2, span{fmt.Sprintf("%s, %s, %s, %s, %s", count(r.Points, "point"), count(r.Trees, "folder"), count(r.Files, "file"),
		count(r.Packs, "pack"), count(r.Blobs, "blob")), plain})
	if r.BytesRead > 0 {
		rate := ""
		if d := r.Took.Std(); d > 0 {
			rate = fmt.Sprintf(" (%s/s)", units.Bytes(int64(float64(r.BytesRead)/d.Seconds())))
		}
		p.text(0, 2, span{fmt.Sprintf("read %s in %s%s", units.Bytes(r.BytesRead), units.Duration(r.Took.Std()), rate), plain})
	}
	for _, h := range r.Hints {
		p.text(0, 2, span{"note: ", dim}, span{h, plain})
	}
	if r.OK {
		p.line(span{"ok", good}, span{" nothing is wrong", plain})
		return p.flush(w)
	}
	for _, c := range causes(r.Problems) {
		p.cause(c)
	}
	p.blank()
	p.text(0, 2, span{count(len(r.Problems), "problem"), bad}, span{"; what to do: " + p.command("vault", "repair", "all", "--dry-run"), plain})
	return p.flush(w)
}

// cause is one thing that is wrong, with all that is wrong because of it.
type cause struct {
	text     string
	subjects []string
	places   []api.VaultPlace // without repeats
	more     int
}

// causes gathers problems by what they say, in their order: a pack that is gone is one cause, and not one for each blob.
func causes(problems []api.VaultProblem) []*cause {
	var list []*cause
	known := map[string]*cause{}
	seen := map[string]bool{}
	for _, pr := range problems {
		text := pr.Error.Error()
		c := known[text]
		if c == nil {
			c = &cause{text: text}
			known[text] = c
			list = append(list, c)
		}
		c.subjects = append(c.subjects, pr.Subject)
		c.more += pr.More
		for _, at := range pr.Affects {
			if key := text + "\x00" + at.Point + "\x00" + at.Path; !seen[key] {
				seen[key] = true
				c.places = append(c.places, at)
			}
		}
	}
	return list
}

// maxCausePlaces is how many paths are shown under one cause; -o json has more.
const maxCausePlaces = 50

func (p *page) cause(c *cause) {
	p.blank()
	head := c.subjects[0]
	if n := len(c.subjects) - 1; n > 0 {
		head += fmt.Sprintf(" and %d more", n)
	}
	p.text(0, 2, span{head + ": ", bold}, span{c.text, bad})
	if len(c.places)+c.more == 0 {
		p.text(2, 4, span{"no point needs it", dim})
	}
	for _, at := range c.places[:min(len(c.places), maxCausePlaces)] {
		p.text(2, 4, span{fmt.Sprintf("point %.8s  %s", at.Point, at.Path), plain})
	}
	if n := max(0, len(c.places)-maxCausePlaces) + c.more; n > 0 {
		p.text(2, 4, span{fmt.Sprintf("and %d more", n), plain})
	}
}
