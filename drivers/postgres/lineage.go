package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// The ways to make a copy follow a primary, from cheap to dear.
const (
	wayFollow  = "follow"  // start it as a standby
	wayRewind  = "rewind"  // pg_rewind, then start it
	wayRebuild = "rebuild" // a new base backup
)

// fork is where a timeline ended and the next one in a history began.
type fork struct {
	Timeline uint32
	At       lsn
}

// parseHistory reads a timeline history file: lines of parent timeline, switch point and reason (timeline.c).
func parseHistory(text string) ([]fork, error) {
	var out []fork
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) < 2 {
			return nil, failure.New(failure.Corrupt, "read", "timeline history", "%q", line)
		}
		tli, err := strconv.ParseUint(words[0], 10, 32)
		if err != nil {
			return nil, failure.New(failure.Corrupt, "read", "timeline history", "%q", line)
		}
		at, err := parseLSN(words[1])
		if err != nil {
			return nil, err
		}
		out = append(out, fork{uint32(tli), at})
	}
	return out, nil
}

// readHistory asks a primary for the history of its timeline. Timeline 1 has none.
func readHistory(ctx context.Context, conn *pgx.Conn, timeline uint32) ([]fork, error) {
	if timeline <= 1 {
		return nil, nil
	}
	var text string
	err := conn.QueryRow(ctx, "select pg_read_file($1)", fmt.Sprintf("pg_wal/%08X.history", timeline)).Scan(&text)
	if err != nil {
		return nil, err
	}
	return parseHistory(text)
}

// bornAt is where a primary's timeline began: where it was promoted. It stays the same while the log goes on. A primary
// on timeline 1, or one whose history we may not read, gives its present position.
func bornAt(ctx context.Context, conn *pgx.Conn, st status) lsn {
	history, err := readHistory(ctx, conn, st.Timeline)
	if err != nil || len(history) == 0 {
		return st.LSN
	}
	return history[len(history)-1].At
}

// decision is how a copy is made to follow, and why.
type decision struct {
	Way string
	Why string
	// Diverged: the copy may hold transactions that the primary does not have.
	Diverged bool
}

// decide chooses the cheapest safe way for a copy with control file c to follow a primary on timeline with that
// history. A nil history of a timeline above 1 means that it could not be read.
//
// A copy that was shut down in order knows where its log ends: at its last checkpoint record, or, having been a standby,
// at its minimum recovery point. It can follow when that is on the primary's line, at or before the point where the
// primary's history left the copy's timeline. (A primary's checkpoint record begins at Checkpoint, so the fork must lie
// behind that.) A crashed copy knows it only after recovery: pg_rewind finds out, and does nothing if nothing is to do.
func decide(c control, timeline uint32, history []fork) decision {
	rewind := func(why string, diverged bool) decision {
		if c.Rewindable {
			return decision{wayRewind, why, diverged}
		}
		return decision{wayRebuild, why + "; pg_rewind needs wal_log_hints or checksums", diverged}
	}
	if c.State == "" {
		return decision{Way: wayRebuild, Why: "there is no copy"}
	}
	if !c.stoppedCleanly() {
		return rewind("it was not shut down in order ("+c.State+")", true)
	}
	wasPrimary := c.State == "shut down"
	end, tli := c.Checkpoint, c.Timeline
	if !wasPrimary && c.MinEnd > end {
		end, tli = c.MinEnd, c.MinEndTLI
	}
	if tli == timeline {
		if wasPrimary {
			return decision{wayRebuild, "it was a primary on the primary's own timeline", true}
		}
		return decision{Way: wayFollow, Why: "it is on the primary's timeline"}
	}
	for _, f := range history {
		if f.Timeline != tli {
			continue
		}
		if f.At > end || !wasPrimary && f.At == end {
			return decision{Way: wayFollow, Why: fmt.Sprintf("its log ends at %s, before timeline %d was left at %s", end, tli, f.At)}
		}
		return rewind(fmt.Sprintf("its log goes on to %s, after timeline %d was left at %s", end, tli, f.At), true)
	}
	return rewind(fmt.Sprintf("its timeline %d is not in the history of timeline %d", tli, timeline), true)
}
