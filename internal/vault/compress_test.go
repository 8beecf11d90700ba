package vault_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
)

// TestCompression stores the same with each compression: harder ones take less, restic accepts all of them, and what
// does not shrink is stored as it is.
func TestCompression(t *testing.T) {
	text, random := prose(1, 4<<20), noise(2, 1<<20)
	stored := map[vault.Compression]int64{}
	for _, c := range []vault.Compression{vault.CompressOff, vault.CompressFastest, vault.CompressAuto, vault.CompressBetter, vault.CompressMax} {
		if got, err := vault.ParseCompression(string(c)); err != nil || got != c {
			t.Errorf("%s: %s, %v", c, got, err)
		}
		store := memory.New()
		o := cheap
		o.Compression = c
		v, err := vault.Init(t.Context(), store, password, o)
		if err != nil {
			t.Fatal(err)
		}
		s := begin(t, v)
		write(t, s, map[string][]byte{"text": text, "noise": random})
		stored[c] = s.Stats().Stored
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c == vault.CompressOff || c == vault.CompressAuto || c == vault.CompressMax {
			dir := export(t, store)
			accepted(t, dir, "--read-data")
			out := empty(t)
			restic(t, dir, "restore", "latest", "--target", out)
			for name, want := range map[string][]byte{"text": text, "noise": random} {
				if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: restic restores %s differently (%v)", c, name, err)
				}
			}
		}
	}
	if stored[vault.CompressOff] < int64(len(text)+len(random)) || stored[vault.CompressAuto] > int64(len(text)/2+len(random)) ||
		stored[vault.CompressBetter] > stored[vault.CompressAuto] || stored[vault.CompressMax] > stored[vault.CompressBetter] {
		t.Errorf("stored: %v", stored)
	}
	if c, err := vault.ParseCompression(""); c != vault.CompressAuto || err != nil {
		t.Errorf("%q, %v", c, err)
	}
	if _, err := vault.ParseCompression("hard"); !errors.Is(err, failure.Invalid) {
		t.Error(err)
	}
}
