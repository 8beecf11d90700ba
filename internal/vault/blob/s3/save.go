package s3

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

const (
	partsAtOnce = 3
	// races is how often two conditional writes may collide before it is said; with every collision one of them ends.
	races = 5
	// cleaning is how long giving up an upload may take when the work's context has ended.
	cleaning = 30 * time.Second
	// unfinished is the age at which an upload is nobody's any more.
	unfinished = 24 * time.Hour
)

// Save sends the object in one request, or in parts when it is large. In both cases nobody sees it before the last byte
// has come, and the server creates it only where there is none, if it can.
func (s *Store) Save(ctx context.Context, h blob.Handle, content blob.Content) error {
	if err := h.Check("save"); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return failure.Wrap(err, "save", h.String())
	}
	large := content.Size() > s.opts.PartSize
	// Where the request itself says that it must not replace anything, looking before would only cost time; but a large
	// object is not sent in vain, and a config that a delete marker hides is still the vault's.
	if !s.facts.AtomicCreate || large || s.locked && h.Type == blob.Config {
		switch _, err := s.Stat(ctx, h); {
		case err == nil:
			return stored(h)
		case failure.KindOf(err) != failure.NotFound:
			return err
		}
	}
	source := watched{content, &broken{}}
	var err error
	for range races {
		condition := s.condition()
		if large {
			err = s.upload(ctx, h, source, condition)
		} else {
			err = s.put(ctx, h, source, condition)
		}
		if err == nil {
			return nil
		}
		if source.broken.get() != nil || ctx.Err() != nil {
			break
		}
		code := codeOf(err)
		if code == "NotImplemented" && condition != nil {
			s.conditional.Store(false)
			continue
		}
		if code != "ConditionalRequestConflict" {
			break
		}
	}
	return s.unsaved(ctx, err, h, source)
}

// unsaved gives the error of a Save its kind.
func (s *Store) unsaved(ctx context.Context, err error, h blob.Handle, source watched) error {
	if ctx.Err() != nil {
		return failure.Wrap(ctx.Err(), "save", h.String())
	}
	if cause := source.broken.get(); cause != nil {
		kind := failure.Internal
		if failure.Classified(cause) {
			kind = failure.KindOf(cause)
		}
		return failure.WrapAs(kind, cause, "read what is to be saved as", h.String())
	}
	err = s.changed(ctx, err, "save", h.String())
	if failure.KindOf(err) == failure.Exists {
		return stored(h)
	}
	return err
}

func stored(h blob.Handle) error {
	return failure.New(failure.Exists, "save", h.String(), "stored already")
}

// watched is content that remembers why it could not be read: the HTTP client only says that it could not.
type watched struct {
	blob.Content
	broken *broken
}

// broken is the first error of reading a content.
type broken struct {
	mu  sync.Mutex
	err error
}

func (b *broken) get() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// ReadAt reads, and says so when the content is shorter than it claims.
func (w watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.Content.ReadAt(p, off)
	if err == nil || errors.Is(err, io.EOF) && off+int64(n) >= w.Size() {
		return n, err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	w.broken.mu.Lock()
	defer w.broken.mu.Unlock()
	if w.broken.err == nil {
		w.broken.err = err
	}
	return n, err
}

// unmetered reads past the meter: what is not sent does not count.
func (w watched) unmetered() watched { return watched{blob.Source(w.Content), w.broken} }

// sums are what a request says of its content.
type sums struct {
	sha string  // hexadecimal
	md5 *string // base64, where the bucket has Object Lock: AWS refuses such writes without, and others know no newer sum
}

// sum reads a part of content before it is sent. That costs less than to find out from a server, or never, that it is
// not what its name says; and MinIO keeps a name locked for as long as its content is on the way.
func (s *Store) sum(content watched, offset, length int64) (sums, error) {
	sha, five := sha256.New(), md5.New()
	var into io.Writer = sha
	if s.locked {
		into = io.MultiWriter(sha, five)
	}
	if _, err := io.Copy(into, io.NewSectionReader(content.unmetered(), offset, length)); err != nil {
		return sums{}, err
	}
	if err := content.broken.get(); err != nil {
		return sums{}, err // io.Copy takes an early end for the end
	}
	out := sums{sha: hex.EncodeToString(sha.Sum(nil))}
	if s.locked {
		out.md5 = aws.String(base64.StdEncoding.EncodeToString(five.Sum(nil)))
	}
	return out, nil
}

// condition asks for an object to be created only where there is none.
func (s *Store) condition() *string {
	if s.conditional.Load() {
		return aws.String("*")
	}
	return nil
}

// keep is what Object Lock is told of a new object.
func (s *Store) keep(h blob.Handle) (types.ObjectLockMode, *time.Time) {
	if s.opts.Retain <= 0 || h.Type == blob.Lock {
		return "", nil
	}
	return types.ObjectLockModeCompliance, aws.Time(upToSecond(s.opts.Now().Add(s.opts.Retain)))
}

// upToSecond rounds up: the protocol carries whole seconds on some servers.
func upToSecond(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); !whole.Equal(t) {
		return whole.Add(time.Second).UTC()
	}
	return t.UTC()
}

// put sends an object in one request.
func (s *Store) put(ctx context.Context, h blob.Handle, content watched, condition *string) error {
	sum, err := s.sum(content, 0, content.Size())
	if err != nil {
		return err
	}
	if h.Type != blob.Config && sum.sha != h.Name {
		return failure.New(failure.Corrupt, "save", h.String(), "the content has another SHA-256: %s", sum.sha)
	}
	mode, until := s.keep(h)
	_, err = s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.opts.Bucket, Key: aws.String(s.key(h)),
		Body: io.NewSectionReader(content, 0, content.Size()), ContentLength: aws.Int64(content.Size()), ContentMD5: sum.md5,
		ContentType: aws.String("application/octet-stream"), StorageClass: s.class(h), IfNoneMatch: condition,
		ObjectLockMode: mode, ObjectLockRetainUntilDate: until,
	}, signedAs(sum.sha))
	return err
}

// upload sends an object in parts, several at once. What fails is given up, so that its parts cost nothing.
func (s *Store) upload(ctx context.Context, h blob.Handle, content watched, condition *string) error {
	s.tidy.Do(func() { s.abandon(ctx) })
	mode, until := s.keep(h)
	begun, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.opts.Bucket, Key: aws.String(s.key(h)), ContentType: aws.String("application/octet-stream"),
		StorageClass: s.class(h), ObjectLockMode: mode, ObjectLockRetainUntilDate: until,
	})
	if err != nil {
		return err
	}
	parts, err := s.parts(ctx, h, content, begun.UploadId)
	if err == nil {
		_, err = s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &s.opts.Bucket, Key: aws.String(s.key(h)), UploadId: begun.UploadId, IfNoneMatch: condition,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
	}
	if err == nil {
		return nil
	}
	// An upload that was completed after all is not there any more, and giving it up changes nothing.
	s.giveUp(ctx, s.key(h), begun.UploadId)
	return err
}

// parts sends the parts of an upload.
func (s *Store) parts(ctx context.Context, h blob.Handle, content watched, id *string) ([]types.CompletedPart, error) {
	part := max(s.opts.PartSize, (content.Size()+mostParts-1)/mostParts)
	done := make([]types.CompletedPart, (content.Size()+part-1)/part)
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(partsAtOnce)
	for i := range done {
		group.Go(func() error {
			offset := int64(i) * part
			length := min(part, content.Size()-offset)
			sum, err := s.sum(content, offset, length)
			if err != nil {
				return err
			}
			out, err := s.client.UploadPart(within, &s3.UploadPartInput{
				Bucket: &s.opts.Bucket, Key: aws.String(s.key(h)), UploadId: id, PartNumber: aws.Int32(int32(i + 1)),
				Body: io.NewSectionReader(content, offset, length), ContentLength: aws.Int64(length), ContentMD5: sum.md5,
			}, signedAs(sum.sha))
			if err != nil {
				return err
			}
			done[i] = types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(int32(i + 1))}
			return nil
		})
	}
	return done, group.Wait()
}

// giveUp removes the parts of an upload, also when the work's context has ended.
func (s *Store) giveUp(ctx context.Context, key string, id *string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaning)
	defer cancel()
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.opts.Bucket, Key: &key, UploadId: id})
	if err != nil && codeOf(err) != "NoSuchUpload" {
		s.opts.Log.WarnContext(ctx, "an unfinished upload is left behind and costs its space", "store", s.subject, "key", key,
			"error", s.changed(ctx, err, "give up the upload of", key), "hint", "let the bucket's lifecycle end incomplete uploads after a few days")
	}
}

// abandon gives up uploads that were begun by processes which ended long ago. That it may not is no error.
func (s *Store) abandon(ctx context.Context) {
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.opts.Bucket, Prefix: aws.String(s.folder(blob.Pack))})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			s.opts.Log.DebugContext(ctx, "unfinished uploads cannot be listed", "store", s.subject, "error", s.fault(ctx, err, "list uploads of", s.subject))
			return
		}
		for _, u := range page.Uploads {
			if u.Initiated != nil && s.opts.Now().Sub(*u.Initiated) > unfinished {
				s.giveUp(ctx, aws.ToString(u.Key), u.UploadId)
			}
		}
	}
}
