package pgbackrest_test

import (
	"context"
	"io"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/pgbackresttest"
)

// readAll reads every file of a backup, and gives how many bytes they have.
func readAll(t *testing.T, r *pgbackrest.Repo, label string) (size int64) {
	t.Helper()
	ctx := context.Background()
	m, err := r.Manifest(ctx, label)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Files {
		c, err := r.OpenFile(ctx, m, &m.Files[i])
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, c)
		if closeErr := c.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			t.Fatal(err)
		}
		size += n
	}
	return size
}

func TestEveryFileIsReadAndVerified(t *testing.T) {
	w := pgbackresttest.Start(t, pgbackresttest.Options{Compress: "lz4", Cipher: "correct horse"})
	w.Backup("full")
	w.Server.SQL("insert into orders values (-1)")
	w.Backup("incr")
	w.Archive()
	r, err := pgbackrest.Open(context.Background(), pgbackrest.Posix(w.Repo), pgbackrest.Options{Stanza: w.Stanza, Passphrase: "correct horse"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Backups) != 2 || r.Backups[0].Type != pgbackrest.Full || r.Backups[1].Type != pgbackrest.Incremental {
		t.Fatalf("got %+v, want a full and an incremental backup", r.Backups)
	}
	for _, b := range r.Backups {
		if got := readAll(t, r, b.Label); got != b.Size {
			t.Errorf("%s: got %d bytes, want %d", b.Label, got, b.Size)
		}
	}
}
