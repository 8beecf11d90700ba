package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"

	"github.com/restic/chunker"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Config is what a vault says of itself. It is written once.
type Config struct {
	Version    int         `json:"version"`
	ID         object.ID   `json:"id"`
	Polynomial chunker.Pol `json:"chunker_polynomial"`

	extra map[string]json.RawMessage
}

var knownOfConfig = map[string]bool{"version": true, "id": true, "chunker_polynomial": true}

// parseConfig reads a decrypted config. A version that is not 1 or 2 is Unsupported; a polynomial by which nothing can
// be cut is Corrupt.
func parseConfig(data []byte) (Config, error) {
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return Config{}, failure.WrapAs(failure.Corrupt, err, "read the config", "")
	}
	if c.Version < 1 || c.Version > 2 {
		return Config{}, failure.New(failure.Unsupported, "read the config", "", "the repository has format version %d", c.Version).
			WithHint("versions 1 and 2 are understood: use a newer Lifeboat")
	}
	if c.Polynomial.Deg() != 53 || !c.Polynomial.Irreducible() {
		return Config{}, failure.New(failure.Corrupt, "read the config", "", "its chunker polynomial is not irreducible, of degree 53")
	}
	c.extra = object.Unknown(data, knownOfConfig)
	return c, nil
}

func (c Config) encode() ([]byte, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return object.Append(text, slices.Sorted(maps.Keys(c.extra)), c.extra)
}

// newConfig makes the config of a new vault, with a polynomial of its own unless one is given.
func newConfig(p chunker.Pol) (Config, error) {
	c := Config{Version: 2, Polynomial: p}
	rand.Read(c.ID[:])
	if p == 0 {
		var err error
		if c.Polynomial, err = chunker.RandomPolynomial(); err != nil {
			return Config{}, failure.WrapAs(failure.Internal, err, "make a config", "")
		}
	}
	text, err := c.encode()
	if err != nil {
		return Config{}, err
	}
	return parseConfig(text)
}

// loadConfig reads the config with key. Config is sealed, and never compressed.
func loadConfig(ctx context.Context, store blob.Store, key *crypto.Key) (Config, error) {
	sealed, err := blob.ReadAll(ctx, store, blob.Handle{Type: blob.Config})
	if err != nil {
		return Config{}, err
	}
	plain, err := key.Open(sealed)
	if err != nil {
		return Config{}, failure.Wrap(err, "read the config", "")
	}
	return parseConfig(plain)
}

func saveConfig(ctx context.Context, store blob.Store, key *crypto.Key, c Config) error {
	plain, err := c.encode()
	if err != nil {
		return err
	}
	return store.Save(ctx, blob.Handle{Type: blob.Config}, bytes.NewReader(key.Seal(nil, plain)))
}
