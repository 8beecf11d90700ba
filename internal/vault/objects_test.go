package vault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// TestObjects names the files of a vault by beginnings of their ids, and reads them.
func TestObjects(t *testing.T) {
	store, _ := sample(t)
	ctx := t.Context()
	v, err := vault.Open(ctx, store, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range everything(t, store) {
		if info.Type == blob.Config {
			continue
		}
		want, _ := object.ParseID(info.Name)
		got, err := v.Resolve(ctx, info.Type, info.Name[:16])
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", info.Handle, got, err)
		}
		text, err := v.LoadFile(ctx, info.Type, want)
		switch {
		case err != nil:
			t.Errorf("%s: %v", info.Handle, err)
		case info.Type == blob.Pack:
			if object.Hash(text) != want {
				t.Errorf("%s: other bytes are given", info.Handle)
			}
			entries, err := v.PackContent(ctx, want)
			if err != nil || len(entries) == 0 {
				t.Errorf("%s: %d blobs, %v", info.Handle, len(entries), err)
				continue
			}
			packs, err := v.PackedIn(ctx, entries[0].Handle)
			if err != nil || len(packs) != 1 || packs[0] != want {
				t.Errorf("%s: its first blob is in %v, %v", info.Handle, packs, err)
			}
		case !json.Valid(text):
			t.Errorf("%s is no JSON: %q", info.Handle, text)
		}
	}
	config, err := v.LoadFile(ctx, blob.Config, object.ID{})
	if err != nil || !bytes.Contains(config, []byte(v.Config().ID.String())) {
		t.Errorf("the config is %q, %v", config, err)
	}
	for prefix, want := range map[string]failure.Kind{"": failure.Invalid, "xyz": failure.NotFound} {
		if _, err := v.Resolve(ctx, blob.Snapshot, prefix); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", prefix, err, want)
		}
	}
}

// TestNoPassword opens with an empty password only what was made so on purpose.
func TestNoPassword(t *testing.T) {
	store := memory.New()
	if _, err := vault.Init(t.Context(), store, "", cheap); !errors.Is(err, failure.Invalid) {
		t.Errorf("without the option: %v", err)
	}
	open := cheap
	open.NoPassword = true
	v, err := vault.Init(t.Context(), store, "", open)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vault.Open(t.Context(), store, "", cheap); err != nil {
		t.Error(err)
	}
	second, err := v.AddKey(t.Context(), "second")
	if err != nil {
		t.Fatal(err)
	}
	hinted := cheap
	hinted.KeyHint = second.Short()
	if v, err = vault.Open(t.Context(), store, "", hinted); err != nil {
		t.Fatalf("with the hint to another key: %v", err)
	}
	if keys, err := v.Keys(t.Context()); err != nil || len(keys) != 2 {
		t.Errorf("%v, %v", keys, err)
	}
}

// TestRetryLock waits for somebody else's lock for as long as it was told to, and removes all locks.
func TestRetryLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, store := create(t)
		patient := cheap
		patient.RetryLock = 2 * time.Minute
		waiting, err := vault.Open(t.Context(), store, password, patient)
		if err != nil {
			t.Fatal(err)
		}
		_, lock, err := v.Lock(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, _, err := waiting.Lock(t.Context(), false); !errors.Is(err, failure.Conflict) {
			t.Errorf("a lock beside an exclusive one: %v", err)
		}
		if took := time.Since(start); took < 2*time.Minute || took > 3*time.Minute {
			t.Errorf("it was tried for %s", took)
		}
		go func() {
			time.Sleep(time.Minute)
			if err := lock.Release(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		_, second, err := waiting.Lock(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		gone, err := v.RemoveAllLocks(t.Context())
		if err != nil || len(gone) != 1 || locksIn(t, store) != 0 {
			t.Errorf("%v are removed, %d left, %v", gone, locksIn(t, store), err)
		}
		if err := second.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
