package vaultservice_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vaultservice"
	"github.com/lifeboat-dr/lifeboat/model"
)

func service() *vaultservice.Service {
	return vaultservice.New(vaultservice.Options{Engine: vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}}})
}

func at(dir, password string) api.VaultAccess {
	p := api.Passphrase(password)
	return api.VaultAccess{Vault: model.Vault{URL: dir, Cache: "none"}, Password: &p}
}

// sample makes a vault with one point of a folder, and gives its access and the point's id.
func sample(t *testing.T, s *vaultservice.Service) (api.VaultAccess, string) {
	t.Helper()
	a := at(filepath.Join(t.TempDir(), "vault"), "secret")
	src := filepath.Join(t.TempDir(), "src")
	if err := errors.Join(os.Mkdir(src, 0o755), os.WriteFile(filepath.Join(src, "file"), []byte("text"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Init(t.Context(), api.VaultInitRequest{VaultAccess: a}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Backup(t.Context(), api.VaultBackupRequest{VaultAccess: a, Paths: []string{src}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a, r.Point.ID
}

// every is each call of the service on a vault, but for those that go on until they are ended.
func every(s *vaultservice.Service, a api.VaultAccess, point, target string) map[string]func(context.Context) error {
	secret := api.Passphrase("new")
	drain := func(list *api.VaultListing, err error) error {
		if err != nil {
			return err
		}
		for _, err := range list.Entries {
			if err != nil {
				return err
			}
		}
		return nil
	}
	return map[string]func(context.Context) error{
		"init": func(ctx context.Context) error {
			_, err := s.Init(ctx, api.VaultInitRequest{VaultAccess: at(target, "x"), CutLike: &a})
			return err
		},
		"backup": func(ctx context.Context) error {
			_, err := s.Backup(ctx, api.VaultBackupRequest{VaultAccess: a, Stdin: "x"}, strings.NewReader("x"), nil)
			return err
		},
		"restore": func(ctx context.Context) error {
			_, err := s.Restore(ctx, api.VaultRestoreRequest{VaultAccess: a, Point: point, Target: target}, nil)
			return err
		},
		"copy": func(ctx context.Context) error {
			_, err := s.Copy(ctx, api.VaultCopyRequest{VaultAccess: a, To: a}, nil)
			return err
		},
		"points": func(ctx context.Context) error {
			_, err := s.Points(ctx, api.VaultPointsRequest{VaultAccess: a})
			return err
		},
		"list": func(ctx context.Context) error {
			return drain(s.List(ctx, api.VaultListRequest{VaultAccess: a, Point: point}))
		},
		"find": func(ctx context.Context) error {
			for _, err := range s.Find(ctx, api.VaultFindRequest{VaultAccess: a, Patterns: []string{"file"}}) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"cat": func(ctx context.Context) error {
			_, err := s.Cat(ctx, api.VaultCatRequest{VaultAccess: a, Kind: "config"})
			return err
		},
		"dump": func(ctx context.Context) error {
			_, err := s.Dump(ctx, api.VaultDumpRequest{VaultAccess: a, Point: point, Path: "/"}, io.Discard)
			return err
		},
		"diff": func(ctx context.Context) error {
			_, err := s.Diff(ctx, api.VaultDiffRequest{VaultAccess: a, Before: point, After: point})
			return err
		},
		"stats": func(ctx context.Context) error {
			_, err := s.Stats(ctx, api.VaultStatsRequest{VaultAccess: a})
			return err
		},
		"check": func(ctx context.Context) error {
			_, err := s.Check(ctx, api.VaultCheckRequest{VaultAccess: a}, nil)
			return err
		},
		"forget": func(ctx context.Context) error {
			_, err := s.Forget(ctx, api.VaultForgetRequest{VaultAccess: a, Points: []string{point}}, nil)
			return err
		},
		"prune": func(ctx context.Context) error {
			_, err := s.Prune(ctx, api.VaultPruneRequest{VaultAccess: a}, nil, nil)
			return err
		},
		"tag": func(ctx context.Context) error {
			_, err := s.Tag(ctx, api.VaultTagRequest{VaultAccess: a, Points: []string{point}, Add: []string{"x"}})
			return err
		},
		"hold": func(ctx context.Context) error {
			_, err := s.Hold(ctx, api.VaultHoldRequest{VaultAccess: a, Points: []string{point}})
			return err
		},
		"repair": func(ctx context.Context) error {
			_, err := s.Repair(ctx, api.VaultRepairRequest{VaultAccess: a, What: api.RepairAll}, nil)
			return err
		},
		"keys": func(ctx context.Context) error {
			_, err := s.Keys(ctx, a)
			return err
		},
		"add key": func(ctx context.Context) error {
			_, err := s.AddKey(ctx, api.VaultKeyRequest{VaultAccess: a, NewPassword: &secret})
			return err
		},
		"unlock": func(ctx context.Context) error {
			_, err := s.Unlock(ctx, api.VaultUnlockRequest{VaultAccess: a, All: true})
			return err
		},
		"mount": func(ctx context.Context) error {
			return s.Mount(ctx, api.VaultMountRequest{VaultAccess: a, Folder: target}, nil)
		},
	}
}

// TestCanceled holds that a call whose caller has given up does nothing, says so, and leaves no lock.
func TestCanceled(t *testing.T) {
	s := service()
	a, point := sample(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	target := filepath.Join(t.TempDir(), "target")
	for name, call := range every(s, a, point, target) {
		err := call(ctx)
		if !errors.Is(err, failure.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
	if locks, err := os.ReadDir(filepath.Join(a.Vault.URL, "locks")); err != nil || len(locks) > 0 {
		t.Errorf("%d locks are left, %v", len(locks), err)
	}
	if r, err := s.Check(t.Context(), api.VaultCheckRequest{VaultAccess: a, ReadData: true}, nil); err != nil || !r.OK || r.Points != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestWrongPassword holds that every call is Denied, and none shows what was tried.
func TestWrongPassword(t *testing.T) {
	s := service()
	a, point := sample(t, s)
	wrong := at(a.Vault.URL, "hunter2")
	for name, call := range every(s, wrong, point, filepath.Join(t.TempDir(), "target")) {
		err := call(t.Context())
		if !errors.Is(err, failure.Denied) || failure.HintOf(err) == "" || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoLockIsForReading holds that nothing is written without a lock.
func TestNoLockIsForReading(t *testing.T) {
	s := service()
	a, point := sample(t, s)
	a.NoLock = true
	calls := every(s, a, point, filepath.Join(t.TempDir(), "target"))
	for _, name := range []string{"backup", "forget", "prune", "tag", "hold", "repair"} {
		if err := calls[name](t.Context()); !errors.Is(err, failure.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"points", "list", "find", "dump", "restore", "check"} {
		if err := calls[name](t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReplicaStandsIn reads from a replica when the vault itself is gone, and writes nowhere then.
func TestReplicaStandsIn(t *testing.T) {
	s := service()
	a, _ := sample(t, s)
	second := at(filepath.Join(t.TempDir(), "second"), "other")
	if _, err := s.Init(t.Context(), api.VaultInitRequest{VaultAccess: second, CutLike: &a}); err != nil {
		t.Fatal(err)
	}
	copied, err := s.Copy(t.Context(), api.VaultCopyRequest{VaultAccess: a, To: second}, nil)
	if err != nil || len(copied.Copied) != 1 || !copied.CutAlike {
		t.Fatalf("%+v, %v", copied, err)
	}
	t.Setenv("SECOND_PASSWORD", "other")
	replica := second.Vault
	replica.Password = "env:SECOND_PASSWORD"
	a.Vault.Replicas = []model.Vault{replica}
	if err := os.RemoveAll(a.Vault.URL); err != nil {
		t.Fatal(err)
	}
	list, err := s.Points(t.Context(), api.VaultPointsRequest{VaultAccess: a})
	if err != nil || len(list) != 1 || list[0].ID != copied.Copied[0].To {
		t.Fatalf("%+v, %v", list, err)
	}
	var b bytes.Buffer
	if _, err := s.Dump(t.Context(), api.VaultDumpRequest{VaultAccess: a, Point: "latest", Path: list[0].Paths[0] + "/file"}, &b); err != nil || b.String() != "text" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if _, err := s.Backup(t.Context(), api.VaultBackupRequest{VaultAccess: a, Stdin: "x"}, strings.NewReader("x"), nil); !errors.Is(err, failure.NotFound) {
		t.Errorf("a backup: %v", err)
	}
}

// TestNamed answers for vaults of a configuration, and without one.
func TestNamed(t *testing.T) {
	if _, err := service().Named(t.Context(), "main"); !errors.Is(err, failure.NotFound) {
		t.Errorf("without a configuration: %v", err)
	}
	s := vaultservice.New(vaultservice.Options{Named: func(_ context.Context, name string) (*model.Vault, error) {
		return &model.Vault{Name: name, URL: "/srv"}, nil
	}})
	if v, err := s.Named(t.Context(), "main"); err != nil || v.URL != "/srv" {
		t.Errorf("%+v, %v", v, err)
	}
}
