package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

type vaultDumpOptions struct {
	req    api.VaultDumpRequest
	target string
}

func newVaultDump(v *vaultCommand) *cobra.Command {
	var filter pointFlags
	var opt vaultDumpOptions
	cmd := &cobra.Command{
		Use:   "dump POINT[:FOLDER] PATH",
		Short: "Write a file's content, or a folder as an archive, to standard output",
		Long: `A folder becomes a tar, or a zip with --archive zip; "/" is everything. With --target it goes to a file, which is there
only when it is whole. The output is the content itself, so there is no -o.`,
		Example: `  lifeboat vault dump latest /etc/fstab
  lifeboat vault dump latest /srv/www | tar -tv
  lifeboat vault dump latest:/srv/www / --archive zip --target www.zip`,
		Args:              wants("POINT", "PATH"),
		ValidArgsFunction: v.completePoints(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("target") && opt.target == "" {
				return usageError(cmd, "vault dump: --target is empty").WithHint("write --target FILE")
			}
			if opt.target == "" && v.IsTerminal(v.Out) && opt.req.Archive != "" {
				return usageError(cmd, "vault dump: an archive is nothing for a terminal").WithHint("write --target FILE, or > FILE")
			}
			opt.req.Point, opt.req.Path, opt.req.VaultPointFilter = args[0], args[1], filter.filter(v.Getenv)
			return runVaultDump(cmd.Context(), v, opt)
		},
	}
	cmd.Flags().StringVarP(&opt.req.Archive, "archive", "a", "", "`FORMAT` of a folder: tar (the default) or zip")
	cmd.Flags().StringVarP(&opt.target, "target", "t", "", "write to `FILE`")
	filter.declare(cmd, "with \"latest\": the latest")
	_ = cmd.MarkFlagFilename("target")
	return cmd
}

func runVaultDump(ctx context.Context, v *vaultCommand, opt vaultDumpOptions) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		opt.req.VaultAccess = a
		if opt.target == "" {
			_, err := svc.Dump(ctx, opt.req, &flagWriter{v.invocation})
			return err
		}
		var reply *api.VaultDumpReply
		err := writeFileWith(opt.target, func(w io.Writer) (err error) {
			reply, err = svc.Dump(ctx, opt.req, w)
			return err
		})
		if err == nil {
			_, err = fmt.Fprintf(v.Out, "wrote %d bytes of %s to %s\n", reply.Bytes, oneLine(reply.Path), oneLine(opt.target))
		}
		return err
	})
}

// writeFileWith has write fill path, whole or not at all. What is there and no regular file, such as a pipe, is written
// through.
func writeFileWith(path string, write func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return failure.WrapAs(failure.Denied, err, "write", path)
		}
		err = write(f)
		if closeErr := f.Close(); err == nil && closeErr != nil {
			err = failure.WrapAs(failure.Unavailable, closeErr, "write", path)
		}
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "write", path)
	}
	if err := write(tmp); err != nil {
		tmp.Close()
		os.Remove(tmp.Name()) // the error to tell is the first one
		return err
	}
	err = tmp.Sync()
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return failure.WrapAs(failure.Unavailable, err, "write", path)
	}
	return nil
}
