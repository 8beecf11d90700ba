package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// The groups of `lifeboat vault --help`.
const (
	groupVaultUse  = "vault-use"
	groupVaultLook = "vault-look"
	groupVaultKeep = "vault-keep"
	groupVaultOwn  = "vault-own"
)

func newVault(inv *invocation) *cobra.Command {
	v := &vaultCommand{invocation: inv}
	cmd := group(&cobra.Command{
		Use:   "vault",
		Short: "Back up into vaults, look into them, restore from them, and keep them sound",
		Long: `A vault is an encrypted, deduplicated store of recovery points: a repository in restic's format. Repositories that
restic made are vaults, and restic checks and restores what is written here. Commands and flags have restic's names, and
restic's environment variables are understood (see "lifeboat help environment"); only -o is the output format here, and
not one of restic's extended options.

-r names the vault: a folder, s3:https://HOST/BUCKET/PREFIX, rest:https://HOST:8000/PATH/, or the name of a vault in
lifeboat.yaml (write ./NAME for a folder that is called the same). The password comes from a flag, a variable or the
configuration; else it is asked for. It is never an argument.

POINT is a recovery point's id, any beginning of it that only one point has, or "latest".`,
		Example: `  lifeboat vault init -r /srv/vault
  lifeboat vault backup -r /srv/vault /home /etc
  lifeboat vault points -r /srv/vault
  lifeboat vault restore latest -r /srv/vault --target /tmp/back
  lifeboat vault check -r /srv/vault --read-data`,
		SuggestFor: []string{"restic", "repo", "repository"},
	})
	v.flags.declare(cmd.PersistentFlags())
	cmd.PersistentFlags().SortFlags = false
	for _, g := range []*cobra.Group{
		{ID: groupVaultUse, Title: "To back up and to restore"},
		{ID: groupVaultLook, Title: "To look"},
		{ID: groupVaultKeep, Title: "To keep it sound and small"},
		{ID: groupVaultOwn, Title: "Access"},
	} {
		cmd.AddGroup(g)
	}
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			cmd.AddCommand(c)
		}
	}
	add(groupVaultUse, newVaultInit(v), newVaultBackup(v), newVaultRestore(v), newVaultDump(v), newVaultMount(v))
	add(groupVaultLook, newVaultPoints(v), newVaultLs(v), newVaultFind(v), newVaultDiff(v), newVaultStats(v), newVaultCat(v))
	add(groupVaultKeep, newVaultCheck(v), newVaultForget(v), newVaultPrune(v), newVaultTag(v), newVaultHold(v), newVaultUnhold(v), newVaultRetain(v), newVaultCopy(v), newVaultImport(v), newVaultRepair(v))
	old := newVaultRepairIndex(v) // as restic called it up to 0.15
	old.Use, old.Aliases, old.Hidden = "rebuild-index", nil, true
	old.Example = strings.ReplaceAll(old.Example, "repair index", "rebuild-index")
	add(groupVaultKeep, old)
	add(groupVaultOwn, newVaultKey(v), newVaultUnlock(v), newVaultServe(v))
	return cmd
}

// vaultCommand is what the commands below `lifeboat vault` share.
type vaultCommand struct {
	*invocation
	flags    vaultFlags
	unfound  error // why it is not known whether there is a configuration
	newVault bool  // the vault is about to be made: its password is asked for twice
}

// vaults makes the service for one command.
func (v *vaultCommand) vaults() (api.Vaults, error) {
	if v.Vaults == nil {
		return nil, failure.New(failure.Unsupported, "", "", "this build has no vaults").WithHint("build Lifeboat with `make build`")
	}
	// That there is no configuration matters only to those who name a vault in it.
	config, err := v.configPath()
	if err != nil && failure.KindOf(err) != failure.NotFound {
		v.unfound = err
	}
	return v.Vaults(OpenOptions{Config: config, Log: v.logger()}, v.Err), nil
}

// with calls f with the service and the vault that the flags name.
func (v *vaultCommand) with(ctx context.Context, f func(svc api.Vaults, a api.VaultAccess) error) error {
	svc, err := v.vaults()
	if err != nil {
		return err
	}
	a, err := v.access(ctx, svc)
	if err != nil {
		return err
	}
	return interrupted(ctx, f(svc, a))
}

// interrupted puts one clear word in place of what a call says that was broken off by a signal.
func interrupted(ctx context.Context, err error) error {
	if err == nil || !errors.Is(context.Cause(ctx), errInterrupted) || !errors.Is(err, context.Canceled) {
		return err
	}
	return failure.New(failure.Canceled, "", "", "interrupted").
		WithHint("the vault is whole; do the same again to go on: what was stored or restored so far is not done twice")
}

// pointFlags say which points are meant.
type pointFlags struct {
	hosts []string
	paths []string
	tags  []string
}

// declare adds the flags. What says what they narrow.
func (p *pointFlags) declare(cmd *cobra.Command, what string) {
	p.declareLong(cmd, what)
	cmd.Flags().Lookup("host").Shorthand = "H"
}

// declareLong is declare where -H means something else.
func (p *pointFlags) declareLong(cmd *cobra.Command, what string) {
	cmd.Flags().StringArrayVar(&p.hosts, "host", nil, what+" of this `HOST` (may be repeated)")
	cmd.Flags().StringArrayVar(&p.tags, "tag", nil, what+" with all of `TAG[,TAG...]` (may be repeated: any of these lists)")
	cmd.Flags().StringArrayVar(&p.paths, "path", nil, what+" that hold this absolute `PATH` (may be repeated: all of them)")
	for _, name := range []string{"host", "tag"} {
		complete(cmd, name, cobra.NoFileCompletions)
	}
}

// filter gives what the flags mean. Without --host, RESTIC_HOST counts as restic has it.
func (p *pointFlags) filter(getenv func(string) string) api.VaultPointFilter {
	f := api.VaultPointFilter{Hosts: p.hosts, Paths: p.paths}
	if host := getenv("RESTIC_HOST"); len(f.Hosts) == 0 && host != "" {
		f.Hosts = []string{host}
	}
	if len(f.Hosts) == 1 && f.Hosts[0] == "" { // takes the variable back
		f.Hosts = nil
	}
	for _, list := range p.tags {
		f.Tags = append(f.Tags, splitTags(list))
	}
	return f
}

// confirmWord asks the person to type the word that stands for what was shown; yes stands for that. Without a terminal
// yes is needed.
func (v *vaultCommand) confirmed(ctx context.Context, yes bool, what, word string) error {
	switch {
	case yes:
		return nil
	case !v.interactive():
		return failure.New(failure.Invalid, "", "", "%s is not confirmed, and nobody is at a terminal to ask", what).
			WithHint("look with --dry-run, then add --yes")
	}
	return v.confirm(ctx, word)
}

// yesFlag declares the flag that stands for a confirmation.
func yesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVar(yes, "yes", false, "do not ask for confirmation")
}

// completePoints offers points for the first few arguments of a command; 0: for all. Nobody is asked for a password.
func (v *vaultCommand) completePoints(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) (found []string, _ cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveDefault
		}
		v.gone, v.inputTaken = true, true
		_ = v.with(cmd.Context(), func(svc api.Vaults, a api.VaultAccess) error {
			points, err := svc.Points(cmd.Context(), api.VaultPointsRequest{VaultAccess: a})
			for _, p := range slices.Backward(points) {
				found = append(found, p.ShortID+"\t"+p.Time.Local().Format(time.DateTime)+" "+p.Hostname+" "+strings.Join(p.Paths, " "))
			}
			return err
		})
		return append(found, "latest\tthe newest point"), cobra.ShellCompDirectiveNoFileComp
	}
}
