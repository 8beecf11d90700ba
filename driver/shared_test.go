package driver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/model"
)

// TestOnce: many who have the same question get one answer, an error too; whoever watches is told once that it is put and that it is over.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		s := &Shared{Asking: func(q Question, over bool) { told = append(told, fmt.Sprint(q.Site, " ", q.What, " ", over)) }}
		var asked atomic.Int32
		no := errors.New("no")
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				got, err := Once(t.Context(), s, Question{Site: "west", What: "keys"}, func(context.Context) (int, error) {
					asked.Add(1)
					time.Sleep(time.Second)
					return 7, no
				})
				if got != 7 || !errors.Is(err, no) {
					t.Errorf("got %d, %v", got, err)
				}
			})
		}
		all.Wait()
		if got, err := Once(t.Context(), s, Question{Site: "east", What: "keys"}, func(context.Context) (*int, error) { return nil, nil }); got != nil || err != nil {
			t.Errorf("another site's: %v, %v", got, err)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		if diff := cmp.Diff([]string{"west keys false", "west keys true", "east keys false", "east keys true"}, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestOnceGivenUp: whose time is over leaves the question to the next one, who has the time that it has.
func TestOnceGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Shared{}
		ask := func(ctx context.Context) (string, error) {
			select {
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(3 * time.Second):
				return "yes", nil
			}
		}
		short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := Once(short, s, Question{What: "q"}, ask); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who had no time got %v", err)
			}
		})
		synctest.Wait()
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Once(hurried, s, Question{What: "q"}, ask); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who waits longer than it can got %v", err)
		}
		if got, err := Once(t.Context(), s, Question{What: "q"}, ask); got != "yes" || err != nil {
			t.Errorf("the next one got %q, %v", got, err)
		}
		all.Wait()
	})
}

// TestShort: what draws on the same quota is added up, whatever drew on it and at whichever site.
func TestShort(t *testing.T) {
	of := func(quota string, site model.SiteID, need, used, most int) Draw {
		return Draw{Quota: quota, What: "instances", Site: site, Need: need, Used: used, Most: most, Raise: "ask for"}
	}
	for name, c := range map[string]struct {
		draws []Draw
		want  []string
	}{
		"none":              {},
		"room to the last":  {draws: []Draw{of("a", "west", 2, 38, 40)}},
		"room for each":     {draws: []Draw{of("a", "west", 2, 37, 40), of("b", "west", 2, 37, 40)}},
		"not for both":      {draws: []Draw{of("a", "west", 2, 37, 40), of("b", "west", 3, 37, 40), of("a", "other", 2, 37, 40)}, want: []string{"west: 4 instances are needed, and 37 of 40 are in use; ask for 41; or remove what is not needed"}},
		"nothing is needed": {draws: []Draw{of("a", "west", 0, 41, 40)}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range Short(c.draws) {
				got = append(got, fmt.Sprintf("%s: %s; %s", f.Site, f.What, f.Fix))
				if f.Severity != model.Block || f.Why == "" {
					t.Errorf("%+v", f)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
