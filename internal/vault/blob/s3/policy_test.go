package s3_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// documented is the policy that docs/object-lock.md advises, for a bucket.
func documented(t *testing.T, bucket string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "object-lock.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(string(text), "```json\n")
	policy, _, ends := strings.Cut(rest, "```")
	if !begins || !ends {
		t.Fatal("there is no policy in docs/object-lock.md")
	}
	return strings.ReplaceAll(policy, "BUCKET", bucket)
}

// TestDocumentedPolicy holds that the rights which the documentation advises for a protected host are enough for it: to back
// up, restore, check, renew and hold locks; and that they do not remove anything, not even what is not retained.
func TestDocumentedPolicy(t *testing.T) {
	for _, retain := range []time.Duration{0, time.Hour} {
		s := secure.get(t)
		bucket := s.Bucket()
		all := aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}
		if _, err := vault.Init(t.Context(), open(t, s, bucket, all, func(o *s3.Options) { o.Retain = time.Hour }), password, cheap); err != nil {
			t.Fatal(err)
		}
		store := open(t, s, bucket, session(t, s, documented(t, bucket)), func(o *s3.Options) { o.Retain, o.PartSize = retain, 5<<20 })
		v, err := vault.Open(t.Context(), store, password, cheap)
		if err != nil {
			t.Fatal(err)
		}
		content := blobtest.Make(blob.Pack, 1, 2<<20).Bytes
		point := backup(t, v, content)
		restored(t, store, point, content)
		if locks, err := v.Locks(t.Context()); err != nil || len(locks) != 0 {
			t.Errorf("locks are left: %v, %v", locks, err)
		}
		large := blobtest.Make(blob.Pack, 2, 6<<20)
		if err := store.Save(t.Context(), large.Handle, strings.NewReader(string(large.Bytes))); err != nil {
			t.Errorf("an upload in parts: %v", err)
		}
		if err := store.Retain(t.Context(), large.Handle, time.Now().Add(2*time.Hour)); err != nil {
			t.Errorf("retain: %v", err)
		}
		for _, typ := range []blob.Type{blob.Config, blob.Key, blob.Snapshot, blob.Index, blob.Pack} {
			err := store.List(t.Context(), typ, func(i blob.Info) error {
				if err := store.Remove(t.Context(), i.Handle); !errors.Is(err, failure.Denied) {
					t.Errorf("remove of %s: %v", i.Handle, err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		restored(t, store, point, content)
	}
}

// TestPruneAfterExpiry holds that forget and prune remove nothing while it is retained, say until when, and remove it for
// good afterwards; what is still needed stays, and is renewed.
func TestPruneAfterExpiry(t *testing.T) {
	s := plain.get(t)
	bucket := s.Bucket()
	keys := aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}
	const short = 4 * time.Second
	store := open(t, s, bucket, keys, func(o *s3.Options) { o.Retain = short })
	v, err := vault.Init(t.Context(), store, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	old := backup(t, v, blobtest.Make(blob.Pack, 1, 1<<20).Bytes)
	content := blobtest.Make(blob.Pack, 2, 1<<20).Bytes
	kept := backup(t, v, content)
	if _, err := v.Retain(t.Context(), vault.RetainOptions{For: time.Hour, Except: []object.ID{old.ID}}); err != nil {
		t.Fatal(err)
	}
	gone := func() bool {
		t.Helper()
		done, err := v.Forget(t.Context(), []object.ID{old.ID}, vault.ForgetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if f := done[0]; f.Err != nil && (!errors.Is(f.Err, failure.Denied) || f.NotBefore.IsZero()) {
			t.Fatalf("forget: %+v", f)
		}
		return done[0].Err == nil
	}
	for !gone() { // each try asks the server, and takes a lock
		if points, err := v.Snapshots(t.Context(), snapshot.Filter{}); err != nil || len(points) != 2 {
			t.Fatalf("while it is retained: %v, %v", points, err)
		}
	}
	before := len(targets(t, raw(s, keys), bucket))
	for removed := 0; removed == 0; {
		r, err := v.Prune(t.Context(), vault.PruneOptions{Grace: -1, MaxUnused: "0"})
		if err != nil {
			t.Fatal(err)
		}
		removed = r.Removed.Packs
	}
	if after := len(targets(t, raw(s, keys), bucket)); after >= before {
		t.Errorf("%d versions before the prune, %d after it", before, after)
	}
	restored(t, store, kept, content)
}
