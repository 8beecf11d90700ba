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
	// From is where the log goes on from that the copy needs of the primary; 0: not known.
	From lsn
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
	rewind := func(why string, from lsn, diverged bool) decision {
		if c.Rewindable {
			return decision{Way: wayRewind, Why: why, From: from, Diverged: diverged}
		}
		return decision{Way: wayRebuild, Why: why + "; pg_rewind needs wal_log_hints or checksums", Diverged: diverged}
	}
	if c.State == "" {
		return decision{Way: wayRebuild, Why: "there is no copy"}
	}
	if !c.stoppedCleanly() {
		return rewind("it was not shut down in order ("+c.State+")", forkOf(c.Timeline, history), true)
	}
	wasPrimary := c.State == "shut down"
	end, tli := c.Checkpoint, c.Timeline
	if !wasPrimary && c.MinEnd > end {
		end, tli = c.MinEnd, c.MinEndTLI
	}
	if tli == timeline {
		if wasPrimary {
			return decision{Way: wayRebuild, Why: "it was a primary on the primary's own timeline", Diverged: true}
		}
		return decision{Way: wayFollow, Why: "it is on the primary's timeline", From: end}
	}
	for _, f := range history {
		if f.Timeline != tli {
			continue
		}
		if f.At > end || !wasPrimary && f.At == end {
			return decision{Way: wayFollow, Why: fmt.Sprintf("its log ends at %s, before timeline %d was left at %s", end, tli, f.At), From: end}
		}
		return rewind(fmt.Sprintf("its log goes on to %s, after timeline %d was left at %s", end, tli, f.At), f.At, true)
	}
	return rewind(fmt.Sprintf("its timeline %d is not in the history of timeline %d", tli, timeline), 0, true)
}

// forkOf is where a timeline was left; 0: it is in no such history.
func forkOf(timeline uint32, history []fork) lsn {
	for _, f := range history {
		if f.Timeline == timeline {
			return f.At
		}
	}
	return 0
}

// logGone says that the primary has not got the log any more that a copy would go on with; "" when it has, or when that
// cannot be seen. It has a segment under its own timeline, or under the one before, when that was left in it.
func logGone(ctx context.Context, conn *pgx.Conn, dec decision) string {
	if dec.Way == wayRebuild || dec.From == 0 {
		return ""
	}
	var have bool
	const query = `select exists (select from pg_ls_waldir() where substr(name, 9, 16) = substr(pg_walfile_name($1::pg_lsn), 9, 16) and name !~ '[.]')`
	if err := conn.QueryRow(ctx, query, dec.From.String()).Scan(&have); err != nil || have {
		return ""
	}
	return fmt.Sprintf("the primary has not got its log from %s on any more (wal_keep_size)", dec.From)
}
