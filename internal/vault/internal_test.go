package vault

import (
	"bytes"
	"errors"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// FuzzConfig holds that a config that is accepted has a version we know and a polynomial that cuts, and keeps its fields.
func FuzzConfig(f *testing.F) {
	c, err := newConfig(0)
	if err != nil {
		f.Fatal(err)
	}
	text, err := c.encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(text), `{}`, `{"version":3}`, `{"version":2,"chunker_polynomial":"3"}`, `{"version":1,"id":"","chunker_polynomial":"25b468838dcb75"}`} {
		f.Add([]byte(seed))
	}
	f.Add(append(bytes.TrimSuffix(text, []byte("}")), []byte(`,"new":{"a":1}}`)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig(data)
		if err != nil {
			if !errors.Is(err, failure.Corrupt) && !errors.Is(err, failure.Unsupported) {
				t.Error(err)
			}
			return
		}
		if c.Version < 1 || c.Version > 2 || !c.Polynomial.Irreducible() {
			t.Errorf("%+v is accepted", c)
		}
		text, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseConfig(text)
		if err != nil || again.ID != c.ID || len(again.extra) != len(c.extra) {
			t.Errorf("%v\n%s\n%s", err, data, text)
		}
	})
}

// FuzzFile holds that unpacking a decrypted file never panics, and never takes what is no file for one.
func FuzzFile(f *testing.F) {
	v, err := newVault(nil, Options{}.filled(), nil, [32]byte{}, Config{Version: 2})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(v.metadata.EncodeAll([]byte(`{"time":1}`), []byte{versionMark}))
	for _, seed := range []string{"", "{}", "[]", "\x02", "\x02(\xb5/\xfd", "\x03x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		plain, err := v.unpackFile(data)
		if err != nil && !errors.Is(err, failure.Corrupt) && !errors.Is(err, failure.Unsupported) {
			t.Error(err)
		}
		if err == nil && len(data) == 0 {
			t.Errorf("nothing unpacks to %q", plain)
		}
	})
}

// TestWrongContent stores, under the vault's own key, a blob whose content is not what its id says, as broken memory or a
// writer's mistake would: it is never given back, and the check finds it.
func TestWrongContent(t *testing.T) {
	v, err := Init(t.Context(), memory.New(), "p", Options{KDF: crypto.Params{N: 16, R: 8, P: 1}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := v.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h := object.Handle{Type: object.Data, ID: object.Hash([]byte("what was meant"))}
	if err := s.add(t.Context(), h, v.key.Seal(nil, []byte("what was stored")), 0, 15); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := v.LoadBlob(t.Context(), h); !errors.Is(err, failure.Corrupt) {
		t.Errorf("%q, %v", got, err)
	}
	if report, err := v.Check(t.Context(), CheckOptions{ReadData: true}); err != nil || len(report.Problems) != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}
