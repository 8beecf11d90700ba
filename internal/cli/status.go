package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

func newStatus(inv *invocation) *cobra.Command {
	var all bool
	cmd := withFormats(&cobra.Command{
		Use:   "status {APP | --all}",
		Short: "Show where an app serves, what is at each site, and what is wrong",
		Long:  `Every resource is asked at every site, now. With -o json, --all prints a list.`,
		Example: `  lifeboat status shop
  lifeboat status --all
  lifeboat status shop -o json | jq -r .serving`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all {
				return runStatusAll(cmd.Context(), inv)
			}
			return runStatus(cmd.Context(), inv, model.AppID(args[0]))
		},
		SuggestFor:        []string{"state", "describe", "show"},
		ValidArgsFunction: completeApps(inv),
	}, "text", "json")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case all && len(args) > 0:
			return usageError(cmd, "status: --all and an app exclude each other")
		case all:
			return nil
		}
		return wants("APP")(cmd, args)
	}
	cmd.Flags().BoolVar(&all, "all", false, "show all apps of the configuration")
	return cmd
}

func runStatus(ctx context.Context, inv *invocation, app model.AppID) error {
	return inv.withService(ctx, func(svc api.Service) error {
		reply, err := svc.Status(ctx, app)
		if err != nil {
			return err
		}
		return show(inv, reply, term.Status)
	})
}

// runStatusAll asks all apps at once and shows them in order. An app that cannot be asked does not hide the others.
func runStatusAll(ctx context.Context, inv *invocation) error {
	apps, err := configuredApps(ctx, inv)
	if err != nil {
		return err
	}
	return inv.withService(ctx, func(svc api.Service) error {
		replies, errs := make([]*api.StatusReply, len(apps)), make([]error, len(apps))
		var asked sync.WaitGroup
		for i, app := range apps {
			asked.Go(func() { replies[i], errs[i] = svc.Status(ctx, app) })
		}
		asked.Wait()
		answered := make([]*api.StatusReply, 0, len(apps))
		for i := range apps {
			if errs[i] != nil {
				errs[i] = failure.Wrap(errs[i], "status of", string(apps[i]))
				continue
			}
			if !inv.json() {
				if len(answered) > 0 {
					fmt.Fprintln(inv.Out)
				}
				if err := term.Status(inv.Out, replies[i], inv.style(inv.Out)); err != nil {
					return err
				}
			}
			answered = append(answered, replies[i])
		}
		if inv.json() {
			if err := inv.writeJSON(answered); err != nil {
				return err
			}
		}
		return errors.Join(errs...)
	})
}

// configuredApps lists the apps of the configuration, which must be right.
func configuredApps(ctx context.Context, inv *invocation) ([]model.AppID, error) {
	path, err := inv.configPath()
	if err != nil {
		return nil, err
	}
	reply, err := inv.Documents.Validate(ctx, path)
	switch {
	case err != nil:
		return nil, err
	case len(reply.Problems) > 0:
		return nil, failure.New(failure.Invalid, "read", path, "%s", reply.Problems[0].Message).
			WithHint("see all its mistakes with `%s`", inv.command("validate"))
	}
	return reply.AppIDs, nil
}
