package pgpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// maxAbout bounds how long a Base or a Log may be, in bytes.
const maxAbout = 64 << 20

// BasePoint is a base point in a vault.
type BasePoint struct {
	Base
	Snapshot *snapshot.Snapshot
}

// LogPoint is a log snapshot in a vault.
type LogPoint struct {
	Log
	Snapshot *snapshot.Snapshot
	// Histories are those of the timelines that its spans end on, but the first.
	Histories map[pgwal.Timeline][]pgwal.Switch
}

// Bases lists the base points of a resource, oldest first. Errors: those of the vault; Corrupt when one cannot be
// understood, Unsupported when a newer Lifeboat wrote it. What could be read is given beside the error.
func Bases(ctx context.Context, v *vault.Vault, w Whose) ([]BasePoint, error) {
	return list(ctx, v, Filter(w, IsBase), basePoint)
}

// ReadBase reads what one base point says of itself. Errors are as of [Bases].
func ReadBase(ctx context.Context, v *vault.Vault, s *snapshot.Snapshot) (BasePoint, error) {
	all, err := read(ctx, v, []*snapshot.Snapshot{s}, basePoint)
	if err != nil {
		return BasePoint{}, err
	}
	return all[0], nil
}

func basePoint(s *snapshot.Snapshot, text []byte) (BasePoint, error) {
	p := BasePoint{Snapshot: s}
	err := decode(s, text, &p.Base, &p.Version)
	return p, err
}

// Logs lists the newest log snapshot of every site and cluster, oldest first. Errors are as of [Bases].
func Logs(ctx context.Context, v *vault.Vault, w Whose) ([]LogPoint, error) {
	all, err := v.Snapshots(ctx, Filter(w, IsLog))
	if err != nil {
		return nil, err
	}
	newest := slices.DeleteFunc(slices.Clone(all), func(s *snapshot.Snapshot) bool {
		return slices.ContainsFunc(all, func(o *snapshot.Snapshot) bool { return chainOf(o) == chainOf(s) && newer(o, s) })
	})
	return read(ctx, v, newest, func(s *snapshot.Snapshot, text []byte) (LogPoint, error) {
		p := LogPoint{Snapshot: s, Histories: map[pgwal.Timeline][]pgwal.Switch{}}
		if err := decode(s, text, &p.Log, &p.Version); err != nil {
			return p, err
		}
		return p, p.readHistories(ctx, v)
	})
}

// readHistories reads the histories that tell which way the spans go. One that is not there is left out: what is on its
// timeline counts by itself then.
func (p *LogPoint) readHistories(ctx context.Context, v *vault.Vault) error {
	for _, s := range p.Spans {
		t := s.To.Timeline
		if _, known := p.Histories[t]; known || t <= 1 {
			continue
		}
		text, err := ReadFile(ctx, v, *p.Snapshot.Tree, HistoryPath(t))
		if errors.Is(err, failure.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if p.Histories[t], err = pgwal.ParseHistory(t, text); err != nil {
			return err
		}
	}
	return nil
}

// newer orders snapshots of one site also when their times are equal.
func newer(a, b *snapshot.Snapshot) bool {
	if !a.Time.Equal(b.Time) {
		return a.Time.After(b.Time)
	}
	return bytes.Compare(a.ID[:], b.ID[:]) > 0
}

func list[T any](ctx context.Context, v *vault.Vault, f snapshot.Filter, one func(*snapshot.Snapshot, []byte) (T, error)) ([]T, error) {
	all, err := v.Snapshots(ctx, f)
	if err != nil {
		return nil, err
	}
	return read(ctx, v, all, one)
}

func read[T any](ctx context.Context, v *vault.Vault, all []*snapshot.Snapshot, one func(*snapshot.Snapshot, []byte) (T, error)) ([]T, error) {
	slices.SortFunc(all, func(a, b *snapshot.Snapshot) int {
		if newer(a, b) {
			return 1
		}
		return -1
	})
	if err := v.LoadIndex(ctx); err != nil { // others write, too: the index that is known may be older than these snapshots
		return nil, err
	}
	var out []T
	var failed error
	for _, s := range all {
		text, err := ReadFile(ctx, v, *s.Tree, AboutPath)
		if err == nil {
			var p T
			if p, err = one(s, text); err == nil {
				out = append(out, p)
				continue
			}
		}
		if failed == nil {
			failed = failure.Wrap(err, "read what is in snapshot", s.ID.Short())
		}
	}
	return out, failed
}

func decode(s *snapshot.Snapshot, text []byte, into any, v *int) error {
	if err := json.Unmarshal(text, into); err != nil {
		return failure.WrapAs(failure.Corrupt, err, "understand", AboutPath)
	}
	if *v != version {
		return failure.New(failure.Unsupported, "understand", AboutPath, "it is of version %d, and this build knows %d", *v, version).
			WithHint("use a newer release")
	}
	return nil
}

// ReadFile reads a small file of a snapshot's tree whole. NotFound: there is none. Corrupt: it is too long to be one.
func ReadFile(ctx context.Context, v *vault.Vault, root object.ID, path string) ([]byte, error) {
	node, err := v.Find(ctx, root, path)
	if err != nil {
		return nil, err
	}
	if node.Type != tree.File || node.Size > maxAbout {
		return nil, failure.New(failure.Corrupt, "read", path, "it is a %s of %d bytes", node.Type, node.Size)
	}
	f, err := v.OpenFile(ctx, node.Content)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = f.CopyTo(ctx, &b)
	return b.Bytes(), err
}

// Encode writes the document for AboutPath.
func (b Base) Encode() ([]byte, error) { b.Version = version; return encode(b) }

// Encode writes the document for AboutPath.
func (l Log) Encode() ([]byte, error) { l.Version = version; return encode(l) }

func encode(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "write", AboutPath)
	}
	return append(text, '\n'), nil
}
