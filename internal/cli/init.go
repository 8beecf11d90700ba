package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newInit(inv *invocation) *cobra.Command {
	path := configName
	return withFormats(&cobra.Command{
		Use:   "init [PATH]",
		Short: "Write a commented lifeboat.yaml to begin with",
		Long:  `The file is a working example with every setting explained. One that is there already is never overwritten.`,
		Example: `  lifeboat init
  lifeboat init dr/lifeboat.yaml`,
		Args: wants("[PATH]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				path = args[0]
			}
			return runInit(cmd.Context(), inv, path)
		},
	}, "text", "json")
}

func runInit(ctx context.Context, inv *invocation, path string) error {
	if err := inv.Documents.Init(ctx, path); err != nil {
		return err
	}
	if inv.json() {
		return inv.writeJSON(map[string]string{"path": path})
	}
	_, err := fmt.Fprintf(inv.Out, "wrote %s; edit it, then: lifeboat validate %s\n", path, shellWord(path))
	return err
}
