package awstest

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// table are the things of one kind, by name. Names are compared without case, as AWS does.
type table[T any] struct {
	live   map[string]row[T]
	ghosts []row[T]
}

type row[T any] struct {
	name       string
	v          T
	born, died time.Time
}

func (t *table[T]) get(name string) (v T, ok bool) {
	r, ok := t.live[strings.ToLower(name)]
	return r.v, ok
}

func (t *table[T]) put(now time.Time, name string, v T) {
	if t.live == nil {
		t.live = map[string]row[T]{}
	}
	name = strings.ToLower(name)
	t.live[name] = row[T]{name: name, v: v, born: now}
}

func (t *table[T]) remove(now time.Time, name string) {
	name = strings.ToLower(name)
	if r, ok := t.live[name]; ok {
		r.died = now
		t.ghosts = append(t.ghosts, r)
		delete(t.live, name)
	}
}

// all are those that a listing shows, by name: the young ones not yet, those that just went still.
func (t *table[T]) all(now time.Time, lag time.Duration) []T {
	shown := map[string]T{}
	for _, g := range t.ghosts {
		if now.Before(g.died.Add(lag)) {
			shown[g.name] = g.v
		}
	}
	for name, r := range t.live {
		if !now.Before(r.born.Add(lag)) {
			shown[name] = r.v
		}
	}
	var out []T
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		out = append(out, shown[name])
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
