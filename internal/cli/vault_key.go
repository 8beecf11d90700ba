package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

func newVaultKey(v *vaultCommand) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "key",
		Short: "List, add, remove and change passwords",
		Long: `Several passwords can open a vault, each through a key of its own; all lead to the same master key. A password that leaked
together with a key file has given the master key away: only copying everything into a new vault undoes that.`,
		Example: `  lifeboat vault key list
  lifeboat vault key add
  lifeboat vault key passwd
  lifeboat vault key remove 3fa9e0c1`,
	})
	cmd.AddCommand(newVaultKeyList(v), newVaultKeyAdd(v), newVaultKeyPasswd(v), newVaultKeyRemove(v))
	return cmd
}

func newVaultKeyList(v *vaultCommand) *cobra.Command {
	return withFormats(&cobra.Command{
		Use:     "list",
		Short:   "List the keys, oldest first",
		Long:    "The key that opened the vault for this command is marked.",
		Example: `  lifeboat vault key list`,
		Args:    wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
				keys, err := svc.Keys(ctx, a)
				if err != nil && len(keys) == 0 {
					return err
				}
				if showErr := show(v.invocation, keys, term.VaultKeys); showErr != nil {
					return showErr
				}
				return err
			})
		},
	}, "text", "json")
}

// newPasswordOptions say what the new key's password is, and who it is for.
type newPasswordOptions struct {
	file string
	none bool
	req  api.VaultKeyRequest
}

func (o *newPasswordOptions) declare(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.file, "new-password-file", "", "read the new password from `FILE`")
	cmd.Flags().BoolVar(&o.none, "new-insecure-no-password", false, "the new password is empty")
	_ = cmd.MarkFlagFilename("new-password-file")
}

// check finds what cannot go together.
func (o *newPasswordOptions) check(cmd *cobra.Command) error {
	if o.none && o.file != "" {
		return usageError(cmd, "%s: --new-password-file and --new-insecure-no-password exclude each other", name(cmd)).WithHint("leave one of them out")
	}
	return nil
}

// run asks for the new password where it is not given, and makes the change.
func (o *newPasswordOptions) run(ctx context.Context, v *vaultCommand, done string,
	change func(api.Vaults, api.VaultKeyRequest) (*api.VaultKey, error)) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) (err error) {
		o.req.VaultAccess = a
		var password api.Passphrase
		switch {
		case o.none:
		case o.file != "":
			password, err = passwordIn(o.file, "--new-password-file")
		default:
			if _, err = svc.Keys(ctx, a); err == nil { // a wrong password is said before a new one is asked for
				password, err = v.askNewPassword(ctx, "new password: ")
			}
		}
		if err != nil {
			return err
		}
		o.req.NewPassword = &password
		key, err := change(svc, o.req)
		if err != nil {
			return err
		}
		if v.json() {
			return v.writeJSON(key)
		}
		_, err = fmt.Fprintf(v.Out, done+"\n", key.ID[:min(8, len(key.ID))])
		return err
	})
}

func newVaultKeyAdd(v *vaultCommand) *cobra.Command {
	var opt newPasswordOptions
	cmd := withFormats(&cobra.Command{
		Use:   "add",
		Short: "Let another password open the vault",
		Example: `  lifeboat vault key add
  lifeboat vault key add --new-password-file second.key --host web1 --user backup`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opt.check(cmd); err != nil {
				return err
			}
			return opt.run(cmd.Context(), v, "added key %s", func(svc api.Vaults, req api.VaultKeyRequest) (*api.VaultKey, error) {
				return svc.AddKey(cmd.Context(), req)
			})
		},
	}, "text", "json")
	opt.declare(cmd)
	cmd.Flags().StringVar(&opt.req.Username, "user", "", "the `USER` that the key is said to be for (default: you)")
	cmd.Flags().StringVar(&opt.req.Hostname, "host", "", "the `HOST` that the key is said to be for (default: this one)")
	return cmd
}

func newVaultKeyPasswd(v *vaultCommand) *cobra.Command {
	var opt newPasswordOptions
	cmd := withFormats(&cobra.Command{
		Use:   "passwd",
		Short: "Put another password in place of the one that opened the vault",
		Long:  "The new key is shown to work before the old one goes.",
		Example: `  lifeboat vault key passwd
  lifeboat vault key passwd --new-password-file new.key`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opt.check(cmd); err != nil {
				return err
			}
			return opt.run(cmd.Context(), v, "the password is changed; its key is %s", func(svc api.Vaults, req api.VaultKeyRequest) (*api.VaultKey, error) {
				return svc.ChangePassword(cmd.Context(), req)
			})
		},
	}, "text", "json")
	opt.declare(cmd)
	return cmd
}

func newVaultKeyRemove(v *vaultCommand) *cobra.Command {
	yes := false
	cmd := withFormats(&cobra.Command{
		Use:     "remove ID",
		Short:   "Take a password's way into the vault away",
		Long:    "ID may be shortened. The key that opened the vault is not removed: open it with another password first.",
		Example: `  lifeboat vault key remove 3fa9e0c1`,
		Args:    wants("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runVaultKeyRemove(cmd.Context(), v, args[0], yes)
		},
	}, "text", "json")
	yesFlag(cmd, &yes)
	return cmd
}

func runVaultKeyRemove(ctx context.Context, v *vaultCommand, id string, yes bool) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		if err := v.confirmed(ctx, yes, "removing the key "+id, id); err != nil {
			return err
		}
		key, err := svc.RemoveKey(ctx, api.VaultKeyRequest{VaultAccess: a, Key: id})
		if err != nil {
			return err
		}
		if v.json() {
			return v.writeJSON(key)
		}
		_, err = fmt.Fprintf(v.Out, "removed key %s\n", key.ID[:min(8, len(key.ID))])
		return err
	})
}
