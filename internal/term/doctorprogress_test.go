package term

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
)

// TestDoctorProgress: each site's oldest question is named, in place on a terminal and now and then elsewhere, and nothing of it stays.
func TestDoctorProgress(t *testing.T) {
	for name, c := range map[string]struct {
		live bool
		want string
	}{
		"on a terminal": {true, "1 answered  dublin: keys  frankfurt: step db/promote[31m and 1 more"},
		"elsewhere":     {false, "1 answered  dublin: keys  frankfurt: step db/promote[31m and 1 more\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out shared
				d := NewDoctorProgress(&out, WatchOptions{Live: c.live, Every: 100 * time.Millisecond, Still: 10 * time.Second, Size: func() (int, int) { return 120, 24 }})
				for _, a := range []api.DoctorAsking{{What: "where shop serves"}, {Site: "frankfurt", What: "step db/promote\x1b[31m"}, {Site: "dublin", What: "keys"}, {Site: "frankfurt", What: "keys"}, {What: "where shop serves", Over: true}} {
					d.Event(a)
				}
				time.Sleep(9 * time.Second)
				synctest.Wait()
				if got := out.String(); c.live == (got == "") {
					t.Errorf("after 9 s: %q", got)
				}
				time.Sleep(1100 * time.Millisecond)
				synctest.Wait()
				if got := out.String(); !strings.Contains(got, c.want) || strings.Contains(got, "\x1b[31m") {
					t.Errorf("got %q, want %q", got, c.want)
				}
				d.Close()
				if got := out.String(); c.live && !strings.HasSuffix(got, "\r\x1b[K") {
					t.Errorf("the last frame stays: %q", got[max(0, len(got)-80):])
				}
			})
		})
	}
}
