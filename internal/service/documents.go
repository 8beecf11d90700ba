package service

import (
	"context"
	"errors"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/internal/config"
	"github.com/lifeboat-dr/lifeboat/internal/report"
	"github.com/lifeboat-dr/lifeboat/internal/statepayload"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Documents answers [api.Documents].
type Documents struct{ Drivers *driver.Registry }

var _ api.Documents = Documents{}

// Init writes a commented lifeboat.yaml.
func (d Documents) Init(_ context.Context, path string) error { return config.Init(path) }

// Validate reads and checks a configuration. One that is wrong is no error: its problems are in the reply.
func (d Documents) Validate(_ context.Context, path string) (*api.ValidateReply, error) {
	reply := &api.ValidateReply{Path: path}
	cfg, err := config.Load(path, d.Drivers)
	var wrong *config.Error
	if errors.As(err, &wrong) {
		reply.Problems = wrong.Problems
		return reply, nil
	}
	if err != nil {
		return nil, err
	}
	reply.Sites, reply.Apps, reply.Plans = len(cfg.Sites), len(cfg.Apps), len(cfg.Plans)
	for _, a := range cfg.Apps {
		reply.AppIDs = append(reply.AppIDs, a.ID)
	}
	for _, p := range cfg.Plans {
		reply.PlanNames = append(reply.PlanNames, p.Name)
	}
	return reply, nil
}

// Schema is the JSON Schema of lifeboat.yaml.
func (d Documents) Schema(context.Context) ([]byte, error) { return config.Schema(d.Drivers) }

// Payload reads a StatePayload document.
func (d Documents) Payload(_ context.Context, file string, content []byte) (*model.Payload, error) {
	return statepayload.Read(file, content), nil
}

// Render writes a report as html, json, md or junit.
func (d Documents) Render(_ context.Context, r *api.Report, format string) ([]byte, error) {
	return report.Render(r, format)
}

// VerifyReport checks a JSON report offline.
func (d Documents) VerifyReport(_ context.Context, content []byte) (*api.VerifyReply, error) {
	return report.Verify(content)
}
