package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/cli"
)

// TestNamedVaults finds the vaults that a configuration names, with what it says of them.
func TestNamedVaults(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lifeboat.yaml")
	text := `version: 1
sites: {east: {}, west: {}}
vaults:
  main: {url: ./vault, password: "file:./pw", replicas: [away]}
  away: {url: "rest:https://backup.example.org/x/", password: "env:AWAY"}
apps:
  shop: {home: east, recovery: [west], resources: {x: {kind: fake, sites: {east: {}, west: {}}}}}
`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	svc := vaults(cli.OpenOptions{Config: path, Log: log}, io.Discard)
	v, err := svc.Named(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	if v.URL != filepath.Join(dir, "vault") || v.Password != "file:"+filepath.Join(dir, "pw") || len(v.Replicas) != 1 || v.Replicas[0].Name != "away" {
		t.Errorf("got %+v", v)
	}
	if _, err := svc.Named(t.Context(), "other"); !errors.Is(err, failure.NotFound) {
		t.Errorf("a name that is not there: %v", err)
	}
	if _, err := vaults(cli.OpenOptions{Log: log}, io.Discard).Named(t.Context(), "main"); !errors.Is(err, failure.NotFound) {
		t.Errorf("without a configuration: %v", err)
	}
	if err := os.WriteFile(path, []byte("version: 1\nvaults: 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.Named(t.Context(), "main"); !errors.Is(err, failure.Invalid) {
		t.Errorf("a broken configuration: %v", err)
	}
}
