//go:build linux

package restorer_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
)

// enlarge gives a repository so many GiB of packs that are holes, with an index that lists 1 MiB blobs in them, and gives
// the blobs.
func enlarge(t testing.TB, repo string, gib int) []object.ID {
	t.Helper()
	const blobs, size = 16, 1 << 20
	packs := 64 * gib
	store, err := file.Open(repo)
	must(t, err)
	var master *crypto.Key
	must(t, store.List(t.Context(), blob.Key, func(i blob.Info) error {
		text, err := blob.ReadAll(t.Context(), store, i.Handle)
		if err != nil {
			return err
		}
		k, err := crypto.ParseKeyFile(text)
		if err != nil {
			return err
		}
		master, err = k.Open(password)
		return err
	}))
	var ids []object.ID
	var listed []index.Pack
	total := int64(0)
	for p := range packs {
		id := object.Hash(binary.LittleEndian.AppendUint32([]byte("pack"), uint32(p)))
		entry := index.Pack{ID: id}
		for b := range blobs {
			blobID := object.Hash(binary.LittleEndian.AppendUint32(id[:], uint32(b)))
			ids = append(ids, blobID)
			entry.Entries = append(entry.Entries, pack.Entry{Handle: object.Handle{Type: object.Data, ID: blobID}, Offset: uint32(b * (size + crypto.Overhead)), Length: size + crypto.Overhead})
		}
		listed = append(listed, entry)
		path := filepath.Join(repo, filepath.FromSlash(blob.Handle{Type: blob.Pack, Name: id.String()}.Path()))
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		f, err := os.Create(path)
		must(t, err, f.Truncate(blobs*(size+crypto.Overhead)), f.Close())
		total += blobs * (size + crypto.Overhead)
	}
	if total < int64(gib)<<30 {
		t.Fatalf("the packs add up to %d bytes", total)
	}
	for part := 0; part < len(listed); part += 3000 {
		text, err := index.Encode(listed[part:min(part+3000, len(listed))])
		must(t, err)
		sealed := master.Seal(nil, text)
		must(t, store.Save(t.Context(), blob.Handle{Type: blob.Index, Name: object.Hash(sealed).String()}, bytes.NewReader(sealed)))
	}
	return ids
}

// TestOneFileOutOfMany restores one file from a repository of 100 GiB (10 in the short suite), and reads little more than the file and what says
// where it lies.
func TestOneFileOutOfMany(t *testing.T) {
	repo, v := newRepo(t)
	src := t.TempDir()
	want := noise(1, 20<<20)
	write(t, filepath.Join(src, "data", "wanted"), want)
	for i := range 40 {
		write(t, filepath.Join(src, "data", fmt.Sprintf("f%d", i)), noise(uint64(i+50), 1<<20))
		write(t, filepath.Join(src, fmt.Sprintf("d%d", i), "f"), noise(uint64(i+100), 200_000))
	}
	inner := backup(t, v, src, archiver.Options{})
	gib := 10
	if long() {
		gib = 100
	}
	huge := enlarge(t, repo, gib)
	v = open(t, repo, nil)
	root := plant(t, v, func(save func(...raw) object.ID, _ func([]byte) object.ID) object.ID {
		content := make([]any, len(huge))
		for i, id := range huge {
			content[i] = id
		}
		return save(rawDir("huge", save(raw{"name": "image", "type": "file", "mode": 0o600, "content": content, "size": len(huge) << 20})), rawDir("src", inner))
	})[0]

	store := &counting{}
	v = open(t, repo, func(s blob.Store) blob.Store { store.Store = s; return store })
	target := t.TempDir()
	r := restore(t, v, root, restorer.Options{Target: target, Select: func(path string, dir bool) (bool, bool) {
		return path == "/src/data/wanted", dir && (path == "/src" || path == "/src/data")
	}})
	got, err := os.ReadFile(filepath.Join(target, "src", "data", "wanted"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file: %d bytes, %v", len(got), err)
	}
	packs, meta := store.bytes[blob.Pack].Load(), store.bytes[blob.Index].Load()
	t.Logf("a file of %d bytes: %d bytes of packs, %d of the index, %d of the rest", len(want), packs, meta, store.bytes[blob.Key].Load()+store.bytes[blob.Config].Load())
	if r.Fetched != int64(len(want)) || packs > int64(len(want))*11/10 {
		t.Errorf("%d bytes of packs were read for a file of %d", packs, len(want))
	}
	checkDump(t, v, root, store, want)
}

// checkDump does the same by Dump.
func checkDump(t *testing.T, v *vault.Vault, root object.ID, store *counting, want []byte) {
	before := store.bytes[blob.Pack].Load()
	var out bytes.Buffer
	if _, err := restorer.Dump(t.Context(), v, root, "/src/data/wanted", "", &out); err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("dump: %d bytes, %v", out.Len(), err)
	}
	if packs := store.bytes[blob.Pack].Load() - before; packs > int64(len(want))*11/10 {
		t.Errorf("%d bytes of packs were read to dump a file of %d", packs, len(want))
	}
}
