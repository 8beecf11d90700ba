package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/rest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/server"
)

// envServe makes the test's program a server on the folder that it names.
const envServe = "LIFEBOAT_TEST_SERVE"

// TestMain is the test, or the server that it kills.
func TestMain(m *testing.M) {
	folder := os.Getenv(envServe)
	if folder == "" {
		os.Exit(m.Run())
	}
	err := func() error {
		s, err := server.New(server.Options{Folder: folder, AppendOnly: true})
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println("http://" + l.Addr().String() + "/r/")
		return s.Serve(context.Background(), l, nil)
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// child starts a server as a process of its own, and gives a store on it and what kills it.
func child(t *testing.T, folder string) (blob.Store, func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envServe+"="+folder)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(kill)
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	store, err := rest.Open(rest.Options{URL: strings.TrimSpace(url)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store, kill
}

// killing is content that kills the server when a byte of it is reached.
type killing struct {
	*bytes.Reader
	at   int64
	kill func()
}

func (k killing) ReadAt(p []byte, off int64) (int, error) {
	if off <= k.at && k.at < off+int64(len(p)) {
		k.kill()
	}
	return k.Reader.ReadAt(p, off)
}

// TestKilled kills the server in the middle of uploads: whoever saves is told, what was acknowledged is there, and
// nothing half ever is. More often with LIFEBOAT_LONG.
func TestKilled(t *testing.T) {
	folder := t.TempDir()
	store, kill := child(t, folder)
	if err := store.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	acknowledged := map[blob.Handle]int64{}
	rounds := 5
	if os.Getenv("LIFEBOAT_LONG") != "" {
		rounds = 40
	}
	for round := range rounds {
		const workers = 4
		var mu sync.Mutex
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for i := range 10 {
					o := blobtest.Make(blob.Pack, uint64(round*100+w*10+i), 1+(w*7+i*3+round%12)*40_000)
					content := killing{bytes.NewReader(o.Bytes), -1, kill}
					if w == round%workers && i == round*3%10 {
						content.at = int64(len(o.Bytes) * (round % 12) / 12)
					}
					err := store.Save(t.Context(), o.Handle, content)
					mu.Lock()
					if err == nil {
						acknowledged[o.Handle] = int64(len(o.Bytes))
					} else if kind := failure.KindOf(err); kind != failure.Unavailable && kind != failure.Indeterminate {
						t.Errorf("save at a killed server: %v, want unavailable or indeterminate", err)
					}
					mu.Unlock()
				}
			})
		}
		all.Wait()
		kill()
		store, kill = child(t, folder)
		listed, err := blobtest.Listed(t.Context(), store, blob.Pack)
		if err != nil {
			t.Fatal(err)
		}
		for h, size := range acknowledged {
			if listed[h] != size {
				t.Errorf("round %d: %s was acknowledged with %d bytes, and has %d", round, h, size, listed[h])
			}
		}
		for h, size := range listed {
			text, err := blob.ReadAll(t.Context(), store, h)
			if sum := sha256.Sum256(text); err != nil || int64(len(text)) != size || hex.EncodeToString(sum[:]) != h.Name {
				t.Errorf("round %d: %s is not what its name says: %d bytes, %v", round, h, len(text), err)
			}
		}
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was ever acknowledged")
	}
	if err := store.Remove(t.Context(), blobtest.Make(blob.Pack, 0, 1).Handle); !errors.Is(err, failure.Denied) {
		t.Errorf("remove: %v, want denied", err)
	}
}
