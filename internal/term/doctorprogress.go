package term

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/model"
)

// DoctorProgress shows what a doctor asks, site by site: a line redrawn in place on a terminal, now and then a plain line elsewhere.
// Make one with [NewDoctorProgress], give its Event to the call, and Close it when the call has returned.
type DoctorProgress struct {
	moving
	open     []api.DoctorAsking // oldest first
	answered int
}

// NewDoctorProgress begins. The caller closes it.
func NewDoctorProgress(w io.Writer, opts WatchOptions) *DoctorProgress {
	d := &DoctorProgress{}
	d.begin(w, opts, d.text)
	go d.run()
	return d
}

// Event takes a question that is put, or over.
func (d *DoctorProgress) Event(a api.DoctorAsking) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !a.Over {
		d.open = append(d.open, a)
		return
	}
	d.answered++
	i := slices.IndexFunc(d.open, func(o api.DoctorAsking) bool { return o.Site == a.Site && o.What == a.What })
	if i >= 0 {
		d.open = slices.Delete(d.open, i, i+1)
	}
}

// text names for each site the question that has been open longest, and how many others are.
func (d *DoctorProgress) text(time.Time) string {
	var sites []model.SiteID
	first, others := map[model.SiteID]string{}, map[model.SiteID]int{}
	for _, a := range d.open {
		if first[a.Site] != "" {
			others[a.Site]++
			continue
		}
		sites = append(sites, a.Site)
		first[a.Site] = a.What
	}
	slices.Sort(sites)
	parts := []string{fmt.Sprintf("%d answered", d.answered)}
	for _, site := range sites {
		text := clean(first[site])
		if site != "" {
			text = string(site) + ": " + text
		}
		if n := others[site]; n > 0 {
			text += fmt.Sprintf(" and %d more", n)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "  ")
}
