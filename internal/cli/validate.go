package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

func newValidate(inv *invocation) *cobra.Command {
	return withFormats(&cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check a configuration and show all its mistakes",
		Long: `Every mistake is shown with its file, line and column, the line itself and what mends it. Nothing is contacted.
With mistakes the exit code is 2.`,
		Example: `  lifeboat validate
  lifeboat validate staging.yaml
  lifeboat validate -o json | jq -r '.problems[].message'`,
		Args:       wants("[FILE]"),
		SuggestFor: []string{"check", "lint", "verify"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				inv.config = args[0]
			}
			return runValidate(cmd.Context(), inv)
		},
	}, "text", "json")
}

func runValidate(ctx context.Context, inv *invocation) error {
	path, err := inv.configPath()
	if err != nil {
		return err
	}
	reply, err := inv.Documents.Validate(ctx, path)
	if err != nil {
		return err
	}
	if err := show(inv, reply, term.Validate); err != nil {
		return err
	}
	if len(reply.Problems) > 0 {
		return quiet{failure.Invalid.ExitCode()}
	}
	return nil
}
