package pgpoint_test

import (
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
)

func TestBlocksAreShortWhereThereAreFew(t *testing.T) {
	const gib = 1 << 30
	for _, tt := range []struct {
		name   string
		bytes  int64
		newest *pgpoint.Base
		want   int
	}{
		{"empty", 0, nil, 32 << 10},
		{"small", 2 * gib, nil, 32 << 10},
		{"at the first bound", 32 * gib, nil, 32 << 10},
		{"above it", 33 * gib, nil, 64 << 10},
		{"larger", 100 * gib, nil, 128 << 10},
		{"large", 200 * gib, nil, pgpoint.Block},
		{"larger than all", 1 << 50, nil, pgpoint.Block},
		{"as before", 100 * gib, &pgpoint.Base{Block: 32 << 10}, 32 << 10},
		{"grown too far", 129 * gib, &pgpoint.Base{Block: 32 << 10}, pgpoint.Block},
		{"shrunk", gib, &pgpoint.Base{Block: pgpoint.Block}, pgpoint.Block},
		{"imported before", gib, &pgpoint.Base{Block: pgpoint.Block, Source: "pgbackrest 1"}, 32 << 10},
		{"not said before", gib, &pgpoint.Base{}, 32 << 10},
		{"nonsense before", gib, &pgpoint.Base{Block: 1 << 30}, 32 << 10},
		{"no pages before", gib, &pgpoint.Base{Block: 40_000}, 32 << 10},
	} {
		if got := pgpoint.BlockFor(tt.bytes, tt.newest); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
