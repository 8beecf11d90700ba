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

// check judges the whole pages of a block, and reports whether all are sound. Those that can be read again, are, and take
// the place of what was read.
func (p *pages) check(ctx context.Context, x block) (sound bool, err error) {
	first := uint32(x.f.rel.segment)*p.segment + uint32(x.at/pgwal.PageSize)
	sound = true
	for i := 0; (i+1)*pgwal.PageSize <= len(x.data); i++ {
		page := (*[pgwal.PageSize]byte)(x.data[i*pgwal.PageSize:])
		number := first + uint32(i)
		if pgwal.PageSound(page, number) {
			continue
		}
		again, err := p.again(ctx, x, page, number)
		if err != nil {
			return false, err
		}
		if !again {
			p.suspect(badPage{x.f.path, number, pgwal.PageLSN(page)}, x.f.src == nil && binary.LittleEndian.Uint16(page[14:]) == 0)
			sound = false
		}
	}
	p.count.Add(int64(len(x.data) / pgwal.PageSize))
	return sound, nil
}

// again reads a page again until it is sound, where that is possible.
func (p *pages) again(ctx context.Context, x block, page *[pgwal.PageSize]byte, number uint32) (sound bool, err error) {
	if x.f.src == nil {
		return false, nil
	}
	at := int64(number%p.segment) * pgwal.PageSize
	for range rereads {
		if err := pause(ctx, reread); err != nil {
			return false, err
		}
		n, err := x.f.src.ReadAt(page[:], at)
		if err == io.EOF { // the file was truncated
			clear(page[n:])
			return true, nil
		}
		if err != nil || pgwal.PageSound(page, number) {
			return err == nil, err
		}
	}
	return false, nil
}

// suspect notes a page whose checksum is wrong. One that was never used, for the server, may have been read while it was
// written for the first time: it is all zeros otherwise.
func (p *pages) suspect(bad badPage, unused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if (bad.lsn >= p.start || unused) && len(p.torn) < maxTorn {
		p.torn = append(p.torn, bad)
		return
	}
	p.blame(bad)
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
