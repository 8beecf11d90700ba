//go:build linux

package restorer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
)

// raw is a node as an evil writer might put it.
type raw map[string]any

// plant stores trees as they are, without the judgement of the writer.
func plant(t testing.TB, v *vault.Vault, trees ...func(save func(nodes ...raw) object.ID, data func([]byte) object.ID) object.ID) []object.ID {
	t.Helper()
	s, err := v.NewSession(t.Context())
	must(t, err)
	blob := func(typ object.Type, text []byte) object.ID {
		id, err := s.SaveBlob(t.Context(), typ, text)
		must(t, err)
		return id
	}
	var ids []object.ID
	for _, make := range trees {
		ids = append(ids, make(func(nodes ...raw) object.ID {
			text, err := json.Marshal(map[string]any{"nodes": nodes})
			must(t, err)
			return blob(object.Tree, text)
		}, func(b []byte) object.ID { return blob(object.Data, b) }))
	}
	must(t, s.Flush(t.Context()), s.Close(context.WithoutCancel(t.Context())))
	return ids
}

func rawFile(name string, content object.ID, size int) raw {
	return raw{"name": name, "type": "file", "mode": 0o644, "content": []any{content}, "size": size, "uid": os.Getuid(), "gid": os.Getgid()}
}

func rawDir(name string, tree object.ID) raw {
	return raw{"name": name, "type": "dir", "mode": 0o755 | uint32(os.ModeDir), "subtree": tree, "uid": os.Getuid(), "gid": os.Getgid()}
}

func rawLink(name, target string) raw {
	return raw{"name": name, "type": "symlink", "mode": 0o777 | uint32(os.ModeSymlink), "linktarget": target, "uid": os.Getuid(), "gid": os.Getgid()}
}

// TestHostileTrees restores trees that want to write elsewhere. What is sound in them is restored, the rest is reported,
// and nothing appears outside.
func TestHostileTrees(t *testing.T) {
	base := t.TempDir()
	outside := filepath.Join(base, "outside")
	write(t, filepath.Join(outside, "file"), []byte("precious"))
	was := look(t, outside)
	_, v := newRepo(t)
	evil := []byte("evil")
	for name, make := range map[string]func(save func(...raw) object.ID, data func([]byte) object.ID) object.ID{
		"dot dot": func(save func(...raw) object.ID, data func([]byte) object.ID) object.ID {
			return save(rawDir("..", save(rawFile("file", data(evil), 4))), rawFile("../outside/file", data(evil), 4), rawFile("good", data(evil), 4))
		},
		"absolute": func(save func(...raw) object.ID, data func([]byte) object.ID) object.ID {
			return save(rawFile(outside+"/file", data(evil), 4), rawDir("/", save(rawFile("x", data(evil), 4))), rawFile("good", data(evil), 4))
		},
		"empty": func(save func(...raw) object.ID, data func([]byte) object.ID) object.ID {
			return save(rawFile("", data(evil), 4), rawDir(".", save()), rawFile("a\x00b", data(evil), 4), rawFile("good", data(evil), 4))
		},
		"link, then directory": func(save func(...raw) object.ID, data func([]byte) object.ID) object.ID {
			return save(rawLink("d", outside), rawDir("d", save(rawFile("file", data(evil), 4))), rawFile("good", data(evil), 4))
		},
		"directory, then link": func(save func(...raw) object.ID, data func([]byte) object.ID) object.ID {
			return save(rawDir("d", save(rawFile("file", data(evil), 4))), rawLink("d", outside), rawFile("good", data(evil), 4))
		},
		"link, then file": func(save func(...raw) object.ID, data func([]byte) object.ID) object.ID {
			return save(rawLink("f", outside+"/file"), rawFile("f", data(evil), 4), rawFile("good", data(evil), 4))
		},
		"twice": func(save func(...raw) object.ID, data func([]byte) object.ID) object.ID {
			return save(rawFile("x", data(evil), 4), rawFile("good", data(evil), 4), rawFile("x", data([]byte("worse")), 5))
		},
		"no type": func(save func(...raw) object.ID, data func([]byte) object.ID) object.ID {
			return save(raw{"name": "x"}, raw{"name": "y", "type": "door"}, raw{"name": "z", "type": "dir"}, rawFile("good", data(evil), 4))
		},
		"sizes that lie": func(save func(...raw) object.ID, data func([]byte) object.ID) object.ID {
			return save(rawFile("x", data(evil), 1<<60), rawFile("y", data(evil), 1), rawFile("good", data(evil), 4))
		},
		"content that is not there": func(save func(...raw) object.ID, data func([]byte) object.ID) object.ID {
			return save(rawFile("x", object.Hash([]byte("nowhere")), 7), rawDir("d", object.Hash([]byte("no tree"))), rawFile("good", data(evil), 4))
		},
		"hard links that lie": func(save func(...raw) object.ID, data func([]byte) object.ID) object.ID {
			a, b := rawFile("a", data(evil), 4), rawFile("b", data([]byte("live")), 4)
			a["inode"], a["links"], b["inode"], b["links"] = 7, 9, 7, 9
			return save(a, b, rawFile("good", data(evil), 4), rawLink("", "x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := plant(t, v, make)[0]
			target := filepath.Join(base, "target")
			defer os.RemoveAll(target)
			for range 2 { // into nothing, and over what the first left
				told := 0
				res, err := restorer.Run(t.Context(), v, root, restorer.Options{Target: target, Delete: true, OnError: func(string, error) error { told++; return nil }})
				if err == nil || res.Failed == 0 || told != res.Failed {
					t.Errorf("it restored without a word: %+v, %v", res, err)
				}
			}
			sameLook(t, was, look(t, outside))
			if text, err := os.ReadFile(filepath.Join(target, "good")); string(text) != "evil" {
				t.Errorf("the sound file: %q %v", text, err)
			}
			if text, err := os.ReadFile(filepath.Join(target, "b")); name == "hard links that lie" && string(text) != "live" {
				t.Errorf("the file that is no other name: %q %v", text, err)
			}
			entries, err := os.ReadDir(base)
			must(t, err)
			if len(entries) != 2 {
				t.Errorf("there are %v", entries)
			}
			for path, e := range look(t, target) {
				if e.Type == "file" && !strings.HasSuffix(path, ".lifeboat-incomplete") && e.Size != 4 {
					t.Errorf("%s has %d bytes", path, e.Size)
				}
			}
		})
	}
}

// TestTreeBomb refuses a few trees that unfold to more than there is room for.
func TestTreeBomb(t *testing.T) {
	_, v := newRepo(t)
	root := plant(t, v, func(save func(...raw) object.ID, _ func([]byte) object.ID) object.ID {
		id := save()
		for range 40 {
			id = save(rawDir("a", id), rawDir("b", id))
		}
		return id
	})[0]
	target := filepath.Join(t.TempDir(), "t")
	_, err := restorer.Run(t.Context(), v, root, restorer.Options{Target: target, MaxEntries: 20_000})
	if failure.KindOf(err) != failure.Invalid {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("something was made before it was refused")
	}
}

// TestRace restores while somebody who may change the target puts links to elsewhere in the place of directories and
// files, again and again.
func TestRace(t *testing.T) {
	base := t.TempDir()
	outside, src, target := filepath.Join(base, "outside"), filepath.Join(base, "src"), filepath.Join(base, "target")
	for i := range 30 {
		write(t, filepath.Join(src, "d", "e", fmt.Sprintf("f%d", i)), noise(uint64(i), 500))
		write(t, filepath.Join(outside, "e", fmt.Sprintf("f%d", i)), []byte("precious"))
		must(t, os.Chmod(filepath.Join(src, "d", "e", fmt.Sprintf("f%d", i)), 0o777))
	}
	must(t, os.Symlink("x", filepath.Join(src, "d", "link")), unix.Mkfifo(filepath.Join(src, "d", "fifo"), 0o666))
	write(t, filepath.Join(outside, "link"), []byte("precious"))
	write(t, filepath.Join(outside, "fifo"), []byte("precious"))
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	was := look(t, outside)
	var swaps atomic.Int64
	var evil sync.WaitGroup
	stop := make(chan struct{})
	evil.Go(func() { // one after the other, or it would follow its own links
		for {
			for _, name := range []string{"d", "d/e", "d/e/f3", "d/link", "d/fifo"} {
				select {
				case <-stop:
					return
				default:
				}
				at, aside := filepath.Join(target, name), filepath.Join(base, "aside")
				if os.Rename(at, aside) == nil {
					if os.Symlink(filepath.Join(outside, strings.TrimPrefix(name, "d")), at) == nil {
						swaps.Add(1)
						_ = os.Remove(at)
					}
					if os.Rename(aside, at) != nil {
						_ = os.RemoveAll(aside)
					}
				}
			}
		}
	})
	rounds := 60
	if long() {
		rounds = 1000
	}
	for i := range rounds {
		o := restorer.Options{Target: target, Delete: i%2 == 0, Overwrite: []restorer.Overwrite{restorer.Always, restorer.IfNewer}[i%3/2]}
		if i%5 == 0 {
			_ = os.RemoveAll(target)
		}
		_, _ = restorer.Run(t.Context(), v, root, o) // it may well fail: what counts is what it leaves alone
		sameLook(t, was, look(t, outside))
		if t.Failed() {
			break
		}
	}
	close(stop)
	evil.Wait()
	if swaps.Load() < int64(rounds) {
		t.Errorf("only %d swaps: the test says nothing", swaps.Load())
	}
}
