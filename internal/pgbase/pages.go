package pgbase

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

const (
	// A page that is read while the server writes it has an old and a new part. It is read again, at most so often.
	rereads = 5
	reread  = 20 * time.Millisecond
	// maxTorn bounds how many pages wait for their judgement. So many that are torn at once there cannot be.
	maxTorn = 100_000
)

// pages judges the pages of relations by their checksums, as the server does when it sends them (backup/basebackup.c): a
// page that was changed since the backup began may have been read while it was written, and is not judged, since replay
// makes it anew. That is known by its LSN; but no page is newer than the log, so one whose LSN lies beyond the end of
// the backup is damaged all the same.
type pages struct {
	start   pgwal.LSN
	segment uint32 // pages in one file of a relation
	count   atomic.Int64

	mu      sync.Mutex
	damaged []badPage
	total   int64
	torn    []badPage
}

type badPage struct {
	path  string
	block uint32
	lsn   pgwal.LSN
}

func (p badPage) String() string { return fmt.Sprintf("%s block %d", p.path, p.block) }

// check judges the whole pages of a block. Those that can be read again, are, and take the place of what was read.
func (p *pages) check(ctx context.Context, x block) error {
	first := uint32(x.f.rel.segment)*p.segment + uint32(x.at/pgwal.PageSize)
	for i := 0; (i+1)*pgwal.PageSize <= len(x.data); i++ {
		page := (*[pgwal.PageSize]byte)(x.data[i*pgwal.PageSize:])
		if pgwal.PageSound(page, first+uint32(i)) {
			continue
		}
		if err := p.suspect(ctx, x, page, i, first+uint32(i)); err != nil {
			return err
		}
	}
	p.count.Add(int64(len(x.data) / pgwal.PageSize))
	return nil
}

// suspect deals with a page whose checksum is wrong.
func (p *pages) suspect(ctx context.Context, x block, page *[pgwal.PageSize]byte, i int, number uint32) error {
	for n := 0; x.f.src != nil && n < rereads; n++ {
		if err := pause(ctx, reread); err != nil {
			return err
		}
		k, err := x.f.src.ReadAt(page[:], x.at+int64(i)*pgwal.PageSize)
		if err == io.EOF { // the file was truncated
			clear(page[k:])
			return nil
		}
		if err != nil {
			return err
		}
		if pgwal.PageSound(page, number) {
			return nil
		}
	}
	bad := badPage{x.f.path, number, pgwal.PageLSN(page)}
	p.mu.Lock()
	defer p.mu.Unlock()
	// A page without an upper end was never used, for the server. It is all zeros, unless it was read while it was written
	// for the first time.
	unused := binary.LittleEndian.Uint16(page[14:]) == 0 && x.f.src == nil
	if (bad.lsn >= p.start || unused) && len(p.torn) < maxTorn {
		p.torn = append(p.torn, bad)
		return nil
	}
	p.blame(bad)
	return nil
}

// blame notes a damaged page. The caller holds mu.
func (p *pages) blame(bad badPage) {
	p.total++
	if len(p.damaged) < maxTorn {
		p.damaged = append(p.damaged, bad)
	}
}

// judge ends the judgement, once it is known where the log was at the end.
func (p *pages) judge(stop pgwal.LSN) (damaged []string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, bad := range p.torn {
		if bad.lsn > stop {
			p.blame(bad)
		}
	}
	p.torn = nil
	slices.SortFunc(p.damaged, func(a, b badPage) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.block, b.block))
	})
	for _, bad := range p.damaged[:min(len(p.damaged), pgpoint.MaxDamaged)] {
		damaged = append(damaged, bad.String())
	}
	return damaged, p.total
}
