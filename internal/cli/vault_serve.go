package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

func newVaultServe(v *vaultCommand) *cobra.Command {
	var req api.VaultServeRequest
	quota := ""
	cmd := withFormats(&cobra.Command{
		Use:   "serve --data FOLDER",
		Short: "Serve vaults to other hosts over restic's REST protocol",
		Long: `Repositories lie in FOLDER, in restic's layout. Every user has the folder of his name, and nobody else's, as with
rest-server's --private-repos. With --append-only hosts can add and restore, and neither delete nor overwrite: what a
stolen host cannot undo; only users that are admins can prune. The server has no key and cannot read what it keeps.

Without TLS it listens on this machine only. --tls-self-signed makes a certificate, which others trust by --cacert.
Ctrl-C or SIGTERM lets requests finish, and ends it with exit code 0.`,
		Example: `  lifeboat vault serve user add web1 --data /srv/vaults --append-only
  lifeboat vault serve --data /srv/vaults --listen 0.0.0.0:8000 --tls-self-signed --tls-host backup.example.org --append-only
  lifeboat vault serve --data /srv/vaults --listen unix:/run/vaults.sock --no-auth`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			switch {
			case req.Folder == "":
				return usageError(cmd, "vault serve: --data is missing").WithHint("write --data FOLDER, where the repositories are to lie")
			case (req.Cert == "") != (req.Key == ""):
				return usageError(cmd, "vault serve: --tls-cert and --tls-key go together").WithHint("name both files, or use --tls-self-signed")
			case req.SelfSigned && req.Cert != "":
				return usageError(cmd, "vault serve: --tls-self-signed and --tls-cert exclude each other")
			case len(req.Hosts) > 0 && !req.SelfSigned:
				return usageError(cmd, "vault serve: --tls-host does nothing without --tls-self-signed")
			case req.NoAuth && req.Users != "":
				return usageError(cmd, "vault serve: --no-auth and --htpasswd-file exclude each other")
			case req.NoTLS && (req.Cert != "" || req.SelfSigned):
				return usageError(cmd, "vault serve: --no-tls and a certificate exclude each other")
			}
			if quota != "" {
				if req.Quota, err = parseSize(quota); err != nil {
					return inFlag(cmd, "quota", err)
				}
			}
			if req.SelfSigned && len(req.Hosts) == 0 {
				req.Hosts = []string{"localhost", "127.0.0.1", "::1"}
			}
			return runVaultServe(cmd.Context(), v, req)
		},
	}, "text", "json")
	f := cmd.Flags()
	f.StringVar(&req.Folder, "data", "", "`FOLDER` of the repositories")
	f.StringVar(&req.Listen, "listen", "127.0.0.1:8000", "`ADDRESS` to listen on: HOST:PORT (port 0: any that is free) or unix:/path")
	f.StringVar(&req.Cert, "tls-cert", "", "`FILE` with the server's certificate; read again when it changes")
	f.StringVar(&req.Key, "tls-key", "", "`FILE` with its key")
	f.BoolVar(&req.SelfSigned, "tls-self-signed", false, "make a certificate in the folder, or use the one that was made there")
	f.StringArrayVar(&req.Hosts, "tls-host", nil, "`NAME` or address that it is for (may be repeated; default: this machine's loopback)")
	f.BoolVar(&req.NoTLS, "no-tls", false, "listen without TLS: something in front of it has that")
	f.StringVar(&req.Users, "htpasswd-file", "", "`FILE` of users (default: .htpasswd in the folder)")
	f.BoolVar(&req.NoAuth, "no-auth", false, "let everybody in who reaches it")
	f.BoolVar(&req.AppendOnly, "append-only", false, "nobody but admins can delete")
	f.StringVar(&quota, "quota", "", "each user's folder takes at most `SIZE`, such as 500G")
	_ = cmd.MarkFlagDirname("data")
	cmd.AddCommand(newVaultServeUser(v))
	return cmd
}

func runVaultServe(ctx context.Context, v *vaultCommand, req api.VaultServeRequest) error {
	svc, err := v.vaults()
	if err != nil {
		return err
	}
	var written error
	err = svc.Serve(ctx, req, func(s api.VaultServing) {
		if v.json() {
			written = v.writeJSON(s)
			return
		}
		written = term.VaultServing(v.Out, &s, v.style(v.Out))
	})
	if err == nil {
		err = written
	}
	return err
}

func newVaultServeUser(v *vaultCommand) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "user",
		Short: "Say who may use a server",
		Long:  "Users are in a file as htpasswd -B makes it. A server that runs notices changes by itself.",
		Example: `  lifeboat vault serve user add web1 --data /srv/vaults --append-only
  lifeboat vault serve user list --data /srv/vaults
  lifeboat vault serve user remove web1 --data /srv/vaults`,
		SuggestFor: []string{"users"},
	})
	cmd.AddCommand(newVaultServeUserAdd(v), newVaultServeUserRemove(v), newVaultServeUserList(v))
	return cmd
}

// userFlags declares where the users are.
func userFlags(cmd *cobra.Command, req *api.VaultUserRequest) {
	cmd.Flags().StringVar(&req.Folder, "data", "", "`FOLDER` of the server's repositories")
	cmd.Flags().StringVar(&req.Users, "htpasswd-file", "", "`FILE` of users (default: .htpasswd in the folder)")
	_ = cmd.MarkFlagDirname("data")
}

func checkUserFlags(cmd *cobra.Command, req *api.VaultUserRequest) error {
	if req.Folder == "" && req.Users == "" {
		return usageError(cmd, "%s: --data is missing", name(cmd)).WithHint("write --data FOLDER, the server's, or --htpasswd-file FILE")
	}
	return nil
}

func newVaultServeUserAdd(v *vaultCommand) *cobra.Command {
	var req api.VaultUserRequest
	file := ""
	cmd := withFormats(&cobra.Command{
		Use:   "add NAME",
		Short: "Add a user, or change his password and what he may",
		Example: `  lifeboat vault serve user add web1 --data /srv/vaults --append-only
  lifeboat vault serve user add keeper --data /srv/vaults --admin --user-password-file keeper.pw`,
		Args: wants("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if req.Admin && req.AppendOnly {
				return usageError(cmd, "%s: --admin and --append-only exclude each other", name(cmd))
			}
			if err := checkUserFlags(cmd, &req); err != nil {
				return err
			}
			req.Name = args[0]
			return runVaultServeUserAdd(cmd.Context(), v, req, file)
		},
	}, "text", "json")
	userFlags(cmd, &req)
	cmd.Flags().BoolVar(&req.AppendOnly, "append-only", false, "may not delete, also where the server lets others")
	cmd.Flags().BoolVar(&req.Admin, "admin", false, "may use every repository, and delete also where the server is append-only")
	cmd.Flags().StringVar(&file, "user-password-file", "", "read the user's password from `FILE` (default: asked for)")
	return cmd
}

func runVaultServeUserAdd(ctx context.Context, v *vaultCommand, req api.VaultUserRequest, file string) error {
	svc, err := v.vaults()
	if err != nil {
		return err
	}
	var password api.Passphrase
	if file != "" {
		password, err = passwordIn(file, "--user-password-file")
	} else {
		password, err = v.askNewPassword(ctx, "password of "+req.Name+": ")
	}
	if err != nil {
		return err
	}
	req.Password = &password
	if err := svc.SetUser(ctx, req); err != nil {
		return err
	}
	if v.json() {
		return v.writeJSON(req.VaultUser)
	}
	_, err = fmt.Fprintf(v.Out, "%s may use the server: rest:https://%s@HOST:PORT/%s/\n", req.Name, req.Name, req.Name)
	return err
}

func newVaultServeUserRemove(v *vaultCommand) *cobra.Command {
	var req api.VaultUserRequest
	cmd := withFormats(&cobra.Command{
		Use:     "remove NAME",
		Short:   "Let a user in no more; his repositories stay",
		Example: `  lifeboat vault serve user remove web1 --data /srv/vaults`,
		Args:    wants("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkUserFlags(cmd, &req); err != nil {
				return err
			}
			svc, err := v.vaults()
			if err != nil {
				return err
			}
			req.Name = args[0]
			if err := svc.RemoveUser(cmd.Context(), req); err != nil {
				return err
			}
			if v.json() {
				return v.writeJSON(req.VaultUser)
			}
			_, err = fmt.Fprintf(v.Out, "%s is let in no more; his repositories stay\n", req.Name)
			return err
		},
	}, "text", "json")
	userFlags(cmd, &req)
	return cmd
}

func newVaultServeUserList(v *vaultCommand) *cobra.Command {
	var req api.VaultUserRequest
	cmd := withFormats(&cobra.Command{
		Use:     "list",
		Short:   "List who may use a server",
		Example: `  lifeboat vault serve user list --data /srv/vaults`,
		Args:    wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkUserFlags(cmd, &req); err != nil {
				return err
			}
			svc, err := v.vaults()
			if err != nil {
				return err
			}
			users, err := svc.Users(cmd.Context(), req)
			if err != nil {
				return err
			}
			return show(v.invocation, users, term.VaultUsers)
		},
	}, "text", "json")
	userFlags(cmd, &req)
	return cmd
}
