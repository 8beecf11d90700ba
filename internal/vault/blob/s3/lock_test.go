package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3/s3test"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// hostPolicy is everything that can be done with objects and nothing that can be done with buckets: more than a protected
// host needs, and all that a thief could hope for. docs/object-lock.md advises less.
const hostPolicy = `{"Version":"2012-10-17","Statement":[
	{"Effect":"Allow","Action":["s3:*Object*","s3:ListBucket*","s3:GetBucket*","s3:ListMultipartUploadParts","s3:AbortMultipartUpload","s3:BypassGovernanceRetention"],
	 "Resource":["arn:aws:s3:::%[1]s","arn:aws:s3:::%[1]s/*"]},
	{"Effect":"Deny","Action":["s3:PutBucketObjectLockConfiguration"],"Resource":["arn:aws:s3:::%[1]s"]}]}`

// host gives credentials that are good for the objects of one bucket alone.
func host(t *testing.T, s *s3test.Server, bucket string) aws.Credentials {
	t.Helper()
	return session(t, s, fmt.Sprintf(hostPolicy, bucket))
}

// session gives credentials that a policy bounds.
func session(t *testing.T, s *s3test.Server, policy string) aws.Credentials {
	t.Helper()
	client := sts.New(sts.Options{
		Region: "us-east-1", BaseEndpoint: &s.Endpoint, HTTPClient: trusting(s),
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
	out, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:xxx:xxx:xxx:xxxx"), RoleSessionName: aws.String("host"), Policy: &policy,
	})
	if err != nil {
		t.Fatal(err)
	}
	return aws.Credentials{AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey, SessionToken: *out.Credentials.SessionToken}
}

func trusting(s *s3test.Server) aws.HTTPClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		if s.TLS != nil {
			t.TLSClientConfig = s.TLS.Clone()
		}
	})
}

func raw(s *s3test.Server, c aws.Credentials) *awss3.Client {
	return awss3.New(awss3.Options{
		Region: "us-east-1", BaseEndpoint: &s.Endpoint, UsePathStyle: true, HTTPClient: trusting(s), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
	})
}

// cheap keeps scrypt out of the tests' time.
var cheap = vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}, PackSize: 256 << 10}

const password = "correct horse"

// open opens a bucket with the given credentials.
func open(t *testing.T, s *s3test.Server, bucket string, c aws.Credentials, change func(*s3.Options)) *s3.Store {
	t.Helper()
	o := s3.Options{Endpoint: s.Endpoint, Bucket: bucket, Prefix: "vault", TLS: s.TLS, AccessKey: c.AccessKeyID, SecretKey: c.SecretAccessKey, SessionToken: c.SessionToken}
	if change != nil {
		change(&o)
	}
	st, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// backup stores content as the file "orders" of a new point.
func backup(t *testing.T, v *vault.Vault, content []byte) *snapshot.Snapshot {
	t.Helper()
	session, err := v.NewSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := session.SaveStream(t.Context(), bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	id, err := session.SaveTree(t.Context(), &tree.Tree{Nodes: []tree.Node{{Name: "orders", Type: tree.File, Mode: 0o600, Size: c.Size, Content: c.Blobs}}})
	if err != nil {
		t.Fatal(err)
	}
	sn := &snapshot.Snapshot{Tree: &id, Paths: []string{"/shop"}}
	if _, err := session.Commit(t.Context(), sn); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sn
}

// restored holds that yesterday's point is listed and gives its content back, and that a check that reads everything finds
// nothing wrong.
func restored(t *testing.T, store blob.Store, want *snapshot.Snapshot, content []byte) {
	t.Helper()
	v, err := vault.Open(t.Context(), store, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	points, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil || len(points) != 1 || points[0].ID != want.ID {
		t.Fatalf("listed: %v, %v, want %s alone", points, err, want.ID)
	}
	report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("check: %+v, %v", report, err)
	}
	got, err := orders(t, v, points[0])
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("other content comes back: %d bytes, %v", len(got), err)
	}
}

// target is one version of an object that is attacked.
type target struct{ key, version string }

// targets are all versions in a bucket, but those of locks.
func targets(t *testing.T, c *awss3.Client, bucket string) []target {
	t.Helper()
	var all []target
	pages := awss3.NewListObjectVersionsPaginator(c, &awss3.ListObjectVersionsInput{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Versions {
			if !strings.Contains(*v.Key, "/locks/") {
				all = append(all, target{*v.Key, *v.VersionId})
			}
		}
	}
	return all
}

// attack is one way to destroy an object. Forbidden ones must fail; the others succeed, and must be of no use.
type attack struct {
	name      string
	forbidden bool
	do        func(ctx context.Context, c *awss3.Client, bucket string, x target, other target) error
}

func retainAs(mode types.ObjectLockRetentionMode, until time.Duration, bypass bool) func(context.Context, *awss3.Client, string, target, target) error {
	return func(ctx context.Context, c *awss3.Client, bucket string, x, _ target) error {
		r := &types.ObjectLockRetention{}
		if mode != "" {
			r.Mode, r.RetainUntilDate = mode, aws.Time(time.Now().Add(until))
		}
		_, err := c.PutObjectRetention(ctx, &awss3.PutObjectRetentionInput{Bucket: &bucket, Key: &x.key, VersionId: &x.version,
			BypassGovernanceRetention: aws.Bool(bypass), Retention: r})
		return err
	}
}

var attacks = []attack{
	{"shorten", true, retainAs(types.ObjectLockRetentionModeCompliance, time.Minute, false)},
	{"shorten, bypassing", true, retainAs(types.ObjectLockRetentionModeCompliance, time.Minute, true)},
	{"weaken", true, retainAs(types.ObjectLockRetentionModeGovernance, 100*24*time.Hour, true)},
	{"lift", true, retainAs("", 0, true)},
	{"delete the version", true, func(ctx context.Context, c *awss3.Client, bucket string, x, _ target) error {
		_, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &bucket, Key: &x.key, VersionId: &x.version})
		return err
	}},
	{"delete the version, bypassing", true, func(ctx context.Context, c *awss3.Client, bucket string, x, _ target) error {
		_, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &bucket, Key: &x.key, VersionId: &x.version, BypassGovernanceRetention: aws.Bool(true)})
		return err
	}},
	{"delete in bulk", true, func(ctx context.Context, c *awss3.Client, bucket string, x, _ target) error {
		out, err := c.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: &bucket, BypassGovernanceRetention: aws.Bool(true),
			Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: &x.key, VersionId: &x.version}}}})
		if err == nil && len(out.Errors) > 0 {
			err = errors.New(aws.ToString(out.Errors[0].Code))
		}
		return err
	}},
	{"delete", false, func(ctx context.Context, c *awss3.Client, bucket string, x, _ target) error {
		_, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &bucket, Key: &x.key})
		return err
	}},
	{"overwrite", false, func(ctx context.Context, c *awss3.Client, bucket string, x, _ target) error {
		_, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: &x.key, Body: strings.NewReader("pay us")})
		return err
	}},
	{"overwrite, and keep that for years", false, func(ctx context.Context, c *awss3.Client, bucket string, x, _ target) error {
		_, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: &x.key, Body: strings.NewReader("pay us now"),
			ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(3 * 365 * 24 * time.Hour))})
		return err
	}},
	{"overwrite with another object", false, func(ctx context.Context, c *awss3.Client, bucket string, x, other target) error {
		_, err := c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: &bucket, Key: &x.key, CopySource: aws.String(bucket + "/" + other.key + "?versionId=" + other.version)})
		return err
	}},
	{"delete again", false, func(ctx context.Context, c *awss3.Client, bucket string, x, _ target) error {
		_, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &bucket, Key: &x.key})
		return err
	}},
}

// strike attacks every object in every way.
func strike(t *testing.T, c *awss3.Client, bucket string, all []target) {
	t.Helper()
	for i, x := range all {
		for _, a := range attacks {
			err := a.do(t.Context(), c, bucket, x, all[(i+1)%len(all)])
			if (err != nil) != a.forbidden {
				t.Errorf("%s of %s: %v, and it must be refused: %v", a.name, x.key, err, a.forbidden)
			}
		}
	}
}

// TestThief is what Object Lock is for: whoever has the credentials of the protected host, or even those of the server's
// owner, can neither destroy nor hide yesterday.
func TestThief(t *testing.T) {
	s := secure.get(t)
	ownerKeys := aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}
	for _, who := range []string{"the protected host", "the owner of the server"} {
		t.Run(who, func(t *testing.T) {
			bucket := s.Bucket()
			keep := func(o *s3.Options) { o.Retain = 24 * time.Hour }
			if err := open(t, s, bucket, ownerKeys, keep).Create(t.Context()); err != nil {
				t.Fatal(err)
			}
			keys := ownerKeys
			if who == "the protected host" {
				keys = host(t, s, bucket)
			}
			store := open(t, s, bucket, keys, keep)
			content := blobtest.Make(blob.Pack, 1, 3<<20).Bytes
			v, err := vault.Init(t.Context(), store, password, cheap)
			if err != nil {
				t.Fatal(err)
			}
			yesterday := backup(t, v, content)
			c := raw(s, keys)
			all := targets(t, c, bucket)
			if len(all) < 6 {
				t.Fatalf("there are only %d objects", len(all))
			}

			strike(t, c, bucket, all)
			for _, typ := range blob.Types() {
				err := store.List(t.Context(), typ, func(i blob.Info) error {
					if err := store.Remove(t.Context(), i.Handle); !errors.Is(err, failure.Denied) || !strings.Contains(err.Error(), "keeps it until") {
						t.Errorf("remove of %s: %v", i.Handle, err)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
			if _, err := c.PutBucketVersioning(t.Context(), &awss3.PutBucketVersioningInput{Bucket: &bucket,
				VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}}); err == nil {
				t.Error("versioning can be suspended")
			}
			if _, err := c.DeleteBucket(t.Context(), &awss3.DeleteBucketInput{Bucket: &bucket}); err == nil {
				t.Error("the bucket can be deleted")
			}
			_, err = c.PutBucketLifecycleConfiguration(t.Context(), &awss3.PutBucketLifecycleConfigurationInput{Bucket: &bucket,
				LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{{ID: aws.String("x"), Status: types.ExpirationStatusEnabled,
					Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")}, NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(1)}}}}})
			if (err == nil) != (who == "the owner of the server") {
				t.Errorf("a lifecycle that expires everything: %v", err)
			}

			// Keys that XML cannot carry, to make listings unreadable; names that look like objects'.
			for _, key := range []string{"vault/snapshots/\x01\x02", "vault/data/ab/\x0b&<", "vault/snapshots/%00", "vault/locks/\x07", "vault/keys/" + strings.Repeat("0", 65)} {
				if _, err := c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("x")}); err != nil {
					t.Errorf("%q: %v", key, err)
				}
			}

			restored(t, open(t, s, bucket, keys, nil), yesterday, content) // without Retain: whoever restores need not know of it
			backupAfter(t, open(t, s, bucket, keys, keep), content)

			// Junk under names of its own, which may not go for years.
			for _, typ := range []blob.Type{blob.Key, blob.Snapshot, blob.Index, blob.Pack} {
				junk := blobtest.Make(typ, 77, 500).Handle
				if _, err := c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: aws.String("vault/" + junk.Path()), Body: strings.NewReader("junk"),
					ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(3 * 365 * 24 * time.Hour))}); err != nil {
					t.Error(err)
				}
			}
			amongJunk(t, open(t, s, bucket, keys, nil), yesterday, content)
		})
	}
}

// amongJunk holds that yesterday is listed and restored although there are files that cannot be read, and that those are
// named.
func amongJunk(t *testing.T, store blob.Store, want *snapshot.Snapshot, content []byte) {
	t.Helper()
	v, err := vault.Open(t.Context(), store, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	points, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if !errors.Is(err, failure.Corrupt) || !slices.ContainsFunc(points, func(p *snapshot.Snapshot) bool { return p.ID == want.ID }) {
		t.Errorf("points: %v, %v, want yesterday's among them, and the junk named", points, err)
	}
	got, err := orders(t, v, want)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("among junk other content comes back: %d bytes, %v", len(got), err)
	}
}

// orders reads the file of a point.
func orders(t *testing.T, v *vault.Vault, point *snapshot.Snapshot) ([]byte, error) {
	t.Helper()
	n, err := v.Find(t.Context(), *point.Tree, "/orders")
	if err != nil {
		return nil, err
	}
	f, err := v.OpenFile(t.Context(), n.Content)
	if err != nil {
		return nil, err
	}
	var got bytes.Buffer
	_, err = f.CopyTo(t.Context(), &got)
	return got.Bytes(), err
}

// backupAfter holds that the vault goes on after an attack, and deduplicates against what is hidden.
func backupAfter(t *testing.T, store blob.Store, content []byte) {
	t.Helper()
	v, err := vault.Open(t.Context(), store, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	before, err := blobtest.Listed(t.Context(), store, blob.Pack)
	if err != nil {
		t.Fatal(err)
	}
	backup(t, v, content)
	after, err := blobtest.Listed(t.Context(), store, blob.Pack)
	if err != nil || len(after) != len(before) {
		t.Errorf("the same content again makes %d packs of %d: %v", len(after), len(before), err)
	}
	config := blobtest.Make(blob.Config, 1, 150)
	if err := store.Save(t.Context(), config.Handle, bytes.NewReader(config.Bytes)); !errors.Is(err, failure.Exists) {
		t.Errorf("another config over the hidden one: %v", err)
	}
	if _, err := vault.Init(t.Context(), store, "another", cheap); !errors.Is(err, failure.Exists) {
		t.Errorf("a second vault over the hidden config: %v", err)
	}
}

// TestLocksGo holds that locks are never kept, are really deleted, and are gone when restic hides them.
func TestLocksGo(t *testing.T) {
	s := plain.get(t)
	bucket := s.Bucket()
	o := owner(s, bucket)
	o.Retain = 24 * time.Hour
	store, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := raw(s, aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey})
	left := func() int {
		t.Helper()
		out, err := c.ListObjectVersions(t.Context(), &awss3.ListObjectVersionsInput{Bucket: &bucket})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Versions) + len(out.DeleteMarkers)
	}
	lock := blobtest.Make(blob.Lock, 1, 100)
	save := func() {
		t.Helper()
		if err := store.Save(t.Context(), lock.Handle, bytes.NewReader(lock.Bytes)); err != nil {
			t.Fatal(err)
		}
	}
	gone := func() {
		t.Helper()
		if _, err := store.Stat(t.Context(), lock.Handle); !errors.Is(err, failure.NotFound) {
			t.Errorf("stat: %v, want not found", err)
		}
		if got, err := blobtest.Listed(t.Context(), store, blob.Lock); err != nil || len(got) != 0 {
			t.Errorf("listed: %v, %v", got, err)
		}
	}
	save()
	if err := store.Retain(t.Context(), lock.Handle, time.Now().Add(time.Hour)); !errors.Is(err, failure.Invalid) {
		t.Errorf("a lock is kept: %v", err)
	}
	if err := store.Remove(t.Context(), lock.Handle); err != nil {
		t.Fatal(err)
	}
	gone()
	if n := left(); n != 0 {
		t.Errorf("%d versions and markers are left of a lock", n)
	}
	save()
	key := "locks/" + lock.Handle.Name
	if _, err := c.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
	gone()
	save() // by its old name, over the marker
	if got, err := blob.ReadAll(t.Context(), store, lock.Handle); err != nil || !bytes.Equal(got, lock.Bytes) {
		t.Errorf("load: %v", err)
	}

	// A bucket that keeps everything by default keeps locks too: then they are hidden.
	if _, err := c.PutObjectLockConfiguration(t.Context(), &awss3.PutObjectLockConfigurationInput{Bucket: &bucket,
		ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled,
			Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeCompliance, Days: aws.Int32(1)}}}}); err != nil {
		t.Fatal(err)
	}
	lock = blobtest.Make(blob.Lock, 2, 100)
	if err := store.Remove(t.Context(), blobtest.Make(blob.Lock, 1, 100).Handle); err != nil {
		t.Fatal(err)
	}
	save()
	for range 2 {
		if err := store.Remove(t.Context(), lock.Handle); err != nil {
			t.Fatal(err)
		}
		gone()
	}
}

// TestRetention holds that a retention is only ever made longer.
func TestRetention(t *testing.T) {
	s := plain.get(t)
	o := owner(s, s.Bucket())
	o.Retain = 24 * time.Hour
	store, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !store.Facts().Retention {
		t.Error("the facts know of no retention")
	}
	begin := time.Now()
	large := o.PartSize
	if large == 0 {
		large = 64 << 20
	}
	for _, x := range []blobtest.Object{blobtest.Make(blob.Pack, 1, 1000), blobtest.Make(blob.Key, 1, 100), blobtest.Make(blob.Config, 1, 100), blobtest.Make(blob.Pack, 2, int(large)+1)} {
		if err := store.Save(t.Context(), x.Handle, bytes.NewReader(x.Bytes)); err != nil {
			t.Fatal(err)
		}
		until := func() time.Time {
			t.Helper()
			got, err := store.RetainedUntil(t.Context(), x.Handle)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		first := until()
		if first.Before(begin.Add(24*time.Hour)) || first.After(time.Now().Add(24*time.Hour+time.Second)) {
			t.Errorf("%s is kept until %s, want a day from now", x.Handle, first)
		}
		if err := store.Retain(t.Context(), x.Handle, begin.Add(time.Hour)); err != nil || !until().Equal(first) {
			t.Errorf("%s: shortened to %s, %v", x.Handle, until(), err)
		}
		longer := begin.Add(48 * time.Hour)
		if err := store.Retain(t.Context(), x.Handle, longer); err != nil || until().Before(longer) {
			t.Errorf("%s: kept until %s, want %s; %v", x.Handle, until(), longer, err)
		}
	}
	absent := blobtest.Make(blob.Pack, 9, 1).Handle
	if err := store.Retain(t.Context(), absent, time.Now()); !errors.Is(err, failure.NotFound) {
		t.Errorf("what is not there: %v", err)
	}
}

// TestExpiry holds that removing works once the retention has ended, with whatever lies over the object, and not a moment
// before.
func TestExpiry(t *testing.T) {
	s := plain.get(t)
	bucket := s.Bucket()
	o := owner(s, bucket)
	o.Retain = 2 * time.Second
	store, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := raw(s, aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey})
	var all []blobtest.Object
	for i := range 3 {
		x := blobtest.Make(blob.Snapshot, uint64(i), 100)
		if err := store.Save(t.Context(), x.Handle, bytes.NewReader(x.Bytes)); err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	one, two := "snapshots/"+all[1].Handle.Name, "snapshots/"+all[2].Handle.Name
	if _, err := c.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: &bucket, Key: &one}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &two, Body: strings.NewReader("junk")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range all {
		until, err := store.RetainedUntil(t.Context(), x.Handle)
		if err != nil || until.IsZero() {
			t.Fatalf("kept until %s, %v", until, err)
		}
		for err = store.Remove(t.Context(), x.Handle); errors.Is(err, failure.Denied); err = store.Remove(t.Context(), x.Handle) {
			if got, err := blob.ReadAll(t.Context(), store, x.Handle); err != nil || !bytes.Equal(got, x.Bytes) {
				t.Fatalf("while it is kept: %v", err)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if now := time.Now(); now.Before(until) {
			t.Errorf("removed at %s, kept until %s", now, until)
		}
		if _, err := store.Stat(t.Context(), x.Handle); !errors.Is(err, failure.NotFound) {
			t.Errorf("after removal: %v", err)
		}
	}
	out, err := c.ListObjectVersions(t.Context(), &awss3.ListObjectVersionsInput{Bucket: &bucket})
	if err != nil || len(out.Versions)+len(out.DeleteMarkers) > 0 {
		t.Errorf("%d versions and %d markers are left, %v", len(out.Versions), len(out.DeleteMarkers), err)
	}
}
