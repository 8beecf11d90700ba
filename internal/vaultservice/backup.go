package vaultservice

import (
	"context"
	"errors"
	"io"
	"path"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/filter"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	"github.com/lifeboat-dr/lifeboat/model"
)

// maxProblems is how many problems a reply names.
const maxProblems = 100

// Backup makes a point.
func (s *Service) Backup(ctx context.Context, req api.VaultBackupRequest, stdin io.Reader, watch api.VaultWatch) (*api.VaultBackupReply, error) {
	start := s.opts.Now()
	if watch == nil {
		watch = func(api.VaultEvent) {}
	}
	if !req.DryRun {
		if err := writable(req.VaultAccess, "back up"); err != nil {
			return nil, err
		}
	}
	group, err := retention.ParseGroupBy(first(req.GroupBy, "host,paths"))
	if err != nil {
		return nil, err
	}
	reply := &api.VaultBackupReply{DryRun: req.DryRun}
	o, err := backupOptions(req, stdin, reply, watch)
	if err != nil {
		return nil, err
	}
	o.Program = s.opts.Program
	err = s.with(ctx, req.VaultAccess, func(v *vault.Vault) (err error) {
		if len(req.StdinCommand) > 0 {
			cmd, err := archiver.NewCommand(ctx, req.StdinCommand, s.opts.Stderr)
			if err != nil {
				return err
			}
			defer cmd.Close()
			o.Virtual[0].Content = cmd
		}
		switch {
		case req.Force:
		case req.Parent != "":
			o.Parent, err = findPoint(ctx, v, req.Parent, api.VaultPointFilter{})
		default:
			o.Parent, err = archiver.FindParent(ctx, v, o, archiver.Group{Host: group.Host, Paths: group.Paths, Tags: group.Tags})
		}
		if err != nil {
			return err
		}
		return s.archive(ctx, v, req, o, reply)
	})
	reply.Took = model.Duration(s.opts.Now().Sub(start))
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// archive runs the backup in a session of its own.
func (s *Service) archive(ctx context.Context, v *vault.Vault, req api.VaultBackupRequest, o archiver.Options, reply *api.VaultBackupReply) (err error) {
	begin := v.NewSession
	if req.DryRun {
		begin = v.NewRehearsal
	}
	session, err := begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := session.Close(ctx); err == nil && closeErr != nil {
			err = failure.Wrap(closeErr, "end the backup", v.Location())
		}
	}()
	result, err := archiver.Run(ctx, session, o)
	if err != nil {
		return err
	}
	reply.Errors, reply.Skipped = result.Errors, result.Skipped
	if result.Snapshot != nil && !result.Snapshot.ID.IsZero() {
		p := pointOf(result.Snapshot)
		reply.Point = &p
	}
	sum := result.Summary
	reply.FilesNew, reply.FilesChanged, reply.FilesUnmodified = sum.FilesNew, sum.FilesChanged, sum.FilesUnmodified
	reply.DirsNew, reply.DirsChanged, reply.DirsUnmodified = sum.DirsNew, sum.DirsChanged, sum.DirsUnmodified
	reply.DataBlobs, reply.TreeBlobs = sum.DataBlobs, sum.TreeBlobs
	reply.DataAdded, reply.DataAddedPacked = sum.DataAdded, sum.DataAddedPacked
	reply.Files, reply.Bytes = sum.TotalFilesProcessed, sum.TotalBytesProcessed
	return nil
}

// backupOptions is what req asks for, as the archiver has it.
func backupOptions(req api.VaultBackupRequest, stdin io.Reader, reply *api.VaultBackupReply, watch api.VaultWatch) (archiver.Options, error) {
	o := archiver.Options{
		Exclude:          filter.Rules{Patterns: req.Exclude, Fold: req.ExcludeFold, Files: req.ExcludeFiles, FoldFiles: req.ExcludeFoldFiles},
		ExcludeIfPresent: req.ExcludeIfPresent, ExcludeCaches: req.ExcludeCaches, ExcludeLargerThan: req.ExcludeLargerThan,
		OneFileSystem: req.OneFileSystem, IgnoreInode: req.IgnoreInode, IgnoreCtime: req.IgnoreCtime,
		SkipIfUnchanged: req.SkipIfUnchanged, WithAtime: req.WithAtime, FixedBlocks: req.FixedBlocks, Host: req.Host, Tags: req.Tags,
		Time: req.Time, NoScan: req.NoScan, Workers: req.Workers,
	}
	if req.Stdin != "" {
		if len(req.Paths)+len(req.FilesFrom)+len(req.FilesFromVerbatim)+len(req.FilesFromRaw) > 0 {
			return o, failure.New(failure.Invalid, "back up", "", "standard input is backed up alone, without paths").
				WithHint("make two points: one of the paths, one of standard input")
		}
		o.Virtual = []archiver.Virtual{{Path: path.Clean("/" + req.Stdin), Content: stdin}}
	} else {
		lists := filter.Lists{Glob: req.FilesFrom, Verbatim: req.FilesFromVerbatim, Raw: req.FilesFromRaw}
		paths, unmatched, err := lists.Read(stdin)
		if err != nil {
			return o, err
		}
		reply.Unmatched = unmatched
		for _, pattern := range unmatched {
			watch(api.VaultEvent{Problem: failure.New(failure.NotFound, "", "", "the pattern %q matches no file", pattern)})
		}
		if o.Paths = append(append(o.Paths, req.Paths...), paths...); len(o.Paths) == 0 {
			return o, failure.New(failure.Invalid, "back up", "", "there is nothing to back up").
				WithHint("name files and folders, or lists of them with --files-from")
		}
	}
	o.OnError = func(p string, err error) error {
		e := failure.From(failure.Wrap(err, "", p))
		if errors.Is(err, context.Canceled) {
			return err
		}
		if len(reply.Problems) < maxProblems {
			reply.Problems = append(reply.Problems, e)
		}
		watch(api.VaultEvent{Problem: e})
		return nil
	}
	o.Item = func(i archiver.Item) {
		watch(api.VaultEvent{Item: &api.VaultItem{Path: i.Path, Action: string(i.Action), Size: int64(i.Size)}})
	}
	o.Progress = func(p archiver.Progress) {
		e := api.VaultEvent{Phase: "backing up", Files: int64(p.Files), Bytes: int64(p.Bytes)}
		if p.Scanned {
			e.TotalFiles, e.TotalBytes = int64(p.TotalFiles), int64(p.TotalBytes)
		}
		if len(p.Current) > 0 {
			e.Current = p.Current[0]
		}
		watch(e)
	}
	return o, nil
}

// first gives the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
