package vault_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3/s3test"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// TestRetainOnMinIO does on a real bucket with Object Lock what TestRetain does by the clock: what is kept is renewed, what
// is not ends, and only then it can be forgotten and pruned.
func TestRetainOnMinIO(t *testing.T) {
	t.Parallel()
	server, err := s3test.Start(s3test.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	store, err := s3.Open(t.Context(), s3.Options{Endpoint: server.Endpoint, Bucket: server.Bucket(), Prefix: "vault",
		AccessKey: server.AccessKey, SecretKey: server.SecretKey, Retain: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	v, err := vault.Init(t.Context(), store, password, tiny)
	if err != nil {
		t.Fatal(err)
	}
	drop, err := keep(t.Context(), v, seeds(0, 8), "h")
	if err != nil {
		t.Fatal(err)
	}
	stays, err := keep(t.Context(), v, seeds(20, 4), "h")
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := v.Retain(t.Context(), vault.RetainOptions{For: time.Hour, Threshold: time.Minute, Except: []object.ID{drop}})
	if err != nil || renewed.Renewed < 6 {
		t.Fatalf("%+v, %v", renewed, err)
	}
	if again, err := v.Retain(t.Context(), vault.RetainOptions{For: time.Hour, Threshold: time.Minute, Except: []object.ID{drop}}); err != nil || again.Renewed > 0 {
		t.Errorf("%+v, %v", again, err)
	}
	got, err := v.Forget(t.Context(), []object.ID{drop, stays}, vault.ForgetOptions{})
	if err != nil || !errors.Is(got[1].Err, failure.Denied) || time.Until(got[1].NotBefore) < 50*time.Minute {
		t.Fatalf("%+v, %v", got, err)
	}
	if got[0].Err != nil {
		ends := time.NewTimer(time.Until(got[0].NotBefore) + time.Second) // by the server's clock
		<-ends.C
		if got, err = v.Forget(t.Context(), []object.ID{drop}, vault.ForgetOptions{}); err != nil || got[0].Err != nil {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	_, before := count(t, store, blob.Pack)
	var report *vault.PruneReport
	for {
		if report, err = v.Prune(t.Context(), atOnce); err != nil {
			t.Fatal(err)
		}
		free := report.Free
		if free.IsZero() {
			free = report.Plan.Free
		}
		if free.IsZero() || time.Until(free) > time.Minute {
			break
		}
		ends := time.NewTimer(time.Until(free) + time.Second)
		<-ends.C
	}
	if _, after := count(t, store, blob.Pack); after > before-3*fileSize {
		t.Errorf("%d bytes of %d are left: %+v", after, before, report)
	}
	if err := holdsAll(t.Context(), opened(t, store), stays, seeds(20, 4)); err != nil {
		t.Error(err)
	}
	check, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true})
	if err != nil || len(check.Problems) > 0 {
		t.Errorf("%+v, %v", check, err)
	}
}
