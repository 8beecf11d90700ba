package postgres

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Check says what stands in the way of req.
func (d *Driver) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	_, err := newServer(req.Target, req.Site)
	return nil, err
}
