package files

import (
	"bytes"
	"context"
	"encoding/json"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/files/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// markScript replaces the marker file of a live folder by its standard input, durably.
const markScript = `
[ -d "$1" ] || { echo absent; exit 0; }
tmp=$1/` + job.Marker + `.new
cat >"$tmp" && chmod 644 "$tmp" && sync "$tmp" && mv "$tmp" "$1/` + job.Marker + `" && sync "$1" && echo written
`

// marker is what the marker file holds.
type marker struct {
	App      model.AppID      `json:"app"`
	Resource model.ResourceID `json:"resource"`
	model.Marker
}

// WriteMarker writes m into the live folder, at whichever site that is. Two live ones are a Conflict, and neither is
// trusted.
func (d *Driver) WriteMarker(ctx context.Context, t driver.Target, m model.Marker) error {
	text, err := json.Marshal(marker{t.App, t.Resource.ID, m})
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write marker", string(t.Resource.ID))
	}
	type answer struct {
		site    model.SiteID
		written bool
		err     error
	}
	answers := make([]answer, 0, len(t.Resource.Sites))
	var mu sync.Mutex
	var all sync.WaitGroup
	for site := range t.Resource.Sites {
		p, err := newPlace(t, site)
		if err != nil {
			return err
		}
		all.Go(func() {
			res, err := p.host().ScriptIn(ctx, bytes.NewReader(text), markScript, p.at.Folder)
			if err == nil {
				err = res.Err(failure.Denied, "write marker into", p.subject())
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, answer{site, err == nil && strings.HasPrefix(res.Text(), "written"), err})
		})
	}
	all.Wait()
	var written []string
	var failed error
	for _, a := range answers {
		if a.written {
			written = append(written, string(a.site))
		}
		if a.err != nil {
			failed = a.err
		}
	}
	switch {
	case len(written) == 1:
		return nil
	case len(written) > 1:
		return failure.New(failure.Conflict, "write marker into", string(t.Resource.ID), "the folder is live at %s", strings.Join(written, " and ")).
			WithHint("lifeboat status %s", t.App)
	case failed != nil:
		return failed
	}
	return failure.New(failure.NotFound, "write marker into", string(t.Resource.ID), "the folder is live at none of its sites")
}

// ReadMarker reads the marker of the copy that was brought back at req.Site, or in a drill of the drill's copy.
func (d *Driver) ReadMarker(ctx context.Context, req driver.Request) (driver.Handle, error) {
	if err := ctx.Err(); err != nil {
		return driver.Handle{}, failure.Wrap(err, "read marker of", string(req.Resource.ID))
	}
	if _, err := newPlace(req.Target, req.Site); err != nil {
		return driver.Handle{}, err
	}
	return driver.NewHandle(handleVersion, handle{At: d.now()})
}

func (d *Driver) observeMarker(ctx context.Context, req driver.Request, p *place) (driver.Observation, error) {
	folder := p.at.Folder
	if copied := req.Inputs[string(req.Resource.ID)+".path"].Text; copied != "" {
		folder = copied
	}
	failed := func(err error) (driver.Observation, error) {
		return driver.Observation{State: driver.Failed, Err: failure.From(err)}, nil
	}
	// The one that came back, as it was before the folder went live: by now there may be a newer one.
	text := req.Inputs[string(req.Resource.ID)+".marker"].Text
	if text == "" {
		var err error
		if text, err = readMarkerFile(ctx, p, folder); err != nil {
			return driver.Observation{}, err
		}
	}
	if text == "" || text == noMarker {
		return failed(failure.New(failure.NotFound, "read marker of", p.subject(), "%s has none", folder).
			WithHint("markers are written by: lifeboat protect %s", req.App))
	}
	var m marker
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return failed(failure.WrapAs(failure.Corrupt, err, "read marker of", p.subject()))
	}
	if m.App != req.App || m.Resource != req.Resource.ID {
		return failed(failure.New(failure.Conflict, "read marker of", p.subject(), "it is of %s/%s", m.App, m.Resource))
	}
	return driver.Observation{State: driver.Done, Outputs: map[string]model.Value{
		"marker_at": driver.Time(m.At), "marker_seq": driver.Number(strconv.FormatInt(m.Seq, 10))}}, nil
}

// noMarker is what a promotion says of a copy without a marker.
const noMarker = "none"

// readMarkerFile gives the marker file of a folder; empty: there is none.
func readMarkerFile(ctx context.Context, p *place, folder string) (string, error) {
	res, err := p.host().Script(ctx, `[ -e "$1" ] || exit 0; cat "$1"`, path.Join(folder, job.Marker))
	if err == nil {
		err = res.Err(failure.Denied, "read marker of", p.subject())
	}
	return res.Text(), err
}
