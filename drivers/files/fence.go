package files

import (
	"context"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/files/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Fence takes the folder's name away at req.Site: what opens files by it finds none. It needs neither the vault nor a
// lifeboat on the host.
func (d *Driver) Fence(ctx context.Context, req driver.Request) (driver.Handle, error) {
	p, err := newPlace(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	if _, err := p.takeAway(ctx); err != nil {
		return driver.Handle{}, unproven(err)
	}
	return driver.NewHandle(handleVersion, handle{At: d.now()})
}

// unproven says of a host that does not answer that nothing is proven.
func unproven(err error) error {
	if failure.KindOf(err) == failure.Unavailable || failure.KindOf(err) == failure.Indeterminate {
		return driver.Unproven(nil, "", "shut the host out by other means", "%v", err)
	}
	return err
}

// observeFence proves it now: the folder is gone from its name, and no process has a file of it open for writing.
func (d *Driver) observeFence(ctx context.Context, p *place) (driver.Observation, error) {
	t, err := p.takeAway(ctx)
	if err != nil {
		return driver.Observation{}, unproven(err)
	}
	if len(t.writers) > 0 {
		return driver.Observation{State: driver.Pending, Again: vaultjob.Again,
			Phase: "still open for writing: " + strings.Join(t.writers, ", ")}, nil
	}
	evidence := []model.Fact{{Name: "folder", Value: p.at.Folder + " is not there"}}
	if t.kept {
		evidence = append(evidence, model.Fact{Name: "kept as", Value: p.at.Folder + job.Fenced})
	}
	if t.aside != "" {
		evidence = append(evidence, model.Fact{Name: "an older fenced copy", Value: t.aside})
	}
	return driver.Observation{State: driver.Done, Evidence: evidence}, nil
}
