package term

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestAskingStepWithARuleOffersNoSkip holds that only what the engine takes is offered: a rule is set aside in writing,
// it is never skipped.
func TestAskingStepWithARuleOffersNoSkip(t *testing.T) {
	for waiver, skips := range map[model.Waiver]bool{"": true, model.Unfenced: false} {
		v := sampleRun(3, api.StepAsking)
		v.Steps[0].Waiver = waiver
		var out bytes.Buffer
		if err := Run(&out, v, Style{}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "run skip"); got != skips {
			t.Errorf("waiver %q: skip offered: %v, want %v\n%s", waiver, got, skips, &out)
		}
		if !strings.Contains(out.String(), "run force") {
			t.Errorf("waiver %q: force is not offered\n%s", waiver, &out)
		}
	}
}
