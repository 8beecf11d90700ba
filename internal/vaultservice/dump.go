package vaultservice

import (
	"context"
	"io"
	"path"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
)

// Dump writes one file's content, or a folder as an archive.
func (s *Service) Dump(ctx context.Context, req api.VaultDumpRequest, w io.Writer) (*api.VaultDumpReply, error) {
	format := restorer.Format(first(req.Archive, string(restorer.Tar)))
	if format != restorer.Tar && format != restorer.Zip {
		return nil, failure.New(failure.Invalid, "dump", "", "%q is no archive format", req.Archive).WithHint("write --archive tar or --archive zip")
	}
	reply := &api.VaultDumpReply{}
	err := s.locked(ctx, req.VaultAccess, func(ctx context.Context, v *vault.Vault) error {
		sn, root, base, err := findRoot(ctx, v, req.Point, req.VaultPointFilter)
		if err != nil {
			return err
		}
		p := cleanPath(req.Path)
		reply.Point, reply.Path = sn.ID.String(), path.Join(base, p)
		reply.Bytes, err = restorer.Dump(ctx, v, root, p, format, w)
		return inPoint(err, sn)
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}
