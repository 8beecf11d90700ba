package s3

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// version is one version of an object, or a delete marker, which is a version without content.
type version struct {
	id     string
	size   int64
	latest bool
	etag   string // the same for the same bytes, where they were not sent in parts
}

// history is what there is under one key, each kind newest first.
type history struct {
	key      string
	versions []version
	markers  []version
}

// first is the oldest version with content: the object.
func (h history) first() (version, bool) {
	if len(h.versions) == 0 {
		return version{}, false
	}
	return h.versions[len(h.versions)-1], true
}

// hidden reports whether a program that knows nothing of versions sees no object here, or another one.
func (h history) hidden() bool {
	f, there := h.first()
	newest := version{}
	if there {
		newest = h.versions[0]
	}
	return there && !(newest.latest && newest.size == f.size && newest.etag == f.etag)
}

const (
	fullPage = 1000
	// lookAhead is how many versions are asked for when one object is looked for: its neighbours are likely to be next.
	lookAhead = 100
)

// histories calls each for every key that begins with prefix and comes after the key after, in order. The page size
// is a hint: 0 is the largest.
func (s *Store) histories(ctx context.Context, prefix, after string, page int32, each func(history) (goOn bool, err error)) error {
	if page == 0 {
		page = fullPage
	}
	in := &s3.ListObjectVersionsInput{
		Bucket: &s.opts.Bucket, Prefix: &prefix, KeyMarker: optional(after), MaxKeys: aws.Int32(page), EncodingType: types.EncodingTypeUrl,
	}
	var open history // the last key of a page may go on on the next one
	for {
		out, err := s.client.ListObjectVersions(ctx, in)
		if err != nil {
			return s.fault(ctx, err, "list the versions of", s.subject)
		}
		for _, h := range merged(out) {
			if h.key == open.key {
				open.versions, open.markers = append(open.versions, h.versions...), append(open.markers, h.markers...)
				continue
			}
			if open.key != "" {
				if goOn, err := each(open); err != nil || !goOn {
					return err
				}
			}
			open = h
		}
		if !aws.ToBool(out.IsTruncated) {
			break
		}
		next := decoded(out.NextKeyMarker, out.EncodingType)
		if next == "" {
			return failure.New(failure.Unsupported, "list the versions of", s.subject, "the server ends a page and does not say where the next begins")
		}
		in.KeyMarker, in.VersionIdMarker, in.MaxKeys = &next, out.NextVersionIdMarker, aws.Int32(fullPage)
	}
	if open.key == "" {
		return nil
	}
	_, err := each(open)
	return err
}

// merged brings the versions and the markers of a page, which come apart, together by their keys, in the keys' order.
func merged(out *s3.ListObjectVersionsOutput) []history {
	var all []history
	v, m := out.Versions, out.DeleteMarkers
	at := func(key string) *history {
		if len(all) == 0 || all[len(all)-1].key != key {
			all = append(all, history{key: key})
		}
		return &all[len(all)-1]
	}
	for len(v) > 0 || len(m) > 0 {
		var ofVersion, ofMarker string
		if len(v) > 0 {
			ofVersion = decoded(v[0].Key, out.EncodingType)
		}
		if len(m) > 0 {
			ofMarker = decoded(m[0].Key, out.EncodingType)
		}
		if len(m) == 0 || len(v) > 0 && ofVersion <= ofMarker {
			h := at(ofVersion)
			h.versions = append(h.versions, version{id: aws.ToString(v[0].VersionId), size: aws.ToInt64(v[0].Size),
				latest: aws.ToBool(v[0].IsLatest), etag: aws.ToString(v[0].ETag)})
			v = v[1:]
			continue
		}
		h := at(ofMarker)
		h.markers = append(h.markers, version{id: aws.ToString(m[0].VersionId), latest: aws.ToBool(m[0].IsLatest)})
		m = m[1:]
	}
	return all
}

// history gives what there is under h's key alone.
func (s *Store) history(ctx context.Context, h blob.Handle) (found history, err error) {
	key := s.key(h)
	err = s.histories(ctx, key, "", 0, func(k history) (bool, error) {
		if k.key == key {
			found = k
		}
		return k.key < key, nil
	})
	return found, err
}

// firsts remembers which version is the object, for the objects that were looked at last. An entry never turns wrong:
// when the version goes, so does the object.
type firsts struct {
	mu           sync.Mutex
	young, older map[blob.Handle]version
}

// keepFirsts is how many entries a generation has; two are kept, which take at most some 40 MB.
const keepFirsts = 64 << 10

func (f *firsts) get(h blob.Handle) (version, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v, ok := f.young[h]; ok {
		return v, true
	}
	v, ok := f.older[h]
	return v, ok
}

func (f *firsts) put(h blob.Handle, v version) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.young == nil || len(f.young) >= keepFirsts {
		f.young, f.older = map[blob.Handle]version{}, f.young
	}
	v.etag = "" // nobody asks for it, and there are many
	f.young[h] = v
}

func (f *firsts) drop(h blob.Handle) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.young, h)
	delete(f.older, h)
}

// find gives the version that is h, and learns about its neighbours: reading one pack, others are next.
func (s *Store) find(ctx context.Context, op string, h blob.Handle) (version, error) {
	key := s.key(h)
	folder := key[:strings.LastIndexByte(key, '/')+1]
	var found version
	there := false
	if h.Type == blob.Config {
		folder = key
	}
	after := key[:len(key)-1] // sorts before key, and after every other name
	if len(after) <= len(folder) {
		after = ""
	}
	seen := 0
	err := s.histories(ctx, folder, after, lookAhead, func(k history) (bool, error) {
		if k.key > key && !there {
			return false, nil
		}
		first, ok := k.first()
		if near, valid := s.handle(h.Type, k.key); ok && valid {
			s.firsts.put(near, first)
		}
		if k.key == key {
			found, there = first, ok
		}
		seen++
		return !there || seen < lookAhead-1, nil // what else came with the first page, and no second one for it
	})
	if err == nil && !there {
		err = failure.New(failure.NotFound, op, h.String(), "no version of it is in the bucket")
	}
	return found, err
}

// loadFirst loads a range of the version that is the object.
func (s *Store) loadFirst(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	if v, known := s.firsts.get(h); known {
		r, err := s.load(ctx, h, v.id, offset, length)
		if err == nil || failure.KindOf(err) != failure.NotFound {
			return r, err
		}
		s.firsts.drop(h) // removed, and perhaps saved anew
	}
	v, err := s.find(ctx, "load", h)
	if err != nil {
		return nil, err
	}
	return s.load(ctx, h, v.id, offset, length)
}

// statFirst gives the size of the version that is the object.
func (s *Store) statFirst(ctx context.Context, h blob.Handle) (blob.Info, error) {
	if v, known := s.firsts.get(h); known {
		info, err := s.head(ctx, h, v.id)
		if err == nil || failure.KindOf(err) != failure.NotFound {
			return info, err
		}
		s.firsts.drop(h)
	}
	v, err := s.find(ctx, "stat", h)
	return blob.Info{Handle: h, Size: v.size}, err
}

// listFirsts lists what has a version with content, whatever lies over it.
func (s *Store) listFirsts(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	return s.histories(ctx, s.folder(t), "", 0, func(k history) (bool, error) {
		if err := ctx.Err(); err != nil {
			return false, failure.Wrap(err, "list", t.String())
		}
		h, valid := s.handle(t, k.key)
		first, there := k.first()
		if !valid || !there {
			return true, nil
		}
		s.firsts.put(h, first)
		if err := each(blob.Info{Handle: h, Size: first.size}); err != nil {
			return false, err
		}
		return true, nil
	})
}

// removeVersions deletes all versions of an object, for good. The object itself goes last, for whatever lies over it must
// never be taken for it.
func (s *Store) removeVersions(ctx context.Context, h blob.Handle) error {
	k, err := s.history(ctx, h)
	if err != nil {
		return err
	}
	for _, v := range k.versions {
		if err := s.remove(ctx, h, v.id); err != nil {
			return s.kept(ctx, h, err)
		}
	}
	s.firsts.drop(h)
	for _, m := range k.markers {
		if err := s.remove(ctx, h, m.id); err != nil {
			return err
		}
	}
	return nil
}

// mayGo is Denied while the retention of h runs.
func (s *Store) mayGo(ctx context.Context, h blob.Handle) error {
	until, err := s.RetainedUntil(ctx, h)
	switch {
	case err == nil && until.After(s.opts.Now()):
		return retained(h, until)
	case err != nil && ctx.Err() != nil:
		return err
	}
	return nil // unknown: the server will say
}

// kept turns the refusal of a removal into the reason for it, if that is the retention. Servers give it different codes.
func (s *Store) kept(ctx context.Context, h blob.Handle, err error) error {
	kind := failure.KindOf(err)
	if kind != failure.Denied && kind != failure.Invalid {
		return err
	}
	if h.Type == blob.Lock {
		// The bucket keeps everything by default. To hide a lock is enough: of locks only the newest version counts.
		return s.remove(ctx, h, "")
	}
	if reason := s.mayGo(ctx, h); reason != nil {
		return reason
	}
	return failure.WrapAs(failure.Denied, err, "", "").WithHint("allow s3:DeleteObjectVersion; or a legal hold keeps it, or somebody wrote a newer version with a retention of its own")
}

func retained(h blob.Handle, until time.Time) error {
	return failure.New(failure.Denied, "remove", h.String(), "Object Lock keeps it until %s", until.UTC().Format(time.RFC3339)).
		WithHint("nobody can remove it before; prune removes it after that, unless it is renewed")
}
