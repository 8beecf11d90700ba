package term

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
)

// VaultProgress shows how far a long call on a vault is: a line redrawn in place on a terminal, now and then a plain line
// elsewhere. What went wrong meanwhile is a line that stays. Make one with [NewVaultProgress], give its Event to the call,
// and Close it when the call has returned.
type VaultProgress struct {
	moving
	items bool
	last  api.VaultEvent
	phase time.Time // when the present phase began
}

// NewVaultProgress begins. Items: files are lines, too. The caller closes it.
func NewVaultProgress(w io.Writer, items bool, opts WatchOptions) *VaultProgress {
	v := &VaultProgress{items: items}
	v.begin(w, opts, v.text)
	v.phase = v.start
	go v.run()
	return v
}

// Event takes what the call tells. An error of the writer goes unsaid: the call matters more than its picture.
func (v *VaultProgress) Event(e api.VaultEvent) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case e.Problem != nil:
		v.clear()
		p := newPage(v.opts.Style)
		p.text(0, 2, span{"problem: ", bad}, span{e.Problem.Error(), plain})
		_ = p.flush(v.w)
	case e.Item != nil:
		if v.items {
			v.clear()
			p := newPage(v.opts.Style)
			p.Width = 0
			size := ""
			if e.Item.Size > 0 {
				size = "  " + units.Bytes(e.Item.Size)
			}
			p.line(span{fmt.Sprintf("%-10s ", e.Item.Action), dim}, span{e.Item.Path, plain}, span{size, dim})
			_ = p.flush(v.w)
		}
	default:
		if e.Phase != v.last.Phase {
			v.phase = v.opts.Now()
		}
		v.last = e
	}
}

// text is how far it is, in words: phase, share, counts, rate, time left; and on a terminal what is at hand.
func (v *VaultProgress) text(now time.Time) string {
	e := v.last
	if e.Phase == "" {
		return ""
	}
	parts := []string{clean(e.Phase)}
	share, known := 0.0, true
	switch {
	case e.TotalBytes > 0:
		share = float64(e.Bytes) / float64(e.TotalBytes)
	case e.TotalFiles > 0:
		share = float64(e.Files) / float64(e.TotalFiles)
	default:
		known = false
	}
	share = min(1, max(0, share))
	if known {
		parts = append(parts, fmt.Sprintf("%.1f %%", 100*share))
	}
	unit := e.Unit
	if unit == "" {
		unit = "files"
	}
	switch {
	case e.TotalFiles > 0:
		parts = append(parts, fmt.Sprintf("%d/%d %s", e.Files, e.TotalFiles, clean(unit)))
	case e.Files > 0:
		parts = append(parts, fmt.Sprintf("%d %s", e.Files, clean(unit)))
	}
	elapsed := now.Sub(v.phase)
	if e.Bytes > 0 || e.TotalBytes > 0 {
		size := units.Bytes(e.Bytes)
		if e.TotalBytes > 0 {
			size += " of " + units.Bytes(e.TotalBytes)
		}
		parts = append(parts, size)
		if elapsed >= time.Second {
			parts = append(parts, units.Bytes(int64(float64(e.Bytes)/elapsed.Seconds()))+"/s")
		}
	}
	if known && share >= 0.01 && share < 1 && elapsed >= 2*time.Second { // from less nothing can be told
		left := time.Duration(float64(elapsed) * (1 - share) / share).Truncate(time.Second)
		parts = append(parts, units.Duration(left)+" left")
	}
	if v.opts.Live && e.Current != "" {
		parts = append(parts, clean(e.Current))
	}
	return strings.Join(parts, "  ")
}
