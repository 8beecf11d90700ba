package vaultjob

import (
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
)

// TestKilledJobs holds that a job which the system killed is tried again, and one that was told to stop is not.
func TestKilledJobs(t *testing.T) {
	for code, want := range map[int]failure.Kind{137: failure.Unavailable, 143: failure.Canceled} {
		obs, ended := Judge(hostexec.JobState{Phase: hostexec.JobEnded, Code: code, Doing: "capturing 3 files"}, "capture", "uploads")
		if ended || obs.Err == nil || obs.Err.Kind != want {
			t.Errorf("code %d: %v, %v, want %s", code, ended, obs.Err, want)
		}
		if code == 137 && !strings.Contains(obs.Err.Error(), "capturing 3 files") {
			t.Errorf("it does not say at what: %v", obs.Err)
		}
	}
}
