package memory

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// Archive is a journal.Archive in memory.
type Archive struct {
	mu   sync.Mutex
	runs map[string]archived
}

type archived struct {
	journal.Summary
	content []byte
}

// NewArchive makes an empty archive.
func NewArchive() *Archive { return &Archive{runs: map[string]archived{}} }

// Put implements journal.Archive.
func (a *Archive) Put(ctx context.Context, s journal.Summary, content []byte) error {
	if err := failure.Wrap(ctx.Err(), "archive", "run "+s.ID); err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, ok := a.runs[s.ID]; ok {
		if !bytes.Equal(old.content, content) {
			return failure.New(failure.Exists, "archive", "run "+s.ID, "another content is archived under this id")
		}
		return nil
	}
	s.Size, s.Meta = int64(len(content)), slices.Clone(s.Meta)
	a.runs[s.ID] = archived{s, slices.Clone(content)}
	return nil
}

// Get implements journal.Archive.
func (a *Archive) Get(ctx context.Context, id string) (journal.Summary, []byte, error) {
	if err := failure.Wrap(ctx.Err(), "read", "archived run "+id); err != nil {
		return journal.Summary{}, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	run, ok := a.runs[id]
	if !ok {
		return journal.Summary{}, nil, failure.New(failure.NotFound, "read", "archived run "+id, "there is none")
	}
	return run.Summary, slices.Clone(run.content), nil
}

// List implements journal.Archive.
func (a *Archive) List(ctx context.Context, limit int) ([]journal.Summary, error) {
	if err := failure.Wrap(ctx.Err(), "list", "archive"); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]journal.Summary, 0, len(a.runs))
	for _, run := range a.runs {
		all = append(all, run.Summary)
	}
	slices.SortFunc(all, func(x, y journal.Summary) int {
		if c := y.At.Compare(x.At); c != 0 {
			return c
		}
		return strings.Compare(y.ID, x.ID)
	})
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all, nil
}

var _ journal.Archive = (*Archive)(nil)
