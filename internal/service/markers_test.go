package service

import (
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/journal/memory"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestMarkersAreRemembered writes far more markers than are remembered: the newest are known, without a gap, in records of which each
// new one rewrites a small one; and those of another resource, whose name begins alike, are its own.
func TestMarkersAreRemembered(t *testing.T) {
	store := memory.NewDB().Open()
	key, other := markersKey("shop", "db"), markersKey("shop", "db2")
	first := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	write := func(key string, seq int64) {
		known, mod, err := read[markers](t.Context(), store, key)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(known.Acked); n > markersRecent {
			t.Fatalf("each new marker rewrites %d", n)
		}
		at := first.Add(time.Duration(seq) * time.Second)
		known.Acked = append(known.Acked, ackedMarker{Marker: model.Marker{Seq: seq, At: at}, Acked: at})
		if err := known.keep(t.Context(), store, key, mod); err != nil {
			t.Fatal(err)
		}
		if err := (markers{}).keep(t.Context(), store, key, mod); err != nil { // somebody who is late
			t.Fatal(err)
		}
	}
	const written = 2*markersBatch*markersBatches + 17
	for seq := range int64(written) {
		write(key, seq+1)
		if seq < 2*markersRecent {
			write(other, seq+1)
		}
		if seq < 3*markersRecent {
			if all, err := remembered(t.Context(), store, key); err != nil || len(all.Acked) != int(seq)+1 {
				t.Fatalf("%d of %d are remembered (%v)", len(all.Acked), seq+1, err)
			}
		}
	}
	all, err := remembered(t.Context(), store, key)
	if n := len(all.Acked); err != nil || n < markersBatch*markersBatches {
		t.Fatalf("%d are remembered (%v)", n, err)
	}
	for i, m := range all.Acked {
		if want := int64(written - len(all.Acked) + i + 1); m.Seq != want {
			t.Fatalf("marker %d of those that are remembered has number %d, want %d", i, m.Seq, want)
		}
	}
	if all, err := remembered(t.Context(), store, other); err != nil || len(all.Acked) != 2*markersRecent {
		t.Errorf("%d of the other resource are remembered (%v)", len(all.Acked), err)
	}
}
