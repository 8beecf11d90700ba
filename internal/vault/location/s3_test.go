package location_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/cache"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/limit"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/retry"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3/s3test"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestS3 holds that a configured bucket is reached with its authority, its credentials and its retention, and that
// everything is laid around it.
func TestS3(t *testing.T) {
	server, err := s3test.Start(s3test.Options{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	t.Setenv("TEST_KEY", server.AccessKey)
	t.Setenv("TEST_SECRET", server.SecretKey)
	t.Setenv("TEST_PASSWORD", "geheim")
	folder := filepath.Join(t.TempDir(), "cache")
	v := model.Vault{
		URL: "s3:" + server.Endpoint + "/shop/vault", Password: "env:TEST_PASSWORD", CA: server.CAFile, Cache: folder, Connections: 3,
		Retain: model.Duration(time.Hour), S3: &model.S3{AccessKey: "env:TEST_KEY", SecretKey: "env:TEST_SECRET", Style: "path"},
	}
	made, closer, err := location.Init(t.Context(), v, location.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := made.Keys(t.Context()); err != nil || len(keys) != 1 {
		t.Errorf("keys: %v, %v", keys, err)
	}
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
	store, err := location.OpenStore(t.Context(), v, location.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	_, cached := blob.As[*cache.Store](store)
	_, patient := blob.As[*retry.Store](store)
	_, bounded := blob.As[*limit.Store](store)
	_, bucket := blob.As[*s3.Store](store)
	if f := store.Facts(); !cached || !patient || !bounded || !bucket || f.MaxParallel != 3 || !f.Retention {
		t.Errorf("cache %v, retry %v, limit %v, s3 %v, facts %+v", cached, patient, bounded, bucket, f)
	}
	if err := store.Remove(t.Context(), blob.Handle{Type: blob.Config}); !errors.Is(err, failure.Denied) {
		t.Errorf("the config can go: %v", err)
	}
	v.Cache = "none"
	plain, err := location.OpenStore(t.Context(), v, location.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, cached := blob.As[*cache.Store](plain); cached {
		t.Error("there is a cache in spite of none")
	}
	v.S3.SecretKey = "not a reference"
	if _, err := location.OpenStore(t.Context(), v, location.Options{}); !errors.Is(err, failure.Invalid) {
		t.Errorf("a secret that is no reference: %v", err)
	}
}
