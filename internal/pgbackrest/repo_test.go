package pgbackrest_test

import (
	"context"
	"io"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/pgbackresttest"
)

func TestTmp(t *testing.T) {
	ctx := context.Background()
	for _, o := range []pgbackresttest.Options{{}, {Compress: "lz4", Cipher: "se cret", Bundle: true}, {Compress: "zst", Bundle: true}, {Compress: "bz2", Cipher: "x"}, {Compress: "none", Cipher: "x", Bundle: true}} {
		t.Run(o.Compress, func(t *testing.T) {
			w := pgbackresttest.Start(t, o)
			w.Backup("full")
			w.Server.SQL("insert into orders values (-1)")
			w.Backup("diff")
			w.Server.SQL("insert into orders values (-2)")
			w.Backup("incr")
			w.Archive()
			r, err := pgbackrest.Open(ctx, pgbackrest.Posix(w.Repo), pgbackrest.Options{Stanza: "main", Passphrase: o.Cipher})
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range r.Backups {
				m, err := r.Manifest(ctx, b.Label)
				if err != nil {
					t.Fatal(err)
				}
				var n, size int64
				for _, f := range m.Files {
					c, err := r.OpenFile(ctx, m, &f)
					if err != nil {
						t.Fatal(err)
					}
					k, err := io.Copy(io.Discard, c)
					if err != nil {
						t.Fatal(err)
					}
					n++
					size += k
					c.Close()
				}
				t.Logf("%+v %d files %d bytes", b, n, size)
			}
			l, err := r.Log(ctx, r.Archives[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range l.Segments {
				c, err := r.OpenSegment(ctx, s)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, c); err != nil {
					t.Fatal(err)
				}
				c.Close()
			}
			t.Logf("%d segments, %v", len(l.Segments), l.Unknown)
		})
	}
}
