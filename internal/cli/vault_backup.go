package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

// vaultBackupOptions are the flags of a backup that the request has in another form.
type vaultBackupOptions struct {
	req                 api.VaultBackupRequest
	tags                []string
	time                string
	largerThan          string
	stdin, stdinCommand bool
	stdinName           string
}

func newVaultBackup(v *vaultCommand) *cobra.Command {
	var opt vaultBackupOptions
	cmd := withFormats(&cobra.Command{
		Use:   "backup [PATH...]",
		Short: "Back files and folders up",
		Long: `What has not changed since the last point of the same host and paths is not read again, and nothing that the vault has
is stored twice. A file that cannot be read, or that changes while it is read, is named and does not end the backup: the
point is made without it, and the exit code is 3.

Patterns are restic's: *.log holds for that name in every folder, /home/*/Downloads for the whole path, ** for any number
of folders; "!" before a pattern takes back what earlier ones matched. A list of files may be "-", standard input.`,
		Example: `  lifeboat vault backup /home /etc --exclude-caches --exclude "*.tmp"
  lifeboat vault backup --files-from list.txt --tag nightly
  pg_dump shop | lifeboat vault backup --stdin --stdin-filename shop.sql
  lifeboat vault backup --stdin-from-command --stdin-filename shop.sql -- pg_dump shop`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opt.complete(cmd, v, args); err != nil {
				return err
			}
			return runVaultBackup(cmd.Context(), v, opt.req)
		},
	}, "text", "json")
	opt.declare(cmd)
	return cmd
}

func (o *vaultBackupOptions) declare(cmd *cobra.Command) {
	f, r := cmd.Flags(), &o.req
	f.StringArrayVarP(&r.Exclude, "exclude", "e", nil, "leave out what matches `PATTERN` (may be repeated)")
	f.StringArrayVar(&r.ExcludeFold, "iexclude", nil, "as --exclude `PATTERN`, without telling capital from small letters")
	f.StringArrayVar(&r.ExcludeFiles, "exclude-file", nil, "`FILE` of patterns, one a line (may be repeated)")
	f.StringArrayVar(&r.ExcludeFoldFiles, "iexclude-file", nil, "as --exclude-file `FILE`, without telling capital from small letters")
	f.StringArrayVar(&r.ExcludeIfPresent, "exclude-if-present", nil, "leave out what is beside a file `NAME[:HEADER]` (may be repeated)")
	f.BoolVar(&r.ExcludeCaches, "exclude-caches", false, "leave out folders that CACHEDIR.TAG marks as caches")
	f.StringVar(&o.largerThan, "exclude-larger-than", "", "leave out files of more than `SIZE` (500K, 20M, 1G)")
	f.BoolVarP(&r.OneFileSystem, "one-file-system", "x", false, "stay on the file systems of the paths")
	f.StringArrayVar(&r.FilesFrom, "files-from", nil, "`FILE` of paths as patterns, one a line (may be repeated)")
	f.StringArrayVar(&r.FilesFromVerbatim, "files-from-verbatim", nil, "`FILE` of paths as they are, one a line (may be repeated)")
	f.StringArrayVar(&r.FilesFromRaw, "files-from-raw", nil, "`FILE` of paths, each ended by a zero byte (may be repeated)")
	f.StringArrayVar(&o.tags, "tag", nil, "give the point `TAG[,TAG...]` (may be repeated)")
	f.StringVarP(&r.Host, "host", "H", "", "the `HOST` the point is said to be of (default: $RESTIC_HOST, else this one)")
	f.StringVar(&o.time, "time", "", "the point's `TIME`, such as \"2026-11-01 22:08:41\" (default: now)")
	f.StringVar(&r.Parent, "parent", "", "compare with this `POINT` (default: the newest of the same host and paths)")
	f.StringVarP(&r.GroupBy, "group-by", "g", "host,paths", "what an earlier point has in common: of `host,paths,tags`")
	f.BoolVarP(&r.Force, "force", "f", false, "compare with no point: read everything")
	f.BoolVar(&r.IgnoreInode, "ignore-inode", false, "a file with another inode may be unchanged (network file systems)")
	f.BoolVar(&r.IgnoreCtime, "ignore-ctime", false, "a file with another change time may be unchanged")
	f.BoolVar(&r.SkipIfUnchanged, "skip-if-unchanged", false, "make no point when nothing has changed")
	f.BoolVar(&r.WithAtime, "with-atime", false, "store when files were read last")
	f.StringArrayVar(&r.FixedBlocks, "fixed-blocks", nil, "files that match `PATTERN` change in place, such as disk images")
	f.BoolVar(&o.stdin, "stdin", false, "back standard input up, as one file")
	f.BoolVar(&o.stdinCommand, "stdin-from-command", false, "back a program's output up; its command line is what follows --")
	f.StringVar(&o.stdinName, "stdin-filename", "stdin", "`NAME` of that file")
	f.BoolVarP(&r.DryRun, "dry-run", "n", false, "store nothing, only say what would be")
	f.BoolVar(&r.NoScan, "no-scan", false, "do not look how much there is, for the progress")
	f.IntVar(&r.Workers, "read-concurrency", 0, "read `N` files at once (default: $RESTIC_READ_CONCURRENCY, else what is right here)")
	for _, name := range []string{"exclude", "iexclude", "tag", "host", "time", "parent", "group-by", "exclude-larger-than", "stdin-filename"} {
		complete(cmd, name, cobra.NoFileCompletions)
	}
}

// complete turns flags and arguments into the request.
func (o *vaultBackupOptions) complete(cmd *cobra.Command, v *vaultCommand, args []string) error {
	r := &o.req
	var err error
	if o.largerThan != "" {
		if r.ExcludeLargerThan, err = parseSize(o.largerThan); err != nil {
			return inFlag(cmd, "exclude-larger-than", err)
		}
	}
	if o.time != "" && o.time != "now" {
		if r.Time, err = parseTime(o.time); err != nil {
			return inFlag(cmd, "time", err)
		}
	}
	for _, list := range o.tags {
		r.Tags = append(r.Tags, splitTags(list)...)
	}
	r.Host = first(r.Host, v.Getenv("RESTIC_HOST"))
	if r.Workers, err = numberOr(cmd, "read-concurrency", r.Workers, v.Getenv("RESTIC_READ_CONCURRENCY")); err != nil {
		return err
	}
	if r.Force && r.Parent != "" {
		return usageError(cmd, "vault backup: --force and --parent exclude each other")
	}
	switch {
	case o.stdinCommand:
		if len(args) == 0 {
			return usageError(cmd, "vault backup: --stdin-from-command needs a command").
				WithHint("write: lifeboat vault backup --stdin-from-command --stdin-filename NAME -- COMMAND ARGS")
		}
		r.Stdin, r.StdinCommand = o.stdinName, args
	case o.stdin:
		if len(args) > 0 {
			return usageError(cmd, "vault backup: --stdin is backed up alone, and got %q", args[0]).WithHint("leave the paths out")
		}
		r.Stdin, v.inputTaken = o.stdinName, true
	default:
		if cmd.Flags().Changed("stdin-filename") {
			return usageError(cmd, "vault backup: --stdin-filename does nothing without --stdin")
		}
		if r.Paths = args; len(args)+len(r.FilesFrom)+len(r.FilesFromVerbatim)+len(r.FilesFromRaw) == 0 {
			return usageError(cmd, "vault backup: there is nothing to back up").WithHint("name files and folders, or lists of them with --files-from")
		}
		for _, list := range [][]string{r.FilesFrom, r.FilesFromVerbatim, r.FilesFromRaw} {
			v.inputTaken = v.inputTaken || contains(list, "-")
		}
	}
	if (o.stdin || o.stdinCommand) && o.stdinName == "" {
		return usageError(cmd, "vault backup: --stdin-filename is empty").WithHint("write --stdin-filename NAME")
	}
	return nil
}

func runVaultBackup(ctx context.Context, v *vaultCommand, req api.VaultBackupRequest) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		watch, end := v.watch()
		reply, err := svc.Backup(ctx, req, v.lines.in, watch)
		end()
		if err != nil {
			return err
		}
		if err := show(v.invocation, reply, term.VaultBackup); err != nil {
			return err
		}
		if reply.Errors > 0 {
			return quiet{ExitUnfinished}
		}
		return nil
	})
}

// timeLayouts are the ways to write a time, those of restic among them.
var timeLayouts = []string{
	time.DateTime, "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 MST", "2006-01-02 15:04", time.DateOnly,
	time.RFC3339, "2006-01-02T15:04:05", "02.01.2006 15:04:05", "02.01.2006 15:04", "02.01.2006",
}

// parseTime reads an instant; without a zone it is of this machine's.
func parseTime(text string) (time.Time, error) {
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, failure.New(failure.Invalid, "", "", "%q is no time", text).WithHint("write it as 2026-11-01, or as \"2026-11-01 22:08:41\"")
}
