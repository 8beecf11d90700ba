package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

type vaultFindOptions struct {
	req              api.VaultFindRequest
	oldest, newest   string
	blob, tree, pack bool
	long, packs      bool
}

func newVaultFind(v *vaultCommand) *cobra.Command {
	var opt vaultFindOptions
	var filter pointFlags
	cmd := withFormats(&cobra.Command{
		Use:   "find PATTERN...",
		Short: "Find files in all points, or what uses a blob, a tree or a pack",
		Long: `Patterns are those of "vault backup --exclude": a name holds in every folder, a path that begins with / as a whole. What
is in a folder that matches is found too. With --blob, --tree or --pack PATTERN is the beginning of an id.`,
		Example: `  lifeboat vault find fstab
  lifeboat vault find "*.conf" --newest 2026-11-01 --long
  lifeboat vault find --pack 5f1c2d3e`,
		Args:       wantsMore("PATTERN"),
		SuggestFor: []string{"search", "locate"},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r := &opt.req
			r.Patterns, r.VaultPointFilter = args, filter.filter(v.Getenv)
			if opt.oldest != "" {
				if r.Oldest, err = parseTime(opt.oldest); err != nil {
					return inFlag(cmd, "oldest", err)
				}
			}
			if opt.newest != "" {
				if r.Newest, err = parseTime(opt.newest); err != nil {
					return inFlag(cmd, "newest", err)
				}
			}
			for kind, set := range map[string]bool{"blob": opt.blob, "tree": opt.tree, "pack": opt.pack} {
				switch {
				case set && r.Kind != "":
					return usageError(cmd, "vault find: --blob, --tree and --pack exclude each other").WithHint("leave all but one of them out")
				case set:
					r.Kind = kind
				}
			}
			return runVaultFind(cmd.Context(), v, opt)
		},
	}, "text", "json")
	f := cmd.Flags()
	f.StringArrayVarP(&opt.req.Points, "snapshot", "s", nil, "look only into this `POINT` (may be repeated)")
	f.StringVarP(&opt.oldest, "oldest", "O", "", "only what was changed at `TIME` or later")
	f.StringVarP(&opt.newest, "newest", "N", "", "only what was changed at `TIME` or before")
	f.BoolVarP(&opt.req.IgnoreCase, "ignore-case", "i", false, "do not tell capital from small letters")
	f.BoolVarP(&opt.long, "long", "l", false, "show mode, owner, size and time")
	f.BoolVar(&opt.blob, "blob", false, "PATTERN is a blob's id")
	f.BoolVar(&opt.tree, "tree", false, "PATTERN is a tree's id")
	f.BoolVar(&opt.pack, "pack", false, "PATTERN is a pack's id")
	f.BoolVar(&opt.packs, "show-pack-id", false, "with --blob and --tree: show where they lie")
	filter.declare(cmd, "only in points")
	return cmd
}

func runVaultFind(ctx context.Context, v *vaultCommand, opt vaultFindOptions) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		opt.req.VaultAccess = a
		matches := svc.Find(ctx, opt.req)
		if v.json() {
			return writeJSONList(v.invocation, nil, "matches", matches, nil)
		}
		return term.VaultMatches(v.Out, matches, opt.long, opt.packs, v.style(v.Out))
	})
}
