package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

// pgBackRestPass is the variable that pgBackRest itself reads the passphrase of its first repository from.
const pgBackRestPass = "PGBACKREST_REPO1_CIPHER_PASS"

func newVaultImport(v *vaultCommand) *cobra.Command {
	var req api.VaultImportRequest
	var app, resource, passFile string
	cmd := withFormats(&cobra.Command{
		Use:   "import-pgbackrest --stanza STANZA --app APP --resource RESOURCE",
		Short: "Make points of the backups in a pgBackRest repository",
		Long: `Every full, differential and incremental backup becomes a recovery point of the app's postgres resource: whole and by
itself, with the time that it has, and with what points have in common stored once. The archived log comes too, so that any
instant can be restored to that pgBackRest could restore to. The repository is only read.

What was imported is passed over when the import is done again, after an interruption or when pgBackRest has made more
backups. A backup of which a file is damaged, or whose own log is missing, does not become a point: it is named with every
such file, everything else is imported, and the exit code says so.

--from names the repository: the folder that repo1-path says, or s3:https://HOST/BUCKET/PREFIX with AWS's usual variables.
--pgbackrest-config takes all of it from a pgbackrest.conf, the passphrase and the keys too. The passphrase of an encrypted
repository can also be in ` + pgBackRestPass + `.`,
		Example: `  lifeboat vault import-pgbackrest -r main --from /var/lib/pgbackrest --stanza main --app shop --resource db --dry-run
  lifeboat vault import-pgbackrest -r main --pgbackrest-config /etc/pgbackrest.conf --stanza main --app shop --resource db
  lifeboat vault import-pgbackrest -r main --from s3:https://s3.example.org/bucket/pg --stanza main --app shop --resource db`,
		Args:       cobra.NoArgs,
		SuggestFor: []string{"import", "pgbackrest"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, must := range []struct{ flag, value string }{{"stanza", req.Stanza}, {"app", app}, {"resource", resource}} {
				if must.value == "" {
					return usageError(cmd, "vault import-pgbackrest: --%s is missing", must.flag).
						WithHint("write --stanza STANZA --app APP --resource RESOURCE, the last two as in lifeboat.yaml")
				}
			}
			if req.From == "" && req.Config == "" {
				return usageError(cmd, "vault import-pgbackrest: the repository is not named").WithHint("write --from FOLDER or --pgbackrest-config FILE")
			}
			if req.Number < 1 {
				return usageError(cmd, "vault import-pgbackrest: repositories are counted from 1 on").WithHint("leave --repo-number out for the first one")
			}
			req.App, req.Resource = model.AppID(app), model.ResourceID(resource)
			return runVaultImport(cmd.Context(), v, req, passFile)
		},
	}, "text", "json")
	f := cmd.Flags()
	f.StringVar(&req.From, "from", "", "the repository: a `FOLDER` or a bucket's URL")
	f.StringVar(&req.Config, "pgbackrest-config", "", "take from this `FILE` what is not said here")
	f.IntVar(&req.Number, "repo-number", 1, "`N`: which repository of that file, as in repo1-path")
	f.StringVar(&req.Stanza, "stanza", "", "the `STANZA`")
	f.StringVar(&passFile, "cipher-pass-file", "", "read the repository's passphrase from `FILE` (default: $"+pgBackRestPass+")")
	f.StringVar(&app, "app", "", "the `APP` whose points they become")
	f.StringVar(&resource, "resource", "", "its postgres `RESOURCE`")
	f.StringArrayVar(&req.Only, "only", nil, "only the backup with this `LABEL`, and the log from there on (may be repeated)")
	f.BoolVarP(&req.DryRun, "dry-run", "n", false, "write nothing, only say what would come")
	f.IntVar(&req.Workers, "workers", 0, "read `N` files at once (default: one for each core)")
	return cmd
}

func runVaultImport(ctx context.Context, v *vaultCommand, req api.VaultImportRequest, passFile string) error {
	if passFile != "" {
		pass, err := passwordIn(passFile, "--cipher-pass-file")
		if err != nil {
			return err
		}
		req.CipherPass = &pass
	} else if text := v.Getenv(pgBackRestPass); text != "" {
		pass := api.Passphrase(text)
		req.CipherPass = &pass
	}
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		watch, end := v.watch()
		reply, err := svc.ImportPgBackRest(ctx, req, watch)
		end()
		if reply != nil {
			if showErr := show(v.invocation, reply, term.VaultImport); showErr != nil {
				return showErr
			}
		}
		return err
	})
}
