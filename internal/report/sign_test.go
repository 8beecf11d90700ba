package report

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

func signedJSON(t testing.TB) []byte {
	t.Helper()
	b, err := Render(signedSample(), "json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerify(t *testing.T) {
	got, err := Verify(signedJSON(t), testKey.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	want := &api.VerifyReply{Valid: true, PublicKey: PublicKeyText(testKey.Public().(ed25519.PublicKey)), Events: 10}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Verify (-want +got):\n%s", diff)
	}
}

// A report that went over the wire and back is still the one that was signed.
func TestVerifyAfterDecoding(t *testing.T) {
	var r api.Report
	if err := json.Unmarshal(signedJSON(t), &r); err != nil {
		t.Fatal(err)
	}
	b, err := Render(&r, "json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, signedJSON(t)) {
		t.Error("decoding and writing again gave other bytes")
	}
}

func TestVerifyTrustsOnlyTheTrusted(t *testing.T) {
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	got, err := Verify(signedJSON(t), other)
	if err != nil || got.Valid || !strings.Contains(got.Problem, "not among the trusted") {
		t.Errorf("Verify with another key: %+v, %v", got, err)
	}
	if _, err := Verify(signedJSON(t), other[:5]); !errors.Is(err, failure.Invalid) {
		t.Errorf("Verify with half a key: %v, want Invalid", err)
	}
}

// Every byte of the report, changed in every one of some ways, must be noticed and named.
func TestVerifyNoticesEveryByte(t *testing.T) {
	whole := signedJSON(t)
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= []byte{1, 0x20, 0x80}[i%3]
		notice(t, changed, i, "changed")
		notice(t, append(bytes.Clone(whole[:i]), whole[i+1:]...), i, "removed")
		notice(t, append(bytes.Clone(whole[:i]), append([]byte{' '}, whole[i:]...)...), i, "followed a blank")
	}
	notice(t, append(bytes.Clone(whole), '\n'), len(whole), "added")
}

func notice(t *testing.T, report []byte, i int, how string) {
	t.Helper()
	got, err := Verify(report)
	if err != nil || got.Valid || got.Problem == "" {
		t.Fatalf("byte %d %s: %+v, %v", i, how, got, err)
	}
}

func TestVerifySaysWhat(t *testing.T) {
	whole := string(signedJSON(t))
	for _, tc := range []struct{ name, old, new, want string }{
		{"an event", `"text": "attempt 2"`, `"text": "attempt 3"`, "event 7 of 10 (step-intent promote-db) does not match"},
		{"the measurement", `"seconds": 7.8`, `"seconds": 1.8`, "outside of the events"},
		{"the outcome", `"ok": false`, `"ok": true`, "outside of the events"},
		{"a second member", `"ok": false`, `"ok": false, "ok": true`, `the name "ok" occurs twice`},
		{"an escape", `"shop"`, `"sho\u0070"`, "is not as Lifeboat writes it"},
		{"the algorithm", `"ed25519"`, `"none"`, `algorithm "none"`},
		{"the key", `"public_key": "`, `"public_key": "A`, "public key is damaged"},
		{"no signature", `"signature": {`, `"signed": {`, "not signed"},
		{"half of it", whole[len(whole)/2:], "", "not a JSON document"},
	} {
		changed := strings.Replace(whole, tc.old, tc.new, 1)
		if changed == whole {
			t.Fatalf("%s: %q is not in the report", tc.name, tc.old)
		}
		got, err := Verify([]byte(changed))
		if err != nil || got.Valid || !strings.Contains(got.Problem, tc.want) {
			t.Errorf("%s: %+v, %v; want a problem with %q", tc.name, got, err, tc.want)
		}
	}
}

func TestChain(t *testing.T) {
	events := sampleReport().Events
	chained := Chain(events)
	if events[0].Hash != "" {
		t.Error("Chain changed its argument")
	}
	if diff := cmp.Diff(chained, Chain(chained)); diff != "" {
		t.Errorf("chaining again changed it:\n%s", diff)
	}
	events[3].Text = "other"
	for i, e := range Chain(events) {
		if same := e.Hash == chained[i].Hash; same != (i < 3) {
			t.Errorf("after a change in event 4, event %d has the same hash: %v", i+1, same)
		}
	}
}

func TestKeyIsCreatedOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	keys := make([]ed25519.PrivateKey, 16)
	var wait sync.WaitGroup
	for i := range keys {
		wait.Go(func() {
			var err error
			if keys[i], err = LoadOrCreateKey(dir); err != nil {
				t.Errorf("LoadOrCreateKey: %v", err)
			}
		})
	}
	wait.Wait()
	for i, k := range keys {
		if !k.Equal(keys[0]) {
			t.Errorf("caller %d got another key", i)
		}
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v; want mode 0600", info, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v, %v; want the two key files", entries, err)
	}
}

func TestKeyIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, keyFile)
	if err := os.WriteFile(path, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(dir); !errors.Is(err, failure.Corrupt) {
		t.Errorf("a damaged key: %v, want Corrupt", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(dir); !errors.Is(err, failure.Denied) || failure.HintOf(err) == "" {
		t.Errorf("a key that others can read: %v, want Denied with a hint", err)
	}
}

// FuzzVerify changes bytes of a signed report: the only document that verifies is the one that was signed.
func FuzzVerify(f *testing.F) {
	whole := signedJSON(f)
	trusted := testKey.Public().(ed25519.PublicKey)
	f.Add(whole)
	f.Add([]byte(`{}`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Verify(b, trusted)
		if err != nil || got.Valid != bytes.Equal(b, whole) || got.Valid == (got.Problem != "") {
			t.Fatalf("Verify: %+v, %v", got, err)
		}
	})
}
