package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// A server that is promoted keeps its log for the receivers of the other sites from its first record on, whether or not they
// are there: a physical slot of the name that each will use, with its log reserved. Without it what is written until one of
// them is back would be on this server alone, and no recovery point would be connected with what comes after.

// keptSince is the oldest major version whose slots a receiver can ask for their place.
const keptSince = 15

// keepLog makes the server behind conn keep its log for every other site's receiver, and says what became of that. It is called
// before a standby is promoted, when the slot is sure to begin before the new timeline, and after each promotion, when born is
// where the new timeline began; 0: it has not yet. It may be called again. A promotion never fails of it.
func (d *Driver) keepLog(ctx context.Context, req driver.Request, s *server, conn *pgx.Conn, born lsn) []model.Fact {
	if s.vault == nil {
		return nil
	}
	others, err := newServers(req.Target, req.Site)
	if err != nil {
		return nil // their settings were read before
	}
	var facts []model.Fact
	for _, o := range others {
		text, err := s.keepFor(ctx, conn, o.receiver(), born)
		if err != nil {
			err = wrapWrite(err, "keep the log for", o.subject())
			d.log.Warn("the log is not kept for a receiver that is away", "resource", s.id, "site", o.site, "error", err)
			text = fmt.Sprintf("is not kept: %v; %s", err, keepByHand(o.receiver()))
		}
		facts = append(facts, model.Fact{Name: "log for " + string(o.site), Value: text})
	}
	return facts
}

// keepByHand is the command that makes a server keep log for a receiver.
func keepByHand(slot string) string {
	return fmt.Sprintf("select pg_create_physical_replication_slot('%s', true)", slot)
}

// keepFor makes one slot, or finds it, and says from where on it keeps the log.
func (s *server) keepFor(ctx context.Context, conn *pgx.Conn, slot string, born lsn) (string, error) {
	var bound string
	var major, segment int64
	err := conn.QueryRow(ctx, `select current_setting('max_slot_wal_keep_size'), current_setting('server_version_num')::int / 10000,
		setting::bigint from pg_settings where name = 'wal_segment_size'`).Scan(&bound, &major, &segment)
	switch {
	case err != nil:
		return "", err
	case major < keptSince:
		return fmt.Sprintf("is not kept: a receiver cannot ask PostgreSQL %d for the place of its slot, and begins where the server is then", major), nil
	case bound == unbounded && !s.own.KeepLog:
		return "is not kept, since nothing bounds it: max_slot_wal_keep_size is not set; alter system set max_slot_wal_keep_size = '…GB'; select pg_reload_conf(); " +
			keepByHand(slot), nil
	}
	var from *string
	find := func() error {
		return conn.QueryRow(ctx, "select case when wal_status <> 'lost' then restart_lsn::text end from pg_replication_slots where slot_name = $1", slot).Scan(&from)
	}
	err = find()
	if err == nil && from == nil { // it keeps nothing, and never will again
		if err = dropSlot(ctx, conn, slot); err == nil {
			err = pgx.ErrNoRows
		}
	}
	if errors.Is(err, pgx.ErrNoRows) {
		_, err = conn.Exec(ctx, "select pg_create_physical_replication_slot($1, true)", slot)
		if err == nil || sqlState(err) == codeDuplicateObject { // its receiver was faster
			err = find()
		}
	}
	if err != nil {
		return "", err
	}
	if from == nil {
		return "", failure.New(failure.Conflict, "", "", "the slot %s keeps nothing", slot)
	}
	at, err := parseLSN(*from)
	if err != nil {
		return "", err
	}
	if bound == unbounded {
		bound = "all that the disk takes"
	}
	text := fmt.Sprintf("is kept from %s on, up to %s, until its receiver is back: slot %s", at, bound, slot)
	if start := pgwal.SegmentSize(segment).Start(pgwal.LSN(at)); born != 0 && start > pgwal.LSN(born) {
		text += fmt.Sprintf("; the timeline began at %s, and what lies between may be missing: a recovery point after it is needed", born)
	}
	return text, nil
}

// unbounded is max_slot_wal_keep_size where slots keep log without end.
const unbounded = "-1"

// dropName takes a receiver out of a server's synchronous_standby_names, where Lifeboat wrote them, and drops its slot.
func dropName(ctx context.Context, conn *pgx.Conn, name string) error {
	var names string
	if err := conn.QueryRow(ctx, "select current_setting('synchronous_standby_names')").Scan(&names); err != nil {
		return err
	}
	if left, ok := without(names, name); ok {
		if err := alterSystem(ctx, conn, "synchronous_standby_names", left); err != nil {
			return err
		}
	}
	return dropSlot(ctx, conn, name)
}

// slotPatience is how long a server may take to see that a receiver has gone.
const slotPatience = 5 * time.Second

// dropSlot drops a slot, if it is there. Conflict: somebody uses it.
func dropSlot(ctx context.Context, conn *pgx.Conn, name string) error {
	for end := time.Now().Add(slotPatience); ; {
		_, err := conn.Exec(ctx, "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1", name)
		switch code := sqlState(err); {
		case code == codeNoObject: // by another one
			return nil
		case code != codeInUse:
			return err
		case time.Now().After(end):
			return failure.WrapAs(failure.Conflict, err, "drop the slot", name).WithHint("a receiver streams with it: end that first; select * from pg_stat_replication")
		}
		if !pause(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
}
