package pgrestore

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// control is what the control file of a cluster says, as pg_controldata prints it.
type control struct {
	system   uint64
	state    string
	timeline pgwal.Timeline
	redo     pgwal.LSN
	nextXID  uint64 // of the last checkpoint, with its epoch
	// least are the settings that a server in recovery must not have lower than the primary had them.
	least map[string]int
}

// leastOf are pg_controldata's names of these settings.
var leastOf = map[string]string{
	"max_connections setting":      "max_connections",
	"max_worker_processes setting": "max_worker_processes",
	"max_wal_senders setting":      "max_wal_senders",
	"max_prepared_xacts setting":   "max_prepared_transactions",
	"max_locks_per_xact setting":   "max_locks_per_transaction",
}

// readControl asks pg_controldata about the cluster in a folder.
func readControl(ctx context.Context, bin, data string, o owner) (control, error) {
	c := control{least: map[string]int{}}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "pg_controldata"), "-D", data)
	as(cmd, o)
	out, err := cmd.Output()
	if err != nil {
		return c, failure.WrapAs(failure.Unavailable, err, "read the control file of", data).
			WithHint("are the server's programs in %s?", bin)
	}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		var err error
		switch name {
		case "Database system identifier":
			c.system, err = strconv.ParseUint(value, 10, 64)
		case "Database cluster state":
			c.state = value
		case "Latest checkpoint's TimeLineID":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 32)
			c.timeline = pgwal.Timeline(n)
		case "Latest checkpoint's REDO location":
			c.redo, err = pgwal.ParseLSN(value)
		case "Latest checkpoint's NextXID":
			epoch, xid, _ := strings.Cut(value, ":")
			var high, low uint64
			if high, err = strconv.ParseUint(epoch, 10, 32); err == nil {
				low, err = strconv.ParseUint(xid, 10, 32)
			}
			c.nextXID = high<<32 | low
		default:
			if setting := leastOf[name]; setting != "" {
				c.least[setting], err = strconv.Atoi(value)
			}
		}
		if err != nil {
			return c, failure.WrapAs(failure.Corrupt, err, "understand what pg_controldata says of", data)
		}
	}
	if c.system == 0 || len(c.least) != len(leastOf) {
		return c, failure.New(failure.Corrupt, "understand what pg_controldata says of", data, "there is no system identifier in it")
	}
	return c, nil
}
