package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/awsanswer"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Create makes the bucket, with Object Lock when objects are to be kept. One that is there is left as it is.
func (s *Store) Create(ctx context.Context) error {
	_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.opts.Bucket})
	if err == nil {
		return nil
	}
	err = s.fault(ctx, err, "create", s.subject)
	if failure.KindOf(err) != failure.NotFound {
		return err
	}
	in := &s3.CreateBucketInput{Bucket: &s.opts.Bucket}
	if s.opts.Retain > 0 {
		in.ObjectLockEnabledForBucket = aws.Bool(true)
	}
	if s.opts.Region != defaultRegion {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(s.opts.Region)}
	}
	_, err = s.client.CreateBucket(ctx, in)
	if code := codeOf(err); err == nil || code == "BucketAlreadyOwnedByYou" {
		return nil
	}
	return s.changed(ctx, err, "create", s.subject)
}

// Load asks for a range.
func (s *Store) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	if err := blob.CheckRange(h, offset, length); err != nil {
		return nil, err
	}
	if s.through(h.Type) {
		return s.loadFirst(ctx, h, offset, length)
	}
	return s.load(ctx, h, "", offset, length)
}

// load asks for a range of one version of an object; no version: the newest.
func (s *Store) load(ctx context.Context, h blob.Handle, version string, offset, length int64) (io.ReadCloser, error) {
	in := &s3.GetObjectInput{Bucket: &s.opts.Bucket, Key: aws.String(s.key(h)), VersionId: optional(version)}
	switch {
	case length != blob.ToEnd:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	case offset > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return s.outOfRange(ctx, err, h, version, offset, length)
	}
	r := &reader{ctx: ctx, s: s, h: h, body: out.Body, left: aws.ToInt64(out.ContentLength)}
	switch {
	case in.Range != nil && out.ContentRange == nil && (offset > 0 || length < r.left):
		err = failure.New(failure.Unsupported, "load", h.String(), "the server ignores ranges")
	case out.ContentLength == nil || r.left < 0:
		err = failure.New(failure.Unsupported, "load", h.String(), "the server does not say how long its answer is")
	case length != blob.ToEnd && r.left < length:
		err = blob.Short("load", h)
	}
	if err != nil {
		out.Body.Close() // nothing of it is wanted
		return nil, err
	}
	return r, nil
}

// outOfRange tells a range that begins at the end of an object, which has nothing in it, from one beyond, and both from
// other errors.
func (s *Store) outOfRange(ctx context.Context, err error, h blob.Handle, version string, offset, length int64) (io.ReadCloser, error) {
	if said := awsanswer.Of(err); said.Code != "InvalidRange" && said.Status != http.StatusRequestedRangeNotSatisfiable {
		return nil, s.fault(ctx, err, "load", h.String())
	}
	if length != blob.ToEnd {
		return nil, blob.Short("load", h)
	}
	info, err := s.head(ctx, h, version)
	switch {
	case err != nil:
		return nil, err
	case info.Size == offset:
		return io.NopCloser(strings.NewReader("")), nil
	}
	return nil, blob.Short("load", h)
}

// optional is nil for an empty text.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// reader is the body of an answer, whose errors have kinds.
type reader struct {
	ctx  context.Context // of the Load that it is a part of
	s    *Store
	h    blob.Handle
	body io.ReadCloser
	left int64
}

// Read reads on.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.left -= int64(n)
	switch {
	case err == nil, errors.Is(err, io.EOF) && r.left == 0:
		return n, err
	case r.ctx.Err() != nil:
		return n, failure.Wrap(r.ctx.Err(), "load", r.h.String())
	}
	return n, failure.WrapAs(failure.Unavailable, err, "load", r.h.String())
}

// Close gives up what has not come yet.
func (r *reader) Close() error {
	r.body.Close() // its error could only be that of what is given up
	return nil
}

// Stat asks for the object's header.
func (s *Store) Stat(ctx context.Context, h blob.Handle) (blob.Info, error) {
	if err := h.Check("stat"); err != nil {
		return blob.Info{}, err
	}
	if s.through(h.Type) {
		return s.statFirst(ctx, h)
	}
	return s.head(ctx, h, "")
}

// head asks for the header of one version; no version: the newest.
func (s *Store) head(ctx context.Context, h blob.Handle, version string) (blob.Info, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.opts.Bucket, Key: aws.String(s.key(h)), VersionId: optional(version)})
	if err != nil {
		return blob.Info{}, s.fault(ctx, err, "stat", h.String())
	}
	return blob.Info{Handle: h, Size: aws.ToInt64(out.ContentLength)}, nil
}

// List asks page by page.
func (s *Store) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	switch {
	case !t.Valid():
		return failure.New(failure.Invalid, "list", t.String(), "no such type")
	case s.through(t):
		return s.listFirsts(ctx, t, each)
	}
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{
		Bucket: &s.opts.Bucket, Prefix: aws.String(s.folder(t)), EncodingType: types.EncodingTypeUrl,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s.fault(ctx, err, "list", s.subject+" "+t.String())
		}
		for _, o := range page.Contents {
			if h, ok := s.handle(t, decoded(o.Key, page.EncodingType)); ok {
				if err := each(blob.Info{Handle: h, Size: aws.ToInt64(o.Size)}); err != nil {
					return err
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return failure.Wrap(err, "list", t.String())
		}
	}
	return nil
}

// decoded is a key in a listing. Listings are asked for with their keys encoded, since a key can hold characters that XML
// cannot: an object that somebody laid there would make the whole listing unreadable.
func decoded(key *string, how types.EncodingType) string {
	text := aws.ToString(key)
	if how != types.EncodingTypeUrl {
		return text // a server that does not know of it
	}
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// Remove deletes the object. On a bucket with Object Lock all its versions go, for good.
func (s *Store) Remove(ctx context.Context, h blob.Handle) error {
	if err := h.Check("remove"); err != nil {
		return err
	}
	if s.locked {
		return s.removeVersions(ctx, h)
	}
	return s.remove(ctx, h, "")
}

// remove deletes one version of an object, for good; no version: the newest, which on a bucket with versions stays and is
// hidden.
func (s *Store) remove(ctx context.Context, h blob.Handle, version string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.opts.Bucket, Key: aws.String(s.key(h)), VersionId: optional(version)})
	if err == nil {
		return nil
	}
	if err = s.changed(ctx, err, "remove", h.String()); failure.KindOf(err) == failure.NotFound {
		return nil
	}
	return err
}
