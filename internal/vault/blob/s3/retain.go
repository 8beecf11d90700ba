package s3

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Retain keeps h until the instant, in compliance mode. Locks are Invalid: they must be deleted at any time.
func (s *Store) Retain(ctx context.Context, h blob.Handle, until time.Time) error {
	if h.Type == blob.Lock {
		return failure.New(failure.Invalid, "retain", h.String(), "locks are never kept")
	}
	for again := false; ; again = true {
		now, v, err := s.retention(ctx, h)
		if err != nil {
			return err
		}
		if !now.Before(until) {
			return nil
		}
		_, err = s.client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
			Bucket: &s.opts.Bucket, Key: aws.String(s.key(h)), VersionId: &v.id,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(upToSecond(until))},
		})
		if err == nil {
			return nil
		}
		err = s.changed(ctx, err, "retain", h.String())
		if failure.KindOf(err) != failure.Denied || again {
			return err
		}
		// Somebody else may have made it longer meanwhile: look once more.
	}
}

// RetainedUntil is when the retention of h ends; the zero time: it has none, or it has ended and is not shown any more.
func (s *Store) RetainedUntil(ctx context.Context, h blob.Handle) (time.Time, error) {
	until, _, err := s.retention(ctx, h)
	return until, err
}

// retention gives the end of the retention of the version that is h.
func (s *Store) retention(ctx context.Context, h blob.Handle) (time.Time, version, error) {
	const op = "ask for the retention of"
	if err := h.Check(op); err != nil {
		return time.Time{}, version{}, err
	}
	if !s.locked {
		return time.Time{}, version{}, failure.New(failure.Unsupported, op, h.String(), "the bucket has no Object Lock").WithHint("%s", hintLock)
	}
	v, known := s.firsts.get(h)
	for {
		if !known {
			var err error
			if v, err = s.find(ctx, op, h); err != nil {
				return time.Time{}, version{}, err
			}
		}
		out, err := s.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &s.opts.Bucket, Key: aws.String(s.key(h)), VersionId: &v.id})
		switch {
		case err == nil && out.Retention != nil:
			return aws.ToTime(out.Retention.RetainUntilDate), v, nil
		case err == nil, codeOf(err) == "NoSuchObjectLockConfiguration":
			return time.Time{}, v, nil
		}
		if err = s.fault(ctx, err, op, h.String()); failure.KindOf(err) != failure.NotFound || !known {
			return time.Time{}, v, err
		}
		s.firsts.drop(h)
		known = false
	}
}

// Undelete lifts what hides objects from programs that know nothing of versions, such as restic: delete markers, and newer
// versions. Newer versions that may not go, since somebody gave them a retention, are covered by a copy of the object. It
// calls each for every object that it brought back, and gives how many; each may be nil. With dry it only tells. Objects
// that restic itself removed come back as well: what this store is to forget, it removes itself.
func (s *Store) Undelete(ctx context.Context, dry bool, each func(blob.Handle)) (int, error) {
	if !s.locked {
		return 0, failure.New(failure.Unsupported, "undelete", s.subject, "the bucket has no Object Lock").WithHint("%s", hintLock)
	}
	n := 0
	for _, t := range blob.Types() {
		if t == blob.Lock {
			continue
		}
		err := s.histories(ctx, s.folder(t), "", 0, func(k history) (bool, error) {
			h, valid := s.handle(t, k.key)
			if !valid || !k.hidden() {
				return true, nil
			}
			if !dry {
				if err := s.uncover(ctx, h, k); err != nil {
					return false, err
				}
			}
			if n++; each != nil {
				each(h)
			}
			return true, nil
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// uncover removes what lies over the object.
func (s *Store) uncover(ctx context.Context, h blob.Handle, k history) error {
	first, _ := k.first()
	for _, over := range append(k.markers, k.versions[:len(k.versions)-1]...) {
		err := s.remove(ctx, h, over.id)
		if kind := failure.Denied; err != nil && (failure.KindOf(err) == kind || failure.KindOf(err) == failure.Invalid) {
			return s.renew(ctx, h, first)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// renew lays a copy of the object over what hides it.
func (s *Store) renew(ctx context.Context, h blob.Handle, first version) error {
	mode, until := s.keep(h)
	path := url.URL{Path: s.opts.Bucket + "/" + s.key(h)}
	source := strings.ReplaceAll(path.EscapedPath(), "+", "%2B") + "?versionId=" + url.QueryEscape(first.id)
	_, err := s.client.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: &s.opts.Bucket, Key: aws.String(s.key(h)), CopySource: aws.String(source),
		MetadataDirective: types.MetadataDirectiveReplace, StorageClass: s.class(h), ObjectLockMode: mode, ObjectLockRetainUntilDate: until,
	})
	if err != nil {
		return s.changed(ctx, err, "undelete", h.String())
	}
	return nil
}
