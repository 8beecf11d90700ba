package crypto_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
)

func key(t testing.TB) *crypto.Key {
	t.Helper()
	k, err := crypto.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestPoly1305AES opens what two of the paper's examples authenticate: message, r, k, n and tag
// (https://cr.yp.to/mac/poly1305-20050329.pdf, appendix B), so that the construction is the published one.
func TestPoly1305AES(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	type mac struct {
		K []byte `json:"k"`
		R []byte `json:"r"`
	}
	for _, tt := range []struct{ message, r, k, n, tag string }{
		{"f3 f6", "85 1f c4 0c 34 67 ac 0b e0 5c c2 04 04 f3 f7 00", "ec 07 4c 83 55 80 74 17 01 42 5b 62 32 35 ad d6",
			"fb 44 73 50 c4 e8 68 c5 2a c3 27 5c f9 d4 32 7e", "f4 c6 33 c3 04 4f c1 45 f8 4f 33 5c b8 19 53 de"},
		{"", "a0 f3 08 00 00 f4 64 00 d0 c7 e9 07 6c 83 44 03", "75 de aa 25 c0 9f 20 8e 1d c4 ce 6b 5c ad 3f bf",
			"61 ee 09 21 8d 29 b0 aa ed 7e 15 4a 2c 55 09 cc", "dd 3f ab 22 51 f1 1a c7 59 f0 88 71 29 cc 2e e7"},
	} {
		text, err := json.Marshal(map[string]any{"mac": mac{unhex(tt.k), unhex(tt.r)}, "encrypt": bytes.Repeat([]byte{1}, 32)})
		if err != nil {
			t.Fatal(err)
		}
		var k crypto.Key
		if err := json.Unmarshal(text, &k); err != nil {
			t.Fatal(err)
		}
		sealed := append(append(unhex(tt.n), unhex(tt.message)...), unhex(tt.tag)...)
		if _, err := k.Open(bytes.Clone(sealed)); err != nil {
			t.Errorf("the published tag of %q is refused: %v", tt.message, err)
		}
		sealed[len(sealed)-1] ^= 1
		if _, err := k.Open(sealed); !errors.Is(err, failure.Corrupt) {
			t.Errorf("another tag: %v", err)
		}
	}
}

// TestSeal holds that what is sealed opens, and that no changed byte does.
func TestSeal(t *testing.T) {
	k := key(t)
	for _, n := range []int{0, 1, 15, 16, 17, 1000} {
		plain := bytes.Repeat([]byte("x"), n)
		sealed := k.Seal([]byte("before"), plain)[len("before"):]
		if len(sealed) != n+crypto.Overhead || n > 15 && bytes.Contains(sealed, plain) {
			t.Errorf("%d bytes become %d", n, len(sealed))
		}
		if bytes.Equal(sealed, k.Seal(nil, plain)) {
			t.Error("the same bytes are sealed alike twice")
		}
		for i := range sealed {
			broken := bytes.Clone(sealed)
			broken[i] ^= 0x40
			if _, err := k.Open(broken); !errors.Is(err, failure.Corrupt) {
				t.Fatalf("byte %d of %d changed: %v", i, len(sealed), err)
			}
		}
		if _, err := key(t).Open(bytes.Clone(sealed)); !errors.Is(err, failure.Corrupt) {
			t.Errorf("another key: %v", err)
		}
		for _, short := range []int{0, 5, crypto.Overhead - 1} {
			if _, err := k.Open(bytes.Clone(sealed[:min(short, len(sealed))])); !errors.Is(err, failure.Corrupt) {
				t.Errorf("%d bytes: %v", short, err)
			}
		}
		if got, err := k.Open(sealed); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %q, %v", n, got, err)
		}
	}
}

func TestHostileKeyFiles(t *testing.T) {
	f := crypto.KeyFile{Created: time.Now()}
	if err := f.SealKeyFile(key(t), "p", crypto.Params{N: 16, R: 8, P: 1}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*crypto.KeyFile){
		"memory":     func(f *crypto.KeyFile) { f.N = 1 << 40 },
		"overflow":   func(f *crypto.KeyFile) { f.N, f.R = 1<<62, 1<<30 },
		"time":       func(f *crypto.KeyFile) { f.P = 1 << 30 },
		"no power":   func(f *crypto.KeyFile) { f.N = 1000 },
		"negative":   func(f *crypto.KeyFile) { f.N = -16 },
		"zero":       func(f *crypto.KeyFile) { f.R = 0 },
		"salt":       func(f *crypto.KeyFile) { f.Salt = f.Salt[1:] },
		"data":       func(f *crypto.KeyFile) { f.Data = f.Data[:10] },
		"derivation": func(f *crypto.KeyFile) { f.KDF = "rot13" },
	} {
		c := f
		change(&c)
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := crypto.ParseKeyFile(text); !errors.Is(err, failure.Corrupt) && !errors.Is(err, failure.Unsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Open("q"); !errors.Is(err, failure.Denied) {
		t.Errorf("another password: %v", err)
	}
}

func FuzzKeyFile(f *testing.F) {
	k := crypto.KeyFile{Created: time.Unix(0, 0)}
	if err := k.SealKeyFile(key(f), "p", crypto.Params{N: 16, R: 1, P: 1}); err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(k)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{text, []byte("{}"), []byte("null"), []byte(`{"kdf":"scrypt","N":2,"r":1,"p":1}`), text[:len(text)/2]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := crypto.ParseKeyFile(data)
		if err != nil || k.N*k.R*k.P > 1<<10 {
			return
		}
		if _, err := k.Open("q"); err == nil {
			t.Error("a wrong password opens a key")
		}
	})
}

// TestSealWhereItLies seals what lies where the ciphertext goes, with room for all of it and with too little.
func TestSealWhereItLies(t *testing.T) {
	k := key(t)
	for _, size := range []int{0, 1, 15, 16, 17, 1000} {
		want := bytes.Repeat([]byte{'x'}, size)
		for _, spare := range []int{0, 15, 16, 100} {
			buf := make([]byte, 3+crypto.IVSize+size, 3+crypto.IVSize+size+spare)
			copy(buf, "abc")
			copy(buf[3+crypto.IVSize:], want)
			sealed := k.Seal(buf[:3], buf[3+crypto.IVSize:])
			if string(sealed[:3]) != "abc" || len(sealed) != 3+size+crypto.Overhead {
				t.Fatalf("%d bytes, %q", len(sealed), sealed[:3])
			}
			if got, err := k.Open(sealed[3:]); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes with room for %d more: %q, %v", size, spare, got, err)
			}
		}
	}
}
