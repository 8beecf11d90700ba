// Package journaltest is the conformance suite of journal.Store and journal.Archive: what the engine relies on, as
// checks that every implementation passes and that deliberately broken ones do not.
//
// Call [Run] and [RunArchive] from an implementation's test. The suite uses real time, a few seconds of it, because
// sessions do.
package journaltest

import (
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// Opener opens one more connection to the one store that is under test. The check closes it.
type Opener func(tb testing.TB) journal.Store

// Check is one property of a Store. Run may fail tb and stop its goroutine, as tests do.
type Check struct {
	Name string
	Run  func(tb testing.TB, open Opener)
}

// Checks lists the suite.
func Checks() []Check {
	return []Check{
		{"a record is read back as it was written", checkRoundTrip},
		{"revisions", checkRevisions},
		{"a transaction is written whole", checkAtomic},
		{"compares", checkCompares},
		{"limits", checkLimits},
		{"delete a prefix", checkDeletePrefix},
		{"list", checkList},
		{"list is of one revision", checkListOneRevision},
		{"watch sends all changes in order", checkWatchOrder},
		{"watch sends a revision's changes together", checkWatchGroups},
		{"watch goes on from a revision", checkWatchResume},
		{"watch sees other connections", checkWatchOther},
		{"watch ends with its context", checkWatchEnds},
		{"connections share one store", checkConnections},
		{"a session expires", checkSessionExpires},
		{"a session is kept alive", checkSessionKeptAlive},
		{"a session is revoked", checkSessionRevoked},
		{"keys of a session", checkSessionKeys},
		{"an ended context", checkContext},
		{"use after close", checkClosed},
		{"records survive their connections", checkReopen},
		{"concurrent use is linearizable", checkLinearizable},
	}
}

// Run runs every check, in parallel, each on a store of its own that fresh makes. fresh may register clean-ups.
func Run(t *testing.T, fresh func(tb testing.TB) Opener) {
	t.Helper()
	for _, check := range Checks() {
		t.Run(check.Name, func(t *testing.T) {
			t.Parallel()
			check.Run(t, fresh(t))
		})
	}
}
