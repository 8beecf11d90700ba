package pgpoint_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestProofs(t *testing.T) {
	ctx := context.Background()
	v, err := vault.Init(ctx, memory.New(), "secret", vault.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		text, err := pgpoint.Base{SystemID: 7, Ended: noon.Add(time.Duration(i) * time.Hour), Bytes: int64(i)}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		store(t, v, pgpoint.IsBase, "east", noon.Add(time.Duration(i)*time.Hour), text)
	}
	bases, err := pgpoint.Bases(ctx, v, whose)
	if err != nil {
		t.Fatal(err)
	}
	stamp := func(n int, ok bool, after time.Duration) pgpoint.Proof {
		t.Helper()
		p := pgpoint.Proof{Version: 1, Tree: *bases[n].Snapshot.Tree, Proof: model.Proof{OK: ok, At: noon.Add(after), By: "RUN", Site: "west", Took: model.Duration(time.Minute)},
			Checks: []pgpoint.ProofCheck{{Name: "page checksums", OK: ok, Took: model.Duration(time.Second)}}}
		if err := pgpoint.Stamp(ctx, v, whose, p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	stamp(0, true, 5*time.Hour)
	bad := stamp(0, false, 6*time.Hour)
	good := stamp(1, true, 5*time.Hour)
	proofs, err := pgpoint.Proofs(ctx, v, whose)
	if err != nil || len(proofs) != 2 {
		t.Fatalf("got proofs of %d points, %v", len(proofs), err)
	}
	for n, want := range []pgpoint.Proof{bad, good} {
		if diff := cmp.Diff(want, proofs[*bases[n].Snapshot.Tree].Proof); diff != "" {
			t.Errorf("the newest proof of point %d (-want +got):\n%s", n, diff)
		}
	}
	usable, only := pgpoint.Usable(bases, proofs)
	if only || len(usable) != 2 || usable[0].Bytes != 1 {
		t.Errorf("usable: %d points, only bad ones: %t", len(usable), only)
	}
	if usable, only := pgpoint.Usable(bases[:1], proofs); !only || len(usable) != 1 {
		t.Errorf("with nothing but a bad one: %d points, only bad ones: %t", len(usable), only)
	}

	// A point that is tagged has another id and the same proof; one that is gone leaves its proofs behind.
	if _, err := v.Tag(ctx, ids(bases[1:2]), vault.TagChange{Add: []string{"keep"}}, vault.Waiting{}); err != nil {
		t.Fatal(err)
	}
	if stale, err := pgpoint.StaleProofs(ctx, v, whose); err != nil || len(stale) != 1 {
		t.Errorf("stale: %d, %v; want the one that was replaced", len(stale), err)
	}
	if _, err := v.Forget(ctx, ids(bases[:1]), vault.ForgetOptions{}); err != nil {
		t.Fatal(err)
	}
	if stale, err := pgpoint.StaleProofs(ctx, v, whose); err != nil || len(stale) != 2 {
		t.Errorf("stale: %d, %v; want both of the point that is gone", len(stale), err)
	}
}

func ids(bases []pgpoint.BasePoint) (out []object.ID) {
	for _, b := range bases {
		out = append(out, b.Snapshot.ID)
	}
	return out
}
