package restorer

import (
	"fmt"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
)

// maxProblems is how many are listed one by one.
const maxProblems = 1000

// teller counts what is done, and tells it to whoever asked. Its methods may be called from several goroutines.
type teller struct {
	progress func(Progress)
	item     func(Item)
	onError  func(string, error) error

	mu      sync.Mutex
	began   time.Time
	now     Progress
	res     Result
	reduces map[string]int // by what: the place in res.Reduced
}

func newTeller(progress func(Progress), item func(Item), onError func(string, error) error) *teller {
	return &teller{progress: progress, item: item, onError: onError, began: time.Now(), now: Progress{Phase: Scanning},
		res: Result{Entries: map[Action]int{}}, reduces: map[string]int{}}
}

// start tells progress now and then. The function it returns ends that, with one last time.
func (t *teller) start() func() {
	if t.progress == nil {
		return func() {}
	}
	var teller sync.WaitGroup
	done := make(chan struct{})
	teller.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				t.progress(t.snapshot())
			case <-done:
				t.enter(Finished)
				t.progress(t.snapshot())
				return
			}
		}
	})
	return func() { close(done); teller.Wait() }
}

func (t *teller) snapshot() Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.now
	p.Elapsed = time.Since(t.began)
	return p
}

func (t *teller) enter(p Phase) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Phase = p
}

// result gives the Result. It is the caller's.
func (t *teller) result() *Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	res := t.res
	res.Elapsed = time.Since(t.began)
	return &res
}

// expect raises the totals.
func (t *teller) expect(entries int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.EntriesTotal += int64(entries)
	t.now.BytesTotal += bytes
	t.res.Bytes += bytes
}

func (t *teller) files(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.Files = n
}

func (t *teller) free(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.Free = n
}

// bytes counts content: done with, fetched, written, found in the target.
func (t *teller) bytes(done, fetched, written, reused int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Bytes += done
	t.res.Fetched += fetched
	t.res.Written += written
	t.res.Reused += reused
}

// settled counts and tells one entry.
func (t *teller) settled(i Item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i.Action != Deleted {
		t.now.Entries++
	}
	t.res.Entries[i.Action]++
	if t.item != nil {
		t.item(i)
	}
}

// fail notes an entry that could not be restored. An error that it returns ends the run: the file system is full, or
// OnError wants it.
func (t *teller) fail(path string, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Errors++
	t.res.Failed++
	if len(t.res.Problems) < maxProblems {
		t.res.Problems = append(t.res.Problems, Problem{path, err})
	}
	if t.onError != nil {
		if stop := t.onError(path, err); stop != nil {
			return stop
		}
	}
	if fsnode.Full(err) {
		return err
	}
	return nil
}

// failed is how many entries could not be restored.
func (t *teller) failed() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.res.Failed
}

// reduced notes a property that could not be restored.
func (t *teller) reduced(path, what string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := t.reduces[what]
	if !ok {
		i = len(t.res.Reduced)
		t.reduces[what] = i
		t.res.Reduced = append(t.res.Reduced, Reduced{What: what, Example: path, Err: err})
	}
	t.res.Reduced[i].Count++
}

// fell notes what the Applier could not set of one entry, and reports whether there was any.
func (t *teller) fell(path string, short []fsnode.Shortfall) bool {
	for _, s := range short {
		t.reduced(path, s.What, s.Err)
	}
	return len(short) > 0
}

func (t *teller) held() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.DeleteHeld = true
}

// verified counts a file that was read back, and differs an entry that is not as it should be.
func (t *teller) verified(files int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Verified += bytes
	t.res.Verified += files
}

func (t *teller) verifying(total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.VerifyTotal = total
}

func (t *teller) differs(path string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.Differences = append(t.res.Differences, Problem{path, err})
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
