package pgrestore

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// longestName is what a restore point's name may have (MAXFNAMELEN in PostgreSQL's source, without its end).
const longestName = 63

// String says the target, for people.
func (t Target) String() string {
	till := "up to"
	if t.Exclusive {
		till = "before"
	}
	switch t.Kind {
	case Latest:
		return "latest"
	case Immediate:
		return "as soon as it is consistent"
	case Time:
		return till + " " + t.Time.UTC().Format("2006-01-02 15:04:05.999999 UTC")
	case LSN:
		return fmt.Sprintf("%s %s", till, t.LSN)
	case Name:
		return fmt.Sprintf("at the restore point %q", t.Name)
	case XID:
		return fmt.Sprintf("up to transaction %d", t.XID)
	case BeforeXID:
		return fmt.Sprintf("before transaction %d", t.XID)
	}
	return string(t.Kind)
}

// Validate reports what is missing in a target or cannot be: Invalid.
func (t Target) Validate() error {
	wrong := func(format string, args ...any) error {
		return failure.New(failure.Invalid, "restore", "", format, args...)
	}
	switch t.Kind {
	case Latest, Immediate:
	case Time:
		if t.Time.IsZero() {
			return wrong("the target has no time")
		}
	case LSN:
		if t.LSN == 0 {
			return wrong("the target has no position")
		}
	case Name:
		if t.Name == "" || len(t.Name) > longestName || strings.ContainsAny(t.Name, "\x00\n") {
			return wrong("%q is no name of a restore point", t.Name)
		}
	case XID, BeforeXID:
		if t.xid() < 3 { // the first ones are PostgreSQL's own
			return wrong("%d is no number of a transaction", t.XID)
		}
	default:
		return wrong("%q is no kind of target", t.Kind).(*failure.Error).
			WithHint("use one of: latest, immediate, time, lsn, name, xid, before-xid")
	}
	return nil
}

// xid is the transaction without its epoch, as the log has it.
func (t Target) xid() uint32 { return uint32(t.XID) }

// settings are what tells a server to stop at the target. None: it goes on to the end of the log.
func (t Target) settings() settings {
	s := settings{"recovery_target_inclusive": strconv.FormatBool(!t.Exclusive)}
	switch t.Kind {
	case Immediate:
		s["recovery_target"] = "immediate"
	case Time:
		s["recovery_target_time"] = pgTimeText(t.Time)
	case LSN:
		s["recovery_target_lsn"] = t.LSN.String()
	case Name:
		s["recovery_target_name"] = t.Name
	case XID, BeforeXID:
		s["recovery_target_xid"] = strconv.FormatUint(uint64(t.xid()), 10)
		s["recovery_target_inclusive"] = strconv.FormatBool(t.Kind == XID)
	default:
		return settings{}
	}
	return s
}

// pgTimeText writes an instant for PostgreSQL, which counts microseconds.
func pgTimeText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.999999+00") }
