package vault

import (
	"bytes"
	"errors"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
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
	f.Add(v.encoder.EncodeAll([]byte(`{"time":1}`), []byte{versionMark}))
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
