package location

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/cache"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/limit"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/retry"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/s3"
	"github.com/lifeboat-dr/lifeboat/model"
)

// noCache is what stands in a vault's configuration when nothing is to be cached.
const noCache = "none"

// withReplicas is how long a call is tried on a vault that has replicas: whoever waits could read from one of them.
const withReplicas = time.Minute

// far reports whether there is a network between here and the store.
func (l Location) far() bool { return l.Scheme == Rest || l.Scheme == S3 }

// around lays bounds, retries and a cache around a store. What lies on this machine needs none of it, unless bounds are
// asked for.
func around(store blob.Store, l Location, v model.Vault, o Options) blob.Store {
	if l.far() || v.Connections > 0 || v.Upload > 0 || v.Download > 0 {
		store = limit.Wrap(store, limit.Options{Connections: v.Connections, Upload: v.Upload, Download: v.Download})
	}
	if !l.far() {
		return store
	}
	patience := retry.Options{Budget: o.Patience, Log: o.Log}
	if len(v.Replicas) > 0 && (o.Patience <= 0 || o.Patience > withReplicas) {
		patience.Budget = withReplicas
	}
	store = retry.Wrap(store, patience)
	folder := v.Cache
	if folder == noCache {
		return store
	}
	if folder == "" {
		var err error
		if folder, err = cache.DefaultFolder(); err != nil {
			return store // a machine without a home has no cache
		}
	}
	return cache.Wrap(store, cache.Options{Folder: folder, Log: o.Log})
}

// openS3 opens a bucket.
func openS3(ctx context.Context, l Location, v model.Vault, o Options) (blob.Store, error) {
	secure, err := tlsConfig(v)
	if err != nil {
		return nil, err
	}
	opts := s3.Options{
		Endpoint: l.Endpoint, Bucket: l.Bucket, Prefix: l.Prefix, Retain: time.Duration(v.Retain), Connections: v.Connections, TLS: secure, Log: o.Log,
	}
	if c := v.S3; c != nil {
		opts.Region, opts.Style, opts.StorageClass = c.Region, c.Style, c.StorageClass
		opts.Profile, opts.Role, opts.ExternalID = c.Profile, c.Role, c.ExternalID
		for _, one := range []struct {
			ref  string
			into *string
		}{{c.AccessKey, &opts.AccessKey}, {c.SecretKey, &opts.SecretKey}, {c.SessionToken, &opts.SessionToken}} {
			if *one.into, err = resolve(ctx, one.ref); err != nil {
				return nil, failure.Wrap(err, "read the credentials for", l.String())
			}
		}
	}
	return s3.Open(ctx, opts)
}
