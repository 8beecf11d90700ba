package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

func newPoints(inv *invocation) *cobra.Command {
	return withFormats(&cobra.Command{
		Use:   "points APP",
		Short: "List the recovery points of an app",
		Long: `A recovery point is a state of a resource that it can be brought back to. A live one moves forward by itself,
as a standby does. The list says when each was last proved by a real restore.`,
		Example: `  lifeboat points shop
  lifeboat points shop -o json`,
		Args:       wants("APP"),
		SuggestFor: []string{"backups", "snapshots", "recovery-points"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPoints(cmd.Context(), inv, model.AppID(args[0]))
		},
		ValidArgsFunction: completeApps(inv),
	}, "text", "json")
}

func runPoints(ctx context.Context, inv *invocation, app model.AppID) error {
	return inv.withService(ctx, func(svc api.Service) error {
		points, err := svc.Points(ctx, app)
		if err != nil {
			return err
		}
		if points == nil {
			points = []model.Point{} // a list with -o json, not null
		}
		return show(inv, points, term.Points)
	})
}
