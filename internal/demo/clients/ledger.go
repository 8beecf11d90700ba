package clients

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Ledger is what the clients remember: which orders they tried to place, which were acknowledged, and when. It is the
// other side's book, kept where no disaster reaches; what the database says is compared with it order by order. It is
// safe for concurrent use.
type Ledger struct {
	mu      sync.Mutex
	orders  map[string]*placed
	answers []time.Time // good answers, oldest first
	refused []time.Time // attempts that failed, oldest first
	uploads map[string]uploaded
}

// placed is one order as its client sees it. A zero acknowledged means: not yet.
type placed struct{ first, acknowledged time.Time }

// NewLedger makes an empty ledger.
func NewLedger() *Ledger { return &Ledger{orders: map[string]*placed{}} }

// Attempt notes that an order is about to be sent: from now on it may be in the database.
func (l *Ledger) Attempt(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.orders[id] == nil {
		l.orders[id] = &placed{first: time.Now()}
	}
}

// Refuse notes that an attempt has failed.
func (l *Ledger) Refuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = append(l.refused, time.Now())
}

// Acknowledge notes that the client was told that its order is safe: from now on it must be in the database.
func (l *Ledger) Acknowledge(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.answers = append(l.answers, now)
	l.orders[id].acknowledged = now
}

// Span is a time between two instants. The zero Span is none.
type Span struct{ From, To time.Time }

// Duration is its length.
func (s Span) Duration() time.Duration { return s.To.Sub(s.From) }

// Outage is the longest time without a good answer, from the last good answer before it to the first one after it, of
// those that reach into the time between from and to. Before the first and after the last answer nothing is known.
func (l *Ledger) Outage(from, to time.Time) Span {
	l.mu.Lock()
	defer l.mu.Unlock()
	var longest Span
	for i := 1; i < len(l.answers); i++ {
		gap := Span{l.answers[i-1], l.answers[i]}
		if gap.To.After(from) && gap.From.Before(to) && gap.Duration() > longest.Duration() {
			longest = gap
		}
	}
	return longest
}

// LongestWait is the longest that one client waited for one order between from and to: from its first attempt to its
// acknowledgement, with every refusal in between.
func (l *Ledger) LongestWait(from, to time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var longest time.Duration
	for _, o := range l.orders {
		if !o.acknowledged.IsZero() && o.acknowledged.After(from) && o.first.Before(to) {
			longest = max(longest, o.acknowledged.Sub(o.first))
		}
	}
	return longest
}

// Acknowledged counts the good answers between from and to.
func (l *Ledger) Acknowledged(from, to time.Time) int { return l.count(&l.answers, from, to) }

// Refused counts the failed attempts between from and to.
func (l *Ledger) Refused(from, to time.Time) int { return l.count(&l.refused, from, to) }

func (l *Ledger) count(times *[]time.Time, from, to time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, at := range *times {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n
}

// Rate is the good answers per second between from and to.
func (l *Ledger) Rate(from, to time.Time) float64 {
	if !to.After(from) {
		return 0
	}
	return float64(l.Acknowledged(from, to)) / to.Sub(from).Seconds()
}

// Comparison says how the ledger and a database differ. Lost, Phantom and Repeated are empty when all is well.
type Comparison struct {
	Acknowledged int      // orders whose clients were told that they are safe
	Stored       int      // orders in the database
	InDoubt      int      // stored, and their clients have not been told (yet)
	Lost         []string // acknowledged, and not in the database
	Phantom      []string // in the database, and no client ever sent them
	Repeated     []string // in the database more than once
}

// Clean reports that nothing is lost, invented or repeated.
func (c Comparison) Clean() bool { return len(c.Lost)+len(c.Phantom)+len(c.Repeated) == 0 }

// Querier is a connection to the database, such as *pgx.Conn.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Compare reads every order in the database, from the table itself and not from an index of it, and compares it with
// the ledger, one by one. Clients may go on meanwhile: what was acknowledged before the reading began must be there,
// and nothing may be there that nobody had sent when it ended.
func (l *Ledger) Compare(ctx context.Context, db Querier) (Comparison, error) {
	acknowledged := l.acknowledged()
	rows, err := db.Query(ctx, "select ctid::text, id from orders") // an index has no ctid
	if err != nil {
		return Comparison{}, failure.WrapAs(failure.Unavailable, err, "read orders", "")
	}
	stored, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var place, id string
		err := row.Scan(&place, &id)
		return id, err
	})
	if err != nil {
		return Comparison{}, failure.WrapAs(failure.Unavailable, err, "read orders", "")
	}
	return l.compare(acknowledged, stored), nil
}

func (l *Ledger) acknowledged() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for id, o := range l.orders {
		if !o.acknowledged.IsZero() {
			ids = append(ids, id)
		}
	}
	return ids
}

func (l *Ledger) compare(acknowledged, stored []string) Comparison {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := Comparison{Acknowledged: len(acknowledged), Stored: len(stored)}
	times := map[string]int{}
	for _, id := range stored {
		times[id]++
	}
	for _, id := range acknowledged {
		if times[id] == 0 {
			c.Lost = append(c.Lost, id)
		}
	}
	for id, n := range times {
		switch o := l.orders[id]; {
		case o == nil:
			c.Phantom = append(c.Phantom, id)
		case o.acknowledged.IsZero():
			c.InDoubt++
		}
		if n > 1 {
			c.Repeated = append(c.Repeated, id)
		}
	}
	slices.Sort(c.Lost)
	slices.Sort(c.Phantom)
	slices.Sort(c.Repeated)
	return c
}
