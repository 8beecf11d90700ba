package server

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

const (
	block        = 4 << 10 // bytes; the least that a file or a folder counts, so that many empty ones do not fill the disk
	foldersOfOne = 256 + 6 // what one repository has in restic's layout
	recountAfter = time.Minute
)

// errQuota is why nothing more is taken.
var errQuota = errors.New("the quota is used up")

// blocks is what a file of size bytes counts.
func blocks(size int64) int64 { return max(block, (size+block-1)/block*block) }

// quotas bound what folders take. A folder is counted when it is first written to, from then on by what is saved and
// deleted here, and again before somebody is refused: it may be worked on past the server too.
type quotas struct {
	limit int64
	now   func() time.Time

	mu       sync.Mutex
	accounts map[string]*account
}

// account is one folder's.
type account struct {
	mu       sync.Mutex
	used     int64 // durable, bytes
	reserved int64 // being saved
	counted  time.Time
}

func newQuotas(limit int64) *quotas {
	return &quotas{limit: limit, now: time.Now, accounts: map[string]*account{}}
}

func (q *quotas) account(folder string) *account {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.accounts[folder] == nil {
		q.accounts[folder] = &account{}
	}
	return q.accounts[folder]
}

// reserve keeps n bytes of a folder's quota for something that is being saved. The caller calls done with whether it
// was.
func (q *quotas) reserve(folder string, n int64) (done func(saved bool), err error) {
	a := q.account(folder)
	a.mu.Lock()
	defer a.mu.Unlock()
	fits := func() bool { return a.used+a.reserved+n <= q.limit }
	if now := q.now(); a.counted.IsZero() || !fits() && now.Sub(a.counted) >= recountAfter {
		if a.used, err = measure(folder); err != nil {
			return nil, err
		}
		a.counted = now
	}
	if !fits() {
		return nil, failure.WrapAs(failure.Denied, errQuota, "save", filepath.Base(folder))
	}
	a.reserved += n
	return func(saved bool) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.reserved -= n
		if saved {
			a.used += n
		}
	}, nil
}

// free gives n bytes back.
func (q *quotas) free(folder string, n int64) {
	a := q.account(folder)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used = max(0, a.used-n)
}

// measure counts what lies below a folder, in blocks. What goes away meanwhile does not count.
func measure(folder string) (int64, error) {
	var used int64
	err := filepath.WalkDir(folder, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.IsDir() {
			used += block
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // gone meanwhile
		}
		used += blocks(info.Size())
		return nil
	})
	if err != nil {
		return 0, failure.WrapAs(failure.Unavailable, err, "count", filepath.Base(folder))
	}
	return used, nil
}

// account is the folder whose quota this call is charged to: the user's, or without users all there is.
func (c *call) account() string {
	if c.s.opts.Users == nil || len(c.target.repository) == 0 {
		return c.s.opts.Folder
	}
	return filepath.Join(c.s.opts.Folder, c.target.repository[0])
}

// reserve is quotas.reserve for this call, and does nothing without a quota.
func (c *call) reserve(n int64) (done func(saved bool), err error) {
	if c.s.quota == nil {
		return func(bool) {}, nil
	}
	return c.s.quota.reserve(c.account(), n)
}

// free gives back what an object of size bytes counted.
func (c *call) free(size int64) {
	if c.s.quota != nil {
		c.s.quota.free(c.account(), blocks(size))
	}
}
