package service

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Bounds of what is remembered of a resource's markers: the newest in a record that each new one rewrites, and batches of older ones
// in records of their own, the newest of them in the place of the oldest. An operation on much data ends long after its copy was
// brought up, and markers are written meanwhile: with one every five seconds they are remembered for five hours.
const (
	markersRecent  = 120
	markersBatch   = 60
	markersBatches = 64
)

// markers is what is known of a resource's markers: those that were acknowledged, oldest first.
type markers struct {
	Acked []ackedMarker `json:"acked"`
}

// ackedMarker is a marker that the resource acknowledged at Acked.
type ackedMarker struct {
	model.Marker
	Acked time.Time `json:"acked"`
}

func markersKey(app model.AppID, r model.ResourceID) string {
	return measures + "markers/" + string(app) + "/" + string(r)
}

// keep makes the record at key what is known, if it still is at revision mod; one that somebody else has replaced is left alone.
// What is too much for it becomes a batch.
func (known markers) keep(ctx context.Context, store journal.Store, key string, mod int64) error {
	var ops []journal.Op
	put := func(key string, m markers) error {
		b, err := json.Marshal(m)
		if err != nil {
			return failure.WrapAs(failure.Internal, err, "write", key)
		}
		ops = append(ops, journal.Op{Key: key, Value: b})
		return nil
	}
	if len(known.Acked) > markersRecent {
		batch := known.Acked[:markersBatch]
		known.Acked = known.Acked[markersBatch:]
		if err := put(fmt.Sprintf("%s/%02d", key, batch[0].Seq/markersBatch%markersBatches), markers{batch}); err != nil {
			return err
		}
	}
	if err := put(key, known); err != nil {
		return err
	}
	_, _, err := store.Commit(ctx, journal.Txn{If: []journal.Cond{{Key: key, Mod: mod}}, Then: ops})
	return err
}

// remembered is all that is known of a resource's markers, the oldest first.
func remembered(ctx context.Context, store journal.Store, key string) (all markers, err error) {
	kvs, _, err := store.List(ctx, key, journal.ListOptions{})
	if err != nil {
		return all, err
	}
	for _, kv := range kvs {
		if kv.Key != key && !strings.HasPrefix(kv.Key, key+"/") {
			continue // another resource's, whose name begins with this one's
		}
		var some markers
		if err := json.Unmarshal(kv.Value, &some); err != nil {
			return all, failure.WrapAs(failure.Corrupt, err, "read", kv.Key)
		}
		all.Acked = append(all.Acked, some.Acked...)
	}
	slices.SortStableFunc(all.Acked, func(a, b ackedMarker) int { return a.Acked.Compare(b.Acked) })
	return all, nil
}

// mark writes the next marker and records it once it is acknowledged.
func (s *Service) mark(ctx context.Context, store journal.Store, w driver.MarkerWriter, app model.App, r model.Resource) (model.Marker, error) {
	known, mod, err := read[markers](ctx, store, markersKey(app.ID, r.ID))
	if err != nil {
		return model.Marker{}, err
	}
	m := model.Marker{Seq: 1, At: time.Now().UTC()}
	if n := len(known.Acked); n > 0 {
		m.Seq = known.Acked[n-1].Seq + 1
	}
	call, cancel := context.WithTimeout(ctx, markerTimeout)
	defer cancel()
	target := driver.Target{App: app.ID, Resource: r, Site: app.Home}
	if len(app.Recovery) > 0 {
		target.Peer = app.Recovery[0]
	}
	if err := w.WriteMarker(call, target, m); err != nil {
		return m, err
	}
	known.Acked = append(known.Acked, ackedMarker{Marker: m, Acked: time.Now().UTC()})
	// Another writer may have been faster: then its record stands, and ours is one marker more than is known of.
	return m, known.keep(ctx, store, markersKey(app.ID, r.ID), mod)
}
