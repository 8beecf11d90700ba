package s3

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// MakeLocked makes a bucket with Object Lock.
func MakeLocked(tb testing.TB, o Options) {
	tb.Helper()
	o.Retain = time.Hour
	s, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Create(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// Unfinished counts the uploads in parts of an object that were begun and not ended.
func Unfinished(tb testing.TB, s *Store, h blob.Handle) int {
	tb.Helper()
	out, err := s.client.ListMultipartUploads(tb.Context(), &s3.ListMultipartUploadsInput{Bucket: &s.opts.Bucket, Prefix: aws.String(s.key(h))})
	if err != nil {
		tb.Fatal(err)
	}
	return len(out.Uploads)
}
