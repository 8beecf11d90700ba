package term

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
)

// VaultRepair says what a repair did, or would do, and what is lost for good.
func VaultRepair(w io.Writer, r *api.VaultRepairReply, s Style) error {
	p := newPage(s)
	if x := r.Index; x != nil {
		p.indexRepair(x)
	}
	if x := r.Packs; x != nil {
		p.packsRepair(x)
	}
	if x := r.Refill; x != nil {
		p.refill(x)
	}
	for _, pt := range r.Points {
		p.pointRepair(pt, r.DryRun)
	}
	if r.What == api.RepairSnapshots && len(r.Points) == 0 {
		p.line(span{"no point needs a repair", good})
	}
	for _, what := range slices.Sorted(maps.Keys(r.Hidden)) {
		p.line(span{what + " ", dim}, span{count(r.Hidden[what], "object") + " hidden", plain})
	}
	if r.What == api.RepairHidden && len(r.Hidden) == 0 {
		p.line(span{"nothing is hidden", good})
	}
	p.vaultFallbacks(r.Fallbacks)
	if r.DryRun {
		p.line(span{"nothing was changed: this was a dry run", dim})
		if r.What == api.RepairAll && r.Packs == nil {
			p.text(0, 2, span{"what is wrong with packs can be told when the index is repaired", dim})
		}
	}
	if err := p.flush(w); err != nil || r.Check == nil {
		return err
	}
	return VaultCheck(w, r.Check, s)
}

func (p *page) indexRepair(x *api.VaultIndexRepair) {
	for _, d := range x.Damaged {
		p.text(0, 2, span{fmt.Sprintf("index %.8s cannot be read: ", d.ID), bad}, span{d.Error.Error(), plain})
	}
	for _, id := range x.Gone {
		p.text(0, 2, span{fmt.Sprintf("pack %.8s is listed and gone", id), bad})
	}
	finding := func(what string, list []api.VaultPackFinding) {
		for _, f := range list {
			spans := []span{{fmt.Sprintf("pack %.8s %s: %s listed", f.ID, what, count(f.Blobs, "blob")), plain}}
			if f.Error != nil {
				spans = append(spans, span{"; its own list: " + f.Error.Error(), bad})
			}
			p.text(0, 2, spans...)
		}
	}
	finding("was in no index", x.Unlisted)
	finding("was looked at", x.Changed)
	if x.Rewritten+x.Written == 0 {
		p.line(span{"index ", dim}, span{"nothing is wrong with it", plain})
		return
	}
	p.line(span{"index ", dim}, span{fmt.Sprintf("%s replaced by %d", count(x.Rewritten, "file"), x.Written), plain})
}

func (p *page) packsRepair(x *api.VaultPacksRepair) {
	for _, k := range x.Packs {
		state := "is damaged"
		if k.Gone {
			state = "is gone"
		}
		p.text(0, 2, span{fmt.Sprintf("pack %.8s %s: ", k.ID, state), bad}, span{fmt.Sprintf("%d blobs saved from it, %d from copies, %d are elsewhere too",
			k.Salvaged, k.Fetched, k.Elsewhere), plain}, span{lostText(len(k.Lost)), bad})
	}
	if len(x.Packs) == 0 {
		p.line(span{"packs ", dim}, span{"no damaged ones", plain})
	}
}

func lostText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %s lost", count(n, "blob"))
}

func (p *page) refill(x *api.VaultRefill) {
	if x.Blobs+len(x.Points) > 0 {
		p.text(0, 2, span{"from copies ", dim}, span{fmt.Sprintf("%s (%s) and %s", count(x.Blobs, "blob"), units.Bytes(x.Bytes), count(len(x.Points), "point")), good})
	}
	if n := len(x.Lost); n > 0 {
		p.text(0, 2, span{count(n, "blob"), bad}, span{" that points need, and nobody has", plain})
	}
	for _, id := range x.Unreadable {
		p.text(0, 2, span{fmt.Sprintf("point %.8s cannot be read, and nobody has it", id), bad})
	}
}

func (p *page) pointRepair(pt api.VaultPointRepair, dry bool) {
	head := fmt.Sprintf("point %.8s ", pt.Point)
	switch {
	case pt.Nothing:
		p.text(0, 2, span{head, bold}, span{"nothing is left of it", bad})
	case dry:
		p.text(0, 2, span{head, bold}, span{"would be made again without:", plain})
	default:
		p.text(0, 2, span{head, bold}, span{fmt.Sprintf("is made again as %.8s, without:", pt.New), plain})
	}
	const most = 50
	for i, l := range pt.Losses {
		if i == most {
			p.line(span{fmt.Sprintf("  and %d more", len(pt.Losses)-most), dim})
			break
		}
		size := ""
		if l.Bytes > 0 {
			size = " (" + size64(l.Bytes) + ")"
		}
		p.text(2, 4, span{l.Path, plain}, span{": " + l.What + size, dim})
	}
	if pt.Forgot {
		word := "it is forgotten"
		if dry {
			word = "it would be forgotten"
		}
		p.text(2, 4, span{word, dim})
	}
}
