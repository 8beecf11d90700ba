package drivertest

import (
	"testing"

	"github.com/lifeboat-dr/lifeboat/driver"
)

// HandedOver fails the test unless the evidence of two steps of a planned move proves that it lost nothing: what the first one, a
// quiesce or a fence, says held everything ([driver.LastState]) is what the second one, the promotion, went on from.
func HandedOver(t testing.TB, last, up driver.Observation) {
	t.Helper()
	held, said := driver.ReadLastState(last.Evidence)
	from, known := driver.ReadSource(up.Evidence)
	if !said || !known || held != from {
		t.Errorf("what held everything was %q, and what serves was made of %q: %v, then %v", held, from, last.Evidence, up.Evidence)
	}
}
