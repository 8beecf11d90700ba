package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

// pruneFlags are the flags of a prune, also of one after a forget.
type pruneFlags struct {
	req         api.VaultPruneRequest
	maxRepack   string
	grace       time.Duration
	wait, drain time.Duration
}

// pruneFlagNames are the flags that mean something only when there is a prune.
var pruneFlagNames = []string{"max-unused", "max-repack-size", "repack-cacheable-only", "repack-small", "repack-uncompressed", "grace", "drain"}

func (p *pruneFlags) declare(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.req.MaxUnused, "max-unused", "5%", "let `LIMIT` that nobody needs stay in packs: 500M, 10% or unlimited")
	f.StringVar(&p.maxRepack, "max-repack-size", "", "rewrite packs of at most `SIZE` together")
	f.BoolVar(&p.req.RepackCacheableOnly, "repack-cacheable-only", false, "rewrite packs of folders only")
	f.BoolVar(&p.req.RepackSmall, "repack-small", false, "rewrite packs below 80 % of the usual size, too")
	f.BoolVar(&p.req.RepackUncompressed, "repack-uncompressed", false, "rewrite packs with anything uncompressed")
	f.DurationVar(&p.grace, "grace", time.Hour, "remove packs `DURATION` after they were taken out of the index; 0s: at once")
	f.DurationVar(&p.wait, "wait", time.Minute, "look for a moment in which nobody else is at work for `DURATION`")
	f.DurationVar(&p.drain, "drain", 0, "for at most `DURATION` let nobody begin, where somebody is always at work")
	for _, name := range []string{"max-unused", "max-repack-size", "grace", "wait", "drain"} {
		complete(cmd, name, cobra.NoFileCompletions)
	}
}

// complete turns the flags into the request.
func (p *pruneFlags) complete(cmd *cobra.Command) error {
	if p.maxRepack != "" {
		var err error
		if p.req.MaxRepack, err = parseSize(p.maxRepack); err != nil {
			return inFlag(cmd, "max-repack-size", err)
		}
		p.req.MaxRepack = max(1, p.req.MaxRepack) // zero would be no bound; no pack is so small
	}
	for flag, d := range map[string]time.Duration{"grace": p.grace, "wait": p.wait, "drain": p.drain} {
		if d < 0 {
			return inFlag(cmd, flag, fmt.Errorf("%s is negative", d))
		}
	}
	p.req.Grace, p.req.Wait, p.req.Drain = model.Duration(p.grace), model.Duration(p.wait), model.Duration(p.drain)
	if p.grace == 0 {
		p.req.Grace = -1
	}
	return nil
}

func newVaultPrune(v *vaultCommand) *cobra.Command {
	var p pruneFlags
	yes := false
	cmd := withFormats(&cobra.Command{
		Use:   "prune",
		Short: "Give back the space of what no point needs, while backups go on",
		Long: `What no point needs is taken out of the index first, in one moment in which nobody else is at work, and removed an hour
later (--grace), by the next prune: so nothing that a backup has begun to rely on goes away under it. Run it daily. With
--grace 0s it is removed in that moment, which is as restic does it. What is needed of half-empty packs is rewritten.`,
		Example: `  lifeboat vault prune --dry-run
  lifeboat vault prune --yes
  lifeboat vault prune --max-unused 0 --grace 0s`,
		Args:       wants(),
		SuggestFor: []string{"gc", "cleanup"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.complete(cmd); err != nil {
				return err
			}
			return runVaultPrune(cmd.Context(), v, p.req, yes)
		},
	}, "text", "json")
	p.declare(cmd)
	cmd.Flags().BoolVarP(&p.req.DryRun, "dry-run", "n", false, "change nothing, only show what would be done")
	yesFlag(cmd, &yes)
	return cmd
}

func runVaultPrune(ctx context.Context, v *vaultCommand, req api.VaultPruneRequest, yes bool) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		watch, end := v.watch()
		planned := func(plan *api.VaultPrunePlan) error {
			end()
			end = func() {}
			if err := term.VaultPrunePlan(v.human(), plan, v.style(v.human())); err != nil {
				return err
			}
			if plan.Changes() {
				return v.confirmed(ctx, yes, "the prune", "prune")
			}
			return nil
		}
		reply, err := svc.Prune(ctx, req, planned, watch)
		end()
		return v.showPruned(reply, err)
	})
}

// showPruned shows what a prune did; err is what ended it.
func (v *vaultCommand) showPruned(reply *api.VaultPruneReply, err error) error {
	if reply == nil || err != nil && failure.KindOf(err) != failure.Conflict {
		return err
	}
	if v.json() {
		if jsonErr := v.writeJSON(reply); jsonErr != nil {
			return jsonErr
		}
		return err
	}
	draw := func() error { return term.VaultPruned(v.Out, reply, v.style(v.Out)) }
	if reply.DryRun {
		draw = func() error { return term.VaultPrunePlan(v.Out, reply.Plan, v.style(v.Out)) }
	}
	if drawErr := draw(); drawErr != nil {
		return drawErr
	}
	return err
}
