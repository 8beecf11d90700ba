package s3_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3/s3test"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// restic runs the real restic on a bucket, as the server's owner.
func restic(t *testing.T, s *s3test.Server, bucket string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("restic"); err != nil {
		t.Fatal("restic judges the vault and is missing: test/servers/install.sh restic")
	}
	all := []string{"-r", "s3:" + s.Endpoint + "/" + bucket + "/vault", "--no-cache"}
	if s.CAFile != "" {
		all = append(all, "--cacert", s.CAFile)
	}
	cmd := exec.CommandContext(t.Context(), "restic", append(all, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password, "RESTIC_PROGRESS_FPS=0", "AWS_ACCESS_KEY_ID="+s.AccessKey, "AWS_SECRET_ACCESS_KEY="+s.SecretKey)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err := cmd.Run()
	return both.String(), err
}

func mustRestic(t *testing.T, s *s3test.Server, bucket string, args ...string) string {
	t.Helper()
	out, err := restic(t, s, bucket, args...)
	if err != nil {
		t.Fatalf("restic %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// accepted holds that restic reads everything, finds nothing wrong, and gives content back.
func accepted(t *testing.T, s *s3test.Server, bucket, point string, content []byte) {
	t.Helper()
	if out := mustRestic(t, s, bucket, "check", "--read-data"); !strings.Contains(out, "no errors were found") {
		t.Errorf("restic check does not say that all is well:\n%s", out)
	}
	dir := t.TempDir()
	mustRestic(t, s, bucket, "restore", point, "--target", dir)
	got, err := os.ReadFile(filepath.Join(dir, "orders"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("restic restores other content: %d bytes, %v", len(got), err)
	}
}

// TestRestic holds that restic works on the bucket that we work on: over plain HTTP, and over TLS with Object Lock.
func TestRestic(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server *lazy
		retain time.Duration
	}{{"plain", plain, 0}, {"TLS and Object Lock", secure, time.Hour}} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.server.get(t)
			bucket := s.Bucket()
			store := open(t, s, bucket, aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}, func(o *s3.Options) { o.Retain = tt.retain })
			v, err := vault.Init(t.Context(), store, password, cheap)
			if err != nil {
				t.Fatal(err)
			}
			content := blobtest.Make(blob.Pack, 3, 2<<20).Bytes
			point := backup(t, v, content)
			accepted(t, s, bucket, point.ID.String(), content)

			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "orders"), content, 0o600); err != nil {
				t.Fatal(err)
			}
			mustRestic(t, s, bucket, "backup", dir)
			points, err := v.Snapshots(t.Context(), snapshot.Filter{})
			if err != nil || len(points) != 2 {
				t.Errorf("after restic's backup there are %d points, %v", len(points), err)
			}
			if report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true}); err != nil || len(report.Problems) > 0 {
				t.Errorf("check: %+v, %v", report, err)
			}
			if locks, err := v.Locks(t.Context()); err != nil || len(locks) != 0 {
				t.Errorf("locks are left: %v, %v", locks, err)
			}
		})
	}
}

// TestUndelete holds that after an attack, of which restic sees the result, everything can be uncovered again, and restic
// restores it.
func TestUndelete(t *testing.T) {
	s := secure.get(t)
	bucket := s.Bucket()
	keys := aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}
	store := open(t, s, bucket, keys, func(o *s3.Options) { o.Retain = time.Hour })
	v, err := vault.Init(t.Context(), store, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	content := blobtest.Make(blob.Pack, 4, 2<<20).Bytes
	point := backup(t, v, content)
	if n, err := store.Undelete(t.Context(), false, nil); err != nil || n != 0 {
		t.Errorf("with nothing hidden %d objects come back, %v", n, err)
	}
	c := raw(s, keys)
	all := targets(t, c, bucket)
	strike(t, c, bucket, all)
	if out, err := restic(t, s, bucket, "snapshots"); err == nil {
		t.Errorf("the attack does not show:\n%s", out)
	}
	for _, dry := range []bool{true, false} {
		found, err := v.Uncover(t.Context(), dry)
		if err != nil || len(found) != len(all) {
			t.Errorf("%d of %d objects come back, %v", len(found), len(all), err)
		}
	}
	if n, err := store.Undelete(t.Context(), true, nil); err != nil || n != 0 {
		t.Errorf("afterwards %d are hidden, %v", n, err)
	}
	accepted(t, s, bucket, point.ID.String(), content)
	restored(t, open(t, s, bucket, keys, nil), point, content)
}
