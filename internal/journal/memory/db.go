package memory

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// DB is a journal's contents. It is safe for concurrent use. Its revisions and the changes of each follow etcd's: an
// empty one is at revision 1, and a transaction or an expiry that changes something takes the next.
type DB struct {
	mu          sync.Mutex
	incarnation string
	rev         int64
	records     map[string]*record
	keys        []string           // the records' keys, sorted
	history     [][]journal.Change // history[i] holds the changes of revision forgotten+1+i
	forgotten   int64              // changes up to this revision are compacted away
	sessions    map[journal.Session]*session
	granted     int
	changed     chan struct{} // closed and replaced at each new revision
}

type record struct {
	journal.KV
	session journal.Session
}

type session struct {
	id       journal.Session
	ttl      time.Duration
	deadline time.Time
	timer    *time.Timer
	keys     map[string]bool
}

// Revision is the DB's current revision.
func (db *DB) Revision() int64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.rev
}

// SetIncarnation gives the DB another history, as a restore would, or a fixed name for a test.
func (db *DB) SetIncarnation(name string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.incarnation = name
}

// Compact forgets the changes up to revision rev: watches that still needed them lose their position.
func (db *DB) Compact(rev int64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if n := min(rev, db.rev) - db.forgotten; n > 0 {
		db.history = slices.Clone(db.history[n:])
		db.forgotten += n
		close(db.changed)
		db.changed = make(chan struct{})
	}
}

func (db *DB) get(key string) (journal.KV, bool, int64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.expire()
	r, ok := db.records[key]
	if !ok {
		return journal.KV{}, false, db.rev
	}
	return clone(r.KV), true, db.rev
}

func (db *DB) list(prefix string, opt journal.ListOptions) ([]journal.KV, int64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.expire()
	var kvs []journal.KV
	i, _ := slices.BinarySearch(db.keys, max(prefix, opt.From))
	for _, key := range db.keys[i:] {
		if !strings.HasPrefix(key, prefix) || opt.Limit > 0 && len(kvs) == opt.Limit {
			break
		}
		kvs = append(kvs, clone(db.records[key].KV))
	}
	return kvs, db.rev
}

func (db *DB) commit(txn journal.Txn) (rev int64, ok bool, err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.expire()
	for _, cond := range txn.If {
		mod := int64(0)
		if r := db.records[cond.Key]; r != nil {
			mod = r.Mod
		}
		if mod != cond.Mod {
			return db.rev, false, nil
		}
	}
	for _, op := range txn.Then {
		if op.Session != "" && db.sessions[op.Session] == nil {
			return 0, false, noSession("commit", op.Session)
		}
	}
	var changes []journal.Change
	for _, op := range txn.Then {
		switch {
		case op.Prefix:
			i, _ := slices.BinarySearch(db.keys, op.Key)
			j := i
			for j < len(db.keys) && strings.HasPrefix(db.keys[j], op.Key) {
				j++
			}
			for _, key := range slices.Clone(db.keys[i:j]) {
				changes = db.remove(changes, key)
			}
		case op.Delete:
			changes = db.remove(changes, op.Key)
		default:
			changes = db.put(changes, op)
		}
	}
	db.publish(changes)
	return db.rev, true, nil
}

// put writes one record at the next revision and appends the change.
func (db *DB) put(changes []journal.Change, op journal.Op) []journal.Change {
	rev := db.rev + 1
	r := db.records[op.Key]
	if r == nil {
		i, _ := slices.BinarySearch(db.keys, op.Key)
		db.keys = slices.Insert(db.keys, i, op.Key)
		r = &record{KV: journal.KV{Key: op.Key, Create: rev}}
		db.records[op.Key] = r
	}
	if old := db.sessions[r.session]; old != nil {
		delete(old.keys, op.Key)
	}
	r.session = op.Session
	if s := db.sessions[op.Session]; s != nil {
		s.keys[op.Key] = true
	}
	r.Value, r.Mod = slices.Clone(op.Value), rev
	return append(changes, journal.Change{KV: r.KV})
}

// remove deletes one record, if it is there, at the next revision and appends the change.
func (db *DB) remove(changes []journal.Change, key string) []journal.Change {
	r := db.records[key]
	if r == nil {
		return changes
	}
	if s := db.sessions[r.session]; s != nil {
		delete(s.keys, key)
	}
	delete(db.records, key)
	i, _ := slices.BinarySearch(db.keys, key)
	db.keys = slices.Delete(db.keys, i, i+1)
	return append(changes, journal.Change{KV: journal.KV{Key: key, Mod: db.rev + 1}, Deleted: true})
}

// publish makes changes the next revision and wakes the watches; no changes, no revision.
func (db *DB) publish(changes []journal.Change) {
	if len(changes) == 0 {
		return
	}
	db.rev++
	db.history = append(db.history, changes)
	close(db.changed)
	db.changed = make(chan struct{})
}

// next gives the first group of changes under prefix after a revision and that group's revision. Without one group is
// nil, rev is how far it looked, and changed is closed when it is worth asking again. ok is false once the position is
// compacted away.
func (db *DB) next(prefix string, after int64) (group []journal.Change, rev int64, changed <-chan struct{}, ok bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.expire()
	after = max(after, 1) // nothing is written at or below revision 1
	if after < db.forgotten {
		return nil, 0, nil, false
	}
	for ; after < db.rev; after++ {
		for _, c := range db.history[after-db.forgotten] {
			if strings.HasPrefix(c.Key, prefix) {
				c.KV = clone(c.KV)
				group = append(group, c)
			}
		}
		if group != nil {
			return group, after + 1, nil, true
		}
	}
	return nil, after, db.changed, true
}

func (db *DB) grant(ttl time.Duration) journal.Session {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.granted++
	s := &session{
		id: journal.Session(fmt.Sprintf("%08d", db.granted)), ttl: ttl,
		deadline: time.Now().Add(ttl), keys: map[string]bool{},
	}
	s.timer = time.AfterFunc(ttl, func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		db.expire()
	})
	db.sessions[s.id] = s
	return s.id
}

func (db *DB) keepAlive(id journal.Session) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.expire()
	s := db.sessions[id]
	if s == nil {
		return false
	}
	s.deadline = time.Now().Add(s.ttl)
	s.timer.Reset(s.ttl)
	return true
}

func (db *DB) revoke(id journal.Session) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.expire()
	if s := db.sessions[id]; s != nil {
		db.end(s)
	}
}

// expire ends the sessions whose time is over, in the order of their deadlines. Every access calls it, so that a
// session is over for everybody at its deadline, whether or not its timer has run yet.
func (db *DB) expire() {
	now := time.Now()
	var over []*session
	for _, s := range db.sessions {
		if !s.deadline.After(now) {
			over = append(over, s)
		}
	}
	slices.SortFunc(over, func(a, b *session) int {
		if c := a.deadline.Compare(b.deadline); c != 0 {
			return c
		}
		return strings.Compare(string(a.id), string(b.id))
	})
	for _, s := range over {
		db.end(s)
	}
}

// end removes a session and its keys, at one revision.
func (db *DB) end(s *session) {
	s.timer.Stop()
	delete(db.sessions, s.id)
	keys := make([]string, 0, len(s.keys))
	for key := range s.keys {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var changes []journal.Change
	for _, key := range keys {
		changes = db.remove(changes, key)
	}
	db.publish(changes)
}
