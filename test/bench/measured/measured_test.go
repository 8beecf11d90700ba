package measured

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestSameFile(t *testing.T) {
	dir := t.TempDir()
	long := bytes.Repeat([]byte("0123456789abcdef"), 40<<10) // more than two buffers
	other := bytes.Clone(long)
	other[len(other)-1]++
	for name, content := range map[string][]byte{"long": long, "again": long, "other": other, "short": long[:256<<10], "empty": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var b Buffers
	for _, tt := range []struct {
		want, got string
		same      bool
	}{{"long", "again", true}, {"empty", "empty", true}, {"short", "short", true}, {"long", "other", false}, {"long", "short", false}, {"short", "long", false},
		{"empty", "short", false}, {"long", "missing", false}} {
		if err := b.SameFile(filepath.Join(dir, tt.want), filepath.Join(dir, tt.got)); (err == nil) != tt.same {
			t.Errorf("%s and %s: %v", tt.want, tt.got, err)
		}
	}
	if n, err := Size(dir); err != nil || n != int64(3*len(long)+256<<10) {
		t.Errorf("size: %d, %v", n, err)
	}
}

func TestRun(t *testing.T) {
	p, err := Run(exec.Command("sh", "-c", "exit 0"))
	if err != nil || p.Wall <= 0 || p.RSS < 1<<16 {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err := Run(exec.Command("sh", "-c", "echo what; exit 3")); err == nil || !bytes.Contains([]byte(err.Error()), []byte("what")) {
		t.Errorf("a failure says %v", err)
	}
}
