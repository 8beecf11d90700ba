package elasticache

import (
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestHandlesOnDisk: handles are read as they stand in journals, and written so.
func TestHandlesOnDisk(t *testing.T) {
	at := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	workbench.Handles(t, 1, map[string]groupHandle{
		`{"action":"promote","name":"cache","old":"2026-05-01T10:00:00Z","unknown":"east is silent"}`: {Action: model.ActionPromote, Name: "cache", Old: &at, Unknown: "east is silent"},
		`{"action":"restore","name":"back","point":"snap"}`:                                           {Action: model.ActionRestore, Name: "back", Point: "snap"},
		`{"action":"release","name":"cache"}`:                                                         {Action: model.ActionRelease, Name: "cache"},
	})
	workbench.Handles(t, 1, map[string]handle{
		`{"asked":"2026-05-01T10:00:00Z"}`: {Asked: at},
	})
}
