package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
)

func newVaultMount(v *vaultCommand) *cobra.Command {
	var req api.VaultMountRequest
	var filter pointFlags
	cmd := withFormats(&cobra.Command{
		Use:   "mount FOLDER",
		Short: "Show a vault as a read-only folder, until interrupted",
		Long: `Points are below ids, snapshots, hosts and tags, each with a link "latest". Only what is read is fetched. It needs FUSE.
Ctrl-C, SIGTERM or umount ends it with exit code 0.`,
		Example: `  lifeboat vault mount /mnt
  lifeboat vault mount /mnt --host web1 --allow-other`,
		Args: wants("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if req.NoDefaultPermissions && !req.AllowOther {
				return usageError(cmd, "vault mount: --no-default-permissions does nothing without --allow-other")
			}
			req.Folder, req.VaultPointFilter = args[0], filter.filter(v.Getenv)
			return runVaultMount(cmd.Context(), v, req)
		},
	}, "text", "json")
	f := cmd.Flags()
	f.BoolVar(&req.AllowOther, "allow-other", false, "let other users in, as far as modes allow")
	f.BoolVar(&req.NoDefaultPermissions, "no-default-permissions", false, "let them read everything, whatever the modes say")
	f.BoolVar(&req.OwnerRoot, "owner-root", false, "show everything as owned by root")
	f.StringArrayVar(&req.Templates, "path-template", nil, "`TEMPLATE` of where points are, as with restic (may be repeated)")
	f.StringVar(&req.TimeFormat, "time-template", "", "how times are written there, in Go's `LAYOUT`")
	filter.declare(cmd, "only points")
	return cmd
}

func runVaultMount(ctx context.Context, v *vaultCommand, req api.VaultMountRequest) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		var written error
		err := svc.Mount(ctx, req, func() {
			if v.json() {
				written = v.writeJSON(map[string]string{"folder": req.Folder})
				return
			}
			_, written = fmt.Fprintf(v.Out, "mounted at %s; end it with Ctrl-C or: umount %s\n", oneLine(req.Folder), shellWord(req.Folder))
		})
		if err == nil {
			err = written
		}
		return err
	})
}
