package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

func newPoints(inv *invocation) *cobra.Command {
	return withFormats(&cobra.Command{
		Use:   "points APP[/RESOURCE]",
		Short: "List what an app can be brought back to",
		Long: `A recovery point is a state of a resource that it can be brought back to. A live one moves forward by itself,
as a standby does. The list says what the last real restore of each said: lifeboat prove makes one. Below it stand the
stretches of time in which a resource can be brought back to every state, the gaps between them, and what of them lies
only in a spool.`,
		Example: `  lifeboat points shop
  lifeboat points shop/db -o json | jq .ranges`,
		Args:       wants("APP"),
		SuggestFor: []string{"backups", "snapshots", "recovery-points", "ranges"},
		RunE: func(cmd *cobra.Command, args []string) error {
			app, resource, err := splitResource(cmd, args[0])
			if err != nil {
				return err
			}
			return runPoints(cmd.Context(), inv, app, resource)
		},
		ValidArgsFunction: completeApps(inv),
	}, "text", "json")
}

// splitResource reads APP or APP/RESOURCE.
func splitResource(cmd *cobra.Command, typed string) (model.AppID, model.ResourceID, error) {
	app, resource, found := strings.Cut(typed, "/")
	if app == "" || found && (resource == "" || strings.Contains(resource, "/")) {
		return "", "", usageError(cmd, "%s: %q names no app or resource", name(cmd), typed).WithHint("write APP or APP/RESOURCE, as in shop/db")
	}
	return model.AppID(app), model.ResourceID(resource), nil
}

func runPoints(ctx context.Context, inv *invocation, app model.AppID, resource model.ResourceID) error {
	return inv.withService(ctx, func(svc api.Service) error {
		reply, err := svc.Points(ctx, app)
		if err != nil {
			return err
		}
		if resource != "" {
			reply.Points = slices.DeleteFunc(reply.Points, func(p model.Point) bool { return p.Resource != resource })
			reply.Ranges = slices.DeleteFunc(reply.Ranges, func(r model.Range) bool { return r.Resource != resource })
		}
		if reply.Points == nil {
			reply.Points = []model.Point{} // a list with -o json, not null
		}
		if reply.Ranges == nil {
			reply.Ranges = []model.Range{}
		}
		return show(inv, reply, term.Points)
	})
}
