package rds

import (
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestHandlesOnDisk: handles are read as they stand in journals, and written so.
func TestHandlesOnDisk(t *testing.T) {
	at := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	workbench.Handles(t, 1, map[string]handle{
		`{"action":"capture","name":"shop-lb-abc"}`:           {Action: model.ActionCapture, Name: "shop-lb-abc"},
		`{"action":"copy","until":"2026-05-01T10:00:00Z"}`:    {Action: model.ActionCopy, Until: &at},
		`{"action":"restore","name":"back","point":"latest"}`: {Action: model.ActionRestore, Name: "back", Point: "latest"},
		`{"action":"fence"}`:                                  {Action: model.ActionFence},
	})
}
