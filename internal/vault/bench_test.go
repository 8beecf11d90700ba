package vault_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// mixed is the stream of the benchmarks: a third each of text, of pages of a database and of noise, in pieces of 1 MiB.
func mixed(n int) []byte {
	text, random := prose(1, 8<<20), make([]byte, n)
	rand.Read(random)
	out := make([]byte, 0, n)
	for i := 0; len(out) < n; i++ {
		switch i % 3 {
		case 0:
			at := i * 4099 % (len(text) - 1<<20)
			out = append(out, text[at:at+1<<20]...)
		case 1:
			out = append(out, random[len(out):min(n, len(out)+1<<20)]...)
		case 2:
			page := make([]byte, 1<<20)
			for p := 0; p < len(page); p += 8 << 10 {
				copy(page[p:], random[(p*31+i)%(n-2048):][:2048]) // a quarter is used
			}
			out = append(out, page...)
		}
	}
	return out[:n]
}

const streamSize = 512 << 20

// BenchmarkWriteStream stores the stream through a session into a folder, flushed as a backup is.
func BenchmarkWriteStream(b *testing.B) {
	data := mixed(streamSize)
	b.SetBytes(streamSize)
	for b.Loop() {
		b.StopTimer()
		store, err := file.Open(filepath.Join(b.TempDir(), "repo"))
		if err != nil {
			b.Fatal(err)
		}
		v, err := vault.Init(b.Context(), store, password, cheap)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		begun := time.Now()
		s, err := v.NewSession(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		c, err := s.SaveStream(b.Context(), bytes.NewReader(data))
		if err != nil {
			b.Fatal(err)
		}
		id, err := s.SaveTree(b.Context(), &tree.Tree{Nodes: []tree.Node{node("stream", c)}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Commit(b.Context(), &snapshot.Snapshot{Tree: &id}); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(s.Stats().PackedBytes)/(1<<20), "MiB-stored")
		b.ReportMetric(float64(streamSize)/1e6/time.Since(begun).Seconds(), "MB/s-last")
	}
}

// BenchmarkResticStdin has restic store the same stream, in the same run.
func BenchmarkResticStdin(b *testing.B) {
	data := mixed(streamSize)
	b.SetBytes(streamSize)
	for b.Loop() {
		b.StopTimer()
		dir := filepath.Join(b.TempDir(), "repo")
		store, err := file.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := vault.Init(b.Context(), store, password, cheap); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		cmd := exec.Command("restic", "-r", dir, "--no-cache", "-q", "backup", "--stdin")
		cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password)
		cmd.Stdin = bytes.NewReader(data)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		b.StopTimer()
		size := int64(0)
		if err := filepath.WalkDir(filepath.Join(dir, "data"), func(_ string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			size += info.Size()
			return err
		}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size)/(1<<20), "MiB-stored")
		b.StartTimer()
	}
}

// BenchmarkWriteFixed stores the stream in fixed blocks, as an image is.
func BenchmarkWriteFixed(b *testing.B) {
	data := mixed(streamSize)
	b.SetBytes(streamSize)
	for b.Loop() {
		b.StopTimer()
		store, err := file.Open(filepath.Join(b.TempDir(), "repo"))
		if err != nil {
			b.Fatal(err)
		}
		v, err := vault.Init(b.Context(), store, password, cheap)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		s, err := v.NewSession(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.SaveImage(b.Context(), bytes.NewReader(data), streamSize, vault.ImageOptions{Time: mtime}); err != nil {
			b.Fatal(err)
		}
		if err := s.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads a stored stream back, whole.
func BenchmarkRead(b *testing.B) {
	store, err := file.Open(filepath.Join(b.TempDir(), "repo"))
	if err != nil {
		b.Fatal(err)
	}
	v, err := vault.Init(b.Context(), store, password, cheap)
	if err != nil {
		b.Fatal(err)
	}
	s, err := v.NewSession(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	c, err := s.SaveStream(b.Context(), bytes.NewReader(mixed(streamSize)))
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(streamSize)
	for b.Loop() {
		f, err := v.OpenFile(b.Context(), c.Blobs)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := f.CopyTo(b.Context(), io.Discard); err != nil || n != streamSize {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkSaveBlob is one core's work on one blob of 1 MiB, by what it holds.
func BenchmarkSaveBlob(b *testing.B) {
	for name, make := range map[string]func(uint64, int) []byte{"text": prose, "noise": noise} {
		b.Run(name, func(b *testing.B) {
			store, err := file.Open(filepath.Join(b.TempDir(), "repo"))
			if err != nil {
				b.Fatal(err)
			}
			v, err := vault.Init(b.Context(), store, password, cheap)
			if err != nil {
				b.Fatal(err)
			}
			s, err := v.NewSession(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			data := make(1, 1<<20)
			b.SetBytes(1 << 20)
			for i := 0; b.Loop(); i++ {
				data[0], data[1], data[2] = byte(i), byte(i>>8), byte(i>>16)
				if _, err := s.SaveBlob(b.Context(), object.Data, data); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
