package aurora

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/longwork"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestHandlesOnDisk: handles are read from journals as earlier builds of this version wrote them, and are written so.
func TestHandlesOnDisk(t *testing.T) {
	at := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]handle{
		`{"action":"promote","path":"switchover","asked":"2026-05-01T10:00:00Z","holds":"2026-05-01T10:00:00Z"}`: {Action: model.ActionPromote, Path: bySwitchover, Asked: at, Holds: at},
		`{"action":"fence","path":"detached","why":"it is too old"}`:                                             {Action: model.ActionFence, Path: byDetaching, Why: "it is too old"},
		`{"action":"restore","name":"back","point":"latest"}`:                                                    {Action: model.ActionRestore, Name: "back", Point: snapshots.Latest},
		`{"action":"copy","until":"2026-05-01T10:00:00Z"}`:                                                       {Action: model.ActionCopy, Until: at},
		`{"action":"drill"}`: {Action: model.ActionDrill},
	} {
		got, err := longwork.Read[handle](1, driver.Request{}, driver.Handle{Version: 1, Data: json.RawMessage(text)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s is read wrongly: %s", text, diff)
		}
		written, err := driver.NewHandle(handleVersion, want)
		if err != nil || written.Version != 1 || string(written.Data) != text {
			t.Errorf("it is written as %s of version %d: %v; want %s", written.Data, written.Version, err, text)
		}
	}
}
