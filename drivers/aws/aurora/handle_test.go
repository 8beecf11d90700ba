package aurora

import (
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestHandlesOnDisk: handles are read as they stand in journals, and written so.
func TestHandlesOnDisk(t *testing.T) {
	at := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	workbench.Handles(t, 1, map[string]handle{
		`{"action":"promote","path":"switchover","asked":"2026-05-01T10:00:00Z","holds":"2026-05-01T10:00:00Z"}`: {Action: model.ActionPromote, Path: bySwitchover, Asked: at, Holds: at},
		`{"action":"fence","path":"detached","why":"it is too old"}`:                                             {Action: model.ActionFence, Path: byDetaching, Why: "it is too old"},
		`{"action":"restore","name":"back","point":"latest"}`:                                                    {Action: model.ActionRestore, Name: "back", Point: snapshots.Latest},
		`{"action":"copy","until":"2026-05-01T10:00:00Z"}`:                                                       {Action: model.ActionCopy, Until: at},
		`{"action":"drill"}`: {Action: model.ActionDrill},
	})
}
