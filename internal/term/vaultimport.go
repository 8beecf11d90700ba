package term

import (
	"fmt"
	"io"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
)

// VaultImport says what became of an import.
func VaultImport(w io.Writer, r *api.VaultImportReply, s Style) error {
	p := newPage(s)
	p.table(0, [][]span{{{"from", dim}, {r.From + ", stanza " + r.Stanza, plain}}, {{"to", dim}, {r.To, plain}}})
	for i := range r.Logs {
		p.blank()
		p.importedLog(&r.Logs[i], r.DryRun)
	}
	n := map[string]int{}
	if len(r.Points) > 0 {
		p.blank()
		words := map[string]span{api.VaultImportMade: {"imported", good}, api.VaultImportThere: {"there already", dim},
			api.VaultImportNew: {"would be imported", plain}, api.VaultImportFails: {"NOT IMPORTED", bad}}
		rows := [][]span{{{"BACKUP", dim}, {"TYPE", dim}, {"TIME", dim}, {"SIZE", dim}, {"", dim}, {"POINT", dim}}}
		for _, b := range r.Points {
			n[b.State]++
			rows = append(rows, []span{{b.Label, bold}, {b.Type, plain}, {units.Instant(b.Time, s.Zone), plain}, {units.Bytes(b.Bytes), plain},
				words[b.State], {fmt.Sprintf("%.8s", b.Point), plain}})
		}
		p.table(0, rows)
	}
	for _, b := range r.Points {
		for _, e := range b.Problems {
			p.text(0, 2, span{b.Label + " is not imported: ", bad}, span{e.Error(), plain})
		}
		p.importMore(b.Failed - len(b.Problems))
		for _, text := range b.Notes {
			p.text(0, 2, span{"note: ", warn}, span{b.Label + ": " + text, plain})
		}
	}
	p.blank()
	if r.DryRun {
		p.line(span{count(n[api.VaultImportNew], "backup") + " would be imported", plain}, span{": this was a dry run, and no file was read", dim})
	} else {
		p.line(span{fmt.Sprintf("%s imported, %s read, %s stored, in %s", count(n[api.VaultImportMade], "backup"), units.Bytes(r.Bytes), units.Bytes(r.Stored),
			units.Duration(r.Took.Std())), plain})
	}
	return p.flush(w)
}

func (p *page) importedLog(l *api.VaultImportLog, dry bool) {
	verb := "imported"
	if dry {
		verb = "would be imported"
	}
	p.text(0, 2, span{"log of cluster " + l.Cluster, bold}, span{fmt.Sprintf(": %s, %d of them %s", count(l.Segments, "segment"), l.NewSegments, verb), plain})
	for i, s := range l.Spans {
		if i > 0 && s.Gap != "" {
			p.text(2, 4, span{"apart: ", warn}, span{s.Gap, plain})
		}
		p.line(span{fmt.Sprintf("  %s on timeline %d to %s on timeline %d", s.From, s.FromTimeline, s.To, s.ToTimeline), plain})
	}
	for _, e := range l.Problems {
		p.text(2, 4, span{"left out: ", bad}, span{e.Error(), plain})
	}
	p.importMore(l.Failed - len(l.Problems))
	for _, text := range l.Notes {
		p.text(2, 4, span{"note: ", warn}, span{text, plain})
	}
}

func (p *page) importMore(n int) {
	if n > 0 {
		p.line(span{fmt.Sprintf("  and %d more", n), dim})
	}
}
