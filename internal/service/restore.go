package service

import (
	"cmp"
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// positionForm is how PostgreSQL writes a position in its log.
var positionForm = regexp.MustCompile(`^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$`)

// checkRestore finds what cannot be meant by any kind.
func checkRestore(spec model.RestoreSpec, named bool) error {
	invalid := func(hint, format string, args ...any) error {
		return failure.New(failure.Invalid, "", "", format, args...).WithHint("%s", hint)
	}
	switch {
	case named && (spec.Folder != "" || spec.InPlace || spec.Here || spec.Name == ""):
		return invalid("--as NAME", "copies of this kind are restored under a name of their own")
	case named:
		return checkTarget(spec.To)
	case spec.Name != "":
		return invalid("--into FOLDER", "copies of this kind are restored into a folder, and have no name")
	case spec.InPlace && (spec.Folder != "" || spec.Here):
		return invalid("name a folder, or restore in place", "in place goes without a folder")
	case !spec.InPlace && spec.Folder == "":
		return invalid("--into FOLDER", "no folder is named to restore into")
	case spec.Folder != "" && !filepath.IsAbs(spec.Folder):
		return invalid("write the whole path", "the folder %q is not absolute", spec.Folder)
	case spec.Folder != "" && filepath.Clean(spec.Folder) == "/":
		return invalid("name a folder of its own", "a restore into / would mix it with the system")
	}
	return checkTarget(spec.To)
}

// named says whether the one resource to restore gets a name rather than a folder. What is no such resource is reported
// when the plan is made.
func (s *Service) named(app model.App, resources []model.ResourceID) bool {
	if len(resources) != 1 {
		return false
	}
	r, ok := app.Resource(resources[0])
	if !ok {
		return false
	}
	d, err := s.opts.Drivers.Get(r.Kind)
	return err == nil && d.Facts().Named
}

// checkTarget refuses what is no state to restore to.
func checkTarget(to string) error {
	wrong := func(format string, args ...any) error {
		return failure.New(failure.Invalid, "", "", format, args...).
			WithHint("latest, immediate, a time such as 2026-05-04T12:30:00Z, lsn:0/3000060, name:before-upgrade, xid:4711, before-xid:4711")
	}
	what, value, found := strings.Cut(to, ":")
	switch {
	case to == "" || to == "latest" || to == "immediate":
		return nil
	case found && what == "lsn":
		if !positionForm.MatchString(value) {
			return wrong("%q is no position of the log", value)
		}
		return nil
	case found && what == "name":
		if value == "" || len(value) > 63 {
			return wrong("%q is no name of a restore point: they have 1 to 63 characters", value)
		}
		return nil
	case found && (what == "xid" || what == "before-xid"):
		if _, err := strconv.ParseUint(value, 10, 64); err != nil {
			return wrong("%q is no transaction id", value)
		}
		return nil
	}
	if _, err := time.Parse(time.RFC3339Nano, to); err != nil {
		return wrong("%q is no state to restore to", to)
	}
	return nil
}

// inSpool adds to the newest range of a stream what lies in the site's spool and not in the vault yet.
func inSpool(ranges []model.Range, st model.Stream) {
	if st.Unstored == 0 || st.Position == "" || st.NeedsPoint != "" {
		return
	}
	for i := range slices.Backward(ranges) {
		r := &ranges[i]
		if r.Resource != st.Resource || r.Site != st.Site {
			continue
		}
		if r.Gap == "" && r.To != st.Position {
			stored := r.ToTime
			r.VaultTo, r.VaultToTime, r.To = r.To, &stored, st.Position
			if st.LagTime != nil && st.At.Add(-st.LagTime.Std()).After(stored) {
				r.ToTime = st.At.Add(-st.LagTime.Std()).UTC()
			}
		}
		return
	}
}

// rangesOf asks one site after the other, until one answers.
func (s *Service) rangesOf(ctx context.Context, app model.App, r model.Resource) (ranges []model.Range, missed error) {
	d, err := s.opts.Drivers.Get(r.Kind)
	if err != nil {
		return nil, err
	}
	ranger, ok := driver.As[driver.Ranger](d)
	if !ok {
		return nil, nil
	}
	for _, site := range append([]model.SiteID{app.Home}, app.Recovery...) {
		call, cancel := context.WithTimeout(ctx, pointsTimeout)
		found, err := ranger.Ranges(call, driver.Target{App: app.ID, Resource: r, Site: site})
		cancel()
		if len(found) > 0 && err == nil {
			return found, nil
		}
		if err == nil {
			continue
		}
		s.log.Warn("ranges not listed", "resource", r.ID, "site", site, "err", err)
		missed = cmp.Or(missed, err)
	}
	return nil, missed
}
